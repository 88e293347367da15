"""Learn without one label, and recognise it by its text alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merclip._progress import progress
from merclip.errors import InputError, LabelError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.kinds import ONE_OF_N
from merclip.evaluation.protocols._baselines import Baselines, Beside
from merclip.evaluation.protocols._division import Division, divide
from merclip.evaluation.protocols._prepare import dataset_task, whole_numbers
from merclip.evaluation.protocols._task import Task
from merclip.evaluation.protocols.supervised import fitted_to, untrained
from merclip.evaluation.report import Report
from merclip.labels import LabelSet
from merclip.preprocess import Features

Array = np.ndarray[Any, Any]


def leave_one_out(
    classifier: Any,
    data: Any,
    *,
    leave_out: Sequence[Any] | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    labels: Any = None,
    features: Features | None = None,
    baselines: Baselines = None,
) -> Report:
    """Measure how well labels are recognised of which no clip was learned from.

    For each label in turn a copy of the classifier learns from the training clips
    of all others, neither its text nor its clips are seen, and no clip of it is
    used for validation; then all labels are told apart on the test clips.

    Parameters
    ----------
    classifier : EmotionClassifier
        One-of-n, with a label encoder. Where fitting starts from, as for
        `supervised`.
    data : Dataset
        With official parts, or groups that folds keep whole.
    leave_out : sequence of labels, optional
        None takes each label that has test clips.
    folds, seeds, labels, features, baselines
        As for `supervised`.

    Returns
    -------
    Report
        The last condition, "leave-one-out", has each test clip as predicted by the
        model that learned nothing of its label. Before it come "without X" for
        each label X, that model on all test clips. Both have the measures
        ``unseen_recall``, of the label left out; ``seen_recall``, mean of the other
        labels' recalls; and ``harmonic_mean`` of these two, which in
        "leave-one-out" are means over labels. "zero-shot" and baselines as for
        `supervised`.

    Raises
    ------
    LabelError
        There are fewer than three labels, or `leave_out` has one without test clips.
    InputError
        The classifier is multi-label or has no label encoder, sentiment is
        measured, or as for `supervised`.

    Notes
    -----
    Source: Foteinopoulou and Patras, "EmoCLIP", FG 2024, for the protocol; Xian et
    al., "Zero-Shot Learning: A Comprehensive Evaluation", TPAMI 2019, for the mean.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import leave_one_out
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> clf = EmotionClassifier(data.labels, epochs=2)
    >>> report = leave_one_out(clf, data, leave_out=["sad"], seeds=(0,))
    >>> [condition.name for condition in report.conditions]
    ['zero-shot', 'without sad', 'leave-one-out']
    """
    task = dataset_task(classifier, data, labels, features)
    _check(task)
    divisions = divide(task, data, folds, whole_numbers(seeds, "seeds", 0))
    chosen = _chosen(task, divisions, leave_out)
    conditions = [*untrained(task, divisions), *_conditions(task, divisions, chosen, baselines)]
    return task.report("leave-one-out", conditions, data)


def _check(task: Task) -> None:
    if task.kind is not ONE_OF_N:
        raise InputError(f"Leave-one-out is for one-of-n labels; this is {task.kind.name}.")
    if not task.describes:
        raise InputError("A network without a label encoder cannot name what it has not learned.")
    if len(task.labels) < 3:
        raise LabelError("Leave-one-out needs three labels: two to learn, one to leave out.")


def _chosen(task: Task, divisions: Sequence[Division], leave_out: Any) -> list[int]:
    names = list(task.labels.names)
    there = {int(row) for each in divisions for row in task.truth[each.test]}
    if leave_out is None:
        return sorted(there)
    if isinstance(leave_out, str) or not len(leave_out):
        raise LabelError(f"leave_out is a list of labels, such as {names[:1]}, got {leave_out!r}.")
    for name in leave_out:
        if name not in names or names.index(name) not in there:
            raise LabelError(f"{name!r} has no test clip; there are {[names[i] for i in there]}.")
    return [names.index(name) for name in leave_out]


def _conditions(
    task: Task, divisions: Sequence[Division], chosen: Sequence[int], baselines: Baselines
) -> list[Condition]:
    single: dict[int, list[Run]] = {label: [] for label in chosen}
    pooled: list[Run] = []
    beside = Beside(task, baselines)
    verbose = bool(task.classifier.verbose)
    steps = progress(range(n := len(divisions) * len(chosen)), "fit", n, bar=verbose)
    for each in divisions:
        found: dict[str, dict[int, Array]] = {}
        reduced = {label: _without(task, each, label) for label in chosen}
        for label in chosen:
            next(steps)
            for name, probability in _answers(task, reduced[label], label, beside):
                found.setdefault(name, {})[label] = probability
        ours = found.pop("")
        for label, probability in ours.items():
            extra = _recalls(task.truth[each.test], probability, label)
            facts = reduced[label].facts
            run = task.run(each.test, probability, each.seed, extra=extra, **facts)
            single[label].append(run)
        fewest = min(reduced.values(), key=lambda division: len(division.train))
        pooled.append(_pooled(task, fewest, ours))
        for name, theirs in found.items():
            beside.runs.setdefault(name, []).append(_pooled(task, fewest, theirs))
    next(steps, None)
    names = task.labels.names
    return [
        *beside.conditions(),
        *(Condition(f"without {names[label]}", tuple(runs)) for label, runs in single.items()),
        Condition("leave-one-out", tuple(pooled)),
    ]


def _without(task: Task, each: Division, label: int) -> Division:
    train, held_out = (rows[task.truth[rows] != label] for rows in (each.train, each.held_out))
    return Division(train, held_out, each.test, each.seed, each.fold)


def _answers(task: Task, each: Division, label: int, beside: Beside) -> list[tuple[str, Array]]:
    """Return probabilities of the classifier, by the name "", and of baselines."""
    texts = task.labels.to_dict()
    del texts[task.labels.names[label]]
    learner = fitted_to(task, each, labels=LabelSet.of(texts))
    found = [
        (name, beside.probability(name, estimator, each.test))
        for name, estimator in beside.fitted(learner, each.train, each.seed)
    ]
    learner = learner.with_labels(task.labels.to_dict())
    ours = task.probability(learner, each.test, anew=learner.tune == "full")
    return [("", ours), *found]


def _pooled(task: Task, each: Division, answers: dict[int, Array]) -> Run:
    """Take of each test clip what was said by who learned nothing of its label."""
    truth = task.truth[each.test]
    kept = np.flatnonzero(np.isin(truth, list(answers)))
    rows = [answers[int(truth[position])][position] for position in kept]
    each_label = [_recalls(truth, answers[label], label) for label in answers]
    unseen, seen = (
        float(np.nanmean([found[name] for found in each_label]))
        for name in ("unseen_recall", "seen_recall")
    )
    return task.run(
        each.test[kept], np.array(rows), each.seed, extra=_both(unseen, seen), **each.facts
    )


def _recalls(truth: Array, probability: Array, label: int) -> dict[str, float]:
    right = probability.argmax(axis=1) == truth
    recalls = {int(name): float(right[truth == name].mean()) for name in np.unique(truth)}
    unseen = recalls.pop(label, float("nan"))
    seen = float(np.mean(list(recalls.values()))) if recalls else float("nan")
    return _both(unseen, seen)


def _both(unseen: float, seen: float) -> dict[str, float]:
    total = unseen + seen
    harmonic = 0.0 if total == 0 else 2 * unseen * seen / total
    return {"unseen_recall": unseen, "seen_recall": seen, "harmonic_mean": harmonic}
