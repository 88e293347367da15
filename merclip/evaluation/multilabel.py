"""Measures of predictions with any number of labels for a clip, as for CMU-MOSEI's emotions.

Truth and predictions are indicator matrices of shape (n, k): 1 where a label
holds. What made them so, a threshold on probabilities or on intensities, is the
caller's to say.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    hamming_loss,
    jaccard_score,
    precision_recall_fscore_support,
    recall_score,
)

from merclip.errors import InputError
from merclip.evaluation import checks

Array = np.ndarray[Any, Any]


class LabelScores(NamedTuple):
    """How well one label is told from its absence; each in [0, 1] but `support`, a count.

    Attributes
    ----------
    accuracy, balanced_accuracy, weighted_f1 : float
        Of presence and absence as two classes; see `label_scores`.
    precision, recall, f1 : float
        Of the label's presence.
    support : float
        Clips with the label.

    Examples
    --------
    >>> from merclip.evaluation import label_scores
    >>> label_scores([[1, 0], [0, 1]], [[1, 1], [0, 1]])[1].recall
    1.0
    """

    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    f1: float
    weighted_f1: float
    support: float


def multilabel_scores(truth: Any, predicted: Any) -> dict[str, float]:
    """Return measures over all labels; each in [0, 1], more is better but for the last two.

    Parameters
    ----------
    truth, predicted : array-like of shape (n, k), of 0 and 1
        At least one clip and two labels.

    Returns
    -------
    dict
        ``accuracy_jaccard``: "Accuracy" of the papers on CMU-MOSEI; mean over
        clips of |true and predicted| / |true or predicted|, and 0 where both
        sets are empty. ``accuracy_jaccard_empty1``: the same with 1 there.
        ``micro_precision``, ``micro_recall``, ``micro_f1``: over all cells of
        the matrix, 0 where nothing is predicted or true. ``macro_f1``: mean
        of the F1 of the labels that some clip has, NaN if there are none.
        ``subset_accuracy``: share of clips with every label right.
        ``hamming_loss``: share of cells that are wrong. ``empty_truth``: share
        of clips without a true label, on which ``accuracy_jaccard`` is 0
        whatever is predicted.

    Raises
    ------
    InputError
        The matrices do not fit, or hold anything but 0 and 1.

    Notes
    -----
    Source: Zhang and Zhou, "A Review on Multi-Label Learning Algorithms", TKDE
    2014; the empty sets as in the published code of TAILOR.

    Examples
    --------
    >>> found = multilabel_scores([[1, 0], [0, 0]], [[1, 1], [0, 0]])
    >>> found["accuracy_jaccard"], found["accuracy_jaccard_empty1"]
    (0.25, 0.75)
    >>> found["micro_precision"], found["micro_recall"]
    (0.5, 1.0)
    """
    truth, predicted = checks.indicators(truth, predicted)
    if truth.shape[1] < 2:
        raise InputError("There is one label alone; use label_scores.")
    precision, recall, micro_f1, _ = precision_recall_fscore_support(
        truth, predicted, average="micro", zero_division=0
    )
    return {
        "accuracy_jaccard": _jaccard(truth, predicted, empty=0),
        "accuracy_jaccard_empty1": _jaccard(truth, predicted, empty=1),
        "micro_precision": float(precision),
        "micro_recall": float(recall),
        "micro_f1": float(micro_f1),
        "macro_f1": _macro_f1(truth, predicted),
        "subset_accuracy": float(accuracy_score(truth, predicted)),
        "hamming_loss": float(hamming_loss(truth, predicted)),
        "empty_truth": float(np.mean(~truth.any(axis=1))),
    }


def label_scores(truth: Any, predicted: Any) -> list[LabelScores]:
    """Return the scores of each label by itself, in the order of columns.

    Parameters
    ----------
    truth, predicted : array-like of shape (n, k), of 0 and 1

    Returns
    -------
    list of LabelScores
        ``accuracy``: share of clips that are right. ``balanced_accuracy``:
        "weighted accuracy" of the papers on CMU-MOSEI, (true positive rate +
        true negative rate) / 2, or the one of them that is defined.
        ``weighted_f1``: F1 of presence and of absence, weighted by how often
        each is true. 0 stands for a ratio with nothing below.

    Raises
    ------
    InputError
        The matrices do not fit, or hold anything but 0 and 1.

    Notes
    -----
    Source: Zadeh et al., "Multimodal Language Analysis in the Wild", ACL 2018;
    Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language
    Sequences", ACL 2019, whose IEMOCAP is four such labels.

    Examples
    --------
    >>> from merclip.evaluation import label_scores
    >>> first, second = label_scores([[1, 0], [0, 1]], [[1, 1], [0, 1]])
    >>> first.f1, second.precision
    (1.0, 0.5)
    """
    truth, predicted = checks.indicators(truth, predicted)
    return [_label_scores(*columns) for columns in zip(truth.T, predicted.T, strict=True)]


def _label_scores(truth: Array, predicted: Array) -> LabelScores:
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, average="binary", zero_division=0
    )
    return LabelScores(
        accuracy=float(accuracy_score(truth, predicted)),
        # balanced_accuracy_score would warn where one class is not true of any clip.
        balanced_accuracy=float(
            recall_score(truth, predicted, labels=np.unique(truth), average="macro")
        ),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        weighted_f1=float(f1_score(truth, predicted, average="weighted", zero_division=0)),
        support=float(truth.sum()),
    )


def _jaccard(truth: Array, predicted: Array, *, empty: int) -> float:
    return float(jaccard_score(truth, predicted, average="samples", zero_division=empty))


def _macro_f1(truth: Array, predicted: Array) -> float:
    present = np.flatnonzero(truth.any(axis=0))
    if not len(present):
        return float("nan")
    shared: dict[str, Any] = {"labels": present, "zero_division": 0}
    return float(f1_score(truth, predicted, average="macro", **shared))
