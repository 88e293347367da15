"""The files that ``merclip evaluate --out DIR`` writes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from merclip._shown import cell
from merclip.cli._console import CommandError, say

if TYPE_CHECKING:
    from merclip.evaluation import Report

REPORT, MARKDOWN, PREDICTIONS = "report.json", "report.md", "predictions.csv"
CONFUSION, CALIBRATION = "confusion.png", "calibration.png"
FILES = (REPORT, MARKDOWN, PREDICTIONS, CONFUSION, CALIBRATION)


def write_report(report: Report, directory: Path) -> None:
    """Write a report, every prediction and, with matplotlib, two pictures.

    Parameters
    ----------
    report : Report
    directory : Path
        Made if need be; files of the same names are replaced.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / REPORT).write_text(report.to_json() + "\n", encoding="utf-8")
        (directory / MARKDOWN).write_text(report.to_markdown() + "\n", encoding="utf-8")
        write_predictions(report, directory / PREDICTIONS)
        _draw(report, directory)
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"--out {str(directory)!r} cannot be written: {reason}") from error
    say("evaluate", f"written to {directory}")


def write_predictions(report: Report, path: Path) -> None:
    """Write one row for each clip, condition, seed and fold."""
    from merclip.results import score_columns

    names = list(report.labels)
    ours = ("condition", "seed", "fold", "id", "truth", "predicted")
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(map(cell, (*ours, *score_columns(names, ours))))
        for condition in report.conditions:
            for run in condition.runs:
                place = ["" if number is None else number for number in (run.seed, run.fold)]
                answers = run.kind.answers(names, run.truth, run.probability, run.threshold)
                for clip, pair, row in zip(run.ids, answers, run.probability, strict=True):
                    scores = [f"{score:.6f}" for score in row]
                    rows.writerow(map(cell, (condition.name, *place, clip, *pair, *scores)))


def _draw(report: Report, directory: Path) -> None:
    from merclip.errors import MissingExtraError

    try:
        if report.confusion.ndim == 2:  # several labels at once are not taken for one another
            report.plot_confusion(directory / CONFUSION)
        report.plot_calibration(directory / CALIBRATION)
    except MissingExtraError as error:
        say("warning", f"no pictures were drawn. {error}")
