"""Chance that repeats: torch's generators seeded for a while, and then as they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

CPU = torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Draw from torch's generators of the CPU and of one device as seeded here.

    Those of other devices stay untouched, which `torch.manual_seed` would seed anew
    without putting them back.
    """
    before = random_state(device)
    try:
        for generator in _generators(device):
            generator.manual_seed(seed)
        yield
    finally:
        set_random_state(before, device)


def random_state(device: torch.device) -> list[Tensor]:
    """Return the states of the generators from which a network on a device draws."""
    return [generator.get_state() for generator in _generators(device)]


def set_random_state(states: Sequence[Tensor], device: torch.device) -> None:
    """Put states back; one of a device that is not this one is left out."""
    for generator, state in zip(_generators(device), states, strict=False):
        generator.set_state(state)


def _generators(device: torch.device) -> list[torch.Generator]:
    if device.type == "cpu":
        return [torch.default_generator]
    if device.type == "mps":
        own = torch.mps._get_default_mps_generator()
    else:
        module = torch.get_device_module(device)
        index = module.current_device() if device.index is None else device.index
        own = module.default_generators[index]
    return [torch.default_generator, own]
