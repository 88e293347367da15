"""Logits to probabilities, thresholds and labels."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from merclip._shown import shown
from merclip.errors import InputError
from merclip.labels import by_name

Array = np.ndarray[Any, Any]
DEFAULT_THRESHOLD = 0.5
ZERO_SHOT_THRESHOLD = 0.2
"""For labels that were not learned. Of probabilities that hold what they say, those above half
of the best micro F1 give that F1 (Lipton, Elkan and Naryanaswamy, arXiv 1402.1892), and about
0.4 is within reach without learning; `examples/train_mini/measure_thresholds.py` measures it."""


@dataclass(frozen=True)
class DecisionRule:
    """How probabilities become labels.

    Parameters
    ----------
    classes : ndarray of shape (k,)
    multi_label : bool
    threshold : ndarray of shape (k,)
        Multi-label: the least probability of a label that holds.
    abstain : float or None
        One-of-n: no label where the best probability is lower.
    """

    classes: Array
    multi_label: bool
    threshold: Array
    abstain: float | None = None

    def holds(self, probability: Array) -> Array:
        """Return which labels hold, of shape (n, k), bool; none in rows of NaN."""
        if self.multi_label:
            return np.asarray(probability >= self.threshold)
        best = np.nan_to_num(probability, nan=-1).argmax(axis=1)
        held: Array = np.equal.outer(best, np.arange(len(self.classes)))
        least = 0.0 if self.abstain is None else self.abstain
        return np.asarray(held & (probability >= least))

    def positions(self, probability: Array) -> Array:
        """Return where in `classes` each clip's label stands, shape (n,); -1 for no label."""
        held = self.holds(probability)
        return np.asarray(np.where(held.any(axis=1), held.argmax(axis=1), -1))

    def labels(self, probability: Array) -> Array:
        """Return what `EmotionClassifier.predict` returns."""
        if self.multi_label:
            held = self.holds(probability)
            unread = np.asarray(np.isnan(probability).any(axis=1, keepdims=True))
            return np.where(unread, np.nan, held) if unread.any() else held.astype(np.int64)
        positions = self.positions(probability)
        labels = self.classes[positions]
        nothing = positions < 0
        if self.abstain is None and not nothing.any():
            return np.asarray(labels)
        labels = labels.astype(object)
        labels[nothing] = None
        return np.asarray(labels)


def probabilities(logits: Array, *, multi_label: bool) -> Array:
    """Turn logits of shape (n, k) into probabilities in [0, 1].

    Softmax over labels for one-of-n, a sigmoid for each label otherwise.
    """
    logits = logits.astype(np.float64)
    if multi_label:
        return np.asarray(np.exp(_log_sigmoid(logits)))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def log_probabilities(logits: Array, *, multi_label: bool) -> Array:
    """Return the logarithm of `probabilities`, without their underflow."""
    logits = logits.astype(np.float64)
    if multi_label:
        return _log_sigmoid(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _log_sigmoid(logits: Array) -> Array:
    # Rows of NaN are clips that could not be read: nothing to warn of.
    with np.errstate(invalid="ignore"):
        return np.asarray(-np.logaddexp(0, -logits))


def threshold_row(
    threshold: float | Mapping[Any, float] | None,
    classes: Array,
    default: float = DEFAULT_THRESHOLD,
) -> Array:
    """Return one threshold for each class, shape (k,); `default` where none is given.

    Raises
    ------
    InputError
        A threshold outside [0, 1], or for a label that does not exist.
    """
    if isinstance(threshold, Mapping):
        names = [str(name) for name in classes.tolist()]
        # JSON, in which a checkpoint keeps them, turns keys that are numbers into strings.
        given = {str(name): value for name, value in by_name(threshold).items()}
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise InputError(f"threshold names labels that do not exist: {unknown}.")
        row = [given.get(name, default) for name in names]
    else:
        row = [default if threshold is None else threshold]
    within = [isinstance(value, numbers.Real) and 0 <= cast(Any, value) <= 1 for value in row]
    if not all(within):
        raise InputError(
            "threshold is a probability in [0, 1], or a mapping from label to one, "
            f"got {shown(threshold)}."
        )
    return np.broadcast_to(np.array(row, dtype=np.float64), (len(classes),)).copy()


def best_threshold(probability: Array, truth: Array) -> float:
    """Return the global threshold with the best micro F1.

    Parameters
    ----------
    probability : ndarray of shape (n, k)
    truth : ndarray of shape (n, k)
        Indicator matrix.

    Returns
    -------
    float
        On a grid of 0.05 to 0.95; the one nearest 0.5 among equals.
    """
    from sklearn.metrics import f1_score

    grid = sorted(np.arange(1, 20) / 20, key=lambda value: abs(value - DEFAULT_THRESHOLD))
    scores = [f1_score(truth, probability >= t, average="micro", zero_division=0) for t in grid]
    return float(grid[int(np.argmax(scores))])


def fit_temperature(logits: Array, targets: Array) -> float:
    """Return the temperature that gives the smallest cross-entropy.

    Parameters
    ----------
    logits : ndarray of shape (n, k)
    targets : ndarray of shape (n,), int
    """
    rows = np.arange(len(targets))
    grid = np.geomspace(0.05, 20, 600)
    losses = [
        -log_probabilities(logits / temperature, multi_label=False)[rows, targets].mean()
        for temperature in grid
    ]
    return float(grid[int(np.argmin(losses))])
