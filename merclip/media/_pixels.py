"""One decoded frame as an upright RGB picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.sidedata.sidedata import SideDataContainer

from merclip.media._light import is_hdr, to_screen
from merclip.media._limits import most_kept
from merclip.types import ByteArray

_TURNS = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
"""The display matrix for quarter turns against the clock."""
_PNG = ("png", "apng")


@dataclass(frozen=True)
class Look:
    """How the pictures of a stream look, besides their pixels."""

    codec: str = "png"
    """Where it is not known, as if it were PNG, with which most care is needed."""
    aspect: float = 1.0
    """How many times as wide as high a pixel is."""
    transfer: int = 0
    primaries: int = 0
    """Of light and colours, by their numbers in H.273."""
    alone: bool = False
    """Whether no picture refers to another."""
    n_bytes: int | None = None
    """Of all of them, if that is known."""


def to_rgb(
    frame: Any, look: Look, shape: tuple[int, ...] | None = None, n_frames: int = 1
) -> ByteArray:
    """Return a frame as upright RGB of shape (H, W, 3), scaled to `shape` if given.

    Otherwise it has the size at which it is shown, unless `n_frames` of them are too many
    pixels.
    """
    turn = _display_matrix(frame, look.codec)
    size = _shown_size(frame, look, n_frames) if shape is None else _before_turning(shape, turn)
    if is_hdr(look.transfer):
        codes = frame.to_ndarray(format="rgb48le", **size)
        picture = to_screen(codes, look.transfer, look.primaries)
    else:
        picture = frame.to_ndarray(format="rgb24", **size)
    return np.ascontiguousarray(_turn(picture, turn))


def _shown_size(frame: Any, look: Look, n_frames: int) -> dict[str, Any]:
    width, height = frame.width * max(1, look.aspect), frame.height / min(1, look.aspect)
    share = min(1, most_kept(look.n_bytes) / max(1, width * height * n_frames))
    size = {"width": round(width), "height": round(height)}
    if share < 1:
        size = {side: max(1, int(pixels * share**0.5)) for side, pixels in size.items()}
    if size == {"width": frame.width, "height": frame.height}:
        return {}
    return {**size, "interpolation": "AREA" if share < 1 else "BICUBIC"}


def _before_turning(shape: tuple[int, ...], turn: tuple[int, int, int, int]) -> dict[str, int]:
    height, width = shape[:2]
    if _swaps_axes(turn):
        height, width = width, height
    return {"height": height, "width": width}


def _display_matrix(frame: Any, codec: str) -> tuple[int, int, int, int]:
    """Return (a, b, c, d): a pixel (x, y) is shown at (ax + cy, bx + dy)."""
    # PyAV frees the name of a PNG's colour profile, which FFmpeg frees again: a crash.
    if codec in _PNG:
        return _angle(frame)
    try:
        # `frame.side_data` would keep itself in the frame, a cycle that holds the
        # decoder, its threads and its pictures until Python looks for cycles.
        data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    except ValueError:
        # PyAV does not know FFmpeg's newest kinds of side data, such as EXIF.
        return _angle(frame)
    if data is None or len(bytes(data)) < 36:
        return _TURNS[0]
    matrix = np.frombuffer(bytes(data), np.int32)
    return (int(matrix[0]), int(matrix[1]), int(matrix[3]), int(matrix[4]))


def _angle(frame: Any) -> tuple[int, int, int, int]:
    return _TURNS[round(frame.rotation / 90) % 4]


def _swaps_axes(turn: tuple[int, int, int, int]) -> bool:
    a, b, _, _ = turn
    return abs(b) > abs(a)


def _turn(picture: ByteArray, turn: tuple[int, int, int, int]) -> ByteArray:
    # `frame.rotation` tells the angle only; the matrix also tells mirror images.
    a, b, c, d = turn
    if _swaps_axes(turn):
        picture = picture.transpose(1, 0, 2)
        across, down = c, b
    else:
        across, down = a, d
    return picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def frame_to_rgb(frame: Any) -> ByteArray:
    """Return a frame that PyAV decoded elsewhere as upright RGB of shape (H, W, 3)."""
    light = [int(getattr(frame, key, 0) or 0) for key in ("color_trc", "color_primaries")]
    return to_rgb(frame, Look(transfer=light[0], primaries=light[1]))
