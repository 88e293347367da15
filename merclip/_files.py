"""Files that appear whole or not at all, one by one or several together."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from merclip.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows has no such locks, and there nothing is removed
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
_DONE = ".merclip-saved"
"""Folder of files that are all written, and on their way to their places."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new, empty file to write to, which then takes the place of `path`; or nothing does.

    What processes that were killed left behind of such files is removed.
    """
    with _part(path.parent, path.name, lambda part: part.touch(exist_ok=False)) as part:
        yield part
        _sync(part)
        os.replace(part, path)


@contextlib.contextmanager
def replacing_together(directory: Path) -> Iterator[Path]:
    """Give an empty folder; all files written there take their places in a directory, or none do.

    Once complete, the folder gets another name in one step. Before it the directory is as it
    was; from then on whoever opens the directory (`settled`), or writes to it, moves what is
    not in its place yet. So a process may be killed at any moment.

    Parameters
    ----------
    directory : Path
        Made if it does not exist; files of other names stay.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _part(directory, _DONE, Path.mkdir) as folder:
        yield folder
        for path in folder.iterdir():
            _sync(path)
        with _locked(directory):
            _put_in_place(directory)
            os.rename(folder, directory / _DONE)
            _put_in_place(directory)


@contextlib.contextmanager
def settled(directory: Path) -> Iterator[None]:
    """Within it, the files of a directory that were replaced together belong together.

    Raises
    ------
    CheckpointError
        A process was killed while it replaced them, and this one may not finish that.
    """
    with _locked(directory, shared=True):
        try:
            _put_in_place(directory)
        except OSError as error:
            raise CheckpointError(
                f"{directory} was being saved when that process was killed; its files wait in "
                f"{_DONE} there and cannot be put in their places: {error}"
            ) from error
        yield


def placed(path: T, is_it: Callable[[Any], bool]) -> T | str:
    """Return a relative path as an absolute one, if there is what `is_it` looks for.

    What is read later is then found from any working directory. Anything else stays itself.
    """
    relative = isinstance(path, (str, os.PathLike)) and not os.path.isabs(path)
    return os.path.abspath(path) if relative and is_it(path) else path  # type: ignore[call-overload]


def told(path: str | os.PathLike[str]) -> str:
    """Return a path as it is called from the working directory, if it lies there."""
    text = os.fspath(path)
    try:
        inside = os.path.isabs(text) and Path(text).is_relative_to(Path.cwd())
    except OSError:  # there is no working directory any more
        return text
    return os.path.relpath(text) if inside else text


@contextlib.contextmanager
def _part(directory: Path, name: str, make: Callable[[Path], object]) -> Iterator[Path]:
    """Make a file or folder that is locked while it is written to, and gone afterwards."""
    _remove_left(directory, name)
    while True:
        part = directory / f"{name}.{secrets.token_hex(8)}.part"
        make(part)
        with _locked(part):
            # Before the lock, another process may have taken it for one that was left.
            if not part.exists():
                continue
            try:
                yield part
            finally:
                with contextlib.suppress(OSError):
                    _remove(part)
            return


def _remove_left(directory: Path, name: str) -> None:
    pattern = re.compile(re.escape(name) + r"\.[0-9a-f]{16}\.part")
    with contextlib.suppress(OSError):
        for path in [path for path in directory.iterdir() if pattern.fullmatch(path.name)]:
            if _is_left(path):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _is_left(part: Path) -> bool:
    """Tell whether the process that made it has ended, and with it the lock."""
    if fcntl is None:
        return False
    try:
        opened = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(opened)


@contextlib.contextmanager
def _locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file or folder, where the system has such locks."""
    opened = None
    if fcntl is not None:
        with contextlib.suppress(OSError):
            opened = os.open(path, os.O_RDONLY)
            fcntl.flock(opened, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        if opened is not None:
            os.close(opened)


def _put_in_place(directory: Path) -> None:
    done = directory / _DONE
    if not done.is_dir():
        return
    # Another process may do the same at the same time.
    for path in sorted(done.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, directory / path.name)
    with contextlib.suppress(FileNotFoundError):
        done.rmdir()


def _sync(path: Path) -> None:
    """Have the system write a file to the disk, so that a full one is an error here."""
    opened = os.open(path, os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
