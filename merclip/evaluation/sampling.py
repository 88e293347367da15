"""Draws of a few examples for each class, with the rest to test on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from merclip.errors import InputError

Array = np.ndarray[Any, Any]


def draw(
    truth: Array, shots: int, seed: int, names: Sequence[Any], groups: Array | None = None
) -> tuple[Array, Array]:
    """Draw some examples of each class, and leave the rest to test on.

    Examples come from a random half of the groups, or from more where those
    have too few of a class: many speakers with little from each teach more than
    one with all. Without `groups` each clip is a group of its own.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
    shots : int
        Examples for each class that occurs.
    seed : int
    names : sequence
        What the classes are called in messages.
    groups : ndarray of shape (n,), optional
        Speaker or dialogue of each clip. Groups of the training part do not
        occur in the test part.

    Returns
    -------
    train, test : ndarray of int
        Positions. `train` is in the order of drawing: its first examples of
        each class are what fewer shots would have drawn.

    Raises
    ------
    InputError
        A class has too few clips to learn from and test on.
    """
    owners = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    missing = Counter({int(label): shots for label in np.unique(truth)})
    generator = np.random.default_rng(seed)
    train = []
    for position in _in_group_order(owners, generator):
        label = int(truth[position])
        if missing[label]:
            missing[label] -= 1
            train.append(position)
    chosen = np.array(train, dtype=np.int64)
    test = np.flatnonzero(~np.isin(owners, owners[chosen]))
    _check(truth, test, missing, shots, seed, names, groups is not None)
    return chosen, test


def draw_apart(truth: Array, shots: int, seed: int, names: Sequence[Any]) -> Array:
    """Draw some examples of each class where the test part lies elsewhere.

    Parameters
    ----------
    truth, shots, seed, names
        As for `draw`.

    Returns
    -------
    ndarray of int
        Positions, in the order of drawing.

    Raises
    ------
    InputError
        A class has too few clips.
    """
    counts = Counter(truth.tolist())
    rarest = min(counts, key=lambda label: (counts[label], label))
    short = counts[rarest] < shots
    if short or len(counts) < 2:
        which = f"{names[rarest]!r} has {counts[rarest]}" if short else "there is one class"
        raise InputError(f"{shots} examples a class are drawn from the training part: {which}.")
    order = np.random.default_rng(seed).permutation(len(truth))
    return first_of_each(order, truth, shots)


def first_of_each(positions: Array, truth: Array, shots: int) -> Array:
    """Return the first examples of each class, in the order of `positions`."""
    taken: Counter[int] = Counter()
    kept = []
    for position in positions.tolist():
        label = int(truth[position])
        taken[label] += 1
        if taken[label] <= shots:
            kept.append(position)
    return np.array(kept, dtype=np.int64)


def _in_group_order(owners: Array, generator: np.random.Generator) -> list[int]:
    """Return positions in random order: those of half of the groups, then group by group."""
    shuffled = generator.permutation(len(owners))
    n_groups = int(owners.max()) + 1
    rank = np.maximum(generator.permutation(n_groups) - n_groups // 2 + 1, 0)
    order = shuffled[np.argsort(rank[owners[shuffled]], kind="stable")]
    return [int(position) for position in order]


def _check(
    truth: Array,
    test: Array,
    missing: Counter[int],
    shots: int,
    seed: int,
    names: Sequence[Any],
    grouped: bool,
) -> None:
    left = set(truth[test].tolist())
    short = [label for label, number in missing.items() if number or label not in left]
    if not short:
        return
    counts = Counter(truth.tolist())
    label = min(short, key=lambda label: (counts[label], label))
    count = counts[label]
    message = f"{shots} examples a class need more than {shots} clips of each: "
    if grouped and count > shots:
        message = f"No groups (seed {seed}) leave {shots} examples of each class and a test clip: "
    raise InputError(f"{message}{names[label]!r} has {count}. Give fewer shots or more clips.")
