"""Pictures for screens of great brightness (HDR), as an ordinary screen shows them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from merclip.types import ByteArray, FloatArray

PQ, HLG = 16, 18
"""Transfer functions of BT.2100, by their numbers in H.273."""
_WHITE = 100.0
"""Candela per square metre of white on an ordinary screen."""
_GAMMA = 2.4
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
"""Of BT.2020."""
_TO_BT709 = {
    9: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    12: [[1.2249, -0.2247, -0.0002], [-0.0420, 1.0419, 0.0001], [-0.0197, -0.0786, 1.0983]],
}
"""Linear colours of BT.2020 and Display P3, by the primaries' numbers in H.273."""
_BLOCK = 2**20
_SAMPLE = 128
"""Pixels, along a picture's shorter side, among which the brightest is sought."""

Codes = np.ndarray[Any, np.dtype[np.uint16]]


def is_hdr(transfer: int) -> bool:
    """Tell whether pictures of a transfer function need `to_screen`."""
    return transfer in (PQ, HLG)


def to_screen(codes: Codes, transfer: int, primaries: int) -> ByteArray:
    """Return an HDR picture of shape (H, W, 3) as one of an ordinary screen.

    What is darker than that screen's white stays as it is, unless the picture has brighter
    parts: then it makes room for them (Reinhard's curve up to the picture's own peak).
    """
    step = max(1, min(codes.shape[:2]) // _SAMPLE)
    peak = max(1.0, float(_light(codes[::step, ::step], transfer, primaries).max()))
    shown = np.empty(codes.shape, np.uint8)
    n_rows = max(1, _BLOCK // codes.shape[1])
    for top in range(0, len(codes), n_rows):
        light = _light(codes[top : top + n_rows], transfer, primaries)
        brightest = light.max(axis=-1, keepdims=True)
        light *= (1 + brightest / peak**2) / (1 + brightest)
        places = (np.clip(light, 0, 1) * 65535).astype(np.uint16)
        shown[top : top + n_rows] = _screen_codes()[places]
    return shown


def _light(codes: Codes, transfer: int, primaries: int) -> FloatArray:
    """Return linear light in BT.709's colours, where 1 is an ordinary screen's white."""
    light = _curve(transfer)[codes]
    if transfer == HLG:
        # The screen's own curve, of one with a peak of 1,000.
        light *= 1000 / _WHITE * (light @ _LUMA)[..., None] ** 0.2
    if primaries in _TO_BT709:
        light = light @ np.array(_TO_BT709[primaries], np.float32).T
    return np.clip(light, 0, None, out=light)


@lru_cache(maxsize=2)
def _curve(transfer: int) -> FloatArray:
    """Return the light of each of the 65,536 codes."""
    codes = np.arange(65536) / 65535
    if transfer == PQ:
        root = codes ** (1 / 78.84375)
        light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return np.asarray(10_000 / _WHITE * light ** (1 / 0.1593017578125), np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    high = (np.exp((codes - c) / a) + b) / 12
    return np.asarray(np.where(codes <= 0.5, codes**2 / 3, high), np.float32)


@lru_cache(maxsize=1)
def _screen_codes() -> ByteArray:
    return np.asarray((np.arange(65536) / 65535) ** (1 / _GAMMA) * 255 + 0.5, np.uint8)
