"""How to train: rates, schedule, batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from merclip.errors import InputError
from merclip.network import MERCLIP

BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class LearningRates:
    """Peak rates of the encoders and of all else that trains."""

    encoders: float
    head: float


PRESETS = {
    "paper": LearningRates(1e-5, 1e-5),
    "practical": LearningRates(1e-5, 1e-4),
    "few-shot": LearningRates(1e-5, 1e-4),
    "fresh": LearningRates(1e-5, 1e-3),
}
"""The paper's own rate is lost: "paper" is our reading of it (one rate for all);
"practical" lets a fresh decoder learn faster. With cached embeddings and few
steps "few-shot" suits a decoder that was trained before, "fresh" a new one. Three times
the rate of "few-shot" makes scores surer than right (docs/accuracy.md)."""


def learning_rates(lr: float | str | None, tune: str, fusion_trained: bool) -> LearningRates:
    """Return the rates that the parameter `lr` of the classifier stands for.

    Parameters
    ----------
    lr : float, str or None
    tune : {"head", "full"}
    fusion_trained : bool
        Whether the decoder was trained before.

    Raises
    ------
    InputError
        Neither a positive number nor a preset's name.
    """
    if lr is None and tune == "full":
        return PRESETS["practical"]
    if lr is None:
        return PRESETS["few-shot" if fusion_trained else "fresh"]
    if isinstance(lr, str) and lr in PRESETS:
        return PRESETS[lr]
    if isinstance(lr, (int, float)) and not isinstance(lr, bool) and 0 < lr < math.inf:
        return LearningRates(float(lr), float(lr))
    raise InputError(f"lr is a positive number or one of {sorted(PRESETS)}, got {lr!r}.")


@dataclass(frozen=True)
class TrainingPlan:
    """One training run.

    Parameters
    ----------
    rates : LearningRates
    train_encoders : bool
    epochs, batch_size : int
    microbatch : int
        Clips in one forward pass; gradients of a batch add up over them.
    multi_label : bool
    seed : int
    dtype : torch.dtype
        Precision in which the encoders compute while they train; weights stay float32.
    weight_decay : float
        MER-CLIP: 0.001.
    warmup : float
        Share of all steps in which the rate rises; then it falls as a cosine.
    final_rate : float
        Share of the peak rate at the end.
    clip_norm : float
        Largest norm of the gradient.
    """

    rates: LearningRates
    train_encoders: bool
    epochs: int = 20
    batch_size: int = 16
    microbatch: int = 16
    multi_label: bool = False
    seed: int = 0
    dtype: torch.dtype = torch.float32
    weight_decay: float = 1e-3
    warmup: float = 0.05
    final_rate: float = 0.01
    clip_norm: float = 1.0

    def identity(self) -> dict[str, Any]:
        """Return what a resumed run must share with the one that it resumes."""
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "train_encoders": self.train_encoders,
            "multi_label": self.multi_label,
            "seed": self.seed,
            "dtype": str(self.dtype),
            "rates": [self.rates.encoders, self.rates.head],
        }


def trainable(network: MERCLIP, plan: TrainingPlan) -> list[nn.Parameter]:
    """Mark and return what the plan trains; everything else is frozen."""
    network.requires_grad_(False)
    chosen = [p for p in network.head_parameters() if p.numel()]
    if plan.train_encoders:
        chosen += network.encoder_parameters()
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def optimizer(network: MERCLIP, plan: TrainingPlan, extra: Sequence[nn.Parameter] = ()) -> AdamW:
    """Return AdamW with one rate for encoders and one for the rest.

    Norms, biases, scales and embeddings of positions are not decayed (ours). `extra` is
    what the objective learns beside the network.
    """
    groups: list[dict[str, Any]] = []
    rated = [([*network.head_parameters(), *extra], plan.rates.head)]
    if plan.train_encoders:
        rated.append((network.encoder_parameters(), plan.rates.encoders))
    for parameters, rate in rated:
        live = [p for p in parameters if p.requires_grad]
        decayed = [p for p in live if p.ndim >= 2]
        plain = [p for p in live if p.ndim < 2]
        groups.append({"params": decayed, "lr": rate, "weight_decay": plan.weight_decay})
        groups.append({"params": plain, "lr": rate, "weight_decay": 0.0})
    # One pass over each weight in place of ten: three times as fast on a CPU.
    fused = network.device.type in ("cpu", "cuda")
    return AdamW([group for group in groups if group["params"]], betas=BETAS, fused=fused)


def schedule(adam: AdamW, plan: TrainingPlan, n_steps: int) -> LambdaLR:
    """Return linear warm-up and cosine decay."""
    warmup = max(1, round(plan.warmup * n_steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, n_steps - warmup)
        return plan.final_rate + (1 - plan.final_rate) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(adam, factor)
