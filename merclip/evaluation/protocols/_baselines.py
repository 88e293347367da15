"""Other classifiers of clips, measured on the same rows of the same report."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from merclip.errors import InputError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.protocols._division import Division
from merclip.evaluation.protocols._task import NOTHING, Task

Array = np.ndarray[Any, Any]

Baselines: TypeAlias = "Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None"
"""Estimators by name, or what makes them for a fitted classifier."""


class Beside:
    """Fits baselines to the rows that a classifier learned from, and gathers their runs.

    Parameters
    ----------
    task : Task
        What is tested.
    baselines : mapping from name to estimator, or callable, or None
        An estimator has ``fit(clips, y)``, ``predict_proba(clips)`` and ``classes_``.
        It gets the features of the task in place of clips if its attribute
        ``takes_features`` is true. If it has ``encode(clips)``, that is called once,
        and the other two get rows of what it returned; once for each fit if its
        attribute ``encodes_alike`` is false.
    source : Task, optional
        What is learned from, where it is not `task`.
    """

    def __init__(self, task: Task, baselines: Baselines, source: Task | None = None) -> None:
        self.task, self.baselines = task, baselines
        self.source = task if source is None else source
        self.runs: dict[str, list[Run]] = {}
        self._inputs: dict[tuple[str, int], Any] = {}

    def fitted(self, learner: Any, rows: Array, seed: int) -> Iterator[tuple[str, Any]]:
        """Yield each baseline by name, fitted to some rows of the source."""
        for name, estimator in _estimators(self.baselines, learner).items():
            if "random_state" in _parameters(estimator):
                estimator.set_params(random_state=seed)
            if not getattr(estimator, "encodes_alike", True):
                self._inputs = {key: X for key, X in self._inputs.items() if key[0] != name}
            X = self._input(name, estimator, self.source)
            estimator.fit(X[rows], self.source.targets(rows))
            yield name, estimator

    def probability(
        self, name: str, estimator: Any, rows: Array, task: Task | None = None
    ) -> Array:
        """Return probabilities of shape (n, k) for rows of what is tested, or of another task."""
        task = self.task if task is None else task
        X = self._input(name, estimator, task)[rows]
        return task.in_order(estimator, estimator.predict_proba(X))

    def measure(self, learner: Any, each: Division, suffix: str = "") -> None:
        """Fit each baseline, choose its threshold on what is held out, and test it."""
        for name, estimator in self.fitted(learner, each.train, each.seed):
            threshold = None
            if len(each.held_out):
                found = self.probability(name, estimator, each.held_out, self.source)
                threshold = self.source.tuned(found, each.held_out)
            probability = self.probability(name, estimator, each.test)
            facts = {"threshold": threshold, **each.facts}
            run = self.task.run(each.test, probability, each.seed, **facts)
            self.runs.setdefault(f"{name}{suffix}", []).append(run)

    def conditions(self, shots: int = 0) -> list[Condition]:
        """Return a condition for each name."""
        return [Condition(name, tuple(runs), shots) for name, runs in self.runs.items()]

    def _input(self, name: str, estimator: Any, task: Task) -> Any:
        key = name, id(task)
        if key not in self._inputs:
            self._inputs[key] = _input(estimator, task)
        return self._inputs[key]


def measure_ready(task: Task, baselines: Baselines) -> list[Condition]:
    """Measure baselines that need no fit, or had it before."""
    found = []
    for name, estimator in _estimators(baselines, task.classifier).items():
        probability = estimator.predict_proba(_input(estimator, task))
        run = task.run(
            task.everything,
            task.in_order(estimator, probability),
            threshold=task.tuned(probability, NOTHING),
        )
        found.append(Condition(name, (run,)))
    return found


def _estimators(baselines: Baselines, classifier: Any) -> Mapping[str, Any]:
    if baselines is None:
        return {}
    if callable(baselines):
        return _by_name(baselines(classifier))
    return {name: copy.deepcopy(estimator) for name, estimator in _by_name(baselines).items()}


def _by_name(baselines: Any) -> Mapping[str, Any]:
    """Check what a user gave, or what the user's callable made."""
    estimators = baselines.values() if isinstance(baselines, Mapping) else [None]
    for estimator in estimators:
        if not hasattr(estimator, "predict_proba"):
            got = estimator if isinstance(baselines, Mapping) else baselines
            raise InputError(
                "baselines is a mapping from name to estimator, which has fit and predict_proba, "
                f"or makes one of a classifier; got {got!r}."
            )
    found: Mapping[str, Any] = baselines
    return found


def _input(estimator: Any, task: Task) -> Any:
    X = task.features if getattr(estimator, "takes_features", False) else task.raw()
    return estimator.encode(X) if hasattr(estimator, "encode") else X


def _parameters(estimator: Any) -> Mapping[str, Any]:
    if not hasattr(estimator, "get_params"):
        return {}
    found: Mapping[str, Any] = estimator.get_params(deep=False)
    return found
