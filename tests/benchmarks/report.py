"""Tables as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rounds import Row, Table
from benchmarks.targets import Target, targets

RESULTS, REPORT = "results.json", "report.md"
MARKER = "measured"


def markdown(machine: Mapping[str, Any], tables: Mapping[str, Table]) -> str:
    """Return the whole report: the targets first, then every table, then the machine."""
    parts = ["### Targets\n\n" + target_table(targets(tables))]
    parts += [f"### {table.title}\n\n{table_of(table)}" for table in tables.values()]
    parts.append("### Machine\n\n" + machine_table(machine))
    return "\n\n".join(parts) + "\n"


def table_of(table: Table) -> str:
    """Return a Markdown table, one line for each case, and its notes."""
    head = ["", f"median, {table.unit}", "least", "most", "ratio", "CPU s", "CPU ratio"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    section = None
    for row in table.rows:
        if row.section != section:
            section = row.section
            lines.append([f"**{section}**", *[""] * (len(head) - 1)])
        lines.append([row.case, *_figures(table, row)])
    shown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([shown, *table.notes])


def target_table(found: Sequence[Target]) -> str:
    """Return a Markdown table of targets."""
    lines = ["| target | wanted | measured | met |", "| --- | ---: | ---: | --- |"]
    for target in found:
        bound = "at most" if target.at_most else "at least"
        wanted = f"{bound} {target.wanted:.3g} {target.unit}"
        measured = f"{target.measured:.3g} {target.unit}"
        answer = "yes" if target.met else "**no**"
        lines.append(f"| {target.what} | {wanted} | {measured} | {answer} |")
    return "\n".join(lines)


def machine_table(machine: Mapping[str, Any]) -> str:
    """Return a Markdown table of what the machine is."""
    lines = ["| | |", "| --- | --- |"]
    for name, value in machine.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def write(folder: Path, machine: Mapping[str, Any], tables: Mapping[str, Table]) -> None:
    """Write both files anew, so that an interrupted run leaves what it has."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": dict(machine),
        "targets": [{**asdict(target), "met": target.met} for target in targets(tables)],
        "tables": {name: asdict(table) for name, table in tables.items()},
    }
    unfinished = folder / (RESULTS + ".part")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(folder / RESULTS)
    (folder / REPORT).write_text(markdown(machine, tables), encoding="utf-8")


def read(folder: Path) -> dict[str, Table]:
    """Return the tables that an earlier run left; none if there was no run."""
    path = folder / RESULTS
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))["tables"]
    return {
        name: Table(**{**table, "rows": [Row(**row) for row in table["rows"]]})
        for name, table in stored.items()
    }


def fill(page: Path, text: str) -> None:
    """Put text between the two markers of a page of the documentation.

    Raises
    ------
    ValueError
        The page lacks them.
    """
    begin, end = f"<!-- {MARKER} -->", f"<!-- /{MARKER} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} has no {begin} and {end}.")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def _figures(table: Table, row: Row) -> list[str]:
    times, cpu_times = table.ratios(row)
    cpu = median(row.cpu) if row.cpu else None
    return list(map(_number, [row.median, min(row.values), max(row.values), times, cpu, cpu_times]))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
