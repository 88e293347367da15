"""Learn from the training part, choose on the validation part, and test once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from merclip._progress import progress
from merclip.errors import InputError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.protocols._baselines import Baselines, Beside
from merclip.evaluation.protocols._division import Division, divide, first_of_each_test
from merclip.evaluation.protocols._prepare import dataset_task, whole_numbers
from merclip.evaluation.protocols._task import Task
from merclip.evaluation.report import Report
from merclip.preprocess import Features


def supervised(
    classifier: Any,
    data: Any,
    *,
    folds: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    labels: Any = None,
    features: Features | None = None,
    baselines: Baselines = None,
) -> Report:
    """Measure what training on a data set brings.

    On official parts the classifier learns from "train", and epoch and threshold
    are chosen on "valid"; on folds, or without such a part, on clips that are held
    out of those for training, as the classifier's `validation` says, whole groups
    where they are known. Nothing is chosen on what is tested.

    Parameters
    ----------
    classifier : EmotionClassifier
        Where fitting starts from; itself it is not changed. Its `tune`, `epochs`,
        `lr` and the like hold, its `callbacks` and `checkpoint_dir` do not. With
        ``tune="head"`` clips are encoded once, with "full" again for each fit.
    data : Dataset
        With official parts, or groups that folds keep whole. Numbers as labels
        are sentiment: neutral clips are not learned from.
    folds : int, optional
        None takes the official parts where there are any, and 5 folds otherwise.
    seeds : sequence of int
        One training for each, on each fold.
    labels : as the parameter of the classifier, optional
        None takes the classifier's, or those of the data set.
    features : Features, optional
        What ``classifier.encode(data.clips)`` gave, for several protocols.
    baselines : mapping from name to estimator, or callable, optional
        Conditions beside it, on the same rows. An estimator has ``fit(clips, y)``,
        ``predict_proba(clips)`` and ``classes_``; a copy is fitted for each seed
        and fold, with ``random_state=seed`` if it has that parameter. With an
        ``encode(clips)``, that is called once and the others get its rows; with a
        true attribute ``takes_features`` it is given Features in place of clips. A
        callable takes the fitted classifier and returns such a mapping.

    Returns
    -------
    Report
        With the conditions "zero-shot" (of a model with a label encoder), those of
        baselines, and "supervised", one run for each seed and fold.

    Raises
    ------
    LabelError
        The data set has labels that `labels` lacks.
    InputError
        A part or groups are lacking, or no clip is left.

    Notes
    -----
    Source: the usual way of papers on these data sets, MER-CLIP's among them; that the
    threshold is chosen on validation clips is ours.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import supervised
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> report = supervised(EmotionClassifier(data.labels, epochs=2), data, seeds=(0,))
    >>> [condition.name for condition in report.conditions], report.n_clips
    (['zero-shot', 'supervised'], 24)
    """
    task = dataset_task(classifier, data, labels, features)
    divisions = divide(task, data, folds, whole_numbers(seeds, "seeds", 0))
    conditions = [*untrained(task, divisions), *trained(task, divisions, "supervised", baselines)]
    return task.report("supervised", conditions, data)


def untrained(task: Task, divisions: Sequence[Division]) -> list[Condition]:
    """Measure the classifier as it came, on each test part once."""
    if not task.describes:
        return []
    probability = task.probability(task.classifier, task.everything)
    runs = []
    for each in first_of_each_test(divisions):
        threshold = task.chosen_threshold(
            task.classifier, probability[each.held_out], each.held_out
        )
        run = task.run(each.test, probability[each.test], threshold=threshold, fold=each.fold)
        runs.append(run)
    return task.conditions("zero-shot", runs)


def trained(
    task: Task, divisions: Sequence[Division], name: str, baselines: Baselines = None
) -> list[Condition]:
    """Fit and test on each division, baselines before the classifier."""
    beside = Beside(task, baselines)
    runs: list[Run] = []
    for each, learner in learners(task, divisions):
        runs.append(tested_by(task, learner, each))
        beside.measure(learner, each)
    return [*beside.conditions(), *task.conditions(name, runs)]


def learners(
    task: Task, divisions: Sequence[Division], **options: Any
) -> Iterator[tuple[Division, Any]]:
    """Yield each division with a classifier that was fitted to it."""
    bar = bool(task.classifier.verbose)
    for each in progress(divisions, "fit", len(divisions), bar=bar):
        yield each, fitted_to(task, each, **options)


def fitted_to(task: Task, each: Division, **options: Any) -> Any:
    """Return a classifier that was fitted to one division."""
    if not len(each.train):
        raise InputError("There is no clip to learn from.")
    tune = task.classifier.tune
    return task.fitted(each.train, each.seed, held_out=each.held_out, tune=tune, **options)


def tested_by(task: Task, learner: Any, each: Division) -> Run:
    """Measure a fitted classifier on the test part."""
    probability = task.probability(learner, each.test, anew=learner.tune == "full")
    threshold = task.threshold(learner)
    return task.run(each.test, probability, each.seed, threshold=threshold, **each.facts)
