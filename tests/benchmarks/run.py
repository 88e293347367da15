"""Measure merclip beside its peers and beside what the machine can do. Run by hand.

    python tests/benchmarks/run.py [--quick] [--only NAME ...] [--rounds N] [--out FOLDER]

Prints tables as they come, and writes results.json, report.md and report.png into FOLDER
after each of them. With --only, tables that FOLDER has already are kept. A table that fails
does not take the others with it. Needs the extra `bench`; docs/speed.md says how to read it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests are not installed

from benchmarks import report  # noqa: E402
from benchmarks.cases import Effort, tables  # noqa: E402
from benchmarks.clips import folder  # noqa: E402
from benchmarks.machine import describe  # noqa: E402
from benchmarks.plot import PICTURE, draw  # noqa: E402
from benchmarks.rounds import Table, say  # noqa: E402
from benchmarks.targets import targets  # noqa: E402


def main() -> None:
    """Measure what the command line asks for; the exit status is 1 if a table failed."""
    names = list(tables())
    arguments = parse(names)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # peers tell of random weights
    machine = describe()
    say(report.machine_table(machine))
    done = report.read(arguments.out) if arguments.only else {}
    failed = measure(arguments, machine, done)
    say(f"\n{report.target_table(targets(done))}\n\nSee {arguments.out}.")
    if arguments.page and not failed:
        fill_page(arguments.page, report.markdown(machine, done), done)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}.")


def measure(
    arguments: argparse.Namespace, machine: dict[str, Any], done: dict[str, Table]
) -> list[str]:
    """Measure table by table into `done`, written as it grows; return those that failed."""
    known = tables()
    names = arguments.only or list(known)
    effort = Effort(arguments.quick, arguments.rounds)
    begin, failed = time.perf_counter(), []
    for number, name in enumerate(names, start=1):
        minutes = (time.perf_counter() - begin) / 60
        say(f"\n[{number}/{len(names)}] {name}, {minutes:.1f} min so far")
        try:
            table = known[name](effort)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        found = {**done, name: table}
        done.clear()
        done.update({other: found[other] for other in known if other in found})
        say(f"\n{table.title}\n\n{report.table_of(table)}")
        report.write(arguments.out, machine, done)
        draw(arguments.out / PICTURE, done)
    return failed


def parse(names: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few rounds of the cheapest cases")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help="in place of each table's own number")
    parser.add_argument("--out", type=Path, default=folder() / "results")
    parser.add_argument("--page", type=Path, help="put the report into this page (docs/speed.md)")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error(f"--rounds is at least 1, got {arguments.rounds}")
    return arguments


def fill_page(page: Path, text: str, found: dict[str, Table]) -> None:
    """Put the report into a page, and its picture beside the page's others."""
    picture = page.parent / "pictures" / "speed.png"
    draw(picture, found)
    report.fill(page, f"{text}\n![Every case of the tables](pictures/{picture.name})")


if __name__ == "__main__":
    main()
