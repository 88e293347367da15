"""Towers that compute in bfloat16 while float32 weights learn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from merclip.network import MERCLIP


class MasterWeights:
    """While it is open, the towers' weights are rounded copies of float32 ones.

    A step of 1e-5 is lost in bfloat16, so the optimiser is given the float32 weights:
    gradients are added up there, and each step is rounded anew for the towers. When it
    closes, the network has its float32 weights back, and those that nobody trained are
    what they were to the bit. Batch norms stay in float32, for their running averages.

    Parameters
    ----------
    network : MERCLIP
    optimizer : Optimizer
        Of the network's parameters.
    dtype : torch.dtype
        With torch.float32 nothing happens.
    """

    def __init__(self, network: MERCLIP, optimizer: Optimizer, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._optimizer = optimizer
        narrow = dtype != torch.float32
        self._rounded = list(_tower_weights(network)) if narrow else []
        self._masters: dict[nn.Parameter, nn.Parameter] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> MasterWeights:
        for weight in self._rounded:
            master = nn.Parameter(weight.data, requires_grad=weight.requires_grad)
            self._masters[weight] = master
            weight.data = weight.data.to(self.dtype)
            if weight.requires_grad:
                add = partial(_add_gradient, master)
                hook = weight.register_post_accumulate_grad_hook(add)  # type: ignore[no-untyped-call]
                self._hooks.append(hook)
        _hand_over(self._optimizer, self._masters)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        for weight, master in self._masters.items():
            weight.data, weight.grad = master.data, None
            # Who keeps copies of weights looks here whether they were written to.
            torch.autograd.graph.increment_version(weight)
        _hand_over(self._optimizer, {new: old for old, new in self._masters.items()})

    def of(self, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Return what learns in the place of some parameters."""
        return [self._masters.get(parameter, parameter) for parameter in parameters]

    @torch.no_grad()
    def round(self) -> None:
        """Take the masters' values over into the towers."""
        for weight, master in self._masters.items():
            if weight.requires_grad:
                weight.copy_(master)


def _tower_weights(network: MERCLIP) -> Iterator[nn.Parameter]:
    seen: set[nn.Parameter] = set()
    for towers in (network.encoders, network.label_encoder):
        for module in towers.modules():
            if isinstance(module, _BatchNorm):
                continue
            new = [p for p in module.parameters(recurse=False) if p not in seen]
            seen.update(new)
            yield from new


def _add_gradient(master: nn.Parameter, weight: Tensor) -> None:
    """Add a gradient up in float32, where small ones of many parts are not lost."""
    assert weight.grad is not None
    if master.grad is None:
        master.grad = weight.grad.to(master.dtype)
    else:
        master.grad.add_(weight.grad)
    weight.grad = None


def _hand_over(optimizer: Optimizer, successors: dict[nn.Parameter, nn.Parameter]) -> None:
    """Let an optimiser go on with other parameters, and what it knows of the old ones."""
    for group in optimizer.param_groups:
        group["params"] = [successors.get(p, p) for p in group["params"]]
    for old, new in successors.items():
        if old in optimizer.state:
            optimizer.state[new] = optimizer.state.pop(old)
