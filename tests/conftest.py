"""Fixtures: a tiny architecture, tiny classifiers, and synthetic clips."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from hub_server import Hub, serving
from huggingface_hub import constants

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


@pytest.fixture
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection but those to 127.0.0.1."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", f"a connection to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_this_machine: None) -> Iterator[Hub]:
    """Point huggingface_hub at a local server, with an empty cache."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    huggingface_hub.close_session()
    with serving() as server:
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # Xet's chunks need a server of their own; without it large files go by git's LFS.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server
    huggingface_hub.close_session()
