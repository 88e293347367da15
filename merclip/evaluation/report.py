"""What an evaluation found, and how to show it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from merclip._shown import json_text
from merclip.errors import InputError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.kinds import Kind
from merclip.evaluation.metrics import Bin

Array = np.ndarray[Any, Any]


class Skipped(NamedTuple):
    """A clip that was left out, because it could not be read or lacks something, and why.

    Attributes
    ----------
    id : str
    reason : str

    Examples
    --------
    >>> from merclip.evaluation import Skipped
    >>> Skipped("a.mp4", "There is no file 'a.mp4': check the path.").id
    'a.mp4'
    """

    id: str
    reason: str


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
        Name, pretrained, revision, fingerprint of all weights, temperature; where clips
        are compared with pictures, predict_from and how many each label has (anchors).
    data : mapping or None
        Name and SHA-256 of the file that clips came from; or the name of the data
        set, its rows and clips, and a SHA-256 of their ids and labels.
    versions : mapping
        Of merclip, python and torch.
    resampling : mapping or None
        How intervals were made.

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
    data: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    resampling: Mapping[str, Any] | None = None

    def __getitem__(self, name: str) -> Condition:
        """Return the condition of a name, such as "16-shot"."""
        found = {condition.name: condition for condition in self.conditions}
        if name not in found:
            raise InputError(f"The report has the conditions {list(found)}, not {name!r}.")
        return found[name]

    @property
    def kind(self) -> Kind:
        """What is measured: one of n, several labels at once, or sentiment."""
        return self.conditions[-1].kind

    @property
    def metrics(self) -> dict[str, float]:
        """Each measure, mean over seeds and folds."""
        return self.conditions[-1].mean

    @property
    def per_class(self) -> dict[Any, Any]:
        """Precision, recall, F1 and number of clips of each label."""
        return dict(zip(self.labels, self.conditions[-1].per_class, strict=True))

    @property
    def confusion(self) -> Array:
        """Counts in the order of `labels`, as of `Condition.confusion`."""
        return self.conditions[-1].confusion

    @property
    def shots(self) -> list[int]:
        """Examples for each class that were learned from; empty where none were."""
        return [condition.shots for condition in self.conditions if condition.shots]

    @property
    def seeds(self) -> list[int]:
        """Seeds of draws and training; empty where nothing was drawn or trained."""
        found = [run.seed for run in self.conditions[-1].runs if run.seed is not None]
        return list(dict.fromkeys(found))

    def with_conditions(self, conditions: Iterable[Condition]) -> Report:
        """Return a report with more conditions, put before the others.

        What stands last stays last: it is what `metrics` and the pictures show.

        Parameters
        ----------
        conditions : iterable of Condition

        Returns
        -------
        Report

        Raises
        ------
        InputError
            A name occurs twice, or other labels or kinds are measured.
        """
        every = (*conditions, *self.conditions)
        names = [condition.name for condition in every]
        if len(set(names)) < len(names):
            raise InputError(f"Each condition needs a name of its own, got {names}.")
        for condition in every:
            columns = {run.probability.shape[1] for run in condition.runs}
            if condition.kind != self.kind or columns != {len(self.labels)}:
                raise InputError(
                    f"The condition {condition.name!r} measures something else: the report is "
                    f"{self.kind.name}, with {len(self.labels)} labels."
                )
        return replace(self, conditions=every)

    def with_intervals(
        self, *, n_resamples: int = 1000, confidence: float = 0.95, random_state: int = 0
    ) -> Report:
        """Return a report with a bootstrap interval of each measure.

        Whole groups (speakers, dialogues) are drawn where they are known, else
        clips; see `merclip.evaluation.intervals.run_intervals`.

        Parameters
        ----------
        n_resamples : int
            Each takes every measure once more, some milliseconds for each run.
        confidence : float
            In (0, 1).
        random_state : int

        Returns
        -------
        Report

        Raises
        ------
        InputError
            There are fewer than two groups or clips, or a setting is out of range.
        """
        from merclip.evaluation.intervals import run_intervals

        def measured(condition: Condition) -> Condition:
            found = run_intervals(
                condition.runs,
                n_resamples=n_resamples,
                confidence=confidence,
                random_state=random_state,
            )
            return replace(condition, intervals=found)

        runs = [run for condition in self.conditions for run in condition.runs]
        grouped = all(run.groups is not None for run in runs)
        owners = [(grouped and run.groups) or run.ids for run in runs]
        drawn = {str(name) for names in owners for name in names}
        how = {
            "resampled": "groups" if grouped else "clips",
            "n_resampled": len(drawn),
            "n_resamples": n_resamples,
            "confidence": confidence,
            "random_state": random_state,
        }
        conditions = tuple(map(measured, self.conditions))
        return replace(self, conditions=conditions, resampling=how)

    def to_dict(self) -> dict[str, Any]:
        """Return built-in types alone, ready for `json.dumps`, without single predictions.

        Returns
        -------
        dict
        """
        return {
            "protocol": self.protocol,
            "kind": self.kind.name,
            "labels": _label_dicts(self.labels),
            "prompt": list(self.prompt),
            "n_clips": self.n_clips,
            "skipped": [item._asdict() for item in self.skipped],
            "shots": self.shots,
            "seeds": self.seeds,
            "conditions": [self._condition_dict(condition) for condition in self.conditions],
            "model": dict(self.model),
            "data": None if self.data is None else dict(self.data),
            "versions": dict(self.versions),
            "resampling": None if self.resampling is None else dict(self.resampling),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON.

        Returns
        -------
        str
        """
        return json_text(self.to_dict(), indent=2)

    def to_markdown(self) -> str:
        """Return tables of the measures, classes and confusions, and what they rest on.

        Returns
        -------
        str
        """
        from merclip.evaluation.tables import markdown

        return markdown(self)

    def to_csv(self) -> str:
        """Return one line for each condition and measure, with mean, deviation and interval.

        Returns
        -------
        str
        """
        from merclip.evaluation.tables import comma_separated

        return comma_separated(self)

    def plot_confusion(
        self, path_or_ax: str | os.PathLike[str] | Any = None, *, condition: str | None = None
    ) -> Any:
        """Draw which label is taken for which: colours are shares of a row, below them counts.

        Several labels at once have no such picture: see `per_class`.

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
        InputError
            The report is of several labels at once.
        """
        from merclip.evaluation.pictures import draw_confusion

        if self.confusion.ndim != 2:
            raise InputError(
                "Several labels at once are not taken for one another; per_class says how well "
                "each is told from its absence."
            )
        return draw_confusion(list(self.labels), self._chosen(condition), path_or_ax)

    def plot_calibration(
        self, path_or_ax: str | os.PathLike[str] | Any = None, *, condition: str | None = None
    ) -> Any:
        """Draw accuracy against confidence; on the diagonal scores mean what they say.

        Of several labels at once, confidence is the probability of each label, and
        accuracy how often it is true.

        Parameters
        ----------
        path_or_ax, condition
            As for `plot_confusion`.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        from merclip.evaluation.pictures import draw_calibration

        return draw_calibration(self._chosen(condition), path_or_ax)

    def __repr__(self) -> str:
        last = self.conditions[-1]
        shown = ", ".join(f"{name}={last.mean[name]:.3f}" for name in self.kind.headline)
        return f"Report({last.name!r}, n_clips={self.n_clips}, {shown})"

    def _chosen(self, name: str | None) -> Condition:
        return self.conditions[-1] if name is None else self[name]

    def _condition_dict(self, condition: Condition) -> dict[str, Any]:
        mean, std = condition.mean, condition.std
        classes = zip(self.labels, condition.per_class, strict=True)
        own = condition.labels
        return {
            "name": condition.name,
            "shots": condition.shots,
            "labels": None if own is None else _label_dicts(own),
            "metrics": {
                name: {"mean": _plain(mean[name]), "std": _plain(std[name])} for name in mean
            },
            "intervals": _interval_dicts(condition),
            "per_class": [{"name": name, **scores._asdict()} for name, scores in classes],
            "confusion": condition.confusion.tolist(),
            "calibration": [_bin_dict(item) for item in condition.calibration],
            "runs": [_run_dict(run) for run in condition.runs],
        }


def _run_dict(run: Run) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "fold": run.fold,
        "n_clips": len(run.ids),
        "learned": run.learned,
        "held_out": run.held_out,
        "metrics": {name: _plain(value) for name, value in run.metrics.items()},
    }


def _label_dicts(labels: Mapping[Any, list[str]]) -> list[dict[str, Any]]:
    return [{"name": name, "descriptions": list(texts)} for name, texts in labels.items()]


def _interval_dicts(condition: Condition) -> dict[str, Any] | None:
    if condition.intervals is None:
        return None
    return {
        name: {"lower": _plain(found.lower), "upper": _plain(found.upper)}
        for name, found in condition.intervals.items()
    }


def _bin_dict(item: Bin) -> dict[str, Any]:
    return {name: _plain(value) for name, value in item._asdict().items()}


def _plain(value: float | None) -> float | None:
    # JSON knows no NaN.
    return None if value is None or value != value else value
