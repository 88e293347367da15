"""Train an image tower by a linear head and by cosines to label embeddings."""

from __future__ import annotations

import numpy as np
import torch
from label_texts import LabelBank
from settings import CLASSES
from torch import Tensor, nn
from torch.nn import functional

COSINE_GRADIENT = 0.3
"""How much of the cosine loss reaches the trunk: all of it from scratch costs accuracy."""
LABEL_SMOOTHING = 0.1


class TowerTrainer(nn.Module):
    """A CLIP residual tower with a linear head on its trunk for training.

    Parameters
    ----------
    tower : nn.Module
        open_clip's ``ModifiedResNet``.
    n_classes : int
    """

    def __init__(self, tower: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.tower = tower.to(memory_format=torch.channels_last)
        width = tower.attnpool.k_proj.in_features
        self.head = nn.Linear(width, n_classes)
        self.dropout = nn.Dropout(0.2)
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the linear head's logits and the tower's embeddings."""
        tower = self.tower
        states = tower.stem(pictures.contiguous(memory_format=torch.channels_last))
        for layer in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
            states = layer(states)
        logits = self.head(self.dropout(states.mean((2, 3))))
        side = round((tower.attnpool.positional_embedding.shape[0] - 1) ** 0.5)
        if states.shape[-1] != side:
            states = functional.interpolate(states.float(), (side, side), mode="bilinear")
        states = COSINE_GRADIENT * states + (1 - COSINE_GRADIENT) * states.detach()
        return logits.float(), tower.attnpool(states).float()


def tower_loss(
    trainer: TowerTrainer,
    pictures: Tensor,
    targets: Tensor,
    bank: LabelBank,
    present: np.ndarray,
    mixed: tuple[Tensor, float] | None = None,
) -> tuple[Tensor, float]:
    """Return the sum of both losses, and the accuracy by cosine.

    Parameters
    ----------
    present : ndarray
        Numbers of the classes that the data have; others are no candidates.
    mixed : tuple of Tensor and float, optional
        A second target of each sample and the weight of the first (mixup).
    """
    with torch.autocast("cpu", torch.bfloat16):
        logits, embeddings = trainer(pictures)
    labels = bank.draw([CLASSES[i] for i in present])
    scale = trainer.log_scale.clamp(max=4.0).exp()
    cosines = scale * functional.normalize(embeddings, dim=-1) @ labels.T
    numbers = torch.full((len(CLASSES),), -1)
    numbers[torch.from_numpy(present)] = torch.arange(len(present))
    loss = both_losses(logits, cosines, targets, numbers)
    if mixed is not None:
        second = both_losses(logits, cosines, mixed[0], numbers)
        loss = mixed[1] * loss + (1 - mixed[1]) * second
    accuracy = (cosines.argmax(1) == numbers[targets]).float().mean().item()
    return loss, accuracy


def both_losses(logits: Tensor, cosines: Tensor, targets: Tensor, numbers: Tensor) -> Tensor:
    """Return cross-entropy of the linear head plus that of the cosines."""
    linear = functional.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING)
    aligned = functional.cross_entropy(cosines, numbers[targets], label_smoothing=LABEL_SMOOTHING)
    return linear + aligned


def unit_embeddings(embeddings: Tensor) -> Tensor:
    """Return embeddings of norm 1."""
    return functional.normalize(embeddings.float(), dim=-1)
