"""Ways to measure a classifier: as it is, zero-shot, and after a few examples."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merclip.errors import InputError, LabelError
from merclip.evaluation.provenance import data_facts, model_facts, versions
from merclip.evaluation.report import Condition, Report, Run, Skipped
from merclip.evaluation.sampling import draw, first_of_each
from merclip.inputs import as_clips, labels_in
from merclip.labels import LabelSet, encode_targets, names_in, prompt_list
from merclip.preprocess import Features

Array = np.ndarray[Any, Any]
Path = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class _Task:
    """Clips that could be read, encoded once, beside their true labels."""

    classifier: Any
    labels: LabelSet
    features: Features
    truth: Array
    ids: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    read: Array

    def probability(self, classifier: Any, rows: Any = slice(None)) -> Array:
        """Return probabilities of shape (n, k), columns in the user's order of labels."""
        classes = classifier.classes_.tolist()
        order = [classes.index(name) for name in self.labels.names]
        return np.asarray(classifier.predict_proba(self.features[rows])[:, order])

    def run(self, rows: Array, probability: Array, seed: int | None = None) -> Run:
        """Put probabilities beside the truth."""
        return Run(tuple(self.ids[row] for row in rows), self.truth[rows], probability, seed)

    def report(self, protocol: str, conditions: Sequence[Condition], data: Path | None) -> Report:
        """Add to what was measured the facts that it rests on."""
        return Report(
            protocol=protocol,
            labels=self.labels.to_dict(),
            conditions=tuple(conditions),
            n_clips=len(self.features),
            skipped=self.skipped,
            prompt=tuple(prompt_list(self.classifier.prompt)),
            model=model_facts(self.classifier),
            data=None if data is None else data_facts(data),
            versions=versions(),
        )


def evaluate(
    classifier: Any,
    clips: Any,
    y: Any = None,
    *,
    labels: Any = None,
    data: Path | None = None,
    protocol: str = "as it is",
) -> Report:
    """Measure a classifier as it is, on clips that it was not fitted on.

    Parameters
    ----------
    classifier : EmotionClassifier
        One-of-n. What `abstain` would leave open counts by its best label. A
        clip that cannot be read raises with ``on_error="raise"``, and is
        skipped and reported with the other values.
    clips : as for `EmotionClassifier.predict`, or Features
    y : sequence of length n, optional
        The true label of each clip; None takes the column "label".
    labels : as the parameter of the classifier, optional
        Labels to tell apart. None takes the classifier's, or those of `y`.
    data : path, optional
        The file that the clips come from; the report notes its name and SHA-256.
    protocol : str
        What the report calls this.

    Raises
    ------
    LabelError
        `y` has labels that `labels` lacks, or there are fewer than two.
    InputError
        `clips` and `y` differ in length, no clip is left, or the classifier is
        multi-label.
    """
    task = _task(classifier, clips, y, labels)
    everything = np.arange(len(task.truth))
    run = task.run(everything, task.probability(task.classifier))
    return task.report(protocol, [Condition(protocol, (run,))], data)


def zero_shot(
    classifier: Any, clips: Any, y: Any = None, *, labels: Any = None, data: Path | None = None
) -> Report:
    """Measure labels that the classifier was given no examples of.

    With `labels` one model may be asked in words and in descriptions. The
    parameters and errors are those of `evaluate`; that the classifier was not
    fitted on these labels is up to the caller.
    """
    return evaluate(classifier, clips, y, labels=labels, data=data, protocol="zero-shot")


def k_shot(
    classifier: Any,
    clips: Any,
    y: Any = None,
    *,
    shots: Sequence[int] = (16,),
    seeds: Sequence[int] = (0, 1, 2),
    groups: Any = None,
    labels: Any = None,
    data: Path | None = None,
) -> Report:
    """Measure what a few examples of each class bring.

    For each seed examples are drawn at random, as many of each class, and a
    copy of the classifier is fitted to them with ``tune="head"`` and
    ``random_state=seed``. Fewer shots take the first of the same examples, and
    the clips that the largest draw leaves are the test part of all, zero-shot
    too, so that conditions of one report differ in nothing else. Clips are
    encoded once.

    Parameters
    ----------
    classifier : EmotionClassifier
        Where fitting starts from; itself it is not changed. Its `epochs`, `lr`
        and the like hold, its `callbacks` and `checkpoint_dir` do not.
    clips, y, labels, data
        As for `evaluate`.
    shots : sequence of int
        Examples for each class.
    seeds : sequence of int
    groups : sequence of length n, optional
        Speaker or dialogue of each clip. Examples come from a random half of
        them, and those of the training part do not occur in the test part.

    Returns
    -------
    Report
        With the conditions "zero-shot" and "K-shot" for each K.

    Raises
    ------
    LabelError, InputError
        As for `evaluate`; also where a class has too few clips.
    """
    shots, seeds = _whole(shots, "shots", 1), _whole(seeds, "seeds", 0)
    task = _task(classifier, clips, y, labels)
    if len(np.unique(task.truth)) < 2:
        raise InputError("y has one class alone; there is nothing to tell apart.")
    speakers = None if groups is None else _groups(groups, task)
    names = task.labels.names
    parts = [draw(task.truth, shots[-1], seed, names, speakers) for seed in seeds]
    return task.report("k-shot", _k_shot_conditions(task, shots, seeds, parts, speakers), data)


