"""Step 4: the language encoder, on emotional text; it starts from the label encoder."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from data import Labelled, goemotions, goemotions_fine, meld, split_validation
from label_texts import LabelBank, embed
from settings import CLASSES, EKMAN, SEED
from spaces import label_encoder
from text_step import encode_by_length
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
from tower_trainer import LABEL_SMOOTHING

from merclip.network.encoders import TextEncoder
from merclip.preprocess.text import tokenize

N_STEPS = 500
BATCH = 128
RATE = 4e-4
NEAR_LABELS = 0.3
"""Weight of the penalty for leaving the label encoder's space."""
FINE_WEIGHT = 0.5
DROPPED_WORDS = 0.1
VALIDATION_SHARE = 0.05
FINE_TEMPLATES = ("{}", "{}", "feeling {}", "The emotion is {}.", "This person expresses {}.")


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the language tower without the shared token table."""
    seed_everything(SEED + 3)
    frozen = label_encoder(run_folder)
    bank = LabelBank(frozen, SEED)
    training, validation = labelled_texts(data)
    encoder = language_encoder(frozen)
    average = train(encoder, frozen, training, goemotions_fine(data, "train"), bank)
    report(average, validation, bank)
    state = average.tower.state_dict()
    return {name: value for name, value in state.items() if "token_embedding" not in name}


def labelled_texts(data: Path) -> tuple[Labelled, Labelled]:
    """Return training and validation texts."""
    return split_validation(goemotions(data, "train") + meld(data, "train"), VALIDATION_SHARE, SEED)


def language_encoder(frozen: TextEncoder) -> TextEncoder:
    """Return a trainable copy that shares the frozen token table."""
    table = frozen.tower.token_embedding
    tower = copy.deepcopy(frozen.tower, {id(table): table}).requires_grad_(True)
    table.requires_grad_(False)
    return TextEncoder(tower)


def train(
    encoder: TextEncoder,
    frozen: TextEncoder,
    texts: Labelled,
    fine: tuple[list[str], np.ndarray, list[str]],
    bank: LabelBank,
) -> TextEncoder:
    """Train on cosines to label embeddings; return the average of the weights."""
    random = np.random.default_rng(SEED)
    weights = root_balanced(texts.classes, 0.6)
    fine_weights = root_balanced(fine[1], 0.6)
    fine_labels = [embed(frozen, [t.format(n) for n in fine[2]]) for t in FINE_TEMPLATES]
    numbers = torch.tensor([EKMAN.index(n) if n in EKMAN else -1 for n in CLASSES])
    log_scale = nn.Parameter(torch.tensor(3.0))
    encoder.log_scale = log_scale
    optimizer = adamw([encoder], RATE, 0.02)
    average = WeightAverage(encoder, 0.995)
    progress = Progress("language", N_STEPS)
    for step in range(N_STEPS):
        set_rate(optimizer, RATE, step, N_STEPS)
        coarse = random.choice(len(texts), BATCH, p=weights)
        finer = random.choice(len(fine[0]), BATCH // 2, p=fine_weights)
        samples = [texts.samples[i] for i in coarse] + [fine[0][i] for i in finer]
        tokens = [tokenize(drop_words(text, random)).ids for text in samples]
        found, start = paired_embeddings(encoder, frozen, tokens)
        scale = log_scale.clamp(max=4.0).exp()
        logits = scale * found[:BATCH] @ bank.draw(EKMAN).T
        targets = numbers[torch.from_numpy(texts.classes[coarse])]
        loss = functional.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING)
        fine_logits = scale * found[BATCH:] @ fine_labels[random.integers(len(fine_labels))].T
        fine_loss = functional.cross_entropy(fine_logits, torch.from_numpy(fine[1][finer]))
        near = 1 - (found * start).sum(-1).mean()
        take_step(optimizer, loss + FINE_WEIGHT * fine_loss + NEAR_LABELS * near)
        average.update(encoder)
        accuracy = (logits.argmax(1) == targets).float().mean().item()
        progress(step + 1, loss=loss.item(), accuracy=accuracy, near=near.item())
    return average.module


def paired_embeddings(
    encoder: TextEncoder, frozen: TextEncoder, tokens: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the texts' embeddings, and those of the frozen label encoder."""
    with torch.no_grad():
        start = encode_by_length(frozen, tokens)
    return encode_by_length(encoder, tokens), start


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
        right = (guesses == texts.classes)[inside]
        recalls = [right[texts.classes[inside] == c].mean() for c in numbers]
        print(f"[language] {group}: {right.mean():.3f}, balanced {np.mean(recalls):.3f}")
