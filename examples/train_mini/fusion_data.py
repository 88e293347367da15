"""Encoder outputs of single samples, and synthetic clips made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from alignment_step import Features, both_views
from data import Labelled, goemotions_fine
from language_step import labelled_texts, spoken_task
from settings import CLASSES, PREPROCESS, SEED
from spaces import aligned_tower
from speech import VERSIONS, Voices, join, may_learn, voices
from tools import cached
from torch import Tensor
from tower_trainer import features_of
from vision_step import some_faces
from voice_step import embedded, speaker_means

from merclip.network import MERCLIP
from merclip.network.residual import ResidualTower
from merclip.preprocess import ClipFeatures, Sample
from merclip.preprocess.text import tokenize

TEXTS_PER_CLASS = 8000
FINE_PER_CLASS = 300
CALM, NEUTRAL, HAPPY = (CLASSES.index(name) for name in ("calm", "neutral", "happy"))
CLASS_WEIGHTS = {"neutral": 1.5, "happy": 1.2, "calm": 0.4, "contempt": 0.2}
"""Of clips with several modalities, where it is not 1."""
BALANCE = {"L": 0.7, "V": 0.6, "A": 0.5}
"""Of clips with one modality: a class of n samples is shown n to this power times."""
MODALITY_COUNTS = (0.5, 0.2, 0.3)
"""Shares of clips with one, two and three modalities."""
CONFLICTS = 0.2

Pool = dict[int, list[list[Tensor]]]
"""For each class its samples; for each sample its versions, of shape (n, D)."""


@dataclass
class Pools:
    """Encoded samples by modality letter and class."""

    by_letter: dict[str, Pool]

    def classes(self, letter: str) -> set[int]:
        """Return the classes that a modality has samples of."""
        return {number for number, samples in self.by_letter[letter].items() if samples}

    def class_of_one(self, letter: str, random: np.random.Generator) -> int:
        """Return a class for a clip of one modality: frequent ones more often."""
        counts = {number: len(samples) for number, samples in self.by_letter[letter].items()}
        weights = np.array(list(counts.values()), dtype=float) ** BALANCE[letter]
        return int(random.choice(list(counts), p=weights / weights.sum()))

    def draw(self, letter: str, number: int, random: np.random.Generator) -> Tensor:
        """Return a random version of a random sample."""
        samples = self.by_letter[letter][number]
        versions = samples[random.integers(len(samples))]
        return versions[random.integers(len(versions))].float()


def encode_pools(network: MERCLIP, data: Path, run_folder: Path, part: str) -> Pools:
    """Return encoded training ("train") or validation samples of each modality."""
    vision = torch.load(run_folder / "alignment.pt")
    texts = cached(run_folder / f"pool_{part}_texts.pt", lambda: _text_pool(network, data, part))
    return Pools(
        {
            "L": texts,
            "V": _face_pool(vision, data, run_folder, part),
            "A": _voice_pool(data, run_folder, part),
        }
    )


@torch.no_grad()
def _face_pool(state: dict[str, Tensor], data: Path, run_folder: Path, part: str) -> Pool:
    tower = aligned_tower(state)
    training, validation = some_faces(data, run_folder)
    if part == "train":
        versions = [_projected(tower, rows) for rows in load_features("vision", run_folder)]
        classes = training.classes
    else:
        versions = [
            _projected(tower, list(features_of(tower, view).split(1)))
            for view in both_views(validation)
        ]
        classes = validation.classes
    # The package takes the mean of a frame and its mirror image.
    seen = [(one + other) / 2 for one, other in zip(*versions[:2], strict=True)]
    return _by_class(classes, [seen, *versions[2:]])


@torch.no_grad()
def _voice_pool(data: Path, run_folder: Path, part: str) -> Pool:
    """Return embedded voices: of training by the tower itself, else by towers that lack them."""
    speech = voices(data, run_folder)
    if part != "train":
        return left_out_voices(torch.load(run_folder / "voice_check.pt"), speech)
    speech = speech.where(may_learn(speech))
    return voice_versions(torch.load(run_folder / "voice.pt"), speech)


@torch.no_grad()
def left_out_voices(states: dict[str, dict[str, Tensor]], speech: Voices) -> Pool:
    """Return each corpus embedded by the projection that lacks it."""
    speech = speech.where(speech.version == 0)
    parts = [speech.where(speech.corpora == name) for name in states]
    rows = [embedded(states[name], own) for name, own in zip(states, parts, strict=True)]
    return _by_class(join(parts).classes, [list(torch.cat(rows).half().split(1))])


@torch.no_grad()
def voice_versions(state: dict[str, Tensor], speech: Voices) -> Pool:
    """Return embedded voices: as they are, adapted to their speaker, and moved to another."""
    random = np.random.default_rng(SEED)
    versions = []
    for number in range(VERSIONS):
        own = speech.where(speech.version == number)
        rows = embedded(state, own)
        means = speaker_means(rows, own)
        first = np.unique(own.speakers, return_index=True)[1]
        others = means[random.choice(first, len(own))]
        made = rows, rows - means + rows.mean(0), rows - means + others
        versions += [list(kind.half().split(1)) for kind in made]
    return _by_class(own.classes, versions)


def load_features(name: str, run_folder: Path) -> Features:
    """Return the states of training samples that the alignment step kept."""
    return torch.load(run_folder / f"features_{name}.pt")


def _text_pool(network: MERCLIP, data: Path, part: str) -> Pool:
    texts = labelled_texts(data)[0 if part == "train" else 1]
    texts = _limited(texts, TEXTS_PER_CLASS, np.random.default_rng(SEED))
    return _by_class(texts.classes, [encode_texts(network, texts.samples)])


def _projected(tower: ResidualTower, rows: list[Tensor]) -> list[Tensor]:
    embedded = tower.projection(torch.cat(rows).float()).half()
    return list(embedded.split([len(row) for row in rows]))


@dataclass
class TextSet:
    """Encoded texts with labels of their own."""

    sequences: list[Tensor]
    numbers: np.ndarray
    names: tuple[str, ...]


def encode_text_sets(network: MERCLIP, data: Path) -> list[TextSet]:
    """Encode training comments with GoEmotions' own labels, and the written texts."""
    texts, numbers, names = goemotions_fine(data, "train")
    labelled = Labelled(texts, numbers, np.full(len(texts), "goemotions"))
    kept_back = set(labelled_texts(data)[1].samples)
    labelled = labelled.where(np.array([text not in kept_back for text in texts]))
    chosen = _limited(labelled, FINE_PER_CLASS, np.random.default_rng(SEED))
    written = spoken_task()
    return [
        TextSet(encode_texts(network, chosen.samples), chosen.classes, tuple(names)),
        TextSet(encode_texts(network, written.texts), written.numbers, written.names),
    ]


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


