"""Which frames are taken: times in, positions out."""

from __future__ import annotations

from typing import Any

import numpy as np

from merclip.media._scan import Times

Positions = np.ndarray[Any, np.dtype[np.intp]]

_TICK = 1e-6
"""Seconds; a frame that begins this little after a target still counts as begun."""


def choose_frames(
    times: Times, last_end: float, *, start: float, end: float, n_frames: int
) -> Positions:
    """Choose frames of a span by the times at which they appear.

    Parameters
    ----------
    times : ndarray of shape (n,)
        Times of all frames in seconds, ascending.
    last_end : float
        The time until which the last frame is shown.
    start, end : float
        The span in seconds; `end` is not part of it.
    n_frames : int
        Number of frames to take.

    Returns
    -------
    ndarray of int
        For the centre of each of `n_frames` equal parts of the span, the
        position of the frame that is on screen. If no more than `n_frames`
        frames are on screen during the span, each of them once.
    """
    if len(times) == 0:
        return np.zeros(0, np.intp)
    begin, stop = max(start, times[0]), min(end, last_end)
    ends = np.append(times[1:], last_end)
    shown = np.flatnonzero((ends > begin + _TICK) & (times < stop - _TICK))
    if len(shown) <= n_frames:
        return shown
    targets = begin + (np.arange(n_frames) + 0.5) * (stop - begin) / n_frames
    return np.asarray(np.searchsorted(times, targets + _TICK, side="right") - 1, np.intp)
