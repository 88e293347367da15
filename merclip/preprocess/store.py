"""A folder of small files by key: atomic, limited in size, shared by processes."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from merclip._warn import warn
from merclip.errors import CacheWarning

_FOLDER = re.compile(r"[0-9a-f]{2}")
_ENTRY = re.compile(r"[0-9a-f]{64}\.\w+")
_PART = re.compile(r"[0-9a-f]{64}\.\w+\.[0-9a-f]{16}\.part")
_PART_SECONDS = 3600.0  # older ones are those of a process that was killed
_KEPT_SHARE = 0.9
_CHECKS = 16


class _Entry(NamedTuple):
    used: int  # when, in ns
    n_bytes: int
    path: str


class Store:
    """Files by key, those least recently used removed where they grow too many.

    Files are the user's own: they and their folders are for nobody else, and what belongs to
    somebody else, or leads elsewhere, is not read.

    Safe for several threads and processes: a file appears whole or not at all.
    Each process counts what it writes, and looks at the whole folder at least once in
    a sixteenth of `max_bytes`, so each may be over the limit by as much for a moment.

    Parameters
    ----------
    folder : Path
        Other files in it are left alone.
    max_bytes : int
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._room = 0
        self._failed = False
        self._lock = threading.Lock()

    def read(self, name: str) -> bytes | None:
        """Return the content of a file and count it as used, or None if there is none."""
        path = self._path(name)
        try:
            content = None if path.parent.is_symlink() else _read_own(path, self.max_bytes)
        except OSError:
            return None
        if content is None:
            return None
        with contextlib.suppress(OSError):  # the folder may be read-only
            _touch(path)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in place of one of that name; warn once where that fails.

        Parameters
        ----------
        name : str
            64 hexadecimal digits and a suffix.
        content : bytes
            Larger than the whole limit, it is not kept.
        """
        if len(content) > self.max_bytes:
            return
        try:
            self._write(name, content)
        except OSError as error:
            if not self._failed:
                self._failed = True
                reason = error.strerror or str(error)
                message = f"The feature cache {str(self.folder)!r} cannot be written to ({reason})."
                warn(CacheWarning(message))
            return
        with self._lock:
            self._room -= len(content)
            if self._room < 0:
                self._room = self._tidy()

    def _write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.parent.is_symlink():
            raise OSError(f"{path.parent} leads elsewhere")
        part = path.with_name(f"{name}.{secrets.token_hex(8)}.part")
        try:
            with open(part, "xb", opener=_open_private) as file:
                file.write(content)
            _touch(part)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _tidy(self) -> int:
        """Keep to the limit; return how many bytes may be written before the next look."""
        entries = sorted(self._entries())
        total = sum(entry.n_bytes for entry in entries)
        if total > self.max_bytes:
            for entry in entries:
                if total <= _KEPT_SHARE * self.max_bytes:
                    break
                with contextlib.suppress(OSError):  # another process was faster
                    os.unlink(entry.path)
                total -= entry.n_bytes
        return min(self.max_bytes - total, self.max_bytes // _CHECKS)

    def _entries(self) -> Iterator[_Entry]:
        """Yield all files of the store, and remove what killed processes left half-written."""
        for file in _files(self.folder):
            with contextlib.suppress(OSError):
                found = file.stat(follow_symlinks=False)
                if _ENTRY.fullmatch(file.name):
                    yield _Entry(found.st_mtime_ns, found.st_size, file.path)
                elif _PART.fullmatch(file.name) and time.time() - found.st_mtime > _PART_SECONDS:
                    os.unlink(file.path)


@functools.cache
def open_store(folder: str, max_bytes: int) -> Store:
    """Return the one store of this process for a folder, given by its absolute path."""
    return Store(Path(folder), max_bytes)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        folders = [entry for entry in found if entry.is_dir(follow_symlinks=False)]
        names = [entry.path for entry in folders if _FOLDER.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError), os.scandir(name) as files:
                yield from files


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_own(path: Path, most: int) -> bytes | None:
    """Return the content of a plain file of this user's; None for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
        found = os.fstat(file.fileno())
        own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        plain = stat.S_ISREG(found.st_mode) and own and found.st_size <= most
        return file.read() if plain else None


def _touch(path: Path) -> None:
    # The system's own "now" has steps of milliseconds, in which order is lost.
    now = time.time_ns()
    os.utime(path, ns=(now, now))
