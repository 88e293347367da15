"""What is learned from, what is chosen on, and what is tested."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merclip.errors import InputError
from merclip.evaluation.protocols._task import NOTHING, Task
from merclip.training.split import hold_out

Array = np.ndarray[Any, Any]

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Division:
    """Positions of clips in a task.

    Parameters
    ----------
    train, held_out, test : ndarray of int
        What is learned from; what epoch and threshold are chosen on, which may be
        empty; what is tested. None is in two of them.
    seed : int
    fold : int or None
    """

    train: Array
    held_out: Array
    test: Array
    seed: int
    fold: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {"fold": self.fold, "learned": len(self.train), "held_out": len(self.held_out)}


def divide(task: Task, data: Any, folds: int | None, seeds: Sequence[int]) -> list[Division]:
    """Divide a data set by its official parts, or else into folds of groups.

    Parameters
    ----------
    task : Task
        Of the whole data set.
    data : Dataset
    folds : int or None
        None takes the official parts where there are any, and 5 folds otherwise.
    seeds : sequence of int
        Of training, and of what is held out where no official part is for that.

    Returns
    -------
    list of Division
        For each seed one, or one for each fold.

    Raises
    ------
    InputError
        There is no part "train" or "test", or there are no groups to make folds.
    """
    if folds is None and data.splits is not None:
        return [_by_parts(task, seed) for seed in seeds]
    if folds is not None and (not isinstance(folds, numbers.Integral) or folds < 2):
        raise InputError(f"folds is a whole number of at least 2, got {folds!r}.")
    pairs = [tuple(map(task.at, pair)) for pair in data.folds(int(folds or N_FOLDS))]
    return [
        Division(*_held_out(task, train, seed), test, seed, fold)
        for seed in seeds
        for fold, (train, test) in enumerate(pairs)
    ]


def divide_training(train: Task, seeds: Sequence[int]) -> list[tuple[Array, Array, int]]:
    """Divide what is learned from, where something else is tested.

    Returns
    -------
    list of (train, held out, seed)
    """
    found = []
    for seed in seeds:
        rows = train.part("train")
        rows, held_out = (
            _with_valid(train, rows, seed)
            if len(rows)
            else _held_out(train, train.everything, seed)
        )
        found.append((rows, held_out, seed))
    return found


def tested(task: Task) -> Array:
    """Return the official test part, or all clips where there is none."""
    rows = task.part("test")
    return rows if len(rows) else task.everything


def first_of_each_test(divisions: Sequence[Division]) -> list[Division]:
    """Return one division for each test part, for what no seed changes."""
    return [division for division in divisions if division.seed == divisions[0].seed]


def _by_parts(task: Task, seed: int) -> Division:
    train, test = task.part("train"), task.part("test")
    for name, rows in (("train", train), ("test", test)):
        if not len(rows):
            raise InputError(f"No clip of the part {name!r} can be used; give folds= or another.")
    return Division(*_with_valid(task, train, seed), test, seed)


def _with_valid(task: Task, rows: Array, seed: int) -> tuple[Array, Array]:
    """Return training rows and the official part for validation, or some held out."""
    valid = task.learnable(task.part("valid"))
    return (task.learnable(rows), valid) if len(valid) else _held_out(task, rows, seed)


def _held_out(task: Task, rows: Array, seed: int) -> tuple[Array, Array]:
    """Hold some of the training rows out, whole groups where they are known."""
    share = task.classifier.validation
    if isinstance(share, np.ndarray):
        raise InputError("validation as a mask is for fit; a protocol divides clips itself.")
    rows = task.learnable(rows)
    if not len(rows):
        return NOTHING, NOTHING
    groups = None if task.groups is None else task.groups[rows]
    train, held_out = hold_out(task.classes[rows], share, seed, groups)
    return rows[train], rows[held_out]
