"""What a clip's media are: a hash of their content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import time
from typing import Any, NamedTuple

import numpy as np

from merclip.preprocess.store import Store
from merclip.types import Audio, Video

_BLOCK = 2**20
_SETTLED_SECONDS = 2.0
_DIGEST = re.compile(rb"[0-9a-f]{64}")


class Content(NamedTuple):
    """The content of a video or a sound.

    Parameters
    ----------
    digest : str
    name : str or None
        What messages about it call it.
    path : str or None
        Its file.
    state : tuple of int
        What of the file changes when it is written to.
    """

    digest: str
    name: str | None = None
    path: str | None = None
    state: tuple[int, ...] = ()

    def still_holds(self) -> bool:
        """Tell whether the file is as it was."""
        return self.path is None or _state(self.path) == self.state


def content_of(source: Any, store: Store) -> Content | None:
    """Return the content of a clip's video or sound.

    Parameters
    ----------
    source : Video, Audio, path, bytes, binary file or None
    store : Store
        Remembers the hashes of files.

    Returns
    -------
    Content or None
        None if it cannot be had without using the source up, or at all.
    """
    if source is None:
        return Content("none")
    if isinstance(source, Video):
        return Content(_array_digest(f"video {source.fps!r}", source.frames))
    if isinstance(source, Audio):
        return Content(_array_digest(f"audio {source.rate!r}", source.samples))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Content(_with_suffix(hashlib.sha256(bytes(source)).hexdigest(), ""))
    if isinstance(source, (str, os.PathLike)):
        return _content_of_path(os.fsdecode(source), store)
    return _content_of_file(source)


def _array_digest(kind: str, array: Any) -> str:
    digest = hashlib.sha256(f"{kind} {array.shape};".encode())
    whole: Any = np.ascontiguousarray(array)
    digest.update(whole)
    return digest.hexdigest()


def _with_suffix(digest: str, name: str) -> str:
    # FFmpeg takes a file's suffix as a hint to its format.
    return digest + os.path.splitext(name)[1].lower()


def _content_of_path(path: str, store: Store) -> Content | None:
    state = _state(path)
    if not state:
        return None
    place = json.dumps([os.path.abspath(path), state])
    note = f"{hashlib.sha256(place.encode()).hexdigest()}.sha256"
    known = store.read(note)
    if known is not None and _DIGEST.fullmatch(known):
        digest = known.decode()
    else:
        try:
            with open(path, "rb") as file:
                digest = _digest_of(file)
        except OSError:
            return None
        if _state(path) != state:
            return None
        # A file may be written to twice in one step of the clock that stamps it.
        if time.time_ns() - max(state[-2:]) > _SETTLED_SECONDS * 1e9:
            store.write(note, digest.encode())
    return Content(_with_suffix(digest, path), path, path, state)


def _content_of_file(file: Any) -> Content | None:
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) else "<stream>"
    try:
        if isinstance(file, io.TextIOBase) or not file.seekable():
            return None
        position = file.tell()
        try:
            file.seek(0)
            digest = _digest_of(file)
        finally:
            file.seek(position)
    # A file object of the caller may raise anything; reading it will say what is wrong.
    except Exception:
        return None
    return Content(_with_suffix(digest, name), name)


def _digest_of(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _state(path: str) -> tuple[int, ...]:
    """Return what changes when a file is written to; nothing for what is no plain file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(found.st_mode):
        return ()
    place = (found.st_dev, found.st_ino, found.st_size)
    return (*place, found.st_mtime_ns, found.st_ctime_ns)
