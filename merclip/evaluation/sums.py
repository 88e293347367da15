"""Measures of many resamples at once.

Every measure of a report follows from sums over clips: of confusions, of clips and
confidence in each bin, of errors. So a thousand resamples are one product of
matrices, where scikit-learn would take minutes. What comes out is the same; tests
compare the two.

Blocks are arrays of shape (n, ...) whose rows are clips; sums have the shape
(R, ...), one row for each of R resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merclip.evaluation.metrics import N_BINS

Array = np.ndarray[Any, Any]
Blocks = dict[str, Array]

_ENDS = {7: 3, 5: 2, 3: 1}
"""Classes of sentiment, and where it is cut for them."""


def one_of_n(truth: Array, probability: Array) -> Blocks:
    """Return the blocks of one-of-n predictions, as of `merclip.evaluation.metrics.scores`."""
    best = probability.argmax(axis=1)
    tiny = np.finfo(probability.dtype).eps
    likely = probability[np.arange(len(truth)), truth]
    return {
        "cells": _cells(truth, best, probability.shape[1]),
        "loss": -np.log(np.clip(likely, tiny, 1 - tiny)),
        "bins": _bins(probability.max(axis=1), best == truth),
    }


def one_of_n_measures(sums: Blocks) -> Blocks:
    """Return each measure, shape (R,)."""
    cells = sums["cells"]
    n_clips = cells.sum(axis=(1, 2))
    support, right = cells.sum(axis=2), _diagonal(cells)
    f1 = _f1(cells)
    return {
        "accuracy": right.sum(axis=1) / n_clips,
        "balanced_accuracy": _mean_where(_ratio(right, support), support > 0),
        "macro_f1": _mean_where(f1, support > 0),
        "weighted_f1": (support * f1).sum(axis=1) / n_clips,
        "negative_log_likelihood": sums["loss"] / n_clips,
        "expected_calibration_error": _gap(sums["bins"]),
        "majority": support.max(axis=1) / n_clips,
    }


def several(truth: Array, probability: Array, predicted: Array) -> Blocks:
    """Return the blocks of several labels at once, as of `MultiLabel.scores`."""
    both, either = (truth & predicted).sum(axis=1), (truth | predicted).sum(axis=1)
    outcomes = np.stack([truth & predicted, ~truth & predicted & 1, truth & ~predicted & 1], axis=2)
    cells = _bins(probability.ravel(), truth.ravel() > 0)
    return {
        "clips": np.ones(len(truth)),
        "outcomes": outcomes,
        "jaccard": np.divide(both, either, out=np.zeros(len(truth)), where=either > 0),
        "both_empty": either == 0,
        "exact": (truth == predicted).all(axis=1),
        "empty": ~truth.any(axis=1),
        "bins": cells.reshape(*truth.shape, *cells.shape[1:]).sum(axis=1),
    }


def several_measures(sums: Blocks) -> Blocks:
    """Return each measure but the threshold, shape (R,)."""
    n_clips = sums["clips"]
    found, wrong, missed = np.moveaxis(sums["outcomes"], 2, 0)
    hits, alarms, misses = (part.sum(axis=1) for part in (found, wrong, missed))
    support = found + missed
    absent = n_clips[:, None] - support
    presence = _ratio(found, support, np.nan)
    absence = _ratio(absent - wrong, absent, np.nan)
    defined = (support > 0).astype(int) + (absent > 0)
    balanced = (np.nan_to_num(presence) + np.nan_to_num(absence)) / defined
    f1 = _ratio(2 * found, 2 * found + wrong + missed)
    return {
        "accuracy_jaccard": sums["jaccard"] / n_clips,
        "accuracy_jaccard_empty1": (sums["jaccard"] + sums["both_empty"]) / n_clips,
        "micro_precision": _ratio(hits, hits + alarms),
        "micro_recall": _ratio(hits, hits + misses),
        "micro_f1": _ratio(2 * hits, 2 * hits + alarms + misses),
        "macro_f1": _mean_where(f1, support > 0),
        "balanced_accuracy": balanced.mean(axis=1),
        "subset_accuracy": sums["exact"] / n_clips,
        "hamming_loss": (alarms + misses) / n_clips / found.shape[1],
        "expected_calibration_error": _gap(sums["bins"]),
        "empty_truth": sums["empty"] / n_clips,
    }


def sentiment(truth: Array, said: Array, classes: Array, probability: Array) -> Blocks:
    """Return the blocks of sentiment, as of `Sentiment.scores`.

    Parameters
    ----------
    truth, said : ndarray of shape (n,)
        Sentiment, true and as derived from the probabilities.
    classes : ndarray of shape (n,), int
        The true column of `probability`, without meaning where `truth` is 0.
    probability : ndarray of shape (n, 2)
    """
    clear = (truth != 0).astype(float)
    best = probability.argmax(axis=1)
    bins = _bins(probability.max(axis=1), best == classes)
    rounded = {
        f"right_{n}": np.rint(np.clip(truth, -end, end)) == np.rint(np.clip(said, -end, end))
        for n, end in _ENDS.items()
    }
    return {
        "clips": np.ones(len(truth)),
        "has0": _cells((truth >= 0).astype(int), (said >= 0).astype(int), 2),
        "non0": _cells((truth > 0).astype(int), (said > 0).astype(int), 2) * clear[:, None, None],
        "bins": bins * clear[:, None, None],
        "error": np.abs(truth - said),
        "moments": np.stack([truth, said, truth**2, said**2, truth * said], axis=1),
        **rounded,
    }


def sentiment_measures(sums: Blocks) -> Blocks:
    """Return each measure, shape (R,)."""
    n_clips = sums["clips"]
    found: Blocks = {}
    for name in ("non0", "has0"):
        cells = sums[name]
        support, total = cells.sum(axis=2), cells.sum(axis=(1, 2))
        found[f"accuracy_2_{name}"] = _ratio(_diagonal(cells).sum(axis=1), total, np.nan)
        found[f"weighted_f1_2_{name}"] = _ratio((support * _f1(cells)).sum(axis=1), total, np.nan)
    clear = sums["non0"].sum(axis=2)
    return {
        **found,
        "majority_non0": _ratio(clear.max(axis=1), clear.sum(axis=1), np.nan),
        "expected_calibration_error": _gap(sums["bins"]),
        "neutral_truth": 1 - clear.sum(axis=1) / n_clips,
        **{f"extension_accuracy_{n}": sums[f"right_{n}"] / n_clips for n in _ENDS},
        "extension_mean_absolute_error": sums["error"] / n_clips,
        "extension_correlation": _correlation(sums["moments"].T / n_clips),
    }


def _correlation(moments: Array) -> Array:
    true, said, true2, said2, product = moments
    variance = (true2 - true**2) * (said2 - said**2)
    # Rounding leaves constants some variance.
    constant = variance <= 1e-12 * np.maximum(true2 * said2, 1e-30)
    return np.where(
        constant, np.nan, (product - true * said) / np.sqrt(np.where(constant, 1, variance))
    )


def _cells(truth: Array, predicted: Array, k: int) -> Array:
    cells = np.zeros((len(truth), k, k))
    cells[np.arange(len(truth)), truth, predicted] = 1
    return cells


def _bins(confidence: Array, right: Array) -> Array:
    """Return confidence and being right, each in its bin, and 1: shape (n, N_BINS, 3)."""
    where = np.digitize(confidence, np.linspace(0, 1, N_BINS + 1)[1:-1], right=True)
    bins = np.zeros((len(confidence), N_BINS, 3))
    bins[np.arange(len(confidence)), where] = np.stack(
        [confidence, right, np.ones(len(confidence))], axis=1
    )
    return bins


def _gap(bins: Array) -> Array:
    distance = np.abs(bins[..., 0] - bins[..., 1]).sum(axis=1)
    return _ratio(distance, bins[..., 2].sum(axis=1), np.nan)


def _f1(cells: Array) -> Array:
    return _ratio(2 * _diagonal(cells), cells.sum(axis=1) + cells.sum(axis=2))


def _diagonal(cells: Array) -> Array:
    return np.asarray(np.diagonal(cells, axis1=1, axis2=2))


def _mean_where(values: Array, kept: Array) -> Array:
    return _ratio((values * kept).sum(axis=1), kept.sum(axis=1), np.nan)


def _ratio(above: Array, below: Array, otherwise: float = 0.0) -> Array:
    filled = np.full(np.shape(above), otherwise)
    return np.asarray(np.divide(above, below, out=filled, where=np.asarray(below) > 0))
