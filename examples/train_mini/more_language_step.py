"""The language encoder once more: texts of further corpora, and many told situations.

It goes on from `language_start.pt`. What it has learned there it keeps by learning from its
own former answers, beside the labels: on half of the texts, mixtures that nobody labelled,
from these alone.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import torch
from data import Labelled, emotion_texts, text_sets
from label_texts import LabelBank
from language_step import (
    Task,
    drop_words,
    labelled_texts,
    language_encoder,
    report,
    tasks,
)
from settings import CLASSES, SEED
from spaces import label_encoder
from text_step import encode_by_length, mixtures
from tools import (
    Progress,
    WeightAverage,
    adamw,
    resumed,
    seed_everything,
    set_rate,
    store,
    take_step,
)
from torch import Tensor, nn
from torch.nn import functional

from merclip.network.encoders import TextEncoder
from merclip.preprocess.text import tokenize

N_STEPS = 450
COUNTS = {
    "goemotions": 26,
    "meld": 16,
    "fine": 8,
    "written": 24,
    "xed": 8,
    "dailydialog": 4,
    "semeval2018": 6,
    "brighter": 4,
}
"""Texts of each task in a batch."""
WEIGHTS = {"fine": 0.5, "xed": 0.5}
"""Of tasks whose labels are many, or often doubtful: what a line of a film shows."""
RATE, TABLE_FACTOR = 4e-4, 5.0
SCALE = 20.0
"""Of the former answers' cosines."""
HARD_SHARE = 0.5
"""Share of labels in the targets of texts that have former answers."""
KNOWN = ("goemotions", "meld", "fine")
NEAR_START = 0.2
"""Weight of the penalty for leaving the former embedding."""
MIXED_SHARE = 0.4
LABEL_SMOOTHING = 0.02
MAX_TOKENS = 48
STORE_EVERY = 25
RARE = 3
"""Tokens in fewer texts than this count as unknown."""


def run(data: Path, run_folder: Path, left_out: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Return the state of the language tower without the shared token table.

    `left_out` names further corpora that it does not learn from.
    """
    seed_everything(SEED + 11)
    frozen = label_encoder(run_folder)
    bank = LabelBank(frozen, SEED)
    training, validation = labelled_texts(data)
    work = all_tasks(data, training, validation, left_out)
    encoder = language_encoder(frozen)
    state = torch.load(run_folder / "language_start.pt")
    encoder.tower.load_state_dict(state, strict=False)
    average = train(encoder, work, bank, run_folder / "language.stored")
    forget_rare(average, work)
    report(average, validation, bank)
    state = average.tower.state_dict()
    return {name: value for name, value in state.items() if not name.endswith("table.weight")}


def all_tasks(
    data: Path, training: Labelled, validation: Labelled, left_out: tuple[str, ...]
) -> dict[str, Task]:
    """Return what it learned before, and the texts of further corpora."""
    work = tasks(data, training, set(validation.samples))
    for name in text_sets():
        if name not in (*work, *left_out):
            work[name] = Task.of_several(*emotion_texts(data, name, "train"))
    return work


def train(
    encoder: TextEncoder, work: dict[str, Task], bank: LabelBank, stored: Path
) -> TextEncoder:
    """Train on cosines to label embeddings; return the average of the weights."""
    former = copy.deepcopy(encoder).eval().requires_grad_(False)
    encoder.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
    factors = {encoder.tower.token_embedding: TABLE_FACTOR}
    optimizer = adamw([encoder], RATE, 0.02, factors)
    average = WeightAverage(encoder, 0.995)
    steps = resumed(stored, N_STEPS, encoder, optimizer, average.module)
    average.steps = steps.start
    random = np.random.default_rng([SEED, steps.start])
    progress = Progress("language", N_STEPS, every=60.0)
    for step in steps:
        set_rate(optimizer, RATE, step, N_STEPS)
        loss, shown = batch_loss(encoder, former, work, bank, random)
        take_step(optimizer, loss)
        average.update(encoder)
        progress(step + 1, **shown)
        if (step + 1) % STORE_EVERY == 0:
            store(stored, step + 1, encoder, optimizer, average.module)
    return average.module


@torch.no_grad()
def forget_rare(encoder: TextEncoder, work: dict[str, Task]) -> None:
    """Take back what was learned of tokens in few texts: the rest are the words it knows.

    Which tokens are changed tells texts in another language from English ones, and among
    tens of thousands of comments are some words of every language.
    """
    table = encoder.tower.token_embedding
    counts = torch.zeros(table.table.num_embeddings)
    for text in {text for task in work.values() for text in task.texts}:
        counts[tokenize(text).ids.unique()] += 1
    table.rows.weight[counts < RARE] = 0


def batch_loss(
    encoder: TextEncoder,
    former: TextEncoder,
    work: dict[str, Task],
    bank: LabelBank,
    random: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch of all tasks, and what to print."""
    texts, targets = zip(
        *(draw(task, COUNTS[name], name in KNOWN, random) for name, task in work.items()),
        strict=True,
    )
    tokens = [[tokenize(text, MAX_TOKENS).ids for text in part] for part in texts]
    found = encode_by_length(encoder, sum(tokens, [])).split([len(part) for part in tokens])
    known = [place for place, name in enumerate(work) if name in KNOWN]
    with torch.no_grad():
        before = encode_by_length(former, sum((tokens[place] for place in known), []))
    before = dict(zip(known, before.split([len(tokens[p]) for p in known]), strict=True))
    total, near, shown = 0.0, [], {}
    for place, (name, task) in enumerate(work.items()):
        wanted = targets[place]
        if place in before:
            said = (SCALE * before[place] @ bank.words(task.names).T).softmax(1)
            hard = HARD_SHARE * wanted.any(1, keepdim=True)
            wanted = hard * wanted + (1 - hard) * said
            near.append(1 - (found[place] * before[place]).sum(1))
        scores = encoder.log_scale.clamp(max=4.0).exp() * found[place] @ bank.draw(task.names).T
        loss = functional.cross_entropy(scores, wanted, label_smoothing=LABEL_SMOOTHING)
        share = COUNTS[name] / COUNTS["goemotions"]
        total = total + WEIGHTS.get(name, 1.0) * share * loss
        shown[name] = loss.item()
    far = torch.cat(near).mean()
    return total + NEAR_START * far, {**shown, "far": far.item()}


def draw(
    task: Task, count: int, mixed: bool, random: np.random.Generator
) -> tuple[list[str], Tensor]:
    """Return some texts and the shares of their labels: none for mixtures of two texts."""
    texts, targets = task.draw(count, random)
    texts = [drop_words(text, random) for text in texts]
    if mixed:
        n_mixed = round(MIXED_SHARE * count)
        others = mixtures(task.draw(2 * n_mixed, random)[0], random)
        texts[: len(others)] = others
        targets = targets.clone()
        targets[: len(others)] = 0
    return texts, targets
