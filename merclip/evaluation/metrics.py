"""Measures of one-of-n predictions, for the classes that occur in the truth.

A class that no clip has is left out of every average over classes, so that a
label set may hold more labels than the data; to predict it is an error all the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    recall_score,
)

from merclip.evaluation import checks

Array = np.ndarray[Any, Any]

N_BINS = 15
"""Bins of the expected calibration error, as in Guo et al., ICML 2017 (arXiv 1706.04599)."""

NAMES = {
    "accuracy": "accuracy (WAR)",
    "balanced_accuracy": "balanced accuracy (UAR)",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "negative_log_likelihood": "negative log likelihood",
    "expected_calibration_error": "calibration error (ECE)",
    "majority": "always the largest class",
}
"""What `scores` gives, and what tables call it."""


class ClassScores(NamedTuple):
    """Precision, recall and F1 of one class in [0, 1], and its number of clips."""

    precision: float
    recall: float
    f1: float
    support: float


class Bin(NamedTuple):
    """Clips whose confidence lies in (`lower`, `upper`]; NaN means where there is none."""

    lower: float
    upper: float
    n_clips: int
    confidence: float
    accuracy: float


def scores(truth: Array, probability: Array, n_bins: int = N_BINS) -> dict[str, float]:
    """Return every measure by the names of `NAMES`.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
        Columns of `probability`; n is at least 1.
    probability : ndarray of shape (n, k)
        Rows sum to 1. The first of the largest values is what is predicted.
    n_bins : int
        Of the expected calibration error.

    Returns
    -------
    dict
        ``accuracy``: share of clips that are right; weighted average recall.
        ``balanced_accuracy``: mean of the classes' recalls; unweighted average
        recall. ``macro_f1``: mean of the classes' F1; ``weighted_f1``: that
        mean weighted by their clips. ``negative_log_likelihood``: mean of
        -log(probability of the truth), in nats. ``expected_calibration_error``:
        see the function. ``majority``: accuracy of whoever always says the
        most frequent class.

    Raises
    ------
    InputError
        The arrays do not fit, there are no clips, or a probability is NaN.

    Notes
    -----
    Source: scikit-learn's functions of those names, and Guo et al., ICML 2017, for the
    calibration error. That absent classes count in no average is our choice.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip.evaluation.metrics import scores
    >>> found = scores(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]))
    >>> found["balanced_accuracy"], round(found["accuracy"], 3)
    (0.75, 0.667)
    """
    truth, probability = checks.one_of_n(truth, probability)
    predicted = probability.argmax(axis=1)
    present = np.unique(truth)
    shared: dict[str, Any] = {"labels": present, "zero_division": 0}
    columns = np.arange(probability.shape[1])
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "balanced_accuracy": float(recall_score(truth, predicted, average="macro", **shared)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", **shared)),
        "weighted_f1": float(f1_score(truth, predicted, average="weighted", **shared)),
        "negative_log_likelihood": float(log_loss(truth, probability, labels=columns)),
        "expected_calibration_error": expected_calibration_error(truth, probability, n_bins),
        "majority": float(np.bincount(truth).max() / len(truth)),
    }


def class_scores(truth: Array, probability: Array) -> list[ClassScores]:
    """Return the scores of each class, in the order of columns.

    Precision is 0 for a class that is never predicted, recall for one that
    never occurs.
    """
    columns = precision_recall_fscore_support(
        truth,
        probability.argmax(axis=1),
        labels=np.arange(probability.shape[1]),
        zero_division=0,
    )
    return [ClassScores(*map(float, row)) for row in zip(*columns, strict=True)]


def confusion(truth: Array, probability: Array) -> Array:
    """Return counts of shape (k, k), int: rows are the truth, columns what was predicted."""
    columns = np.arange(probability.shape[1])
    counts = confusion_matrix(truth, probability.argmax(axis=1), labels=columns)
    return np.asarray(counts)


def calibration_bins(truth: Array, probability: Array, n_bins: int = N_BINS) -> list[Bin]:
    """Put clips into bins of equal width by the probability of what is predicted.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
    probability : ndarray of shape (n, k)
    n_bins : int
        Bin i of n_bins holds confidences in (i / n_bins, (i + 1) / n_bins]; the
        first one holds 0 as well.

    Returns
    -------
    list of Bin, of length n_bins

    Examples
    --------
    >>> import numpy as np
    >>> from merclip.evaluation.metrics import calibration_bins
    >>> bins = calibration_bins(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]), n_bins=2)
    >>> bins[1].n_clips, bins[1].confidence, bins[1].accuracy
    (2, 0.75, 0.5)
    """
    right = probability.argmax(axis=1) == truth
    return bins_of(probability.max(axis=1), right, n_bins)


def bins_of(confidence: Array, right: Array, n_bins: int = N_BINS) -> list[Bin]:
    """Put what was said with some confidence into bins, as `calibration_bins` does.

    Parameters
    ----------
    confidence : ndarray of shape (n,)
        In [0, 1].
    right : ndarray of shape (n,), bool
    n_bins : int
    """
    edges = np.linspace(0, 1, n_bins + 1)
    where = np.digitize(confidence, edges[1:-1], right=True)
    bins = []
    for index in range(n_bins):
        inside = where == index
        means = (
            (float(confidence[inside].mean()), float(right[inside].mean()))
            if inside.any()
            else (np.nan, np.nan)
        )
        bins.append(Bin(float(edges[index]), float(edges[index + 1]), int(inside.sum()), *means))
    return bins


def expected_calibration_error(truth: Array, probability: Array, n_bins: int = N_BINS) -> float:
    """Return how far confidence lies from accuracy, in [0, 1].

    The top-label error over bins of equal width: the mean over clips of
    |accuracy - mean confidence| of the clip's bin (`calibration_bins`). It
    says nothing of the probabilities of other labels, depends on the number of
    bins, and grows by chance where clips are few.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
    probability : ndarray of shape (n, k)
    n_bins : int

    Returns
    -------
    float

    Notes
    -----
    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip.evaluation.metrics import expected_calibration_error
    >>> expected_calibration_error(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]))
    0.25
    """
    return gap(calibration_bins(truth, probability, n_bins))


def gap(bins: Sequence[Bin]) -> float:
    """Return the mean distance of confidence from accuracy, weighted by the bins' clips."""
    filled = [item for item in bins if item.n_clips]
    total = sum(item.n_clips * abs(item.accuracy - item.confidence) for item in filled)
    return float(total / sum(item.n_clips for item in filled)) if filled else float("nan")
