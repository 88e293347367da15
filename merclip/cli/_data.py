"""Labelled clips from a CSV or JSON Lines file."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merclip.cli._console import FAILED, CommandError

MEDIA = ("video", "audio")
MODALITIES = (*MEDIA, "text")
TIMES = ("start", "end")
KNOWN = (*MODALITIES, *TIMES, "label")
SEPARATOR = "|"


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


def read_data(path: Path, *, multi_label: bool, group_column: str | None) -> list[LabelledClip]:
    """Read labelled clips.

    Parameters
    ----------
    path : Path
        A CSV file with a header, or JSON Lines for the suffix ``.jsonl``. Paths in
        it are relative to its folder.
    multi_label : bool
        Labels are joined by ``|``, or a list in JSON Lines.
    group_column : str, optional

    Raises
    ------
    CommandError
        The message names the line.
    """
    text = _read(path)
    numbered = _json_lines(text, path) if path.suffix.lower() == ".jsonl" else _csv(text, path)
    clips = []
    for line, row in numbered:
        place = f"{path.name} line {line}"
        clips.append(_labelled_clip(row, place, path.parent, multi_label, group_column))
    if not clips:
        raise CommandError(f"{str(path)!r} has no rows", FAILED)
    return clips


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{str(path)!r} is not UTF-8 text: save it as such", FAILED) from error


def _csv(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        _check_columns(list(reader.fieldnames or ()), path)
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


def _check_columns(columns: list[str], path: Path) -> None:
    if "label" not in columns or not set(MODALITIES) & set(columns):
        raise CommandError(
            f"{path.name} has the columns {columns}; it needs label, and at least one of "
            f"{', '.join(MODALITIES)}",
            FAILED,
        )
    for column in columns:
        close = difflib.get_close_matches(column.strip().lower(), KNOWN, n=1, cutoff=0.8)
        if column not in KNOWN and close and close[0] not in columns:
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
    row: Mapping[str, Any], place: str, folder: Path, multi_label: bool, group_column: str | None
) -> LabelledClip:
    texts = {name: _text(row.get(name), name, place) for name in MODALITIES}
    values: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if not values:
        raise CommandError(f"{place} has no {', '.join(MODALITIES)}", FAILED)
    for name in set(MEDIA) & set(values):
        values[name] = str(folder / values[name])
    values.update(_times(row, place))
    label = _labels(row, place) if multi_label else _label(row, place)
    return LabelledClip(place, {**values, "id": place}, label, _group(row, place, group_column))


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


def _label(row: Mapping[str, Any], place: str) -> str:
    label = _text(row.get("label"), "label", place)
    if not label:
        raise CommandError(f"{place} has no label", FAILED)
    return label


def _labels(row: Mapping[str, Any], place: str) -> list[str]:
    value = row.get("label")
    parts = value if isinstance(value, list) else _text(value, "label", place).split(SEPARATOR)
    labels = [_text(part, "label", place) for part in parts]
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
