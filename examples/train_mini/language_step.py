"""The language encoder, on emotional text; it starts from the label encoder.

Its targets are partly the data sets' labels, partly what a larger tutor says; half of the
texts of the two large tasks are variants that only the tutor has judged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from data import Labelled, goemotions, goemotions_fine, meld, split_validation, text_sets
from label_texts import LabelBank, embed
from settings import CLASSES, EKMAN, NETWORK, SEED
from spaces import label_encoder
from text_step import encode_by_length, last_by_length
from tools import (
    Progress,
    WeightAverage,
    adamw,
    root_balanced,
    seed_everything,
    set_rate,
    take_step,
)
from torch import Tensor, nn
from torch.nn import functional
from tower_trainer import recalls

from merclip.network.encoders import TextEncoder
from merclip.network.model import language_tower
from merclip.preprocess.text import tokenize

N_STEPS = 2800
COUNTS = {"goemotions": 100, "meld": 32, "fine": 48, "written": 16}
"""Texts of each task in a batch."""
RATE, TABLE_FACTOR = 6e-4, 5.0
"""The change of the token table learns faster: each token is seen in few steps."""
NEAR_LABELS, NEAR_TEXTS = 0.2, 48
"""Weight of the penalty for leaving the label encoder's space, and texts it is taken from."""
MORE_SHARE = 0.5
"""Share of the texts of a task that are variants, where it has some."""
HINT = 1.0
"""Weight of foretelling the tutor's embeddings."""
HARD_SHARE = 0.4
"""Share of the data sets' labels in the targets; the rest is what the tutor says."""
BALANCE = 0.75
"""A class of n texts is drawn n to this power times: rare ones somewhat more often."""
DROPPED_WORDS = 0.1
LABEL_SMOOTHING = 0.02
VALIDATION_SHARE = 0.05
READ = {"goemotions": goemotions, "meld": meld}
SPOKEN = Path(__file__).parent / "spoken_texts.json"
TOLD = Path(__file__).parent / "told_situations.json"


class Judged(NamedTuple):
    """Texts, the tutor's probabilities of a task's labels, and its embeddings."""

    texts: list[str]
    said: Tensor
    embeddings: Tensor


class Drawn(NamedTuple):
    """Some texts, the probabilities of their labels, and the tutor's embeddings."""

    texts: list[str]
    targets: Tensor
    embeddings: Tensor


@dataclass
class Task:
    """Texts with labels of their own."""

    texts: list[str]
    numbers: np.ndarray
    names: tuple[str, ...]
    weight: float = 1.0
    targets: Tensor | None = None
    shares: np.ndarray = field(init=False)
    embeddings: Tensor | None = None
    more: Judged | None = None

    def __post_init__(self) -> None:
        self.shares = root_balanced(self.numbers, BALANCE)
        if self.targets is None:
            numbers = torch.from_numpy(self.numbers)
            self.targets = functional.one_hot(numbers, len(self.names)).float()

    @classmethod
    def of_several(cls, texts: list[str], targets: Tensor, names: tuple[str, ...]) -> Task:
        """Return texts of which some show several of the labels."""
        return cls(texts, targets.argmax(1).numpy(), names, targets=targets)

    def draw(self, count: int, random: np.random.Generator) -> tuple[list[str], Tensor]:
        """Return some labelled texts, and the probabilities of their labels."""
        chosen = random.choice(len(self.texts), count, p=self.shares)
        return [self.texts[i] for i in chosen], self.targets[chosen]

    def draw_judged(self, count: int, random: np.random.Generator) -> Drawn:
        """Return some texts that the tutor has judged, labelled or not."""
        n_more = 0 if self.more is None else round(count * MORE_SHARE)
        chosen = random.choice(len(self.texts), count - n_more, p=self.shares)
        texts = [drop_words(self.texts[i], random) for i in chosen]
        targets, embeddings = [self.targets[chosen]], [self.embeddings[chosen]]
        if self.more is not None:
            chosen = random.integers(0, len(self.more.texts), n_more)
            texts += [self.more.texts[i] for i in chosen]
            targets.append(self.more.said[chosen].float())
            embeddings.append(self.more.embeddings[chosen])
        return Drawn(texts, torch.cat(targets), torch.cat(embeddings).float())

    def learn_from(self, own: Judged, more: Judged | None) -> None:
        """Take in what the tutor says of each text, and of more texts."""
        self.targets = HARD_SHARE * self.targets + (1 - HARD_SHARE) * own.said.float()
        self.embeddings, self.more = own.embeddings, more


