"""Fixtures: a tiny architecture, tiny classifiers, and synthetic clips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from merclip import Clip, EmotionClassifier, Video

TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "patch_size": 8,
        "head_width": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}
"""CLIP's architecture, small enough for a test."""


@pytest.fixture
def tiny() -> Callable[..., EmotionClassifier]:
    """Make a classifier with the tiny architecture and random weights."""

    def make(labels: Any = None, *, network: dict[str, Any] | None = None, **params: Any) -> Any:
        overrides = {"decoder": {"heads": 2}, **(network or {})}
        params.setdefault("random_state", 0)
        return EmotionClassifier(
            labels, model=TINY, pretrained="random", network=overrides, **params
        )

    return make


def make_clips(n: int, seed: int = 0) -> tuple[list[Clip], list[str]]:
    """Return clips of two emotions that all three modalities tell apart."""
    generator = np.random.default_rng(seed)
    clips, labels = [], []
    for index in range(n):
        bright = index % 2 == 0
        level = 200 if bright else 40
        frames = generator.integers(level - 30, level + 30, (3, 24, 32, 3))
        time = np.arange(8000) / 16000
        tone = np.sin(2 * np.pi * (400 if bright else 2000) * time)
        sound = (0.3 * tone + 0.02 * generator.normal(size=8000)).astype(np.float32)
        words = ["what a lovely day", "so good"] if bright else ["this is awful", "so bad"]
        clips.append(
            Clip(
                video=Video(frames.astype(np.uint8), fps=5),
                audio=(sound, 16000),
                text=words[index // 2 % 2],
                id=f"clip{index}",
            )
        )
        labels.append("happy" if bright else "angry")
    return clips, labels


@pytest.fixture(scope="session")
def clips_and_labels() -> tuple[list[Clip], list[str]]:
    """Return 12 clips with all three modalities."""
    return make_clips(12)
