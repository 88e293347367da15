"""Rows of a CSV or JSON Lines file, each one labelled clip, with the line in every message."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merclip._warn import warn
from merclip.datasets._files import FALLBACK, cells_of_any_length, decoded, read_bytes
from merclip.errors import InputError, MerclipWarning

MEDIA = ("video", "audio")
PARTS = (*MEDIA, "text")
LABEL = "label"
SEPARATOR = "|"
_TIMES = ("start", "end")
_JSON_LINES = (".jsonl", ".ndjson")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What may divide columns."""
_SAID = re.compile(r"\s*sep=(.)[^\S\r\n]*[\r\n]")
"""What Excel writes above the header."""
_ZIP = b"PK\x03\x04"
_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{0,18})?")
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
    """What the columns of a file are called, what labels are, and how the file is written.

    Parameters
    ----------
    label : str or None
        None where no labels are wanted.
    group, split : str, optional
    multi_label : bool
        A clip has any number of labels, joined by ``|`` or a list in JSON Lines.
    scores : bool
        Labels are numbers.
    text : str
    encoding : str, optional
        By default UTF-8, or as the file's first bytes say, or Windows' cp1252.
    delimiter : str, optional
        Of CSV; by default the one with which the header has most of these columns.
    """

    label: str | None = LABEL
    group: str | None = None
    split: str | None = None
    multi_label: bool = False
    scores: bool = False
    text: str = PARTS[-1]
    encoding: str | None = None
    delimiter: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The columns that a clip may consist of."""
        return (*MEDIA, self.text)

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that are read, whether they are there or not."""
        named = (self.label, self.group, self.split)
        return (*self.parts, *_TIMES, "id", *(name for name in named if name is not None))


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
    columns : mapping
        Every column of the file, also those that are not used.
    """

    place: str
    name: str
    values: dict[str, Any]
    label: Any
    group: str | None
    split: str | None
    columns: Mapping[str, Any]

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
    text, encoding = _text(path, columns)
    lines = _json_lines if path.suffix.lower() in _JSON_LINES else _csv
    for line, row in lines(text, path, columns):
        yield _row(row, f"{path.name} line {line}", path.parent, columns, encoding)


def split_name(name: str) -> str | None:
    """Return "train", "valid" or "test" for what a part is called, or None."""
    return _SPLITS.get(name.strip().lower())


def numbers_in(labels: Iterable[Any]) -> dict[Any, int | float | bool]:
    """Return the value of each label, where all are numbers or all are booleans; else nothing."""
    names = set(labels)
    for read in (_as_boolean, _as_number):
        found = {name: read(name) for name in names}
        if None not in found.values():
            return {name: value for name, value in found.items() if value is not None}
    return {}


def _as_boolean(label: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(label).lower())


def _as_number(label: Any) -> int | float | None:
    if not _NUMBER.fullmatch(str(label)):
        return None
    value = float(label)
    return int(value) if value.is_integer() else value


def _text(path: Path, columns: Columns) -> tuple[str, str]:
    """Return what a file holds, and its encoding."""
    data = read_bytes(path)
    if data.startswith(_ZIP):
        raise InputError(f"{path.name} is no text but a workbook or an archive: save it as CSV.")
    if columns.encoding is not None:
        try:
            return data.decode(columns.encoding).removeprefix("\ufeff"), columns.encoding
        except (UnicodeDecodeError, LookupError) as error:
            raise InputError(f"{path.name} is not text in {columns.encoding}: {error}.") from error
    text, encoding = decoded(data)
    if encoding == FALLBACK:
        said = f"{path.name} is not UTF-8, and was read as Windows-1252"
        warn(MerclipWarning(f"{said}: encoding= names another."))
    return text, encoding


def _csv(text: str, path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    said = _SAID.match(text)
    delimiter = columns.delimiter or (said[1] if said else _delimiter(text, columns))
    file = io.StringIO(text, newline="")
    n_before = int(said is not None and bool(file.readline()))
    reader = csv.DictReader(file, strict=True, skipinitialspace=True, delimiter=delimiter)
    try:
        with cells_of_any_length():
            _check_columns(list(reader.fieldnames or ()), path, columns)
            rows = [(reader.line_num + n_before, row) for row in reader]
    except csv.Error as error:
        # The line that fails is not counted yet.
        place = f"{path.name} line {reader.line_num + n_before + 1}"
        raise InputError(f"{place} is not valid CSV: {error}.") from error
    for line, row in rows:
        if None in row:
            raise InputError(
                f"{path.name} line {line} has more fields than the header: put texts with a "
                f"{_NAMES.get(delimiter, delimiter)} in quotes."
            )
        if None in row.values():
            raise InputError(f"{path.name} line {line} has fewer fields than the header.")
        yield line, row


def _delimiter(text: str, columns: Columns) -> str:
    """Return what divides the columns: that with which most of the known ones are found."""

    def found(delimiter: str) -> tuple[int, int]:
        file = io.StringIO(text, newline="")
        try:
            header = next(csv.reader(file, skipinitialspace=True, delimiter=delimiter), [])
        except csv.Error:
            header = []
        return len({*header} & {*columns.used, LABEL}), len(header)

    with cells_of_any_length():
        return max(_NAMES, key=found)


def _json_lines(text: str, path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_twice([name for name, _ in pairs], f"{path.name} line {line}", columns)
        return dict(pairs)

    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content, object_pairs_hook=checked)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{path.name} line {line} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InputError(f"{path.name} line {line} is not a JSON object.")
        _check_spelling(list(row), f"{path.name} line {line}", columns)
        yield line, row


def _check_columns(found: Sequence[str], path: Path, columns: Columns) -> None:
    _check_spelling(found, path.name, columns)
    _check_twice(found, path.name, columns)
    wanted: list[str | None] = [columns.label, columns.group, columns.split]
    wanted += [columns.text] if columns.text != Columns.text else []
    lacking = [name for name in wanted if name is not None and name not in found]
    if lacking:
        label = "" if columns.label is None else f"{columns.label}, and "
        raise InputError(
            f"{path.name} has no {lacking[0]!r}: it has the columns {list(found)}; it needs "
            f"{label}at least one of {', '.join(columns.parts)}."
        )
    if not set(columns.parts) & set(found):
        raise InputError(
            f"{path.name} has the columns {list(found)}; a clip has at least one of "
            f"{', '.join(columns.parts)}."
        )


def _check_twice(found: Sequence[str], where: str, columns: Columns) -> None:
    twice = [name for name in columns.used if found.count(name) > 1]
    if twice:
        raise InputError(f"{where} has {found.count(twice[0])} columns {twice[0]!r}: keep one.")


def _check_spelling(found: Sequence[str], where: str, columns: Columns) -> None:
    known: list[str] = [*columns.parts, *_TIMES, "id"]
    label = columns.label
    if label is not None:
        known += [LABEL, label]
        meant = difflib.get_close_matches(label, found, n=1, cutoff=0.8)
        if label not in found and label != LABEL and meant:
            raise InputError(f"{where} has no column {label!r}; did you mean {meant[0]!r}?")
    for name in found:
        close = difflib.get_close_matches(name.strip().lower(), known, n=1, cutoff=0.8)
        if name not in known and close and close[0] not in found:
            raise InputError(f"{where} has a column {name!r}; did you mean {close[0]!r}?")


def _row(row: Mapping[str, Any], place: str, folder: Path, columns: Columns, encoding: str) -> Row:
    named = dict(zip(PARTS, columns.parts, strict=True))
    texts = {part: _string(row.get(name), name, place) for part, name in named.items()}
    values: dict[str, Any] = {part: text for part, text in texts.items() if text}
    for part in set(MEDIA) & set(values):
        values[part] = _found(folder, values[part], encoding)
    values.update(_times(row, place))
    return Row(
        place,
        str(row.get("id") or place),
        values,
        None if columns.label is None else _label(row.get(columns.label), place, columns),
        _name(row, columns.group, place),
        _split(row, columns.split, place),
        row,
    )


def _found(folder: Path, name: str, encoding: str) -> str:
    """Return the path of a file that a table names."""
    path = str(folder / os.path.expanduser(name))
    if encoding != FALLBACK or os.path.exists(path):
        return path
    # A name that is not UTF-8 may stand in the table in the bytes that it has on disk.
    as_bytes = str(folder / os.fsdecode(name.encode(encoding, errors="replace")))
    return as_bytes if os.path.exists(as_bytes) else path


def _label(value: Any, place: str, columns: Columns) -> Any:
    if columns.multi_label:
        several = isinstance(value, list)
        names = value if several else _string(value, "label", place).split(SEPARATOR)
        return tuple(text for name in names if (text := _string(name, "label", place)))
    if columns.scores:
        return None if value in (None, "") else _number(value, "the label", place)
    return value if isinstance(value, int) else _string(value, "label", place) or None


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
