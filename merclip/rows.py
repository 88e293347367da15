"""Rows of a batch that cannot be used: named, counted, and left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from merclip._progress import progress
from merclip._warn import Skipped, row_name
from merclip.errors import InputError, LabelError, MerclipError
from merclip.inputs import BrokenRow, is_labelled, rows_without_label
from merclip.preprocess import ClipFeatures, Features
from merclip.types import Clip, Clips


def encoding(
    encoded: Iterable[ClipFeatures], total: int | None = None, *, bar: bool
) -> Iterator[ClipFeatures]:
    """Show how many clips are encoded, and how many of them could not be read."""
    return progress(encoded, "encode", total, bar=bar, unit="clip", failed=_has_failed)


def check_read(features: Iterable[ClipFeatures]) -> None:
    """Refuse features of clips that could not be read.

    Raises
    ------
    InputError
    """
    for index, clip in enumerate(features):
        if clip.error is not None:
            raise InputError(f"{row_name(index, clip.id, clip.error)}: {clip.error}")


def readable(features: Sequence[ClipFeatures], done: str, *, least: bool = False) -> list[int]:
    """Return where the clips stand that could be read, and warn of the others.

    Parameters
    ----------
    features : sequence of ClipFeatures
    done : str
        What was done with the others, such as "left out".
    least : bool
        Whether there has to be one.

    Raises
    ------
    InputError
        There is none.
    """
    skipped = Skipped()
    for row, clip in enumerate(features):
        if clip.error is not None:
            skipped.add(row, clip.id, clip.error)
    if least and skipped.count == len(features):
        skipped.raise_all()
    skipped.warn(len(features), done)
    return [row for row, clip in enumerate(features) if clip.error is None]


def mark_unlabelled(clips: Clips | Features, y: Any) -> tuple[Clips | Features, Any]:
    """Let clips whose label is missing count as clips that cannot be read.

    Parameters
    ----------
    clips : Clips or Features of length n
    y : sequence of length n
        A missing label is None or NaN.

    Returns
    -------
    clips, y
        With some label in place of those that are missing.

    Raises
    ------
    InputError
        No clip has a label.
    """
    lost = rows_without_label(y)
    if not lost:
        return clips, y
    known = np.setdiff1d(np.arange(len(y)), lost)
    if not len(known):
        raise InputError("No clip has a label.")
    order = np.arange(len(y))
    order[lost] = known[0]
    problem = LabelError("It has no label.")
    marked: list[Any] = list(clips)
    for row in lost:
        marked[row] = _without_label(marked[row], problem)
    y = in_order(y, order.tolist())
    if isinstance(clips, Features):
        return Features(marked, clips.origin), y
    return Clips(marked), y


def to_learn_from(
    X: Any, y: Any, sample_weight: Any, groups: Any, validation: Any
) -> tuple[Any, Any, Any, Any, Any]:
    """Return what `fit` goes by, where `X` is a `Dataset`; all else as it is.

    Its labels and groups are taken where none are given. Of one with official parts the
    test part is left out everywhere, and that for validation is held out where
    `validation` is "auto".
    """
    if not is_labelled(X):
        return X, y, sample_weight, groups, validation
    columns = [X.y if y is None else y, sample_weight, X.groups if groups is None else groups]
    parts = np.asarray([] if X.splits is None else X.splits)
    if isinstance(validation, str) and {"train", "valid"} <= set(parts.tolist()):
        validation = parts == "valid"
    if "train" not in parts:
        return X.clips, *columns, validation
    kept = np.flatnonzero(parts != "test").tolist()
    columns = [_cut(column, kept, len(X.clips)) for column in (*columns, validation)]
    return X.clips[kept], columns[0], columns[1], columns[2], columns[3]


def train_part(X: Any) -> Any:
    """Return the part of a `Dataset` to learn from, if it has parts; all else as it is."""
    if not is_labelled(X) or X.splits is None or "train" not in X.splits:
        return X
    return X.select(np.asarray(X.splits) == "train")


def _cut(column: Any, kept: Sequence[int], n_clips: int) -> Any:
    """Return some entries of a column; what has no entry for each clip is judged later."""
    if column is None or isinstance(column, (str, float, int)) or len(column) != n_clips:
        return column
    return in_order(column, kept)


def _without_label(clip: Clip | ClipFeatures, problem: LabelError) -> Clip | ClipFeatures:
    if isinstance(clip, ClipFeatures):
        return ClipFeatures({}, clip.id, error=clip.error or reason_of(problem))
    return BrokenRow(id=clip.name, problem=problem)


def in_order(y: Any, order: Sequence[int]) -> Any:
    """Return some labels, as the kind of container that they came in."""
    if hasattr(y, "iloc"):
        return y.iloc[order]
    whole = isinstance(y, np.ndarray) or hasattr(y, "columns")
    return y[order] if whole else [y[row] for row in order]


def reason_of(error: MerclipError) -> str:
    """Return what results say of a clip that could not be read."""
    return f"{type(error).__name__}: {error}"


def with_row(error: MerclipError, index: int, clip: Clip) -> MerclipError:
    """Return an error of the same kind that says of which clip it is."""
    return type(error)(f"{row_name(index, clip.name, str(error))}: {error}")


def _has_failed(clip: ClipFeatures) -> bool:
    return clip.error is not None
