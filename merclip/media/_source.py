"""What can be read: paths, encoded bytes and binary files, seekable or not."""

from __future__ import annotations

import inspect
import io
import os
import re
import selectors
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import av

from merclip.errors import DecodeError, MediaNotFoundError, MediaTypeError
from merclip.media._limits import MAX_PIXELS, MAX_STREAMS, check_spooled

if TYPE_CHECKING:
    from av.container import InputContainer

_SPOOL_BYTES = 16 * 1024 * 1024
_COPY_BYTES = 1024 * 1024
_PATIENCE = 10.0
"""Seconds that a named pipe may give nothing."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SUFFIX = re.compile(r"\.\w{1,5}$")

_HEADER = re.compile(
    rb"RIFF|RIFX|RF64|FORM|fLaC|OggS|caff|\.snd|riff|wvpk|MAC |TTA1|\x1aE\xdf\xa3|0&\xb2u|....ftyp",
    re.DOTALL,
)
_PREFIX = "file:"
"""Keeps FFmpeg from taking a colon in a name for a protocol."""
_FORMATS = """
aac ac3 aiff amr amrnb amrwb ape apng asf ass au av1 avi caf dirac dsf dts dv eac3 flac flv gif gxf
h261 h263 h264 hevc iamf image2 ivf jpegxl_anim kux latm live_flv loas m4v matroska mjpeg mlp mov
mp3 mpc mpc8 mpeg mpegts mpegvideo mxf nut obu ogg oma rm srt swf tak truehd tta vc1 voc vvc w64 wav
webp webvtt wtv wv xwma yuv4mpegpipe
bmp_pipe dds_pipe dpx_pipe exr_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe
pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe png_pipe ppm_pipe psd_pipe qoi_pipe sgi_pipe
sunrast_pipe tiff_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe
""".split()
"""What is read: all that holds one file's own pictures and sound. A playlist (HLS, DASH,
concat) would open other files, and hundreds of rare formats are only ever an attack."""

# PyAV before 18 crashes on FLV files when it is given any.
_DECODER_OPTIONS = {} if int(av.__version__.split(".")[0]) < 18 else {"max_pixels": str(MAX_PIXELS)}
_CONTAINER_OPTIONS = {
    # A playlist or an image pattern must not open other files or the network.
    "protocol_whitelist": "file",
    "pattern_type": "none",
    "format_whitelist": ",".join(_FORMATS),
    # FFmpeg decodes a frame of each while it opens a file.
    "max_streams": str(MAX_STREAMS),
}


@dataclass(frozen=True)
class Source:
    """Something that `av.open` can open again and again, and its name for messages."""

    target: str | BinaryIO
    name: str

    @contextmanager
    def bytes(self) -> Iterator[BinaryIO]:
        """Open the file as it is."""
        if isinstance(self.target, str):
            with open(self.target.removeprefix(_PREFIX), "rb") as file:
                yield file
        else:
            yield self.target

    @contextmanager
    def container(self) -> Iterator[InputContainer]:
        """Open the file from its beginning, and close it whatever happens."""
        if not isinstance(self.target, str):
            self.target.seek(0)
        container = av.open(
            self.target,
            "r",
            metadata_errors="replace",
            options=_DECODER_OPTIONS,
            container_options=_CONTAINER_OPTIONS,
        )
        with container:
            yield container


@contextmanager
def open_source(source: Any) -> Iterator[Source]:
    """Give `source` a form that can be opened; undo everything afterwards."""
    with ExitStack() as stack:
        yield _past_tags(_opened(source, stack), stack)


def _opened(source: Any, stack: ExitStack) -> Source:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(source, stack)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fsdecode(source), stack)
    if hasattr(source, "read"):
        return _from_file(source, stack)
    raise MediaTypeError(
        "A media source is a path, bytes of an encoded file or a binary file object, "
        f"got {type(source).__name__}."
    )


def _past_tags(source: Source, stack: ExitStack) -> Source:
    """Return what follows upon tags that were put before the header of another format.

    They are made for MP3 and its kin, whose own FFmpeg reads; before another header it
    finds none.
    """
    with source.bytes() as file:
        begin = _end_of_tags(file)
        file.seek(begin)
        if not begin or not _HEADER.match(file.read(12)):
            return source
    target = source.target
    if isinstance(target, str):
        target = stack.enter_context(open(target.removeprefix(_PREFIX), "rb"))
    return Source(cast(BinaryIO, _Rest(target, begin)), source.name)


def _end_of_tags(file: BinaryIO) -> int:
    at = 0
    while True:
        file.seek(at)
        head = file.read(32)
        if head[:3] == b"ID3" and len(head) > 10:
            # The size of an ID3 tag has seven bits in a byte; a footer is not counted.
            size = sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
            at += 10 + size + (10 if head[5] & 16 else 0)
        elif head[:8] == b"APETAGEX":
            at += 32 + int.from_bytes(head[12:16], "little")
        else:
            return at


class _Rest:
    """A file from a place on."""

    def __init__(self, file: BinaryIO, begin: int) -> None:
        self._file = file
        self._begin = begin

    def read(self, n_bytes: int = -1) -> bytes:
        return self._file.read(n_bytes)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = self._begin if whence == os.SEEK_SET else 0
        return self._file.seek(begin + offset, whence) - self._begin

    def tell(self) -> int:
        return self._file.tell() - self._begin


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
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return Source(_spool(stack.enter_context(_Pipe(path)), path, stack), path)
        if not os.path.isfile(path):
            raise MediaTypeError(
                f"{path!r} is a device or a socket: give a file, or a binary file object."
            )
        with open(path, "rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DecodeError(f"{path!r} cannot be read ({reason}): check the file.") from error
    if is_empty:
        raise DecodeError(f"{path!r} is empty: it has no bytes to decode.")
    return Source(_PREFIX + path, path)


class _Pipe:
    """A named pipe, to which nobody may ever write: opened as a file, it could wait forever."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, n_bytes: int) -> bytes:
        """Return some of the next bytes as soon as there are any, and none at the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            if selector.select(_PATIENCE):
                return os.read(self._descriptor, n_bytes)
        raise DecodeError(
            f"{self._path!r} is a pipe that gave nothing for {_PATIENCE:g} seconds: check what "
            "writes to it."
        )


def _missing_message(path: str) -> str:
    message = f"There is no file {path!r}: check the path."
    if " " in path and not _SUFFIX.search(path):
        message += " It reads like a sentence; did you mean text=?"
        message += ' fit takes [{"text": ...}, ...] or df[["text"]].'
    return message


def _from_file(file: Any, stack: ExitStack) -> Source:
    named = getattr(file, "name", None)
    name = named if isinstance(named, str) else "<stream>"
    try:
        if inspect.iscoroutinefunction(file.read):
            raise MediaTypeError(
                f"{name} is read with await: pass its bytes, await file.read(), or the file below "
                "it, file.file."
            )
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
    while piece := file.read(_COPY_BYTES):
        spool.write(piece)
        check_spooled(spool.tell(), name)
    if spool.tell() == 0:
        raise DecodeError(f"{name} is empty: no bytes came out of it.")
    return cast(BinaryIO, spool)
