"""What all baselines share: targets, the prior, and clips that lack what is needed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from merclip.errors import InputError, NotFittedError
from merclip.inputs import as_clips, given_targets
from merclip.labels import LabelSet, encode_label_sets, encode_targets, names_in
from merclip.preprocess import Features
from merclip.scoring import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray[Any, Any]


class Baseline(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of clips that learns from those which have what it needs.

    A clip that lacks it, and every clip where nothing could be learned, gets the
    share of each label among all training clips.

    Parameters
    ----------
    labels : sequence of str or mapping, optional
        Labels to tell apart, as for `EmotionClassifier`; None takes those of `y`.
    multi_label : bool
        Each label by itself (one against the rest) rather than one of n.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        Sorted labels: the columns of every array.
    prior_ : ndarray of shape (k,)
        Share of training clips with each label.

    Examples
    --------
    >>> from merclip.evaluation.baselines import Baseline, WordCounts
    >>> issubclass(WordCounts, Baseline)
    True
    """

    def __init__(self, labels: Any = None, *, multi_label: bool = False) -> None:
        self.labels = labels
        self.multi_label = multi_label

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from labelled clips.

        Parameters
        ----------
        X : as for `EmotionClassifier.predict`, or what `encode` returned
        y : sequence of length n, optional
            As for `EmotionClassifier.fit`; None takes the column "label" of `X`.

        Returns
        -------
        self

        Raises
        ------
        LabelError
            `y` has labels that `labels` lacks.
        InputError
            `X` and `y` differ in length, or there are no clips.
        """
        y = given_targets(X, y)
        rows = self.encode(X)
        if len(rows) != len(y) or not len(rows):
            raise InputError(f"There are {len(rows)} clips to learn from and {len(y)} labels.")
        known = self._known_labels()
        self._label_set = LabelSet.learned(names_in(y, self._many()) if known is None else known)
        encode = encode_label_sets if self._many() else encode_targets
        targets = encode(y, self.classes_)
        self.prior_ = self._shares(targets)
        self._learn(rows, targets)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each label.

        Parameters
        ----------
        X : as for `EmotionClassifier.predict`, or what `encode` returned

        Returns
        -------
        ndarray of shape (n, k), float64
            Columns follow `classes_`.
        """
        self._check_fitted()
        rows = self.encode(X)
        probability = np.tile(self._fallback(), (len(rows), 1))
        usable = np.flatnonzero(self._usable(rows))
        if len(usable):
            probability[usable] = self._probability(rows, usable)
        return probability

    def predict(self, X: Any) -> Array:
        """Return the label of each clip.

        Parameters
        ----------
        X : as for `EmotionClassifier.predict`, or what `encode` returned

        Returns
        -------
        ndarray of shape (n,), or (n, k) of 0 and 1 with several labels
        """
        probability = self.predict_proba(X)
        if self._many():
            return (probability >= DEFAULT_THRESHOLD).astype(np.int64)
        return np.asarray(self.classes_[probability.argmax(axis=1)])

    def encode(self, X: Any) -> Any:
        """Return what the baseline takes of clips, which `fit` and `predict` take in their place.

        Parameters
        ----------
        X : as for `EmotionClassifier.predict`

        Returns
        -------
        Clips, or another sequence that indexes like an array
            One row for each clip.

        Raises
        ------
        InputError
            `X` are features, and the baseline reads clips themselves.
        """
        if isinstance(X, Features):
            raise InputError(
                f"{type(self).__name__} reads clips themselves; Features hold neither words nor "
                "sound."
            )
        return as_clips(X).clips

    @property
    def classes_(self) -> Array:
        """Sorted labels."""
        self._check_fitted()
        return self._label_set.classes

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_label_set")

    # What a baseline of its own changes -----------------------------------------

    def _known_labels(self) -> Any:
        return self.labels

    def _many(self) -> bool:
        return self.multi_label

    def _usable(self, rows: Any) -> Array:
        """Return which rows have what is needed: shape (n,), bool."""
        raise NotImplementedError

    def _learn(self, rows: Any, targets: Array) -> None:
        """Learn from the rows that have what is needed."""
        raise NotImplementedError

    def _probability(self, rows: Any, usable: Array) -> Array:
        """Return probabilities of shape (len(usable), k)."""
        raise NotImplementedError

    def _fallback(self) -> Array:
        return self.prior_

    # ----------------------------------------------------------------------------

    def _shares(self, targets: Array) -> Array:
        if self._many():
            return np.asarray(targets.mean(axis=0), dtype=np.float64)
        return np.bincount(targets, minlength=len(self.classes_)) / len(targets)

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"{type(self).__name__} has learned nothing yet: call fit.")


class Majority(Baseline):
    """Always the same answer: the share of each label in training.

    `predict` says the most frequent label, and with several labels those that more
    than half of the training clips have.

    Parameters
    ----------
    labels, multi_label
        As for `Baseline`.

    Examples
    --------
    >>> from merclip.evaluation.baselines import Majority
    >>> clips = [{"text": "a"}, {"text": "b"}, {"text": "c"}, {"text": "d"}]
    >>> majority = Majority().fit(clips, ["sad", "happy", "sad", "sad"])
    >>> majority.predict_proba(clips[:1]).tolist()
    [[0.25, 0.75]]
    """

    def encode(self, X: Any) -> Any:
        """Return clips; nothing of them is needed.

        Parameters
        ----------
        X : as for `EmotionClassifier.predict`

        Returns
        -------
        Clips
        """
        return X if isinstance(X, Features) else super().encode(X)

    def _usable(self, rows: Any) -> Array:
        return np.zeros(len(rows), dtype=bool)

    def _learn(self, rows: Any, targets: Array) -> None:
        pass


class LearnedBaseline(Baseline):
    """A baseline that gives rows of numbers or texts to scikit-learn.

    Attributes
    ----------
    estimator_ : scikit-learn estimator, or None
        None where the clips that have what is needed leave nothing to tell apart.
    """

    def _values(self, rows: Any, usable: Array) -> Any:
        """Return what scikit-learn takes of the usable rows."""
        raise NotImplementedError

    def _steps(self) -> list[Any]:
        """Return transformers, and the classifier last."""
        raise NotImplementedError

    def _learn(self, rows: Any, targets: Array) -> None:
        usable = np.flatnonzero(self._usable(rows))
        self.estimator_ = None
        if len(np.unique(targets[usable])) < 2:
            return
        *transformers, last = self._steps()
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0].astype(np.int64)
        elif self._many():
            last = OneVsRestClassifier(last)
        estimator = make_pipeline(*transformers, last)
        with warnings.catch_warnings():
            # A label that all or none of the clips have is no reason to worry anyone.
            warnings.filterwarnings("ignore", "Label .* is present in all training examples")
            self.estimator_ = estimator.fit(self._values(rows, usable), targets[usable])

    def _probability(self, rows: Any, usable: Array) -> Array:
        if self.estimator_ is None:
            return np.tile(self.prior_, (len(usable), 1))
        found = self.estimator_.predict_proba(self._values(rows, usable))
        if self._many():
            return np.asarray(found[:, -len(self.classes_) :])
        probability = np.zeros((len(usable), len(self.classes_)))
        probability[:, self.estimator_.classes_] = found
        return probability
