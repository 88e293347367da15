"""What is left of a model when sound, picture or text is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from merclip.errors import InputError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.protocols._division import Division, divide, tested
from merclip.evaluation.protocols._prepare import dataset_task, test_parts, whole_numbers
from merclip.evaluation.protocols._task import Task
from merclip.evaluation.protocols.supervised import learners, tested_by, trained
from merclip.evaluation.report import Report, Skipped
from merclip.preprocess import MODALITIES, Features


def modalities(
    classifier: Any,
    data: Any,
    *,
    fit: str | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    labels: Any = None,
    features: Features | None = None,
) -> Report:
    """Measure every combination of the modalities that clips have, on the same clips.

    Clips are encoded once, and what is missing is left out of their features. Clips
    that lack a modality that others have are left out, and listed in the report.

    Parameters
    ----------
    classifier : EmotionClassifier
        Itself it is not changed.
    data : Dataset
        Tested is its part "test" where there is one, and otherwise everything; with
        `fit`, what `supervised` tests.
    fit : {None, "all", "each"}
        None asks the classifier as it is. "all" trains once with all modalities,
        and then takes some away. "each" trains anew for each combination, as the
        tables of MER-CLIP do.
    folds, seeds, labels, features
        As for `supervised`; the first two matter with `fit` alone.

    Returns
    -------
    Report
        With one condition for each combination, such as "text", "text+video"; the
        last one has all.

    Raises
    ------
    InputError
        No clip has all modalities, `fit` has another value or goes with
        ``tune="full"``, or as for `supervised`.

    Notes
    -----
    Source: the table of modalities in MER-CLIP (Song and Cho, arXiv 2506.00903), with
    ``fit="each"``; the rest is ours.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation import modalities
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> report = modalities(EmotionClassifier(data.labels), data)
    >>> [condition.name for condition in report.conditions]
    ['text']
    """
    if fit not in (None, "all", "each"):
        raise InputError(f"fit is None, 'all' or 'each', got {fit!r}.")
    if fit is not None and classifier.tune == "full":
        raise InputError("Modalities are taken out of features, which tune='full' does not use.")
    parts = None if fit else test_parts(classifier)
    task, letters = _complete(dataset_task(classifier, data, labels, features, parts))
    subsets = {_name(some): _only(task, some) for some in _subsets(letters)}
    if fit is None:
        conditions = [c for name, part in subsets.items() for c in _asked(part, name)]
    else:
        divisions = divide(task, data, folds, whole_numbers(seeds, "seeds", 0))
        conditions = _fitted(task, subsets, divisions, fit)
    return task.report("modalities", conditions, data)


def _complete(task: Task) -> tuple[Task, str]:
    """Keep the clips that have every modality that occurs."""
    letters = "".join(
        letter for letter in MODALITIES if any(letter in clip.sequences for clip in task.features)
    )
    lacking = {
        row: [MODALITIES[letter] for letter in letters if letter not in clip.sequences]
        for row, clip in enumerate(task.features)
    }
    rows = np.array([row for row, names in lacking.items() if not names], dtype=np.int64)
    if not len(rows):
        raise InputError(f"No clip has {_name(letters)}; there is nothing to take away from.")
    skipped = [
        Skipped(task.ids[row], f"It has no {' and no '.join(names)}.")
        for row, names in lacking.items()
        if names
    ]
    return task.select(rows, *skipped), letters


def _subsets(letters: str) -> list[str]:
    sizes = range(1, len(letters) + 1)
    return ["".join(some) for size in sizes for some in combinations(letters, size)]


def _name(letters: str) -> str:
    return "+".join(MODALITIES[letter] for letter in letters)


def _only(task: Task, letters: str) -> Task:
    """Take sequences out of features, and leave everything else."""
    clips = [
        replace(clip, sequences={letter: clip.sequences[letter] for letter in letters})
        for clip in task.features
    ]
    return replace(task, features=Features(clips, task.features.origin))


def _asked(task: Task, name: str) -> list[Condition]:
    """Ask the classifier as it is."""
    rows, valid = tested(task), task.part("valid")
    held_out = task.probability(task.classifier, valid)
    run = task.run(
        rows,
        task.probability(task.classifier, rows),
        threshold=task.chosen_threshold(task.classifier, held_out, valid),
    )
    return task.conditions(name, [run])


def _fitted(
    task: Task, subsets: dict[str, Task], divisions: Sequence[Division], fit: str
) -> list[Condition]:
    if fit == "each":
        return [c for name, part in subsets.items() for c in trained(part, divisions, name)]
    runs: dict[str, list[Run]] = {name: [] for name in subsets}
    for each, learner in learners(task, divisions):
        for name, part in subsets.items():
            runs[name].append(tested_by(part, learner, each))
    return [c for name in subsets for c in task.conditions(name, runs[name])]
