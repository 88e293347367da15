"""Texts that nobody labelled, for the tutor to judge: variants of those of the data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from data import table_rows, training_sentences
from settings import SEED
from spaces import label_encoder
from text_step import mixtures, vocabulary_words
from torch import Tensor
from torch.nn import functional

from merclip.preprocess.text import tokenize

CHANGED_WORDS, NEIGHBOURS = 0.25, 8
"""Share of a text's words that are replaced, and how many words stand for each."""
COMMENTS = {"varied": 1, "mixed": 1}
UTTERANCES = {"varied": 2, "mixed": 2}
"""How often every text is varied, and how often all are mixed with one another."""


class Neighbours:
    """Words of CLIP's vocabulary, and for each those that mean nearly the same."""

    def __init__(self, table: Tensor) -> None:
        found = {word: tokenize(word).ids for word in vocabulary_words()}
        # Start, one token and end.
        self.words = [word for word, ids in found.items() if len(ids) == 3]
        self.places = {word: place for place, word in enumerate(self.words)}
        rows = table[torch.tensor([int(found[word][1]) for word in self.words])]
        rows = functional.normalize(rows, dim=1)
        parts = [(part @ rows.T).topk(NEIGHBOURS + 1, 1).indices for part in rows.split(512)]
        self.nearest = torch.cat(parts)[:, 1:]

    def vary(self, text: str, random: np.random.Generator) -> str:
        """Replace some of a text's words."""
        return " ".join(self._vary(word, random) for word in text.split())

    def _vary(self, word: str, random: np.random.Generator) -> str:
        bare = word.strip(".,!?;:\"'()").lower()
        if random.random() >= CHANGED_WORDS or len(bare) < 3 or bare not in self.places:
            return word
        other = self.words[self.nearest[self.places[bare]][random.integers(NEIGHBOURS)]]
        return word.lower().replace(bare, other)


def more_texts(
    data: Path,
    run_folder: Path,
    utterances: list[str] | None,
    taken: set[str],
    kept_back: set[str],
) -> dict[str, list[str]]:
    """Return further comments ("goemotions") and further utterances ("meld").

    Among the comments are those of several emotions, which no task takes.

    Parameters
    ----------
    data, run_folder : Path
    utterances : list of str, optional
        To make variants of; none, if they may not be used.
    taken : set of str
        Texts of the tasks, left out.
    kept_back : set of str
        Texts of the validation part, left out and not varied either.
    """
    random = np.random.default_rng(SEED + 7)
    with torch.no_grad():
        neighbours = Neighbours(label_encoder(run_folder).tower.token_embedding.weight)
    rows = table_rows(data / "text" / "goemotions_train.csv")
    comments = [row["text"] for row in rows if row["text"] not in kept_back]
    found = {"goemotions": varied(comments, neighbours, random, **COMMENTS) + comments}
    if utterances is not None:
        spoken = training_sentences(data)[len(rows) :]
        found["meld"] = varied(utterances, neighbours, random, **UTTERANCES) + spoken
    left_out = taken | kept_back
    return {
        name: [text for text in dict.fromkeys(part) if text not in left_out]
        for name, part in found.items()
    }


def varied(
    texts: list[str], neighbours: Neighbours, random: np.random.Generator, varied: int, mixed: int
) -> list[str]:
    """Return variants of texts."""
    found = [neighbours.vary(text, random) for _ in range(varied) for text in texts]
    for _ in range(mixed):
        found += mixtures(list(random.permutation(texts)), random)
    return [text for text in found if text]
