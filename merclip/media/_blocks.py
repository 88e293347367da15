"""Which blocks of a long sound are used."""

from __future__ import annotations

import math

SHORTEST_TAIL = 0.25
"""Seconds; a shorter tail does not count as a block of its own."""


def choose_blocks(n_blocks: int, max_blocks: int) -> list[int]:
    """Return the indices of evenly spaced blocks.

    Parameters
    ----------
    n_blocks : int
        Number of blocks that there are.
    max_blocks : int
        Number of blocks to keep at most.

    Returns
    -------
    list of int
        The blocks at the centres of `max_blocks` equal parts of
        `range(n_blocks)`; all of them when there are no more than that.

    Examples
    --------
    >>> choose_blocks(10, 3)
    [1, 5, 8]
    """
    if n_blocks <= max_blocks:
        return list(range(n_blocks))
    return [(2 * part + 1) * n_blocks // (2 * max_blocks) for part in range(max_blocks)]


def block_spans(
    n_samples: int, *, rate: int, block: float, max_blocks: int | None
) -> list[tuple[int, int]] | None:
    """Return (begin, end) sample numbers of the blocks to keep; None keeps everything."""
    size = max(1, round(block * rate))
    if max_blocks is None or n_samples <= size * max_blocks:
        return None
    n_blocks = math.ceil(n_samples / size)
    tail = n_samples - (n_blocks - 1) * size
    if n_blocks > 1 and tail < SHORTEST_TAIL * rate:
        n_blocks -= 1
    return [(index * size, (index + 1) * size) for index in choose_blocks(n_blocks, max_blocks)]
