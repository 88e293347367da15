"""Corpora of acted speech, and what Whisper's encoder makes of their clips, pooled over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from augment import augment_sound
from data import LEFT_OUT, class_number, decode, members
from settings import ARCHITECTURE, EMBED_DIM, PREPROCESS, SEED
from tools import cached
from torch import Tensor
from torchaudio.functional import resample

from merclip.network.checkpoint import round_to_eight_bits
from merclip.network.weights import read_weights
from merclip.network.whisper import WhisperTower, build_whisper, load_whisper
from merclip.preprocess.audio import sound_to_tensor

CORPORA = ("ravdess", "emodb", "nemo", "emovo", "ased")
LICENSED = {"research": CORPORA, "free": ("emodb",)}
"""What may be learned from: "free" is what may be used commercially too."""
TEST_ACTORS = ("17", "18", "19", "20")
"""Of RAVDESS; no step learns from them."""
WHISPER = "whisper_base_encoder.safetensors"
VERSIONS = 2
"""How often each clip is there: as it is, then changed at random."""
SPEEDS = (0.85, 0.92, 1.0, 1.0, 1.08, 1.17)
SHORT_SHARE, SHORTEST = 0.5, 1.2
"""Share of changed clips of which a part is cut out, and seconds that it lasts at least."""


@dataclass
class Voices:
    """Clips of speech as pooled states of Whisper's encoder.

    Parameters
    ----------
    states : Tensor of shape (n, width)
        Of a clip as it is (`version` 0), or changed.
    classes, version : ndarray of shape (n,), int
    speakers, corpora : ndarray of shape (n,), str
        A speaker's name begins with that of the corpus.
    """

    states: Tensor
    classes: np.ndarray
    speakers: np.ndarray
    corpora: np.ndarray
    version: np.ndarray

    def where(self, mask: np.ndarray) -> Voices:
        """Return the clips for which `mask` is true."""
        kept = np.flatnonzero(mask)
        arrays = self.classes, self.speakers, self.corpora, self.version
        return Voices(self.states[kept], *(array[kept] for array in arrays))

    def __len__(self) -> int:
        return len(self.classes)


def voices(data: Path, run_folder: Path) -> Voices:
    """Return all corpora in all versions."""
    parts = [
        cached(
            run_folder / f"voices_{name}_{version}.pt", lambda n=name, v=version: pool(n, v, data)
        )
        for version in range(VERSIONS)
        for name in CORPORA
    ]
    return join(parts)


def join(parts: list[Voices]) -> Voices:
    """Put several sets of clips together."""
    arrays = ("classes", "speakers", "corpora", "version")
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in arrays)
    return Voices(torch.cat([part.states.float() for part in parts]), *joined)


def pool(name: str, version: int, data: Path) -> Voices:
    """Encode one corpus in one version."""
    random = np.random.default_rng((SEED, CORPORA.index(name), version))
    tower = whisper_tower(data)
    states, classes, speakers = [], [], []
    for row, sound in clips(name, data):
        heard = changed(sound, random) if version else sound
        states.append(pooled(tower, heard).half())
        classes.append(class_number(row["emotion"]))
        speakers.append(f"{name}-{row.get('actor') or row['speaker']}")
    count = len(states)
    return Voices(
        torch.stack(states),
        np.array(classes),
        np.array(speakers),
        np.full(count, name),
        np.full(count, version),
    )


def clips(name: str, data: Path) -> Iterator[tuple[dict[str, str], np.ndarray]]:
    """Yield rows and sounds of a corpus, without the class that no step sees."""
    for row, content in members(data / f"{name}_speech.tar"):
        if row["emotion"] != LEFT_OUT:
            yield row, decode(content)


def whisper_tower(data: Path) -> WhisperTower:
    """Return the audio tower with Whisper's weights, rounded as they are shipped."""
    tower = build_whisper(EMBED_DIM, ARCHITECTURE["audio_cfg"]).eval().requires_grad_(False)
    load_whisper(tower.encoder, read_weights(data / WHISPER), WHISPER)
    for tensor in tower.encoder.parameters():
        if tensor.ndim > 1:
            round_to_eight_bits(tensor)
    return tower


def pooled(tower: WhisperTower, sound: np.ndarray) -> Tensor:
    """Return a clip's states, shape (width,): the mean over its windows."""
    windows = sound_to_tensor(sound, 0, PREPROCESS.audio)
    return torch.cat([tower.features(window) for window in windows.split(1)]).mean(0)


def changed(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return speech as other throats, rooms, microphones and lines would give it."""
    rate = PREPROCESS.audio.rate
    heard, speed = torch.from_numpy(sound), random.choice(SPEEDS)
    if speed != 1.0:
        heard = resample(heard, round(rate * speed / 100) * 100, rate)
    if random.random() < SHORT_SHARE and len(heard) > 1.25 * SHORTEST * rate:
        wanted = int(random.uniform(SHORTEST * rate, len(heard)))
        start = int(random.integers(0, len(heard) - wanted + 1))
        heard = heard[start : start + wanted]
    return augment_sound(heard[None].clone(), rate, random)[0].numpy()


def known_to(licence: str) -> Callable[[Voices], np.ndarray]:
    """Return which clips may be learned from under a licence: not the test actors'."""
    test = [f"ravdess-{actor}" for actor in TEST_ACTORS]

    def known(voices: Voices) -> np.ndarray:
        return np.isin(voices.corpora, LICENSED[licence]) & ~np.isin(voices.speakers, test)

    return known
