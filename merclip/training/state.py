"""The best epoch so far, and the state that a stopped run resumes from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from merclip._files import replacing
from merclip._random import random_state, set_random_state
from merclip.errors import CheckpointError, InputError

logger = logging.getLogger("merclip")
STATE_FILE = "training_state.pt"


class BestState:
    """A copy of what trains, as it was in the best epoch.

    The best epoch is the one with the highest validation score, the lowest
    validation loss among equals; without validation it is the last.
    """

    def __init__(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
        self.live = [*parameters, *buffers]
        self.copies: list[Tensor] = []
        self.rank: tuple[float, float] | None = None

    def take(self) -> None:
        """Keep the current weights."""
        if not self.copies:
            self.copies = [torch.empty_like(tensor, device="cpu") for tensor in self.live]
        with torch.no_grad():
            for copy, tensor in zip(self.copies, self.live, strict=True):
                copy.copy_(tensor)

    def offer(self, record: dict[str, Any]) -> None:
        """Keep the current weights if this epoch is the best so far."""
        if record["val_score"] is not None:
            rank = (float(record["val_score"]), -float(record["val_loss"]))
        else:
            rank = (float(record["epoch"]), 0.0)
        if self.rank is None or rank > self.rank:
            self.rank = rank
            self.take()

    def restore(self) -> None:
        """Put the best weights back; without any epoch nothing changes."""
        with torch.no_grad():
            for tensor, copy in zip(self.live, self.copies, strict=False):
                tensor.copy_(copy)


def save_state(
    directory: Path,
    identity: dict[str, Any],
    adam: AdamW,
    rate: LambdaLR,
    best: BestState,
    history: list[dict[str, Any]],
    device: torch.device,
) -> None:
    """Write the state of a run after an epoch, so that a kill loses no more than one.

    Raises
    ------
    InputError
        It cannot be written, as on a full disk.
    """
    state = {
        "identity": identity,
        "weights": [tensor.detach().cpu() for tensor in best.live],
        "optimizer": adam.state_dict(),
        "schedule": rate.last_epoch,
        "best": best.copies,
        "rank": best.rank,
        "history": history,
        "generators": random_state(device),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with replacing(directory / STATE_FILE) as part:
            torch.save(state, part)
    # torch turns what the system says of a full disk into errors of its own.
    except (OSError, RuntimeError) as error:
        raise InputError(f"{directory / STATE_FILE} cannot be written: {error}") from error


def load_state(
    directory: Path,
    identity: dict[str, Any],
    adam: AdamW,
    rate: LambdaLR,
    best: BestState,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Put a stopped run's state in place and return its history.

    Returns an empty history when there is no state.

    Raises
    ------
    CheckpointError
        The state cannot be read, or belongs to another run.
    """
    path = directory / STATE_FILE
    if not path.exists():
        return []
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader raises
        raise CheckpointError(
            f"{path} cannot be read: {error}; delete it to start anew."
        ) from error
    if state["identity"] != identity:
        raise CheckpointError(
            f"{path} is of a run with other settings or data; give another checkpoint_dir, "
            "or delete it to start anew."
        )
    with torch.no_grad():
        for tensor, saved in zip(best.live, state["weights"], strict=True):
            tensor.copy_(saved)
    adam.load_state_dict(state["optimizer"])
    rate.last_epoch = state["schedule"]
    best.copies = state["best"]
    best.rank = None if state["rank"] is None else tuple(state["rank"])
    set_random_state(state["generators"], device)
    history: list[dict[str, Any]] = state["history"]
    logger.info("Going on after epoch %d of %s.", len(history), path)
    return history
