"""The same labels in other words: single words, phrases, sentences, descriptions of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from merclip.errors import InputError, LabelError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.protocols._division import Division, divide, tested
from merclip.evaluation.protocols._prepare import dataset_task, test_parts, whole_numbers
from merclip.evaluation.protocols._task import Task
from merclip.evaluation.protocols.supervised import learners
from merclip.evaluation.report import Report
from merclip.labels import LabelSet
from merclip.preprocess import Features


def wordings(
    classifier: Any,
    data: Any,
    wordings: Mapping[str, Any],
    *,
    fit: str | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    features: Features | None = None,
) -> Report:
    """Measure one label set in several wordings.

    Parameters
    ----------
    classifier : EmotionClassifier
        With a label encoder; itself it is not changed.
    data : Dataset
        Tested is its part "test" where there is one, and otherwise everything; with
        `fit`, what `supervised` tests.
    wordings : mapping from name to labels
        Such as ``{"word": ["happy", "sad"], "sentence": {"happy": "Somebody full of
        joy.", "sad": "Somebody in tears."}}``. All have the same names of labels.
    fit : str, optional
        None asks the classifier as it is. "each" trains anew with each wording, as
        the tables of MER-CLIP do. The name of a wording trains with that one, and
        asks in all.
    folds, seeds
        As for `supervised`; they matter with `fit` alone.
    features : Features, optional
        What ``classifier.encode(data.clips)`` gave.

    Returns
    -------
    Report
        With one condition for each wording, in the order given, and its texts in it.

    Raises
    ------
    LabelError
        Wordings differ in the names of labels, or `data` has others.
    InputError
        There is no wording, `fit` names none, the model has no label encoder, or
        as for `supervised`.

    Notes
    -----
    Source: the tables of labels as words, phrases and sentences in MER-CLIP (Song and
    Cho, arXiv 2506.00903), with ``fit="each"``; the rest is ours.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import wordings
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> texts = {
    ...     "word": ["happy", "sad", "angry"],
    ...     "sentence": {"happy": "Full of joy.", "sad": "In tears.", "angry": "Shouting."},
    ... }
    >>> report = wordings(EmotionClassifier(), data, texts)
    >>> [condition.name for condition in report.conditions], report.n_clips
    (['word', 'sentence'], 6)
    """
    sets = _label_sets(wordings, fit)
    last, parts = next(reversed(sets.values())), None if fit else test_parts(classifier)
    task = dataset_task(classifier, data, last, features, parts)
    if not task.describes:
        raise InputError("A network without a label encoder does not read what labels say.")
    if fit is None:
        conditions = [c for name, labels in sets.items() for c in _asked(task, name, labels)]
    else:
        divisions = divide(task, data, folds, whole_numbers(seeds, "seeds", 0))
        conditions = _fitted(task, divisions, sets, fit)
    return task.report("wordings", conditions, data)


def _label_sets(wordings: Mapping[str, Any], fit: str | None) -> dict[str, LabelSet]:
    sets = {name: LabelSet.of(labels) for name, labels in wordings.items()}
    if not sets:
        raise InputError("wordings is empty; give at least one.")
    if fit is not None and fit != "each" and fit not in sets:
        raise InputError(f"fit is 'each' or one of {list(sets)}, got {fit!r}.")
    first = next(iter(sets.values()))
    for name, labels in sets.items():
        if set(labels.names) != set(first.names):
            raise LabelError(
                f"The wording {name!r} has the labels {list(labels.names)}, and another has "
                f"{list(first.names)}: give each label a text in each wording."
            )
    return sets


def _asked(task: Task, name: str, labels: LabelSet) -> list[Condition]:
    """Ask the classifier as it is."""
    asked = task.classifier.with_labels(labels.to_dict())
    rows, valid = tested(task), task.part("valid")
    threshold = task.chosen_threshold(asked, task.probability(asked, valid), valid)
    run = task.run(rows, task.probability(asked, rows), threshold=threshold)
    return _conditions(task, name, labels, [run])


def _fitted(
    task: Task, divisions: Sequence[Division], sets: Mapping[str, LabelSet], fit: str
) -> list[Condition]:
    runs: dict[str, list[Run]] = {name: [] for name in sets}
    for trained, asked in _pairs(sets, fit).items():
        for each, learner in learners(task, divisions, labels=sets[trained]):
            for name in asked:
                runs[name].append(_run(task, learner, sets[name], each))
    return [c for name in sets for c in _conditions(task, name, sets[name], runs[name])]


def _pairs(sets: Mapping[str, LabelSet], fit: str) -> dict[str, list[str]]:
    """Return in which wordings a model is asked that was trained with one."""
    return {name: [name] for name in sets} if fit == "each" else {fit: list(sets)}


def _run(task: Task, learner: Any, labels: LabelSet, each: Division) -> Run:
    asked, anew = learner.with_labels(labels.to_dict()), learner.tune == "full"
    held_out = task.probability(asked, each.held_out, anew=anew)
    return task.run(
        each.test,
        task.probability(asked, each.test, anew=anew),
        each.seed,
        threshold=task.chosen_threshold(asked, held_out, each.held_out),
        **each.facts,
    )


def _conditions(task: Task, name: str, labels: LabelSet, runs: Sequence[Run]) -> list[Condition]:
    texts = labels.to_dict()
    return [replace(found, labels=texts) for found in task.conditions(name, runs)]
