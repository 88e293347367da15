"""What a few examples of each class bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merclip._progress import progress
from merclip.errors import InputError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.kinds import MULTI_LABEL
from merclip.evaluation.protocols._baselines import Baselines, Beside
from merclip.evaluation.protocols._division import Division
from merclip.evaluation.protocols._prepare import make_task, whole_numbers
from merclip.evaluation.protocols._task import NOTHING, Task
from merclip.evaluation.report import Report
from merclip.evaluation.sampling import draw, draw_apart, first_of_each

Array = np.ndarray[Any, Any]


def k_shot(
    classifier: Any,
    clips: Any,
    y: Any = None,
    *,
    shots: Sequence[int] = (16,),
    seeds: Sequence[int] = (0, 1, 2),
    groups: Any = None,
    parts: Any = None,
    labels: Any = None,
    baselines: Baselines = None,
    data: Any = None,
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
        As for `evaluate`. Of sentiment, neutral clips are tested and not drawn.
    shots : sequence of int
        Examples for each class.
    seeds : sequence of int
    groups : sequence of length n, optional
        Speaker or dialogue of each clip. Examples come from a random half of
        them, and those of the training part do not occur in the test part.
    parts : sequence of length n, optional
        "train", "valid" or "test" for each clip, such as `Dataset.splits`.
        Examples are drawn from "train", and "test" is tested.
    baselines : mapping from name to estimator, or callable, optional
        Conditions beside it, fitted to the same examples; see `supervised`.

    Returns
    -------
    Report
        With the conditions "zero-shot" and "K-shot" for each K.

    Raises
    ------
    LabelError, InputError
        As for `evaluate`; also where a class has too few clips, or the classifier
        is multi-label: as many examples of each class cannot be drawn then.

    Notes
    -----
    The protocol is our choice: the paper has no experiment with few examples.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import k_shot
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> clf = EmotionClassifier(data.labels, epochs=2)
    >>> report = k_shot(clf, data.clips, data.y, shots=(1, 2), seeds=(0,), groups=data.groups)
    >>> [condition.name for condition in report.conditions]
    ['zero-shot', '1-shot', '2-shot']
    """
    shots = whole_numbers(shots, "shots", 1)
    seeds = whole_numbers(seeds, "seeds", 0)
    task = make_task(classifier, clips, y, labels, groups=groups, parts=parts)
    if task.kind is MULTI_LABEL:
        raise InputError("K-shot is for one-of-n labels, and this classifier is multi-label.")
    if len(np.unique(task.classes[task.learnable(task.everything)])) < 2:
        raise InputError("y has one class alone; there is nothing to tell apart.")
    drawn = [_draw(task, shots[-1], seed) for seed in seeds]
    return task.report("k-shot", _conditions(task, shots, seeds, drawn, baselines), data)


def _draw(task: Task, shots: int, seed: int) -> tuple[Array, Array]:
    """Return the examples, and the clips to test on."""
    names = task.labels.names
    if task.parts is not None:
        pool = task.learnable(task.part("train"))
        drawn = draw_apart(task.classes[pool], shots, seed, names)
        return pool[drawn], _tested(task)
    pool = task.learnable(task.everything)
    groups = None if task.groups is None else task.groups[pool]
    train, test = draw(task.classes[pool], shots, seed, names, groups)
    train, test = pool[train], pool[test]
    neutral = np.setdiff1d(task.everything, pool)
    if task.groups is not None:
        neutral = neutral[~np.isin(task.groups[neutral], task.groups[train])]
    return train, np.sort(np.concatenate([test, neutral]))


def _tested(task: Task) -> Array:
    rows = task.part("test")
    if not len(rows):
        raise InputError("parts has no 'test': there is nothing to test on.")
    return rows


def _conditions(
    task: Task,
    shots: list[int],
    seeds: list[int],
    parts: list[tuple[Array, Array]],
    baselines: Baselines,
) -> list[Condition]:
    untrained = task.probability(task.classifier, task.everything)
    found: dict[int, list[Run]] = {number: [] for number in (0, *shots)}
    beside = {number: Beside(task, baselines) for number in shots}
    verbose = bool(task.classifier.verbose)
    steps = progress(range(n := len(seeds) * len(shots)), "fit", n, bar=verbose)
    for seed, (train, test) in zip(seeds, parts, strict=True):
        found[0].append(task.run(test, untrained[test], seed))
        for number in shots:
            next(steps)
            rows = first_of_each(train, task.classes, number)
            groups = None if task.groups is None else task.groups[rows]
            learner = task.fitted(rows, seed, groups=groups)
            probability = task.probability(learner, test)
            found[number].append(task.run(test, probability, seed, learned=len(rows)))
            each = Division(rows, NOTHING, test, seed)
            beside[number].measure(learner, each, suffix=f", {number}-shot")
    next(steps, None)
    others = [c for number in shots for c in beside[number].conditions(number)]
    return [
        *others,
        *(
            Condition(f"{number}-shot" if number else "zero-shot", tuple(runs), shots=number)
            for number, runs in found.items()
        ),
    ]