class WithStates(nn.Module):
    """An encoder whose vectors are followed by the states that they are projected from."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.tower.ln_final.register_forward_hook(self._keep)

    def forward(self, tokens: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return vectors and states side by side, and the number of tokens."""
        vectors, lengths = self.encoder(tokens)
        return torch.cat([vectors, self._states], dim=-1), lengths

    def _keep(self, module: nn.Module, given: tuple, states: Tensor) -> None:
        self._states = states


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the language tower without the shared token table."""
    seed_everything(SEED + 4)
    frozen = label_encoder(run_folder)
    bank = LabelBank(frozen, SEED)
    training, validation = labelled_texts(data)
    work = tasks(data, training, set(validation.samples))
    judged = torch.load(run_folder / "tutor.pt", weights_only=False)
    for name, task in work.items():
        task.learn_from(judged["tasks"][name], judged["more"].get(name))
    encoder = language_encoder(frozen)
    average = train(encoder, frozen, work, bank)
    report(average, validation, bank)
    state = average.tower.state_dict()
    return {name: value for name, value in state.items() if not name.endswith("table.weight")}


def labelled_texts(data: Path) -> tuple[Labelled, Labelled]:
    """Return training and validation texts."""
    sets = [read(data, "train") for name, read in READ.items() if name in text_sets()]
    return split_validation(sum(sets[1:], sets[0]), VALIDATION_SHARE, SEED)


def tasks(data: Path, training: Labelled, kept_back: set[str]) -> dict[str, Task]:
    """Return what the encoder learns at once, without the texts that are kept back."""
    ekman = np.array([EKMAN.index(n) if n in EKMAN else -1 for n in CLASSES])
    work = {}
    for name in np.unique(training.groups):
        part = training.where(training.groups == name)
        work[str(name)] = Task(part.samples, ekman[part.classes], EKMAN)
    texts, numbers, names = goemotions_fine(data, "train")
    known = [i for i, text in enumerate(texts) if text not in kept_back]
    work["fine"] = Task([texts[i] for i in known], numbers[known], tuple(names), weight=0.5)
    return {**work, "written": spoken_task()}


def spoken_task() -> Task:
    """Return situations, utterances and comments that were written for this training."""
    found = json.loads(SPOKEN.read_text(encoding="utf-8"))
    told = json.loads(TOLD.read_text(encoding="utf-8"))
    pairs = [
        (text, number)
        for number, (name, kinds) in enumerate(found.items())
        for texts in (*kinds.values(), told.get(name, ()))
        for text in texts
    ]
    numbers = np.array([number for _, number in pairs])
    return Task([text for text, _ in pairs], numbers, tuple(found), weight=0.5)


def language_encoder(frozen: TextEncoder) -> TextEncoder:
    """Return a trainable copy that shares the frozen token table."""
    return TextEncoder(language_tower(NETWORK, frozen.tower))


def train(
    encoder: TextEncoder, frozen: TextEncoder, work: dict[str, Task], bank: LabelBank
) -> TextEncoder:
    """Train on cosines to label embeddings; return the average of the weights."""
    random = np.random.default_rng(SEED)
    encoder.log_scale = nn.Parameter(torch.tensor(3.0))
    mean = work["goemotions"].embeddings.float().mean(0)
    width = encoder.tower.ln_final.normalized_shape[0]
    foretell = nn.Linear(width, len(mean))
    factors = {encoder.tower.token_embedding: TABLE_FACTOR}
    optimizer = adamw([encoder, foretell], RATE, 0.02, factors)
    average = WeightAverage(encoder, 0.995)
    both = WithStates(encoder)
    progress = Progress("language", N_STEPS, every=60.0)
    for step in range(N_STEPS):
        set_rate(optimizer, RATE, step, N_STEPS)
        drawn = [task.draw_judged(COUNTS[name], random) for name, task in work.items()]
        tokens = [tokenize(text).ids for part in drawn for text in part.texts]
        vectors, states = last_by_length(both, tokens).tensor_split([-width], dim=-1)
        found = functional.normalize(vectors, dim=-1)
        losses = task_losses(found, drawn, list(work.values()), bank, encoder.log_scale.clamp(max=4.0).exp())
        near = leaving(found, tokens, frozen, random)
        wanted = torch.cat([part.embeddings for part in drawn]) - mean
        missed = 1 - functional.cosine_similarity(foretell(states), wanted).mean()
        take_step(optimizer, sum(losses) + NEAR_LABELS * near + HINT * missed)
        average.update(encoder)
        progress(step + 1, loss=losses[0].item(), near=near.item(), missed=missed.item())
    return average.module


def task_losses(
    found: Tensor, drawn: list[Drawn], work: list[Task], bank: LabelBank, scale: Tensor
) -> list[Tensor]:
    """Return each task's cross-entropy against random wordings of its labels."""
    parts = found.split([len(part.texts) for part in drawn])
    return [
        task.weight
        * functional.cross_entropy(
            scale * part @ bank.draw(task.names).T, said.targets, label_smoothing=LABEL_SMOOTHING
        )
        for task, part, said in zip(work, parts, drawn, strict=True)
    ]


def leaving(
    found: Tensor, tokens: list[Tensor], frozen: TextEncoder, random: np.random.Generator
) -> Tensor:
    """Return how far some texts have moved from where the label encoder has them."""
    chosen = random.choice(len(tokens), NEAR_TEXTS, replace=False)
    with torch.no_grad():
        start = encode_by_length(frozen, [tokens[i] for i in chosen])
    return 1 - (found[chosen] * start).sum(-1).mean()


def drop_words(text: str, random: np.random.Generator) -> str:
    """Leave out some words at random."""
    words = text.split()
    if len(words) < 4:
        return text
    return " ".join(word for word in words if random.random() > DROPPED_WORDS) or text


def report(encoder: TextEncoder, texts: Labelled, bank: LabelBank) -> None:
    """Print accuracies on validation texts, with words as labels."""
    numbers = np.array([CLASSES.index(name) for name in EKMAN])
    guesses = numbers[(embed(encoder.eval(), texts.samples) @ bank.words(EKMAN).T).argmax(1)]
    for group in np.unique(texts.groups):
        inside = texts.groups == group
        accuracy, balanced = recalls(guesses[inside], texts.classes[inside])
        print(f"[language] {group}: {accuracy:.3f}, balanced {balanced:.3f}", flush=True)
