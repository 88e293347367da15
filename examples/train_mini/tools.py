"""What all training steps share: seeds, progress, schedules, weight averages."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def mixed_precision() -> torch.autocast:
    """Compute in bfloat16 where the processor knows it: where not, it is much slower."""
    known = torch.cpu.get_capabilities()
    return torch.autocast("cpu", torch.bfloat16, enabled=known.get("avx512_bf16", False))


def seed_everything(seed: int) -> None:
    """Seed torch and numpy."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)


class Progress:
    """Print a line from time to time."""

    def __init__(self, name: str, n_steps: int, every: float = 20.0) -> None:
        self.name, self.n_steps, self.every = name, n_steps, every
        self.start = self.last = time.time()

    def __call__(self, step: int, **values: float) -> None:
        """Report that `step` steps are done."""
        now = time.time()
        if now - self.last >= self.every or step == self.n_steps:
            self.last = now
            shown = " ".join(f"{key}={value:.4g}" for key, value in values.items())
            elapsed = (now - self.start) / 60
            print(f"[{self.name}] {step}/{self.n_steps} {elapsed:.1f} min {shown}", flush=True)


class WeightAverage:
    """Exponential moving average of a module's weights and buffers."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay, self.steps = decay, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of steps."""
        return {"module": self.module.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.module.load_state_dict(state["module"])
        self.steps = state["steps"]

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after one step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        pairs = zip(self.module.state_dict().values(), module.state_dict().values(), strict=True)
        for average, value in pairs:
            if average.is_floating_point():
                average.lerp_(value.float(), 1 - decay)
            else:
                average.copy_(value)


def store(path: Path, step: int, *parts: Any) -> None:
    """Write what `resumed` reads: the states of modules and optimizers after a step."""
    temporary = path.with_suffix(".part")
    torch.save({"step": step, "states": [part.state_dict() for part in parts]}, temporary)
    temporary.rename(path)


def resumed(path: Path, n_steps: int, *parts: Any) -> range:
    """Return the steps that are left, after loading what `store` wrote, if anything."""
    if not path.exists():
        return range(n_steps)
    found = torch.load(path)
    for part, state in zip(parts, found["states"], strict=True):
        part.load_state_dict(state)
    return range(found["step"], n_steps)


def adamw(
    modules: list[nn.Module],
    rate: float,
    decay: float,
    factors: Mapping[nn.Module, float] | None = None,
) -> torch.optim.AdamW:
    """Return AdamW without weight decay on vectors (biases, norms).

    `factors` holds parts whose rate is so many times that of the others.
    """
    apart = {id(p): factor for m, factor in (factors or {}).items() for p in m.parameters()}
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in parameters if (p.ndim > 1) == wide and apart.get(id(p), 1) == f],
            "weight_decay": decay if wide else 0.0,
            "factor": f,
        }
        for wide in (True, False)
        for f in {1, *apart.values()}
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float, step: int, n_steps: int) -> None:
    """Set the learning rate: 5 % warm-up, then a cosine to almost zero."""
    warm_up = max(1, n_steps // 20)
    share = (step - warm_up) / max(1, n_steps - warm_up)
    factor = (step + 1) / warm_up if step < warm_up else 0.5 * (1 + math.cos(math.pi * share))
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1) * max(factor, 0.005)


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Do one clipped optimisation step."""
    optimizer.zero_grad()
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def root_balanced(classes: np.ndarray, power: float = 0.5) -> np.ndarray:
    """Return sampling weights: a class of n samples weighs n ** power in all."""
    counts = np.bincount(classes)
    weights = counts[classes] ** (power - 1.0)
    return weights / weights.sum()


def cached(path: Path, make: Callable[[], Any]) -> Any:
    """Return what `make` makes, from a file if it was made before."""
    if not path.exists():
        start = time.time()
        value = make()
        temporary = path.with_suffix(".part")
        torch.save(value, temporary)
        temporary.rename(path)
        print(f"[made] {path.name} in {(time.time() - start) / 60:.1f} min", flush=True)
    return torch.load(path, weights_only=False)
