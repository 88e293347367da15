"""A classifier as it is: on labels that it was fitted on, or zero-shot."""

from __future__ import annotations

from typing import Any

import numpy as np

from merclip.errors import InputError
from merclip.evaluation.protocols._baselines import Baselines, measure_ready
from merclip.evaluation.protocols._prepare import make_task
from merclip.evaluation.protocols._task import Task
from merclip.evaluation.report import Report


def evaluate(
    classifier: Any,
    clips: Any,
    y: Any = None,
    *,
    labels: Any = None,
    groups: Any = None,
    baselines: Baselines = None,
    data: Any = None,
    protocol: str = "as it is",
    situations: Any = None,
) -> Report:
    """Measure a classifier as it is, on clips that it was not fitted on.

    Parameters
    ----------
    classifier : EmotionClassifier
        What `abstain` would leave open counts by its best label. A clip that
        cannot be read raises with ``on_error="raise"``, and is skipped and
        reported with the other values. With ``multi_label=True`` labels are
        decided at its threshold, and at 0.5 and 0.6 beside it.
    clips : as for `EmotionClassifier.predict`, or Features
    y : sequence of length n, optional
        The true label of each clip, or a collection of labels with
        ``multi_label=True``; None takes the column "label". Numbers (float) are
        sentiment, where the classifier tells two labels apart: "positive", or else
        the second one, is what a number above 0 means.
    labels : as the parameter of the classifier, optional
        Labels to tell apart. None takes the classifier's, or those of `y`.
    groups : sequence of length n, optional
        Speaker or dialogue of each clip, for `Report.with_intervals`.
    baselines : mapping from name to estimator, or callable, optional
        Conditions beside it, used as they are; see `supervised`.
    data : path or Dataset, optional
        What the clips come from; the report notes its name and SHA-256.
    protocol : str
        What the report calls this.
    situations : sequence of length n, optional
        Speaker, session or recording of each clip: the classifier is adapted to the clips of
        each, without their labels, before it answers them (`EmotionClassifier.adapt`).

    Returns
    -------
    Report
        With one condition, called `protocol`, and those of baselines.

    Raises
    ------
    LabelError
        `y` has labels that `labels` lacks, or there are fewer than two.
    InputError
        `clips` and `y` differ in length, or no clip is left.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import evaluate
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> clf = EmotionClassifier(data.labels)
    >>> evaluate(clf, data.clips, data.y).n_clips
    24
    """
    task = make_task(classifier, clips, y, labels, groups=groups)
    rows = task.everything
    if situations is None:
        probability = task.probability(task.classifier, rows)
    else:
        probability = _adapted(task, rows, situations)
    run = task.run(rows, probability, threshold=task.threshold(task.classifier))
    beside = measure_ready(task, baselines)
    return task.report(protocol, [*beside, *task.conditions(protocol, [run])], data)


def zero_shot(
    classifier: Any,
    clips: Any,
    y: Any = None,
    *,
    labels: Any = None,
    groups: Any = None,
    baselines: Baselines = None,
    data: Any = None,
    situations: Any = None,
) -> Report:
    """Measure labels that the classifier was given no examples of.

    With `labels` one model may be asked in words and in descriptions. That the
    classifier was not fitted on these labels is up to the caller.

    Parameters
    ----------
    classifier, clips, y, labels, groups, baselines, data, situations
        As for `evaluate`.

    Returns
    -------
    Report
        With the condition "zero-shot", and those of baselines.

    Raises
    ------
    LabelError, InputError
        As for `evaluate`.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import zero_shot
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> texts = {"happy": "Someone full of joy.", "sad": "In tears.", "angry": "Shouting."}
    >>> report = zero_shot(EmotionClassifier(), data.clips, data.y, labels=texts)
    >>> report.metrics["accuracy"] > report.metrics["majority"]
    True
    """
    return evaluate(
        classifier,
        clips,
        y,
        labels=labels,
        groups=groups,
        baselines=baselines,
        data=data,
        protocol="zero-shot",
        situations=situations,
    )


def _adapted(task: Task, rows: Any, situations: Any) -> Any:
    """Return probabilities by a classifier that is adapted to each situation by itself."""
    given = list(situations)
    if len(given) != len(task.read) + len(task.skipped):
        raise InputError(f"situations has {len(given)} entries; there is one for each clip.")
    # Clips that could not be read are not among the task's.
    names = np.array([str(given[place]) for place in task.read])[rows]
    found = np.zeros((len(rows), len(task.labels)))
    for name in dict.fromkeys(names.tolist()):
        own = np.flatnonzero(names == name)
        adapted = task.classifier.adapt(task.features[rows[own].tolist()])
        found[own] = task.probability(adapted, rows[own])
    return found
