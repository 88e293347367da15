"""Wordings of the classes: words, sentences, templates, and their embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from settings import CLASSES
from torch import Tensor

from merclip.network.encoders import TextEncoder, last_positions
from merclip.preprocess.text import tokenize

TEXTS = json.loads((Path(__file__).parent / "emotion_texts.json").read_text(encoding="utf-8"))


def wordings(name: str) -> list[str]:
    """Return every training wording of a class, templates included, once each."""
    texts, templates = TEXTS["classes"][name], TEXTS["templates"]
    filled = [
        template.format(text)
        for kind in ("words", "sentences")
        for text in texts[kind]
        for template in templates[kind]
    ]
    return list(dict.fromkeys(filled))


def other_wordings() -> list[str]:
    """Return words and definitions of emotions that are no class."""
    return [text for word, texts in TEXTS["other"].items() for text in (word, *texts)]


def distillation_texts() -> list[str]:
    """Return all emotion texts that the text tower learns from the teacher."""
    texts = [text for name in CLASSES for text in wordings(name)]
    for word, definitions in TEXTS["other"].items():
        texts += [template.format(word) for template in TEXTS["templates"]["words"]]
        texts += definitions
        texts += [f"{word}: {definition}" for definition in definitions]
    return list(dict.fromkeys(texts))


def varied_texts(seed: int) -> list[str]:
    """Return emotion words, definitions and sentences, plain and in many random frames."""
    random = np.random.default_rng(seed)
    found = distillation_texts()
    found += [text for name in CLASSES for text in varied_wordings(name, random, 14, 4)]
    for word, definitions in TEXTS["other"].items():
        found += [in_frame("words", word, random) for _ in range(10)]
        found += [in_frame(kind_of(text), text, random) for text in definitions for _ in range(2)]
    return list(dict.fromkeys(found))


def kind_of(text: str) -> str:
    """Return which frames a definition fits: those of whole sentences, or of phrases."""
    return "sentences" if text.endswith((".", "!", "?")) else "definitions"


def varied_wordings(
    name: str, random: np.random.Generator, n_of_word: int, n_of_sentence: int
) -> list[str]:
    """Return a class's words and sentences in random frames."""
    texts = TEXTS["classes"][name]
    found = [in_frame("words", word, random) for word in texts["words"] for _ in range(n_of_word)]
    return found + [
        in_frame("sentences", sentence, random)
        for sentence in texts["sentences"]
        for _ in range(n_of_sentence)
    ]


def in_frame(kind: str, text: str, random: np.random.Generator) -> str:
    """Say a word, definition or sentence of a random subject in a random frame."""
    subject = str(random.choice(TEXTS["frames"]["subjects"]))
    return str(random.choice(TEXTS["frames"][kind])).format(subject=subject, text=text)


def validation_sentences() -> tuple[list[str], np.ndarray]:
    """Return descriptions kept for validation, and their classes' numbers."""
    pairs = [(text, CLASSES.index(n)) for n, texts in TEXTS["validation"].items() for text in texts]
    return [text for text, _ in pairs], np.array([number for _, number in pairs])


@torch.no_grad()
def embed(encoder: TextEncoder, texts: Sequence[str], batch: int = 512) -> Tensor:
    """Return embeddings of norm 1, in the order of `texts`."""
    ids = [tokenize(text).ids for text in texts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    rows: list[Tensor] = [torch.empty(0)] * len(ids)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        states = last_positions(*encoder([ids[i] for i in chosen])).float()
        for i, row in zip(chosen, torch.nn.functional.normalize(states, dim=-1), strict=True):
            rows[i] = row
    return torch.stack(rows)


class LabelBank:
    """Embeddings of all wordings, from which training draws label matrices."""

    def __init__(self, encoder: TextEncoder, seed: int) -> None:
        self.encoder = encoder
        self.random = np.random.default_rng(seed)
        self.by_class = {name: self._kinds(encoder, name) for name in CLASSES}
        self.by_class |= self._other_kinds(encoder)
        self.other = embed(encoder, other_wordings())

    def words(self, names: Sequence[str]) -> Tensor:
        """Return the embedding of each class's own name: shape (n, D)."""
        return torch.stack([self.by_class[name][0][0] for name in names])

    def draw(self, names: Sequence[str]) -> Tensor:
        """Return one random wording of each class or other emotion word: shape (n, D).

        Three draws in ten take the plain names; else each class is a phrase, or
        each is a sentence, or they are mixed.
        """
        kind = self.random.random()
        if kind < 0.3:
            return self.words(names)
        share = 0.0 if kind < 0.5 else 1.0 if kind < 0.8 else 0.5
        return torch.stack([self._one(name, share) for name in names])

    def draw_other(self, count: int) -> Tensor:
        """Return random texts of emotions that are no class: shape (count, D)."""
        return self.other[self.random.choice(len(self.other), count, replace=False)]

    def _one(self, name: str, sentence_share: float) -> Tensor:
        kind = self.by_class[name][int(self.random.random() < sentence_share)]
        return kind[self.random.integers(len(kind))]

    @staticmethod
    def _other_kinds(encoder: TextEncoder) -> dict[str, tuple[Tensor, Tensor]]:
        templates = TEXTS["templates"]["words"]
        kinds: dict[str, tuple[Tensor, Tensor]] = {}
        filled = [[t.format(word) for t in templates] for word in TEXTS["other"]]
        words = embed(encoder, [text for texts in filled for text in texts])
        definitions = embed(encoder, [text for texts in TEXTS["other"].values() for text in texts])
        ends = np.cumsum([len(texts) for texts in TEXTS["other"].values()])
        split = torch.tensor_split(definitions, ends[:-1].tolist())
        for word, own, described in zip(
            TEXTS["other"], words.split(len(templates)), split, strict=True
        ):
            kinds[word] = (own, described)
        return kinds

    @staticmethod
    def _kinds(encoder: TextEncoder, name: str) -> tuple[Tensor, Tensor]:
        texts, templates = TEXTS["classes"][name], TEXTS["templates"]
        filled = [
            [t.format(text) for t in templates[kind] for text in texts[kind]]
            for kind in ("words", "sentences")
        ]
        filled[1] += varied_wordings(name, np.random.default_rng(len(name)), 6, 2)
        return embed(encoder, filled[0]), embed(encoder, filled[1])
