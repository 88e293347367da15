"""What kind of answer is measured: one of n, several labels at once, or sentiment in two classes.

Each kind says which measures there are, and works them out from the truth and the
probabilities of one test part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import multilabel_confusion_matrix

from merclip.evaluation import checks, metrics, sums
from merclip.evaluation.metrics import Bin, ClassScores
from merclip.evaluation.multilabel import label_scores, multilabel_scores
from merclip.evaluation.sentiment import HIGHEST, two_class_scores
from merclip.evaluation.sums import Blocks
from merclip.scoring import DEFAULT_THRESHOLD

Array = np.ndarray[Any, Any]


class Kind(ABC):
    """How truth and probabilities of one kind are measured.

    Attributes
    ----------
    name : str
    measures : mapping of str to str
        Keys of `scores`, and what tables call them.
    columns : mapping of str to str
        Fields of `class_scores`, and what tables call them.
    headline : tuple of str
        The measures that come first in a short text.
    """

    name: ClassVar[str]
    measures: ClassVar[Mapping[str, str]]
    columns: ClassVar[Mapping[str, str]]
    headline: ClassVar[tuple[str, ...]]

    @abstractmethod
    def scores(self, truth: Array, probability: Array, threshold: Any) -> dict[str, float]:
        """Return every measure."""

    @abstractmethod
    def class_scores(self, truth: Array, probability: Array, threshold: Any) -> Sequence[Any]:
        """Return for each label a named tuple with the fields of `columns`."""

    @abstractmethod
    def confusion(self, truth: Array, probability: Array, threshold: Any) -> Array:
        """Return counts of what was taken for what."""

    @abstractmethod
    def calibration(self, truth: Array, probability: Array) -> list[Bin]:
        """Return bins of confidence."""

    @abstractmethod
    def blocks(self, truth: Array, probability: Array, threshold: Any) -> Blocks:
        """Return for each clip what sums are made of; see `merclip.evaluation.sums`."""

    @abstractmethod
    def from_sums(self, total: Blocks) -> Blocks:
        """Return the measures of sums over clips, but those that no clip changes."""

    @abstractmethod
    def answers(
        self, names: Sequence[Any], truth: Array, probability: Array, threshold: Any
    ) -> list[tuple[str, str]]:
        """Return truth and prediction of each clip in words."""


class OneOfN(Kind):
    """One label for each clip.

    The truth has the shape (n,), int: positions of labels. A threshold has no
    meaning. `confusion` is of shape (k, k), rows are the truth.
    """

    name = "one-of-n"
    measures = metrics.NAMES
    columns = {"precision": "precision", "recall": "recall", "f1": "F1", "support": "clips"}
    headline = ("accuracy", "balanced_accuracy")

    def scores(self, truth: Array, probability: Array, threshold: Any) -> dict[str, float]:
        """Return `merclip.evaluation.metrics.scores`."""
        return metrics.scores(truth, probability)

    def class_scores(self, truth: Array, probability: Array, threshold: Any) -> Sequence[Any]:
        """Return `merclip.evaluation.metrics.class_scores`."""
        return metrics.class_scores(truth, probability)

    def confusion(self, truth: Array, probability: Array, threshold: Any) -> Array:
        """Return counts of shape (k, k): rows are the truth."""
        return metrics.confusion(truth, probability)

    def calibration(self, truth: Array, probability: Array) -> list[Bin]:
        """Return bins of the best label's probability."""
        return metrics.calibration_bins(truth, probability)

    def blocks(self, truth: Array, probability: Array, threshold: Any) -> Blocks:
        """Return confusions, losses and bins."""
        return sums.one_of_n(*checks.one_of_n(truth, probability))

    def from_sums(self, total: Blocks) -> Blocks:
        """Return every measure."""
        return sums.one_of_n_measures(total)

    def answers(
        self, names: Sequence[Any], truth: Array, probability: Array, threshold: Any
    ) -> list[tuple[str, str]]:
        """Return the true and the best label of each clip."""
        best = probability.argmax(axis=1).tolist()
        pairs = zip(truth.tolist(), best, strict=True)
        return [(str(names[true]), str(names[said])) for true, said in pairs]


