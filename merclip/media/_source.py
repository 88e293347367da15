"""What can be read: paths, encoded bytes and binary files, seekable or not."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import av

from merclip.errors import DecodeError, MediaNotFoundError, MediaTypeError

if TYPE_CHECKING:
    from av.container import InputContainer

MAX_PIXELS = 64 * 1024 * 1024
"""A frame that claims more is refused before it is decoded."""

_SPOOL_BYTES = 16 * 1024 * 1024
_COPY_BYTES = 1024 * 1024
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SUFFIX = re.compile(r"\.\w{1,5}$")


@dataclass(frozen=True)
class Source:
    """Something that `av.open` can open again and again, and its name for messages."""

    target: str | BinaryIO
    name: str

    @contextmanager
    def container(self) -> Iterator[InputContainer]:
        """Open the file from its beginning, and close it whatever happens."""
        if not isinstance(self.target, str):
            self.target.seek(0)
        container = av.open(
            self.target,
            "r",
            metadata_errors="replace",
            # A playlist or an image pattern must not open other files or the network.
            # (Never `options`: with it, PyAV before 18 crashes on FLV files.)
            container_options={"protocol_whitelist": "file", "pattern_type": "none"},
        )
        with container:
            yield container


@contextmanager
def open_source(source: Any) -> Iterator[Source]:
    """Give `source` a form that can be opened; undo everything afterwards."""
    with ExitStack() as stack:
        if isinstance(source, (bytes, bytearray, memoryview)):
            yield _from_bytes(source, stack)
        elif isinstance(source, (str, os.PathLike)):
            yield _from_path(os.fsdecode(source), stack)
        elif hasattr(source, "read"):
            yield _from_file(source, stack)
        else:
            raise MediaTypeError(
                "A media source is a path, bytes of an encoded file or a binary file object, "
                f"got {type(source).__name__}."
            )


def _from_bytes(data: bytes | bytearray | memoryview, stack: ExitStack) -> Source:
    if len(data) == 0:
        raise DecodeError("<bytes> is empty: give the content of a video or sound file.")
    return Source(stack.enter_context(io.BytesIO(data)), "<bytes>")


def _from_path(path: str, stack: ExitStack) -> Source:
    if _URL.match(path):
        raise MediaTypeError(f"{path!r} is a URL: download it first and give the local path.")
    if not os.path.exists(path):
        raise MediaNotFoundError(_missing_message(path))
    if os.path.isdir(path):
        raise MediaTypeError(
            f"{path!r} is a folder: list its files yourself and give them one by one."
        )
    try:
        file = stack.enter_context(open(path, "rb"))
        if not os.path.isfile(path):
            return Source(_spool(file, path, stack), path)
        if not file.read(1):
            raise DecodeError(f"{path!r} is empty: it has no bytes to decode.")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DecodeError(f"{path!r} cannot be read ({reason}): check the file.") from error
    # The prefix keeps FFmpeg from taking a colon in a name for a protocol.
    return Source(f"file:{path}", path)


def _missing_message(path: str) -> str:
    message = f"There is no file {path!r}: check the path."
    if " " in path and not _SUFFIX.search(path):
        message += " It reads like a sentence; did you mean text=?"
    return message


def _from_file(file: Any, stack: ExitStack) -> Source:
    named = getattr(file, "name", None)
    name = named if isinstance(named, str) else "<stream>"
    try:
        if isinstance(file, io.TextIOBase) or isinstance(file.read(0), str):
            raise MediaTypeError(f'{name} is a text-mode file: open it with "rb".')
        if not _can_seek(file):
            return Source(_spool(file, name, stack), name)
        position = file.tell()
        stack.callback(file.seek, position)
        file.seek(0)
        if not file.read(1):
            raise DecodeError(f"{name} is empty: it has no bytes to decode.")
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"{name} cannot be read ({error}): give an open binary file.") from error
    return Source(cast(BinaryIO, file), name)


def _can_seek(file: Any) -> bool:
    if not (hasattr(file, "seek") and hasattr(file, "tell")):
        return False
    return not hasattr(file, "seekable") or bool(file.seekable())


def _spool(file: Any, name: str, stack: ExitStack) -> BinaryIO:
    spool = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))
    shutil.copyfileobj(file, spool, _COPY_BYTES)
    if spool.tell() == 0:
        raise DecodeError(f"{name} is empty: no bytes came out of it.")
    return cast(BinaryIO, spool)
