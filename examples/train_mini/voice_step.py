"""The audio tower's projection: from Whisper's pooled states to the label encoder's space.

Linear heads learn the classes first, from states of which a speaker's mean is taken off, wholly,
in part or not at all, or exchanged for another's, so that they hear how something is said
beyond who says it; the projection then learns to say what the heads say, to labels in any
wording. Whisper itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from label_texts import LabelBank
from settings import CLASSES, EMBED_DIM, SEED
from spaces import label_encoder
from speech import CORPORA, Voices, may_learn, voices
from tools import Progress, adamw, seed_everything, set_rate, take_step
from torch import Tensor, nn
from torch.nn import functional

N_DIRECTIONS = 500
"""Principal directions of states that are kept: the others tell little, and cost time."""
PENALTY = 2000.0
"""Of the heads' squared weights: strong, as other corpora are what matters."""
FEW = 8.0
"""So many clips of the whole corpus count in each speaker's mean."""
N_STEPS, BATCH, RATE = 2000, 384, 4e-3
HEAD_SCALE = 1.0
REST = 0.35
"""Length of what an embedding says beyond the classes, beside what it says of them."""
LABEL_DIRECTIONS = 48
"""Directions of all wordings that the rest keeps out of."""


@dataclass
class Head:
    """What is learned from states of voices: standardisation, directions, and classes.

    Parameters
    ----------
    mean, deviation : Tensor of shape (width,)
    directions : Tensor of shape (width, k)
    weight, bias : Tensor of shape (k, n_classes), (n_classes,)
    """

    mean: Tensor
    deviation: Tensor
    directions: Tensor
    weight: Tensor
    bias: Tensor

    def places(self, states: Tensor) -> Tensor:
        """Return states along the directions: shape (n, k)."""
        return ((states - self.mean) / self.deviation) @ self.directions

    def logits(self, places: Tensor) -> Tensor:
        """Return logits of all classes: shape (n, n_classes)."""
        return places @ self.weight + self.bias


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the projection, learned from all that the licence allows."""
    seed_everything(SEED + 20)
    speech = voices(data, run_folder)
    speech = speech.where(may_learn(speech))
    bank = LabelBank(label_encoder(run_folder), SEED)
    return train(speech, bank)


def train(speech: Voices, bank: LabelBank) -> dict[str, Tensor]:
    """Return the projection's weight and bias, learned from some speech."""
    head = fit_head(speech)
    return fold(head, *align(head, speech, bank), bank, speech)


