"""Predictions as a table, JSON, JSON Lines or CSV, each row written as it comes."""

from __future__ import annotations

import csv
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from merclip._shown import cell, json_text
from merclip.cli._console import beside_bar
from merclip.cli._resume import RUN
from merclip.cli._table import BarsWriter, TableWriter
from merclip.results import table_columns

if TYPE_CHECKING:
    from merclip.cli._clips import Row, Rows
    from merclip.results import Prediction

FORMATS = ("table", "json", "jsonl", "csv")


class Writer(Protocol):
    """Writes predictions to a stream."""

    def begin(self) -> None:
        """Write what comes before the first row."""

    def write(self, prediction: Prediction, row: Row) -> None:
        """Write one row."""

    def end(self) -> None:
        """Write what comes after the last row."""


def writer_for(
    form: str, stream: TextIO, rows: Rows, labels: Sequence[str], multi_label: bool, run: str
) -> Writer:
    """Return the writer of a format.

    Parameters
    ----------
    form : str
        One of `FORMATS`.
    stream : TextIO
    rows : Rows
        All clips, for the width of columns.
    labels : sequence of str
    multi_label : bool
    run : str
        For JSON Lines: what makes the rows.
    """
    if form == "jsonl":
        return JsonLinesWriter(stream, run)
    if form == "json":
        return JsonWriter(stream)
    if form == "csv":
        return CsvWriter(stream, labels, any(row.group is not None for row in rows.given))
    if rows.single:
        return BarsWriter(stream)
    return TableWriter(stream, rows, labels, multi_label)


class JsonLinesWriter:
    """One JSON object on each line, with a key that says what made it."""

    def __init__(self, stream: TextIO, run: str) -> None:
        self.stream = stream
        self.run = run

    def begin(self) -> None:
        """Do nothing."""

    def write(self, prediction: Prediction, row: Row) -> None:
        """Write one line."""
        values = {**prediction.to_dict(), **row.facts, RUN: self.run}
        _put(self.stream, _json(values, self.stream) + "\n")

    def end(self) -> None:
        """Do nothing."""


class JsonWriter:
    """One JSON list, whose rows are written as they come."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.before = "[\n"

    def begin(self) -> None:
        """Do nothing."""

    def write(self, prediction: Prediction, row: Row) -> None:
        """Write one row."""
        text = _json({**prediction.to_dict(), **row.facts}, self.stream, indent=2)
        _put(self.stream, self.before + textwrap.indent(text, "  "))
        self.before = ",\n"

    def end(self) -> None:
        """End the list."""
        _put(self.stream, "[]\n" if self.before == "[\n" else "\n]\n")


class CsvWriter:
    """The columns id, label, one for each label, modalities_used, faces, warnings and error.

    Behind id stands group, where rows have one.
    """

    def __init__(self, stream: TextIO, labels: Sequence[str], grouped: bool) -> None:
        self.stream = stream
        self.columns = table_columns(labels, grouped=grouped)
        self.grouped = grouped
        self.rows = csv.writer(stream, lineterminator="\n")

    def begin(self) -> None:
        """Write the header."""
        self._row(self.columns)

    def write(self, prediction: Prediction, row: Row) -> None:
        """Write one row; several labels are joined by ``|``."""
        clip, _, *values = prediction.to_row()
        held = "|".join(map(str, prediction.labels))
        group = [row.group] if self.grouped else []
        self._row([clip, *group, held, *map(_written, values)])

    def end(self) -> None:
        """Do nothing."""

    def _row(self, values: Sequence[Any]) -> None:
        with beside_bar():
            self.rows.writerow(map(cell, values))
            self.stream.flush()


def _written(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6f}"
    return value


def _json(value: Any, stream: TextIO, indent: int | None = None) -> str:
    unicode = (stream.encoding or "").lower().startswith("utf")
    return json_text(value, indent=indent, ascii_only=not unicode)


def _put(stream: TextIO, text: str) -> None:
    with beside_bar():
        stream.write(text)
        stream.flush()
