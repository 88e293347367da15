"""Encoder outputs of single samples, and synthetic clips made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from audio_step import SPEEDS, change_speed
from augment import augment_faces, augment_sound, mask_spectrograms
from data import Labelled, goemotions_fine, speaker_part
from language_step import labelled_texts
from settings import CLASSES, IMAGE_SIZE, PREPROCESS, SEED
from tools import cached
from torch import Tensor

from merclip.network import MERCLIP
from merclip.preprocess import ClipFeatures, Sample
from merclip.preprocess.audio import sound_to_tensor
from merclip.preprocess.text import tokenize

FACES_PER_CLASS = 1600
TEXTS_PER_CLASS = 1400
FINE_PER_CLASS = 150
CALM, NEUTRAL, HAPPY = (CLASSES.index(name) for name in ("calm", "neutral", "happy"))
CLASS_WEIGHTS = {"calm": 0.4, "contempt": 0.2}
MODALITY_COUNTS = (0.5, 0.2, 0.3)
"""Shares of clips with one, two and three modalities."""
CONFLICTS = 0.15

Pool = dict[int, list[list[Tensor]]]
"""For each class its samples; for each sample its versions, of shape (n, D)."""


@dataclass
class Pools:
    """Encoded samples by modality letter and class.

    `misleading` is the share of samples of a modality that get a random class.
    Towers know their training samples better than new ones; without such
    errors the decoder would trust them too much.
    """

    by_letter: dict[str, Pool]
    misleading: dict[str, float] = field(default_factory=dict)

    def classes(self, letter: str) -> set[int]:
        """Return the classes that a modality has samples of."""
        return {number for number, samples in self.by_letter[letter].items() if samples}

    def draw(self, letter: str, number: int, random: np.random.Generator) -> Tensor:
        """Return a random version of a random sample."""
        samples = self.by_letter[letter][number]
        versions = samples[random.integers(len(samples))]
        return versions[random.integers(len(versions))].float()


def encode_pools(network: MERCLIP, data: Path, run_folder: Path, part: str) -> Pools:
    """Encode the training or the validation samples; each modality has its file."""
    makers = {"V": _encode_faces, "A": _encode_speech, "L": _encode_texts}

    def make(letter: str) -> Pool:
        random = np.random.default_rng(SEED)
        samples = _samples(letter, data, run_folder, part, random)
        return makers[letter](network, samples, part, random)

    return Pools(
        {
            letter: cached(run_folder / f"pool_{part}_{letter}.pt", partial(make, letter))
            for letter in makers
        }
    )


def _samples(
    letter: str, data: Path, run_folder: Path, part: str, random: np.random.Generator
) -> Labelled:
    index = 0 if part == "train" else 1
    if letter == "L":
        return _limited(labelled_texts(data)[index], TEXTS_PER_CLASS, random)
    # Weights-only loading would refuse the arrays of labels; the files are our own.
    if letter == "V":
        faces = torch.load(run_folder / "faces.pt", weights_only=False)[index]
        return _limited(faces, FACES_PER_CLASS, random)
    speech = torch.load(run_folder / "speech.pt", weights_only=False)
    return speech.where(speaker_part(speech, part))


def encode_fine(network: MERCLIP, data: Path) -> tuple[list[Tensor], np.ndarray, list[str]]:
    """Encode training comments with GoEmotions' own labels: sequences, numbers, names."""
    texts, numbers, names = goemotions_fine(data, "train")
    labelled = Labelled(texts, numbers, np.full(len(texts), "goemotions"))
    chosen = _limited(labelled, FINE_PER_CLASS, np.random.default_rng(SEED))
    return encode_texts(network, chosen.samples), chosen.classes, names


def overconfidence(training: Pools, validation: Pools, words: Tensor) -> dict[str, float]:
    """Return how often each modality misleads more than it does on training samples.

    Parameters
    ----------
    words : Tensor of shape (n_classes, D)
        Embeddings of the classes' names.
    """
    found = {}
    for letter in training.by_letter:
        known, new = (_tower_accuracy(pools, letter, words) for pools in (training, validation))
        chance = 1 / len(training.classes(letter))
        found[letter] = max(0.0, (known - new) / (known - chance))
        print(f"[fusion] tower {letter}: {known:.3f} in training, {new:.3f} in validation")
    return found


def _tower_accuracy(pools: Pools, letter: str, words: Tensor) -> float:
    classes = sorted(pools.classes(letter))
    recalls = []
    for number in classes:
        sequences = [versions[0].float() for versions in pools.by_letter[letter][number]]
        ends = [part[-1] if letter == "L" else part.mean(0) for part in sequences]
        guesses = (torch.stack(ends) @ words[classes].T).argmax(1)
        recalls.append((guesses == classes.index(number)).float().mean().item())
    return float(np.mean(recalls))


@torch.no_grad()
def encode_texts(network: MERCLIP, texts: list[str]) -> list[Tensor]:
    """Return each text's token embeddings in fp16."""
    tokens = [tokenize(text).ids for text in texts]
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    found: list[Tensor] = [torch.empty(0)] * len(tokens)
    for start in range(0, len(order), 128):
        chosen = order[start : start + 128]
        rows = network.encode([Sample(tokens=tokens[i]) for i in chosen], PREPROCESS.vision)
        for i, row in zip(chosen, rows, strict=True):
            found[i] = row["L"].half().clone()
    return found


@torch.no_grad()
def encode_pictures(network: MERCLIP, letter: str, pictures: list[Tensor]) -> list[Tensor]:
    """Return the embeddings of frames or segments: one tensor for each sample."""
    found = []
    name = "frames" if letter == "V" else "segments"
    for start in range(0, len(pictures), 24):
        samples = [Sample(**{name: part}) for part in pictures[start : start + 24]]
        rows = network.encode(samples, PREPROCESS.vision)
        found += [row[letter].clone() for row in rows]
    return found


