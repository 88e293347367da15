"""Predictions as a table, JSON, JSON Lines or CSV, each row written as it comes."""

from __future__ import annotations

import csv
import json
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from merclip.cli._console import beside_bar
from merclip.cli._resume import RUN
from merclip.cli._table import BarsWriter, TableWriter, modalities

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
        return CsvWriter(stream, labels)
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
    """The columns id, label, one for each label, modalities_used, faces and error."""

    def __init__(self, stream: TextIO, labels: Sequence[str]) -> None:
        self.stream = stream
        self.labels = labels
        self.rows = csv.writer(stream, lineterminator="\n")

    def begin(self) -> None:
        """Write the header."""
        self._row(["id", "label", *self.labels, "modalities_used", "faces", "error"])

    def write(self, prediction: Prediction, row: Row) -> None:
        """Write one row; several labels are joined by ``|``."""
        scores = [prediction.scores[label] for label in self.labels]
        self._row(
            [
                prediction.id or "",
                "|".join(map(str, prediction.labels)),
                *("" if math.isnan(score) else f"{score:.6f}" for score in scores),
                modalities(prediction),
                "" if prediction.faces is None else str(prediction.faces),
                prediction.error or "",
            ]
        )

    def end(self) -> None:
        """Do nothing."""

    def _row(self, values: Sequence[str]) -> None:
        with beside_bar():
            self.rows.writerow(values)
            self.stream.flush()


def _json(value: Any, stream: TextIO, indent: int | None = None) -> str:
    unicode = (stream.encoding or "").lower().startswith("utf")
    return json.dumps(value, ensure_ascii=not unicode, indent=indent)


def _put(stream: TextIO, text: str) -> None:
    with beside_bar():
        stream.write(text)
        stream.flush()
