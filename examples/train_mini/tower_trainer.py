"""Train an image tower: first its trunk by a linear head, then its projection by cosines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from settings import CLASSES
from tools import Progress, WeightAverage, adamw, resumed, set_rate, store, take_step
from torch import Tensor, nn
from torch.nn import functional

from merclip.network.residual import ResidualTower
from merclip.precision import processor

LABEL_SMOOTHING = 0.1
LUMINANCE = (0.299, 0.587, 0.114)
WEIGHT_DECAY = 0.05
AVERAGED_SHARE = 1 / 8.6
"""Of the steps of a training, over which weights are averaged."""
STORE_EVERY = 200

Batches = Callable[[int], tuple[Tensor, Tensor]]
"""Makes a step's pictures (B, 1 or 3, H, W) and their targets, probabilities (B, n_classes)."""


class TrunkTrainer(nn.Module):
    """A residual tower with a linear head on its pooled states.

    From scratch, cosines to label texts train the trunk worse than a plain
    head does, so that they come afterwards.
    """

    def __init__(self, tower: ResidualTower) -> None:
        super().__init__()
        self.tower = tower.to(memory_format=torch.channels_last)
        self.head = nn.Sequential(nn.Dropout(0.25), nn.Linear(tower.width, len(CLASSES)))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the head's logits of pictures of shape (B, 1 or 3, height, width)."""
        with faster():
            return self.head(self.tower.features(three_channels(pictures))).float()


def train_trunk(
    trainer: TrunkTrainer,
    batches: Batches,
    n_steps: int,
    rate: float,
    name: str,
    state_file: Path,
    report: Callable[[TrunkTrainer], None],
) -> TrunkTrainer:
    """Train trunk and head; return the average of the weights.

    The state is stored now and then in `state_file`, from which an interrupted
    training goes on.
    """
    optimizer = adamw([trainer.tower.trunks, trainer.head], rate, WEIGHT_DECAY)
    average = WeightAverage(trainer, 1 - 1 / (AVERAGED_SHARE * n_steps))
    progress = Progress(name, n_steps, every=60.0)
    for step in resumed(state_file, n_steps, trainer, average, optimizer):
        set_rate(optimizer, rate, step, n_steps)
        pictures, targets = batches(step)
        logits = trainer.train()(pictures)
        loss = functional.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING)
        take_step(optimizer, loss)
        average.update(trainer)
        progress(step + 1, loss=loss.item())
        if (step + 1) % STORE_EVERY == 0:
            store(state_file, step + 1, trainer, average, optimizer)
        if (step + 1) % (n_steps // 5) == 0:
            report(average.module)
    return average.module


def faster() -> torch.autocast:
    """Compute in bfloat16 where the processor can: elsewhere it is several times slower."""
    return torch.autocast("cpu", torch.bfloat16, enabled=processor().bfloat16)


def three_channels(pictures: Tensor) -> Tensor:
    """Return grey pictures with three equal channels, others as they are."""
    return pictures.expand(-1, 3, -1, -1)


def one_hot(classes: np.ndarray) -> Tensor:
    """Return class numbers as rows of probabilities."""
    return functional.one_hot(torch.from_numpy(classes), len(CLASSES)).float()


def mixed(
    pictures: Tensor, targets: Tensor, alpha: float, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Blend a batch with itself in another order (mixup)."""
    share = float(random.beta(alpha, alpha))
    order = torch.from_numpy(random.permutation(len(pictures)))
    return (
        share * pictures + (1 - share) * pictures[order],
        share * targets + (1 - share) * targets[order],
    )


@torch.no_grad()
def weigh_channels(tower: ResidualTower) -> None:
    """Make the stem read luminance from colour pictures.

    Training showed three equal channels, so only the sum of the stem's three
    kernels matters; it is shared out as luminance weighs the colours.
    """
    kernels = tower.trunks[0].stem[0].weight
    kernels.copy_(kernels.sum(1, keepdim=True) * torch.tensor(LUMINANCE).reshape(1, 3, 1, 1))


@torch.no_grad()
def features_of(tower: ResidualTower, pictures: Tensor, batch: int = 128) -> Tensor:
    """Return the trunks' states of pictures (n, 1 or 3, height, width)."""
    tower.eval()
    with faster():
        parts = [tower.features(three_channels(p)) for p in pictures.split(batch)]
    return torch.cat(parts).float()


def unit_embeddings(embeddings: Tensor) -> Tensor:
    """Return embeddings of norm 1."""
    return functional.normalize(embeddings.float(), dim=-1)


def recalls(guesses: np.ndarray, classes: np.ndarray) -> tuple[float, float]:
    """Return accuracy and balanced accuracy."""
    right = guesses == classes
    return float(right.mean()), float(np.mean([right[classes == c].mean() for c in set(classes)]))