def compose(pools: Pools, random: np.random.Generator, conflicts: float) -> tuple:
    """Make one clip of samples of the same emotion.

    Returns
    -------
    clip : ClipFeatures
    target : ndarray of shape (n_classes,)
        Sums to 1; several classes when modalities are in conflict.
    """
    weights = np.array([CLASS_WEIGHTS.get(name, 1.0) for name in CLASSES])
    number = int(random.choice(len(CLASSES), p=weights / weights.sum()))
    letters = _letters(pools, number, random)
    shown = {letter: _shown(letter, number, random) for letter in letters}
    target = np.zeros(len(CLASSES))
    target[number] = 1.0
    if len(letters) > 1 and number != CALM and random.random() < conflicts:
        letter, other, share = _conflict(pools, letters, number, random)
        shown[letter] = other
        target[number] -= share
        target[other] += share
    for letter in letters:
        if random.random() < pools.misleading.get(letter, 0.0):
            shown[letter] = int(random.choice(sorted(pools.classes(letter))))
    sequences = {
        letter: _sequence(pools, letter, shown[letter], random) for letter in sorted(letters)
    }
    return ClipFeatures(sequences), target


def _letters(pools: Pools, number: int, random: np.random.Generator) -> list[str]:
    if number == CALM:
        # Only the voice can be told apart as calm; face and words are neutral.
        return ["A", *(letter for letter in "LV" if random.random() < 0.4)]
    known = [letter for letter in "LVA" if number in pools.classes(letter)]
    count = 1 + int(random.choice(3, p=MODALITY_COUNTS))
    return list(random.choice(known, min(count, len(known)), replace=False))


def _shown(letter: str, number: int, random: np.random.Generator) -> int:
    if number == CALM and letter != "A":
        return HAPPY if letter == "V" and random.random() < 0.2 else NEUTRAL
    return number


def _conflict(
    pools: Pools, letters: list[str], number: int, random: np.random.Generator
) -> tuple[str, int, float]:
    letter = str(random.choice(letters))
    if number != NEUTRAL and random.random() < 0.5:
        return letter, NEUTRAL, 0.15
    others = sorted(pools.classes(letter) - {number, CALM})
    return letter, int(random.choice(others)), 0.5 if len(letters) == 2 else 0.3


def _sequence(pools: Pools, letter: str, number: int, random: np.random.Generator) -> Tensor:
    if letter != "V":
        sequence = pools.draw(letter, number, random)
    else:
        sequence = _video(pools, number, random)
    noise = torch.from_numpy(random.standard_normal(sequence.shape)).float()
    return sequence + random.uniform(0, 0.3) * sequence.std() * noise


def _video(pools: Pools, number: int, random: np.random.Generator) -> Tensor:
    # A face keeps its identity over a clip, and is not expressive in each frame.
    samples = pools.by_letter["V"][number]
    versions = samples[random.integers(len(samples))]
    count = 1 if random.random() < 0.3 else int(random.integers(2, 13))
    frames = [versions[random.integers(len(versions))] for _ in range(count)]
    if count > 1 and random.random() < 0.3:
        calm_face = pools.draw("V", NEUTRAL, random)
        for i in random.choice(count, random.integers(1, count // 2 + 1), replace=False):
            frames[i] = calm_face
    return torch.cat(frames).float()


def _limited(samples: Labelled, limit: int, random: np.random.Generator) -> Labelled:
    kept = np.zeros(len(samples), dtype=bool)
    for number in np.unique(samples.classes):
        for group in np.unique(samples.groups):
            inside = (samples.classes == number) & (samples.groups == group)
            positions = random.permutation(np.flatnonzero(inside))
            kept[positions[: limit // len(np.unique(samples.groups))]] = True
    return samples.where(kept)


def _encode_faces(
    network: MERCLIP, faces: Labelled, part: str, random: np.random.Generator
) -> Pool:
    versions = [encode_pictures(network, "V", [face[None] for face in faces.samples])]
    if part == "train":
        changed = []
        for start in range(0, len(faces), 64):
            batch = torch.stack(faces.samples[start : start + 64])
            changed += list(augment_faces(batch, IMAGE_SIZE, random).to(torch.uint8))
        versions.append(encode_pictures(network, "V", [face[None] for face in changed]))
    return _by_class(faces.classes, versions)


def _encode_speech(
    network: MERCLIP, speech: Labelled, part: str, random: np.random.Generator
) -> Pool:
    config = PREPROCESS.audio
    versions = [[sound_to_tensor(sound, IMAGE_SIZE, config) for sound in speech.samples]]
    for _ in range(3 if part == "train" else 0):
        changed = []
        for sound in speech.samples:
            start = random.integers(0, config.rate // 2)
            faster = change_speed(sound[start:], SPEEDS[random.integers(len(SPEEDS))])
            noisy = augment_sound(torch.tensor(faster)[None], config.rate, random)[0]
            pictures = sound_to_tensor(noisy.numpy(), IMAGE_SIZE, config)
            changed.append(mask_spectrograms(pictures, random))
        versions.append(changed)
    return _by_class(speech.classes, [encode_pictures(network, "A", part) for part in versions])


def _encode_texts(
    network: MERCLIP, texts: Labelled, part: str, random: np.random.Generator
) -> Pool:
    return _by_class(texts.classes, [encode_texts(network, texts.samples)])


def _by_class(classes: np.ndarray, versions: list[list[Tensor]]) -> Pool:
    samples = list(zip(*versions, strict=True))
    return {
        int(number): [list(samples[i]) for i in np.flatnonzero(classes == number)]
        for number in np.unique(classes)
    }
