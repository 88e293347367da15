"""The paper's numbers beside ours."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from merclip._shown import json_text, markdown_text
from merclip.evaluation.condition import Condition
from merclip.evaluation.report import Report
from merclip.evaluation.reproduce.paper import Table
from merclip.evaluation.tables import table as markdown_table

NONE = "—"
"""Where the paper, or this run, has no number."""


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a comparison.

    Parameters
    ----------
    name : str
    condition : Condition or None
        What was measured; None for another system, of which the paper has a number.
    paper : mapping from measure to float
        In percent; empty where the paper has no such line.
    """

    name: str
    condition: Condition | None
    paper: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A table of the paper, measured.

    Parameters
    ----------
    table : Table
    measures : mapping from measure to str
        What is shown, and what it is called.
    published : bool
        Whether the data are the paper's.
    lines : tuple of Line
    reports : mapping from row to Report
        Every measure, count and seed behind a line.
    notes : tuple of str
    settings : mapping
        How it was trained.

    Examples
    --------
    >>> from merclip.evaluation.reproduce import Comparison, find_table
    >>> table = find_table("table-mosi-sentiment")
    >>> Comparison(table, table.measures, published=True, lines=(), reports={}).measures
    {'accuracy_2_non0': 'Acc-2', 'weighted_f1_2_non0': 'F1'}
    """

    table: Table
    measures: Mapping[str, str]
    published: bool
    lines: tuple[Line, ...]
    reports: Mapping[str, Report]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Line:
        """Return the line of a name."""
        return {line.name: line for line in self.lines}[name]

    def to_markdown(self) -> str:
        """Return the paper's numbers beside ours, in percent, and what ours rest on.

        Returns
        -------
        str
        """
        return "\n\n".join(
            [
                f"# {self._title()}",
                self._summary(),
                markdown_table(self._cells()),
                *self.notes,
                "## What this rests on",
                "\n".join(f"- {markdown_text(line)}" for line in self._facts()),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return built-in types alone, with the report of each row.

        Returns
        -------
        dict
        """
        return {
            "table": self.table.name,
            "title": self._title(),
            "published": self.published,
            "measures": dict(self.measures),
            "lines": [self._line_dict(line) for line in self.lines],
            "notes": list(self.notes),
            "settings": dict(self.settings),
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON.

        Returns
        -------
        str
        """
        return json_text(self.to_dict(), indent=2)

    def to_csv(self) -> str:
        """Return one line for each row and measure, in percent.

        Returns
        -------
        str
        """
        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["row", "measure", "paper", "mean", "std", "n_runs"])
        for line in map(self._line_dict, self.lines):
            for measure, values in line["ours"].items():
                found = line["paper"][measure], values["mean"], values["std"]
                cells = ["" if value is None else value for value in found]
                rows.writerow([line["name"], measure, *cells, line["n_runs"]])
        return file.getvalue()

    @property
    def _last(self) -> Report:
        return list(self.reports.values())[-1]

    def _title(self) -> str:
        if self.published:
            return f"{self.table.title} ({self.table.name})"
        said = self.table.title.partition(": ")[2] or self.table.title
        return f"{said[0].upper()}{said[1:]} ({self.table.name}, data of one's own)"

    def _summary(self) -> str:
        runs = self._last.conditions[-1].runs
        sizes = [(run.learned, run.held_out, len(run.ids)) for run in runs]
        learned, held_out, tested = map(_span, zip(*sizes, strict=True))
        parts = [
            f"{learned} clips learned from, {held_out} to choose on, {tested} tested",
            f"seeds {', '.join(map(str, self.settings.get('seeds', ())))}",
            "in percent",
        ]
        if len(runs) > 1:
            parts.append("mean ± standard deviation over runs")
        if self.published:
            parts.append(f"{NONE}: there is none")
        return "; ".join(parts) + "."

    def _cells(self) -> list[list[str]]:
        head = ["row"]
        for shown in self.measures.values():
            head += [f"{shown} paper", f"{shown} ours"] if self.published else [shown]
        return [head, *map(self._row, self.lines)]

    def _row(self, line: Line) -> list[str]:
        cells = [line.name]
        found = self._line_dict(line)
        for measure in self.measures:
            mean, spread = found["ours"][measure].values()
            ours = _number(mean) + ("" if spread is None else f" ± {_number(spread)}")
            cells += [_number(found["paper"][measure])] if self.published else []
            cells.append(NONE if line.condition is None else ours)
        return cells

    def _line_dict(self, line: Line) -> dict[str, Any]:
        condition = line.condition
        mean, std = ({}, {}) if condition is None else (condition.mean, condition.std)
        return {
            "name": line.name,
            "paper": {measure: line.paper.get(measure) for measure in self.measures},
            "ours": {
                measure: {
                    "mean": _hundredfold(mean.get(measure)),
                    "std": _hundredfold(std.get(measure)),
                }
                for measure in self.measures
            },
            "n_runs": 0 if condition is None else len(condition.runs),
        }

    def _facts(self) -> list[str]:
        report = self._last
        facts = {**report.model, **self.settings}
        lines = [f"{_said(name)}: {value}" for name, value in facts.items() if value is not None]
        for name, value in (report.data or {}).items():
            lines.append(f"data, {name}: {value}")
        lines += [f"clips that could not be read: {len(report.skipped)}"] * bool(report.skipped)
        for row, found in self.reports.items():
            texts = {name: text for name, text in found.labels.items() if list(text) != [name]}
            lines += [f"{row}, {name}: {' / '.join(text)}" for name, text in texts.items()]
        return [*lines, *(f"{name} {version}" for name, version in report.versions.items())]


def _said(name: str) -> str:
    return {"name": "model", "fingerprint": "fingerprint of its weights"}.get(name, name)


def _span(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _hundredfold(value: float | None) -> float | None:
    return None if value is None or value != value else 100 * value


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"
