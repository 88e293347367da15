"""Predictions as a table, JSON, JSON Lines or CSV, each row written as it comes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from merclip.cli._console import beside_bar
from merclip.cli._table import BarsWriter, TableWriter, modalities

if TYPE_CHECKING:
    from merclip.cli._clips import Row
    from merclip.results import Prediction

FORMATS = ("table", "json", "jsonl", "csv")


class Writer(Protocol):
    """Writes predictions to a stream."""

    def begin(self) -> None:
        """Write what comes before the first row."""

    def write(self, prediction: Prediction) -> None:
        """Write one row."""

    def end(self) -> None:
        """Write what comes after the last row."""


def writer_for(
    form: str, stream: TextIO, rows: Sequence[Row], labels: Sequence[str], multi_label: bool
) -> Writer:
    """Return the writer of a format.

    Parameters
    ----------
    form : str
        One of `FORMATS`.
    stream : TextIO
    rows : sequence of Row
        All clips, for the width of columns.
    labels : sequence of str
    multi_label : bool
    """
    if form == "jsonl":
        return JsonLinesWriter(stream)
    if form == "json":
        return JsonWriter(stream)
    if form == "csv":
        return CsvWriter(stream, labels)
    if len(rows) == 1:
        return BarsWriter(stream)
    return TableWriter(stream, rows, labels, multi_label)


class JsonLinesWriter:
    """One JSON object on each line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def begin(self) -> None:
        """Do nothing."""

    def write(self, prediction: Prediction) -> None:
        """Write one line."""
        _put(self.stream, _json(prediction.to_dict(), self.stream) + "\n")

    def end(self) -> None:
        """Do nothing."""


class JsonWriter:
    """One JSON list, written at the end."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.rows: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Do nothing."""

    def write(self, prediction: Prediction) -> None:
        """Keep one row."""
        self.rows.append(prediction.to_dict())

    def end(self) -> None:
        """Write the list."""
        _put(self.stream, _json(self.rows, self.stream, indent=2) + "\n")


class CsvWriter:
    """The columns id, label, one for each label, modalities_used and error."""

    def __init__(self, stream: TextIO, labels: Sequence[str]) -> None:
        self.stream = stream
        self.labels = labels
        self.rows = csv.writer(stream, lineterminator="\n")

    def begin(self) -> None:
        """Write the header."""
        self._row(["id", "label", *self.labels, "modalities_used", "error"])

    def write(self, prediction: Prediction) -> None:
        """Write one row; several labels are joined by ``|``."""
        scores = [prediction.scores[label] for label in self.labels]
        self._row(
            [
                prediction.id or "",
                "|".join(map(str, prediction.labels)),
                *("" if math.isnan(score) else f"{score:.6f}" for score in scores),
                modalities(prediction),
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