def run_check(data: Path, run_folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return for each corpus the projection that was learned without it."""
    seed_everything(SEED + 21)
    speech = voices(data, run_folder)
    bank = LabelBank(label_encoder(run_folder), SEED)
    return {
        name: train(speech.where(may_learn(speech) & (speech.corpora != name)), bank)
        for name in CORPORA
    }


@torch.no_grad()
def embedded(state: Mapping[str, Tensor], speech: Voices) -> Tensor:
    """Return embeddings of clips by a projection: shape (n, D)."""
    return speech.states @ state["weight"].T + state["bias"]


def fit_head(speech: Voices) -> Head:
    """Fit standardisation, directions and a multinomial regression; corpora weigh alike."""
    mean = speech.states.mean(0)
    deviation = speech.states.std(0) + 1e-6
    standard = (speech.states - mean) / deviation
    share = torch.from_numpy(balanced(speech)).float()
    covariance = (standard * share[:, None]).T @ standard
    directions = torch.linalg.eigh(covariance)[1][:, -N_DIRECTIONS:].contiguous()
    places, random = standard @ directions, np.random.default_rng(SEED)
    own = speaker_means(places, speech)
    rows = torch.cat([places, places - own, moved(places, own, speech, random)])
    weight, bias = regress(rows, np.tile(speech.classes, 3), share.repeat(3) / 3)
    return Head(mean, deviation, directions, weight, bias)


def balanced(speech: Voices) -> np.ndarray:
    """Return weights of clips: corpora alike, classes alike within each, sum 1."""
    weights = np.zeros(len(speech))
    for corpus in np.unique(speech.corpora):
        inside = speech.corpora == corpus
        counts = np.bincount(speech.classes[inside], minlength=len(CLASSES))
        weights[inside] = 1.0 / counts[speech.classes[inside]]
        weights[inside] /= weights[inside].sum()
    return weights / weights.sum()


def speaker_means(places: Tensor, speech: Voices) -> Tensor:
    """Return for each clip the mean of its speaker, shrunk towards that of the corpus."""
    found = torch.zeros_like(places)
    for version in np.unique(speech.version):
        for corpus in np.unique(speech.corpora):
            inside = (speech.version == version) & (speech.corpora == corpus)
            whole = places[inside].mean(0)
            for speaker in np.unique(speech.speakers[inside]):
                own = np.flatnonzero(inside & (speech.speakers == speaker))
                share = len(own) / (len(own) + FEW)
                found[own] = whole + share * (places[own].mean(0) - whole)
    return found


def moved(places: Tensor, own: Tensor, speech: Voices, random: np.random.Generator) -> Tensor:
    """Return clips with the mean of another speaker, of any corpus, in the place of their own."""
    first = np.unique(speech.speakers, return_index=True)[1]
    return places - own + own[random.choice(first, len(places))]


def regress(rows: Tensor, classes: np.ndarray, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a multinomial logistic regression."""
    weight = torch.zeros(rows.shape[1], len(CLASSES), requires_grad=True)
    bias = torch.zeros(len(CLASSES), requires_grad=True)
    wanted = torch.from_numpy(classes)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = functional.cross_entropy(rows @ weight + bias, wanted, reduction="none")
        loss = (losses * share).sum() + PENALTY / len(rows) * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def align(head: Head, speech: Voices, bank: LabelBank) -> tuple[Tensor, Tensor]:
    """Learn a linear map from places to embeddings, on cosines to random wordings.

    The targets are what the head says, so that answers to words are those of the head; a
    true class that was learned by heart would make new voices be answered otherwise.
    """
    random = np.random.default_rng(SEED)
    places = head.places(speech.states)
    own = speaker_means(places, speech)
    present = np.unique(speech.classes)
    layer = nn.Linear(places.shape[1], EMBED_DIM)
    spread = places.std(0)
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight) * 0.02 / spread)
    log_scale = nn.Parameter(torch.tensor(2.5))
    optimizer = adamw([layer, nn.ParameterList([log_scale])], RATE, 0.02)
    progress = Progress("voice alignment", N_STEPS)
    chances = balanced(speech)
    for step in range(N_STEPS):
        set_rate(optimizer, RATE, step, N_STEPS)
        chosen = random.choice(len(places), BATCH, p=chances)
        rows = shifted(places[chosen], own[chosen], random)
        kept = present if random.random() < 0.5 else some_of(present, random)
        wanted = head.logits(rows)[:, kept].softmax(1)
        labels = bank.draw([CLASSES[i] for i in kept])
        cosines = functional.normalize(layer(rows), dim=-1) @ labels.T
        loss = functional.cross_entropy(log_scale.clamp(max=4.0).exp() * cosines, wanted)
        take_step(optimizer, loss)
        progress(step + 1, loss=loss.item(), scale=log_scale.exp().item())
    return layer.weight.detach(), layer.bias.detach()


def shifted(rows: Tensor, own: Tensor, random: np.random.Generator) -> Tensor:
    """Take none, a part or all of the speakers' means off, or give some that of others."""
    share = torch.from_numpy(random.choice([0.0, 0.5, 1.0, 1.0], len(rows))).float()[:, None]
    rows = rows - share * own
    others = torch.from_numpy(random.permutation(len(rows)))
    strange = torch.from_numpy(random.random(len(rows)) < 0.25)[:, None]
    return torch.where(strange, rows - (1 - share) * own + own[others], rows)


def some_of(present: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return two or more of the classes."""
    count = int(random.integers(2, len(present)))
    return np.sort(random.choice(present, count, replace=False))


@torch.no_grad()
def fold(
    head: Head, weight: Tensor, bias: Tensor, bank: LabelBank, speech: Voices
) -> dict[str, Tensor]:
    """Put everything into one linear map of states, and add what classes do not use.

    A few examples of a new class can only be told apart by what embeddings keep of a voice
    beyond the known classes. The first directions of speech itself, of equal weight, go
    where no wording of a label points, so that cosines to labels stay what they are.
    """
    embedded = head.places(speech.states) @ weight.T + bias
    wordings = torch.cat([rows for kinds in bank.by_class.values() for rows in kinds])
    used = torch.linalg.eigh(wordings.T @ wordings)[1][:, -LABEL_DIRECTIONS:]
    free = torch.linalg.qr(torch.cat([used, torch.eye(EMBED_DIM)], dim=1))[0][
        :, LABEL_DIRECTIONS:EMBED_DIM
    ]
    places = head.places(speech.states)
    own = speaker_means(places, speech)
    spread = (places - own).std(0)
    first = spread.argsort(descending=True)[: free.shape[1]]
    length = REST * embedded.norm(dim=1).mean() / free.shape[1] ** 0.5
    whole = weight.clone()
    whole[:, first] += free * (length / spread[first])
    whole = whole @ head.directions.T / head.deviation
    offset = bias - whole @ head.mean
    offset -= free @ (free.T @ (whole @ speech.states.mean(0) + offset))
    return {"weight": whole, "bias": offset}