def _k_shot_conditions(
    task: _Task,
    shots: list[int],
    seeds: list[int],
    parts: list[tuple[Array, Array]],
    groups: Array | None,
) -> list[Condition]:
    from tqdm.auto import tqdm

    untrained = task.probability(task.classifier)
    found: dict[int, list[Run]] = {number: [] for number in (0, *shots)}
    verbose = bool(task.classifier.verbose)
    with tqdm(total=len(seeds) * len(shots), desc="fit", disable=not verbose) as bar:
        for seed, (train, test) in zip(seeds, parts, strict=True):
            found[0].append(task.run(test, untrained[test], seed))
            for number in shots:
                rows = first_of_each(train, task.truth, number)
                learner = _fitted(task, rows, seed, None if groups is None else groups[rows])
                found[number].append(task.run(test, task.probability(learner, test), seed))
                bar.update()
    return [
        Condition(f"{number}-shot" if number else "zero-shot", tuple(runs), shots=number)
        for number, runs in found.items()
    ]


def _fitted(task: _Task, rows: Array, seed: int, groups: Array | None) -> Any:
    """Fit a copy of the classifier, from the very weights that zero-shot used."""
    # A clone would load the model anew, and forget what it was fitted on before.
    learner = copy.deepcopy(task.classifier)
    learner.set_params(
        tune="head",
        random_state=seed,
        warm_start=True,
        callbacks=None,
        checkpoint_dir=None,
        verbose=0,
    )
    names = [task.labels.names[position] for position in task.truth[rows]]
    learner.fit(task.features[rows.tolist()], names, groups=groups)
    if learner.interrupted_:  # fit ends early and in peace; half of a protocol is no result
        raise KeyboardInterrupt
    return learner


def _task(classifier: Any, clips: Any, y: Any, labels: Any) -> _Task:
    if classifier.multi_label:
        raise InputError("Only one-of-n classifiers can be evaluated; this one is multi-label.")
    y = _targets(clips, y)
    rows = clips if isinstance(clips, Features) else as_clips(clips).clips
    if len(rows) != len(y):
        raise InputError(f"There are {len(rows)} clips and y has {len(y)} labels.")
    if not len(rows):
        raise InputError("There are no clips to evaluate.")
    chosen = _labels(classifier, y, labels)
    truth = encode_targets(y, np.array(chosen.names))
    classifier = classifier.with_labels(chosen.to_dict())
    return _readable(classifier, chosen, _encoded(classifier, rows), truth)


def _readable(classifier: Any, labels: LabelSet, features: Features, truth: Array) -> _Task:
    """Leave out the clips that could not be read."""
    ids = [clip.id or f"clip {index}" for index, clip in enumerate(features)]
    skipped = tuple(
        Skipped(name, clip.error)
        for name, clip in zip(ids, features, strict=True)
        if clip.error is not None
    )
    read = np.array([i for i, clip in enumerate(features) if clip.error is None], dtype=np.int64)
    if not len(read):
        raise InputError(f"No clip could be read; the first: {skipped[0].reason}")
    kept = tuple(ids[index] for index in read)
    return _Task(classifier, labels, features[read.tolist()], truth[read], kept, skipped, read)


def _targets(clips: Any, y: Any) -> Any:
    if y is None and not isinstance(clips, Features):
        y = labels_in(clips)
    if y is None:
        raise InputError("Give y, or clips with a column 'label'.")
    if isinstance(y, str):
        raise LabelError(f"y={y!r} is a single string; give one label for each clip.")
    return y


def _labels(classifier: Any, y: Any, labels: Any) -> LabelSet:
    if labels is not None:
        return LabelSet.of(labels)
    if classifier.__sklearn_is_fitted__():
        known: LabelSet = classifier.labels_
        return known
    return LabelSet.of(names_in(y, multi_label=False))


def _encoded(classifier: Any, clips: Any) -> Features:
    if isinstance(clips, Features):
        return clips
    reader = copy.copy(classifier)
    if reader.on_error == "skip":  # rows must stay beside their labels
        reader.on_error = "nan"
    encoded: Features = reader.encode(clips)
    return encoded


def _groups(groups: Any, task: _Task) -> Array:
    given = np.asarray([str(group) for group in groups])
    n_clips = len(task.read) + len(task.skipped)
    if len(given) != n_clips:
        raise InputError(f"groups has {len(given)} entries for {n_clips} clips.")
    return given[task.read]


def _whole(values: Sequence[int], name: str, least: int) -> list[int]:
    """Return distinct whole numbers in order."""
    listed = sorted(set(np.atleast_1d(np.asarray(values)).tolist()))
    whole = all(isinstance(value, int) and value >= least for value in listed)
    if not listed or not whole:
        raise InputError(f"{name} holds whole numbers of at least {least}, got {values!r}.")
    return listed
