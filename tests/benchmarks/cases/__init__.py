"""What is measured: each function makes one table, and `TABLES` has them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.rounds import Table


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Parameters
    ----------
    quick : bool
        Leave out what takes long.
    rounds : int or None
        In place of each table's own number.
    """

    quick: bool = False
    rounds: int | None = None

    def times(self, usual: int, quick: int = 1) -> int:
        """Return the rounds of a table."""
        return self.rounds or (quick if self.quick else usual)


def tables() -> dict[str, Callable[[Effort], Table]]:
    """Return what makes each table, in the order in which they are measured."""
    from benchmarks.cases import clip, labels, lengths, many, processes, profile, training

    return {
        "clip": clip.clip,
        "modalities": clip.modalities,
        "profile": profile.profile,
        "labels": labels.labels,
        "batches": many.batches,
        "lengths": lengths.lengths,
        "memory": processes.memory,
        "threads": processes.threads,
        "start-up": processes.start_up,
        "training": training.training,
        "few-shot": training.few_shot,
    }
