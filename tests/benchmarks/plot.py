"""Tables as a picture: a bar for each case, and a point for each round."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.rounds import Table

PICTURE = "report.png"
WIDTH, LINE, HEAD = 11.0, 0.24, 0.9
"""Inches: of the picture, of a bar, and of what stands around a table's bars."""


def draw(path: Path, tables: Mapping[str, Table]) -> None:
    """Write a picture with one part for each table."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    heights = [HEAD + LINE * _n_lines(table) for table in tables.values()]
    figure, axes = pyplot.subplots(
        len(tables),
        squeeze=False,
        figsize=(WIDTH, sum(heights)),
        height_ratios=heights,
        layout="constrained",
    )
    for axis, table in zip(axes[:, 0], tables.values(), strict=True):
        _draw_table(axis, table)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _n_lines(table: Table) -> int:
    return len(table.rows) + len({row.section for row in table.rows})


def _draw_table(axis: Any, table: Table) -> None:
    line, section, ticks, names = 0, None, [], []
    for row in table.rows:
        if row.section != section:
            section = row.section
            ticks.append(line)
            names.append(f"{section}:")
            line += 1
        first = table.ratios(row)[0] == 1
        axis.barh(line, row.median, color="tab:purple" if first else "tab:gray", alpha=0.7)
        axis.plot(row.values, [line] * len(row.values), "k.", markersize=3)
        axis.annotate(f" {row.median:.3g}", (max(row.values), line), va="center", fontsize=7)
        ticks.append(line)
        names.append(row.case)
        line += 1
    axis.set_yticks(ticks, names, fontsize=7)
    axis.invert_yaxis()
    axis.set_title(table.title, fontsize=9, loc="left")
    axis.set_xlabel(table.unit, fontsize=8)
    values = [value for row in table.rows for value in row.values if value > 0]
    if max(values) > 30 * min(values):
        axis.set_xscale("log")
    axis.margins(x=0.08)
