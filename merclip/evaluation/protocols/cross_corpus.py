"""Learn from one data set, and test on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from merclip._progress import progress
from merclip.errors import InputError, LabelError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.protocols._baselines import Baselines, Beside
from merclip.evaluation.protocols._division import Division, divide_training, tested
from merclip.evaluation.protocols._prepare import (
    POLARITY,
    are_scores,
    check_features,
    dataset_task,
    whole_numbers,
)
from merclip.evaluation.protocols._task import Task
from merclip.evaluation.protocols.supervised import fitted_to
from merclip.evaluation.provenance import data_facts
from merclip.evaluation.report import Report
from merclip.labels import LabelSet
from merclip.preprocess import Features

Array = np.ndarray[Any, Any]


def cross_corpus(
    classifier: Any,
    train: Any,
    test: Any,
    *,
    rename: Mapping[Any, Any] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    labels: Any = None,
    train_features: Features | None = None,
    test_features: Features | None = None,
    baselines: Baselines = None,
    protocol: str = "cross-corpus",
) -> Report:
    """Measure what training on one data set brings on another.

    Learned from is the part "train" where there is one, with "valid" to choose
    epoch and threshold, and otherwise everything, less what is held out for that.
    Tested is the part "test" where there is one, and otherwise everything.

    Parameters
    ----------
    classifier : EmotionClassifier
        Where fitting starts from, as for `supervised`.
    train, test : Dataset
    rename : mapping from name to name, optional
        What a label of either data set is called here, such as ``{"joy": "happy"}``.
    seeds : sequence of int
        One training for each.
    labels : as the parameter of the classifier, optional
        None takes those that both data sets have, as the classifier describes them.
        Clips of other labels are left out, of several labels the others.
    train_features, test_features : Features, optional
        What ``classifier.encode`` gave for all clips of each.
    baselines : optional
        As for `supervised`.
    protocol : str
        What the report calls this.

    Returns
    -------
    Report
        With the conditions "zero-shot" (of a model with a label encoder), those of
        baselines, and `protocol`, one run for each seed.

    Raises
    ------
    LabelError
        The data sets have fewer than two labels in common.
    InputError
        As for `supervised`.

    Notes
    -----
    The protocol is our choice.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import cross_corpus
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> ana, dan = (data.select(data.groups == name) for name in ("ana", "dan"))
    >>> report = cross_corpus(EmotionClassifier(data.labels, epochs=2), ana, dan, seeds=(0,))
    >>> [condition.name for condition in report.conditions]
    ['zero-shot', 'cross-corpus']
    """
    seeds = whole_numbers(seeds, "seeds", 0)
    train, test = (rename_labels(data, rename or {}) for data in (train, test))
    chosen = _chosen(classifier, train, test, labels)
    source = _task(classifier, train, chosen, ("train", "valid"), train_features)
    target = _task(classifier, test, chosen, ("test",), test_features)
    rows = tested(target)
    conditions: list[Condition] = []
    divisions = [
        Division(learned, held_out, rows, seed)
        for learned, held_out, seed in divide_training(source, seeds)
    ]
    if target.describes:
        conditions += _untrained(source, target, divisions[0])
    conditions += _trained(source, target, divisions, protocol, baselines)
    facts = {"train": data_facts(train), "test": data_facts(test)}
    report = target.report(protocol, conditions, None)
    return replace(
        report,
        data=facts,
        n_clips=len(source) + len(target),
        skipped=(*source.skipped, *target.skipped),
    )


def rename_labels(data: Any, rename: Mapping[Any, Any]) -> Any:
    """Return a data set whose labels have other names; those of scores have none.

    Parameters
    ----------
    data : Dataset
    rename : mapping from name to name
    """
    if rename and not isinstance(rename, Mapping):
        raise InputError(f"rename is a mapping from name to name, got {rename!r}.")
    if not rename or are_scores(data.y):
        return data
    if _several(data.y):
        y = _each(data.y, lambda names: tuple(dict.fromkeys(rename.get(n, n) for n in names)))
    else:
        y = np.array([rename.get(name, name) for name in data.y.tolist()])
    labels = tuple(dict.fromkeys(rename.get(name, name) for name in data.labels))
    return replace(data, y=y, labels=labels)


def _untrained(source: Task, target: Task, each: Division) -> list[Condition]:
    held_out = source.probability(source.classifier, each.held_out)
    threshold = source.chosen_threshold(source.classifier, held_out, each.held_out)
    probability = target.probability(target.classifier, each.test)
    return target.conditions("zero-shot", [target.run(each.test, probability, threshold=threshold)])


def _trained(
    source: Task,
    target: Task,
    divisions: Sequence[Division],
    name: str,
    baselines: Baselines,
) -> list[Condition]:
    beside = Beside(target, baselines, source)
    runs: list[Run] = []
    bar = bool(source.classifier.verbose)
    for each in progress(divisions, "fit", len(divisions), bar=bar):
        learner = fitted_to(source, each)
        probability = target.probability(learner, each.test, anew=learner.tune == "full")
        threshold = target.threshold(learner)
        run = target.run(each.test, probability, each.seed, threshold=threshold, **each.facts)
        runs.append(run)
        beside.measure(learner, each)
    return [*beside.conditions(), *target.conditions(name, runs)]


def _task(
    classifier: Any,
    data: Any,
    labels: LabelSet,
    parts: Sequence[str],
    features: Features | None,
) -> Task:
    """Encode the clips of some parts that have one of the labels."""
    check_features(data, features)
    if _several(data.y):
        data = replace(data, y=_each(data.y, lambda names: _known(names, labels)))
    elif not are_scores(data.y):
        rows = np.flatnonzero(np.isin(data.y, np.array(labels.names))).tolist()
        data, features = data.select(rows), None if features is None else features[rows]
    return dataset_task(classifier, data, labels, features, parts)


def _chosen(classifier: Any, train: Any, test: Any, labels: Any) -> LabelSet:
    if labels is not None:
        return LabelSet.of(labels)
    if are_scores(test.y):
        return LabelSet.of(POLARITY if classifier.labels is None else classifier.labels)
    both = _names(train.y) & _names(test.y)
    if len(both) < 2:
        raise LabelError(
            f"The data sets have {sorted(both, key=str)} in common: {sorted(_names(train.y))} and "
            f"{sorted(_names(test.y))}. Name labels alike with rename, {{'joy': 'happy'}}."
        )
    described = LabelSet.of(test.labels if classifier.labels is None else classifier.labels)
    texts = {name: text for name, text in described.to_dict().items() if name in both}
    return LabelSet.of({**texts, **{name: name for name in sorted(both - texts.keys())}})


def _known(names: Any, labels: LabelSet) -> tuple[Any, ...]:
    return tuple(name for name in names if name in labels.names)


def _each(y: Array, change: Any) -> Array:
    return np.fromiter(map(change, y), dtype=object, count=len(y))


def _several(y: Array) -> bool:
    return y.dtype == object and any(isinstance(names, tuple) for names in y)


def _names(y: Array) -> set[Any]:
    return {name for names in y for name in names} if _several(y) else set(y.tolist())
