"""What one call of `partial_fit` leaves for the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from merclip.engine import LabelTokens, embed_labels
from merclip.network import MERCLIP
from merclip.training.objective import VegaTraining
from merclip.training.plan import TrainingPlan, optimizer


class Stream:
    """The optimiser, the embedded labels and the count of calls of a training without end.

    Attributes
    ----------
    calls : int
        So many came before.
    started_trained : bool or None
        Whether the fusion was trained before the first call; None before that.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.started_trained: bool | None = None
        self._adam: AdamW | None = None
        self._objective: VegaTraining | None = None
        self._labels: tuple[Any, Tensor] | None = None

    def begin(self, fusion_trained: bool) -> bool:
        """Return whether the fusion was trained before the first call.

        The rate follows from that: a fresh fusion learns at its own all along.
        """
        if self.started_trained is None:
            self.started_trained = fusion_trained
        return self.started_trained

    def optimizer(
        self, network: MERCLIP, plan: TrainingPlan, extra: Sequence[nn.Parameter]
    ) -> AdamW:
        """Return the optimiser of the last call, or a new one where other weights train."""
        new = optimizer(network, plan, extra)
        if self._adam is None or _weights(self._adam) != _weights(new):
            self._adam = new
        for group, planned in zip(self._adam.param_groups, new.param_groups, strict=True):
            group["lr"] = group["initial_lr"] = planned["lr"]
        return self._adam

    def objective(self, new: VegaTraining | None) -> VegaTraining | None:
        """Return the objective of the last call, with what it has learned, if it is the same."""
        old = self._objective
        if old is None or new is None or old.identity() != new.identity():
            self._objective = new
        return self._objective

    def labels(self, network: MERCLIP, tokens: LabelTokens) -> Tensor:
        """Embed labels, once for each label set where no contexts train."""
        if len(network.label_prompt):
            return embed_labels(network, tokens)
        key = [ids.tolist() for ids in tokens.ids], tokens.owner.tolist()
        if self._labels is None or self._labels[0] != key:
            with torch.no_grad():
                self._labels = key, embed_labels(network, tokens)
        return self._labels[1]

    def seed(self, seed: int) -> int:
        """Return the seed of this call, so that each draws another dropout."""
        if not self.calls:
            return seed
        return int(np.random.default_rng([seed, self.calls]).integers(2**63))


def constant(adam: AdamW) -> LambdaLR:
    """Return a schedule that leaves rates as they are: a stream has no end to fall to."""
    return LambdaLR(adam, lambda step: 1.0)


def _weights(adam: AdamW) -> list[list[int]]:
    return [[id(parameter) for parameter in group["params"]] for group in adam.param_groups]
