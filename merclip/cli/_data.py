"""Labelled clips from a CSV or JSON Lines file."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merclip.cli._console import FAILED, CommandError, say

MEDIA = ("video", "audio")
MODALITIES = (*MEDIA, "text")
TIMES = ("start", "end")
LABEL = "label"
SEPARATOR = "|"
_ROW = re.compile(r"^Row (\d+)(?: \([^)]*\))?: ")


@dataclass(frozen=True)
class LabelledClip:
    """One row of a data file.

    Parameters
    ----------
    place : str
        File and line, for messages.
    values : dict
        Parameters of `merclip.Clip`.
    label : str or list of str
    group : str or None
    """

    place: str
    values: dict[str, Any]
    label: Any
    group: str | None = None

    @property
    def labels(self) -> list[str]:
        """The label or labels as a list."""
        return self.label if isinstance(self.label, list) else [self.label]

    @property
    def missing(self) -> list[str]:
        """Paths at which there is no file."""
        paths = [self.values[name] for name in MEDIA if name in self.values]
        return [path for path in paths if not os.path.isfile(path)]


@dataclass(frozen=True)
class Columns:
    """What the columns of a data file are called."""

    label: str = LABEL
    group: str | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """Columns that have a meaning and should not be misspelt."""
        return (*MODALITIES, *TIMES, self.label)


def read_data(
    path: Path, *, multi_label: bool, group_column: str | None, label_column: str = LABEL
) -> list[LabelledClip]:
    """Read labelled clips.

    Parameters
    ----------
    path : Path
        A CSV file with a header, or JSON Lines for the suffix ``.jsonl``. Paths in
        it are relative to its folder.
    multi_label : bool
        Labels are joined by ``|``, or a list in JSON Lines.
    group_column : str, optional
    label_column : str

    Raises
    ------
    CommandError
        The message names the line.
    """
    text = _read(path)
    columns = Columns(label_column, group_column)
    by_line = path.suffix.lower() == ".jsonl"
    numbered = _json_lines(text, path) if by_line else _csv(text, path, columns)
    clips = []
    for line, row in numbered:
        place = f"{path.name} line {line}"
        clips.append(_labelled_clip(row, place, path.parent, multi_label, columns))
    if not clips:
        raise CommandError(f"{str(path)!r} has no rows", FAILED)
    return clips


def with_files(clips: list[LabelledClip], on_error: str) -> list[LabelledClip]:
    """Return the clips whose files exist; training may take hours, so look before it."""
    lost = [clip for clip in clips if clip.missing]
    sentences = [f"{clip.place}: there is no file {clip.missing[0]!r}" for clip in lost]
    if lost and on_error == "raise":
        more = f" (and {len(lost) - 1} more such rows)" if len(lost) > 1 else ""
        raise CommandError(sentences[0] + more, FAILED)
    for sentence in sentences:
        say("warning", sentence)
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


def with_place(message: str, clips: Sequence[LabelledClip]) -> str:
    """Say the line of the data file in place of the row's number, or before a path."""
    row = _ROW.match(message)
    if row is not None and int(row[1]) < len(clips):
        return f"{clips[int(row[1])].place}: {message[row.end() :]}"
    for clip in clips:
        paths = [clip.values[name] for name in ("video", "audio") if name in clip.values]
        if any(repr(path) in message for path in paths):
            return f"{clip.place}: {message}"
    return message


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{str(path)!r} is not UTF-8 text: save it as such", FAILED) from error


def _csv(text: str, path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        _check_columns(list(reader.fieldnames or ()), path, columns)
        for row in reader:
            place = f"{path.name} line {reader.line_num}"
            if None in row:
                raise CommandError(
                    f"{place} has more fields than the header: put texts with a comma in quotes",
                    FAILED,
                )
            if None in row.values():
                raise CommandError(f"{place} has fewer fields than the header", FAILED)
            yield reader.line_num, row
    except csv.Error as error:
        # The line that fails is not counted yet.
        place = f"{path.name} line {reader.line_num + 1}"
        raise CommandError(f"{place} is not valid CSV: {error}", FAILED) from error


def _check_columns(found: list[str], path: Path, columns: Columns) -> None:
    if columns.label not in found or not set(MODALITIES) & set(found):
        raise CommandError(
            f"{path.name} has the columns {found}; it needs {columns.label}, and at least one of "
            f"{', '.join(MODALITIES)}",
            FAILED,
        )
    for column in found:
        close = difflib.get_close_matches(column.strip().lower(), columns.known, n=1, cutoff=0.8)
        if column not in columns.known and close and close[0] not in found:
            raise CommandError(
                f"{path.name} has a column {column!r}; did you mean {close[0]!r}?", FAILED
            )


def _json_lines(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:
            raise CommandError(f"{path.name} line {line} is not JSON: {error}", FAILED) from error
        if not isinstance(row, dict):
            raise CommandError(f"{path.name} line {line} is not a JSON object", FAILED)
        yield line, row


def _labelled_clip(
    row: Mapping[str, Any], place: str, folder: Path, multi_label: bool, columns: Columns
) -> LabelledClip:
    texts = {name: _text(row.get(name), name, place) for name in MODALITIES}
    values: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if not values:
        raise CommandError(f"{place} has no {', '.join(MODALITIES)}", FAILED)
    for name in set(MEDIA) & set(values):
        values[name] = str(folder / values[name])
    values.update(_times(row, place))
    label = (_labels if multi_label else _label)(row.get(columns.label), place)
    return LabelledClip(place, {**values, "id": place}, label, _group(row, place, columns.group))


def _text(value: Any, name: str, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CommandError(f"{place}: {name} is {value!r} and not a string", FAILED)
    return value.strip()


def _times(row: Mapping[str, Any], place: str) -> dict[str, float]:
    times = {}
    for name in TIMES:
        value = row.get(name)
        if value is None or value == "":
            continue
        try:
            times[name] = float(value)
        except (TypeError, ValueError):
            times[name] = math.nan
        if not (math.isfinite(times[name]) and times[name] >= 0):
            raise CommandError(f"{place}: {name} is {value!r} and not a time in seconds", FAILED)
    if "end" in times and times["end"] <= times.get("start", 0.0):
        raise CommandError(f"{place}: end does not lie after start", FAILED)
    return times


def _label(value: Any, place: str) -> str:
    label = _text(value, LABEL, place)
    if not label:
        raise CommandError(f"{place} has no label", FAILED)
    return label


def _labels(value: Any, place: str) -> list[str]:
    parts = value if isinstance(value, list) else _text(value, LABEL, place).split(SEPARATOR)
    labels = [_text(part, LABEL, place) for part in parts]
    return [label for label in labels if label]


def _group(row: Mapping[str, Any], place: str, column: str | None) -> str | None:
    if column is None:
        return None
    if column not in row:
        raise CommandError(f"{place} has no {column!r}, only {', '.join(row)}", FAILED)
    value = row[column]
    if value is None or value == "":
        raise CommandError(f"{place} has nothing in the column {column!r}", FAILED)
    return str(value)
