"""Measures of sentiment from -3 (negative) to 3 (positive), as for CMU-MOSI and CMU-MOSEI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from merclip.errors import InputError
from merclip.evaluation import checks

Array = np.ndarray[Any, Any]

_ADVICE = (
    "load_clips(..., score_range=(1, 9)) or --score-range 1 9 takes scores on another scale, such "
    "as 1 to 9 or 0 to 1."
)

HIGHEST = 3.0
"""Sentiment of CMU-MOSI and CMU-MOSEI lies in [-HIGHEST, HIGHEST]."""


def to_sentiment(scores: Any, score_range: Sequence[float] | None = None) -> Array:
    """Bring scores to sentiment from -3 to 3.

    Parameters
    ----------
    scores : array-like of shape (n,), float
    score_range : (lowest, highest), optional
        Of the scale of the scores, such as ``(1, 9)``; its middle is neutral. By default
        they are sentiment from -3 to 3 already.

    Returns
    -------
    ndarray of shape (n,), float

    Raises
    ------
    InputError
        A score lies outside the range; or, where none is given, no score is negative, so
        that the scale is probably another.

    Examples
    --------
    >>> from merclip.evaluation.sentiment import to_sentiment
    >>> to_sentiment([1, 5, 9], (1, 9)).tolist()
    [-3.0, 0.0, 3.0]
    """
    found = checks.finite(scores, "scores")
    if score_range is not None:
        low, high = checks.finite(score_range, "score_range").tolist()
        if low >= high:
            raise InputError(f"score_range is (lowest, highest), got {tuple(score_range)}.")
        check_scale(found, low, high)
        return np.asarray((found - (low + high) / 2) * (2 * HIGHEST / (high - low)))
    check_scale(found, -HIGHEST, HIGHEST)
    if found.size and found.min() >= 0 < found.max():
        raise InputError(
            f"Scores are sentiment from -3 (negative) to 3 (positive), and none of these, from "
            f"{found.min():g} to {found.max():g}, is negative: {_ADVICE}"
        )
    return found


def check_scale(scores: Array, low: float = -HIGHEST, high: float = HIGHEST) -> None:
    """Refuse scores outside a range.

    Raises
    ------
    InputError
    """
    if scores.size and not (low <= scores.min() and scores.max() <= high):
        raise InputError(
            f"Scores lie from {low:g} (negative) to {high:g} (positive), and these from "
            f"{scores.min():g} to {scores.max():g}: {_ADVICE}"
        )


def sentiment_scores(truth: Any, predicted: Any) -> dict[str, float]:
    """Return the measures of papers on CMU-MOSI and CMU-MOSEI.

    Parameters
    ----------
    truth, predicted : array-like of shape (n,), float
        Sentiment of each clip; 0 is neutral.

    Returns
    -------
    dict
        In two classes, by both conventions: ``accuracy_2_has0`` and
        ``weighted_f1_2_has0`` tell negative from non-negative (>= 0) on all
        clips; ``accuracy_2_non0`` and ``weighted_f1_2_non0`` tell negative from
        positive (> 0) on the clips whose truth is not 0, and are NaN where
        there are none. F1 is the mean of both classes weighted by the truth.

        ``accuracy_7``, ``accuracy_5``, ``accuracy_3``: truth and prediction are
        cut to [-3, 3], [-2, 2] or [-1, 1], rounded (halves to the even number)
        and compared. ``mean_absolute_error``: in units of sentiment, nothing is
        cut. ``correlation``: Pearson's, in [-1, 1]; NaN where truth or
        prediction is constant.

    Raises
    ------
    InputError
        The arrays do not fit, or hold NaN or infinity.

    Notes
    -----
    Source: the read-me of the CMU Multimodal SDK for the two conventions; Tsai
    et al., ACL 2019 (MulT), and Hazarika et al., ACM MM 2020 (MISA), for the
    measures.

    Examples
    --------
    >>> found = sentiment_scores([-2.0, 0.0, 1.0, 3.0], [-1.0, -0.2, 0.6, 2.0])
    >>> found["accuracy_2_has0"], found["accuracy_2_non0"], found["accuracy_7"]
    (0.75, 1.0, 0.5)
    """
    truth, predicted = checks.intensities(truth, predicted)
    clear = truth != 0
    return {
        **_two_classes("has0", truth >= 0, predicted >= 0),
        **_two_classes("non0", truth[clear] > 0, predicted[clear] > 0),
        **{f"accuracy_{2 * end + 1}": _rounded(truth, predicted, end) for end in (3, 2, 1)},
        "mean_absolute_error": float(mean_absolute_error(truth, predicted)),
        "correlation": _correlation(truth, predicted),
    }


def two_class_scores(truth: Any, positive: Any) -> dict[str, float]:
    """Return sentiment measures of a model that tells negative from positive alone.

    Parameters
    ----------
    truth : array-like of shape (n,), float
        Sentiment of each clip; 0 is neutral.
    positive : array-like of shape (n,)
        Probability of "positive" where "negative" is the only other label, in
        [0, 1]. Exactly 0.5 counts as neutral.

    Returns
    -------
    dict
        As `sentiment_scores`. Such a model gives no intensity, so all that
        needs one is an extension of ours, comparable with no published number,
        and its name says so (``extension_mean_absolute_error``): as intensity
        stands 3 * (p(positive) - p(negative)).

    Raises
    ------
    InputError
        The arrays do not fit, or a probability lies outside [0, 1].

    Notes
    -----
    Source: as for `sentiment_scores`; the choice of an intensity is ours.

    Examples
    --------
    >>> from merclip.evaluation import two_class_scores
    >>> found = two_class_scores([-2.0, 1.0, 3.0], [0.1, 0.4, 0.9])
    >>> round(found["accuracy_2_non0"], 3), round(found["extension_mean_absolute_error"], 3)
    (0.667, 0.867)
    """
    truth, positive = checks.intensities(truth, positive)
    if positive.min() < 0 or positive.max() > 1:
        raise InputError("positive holds probabilities in [0, 1].")
    found = sentiment_scores(truth, HIGHEST * (2 * positive - 1))
    return {
        name if name.endswith(("has0", "non0")) else f"extension_{name}": value
        for name, value in found.items()
    }


def _two_classes(convention: str, truth: Array, predicted: Array) -> dict[str, float]:
    accuracy = weighted_f1 = float("nan")
    if len(truth):
        accuracy = float(accuracy_score(truth, predicted))
        weighted_f1 = float(f1_score(truth, predicted, average="weighted", zero_division=0))
    return {f"accuracy_2_{convention}": accuracy, f"weighted_f1_2_{convention}": weighted_f1}


def _rounded(truth: Array, predicted: Array, end: int) -> float:
    """Return the accuracy over the whole numbers from -end to end."""
    classes = [np.rint(np.clip(values, -end, end)) for values in (truth, predicted)]
    return float(np.mean(classes[0] == classes[1]))


def _correlation(truth: Array, predicted: Array) -> float:
    # Rounding would give a constant some variance, and a correlation of noise.
    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(np.corrcoef(truth, predicted)[0, 1])