def compose(
    pools: Pools, random: np.random.Generator, conflicts: float
) -> tuple[ClipFeatures, int, bool]:
    """Make one clip of samples of the same emotion, or of two in conflict.

    Returns
    -------
    clip : ClipFeatures
    number : int
        The class.
    agree : bool
        Whether all modalities show that class.
    """
    known = sorted(pools.by_letter)
    count = 1 + int(random.choice(3, p=MODALITY_COUNTS)) if len(known) > 1 else 1
    if count == 1:
        letters = [str(random.choice(known))]
        number = pools.class_of_one(letters[0], random)
    else:
        number = _class_of_several(random)
        letters = _letters(pools, number, count, random)
    shown = {letter: _shown(letter, number, random) for letter in letters}
    agree = len(letters) == 1 or number == CALM or random.random() >= conflicts
    if not agree:
        letter = str(random.choice(letters))
        others = sorted(pools.classes(letter) - {number, CALM})
        shown[letter] = NEUTRAL if random.random() < 0.3 else int(random.choice(others))
        agree = shown[letter] == number
    sequences = {
        letter: _sequence(pools, letter, shown[letter], random) for letter in sorted(letters)
    }
    return ClipFeatures(sequences), number, agree


def _class_of_several(random: np.random.Generator) -> int:
    weights = np.array([CLASS_WEIGHTS.get(name, 1.0) for name in CLASSES])
    return int(random.choice(len(CLASSES), p=weights / weights.sum()))


def _letters(pools: Pools, number: int, count: int, random: np.random.Generator) -> list[str]:
    if number == CALM:
        # Only the voice can be told apart as calm; face and words are neutral.
        return ["A", *(letter for letter in "LV" if random.random() < 0.4)]
    known = [letter for letter in "LVA" if number in pools.classes(letter)]
    return list(random.choice(known, min(count, len(known)), replace=False))


def _shown(letter: str, number: int, random: np.random.Generator) -> int:
    if number == CALM and letter != "A":
        return HAPPY if letter == "V" and random.random() < 0.2 else NEUTRAL
    return number


def _sequence(pools: Pools, letter: str, number: int, random: np.random.Generator) -> Tensor:
    if letter == "L":
        sequence = pools.draw(letter, number, random)
    else:
        sequence = (_video if letter == "V" else _sound)(pools, number, random)
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


def _sound(pools: Pools, number: int, random: np.random.Generator) -> Tensor:
    # Most clips are one window; the windows of a longer one are of one voice.
    samples = pools.by_letter["A"][number]
    versions = samples[random.integers(len(samples))]
    count = 1 if random.random() < 0.6 else int(random.integers(2, 9))
    kinds = len(versions) // VERSIONS or 1  # all as they are, all adapted, or all moved
    alike = versions[random.integers(kinds) :: kinds]
    chosen = [alike[random.integers(len(alike))] for _ in range(count)]
    return torch.cat(chosen).float()


def _limited(samples: Labelled, limit: int, random: np.random.Generator) -> Labelled:
    kept = np.zeros(len(samples), dtype=bool)
    for number in np.unique(samples.classes):
        for group in np.unique(samples.groups):
            inside = (samples.classes == number) & (samples.groups == group)
            positions = random.permutation(np.flatnonzero(inside))
            kept[positions[: limit // len(np.unique(samples.groups))]] = True
    return samples.where(kept)


def _by_class(classes: np.ndarray, versions: list[list[Tensor]]) -> Pool:
    samples = list(zip(*versions, strict=True))
    return {
        int(number): [list(samples[i]) for i in np.flatnonzero(classes == number)]
        for number in np.unique(classes)
    }
