"""Still pictures as a viewer shows them: upright, and whole.

FFmpeg reads them as it reads the frames of a video: it passes over mirror images in EXIF,
takes each part of a file for a frame, and gives black for TIFF files of layouts that it
does not know. So Pillow reads those that it knows, and `_heif` those that phones make.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from merclip.errors import DecodeError
from merclip.media._heif import is_heif, read_heif
from merclip.media._limits import (
    MAX_PIXELS,
    MAX_SHRUNK_PIXELS,
    MEGA,
    check_area,
    check_scans,
    check_tables,
    most_of_still,
)
from merclip.media._source import Source
from merclip.media._tags import check_notes
from merclip.types import ByteArray

if TYPE_CHECKING:
    from PIL.Image import Image

SECONDS = 0.04
"""How long a picture is shown where it stands for a video."""
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ANIMATED = 2
"""The flag of WebP."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Of JPEG: not a byte of the picture, nor one that only lets decoders find their place."""
_END, _SCAN, _ALONE = 0xD9, 0xDA, (0x01, 0xD8)
_LONGEST_JPEG = 64 * MEGA
"""Bytes within which the next file of a video begins."""
_ORIENTATION = 0x0112
_TILE = (322, 323)
"""Tags of TIFF: a tile's width and height."""


@dataclass(frozen=True)
class Still:
    """An upright picture of shape (1, H, W, 3), and what is wrong with it."""

    frames: ByteArray
    warnings: tuple[str, ...] = ()


def still_reader(source: Source) -> Callable[[Source], Still] | None:
    """Return what reads a file that holds a still picture, or None for anything else."""
    with source.bytes() as file:
        file.seek(0)
        head = file.read(32)
        if is_heif(head):
            return _read_heif
        if head.startswith(_JPEG):
            return None if _is_motion_jpeg(file) else _read_with_pillow
        if head.startswith(_PNG):
            return None if _is_animated_png(file) else _read_with_pillow
        if head.startswith(_TIFF):
            return _read_with_pillow
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            animated = head[12:16] == b"VP8X" and head[20] & _ANIMATED
            return None if animated else _read_with_pillow
    return None


def _read_heif(source: Source) -> Still:
    return Still(read_heif(source)[None])


def _read_with_pillow(source: Source) -> Still:
    check_notes(source)
    with source.bytes() as file:
        file.seek(0)
        try:
            return Still(_pixels(file, source.name))
        except OSError as error:
            if "truncated" not in str(error):
                raise
        # With its end put back a JPEG file gives what there is of it.
        file.seek(0)
        frames = _pixels(io.BytesIO(file.read() + bytes([0xFF, _END])), source.name)
    return Still(frames, (f"{source.name!r} is cut off, and the lower part of it is grey.",))


def _pixels(file: BinaryIO, name: str) -> ByteArray:
    from PIL import Image

    try:
        image = Image.open(file, formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError(
            f"{name!r} has more than {MAX_PIXELS // MEGA} megapixels: scale it down first."
        ) from error
    with image:
        _check_work(image, file, name)
        image.load()
        upright = _upright(_as_rgb(_shrunk(image), name), _orientation(image))
        return np.array(upright)[None]


def _check_work(image: Any, file: BinaryIO, name: str) -> None:
    """Refuse what costs more than the file's size: empty areas, scans, tiles."""
    at = file.tell()
    check_area(image.width, image.height, name, most_of_still(file.seek(0, 2)))
    file.seek(at)
    if image.format in ("JPEG", "MPO"):
        check_scans(_scans(_whole(file, name))[0] * image.width * image.height, name)
        file.seek(at)
    elif image.format == "TIFF":
        width, height = (int(image.tag_v2.get(tag, 1)) for tag in _TILE)
        check_area(width, height, name)


def _whole(file: BinaryIO, name: str) -> bytes:
    check_tables(file.seek(0, 2), name)
    file.seek(0)
    return file.read()


def _scans(data: bytes) -> tuple[int, int]:
    """Return how often a JPEG file goes over its first picture, and where that ends."""
    n_scans, at = 0, 2
    while match := _MARKER.search(data, at):
        kind, at = data[match.start() + 1], match.end()
        if kind == _END:
            return n_scans, at
        n_scans += kind == _SCAN
        if kind not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return n_scans, len(data)


def _is_motion_jpeg(file: BinaryIO) -> bool:
    """Tell a video of JPEG files from one that has a second picture, such as of its light."""
    file.seek(0)
    data = file.read(_LONGEST_JPEG)
    _, end = _scans(data)
    return data[end : end + 3] == _JPEG and b"MPF\0" not in data[:end]


def _is_animated_png(file: BinaryIO) -> bool:
    file.seek(8)
    while len(head := file.read(8)) == 8:
        if head[4:] in (b"acTL", b"IDAT"):
            return head[4:] == b"acTL"
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def _shrunk(image: Image) -> Image:
    factor = 1
    while image.width * image.height > MAX_SHRUNK_PIXELS * factor**2:
        factor += 1
    # Numbers of a palette have no mean.
    return image.reduce(factor) if factor > 1 and image.mode not in ("P", "PA", "1") else image


def _as_rgb(image: Image, name: str) -> Image:
    from PIL import Image as Images

    if image.mode.startswith("I") or image.mode == "F":
        return Images.fromarray(_as_bytes(np.asarray(image), name)).convert("RGB")
    if image.has_transparency_data:
        paper = Images.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return image.convert("RGB")


def _as_bytes(grey: np.ndarray[Any, Any], name: str) -> ByteArray:
    """Return grey of 16 bits, or of floating point in [0, 1], in 8 bits."""
    floating = grey.dtype.kind == "f"
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= (1 if floating else 65535)):
        raise DecodeError(
            f"{name!r} has brightnesses from {low:g} to {high:g}, and what is white is not known: "
            "save it with 8 bits."
        )
    return np.asarray(grey * 255 + 0.5 if floating else grey.astype(np.int32) >> 8, np.uint8)


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken notes, of which viewers make nothing either
        return 1


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image