class MultiLabel(Kind):
    """Any number of labels for each clip.

    The truth is an indicator matrix of shape (n, k); a label is predicted where its
    probability is at least `threshold`, a float or one for each label.
    `confusion` is of shape (k, 2, 2): for each label [[rightly absent, false
    alarm], [missed, found]].
    """

    name = "multi-label"
    measures = {
        "accuracy_jaccard": "accuracy (Jaccard, empty 0)",
        "accuracy_jaccard_empty1": "accuracy (Jaccard, empty 1)",
        "micro_precision": "micro precision",
        "micro_recall": "micro recall",
        "micro_f1": "micro F1",
        "macro_f1": "macro F1",
        "balanced_accuracy": "balanced accuracy, mean of labels",
        "subset_accuracy": "every label right",
        "hamming_loss": "Hamming loss",
        "expected_calibration_error": "calibration error (ECE)",
        "empty_truth": "clips without a true label",
        "threshold": "least probability of a label",
    }
    columns = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "weighted_f1": "weighted F1",
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "support": "clips",
    }
    headline = ("accuracy_jaccard", "micro_f1")

    def scores(self, truth: Array, probability: Array, threshold: Any) -> dict[str, float]:
        """Return `multilabel_scores` at the threshold, and calibration over all cells."""
        least = _least(threshold)
        predicted = _held(probability, least)
        found = multilabel_scores(truth, predicted)
        found["balanced_accuracy"] = float(
            np.mean([row.balanced_accuracy for row in label_scores(truth, predicted)])
        )
        found["expected_calibration_error"] = metrics.gap(self.calibration(truth, probability))
        found["threshold"] = float(np.mean(least))
        return {name: found[name] for name in self.measures}

    def class_scores(self, truth: Array, probability: Array, threshold: Any) -> Sequence[Any]:
        """Return `label_scores` at the threshold."""
        return label_scores(truth, _held(probability, _least(threshold)))

    def confusion(self, truth: Array, probability: Array, threshold: Any) -> Array:
        """Return counts of shape (k, 2, 2)."""
        predicted = _held(probability, _least(threshold))
        return np.asarray(multilabel_confusion_matrix(truth, predicted))

    def calibration(self, truth: Array, probability: Array) -> list[Bin]:
        """Return bins of probability over all cells; right is a label that is true."""
        return metrics.bins_of(probability.ravel(), truth.ravel() > 0)

    def blocks(self, truth: Array, probability: Array, threshold: Any) -> Blocks:
        """Return outcomes of each label, and bins."""
        return sums.several(truth, probability, _held(probability, _least(threshold)))

    def from_sums(self, total: Blocks) -> Blocks:
        """Return every measure but the threshold."""
        return sums.several_measures(total)

    def answers(
        self, names: Sequence[Any], truth: Array, probability: Array, threshold: Any
    ) -> list[tuple[str, str]]:
        """Return the labels of each clip, joined by ``|``."""
        pairs = zip(truth > 0, _held(probability, _least(threshold)), strict=True)
        return [(_joined(names, true), _joined(names, said)) for true, said in pairs]


