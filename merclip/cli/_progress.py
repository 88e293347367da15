"""Training progress where no terminal can draw a bar."""

from __future__ import annotations

from typing import Any

from merclip.cli._console import say
from merclip.training import Callback, Trainer


class EpochLines(Callback):
    """Say one line on stderr after each epoch."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Say the loss and the score in validation."""
        parts = [f"epoch {record['epoch'] + 1} of {trainer.plan.epochs}"]
        for name in ("loss", "val_loss", "val_score"):
            if record.get(name) is not None:
                parts.append(f"{name} {record[name]:.3f}")
        say("fit", ", ".join(parts))
