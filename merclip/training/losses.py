"""What training minimises, and what validation reports."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional


def clip_losses(logits: Tensor, targets: Tensor, multi_label: bool) -> Tensor:
    """Return each clip's loss, shape (B,).

    Cross-entropy for one-of-n, with `targets` of shape (B,); binary
    cross-entropy averaged over labels otherwise, with `targets` of shape (B, k).
    """
    if multi_label:
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return losses.mean(dim=1)
    return functional.cross_entropy(logits, targets, reduction="none")


def validation_score(
    logits: np.ndarray[Any, Any], targets: np.ndarray[Any, Any], multi_label: bool
) -> float:
    """Return accuracy, or micro F1 at probability 0.5 for multi-label."""
    if not multi_label:
        return float((logits.argmax(axis=1) == targets).mean())
    from sklearn.metrics import f1_score

    return float(f1_score(targets, logits >= 0, average="micro", zero_division=0))