@dataclass(frozen=True)
class Sentiment(Kind):
    """Negative or positive, of clips whose sentiment is known as a number.

    The truth has the shape (n,), float, 0 is neutral. What tells two classes apart
    (`class_scores`, `confusion`, `calibration`) is of clips that are not neutral.

    Parameters
    ----------
    positive : {0, 1}
        Which column of probabilities says "positive".
    """

    positive: int = 1

    name = "sentiment"
    measures = {
        "accuracy_2_non0": "Acc-2 (negative/positive)",
        "weighted_f1_2_non0": "weighted F1 (negative/positive)",
        "accuracy_2_has0": "Acc-2 (negative/non-negative)",
        "weighted_f1_2_has0": "weighted F1 (negative/non-negative)",
        "majority_non0": "always the larger class (negative/positive)",
        "expected_calibration_error": "calibration error (ECE, negative/positive)",
        "neutral_truth": "clips that are neutral (exactly 0)",
        "extension_accuracy_7": "extension: Acc-7",
        "extension_accuracy_5": "extension: Acc-5",
        "extension_accuracy_3": "extension: Acc-3",
        "extension_mean_absolute_error": "extension: mean absolute error",
        "extension_correlation": "extension: correlation",
    }
    columns = OneOfN.columns
    headline = ("accuracy_2_non0", "weighted_f1_2_non0")

    def scores(self, truth: Array, probability: Array, threshold: Any) -> dict[str, float]:
        """Return `two_class_scores`, and the majority and calibration of clear clips."""
        found = two_class_scores(truth, _two_columns(probability)[:, self.positive])
        clear = truth[truth != 0] > 0
        share = float(clear.mean()) if len(clear) else float("nan")
        found["majority_non0"] = max(share, 1 - share)
        found["expected_calibration_error"] = metrics.gap(self.calibration(truth, probability))
        found["neutral_truth"] = float(np.mean(truth == 0))
        return {name: found[name] for name in self.measures}

    def class_scores(self, truth: Array, probability: Array, threshold: Any) -> Sequence[Any]:
        """Return precision, recall and F1 of both classes."""
        if not truth.any():
            return [ClassScores(0.0, 0.0, 0.0, 0.0)] * 2
        return metrics.class_scores(*self._clear(truth, probability))

    def confusion(self, truth: Array, probability: Array, threshold: Any) -> Array:
        """Return counts of shape (2, 2): rows are the truth."""
        if not truth.any():
            return np.zeros((2, 2), dtype=np.int64)
        return metrics.confusion(*self._clear(truth, probability))

    def calibration(self, truth: Array, probability: Array) -> list[Bin]:
        """Return bins of the better label's probability."""
        return metrics.calibration_bins(*self._clear(truth, probability))

    def blocks(self, truth: Array, probability: Array, threshold: Any) -> Blocks:
        """Return confusions, errors, moments and bins."""
        two = _two_columns(probability)
        said = HIGHEST * (2 * two[:, self.positive] - 1)
        return sums.sentiment(truth, said, self.classes(truth), two)

    def from_sums(self, total: Blocks) -> Blocks:
        """Return every measure."""
        return sums.sentiment_measures(total)

    def answers(
        self, names: Sequence[Any], truth: Array, probability: Array, threshold: Any
    ) -> list[tuple[str, str]]:
        """Return the true number and the better label of each clip."""
        best = probability.argmax(axis=1).tolist()
        pairs = zip(truth.tolist(), best, strict=True)
        return [(f"{true:g}", str(names[said])) for true, said in pairs]

    def classes(self, truth: Array) -> Array:
        """Return the column of each clip's class; that of 0 has no meaning."""
        return np.where(truth > 0, self.positive, 1 - self.positive)

    def _clear(self, truth: Array, probability: Array) -> tuple[Array, Array]:
        clear = truth != 0
        return self.classes(truth[clear]), _two_columns(probability)[clear]


ONE_OF_N, MULTI_LABEL = OneOfN(), MultiLabel()


def _least(threshold: Any) -> Array:
    return np.asarray(DEFAULT_THRESHOLD if threshold is None else threshold, dtype=np.float64)


def _held(probability: Array, threshold: Array) -> Array:
    return np.asarray(checks.finite(probability, "probability") >= threshold).astype(np.int64)


def _two_columns(probability: Array) -> Array:
    return checks.finite(probability, "probability").reshape(-1, 2)


def _joined(names: Sequence[Any], held: Array) -> str:
    return "|".join(str(names[position]) for position in np.flatnonzero(held).tolist())
