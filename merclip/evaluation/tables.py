"""A report in Markdown, in columns that line up in a terminal too."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from merclip.evaluation.metrics import NAMES

if TYPE_CHECKING:
    from merclip.evaluation.report import Condition, Report

_WIDEST_LABEL, _MOST_SKIPPED = 32, 20


def markdown(report: Report) -> str:
    """Return a report in Markdown."""
    last = report.conditions[-1]
    return "\n\n".join(
        [
            f"# Evaluation: {report.protocol}",
            _summary(report),
            _measures(report.conditions),
            f"## Each label ({last.name})",
            _classes(report, last),
            f"## Confusions ({last.name})",
            "Rows are the truth, columns what was predicted"
            + (", summed over seeds." if len(last.runs) > 1 else "."),
            _confusion(report, last),
            *_skipped(report),
            "## What this rests on",
            _facts(report),
        ]
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown; the first row is its head, the first column text."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        for row in [cells[0], rule, *cells[1:]]
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _summary(report: Report) -> str:
    parts = [f"{report.n_clips} clips, {len(report.labels)} labels"]
    if report.skipped:
        parts.append(f"{len(report.skipped)} more could not be read")
    if report.seeds:
        parts.append(f"{_test_size(report)} clips in each test part, the same for each condition")
        parts.append(f"seeds {', '.join(map(str, report.seeds))}")
    if len(report.seeds) > 1:
        parts.append("mean ± standard deviation over seeds")
    return "; ".join(parts) + "."


def _test_size(report: Report) -> str:
    sizes = [len(run.ids) for run in report.conditions[-1].runs]
    least, most = min(sizes), max(sizes)
    return str(least) if least == most else f"{least} to {most}"


def _measures(conditions: Sequence[Condition]) -> str:
    head = ["measure", *(condition.name for condition in conditions)]
    rows = [
        [shown, *(_value(condition, name) for condition in conditions)]
        for name, shown in NAMES.items()
    ]
    return table([head, *rows])


def _value(condition: Condition, name: str) -> str:
    spread = condition.std[name]
    return f"{condition.mean[name]:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _classes(report: Report, condition: Condition) -> str:
    rows = [
        [_short(name), *(f"{value:.3f}" for value in scores[:3]), f"{scores.support:.4g}"]
        for name, scores in zip(report.labels, condition.per_class, strict=True)
    ]
    return table([["label", "precision", "recall", "F1", "clips"], *rows])


def _confusion(report: Report, condition: Condition) -> str:
    names = [_short(name) for name in report.labels]
    counts = condition.confusion.tolist()
    rows = [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]
    return table([["truth", *names], *rows])


def _skipped(report: Report) -> list[str]:
    if not report.skipped:
        return []
    lines = [f"- {item.id}: {item.reason}" for item in report.skipped[:_MOST_SKIPPED]]
    more = len(report.skipped) - _MOST_SKIPPED
    return ["## Not read", "\n".join(lines + ([f"- and {more} more"] if more > 0 else []))]


def _facts(report: Report) -> str:
    lines = [f"{name}: {value}" for name, value in _model(report) if value is not None]
    if report.data is not None:
        lines.append(f"data: {report.data['file']}, SHA-256 {report.data['sha256']}")
    if report.prompt != ("{}",):
        lines.append("prompt: " + ", ".join(map(repr, report.prompt)))
    lines += [f"{_short(name)}: {' / '.join(texts)}" for name, texts in _described(report)]
    lines += [f"{name} {version}" for name, version in report.versions.items()]
    return "\n".join(f"- {line}" for line in lines)


def _model(report: Report) -> list[tuple[str, Any]]:
    names = {"name": "model", "fingerprint": "fingerprint of its weights"}
    return [(names.get(name, name), value) for name, value in report.model.items()]


def _described(report: Report) -> list[tuple[Any, list[str]]]:
    """Return the labels whose text is not their name."""
    return [(name, texts) for name, texts in report.labels.items() if list(texts) != [name]]


def _short(name: Any) -> str:
    return textwrap.shorten(str(name), _WIDEST_LABEL, placeholder=" …") or str(name)
