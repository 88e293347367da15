"""One way of using a model, and what it predicted for each test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from merclip.evaluation.intervals import Interval
from merclip.evaluation.kinds import ONE_OF_N, Kind
from merclip.evaluation.metrics import Bin

Array = np.ndarray[Any, Any]

EXTRA = {
    "unseen_recall": "recall of the unseen label",
    "seen_recall": "mean recall of the seen labels",
    "harmonic_mean": "harmonic mean of the two",
    "weighted_precision": "weighted precision",
}
"""Measures that protocols add to those of the kind, and what tables call them."""


@dataclass(frozen=True, eq=False)
class Run:
    """Predictions for one test part.

    Parameters
    ----------
    ids : tuple of str, of length n
    truth : ndarray of shape (n,), int
        Positions in the report's labels; for several labels at once an indicator
        matrix of shape (n, k); for sentiment numbers from -3 to 3.
    probability : ndarray of shape (n, k)
        Columns follow the report's labels.
    seed : int or None
        Of the draw or the training; None where nothing was drawn or trained.
    fold : int or None
        Which fold was the test part.
    kind : Kind
        What is measured: `merclip.evaluation.kinds`.
    threshold : float or ndarray of shape (k,), optional
        Several labels at once: the least probability of a label that holds.
    groups : tuple of str, of length n, optional
        Speaker or dialogue of each clip, for intervals.
    learned, held_out : int
        Clips that were learned from, and on which epoch and threshold were chosen.
    extra : mapping from name to float
        Measures that rest on more than this run's predictions.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip.evaluation import Run
    >>> run = Run(("a", "b"), np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    >>> run.metrics["accuracy"]
    0.5
    """

    ids: tuple[str, ...]
    truth: Array
    probability: Array
    seed: int | None = None
    fold: int | None = None
    kind: Kind = ONE_OF_N
    threshold: Any = None
    groups: tuple[str, ...] | None = None
    learned: int = 0
    held_out: int = 0
    extra: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every measure of the kind, for one-of-n `merclip.evaluation.metrics.scores`."""
        return {**self.measured(slice(None)), **self.extra}

    @cached_property
    def per_class(self) -> list[Any]:
        """Scores of each label."""
        return list(self.kind.class_scores(self.truth, self.probability, self.threshold))

    def measured(self, rows: Any) -> dict[str, float]:
        """Return every measure of some of the clips.

        Parameters
        ----------
        rows : slice, sequence of int or mask of shape (n,)

        Returns
        -------
        dict from name to float
        """
        return self.kind.scores(self.truth[rows], self.probability[rows], self.threshold)


@dataclass(frozen=True, eq=False)
class Condition:
    """One way of using the model, measured once or with several seeds or folds.

    Parameters
    ----------
    name : str
        Such as "zero-shot" or "16-shot".
    runs : tuple of Run
        One for each seed and fold.
    shots : int
        Examples for each class that were learned from.
    labels : mapping from name to list of str, optional
        The texts that were encoded, where they are not the report's.
    intervals : mapping from measure to Interval, optional
        Added by `Report.with_intervals`.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip.evaluation import Condition, Run
    >>> truth, right = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> runs = [Run(("a", "b"), truth, p, seed) for seed, p in enumerate([right, 1 - right])]
    >>> found = Condition("16-shot", tuple(runs), shots=16)
    >>> found.mean["accuracy"], round(found.std["accuracy"], 3)
    (0.5, 0.707)
    """

    name: str
    runs: tuple[Run, ...]
    shots: int = 0
    labels: Mapping[Any, list[str]] | None = None
    intervals: Mapping[str, Interval] | None = None

    @property
    def kind(self) -> Kind:
        """What is measured."""
        return self.runs[0].kind

    @property
    def measures(self) -> dict[str, str]:
        """Names of the measures, and what tables call them."""
        extra = {name: EXTRA.get(name, name) for name in self.runs[0].extra}
        return {**self.kind.measures, **extra}

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each measure over the runs in which it is defined."""
        return {name: float(np.mean(values)) for name, values in self._values().items()}

    @property
    def std(self) -> dict[str, float | None]:
        """Standard deviation over those, with n - 1 below; None for one run alone."""
        return {
            name: float(np.std(values, ddof=1)) if len(values) > 1 else None
            for name, values in self._values().items()
        }

    @property
    def per_class(self) -> list[Any]:
        """Scores of each label, mean over runs; so its number of clips need not be whole."""
        means = np.mean([run.per_class for run in self.runs], axis=0)
        row = type(self.runs[0].per_class[0])
        return [row(*values) for values in means.tolist()]

    @property
    def confusion(self) -> Array:
        """Counts, summed over runs.

        Of shape (k, k), rows are the truth. For several labels at once of shape
        (k, 2, 2), for each label [[rightly absent, false alarm], [missed, found]].
        """
        counts = [
            run.kind.confusion(run.truth, run.probability, run.threshold) for run in self.runs
        ]
        return np.asarray(np.sum(counts, axis=0))

    @property
    def calibration(self) -> list[Bin]:
        """Bins of confidence, over the predictions of all runs."""
        truth = np.concatenate([run.truth for run in self.runs])
        probability = np.concatenate([run.probability for run in self.runs])
        return self.kind.calibration(truth, probability)

    def _values(self) -> dict[str, list[float]]:
        values = {name: [run.metrics[name] for run in self.runs] for name in self.measures}
        # A fold without clips of a label has no recall of it.
        defined = {name: [v for v in row if not np.isnan(v)] for name, row in values.items()}
        return {name: defined[name] or row for name, row in values.items()}
