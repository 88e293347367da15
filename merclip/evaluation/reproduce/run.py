"""Measure the rows of a table of the paper, one training for each row and seed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from merclip.errors import InputError, ModalityWarning
from merclip.evaluation.baselines import baselines_beside
from merclip.evaluation.condition import Condition
from merclip.evaluation.protocols.supervised import supervised
from merclip.evaluation.report import Report
from merclip.evaluation.reproduce.comparison import Comparison, Line
from merclip.evaluation.reproduce.fresh import as_features_of, same_encoders
from merclip.evaluation.reproduce.paper import EMOTION, Row, Table
from merclip.evaluation.reproduce.texts import ours_among, texts_of
from merclip.preprocess import MODALITIES, Features

Array = np.ndarray[Any, Any]

Maker: TypeAlias = "Callable[[Mapping[str, Any], int], Any]"
"""Makes a classifier from changes of the network and a seed of new weights."""

ONE_OF_N = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
}
"""Measures of a table on data of one's own with one label for each clip."""

_OWN_DATA = "Data of one's own: the paper has no numbers for them."


def reproduce(
    table: Table,
    data: Any,
    make: Maker,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    folds: int | None = None,
    published: bool = True,
    texts: Mapping[str, Mapping[str, Any]] | None = None,
    with_baselines: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda said: None,
) -> Comparison:
    """Train and test every row of a table, by the protocol `supervised`.

    Clips are encoded once where rows share their encoders. A table that varies
    modalities is measured on the clips that have all of them.

    Parameters
    ----------
    table : Table
    data : Dataset
        With official parts, or groups for folds.
    make : callable
        Takes changes of `NetworkConfig` and a seed, and returns an
        `EmotionClassifier` that was not fitted, whose parameters say how to train.
    seeds : sequence of int
        For each one a new network and one training of each row.
    folds : int, optional
        As for `supervised`.
    published : bool
        Whether `data` is the paper's, so that its numbers stand beside ours.
    texts : mapping from wording to mapping from name to text or texts, optional
        Labels as words, phrases and sentences. A note says where merclip's own stand
        beside a number that the paper has for its own.
    with_baselines : bool
        Also what a model has to beat, on the rows of the last one.
    settings : mapping, optional
        How it was trained, for the record.
    progress : callable
        Told what is measured next.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        The data lack a modality that every row needs, or as for `supervised`.
    LabelError
        There is no text for a label in some wording.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.datasets import load_clips
    >>> from merclip.evaluation.reproduce import find_table, reproduce
    >>> data = load_clips("examples/lines.csv", split="part")
    >>> def make(changes, seed):
    ...     return EmotionClassifier(epochs=1, random_state=seed)
    >>> texts = {
    ...     "phrase": {"happy": "full of joy", "sad": "in grief", "angry": "in rage"},
    ...     "sentence": {"happy": "She laughs.", "sad": "She weeps.", "angry": "She shouts."},
    ... }
    >>> table = find_table("labels-mosei-emotion")
    >>> found = reproduce(table, data, make, seeds=(0,), published=False, texts=texts)
    >>> [line.name for line in found.lines]
    ['word', 'phrase', 'sentence', 'zero-shot, beside sentence']
    """
    seeds = list(dict.fromkeys(seeds))
    if not seeds:
        raise InputError("seeds is empty; give at least one.")
    wordings = {row.wording: texts_of(row.wording, _names(data), texts) for row in table.rows}
    progress("encode clips")
    shared = _shared(make({}, min(seeds)), data, table)
    measured: dict[str, Report] = {}
    for row in shared.rows:
        beside = with_baselines and row is shared.rows[-1]
        reports = []
        for seed in seeds:
            progress(f"{row.name}, seed {seed}")
            how = {
                "labels": wordings[row.wording],
                "seeds": (seed,),
                "folds": folds,
                "baselines": baselines_beside if beside else None,
            }
            reports.append(_measured(shared, make(row.network, seed), how))
        measured[row.name] = _joined(reports)
    last = measured[shared.rows[-1].name]
    measures = table.measures if published else _own_measures(last)
    return Comparison(
        table=table,
        measures=measures,
        published=published,
        lines=tuple([*_others(table, published), *_lines(table, shared.rows, measured)]),
        reports=measured,
        notes=(
            *(_notes(table, _names(data), texts) if published else [_OWN_DATA]),
            *shared.notes,
            *_division(last),
        ),
        settings={"seeds": list(seeds), **(settings or {})},
    )


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all rows have in common: clips, encoded by one model, and what became of them."""

    model: Any
    data: Any
    features: Features
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def _shared(classifier: Any, data: Any, table: Table) -> _Shared:
    reader = copy.copy(classifier)
    if reader.on_error == "skip":  # rows must stay beside their labels
        reader.on_error = "nan"
    shared = _Shared(classifier, data, reader.encode(data.clips), table.rows)
    orders = [row.network["fusion"] for row in table.rows if "fusion" in row.network]
    return _complete(shared) if orders else shared


def _complete(shared: _Shared) -> _Shared:
    """Keep clips with every modality that occurs, and rows that need no other."""
    found = [set(clip.sequences) for clip in shared.features]
    letters = set().union(*found)
    rows = tuple(row for row in shared.rows if set(row.network["fusion"]) <= letters)
    # Clips that could not be read stay, for the report to say why.
    kept = [i for i, clip in enumerate(shared.features) if clip.error or found[i] == letters]
    lacking = " and ".join(name for key, name in MODALITIES.items() if key not in letters)
    if len(rows) < 2 or not kept:
        raise InputError(
            "The table compares modalities of the same clips, and "
            + (f"no clip has {lacking}." if lacking else "no clip has all of them.")
        )
    notes = []
    if len(rows) < len(shared.rows):
        left = ", ".join(row.name for row in shared.rows if row not in rows)
        notes.append(f"Not measured, as no clip has {lacking}: {left}.")
    if len(kept) < len(found):
        notes.append(f"{len(found) - len(kept)} clips are left out that lack a modality.")
    features, data = shared.features[kept], shared.data.select(kept)
    return replace(shared, data=data, features=features, rows=rows, notes=tuple(notes))


def _measured(shared: _Shared, classifier: Any, how: Mapping[str, Any]) -> Report:
    with warnings.catch_warnings():
        # That a row does without a modality is its purpose.
        warnings.simplefilter("ignore", ModalityWarning)
        features = None
        if same_encoders(classifier.network_, shared.model.network_):
            features = as_features_of(classifier, shared.features)
        return supervised(classifier, shared.data, features=features, **how)


def _joined(reports: Sequence[Report]) -> Report:
    """Return one report with the runs of all, each of another seed."""
    first = reports[0]
    conditions = []
    for condition in first.conditions:
        runs = tuple(run for report in reports for run in report[condition.name].runs)
        # The model as it came was measured for each seed, and is the same for all.
        asked = _kind_of(condition) == "zero-shot"
        conditions.append(condition if asked else replace(condition, runs=runs))
    return replace(first, conditions=tuple(conditions))


def _others(table: Table, published: bool) -> list[Line]:
    others = table.others if published else {}
    return [Line(name, None, paper) for name, paper in others.items()]


def _lines(table: Table, rows: Sequence[Row], measured: Mapping[str, Report]) -> list[Line]:
    """Return the table's rows, and below them what stands beside the last one."""
    lines = []
    for row in rows:
        trained = [c for c in measured[row.name].conditions if _kind_of(c) == "supervised"]
        lines.append(Line(row.name, trained[-1], row.paper))
        lines += [Line(_at(row.name, c), c) for c in trained[:-1]]
    left_out = {"supervised", "zero-shot"} if table.changes_network else {"supervised"}
    last = rows[-1].name
    for condition in measured[last].conditions:
        if _kind_of(condition) not in left_out:
            name = condition.name if len(rows) == 1 else f"{condition.name}, beside {last}"
            lines.append(Line(name, condition))
    return lines


