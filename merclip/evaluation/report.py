"""What an evaluation found, and how to show it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from merclip.errors import InputError
from merclip.evaluation import metrics
from merclip.evaluation.metrics import Bin, ClassScores

Array = np.ndarray[Any, Any]


class Skipped(NamedTuple):
    """A clip that could not be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Run:
    """Predictions for one test part.

    Parameters
    ----------
    ids : tuple of str, of length n
    truth : ndarray of shape (n,), int
        Positions in the report's labels.
    probability : ndarray of shape (n, k)
        Columns follow the report's labels.
    seed : int or None
        Of the draw; None where nothing was drawn.
    """

    ids: tuple[str, ...]
    truth: Array
    probability: Array
    seed: int | None = None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every measure of `merclip.evaluation.metrics.scores`."""
        return metrics.scores(self.truth, self.probability)

    @cached_property
    def per_class(self) -> list[ClassScores]:
        """Scores of each label."""
        return metrics.class_scores(self.truth, self.probability)


@dataclass(frozen=True, eq=False)
class Condition:
    """One way of using the model, measured once or with several seeds.

    Parameters
    ----------
    name : str
        Such as "zero-shot" or "16-shot".
    runs : tuple of Run
        One for each seed.
    shots : int
        Examples for each class that were learned from.
    """

    name: str
    runs: tuple[Run, ...]
    shots: int = 0

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each measure over seeds."""
        return {name: float(np.mean(values)) for name, values in self._values().items()}

    @property
    def std(self) -> dict[str, float | None]:
        """Standard deviation over seeds, with n - 1 below; None for one run alone."""
        if len(self.runs) < 2:
            return dict.fromkeys(metrics.NAMES)
        return {name: float(np.std(values, ddof=1)) for name, values in self._values().items()}

    @property
    def per_class(self) -> list[ClassScores]:
        """Scores of each label, mean over seeds; so its number of clips need not be whole."""
        means = np.mean([run.per_class for run in self.runs], axis=0)
        return [ClassScores(*row) for row in means.tolist()]

    @property
    def confusion(self) -> Array:
        """Counts of shape (k, k), summed over seeds: rows are the truth."""
        counts = [metrics.confusion(run.truth, run.probability) for run in self.runs]
        return np.asarray(np.sum(counts, axis=0))

    @property
    def calibration(self) -> list[Bin]:
        """Bins of confidence, over the predictions of all seeds."""
        truth = np.concatenate([run.truth for run in self.runs])
        probability = np.concatenate([run.probability for run in self.runs])
        return metrics.calibration_bins(truth, probability)

    def _values(self) -> dict[str, list[float]]:
        return {name: [run.metrics[name] for run in self.runs] for name in metrics.NAMES}


