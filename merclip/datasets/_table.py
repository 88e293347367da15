"""Rows of a CSV or JSON Lines file, each one labelled clip, with the line in every message."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merclip.datasets._files import read_text
from merclip.errors import InputError

MEDIA = ("video", "audio")
PARTS = (*MEDIA, "text")
SEPARATOR = "|"
_TIMES = ("start", "end")
_JSON_LINES = (".jsonl", ".ndjson")
_SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are called, and what labels are.

    Parameters
    ----------
    label : str
    group, split : str, optional
    multi_label : bool
        A clip has any number of labels, joined by ``|`` or a list in JSON Lines.
    scores : bool
        Labels are numbers.
    text : str
    """

    label: str = "label"
    group: str | None = None
    split: str | None = None
    multi_label: bool = False
    scores: bool = False
    text: str = PARTS[-1]

    @property
    def parts(self) -> tuple[str, ...]:
        """The columns that a clip may consist of."""
        return (*MEDIA, self.text)


@dataclass(frozen=True)
class Row:
    """One row.

    Parameters
    ----------
    place : str
        File and line, for messages.
    name : str
        The column ``id``, or the place.
    values : dict
        Of ``video``, ``audio``, ``text``, ``start`` and ``end`` those that are
        given; paths go from where the program runs.
    label : str, int, float, tuple of str, or None
        None where there is none.
    group, split : str or None
    """

    place: str
    name: str
    values: dict[str, Any]
    label: Any
    group: str | None
    split: str | None

    @property
    def has_clip(self) -> bool:
        """Whether there is any modality."""
        return any(part in self.values for part in PARTS)


def read_table(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a file.

    Parameters
    ----------
    path : Path
        CSV with a header, or JSON Lines for the suffix ``.jsonl``. Paths in it are
        relative to its folder.
    columns : Columns

    Raises
    ------
    DatasetNotFoundError
        The file cannot be opened.
    InputError
        A column is missing or misspelt, or a row cannot be read.
    """
    lines = _json_lines if path.suffix.lower() in _JSON_LINES else _csv
    for line, row in lines(path, columns):
        yield _row(row, f"{path.name} line {line}", path.parent, columns)


def split_name(name: str) -> str | None:
    """Return "train", "valid" or "test" for what a part is called, or None."""
    return _SPLITS.get(name.strip().lower())


def _csv(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    file = io.StringIO(read_text(path), newline="")
    reader = csv.DictReader(file, strict=True, skipinitialspace=True)
    try:
        _check_columns(list(reader.fieldnames or ()), path, columns)
        for row in reader:
            place = f"{path.name} line {reader.line_num}"
            if None in row:
                raise InputError(
                    f"{place} has more fields than the header: put texts with a comma in quotes."
                )
            if None in row.values():
                raise InputError(f"{place} has fewer fields than the header.")
            yield reader.line_num, row
    except csv.Error as error:
        # The line that fails is not counted yet.
        place = f"{path.name} line {reader.line_num + 1}"
        raise InputError(f"{place} is not valid CSV: {error}.") from error


def _json_lines(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(read_text(path).split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:
            raise InputError(f"{path.name} line {line} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InputError(f"{path.name} line {line} is not a JSON object.")
        _check_spelling(list(row), f"{path.name} line {line}", columns)
        yield line, row


def _check_columns(found: Sequence[str], path: Path, columns: Columns) -> None:
    _check_spelling(found, path.name, columns)
    wanted = [columns.label, columns.group, columns.split]
    wanted += [columns.text] if columns.text != Columns.text else []
    lacking = [name for name in wanted if name is not None and name not in found]
    if lacking:
        raise InputError(
            f"{path.name} has no {lacking[0]!r}: it has the columns {list(found)}; it needs "
            f"{columns.label}, and at least one of {', '.join(columns.parts)}."
        )
    if not set(columns.parts) & set(found):
        raise InputError(
            f"{path.name} has the columns {list(found)}; a clip has at least one of "
            f"{', '.join(columns.parts)}."
        )


def _check_spelling(found: Sequence[str], where: str, columns: Columns) -> None:
    known = [*columns.parts, *_TIMES, "id", Columns.label, columns.label]
    meant = difflib.get_close_matches(columns.label, found, n=1, cutoff=0.8)
    if columns.label not in found and columns.label != Columns.label and meant:
        raise InputError(f"{where} has no column {columns.label!r}; did you mean {meant[0]!r}?")
    for name in found:
        close = difflib.get_close_matches(name.strip().lower(), known, n=1, cutoff=0.8)
        if name not in known and close and close[0] not in found:
            raise InputError(f"{where} has a column {name!r}; did you mean {close[0]!r}?")


def _row(row: Mapping[str, Any], place: str, folder: Path, columns: Columns) -> Row:
    named = dict(zip(PARTS, columns.parts, strict=True))
    texts = {part: _string(row.get(name), name, place) for part, name in named.items()}
    values: dict[str, Any] = {part: text for part, text in texts.items() if text}
    for part in set(MEDIA) & set(values):
        values[part] = str(folder / values[part])
    values.update(_times(row, place))
    return Row(
        place,
        str(row.get("id") or place),
        values,
        _label(row.get(columns.label), place, columns),
        _name(row, columns.group, place),
        _split(row, columns.split, place),
    )


def _label(value: Any, place: str, columns: Columns) -> Any:
    if columns.multi_label:
        several = isinstance(value, list)
        names = value if several else _string(value, "label", place).split(SEPARATOR)
        return tuple(text for name in names if (text := _string(name, "label", place)))
    if columns.scores:
        return None if value in (None, "") else _number(value, columns.label, place)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _string(value, "label", place) or None


def _times(row: Mapping[str, Any], place: str) -> dict[str, float]:
    given = {name: row[name] for name in _TIMES if row.get(name) not in (None, "")}
    times = {
        name: _number(value, name, place, "a time in seconds") for name, value in given.items()
    }
    for name, seconds in times.items():
        if seconds < 0:
            raise InputError(f"{place}: {name} is {given[name]!r} and not a time in seconds.")
    if "end" in times and times["end"] <= times.get("start", 0.0):
        raise InputError(f"{place}: end does not lie after start.")
    return times


def _number(value: Any, name: str, place: str, what: str = "a number") -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{place}: {name} is {value!r} and not {what}.")
    return found


def _string(value: Any, name: str, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place}: {name} is {value!r} and not a string.")
    return value.strip()


def _name(row: Mapping[str, Any], column: str | None, place: str) -> str | None:
    if column is None:
        return None
    if column not in row:
        raise InputError(f"{place} has no {column!r}, only {', '.join(row)}.")
    value = row[column]
    if value is None or value == "":
        raise InputError(f"{place} has nothing in the column {column!r}.")
    return str(value)


def _split(row: Mapping[str, Any], column: str | None, place: str) -> str | None:
    name = _name(row, column, place)
    if name is None:
        return None
    found = split_name(name)
    if found is None:
        raise InputError(f"{place}: the part {name!r} is not train, valid or test.")
    return found