def _kind_of(condition: Condition) -> str:
    return condition.name.partition(" at ")[0]


def _at(name: str, condition: Condition) -> str:
    return f"{name}{condition.name.removeprefix('supervised')}"


def _names(data: Any) -> list[str]:
    if data.labels:
        return list(data.labels)
    return ["negative", "positive"]


def _own_measures(report: Report) -> dict[str, str]:
    if report.kind.name == "multi-label":
        return EMOTION
    if report.kind.name == "one-of-n":
        return ONE_OF_N
    return {name: report.kind.measures[name] for name in report.kind.headline}


def _notes(
    table: Table, names: Sequence[str], texts: Mapping[str, Mapping[str, Any]] | None
) -> list[str]:
    """Return what is to be known, and where labels are not those of the paper's number."""
    notes = [table.note] if table.note else []
    if table.others:
        notes.append("Of other systems the table has what the paper quotes.")
    for row in table.rows:
        ours = ours_among(row.wording, names, texts)
        if row.paper and ours:
            notes.append(
                f"In the row {row.name!r} merclip's own texts ({', '.join(ours)}) stand beside the "
                "paper's number, which is for the texts of its Tables 5 and 6: give those with "
                "--texts to compare."
            )
    return notes


def _division(report: Report) -> list[str]:
    runs = report.conditions[-1].runs
    folds = {run.fold for run in runs}
    if folds == {None}:
        return []
    return [f"There are no official parts here: mean over {len(folds)} folds of whole groups."]
