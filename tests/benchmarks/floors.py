"""(c) What no program can do without: decoding, and the products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import torch
from torch.nn import functional

from benchmarks.counting import VIT_B_32
from benchmarks.peers import read_sound
from benchmarks.rounds import Case

N_FRAMES = 12
ROWS = N_FRAMES * 50
"""Tokens of twelve frames: one batch of the image tower."""
SHAPES = ((768, 2304), (768, 768), (768, 3072), (3072, 768))
"""Inputs and outputs of the products in a block of ViT-B."""
REPEATS = 3


def decode(path: Path, sound: bool = True) -> int:
    """Decode what twelve exact frames need, and all of the sound; keep and convert nothing.

    Decodes every frame from the key picture before each wanted one, without going back.

    Parameters
    ----------
    path : Path
    sound : bool

    Returns
    -------
    int
        Frames that were decoded.
    """
    if sound:
        read_sound(path)
    n_decoded = 0
    with av.open(path) as container:
        stream: Any = container.streams.video[0]
        stream.thread_type = "AUTO"
        keys = _key_times(stream)
        reached, frames = -1, container.decode(stream)
        for wanted in _centres(stream):
            key = max((key for key in keys if key <= wanted), default=-1)
            if key > reached:
                container.seek(key, stream=stream)
                frames = container.decode(stream)
            for frame in frames:
                n_decoded += 1
                reached = frame.pts
                if reached + frame.duration > wanted:
                    break
    return n_decoded


def products(dtype: torch.dtype, prepacked: bool = False) -> Callable[[], None]:
    """Return what multiplies as the blocks of the image tower do, `REPEATS` blocks.

    Parameters
    ----------
    dtype : torch.dtype
    prepacked : bool
        By oneDNN rather than by torch's own choice for float32.
    """
    torch.manual_seed(0)
    layers = [
        (torch.randn(ROWS, n_in).to(dtype), torch.randn(n_out, n_in).to(dtype), torch.zeros(n_out))
        for n_in, n_out in SHAPES
    ]

    def multiply() -> None:
        with torch.inference_mode(), _onednn(prepacked):
            for _ in range(REPEATS):
                for inputs, weights, bias in layers:
                    functional.linear(inputs, weights, bias.to(dtype))

    return multiply


def operations() -> float:
    """Return floating-point operations of what `products` gives."""
    return REPEATS * sum(2.0 * ROWS * n_in * n_out for n_in, n_out in SHAPES)


KINDS: dict[str, Callable[[], Callable[[], None]]] = {
    "float32": lambda: products(torch.float32),
    "float32 by oneDNN": lambda: products(torch.float32, prepacked=True),
    "bfloat16": lambda: products(torch.bfloat16),
}


def product_cases(clip_operations: float) -> list[Case]:
    """Return a case for each kind of product, whose figure is seconds for one clip."""
    part = operations() / clip_operations
    return [Case(f"products, {kind}", make(), pieces=part) for kind, make in KINDS.items()]


def clip_operations(n_segments: int, n_tokens: int) -> float:
    """Return what a clip of twelve frames takes in ViT-B/32."""
    return VIT_B_32.clip(N_FRAMES, n_segments, n_tokens)


def _key_times(stream: Any) -> list[int]:
    """Return when key pictures are shown; the index of an MP4 file has when they are decoded."""
    decoded = [entry.timestamp for entry in stream.index_entries if entry.is_keyframe]
    return [time - decoded[0] + (stream.start_time or 0) for time in decoded]


def _centres(stream: Any) -> list[int]:
    """Return the times of twelve equal parts' centres, in the stream's ticks."""
    length = stream.duration / N_FRAMES
    return [(stream.start_time or 0) + int((i + 0.5) * length) for i in range(N_FRAMES)]


@contextmanager
def _onednn(chosen: bool) -> Iterator[None]:
    # This lets oneDNN take float32 products; without AMX it computes them in float32.
    backends: Any = torch.backends
    switch = backends.mkldnn.matmul
    before = switch.fp32_precision
    if chosen:
        switch.fp32_precision = "bf16"
    try:
        yield
    finally:
        switch.fp32_precision = before
