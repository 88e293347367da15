"""A report in Markdown, in columns that line up in a terminal too, and as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from merclip._shown import cell, markdown_text
from merclip.evaluation.intervals import FEW

if TYPE_CHECKING:
    from merclip.evaluation.condition import Condition
    from merclip.evaluation.report import Report

_WIDEST_LABEL, _MOST_SKIPPED = 32, 20


def markdown(report: Report) -> str:
    """Return a report in Markdown."""
    last = report.conditions[-1]
    return "\n\n".join(
        [
            f"# Evaluation: {report.protocol}",
            _summary(report),
            _measures(report.conditions),
            f"## Each label ({markdown_text(last.name)})",
            _classes(report, last),
            f"## Confusions ({markdown_text(last.name)})",
            *_confusion(report, last),
            *_skipped(report),
            "## What this rests on",
            _facts(report),
        ]
    )


def comma_separated(report: Report) -> str:
    """Return one line for each condition and measure."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["condition", "measure", "mean", "std", "lower", "upper", "n_runs"])
    for condition in report.conditions:
        mean, std = condition.mean, condition.std
        for name in mean:
            ends = (condition.intervals or {}).get(name)
            lower, upper = (None, None) if ends is None else (ends.lower, ends.upper)
            values = [_exact(value) for value in (mean[name], std[name], lower, upper)]
            rows.writerow([cell(condition.name), name, *values, len(condition.runs)])
    return file.getvalue()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown; the first row is its head, the first column text.

    Text of users is `markdown_text` already.
    """
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        for row in [rows[0], rule, *rows[1:]]
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _summary(report: Report) -> str:
    parts = [f"{report.n_clips} clips, {len(report.labels)} labels"]
    if report.skipped:
        parts.append(f"{len(report.skipped)} more left out")
    if report.seeds:
        same = len({_tested(condition) for condition in report.conditions}) == 1
        parts.append(
            f"{_test_size(report)} clips in each test part"
            + (", the same for each condition" if same else "")
        )
        parts.append(f"seeds {', '.join(map(str, report.seeds))}")
    spread = _spread(report)
    if spread:
        parts.append(f"mean ± standard deviation over {spread}")
    if report.resampling is not None:
        share, what = report.resampling["confidence"], report.resampling["resampled"]
        number = report.resampling["n_resampled"]
        few = ", so few that it is probably too narrow" if number < FEW else ""
        parts.append(f"[{share:.0%} interval over {number} {what}{few}]")
    return "; ".join(parts) + "."


def _tested(condition: Condition) -> frozenset[tuple[str, ...]]:
    return frozenset(run.ids for run in condition.runs)


def _spread(report: Report) -> str:
    """Return what the runs of the last condition differ in."""
    runs = report.conditions[-1].runs
    kinds = {"seeds": {run.seed for run in runs}, "folds": {run.fold for run in runs}}
    return " and ".join(name for name, found in kinds.items() if len(found) > 1)


def _test_size(report: Report) -> str:
    sizes = [len(run.ids) for run in report.conditions[-1].runs]
    least, most = min(sizes), max(sizes)
    return str(least) if least == most else f"{least} to {most}"


def _measures(conditions: Sequence[Condition]) -> str:
    shown = {name: text for condition in conditions for name, text in condition.measures.items()}
    head = ["measure", *(markdown_text(condition.name) for condition in conditions)]
    columns = [_column(condition, shown) for condition in conditions]
    rows = zip(shown.values(), *columns, strict=True)
    return table([head, *map(list, rows)])


def _column(condition: Condition, names: Mapping[str, str]) -> list[str]:
    mean, std, intervals = condition.mean, condition.std, condition.intervals or {}
    column = []
    for name in names:
        if name not in mean:
            column.append("")
            continue
        spread, ends = std[name], intervals.get(name)
        text = _number(mean[name])
        text += "" if spread is None else f" ± {_number(spread)}"
        text += "" if ends is None else f" [{_number(ends.lower)}, {_number(ends.upper)}]"
        column.append(text)
    return column


def _number(value: float) -> str:
    return f"{value:.3f}" if value == value else "-"


def _exact(value: float | None) -> str:
    return "" if value is None or value != value else repr(float(value))


def _classes(report: Report, condition: Condition) -> str:
    columns = condition.kind.columns
    rows = [
        [markdown_text(_short(name)), *(_of_class(scores, column) for column in columns)]
        for name, scores in zip(report.labels, condition.per_class, strict=True)
    ]
    return table([["label", *columns.values()], *rows])


def _of_class(scores: Any, column: str) -> str:
    value = getattr(scores, column)
    return f"{value:.4g}" if column == "support" else f"{value:.3f}"


def _confusion(report: Report, condition: Condition) -> list[str]:
    names = [markdown_text(_short(name)) for name in report.labels]
    counts = condition.confusion
    summed = f", summed over {_spread(report)}." if _spread(report) else "."
    if counts.ndim == 3:
        head = ["label", "found", "missed", "false alarms", "rightly absent"]
        cells = [[each[1, 1], each[1, 0], each[0, 1], each[0, 0]] for each in counts]
        said = "Clips that have each label, and clips that have it not"
    else:
        head, cells = ["truth", *names], counts.tolist()
        said = "Rows are the truth, columns what was predicted"
    rows = [[name, *map(str, row)] for name, row in zip(names, cells, strict=True)]
    return [said + summed, table([head, *rows])]


def _skipped(report: Report) -> list[str]:
    if not report.skipped:
        return []
    lines = [
        f"- {markdown_text(f'{item.id}: {item.reason}')}" for item in report.skipped[:_MOST_SKIPPED]
    ]
    more = len(report.skipped) - _MOST_SKIPPED
    return ["## Left out", "\n".join(lines + ([f"- and {more} more"] if more > 0 else []))]


def _facts(report: Report) -> str:
    lines = [f"{name}: {value}" for name, value in _model(report) if value is not None]
    if report.data is not None:
        lines += _data(report.data, "data")
    if report.prompt != ("{}",):
        lines.append("prompt: " + ", ".join(map(repr, report.prompt)))
    lines += [f"{_short(name)}: {' / '.join(texts)}" for name, texts in _described(report)]
    lines += [f"{name} {version}" for name, version in report.versions.items()]
    return "\n".join(f"- {markdown_text(line)}" for line in lines)


def _data(facts: Mapping[str, Any], what: str) -> list[str]:
    """Return a line on the data, or one on each part of it."""
    if all(isinstance(part, Mapping) for part in facts.values()):
        return [line for name, part in facts.items() for line in _data(part, f"{name} {what}")]
    name, digest = facts.get("file", facts.get("name")), facts["sha256"]
    counted = ""
    if "rows" in facts:
        left = ", ".join(
            f"{facts[kind]:,} {kind}" for kind in ("missing", "undecodable", "excluded")
        )
        counted = f", {facts['rows']:,} rows, {facts['clips']:,} clips ({left})"
    return [f"{what}: {name}{counted}, SHA-256 {digest}"]


def _model(report: Report) -> list[tuple[str, Any]]:
    names = {
        "name": "model",
        "fingerprint": "fingerprint of its weights",
        "predict_from": "compared with",
        "anchors": "pictures",
    }
    return [
        (names.get(name, name), _counted(value) if name == "anchors" else value)
        for name, value in report.model.items()
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_short(name)} {count}" for name, count in counts.items())


def _described(report: Report) -> list[tuple[Any, list[str]]]:
    """Return the labels whose text is not their name, also those of single conditions."""
    own = [condition for condition in report.conditions if condition.labels is not None]
    if not own:
        return _other_than_names(report.labels)
    return [
        (f"{condition.name}, {name}", texts)
        for condition in own
        for name, texts in _other_than_names(condition.labels or {})
    ]


def _other_than_names(labels: Mapping[Any, list[str]]) -> list[tuple[Any, list[str]]]:
    return [(name, texts) for name, texts in labels.items() if list(texts) != [name]]


def _short(name: Any) -> str:
    return textwrap.shorten(str(name), _WIDEST_LABEL, placeholder=" …") or str(name)
