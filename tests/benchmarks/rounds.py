"""Cases that take turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Case:
    """One way of doing a piece of work.

    Parameters
    ----------
    name : str
    run : callable
        Does the work once. With `own_clock` it returns its value, which is kept as it is.
    pieces : float
        Pieces of work in one run, such as clips; figures are for one of them.
    own_clock : bool
        Whether `run` measures itself, such as the memory of a process.
    warm : bool
        Whether it runs once before the first round, without being measured.
    """

    name: str
    run: Callable[[], Any]
    pieces: float = 1.0
    own_clock: bool = False
    warm: bool = True


@dataclass(frozen=True)
class Row:
    """What was measured of one case.

    Parameters
    ----------
    section : str
        Cases of one section took turns; ratios are to the first of them.
    case : str
    values : list of float
        One for each round, in the table's unit.
    cpu : list of float
        CPU seconds of all threads and child processes, round by round; empty where
        that says nothing.
    """

    section: str
    case: str
    values: list[float]
    cpu: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return median(self.values)

    def times(self, other: Row) -> float:
        """Return the median over rounds of how many times the other's value this one's is."""
        return median_ratio(self.values, other.values)


@dataclass
class Table:
    """Rows with one unit, of one or several sections.

    Parameters
    ----------
    name : str
        What ``--only`` takes.
    title : str
    unit : str
    rows : list of Row
    notes : list of str
        Sentences to print below.
    """

    name: str
    title: str
    unit: str = "s"
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, section: str, cases: Sequence[Case], rounds: int) -> None:
        """Measure cases in turns, and add a row for each."""
        self.rows += interleave(section, cases, rounds)

    def find(self, section: str, case: str) -> Row | None:
        """Return a row, or None where that case was not measured."""
        found = (row for row in self.rows if (row.section, row.case) == (section, case))
        return next(found, None)

    def ratios(self, row: Row) -> tuple[float, float | None]:
        """Return the ratios of values and of CPU seconds to the section's first case."""
        first = next(other for other in self.rows if other.section == row.section)
        cpu = median_ratio(row.cpu, first.cpu) if row.cpu and first.cpu else None
        return median_ratio(row.values, first.values), cpu


def median_ratio(values: Sequence[float], first: Sequence[float]) -> float:
    """Return the median over rounds of how many times `first` the values are."""
    pairs = zip(values, first, strict=True)
    return median(value / of if of else float("nan") for value, of in pairs)


def interleave(section: str, cases: Sequence[Case], rounds: int) -> list[Row]:
    """Run A B C A B C ... and return a row for each case."""
    for case in cases:
        if case.warm:
            say(f"  {section}: {case.name}, once to warm up")
            case.run()
    rows = [Row(section, case.name, []) for case in cases]
    for number in range(rounds):
        for case, row in zip(cases, rows, strict=True):
            value, cpu = measured(case)
            row.values.append(value)
            if not case.own_clock:
                row.cpu.append(cpu)
            say(f"  {section}: round {number + 1} of {rounds}, {case.name}: {value:.4g}")
    return rows


def measured(case: Case) -> tuple[float, float]:
    """Run a case once: its value, and CPU seconds, for one piece of work."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    result = case.run()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return (float(result) if case.own_clock else wall / case.pieces), cpu / case.pieces


def cpu_seconds() -> float:
    """Return CPU seconds of this process and of its children that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def say(line: str) -> None:
    """Print progress at once, also into a file."""
    print(line, flush=True)