@dataclass(frozen=True, eq=False)
class Report:
    """How good a classifier is on labelled clips, and what that rests on.

    Made by `EmotionClassifier.evaluate` and by the protocols of
    `merclip.evaluation`. `metrics`, `per_class`, `confusion` and the pictures
    are those of the last condition; ``report["zero-shot"]`` gives another one.

    Parameters
    ----------
    protocol : str
    labels : mapping from name to list of str
        What was told apart, in the user's order, and the texts that were
        encoded.
    conditions : tuple of Condition
    n_clips : int
        Clips that could be read.
    skipped : tuple of Skipped
        Clips that could not.
    prompt : tuple of str
        Formats into which labels were put.
    model : mapping
        Name, pretrained, revision, fingerprint of all weights, temperature.
    data : mapping or None
        Name and SHA-256 of the file that clips came from.
    versions : mapping
        Of merclip, python and torch.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> clf = EmotionClassifier(labels=["happy", "sad"])
    >>> report = clf.evaluate([{"text": "I love it!"}, {"text": "He died."}], ["happy", "sad"])
    >>> sorted(report.metrics)[:2], report.confusion.shape
    (['accuracy', 'balanced_accuracy'], (2, 2))
    """

    protocol: str
    labels: Mapping[Any, list[str]]
    conditions: tuple[Condition, ...]
    n_clips: int
    skipped: tuple[Skipped, ...] = ()
    prompt: tuple[str, ...] = ("{}",)
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Condition:
        """Return the condition of a name, such as "16-shot"."""
        found = {condition.name: condition for condition in self.conditions}
        if name not in found:
            raise InputError(f"The report has the conditions {list(found)}, not {name!r}.")
        return found[name]

    @property
    def metrics(self) -> dict[str, float]:
        """Each measure, mean over seeds."""
        return self.conditions[-1].mean

    @property
    def per_class(self) -> dict[Any, ClassScores]:
        """Precision, recall, F1 and number of clips of each label."""
        return dict(zip(self.labels, self.conditions[-1].per_class, strict=True))

    @property
    def confusion(self) -> Array:
        """Counts of shape (k, k) in the order of `labels`: rows are the truth."""
        return self.conditions[-1].confusion

    @property
    def shots(self) -> list[int]:
        """Examples for each class that were learned from; empty where none were."""
        return [condition.shots for condition in self.conditions if condition.shots]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the draws; empty where nothing was drawn."""
        return [run.seed for run in self.conditions[-1].runs if run.seed is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return built-in types alone, ready for `json.dumps`, without single predictions."""
        return {
            "protocol": self.protocol,
            "labels": [{"name": n, "descriptions": list(t)} for n, t in self.labels.items()],
            "prompt": list(self.prompt),
            "n_clips": self.n_clips,
            "skipped": [item._asdict() for item in self.skipped],
            "shots": self.shots,
            "seeds": self.seeds,
            "conditions": [self._condition_dict(condition) for condition in self.conditions],
            "model": dict(self.model),
            "data": None if self.data is None else dict(self.data),
            "versions": dict(self.versions),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_markdown(self) -> str:
        """Return tables of the measures, classes and confusions, and what they rest on."""
        from merclip.evaluation.tables import markdown

        return markdown(self)

    def plot_confusion(
        self, path_or_ax: str | os.PathLike[str] | Any = None, *, condition: str | None = None
    ) -> Any:
        """Draw which label is taken for which: colours are shares of a row, below them counts.

        Parameters
        ----------
        path_or_ax : path or matplotlib Axes, optional
            A file to write, or where to draw; None makes a new figure of pyplot.
        condition : str, optional
            The last one by default.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        from merclip.evaluation.pictures import draw_confusion

        return draw_confusion(list(self.labels), self._chosen(condition), path_or_ax)

    def plot_calibration(
        self, path_or_ax: str | os.PathLike[str] | Any = None, *, condition: str | None = None
    ) -> Any:
        """Draw accuracy against confidence; on the diagonal scores mean what they say.

        Parameters, result and errors are those of `plot_confusion`.
        """
        from merclip.evaluation.pictures import draw_calibration

        return draw_calibration(self._chosen(condition), path_or_ax)

    def __repr__(self) -> str:
        last = self.conditions[-1]
        shown = ", ".join(f"{name}={value:.3f}" for name, value in list(last.mean.items())[:2])
        return f"Report({last.name!r}, n_clips={self.n_clips}, {shown})"

    def _chosen(self, name: str | None) -> Condition:
        return self.conditions[-1] if name is None else self[name]

    def _condition_dict(self, condition: Condition) -> dict[str, Any]:
        mean, std = condition.mean, condition.std
        classes = zip(self.labels, condition.per_class, strict=True)
        return {
            "name": condition.name,
            "shots": condition.shots,
            "metrics": {name: {"mean": mean[name], "std": std[name]} for name in mean},
            "per_class": [{"name": name, **scores._asdict()} for name, scores in classes],
            "confusion": condition.confusion.tolist(),
            "calibration": [_bin_dict(item) for item in condition.calibration],
            "runs": [
                {"seed": run.seed, "n_clips": len(run.ids), "metrics": run.metrics}
                for run in condition.runs
            ],
        }


def _bin_dict(item: Bin) -> dict[str, Any]:
    # JSON knows no NaN.
    values = item._asdict()
    return values if item.n_clips else {**values, "confidence": None, "accuracy": None}
