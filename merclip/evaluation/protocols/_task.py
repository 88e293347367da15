"""What all protocols share: clips that are encoded once, and copies of a classifier to fit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from merclip.errors import InputError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.kinds import MULTI_LABEL, Kind, Sentiment
from merclip.evaluation.provenance import data_facts, model_facts, versions
from merclip.evaluation.report import Report, Skipped
from merclip.labels import LabelSet, prompt_list
from merclip.preprocess import Features
from merclip.scoring import best_threshold, threshold_row

Array = np.ndarray[Any, Any]

NOTHING = np.array([], dtype=np.int64)
BESIDE = (0.5, 0.6)
"""Thresholds of published tables, which stand beside the one that validation chose."""


@dataclass(frozen=True, eq=False)
class Task:
    """Clips that could be read, encoded once, beside their true labels.

    Parameters
    ----------
    classifier : EmotionClassifier
        With the labels that are told apart.
    labels : LabelSet
    kind : Kind
    clips : Clips of length n, or None
        None where features were given in their place.
    features : Features of length n
    truth : ndarray of shape (n,) or (n, k)
        As `Run.truth`.
    ids : tuple of str, of length n
    skipped : tuple of Skipped
        Clips that could not be read.
    read : ndarray of shape (n,), int
        Where each clip stood among those that were given.
    groups, parts : ndarray of shape (n,), str, or None
        Speaker or dialogue of each clip, and its official part.
    """

    classifier: Any
    labels: LabelSet
    kind: Kind
    clips: Any
    features: Features
    truth: Array
    ids: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    read: Array
    groups: Array | None = None
    parts: Array | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def everything(self) -> Array:
        """Positions of all clips."""
        return np.arange(len(self))

    @property
    def describes(self) -> bool:
        """Whether labels are texts, so that any may be asked for without training."""
        return bool(self.classifier.network_.config.use_label_encoder)

    @property
    def classes(self) -> Array:
        """What training tells apart: positions of labels, or an indicator matrix."""
        return self.kind.classes(self.truth) if isinstance(self.kind, Sentiment) else self.truth

    def part(self, name: str) -> Array:
        """Return positions of the clips of an official part."""
        return NOTHING if self.parts is None else np.flatnonzero(self.parts == name)

    def select(self, rows: Array, *skipped: Skipped) -> Task:
        """Return a task with some of the clips, and why others are left out."""
        return replace(
            self,
            clips=None if self.clips is None else self.clips[rows],
            features=self.features[rows.tolist()],
            truth=self.truth[rows],
            ids=tuple(self.ids[row] for row in rows),
            skipped=(*self.skipped, *skipped),
            read=self.read[rows],
            groups=None if self.groups is None else self.groups[rows],
            parts=None if self.parts is None else self.parts[rows],
        )

    def at(self, given: Array) -> Array:
        """Return positions of those of the given clips that could be read."""
        return np.flatnonzero(np.isin(self.read, given))

    def learnable(self, rows: Array) -> Array:
        """Leave out the clips that belong to no class: those whose sentiment is 0."""
        return rows[self.truth[rows] != 0] if isinstance(self.kind, Sentiment) else rows

    def targets(self, rows: Array) -> list[Any]:
        """Return the labels of clips by name, as `fit` takes them."""
        names, classes = self.labels.names, self.classes[rows]
        if self.kind is MULTI_LABEL:
            return [[names[position] for position in np.flatnonzero(row)] for row in classes]
        return [names[position] for position in classes]

    def probability(self, classifier: Any, rows: Array, *, anew: bool = False) -> Array:
        """Return probabilities of shape (n, k), columns in the user's order of labels.

        With `anew` clips are encoded by this classifier, whose encoders were trained.
        """
        X = self.raw()[rows] if anew else self.features[rows.tolist()]
        return self.in_order(classifier, classifier.predict_proba(X))

    def in_order(self, estimator: Any, probability: Any) -> Array:
        """Return columns in the user's order; a label that is not known gets 0."""
        found, columns = np.asarray(probability, dtype=np.float64), list(estimator.classes_)
        ordered = np.zeros((len(found), len(self.labels)))
        for position, name in enumerate(self.labels.names):
            if name in columns:
                ordered[:, position] = found[:, columns.index(name)]
        return ordered

    def raw(self) -> Any:
        """Return the clips themselves.

        Raises
        ------
        InputError
            Features were given in their place.
        """
        if self.clips is None:
            raise InputError("This needs clips and not Features: give the clips themselves.")
        return self.clips

    def threshold(self, classifier: Any) -> Array | None:
        """Return a classifier's own least probability of each label, in the user's order."""
        if self.kind is not MULTI_LABEL:
            return None
        return np.asarray(self.in_order(classifier, [classifier.threshold_])[0])

    def chosen_threshold(self, classifier: Any, probability: Array, rows: Array) -> Array | None:
        """Return the threshold that was set, or else the best on validation rows.

        Parameters
        ----------
        classifier : EmotionClassifier
        probability : ndarray of shape (n, k)
            Of `rows`.
        rows : ndarray of int
            Without any the classifier's own threshold holds.
        """
        if self.kind is MULTI_LABEL and classifier.threshold is None and len(rows):
            return self.tuned(probability, rows)
        return self.threshold(classifier)

    def tuned(self, probability: Array, rows: Array) -> Array | None:
        """Return the threshold with the best micro F1 on validation rows, or 0.5 without any."""
        if self.kind is not MULTI_LABEL:
            return None
        best = best_threshold(probability, self.truth[rows]) if len(rows) else None
        return threshold_row(best, np.array(self.labels.names))

    def fitted(
        self,
        rows: Array,
        seed: int,
        *,
        held_out: Array | None = None,
        groups: Array | None = None,
        labels: LabelSet | None = None,
        tune: str = "head",
    ) -> Any:
        """Fit a copy of the classifier, from the very weights that zero-shot used.

        Parameters
        ----------
        rows : ndarray of int
            What is learned from.
        seed : int
        held_out : ndarray of int, optional
            Clips on which epoch and threshold are chosen; None lets the classifier
            hold out some of `rows`, and keep `groups` whole.
        groups : ndarray, optional
            Of `rows`.
        labels : LabelSet, optional
            Other labels to learn.
        tune : {"head", "full", "none"}
        """
        # A clone would load the model anew, and forget what it was fitted on before.
        learner = copy.deepcopy(self.classifier)
        if labels is not None:
            learner.labels = labels.to_dict()
        learner.set_params(
            tune=tune,
            random_state=seed,
            warm_start=True,
            callbacks=None,
            checkpoint_dir=None,
            verbose=0,
        )
        if held_out is not None:
            learner.set_params(validation=np.repeat([False, True], [len(rows), len(held_out)]))
            rows = np.concatenate([rows, held_out])
        X = self.raw()[rows] if tune == "full" else self.features[rows.tolist()]
        learner.fit(X, self.targets(rows), groups=groups)
        # fit ends early and in peace; half of a protocol is no result
        if getattr(learner, "interrupted_", False):
            raise KeyboardInterrupt
        return learner

    def run(self, rows: Array, probability: Array, seed: int | None = None, **facts: Any) -> Run:
        """Put probabilities beside the truth."""
        groups = None if self.groups is None else tuple(map(str, self.groups[rows]))
        return Run(
            tuple(self.ids[row] for row in rows),
            self.truth[rows],
            probability,
            seed,
            kind=self.kind,
            groups=groups,
            **facts,
        )

    def conditions(self, name: str, runs: Sequence[Run], shots: int = 0) -> list[Condition]:
        """Return a condition, before it those at the thresholds of published tables."""
        main = Condition(name, tuple(runs), shots)
        if self.kind is not MULTI_LABEL:
            return [main]
        return [*(_at(main, threshold) for threshold in BESIDE), main]

    def report(self, protocol: str, conditions: Sequence[Condition], data: Any) -> Report:
        """Add to what was measured the facts that it rests on."""
        return Report(
            protocol=protocol,
            labels=self.labels.to_dict(),
            conditions=tuple(conditions),
            n_clips=len(self.features),
            skipped=self.skipped,
            prompt=tuple(prompt_list(self.classifier.prompt)),
            model=model_facts(self.classifier, self.labels),
            data=None if data is None else data_facts(data),
            versions=versions(),
        )


def _at(main: Condition, threshold: float) -> Condition:
    runs = tuple(replace(run, threshold=threshold) for run in main.runs)
    return Condition(f"{main.name} at {threshold}", runs, main.shots, main.labels)
