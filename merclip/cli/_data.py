"""Labelled clips from a CSV or JSON Lines file."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip.cli._console import FAILED, CommandError, say

if TYPE_CHECKING:
    from merclip.datasets._table import Columns, Row

MEDIA = ("video", "audio")
SEPARATOR = "|"
_NAMED = 3
_ROW = re.compile(r"^Row (\d+)(?: \(([^)]*)\))?: ")


@dataclass(frozen=True)
class LabelledClip:
    """One row of a data file.

    Parameters
    ----------
    place : str
        File and line, for messages.
    values : dict
        Parameters of `merclip.Clip`.
    label : str, list of str or float
    group, split : str or None
    columns : mapping
        Every column, as it stands in the file.
    """

    place: str
    values: dict[str, Any]
    label: Any
    group: str | None = None
    split: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The label or labels as a list."""
        return self.label if isinstance(self.label, list) else [self.label]

    @property
    def missing(self) -> list[str]:
        """Paths at which there is no file."""
        paths = [self.values[name] for name in MEDIA if name in self.values]
        return [path for path in paths if not os.path.isfile(path)]


def read_data(
    path: Path,
    *,
    columns: Columns,
    on_error: str = "raise",
) -> list[LabelledClip]:
    """Read labelled clips, as `merclip.datasets.load_clips` does, and refuse what it leaves out.

    Parameters
    ----------
    path : Path
        A CSV file with a header, or JSON Lines for the suffix ``.jsonl``. Paths in
        it are relative to its folder.
    columns : Columns
    on_error : {"raise", "skip"}
        "skip" leaves out rows without a clip or a label, with a warning.

    Raises
    ------
    CommandError
        The message names the line.
    """
    lost: list[str] = []
    clips = []
    for row in rows_in(path, columns):
        lacking = _lacking(row)
        if lacking is None:
            clips.append(_labelled_clip(row))
        elif on_error == "skip":
            lost.append(lacking)
        else:
            raise CommandError(lacking, FAILED)
    if not columns.multi_label:
        _hint_at_several(clips)
    _warn_of(lost, len(clips) + len(lost))
    if not clips:
        raise CommandError(f"{str(path)!r} has no rows" + " to use" * bool(lost), FAILED)
    return clips


def columns_of(arguments: argparse.Namespace, label: str | None = None) -> Columns:
    """Return what the options say of a file; `label` is None where no labels are wanted."""
    from merclip.datasets._table import Columns

    return Columns(
        label=label,
        group=arguments.group_column,
        split=getattr(arguments, "split_column", None),
        multi_label=label is not None and arguments.multi_label,
        scores=getattr(arguments, "scores", False),
        text=arguments.text_column,
        encoding=arguments.encoding,
        delimiter=arguments.delimiter,
    )


def rows_in(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a CSV or JSON Lines file.

    Raises
    ------
    CommandError
        It cannot be read.
    """
    from merclip.datasets._table import read_table
    from merclip.errors import DatasetNotFoundError, InputError

    try:
        yield from read_table(path, columns)
    except DatasetNotFoundError as error:
        raise CommandError(str(error)) from error
    except InputError as error:
        named = "--text-column" if columns.label is None else "--label-column and --text-column"
        hint = f" ({named} name others)" if "the columns [" in str(error) else ""
        raise CommandError(f"{error}{hint}", FAILED) from error


def with_files(clips: list[LabelledClip], on_error: str) -> list[LabelledClip]:
    """Return the clips whose files exist; training may take hours, so look before it."""
    lost = [clip for clip in clips if clip.missing]
    sentences = [f"{clip.place}: there is no file {clip.missing[0]!r}" for clip in lost]
    if lost and on_error == "raise":
        more = f" (and {len(lost) - 1} more such rows)" if len(lost) > 1 else ""
        raise CommandError(sentences[0] + more, FAILED)
    _warn_of(sentences, len(clips))
    if len(lost) == len(clips):
        raise CommandError("no clip is left", FAILED)
    return [clip for clip in clips if not clip.missing]


def check_labels(clips: Sequence[LabelledClip], labels: Any) -> None:
    """Refuse a row whose label is not among those that are told apart."""
    if labels is None:
        return
    for clip in clips:
        for name in clip.labels:
            if name not in labels:
                listed = ", ".join(labels)
                raise CommandError(
                    f"{clip.place}: the label {name!r} is not among {listed}", FAILED
                )


def as_in_python(labels: list[str]) -> list[Any]:
    """Return labels that are all written as numbers or booleans as such."""
    from merclip.datasets._table import numbers_in

    numbers = numbers_in(labels)
    return [numbers.get(label, label) for label in labels]


def with_place(message: str, clips: Sequence[LabelledClip]) -> str:
    """Say the line of the data file in place of the row's number, or before a path."""
    row = _ROW.match(message)
    if row is not None:
        named = [clip.place for clip in clips if clip.values["id"] == row[2]]
        # A name is sure; numbers count from the first clip of those that were read.
        if named or int(row[1]) < len(clips):
            return f"{(named or [clips[int(row[1])].place])[0]}: {message[row.end() :]}"
    for clip in clips:
        paths = [clip.values[name] for name in MEDIA if name in clip.values]
        if any(repr(path) in message for path in paths):
            return f"{clip.place}: {message}"
    return message


def _hint_at_several(clips: Sequence[LabelledClip]) -> None:
    """Say that a label such as "happy|sad" counts as one."""
    joined = [clip for clip in clips if SEPARATOR in str(clip.label)]
    if joined:
        first = f"{joined[0].place}: {joined[0].label!r} counts as one label"
        say("hint", f"{first}; with --multi-label, those between {SEPARATOR} count each")


def _warn_of(lost: Sequence[str], n_rows: int) -> None:
    """Say how many rows are left out, and why the first few are."""
    if not lost:
        return
    more = f"; and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    verb = "is" if len(lost) == 1 else "are"
    named = "; ".join(lost[:_NAMED])
    say("warning", f"{len(lost)} of {n_rows} rows {verb} left out: {named}{more}")


def _lacking(row: Row) -> str | None:
    """Return what a row lacks, as a sentence."""
    if not row.has_clip:
        return f"{row.place} has no video, audio, text"
    return f"{row.place} has no label" if row.label is None else None


def _labelled_clip(row: Row) -> LabelledClip:
    label = list(row.label) if isinstance(row.label, tuple) else row.label
    # At the command line labels are words; whole numbers of JSON Lines become such.
    label = str(label) if isinstance(label, int) else label
    values = {**row.values, "id": row.name}
    return LabelledClip(row.place, values, label, row.group, row.split, row.columns)
