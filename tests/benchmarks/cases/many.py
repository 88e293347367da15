"""Many clips in one call, beside the floor of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

from benchmarks import ours
from benchmarks.cases import Effort
from benchmarks.cases.clip import DECODE, READ, floor, operations
from benchmarks.clips import TEXT, clip, folder
from benchmarks.floors import decode, product_cases
from benchmarks.rounds import Case, Table
from merclip.media import read_media

N_FILES = 8


def batches(effort: Effort) -> Table:
    """Measure calls with 1, 8 and 64 clips; figures are for one clip."""
    table = Table("batches", "5-second 720p clips in one call: time for each clip", "s a clip")
    paths = copies()
    sizes = (1, 8) if effort.quick else (1, 8, 64)
    for model, dtype, rounds in ((ours.VIT, ours.fast(), 3), (ours.MINI, None, 2)):
        name, made = ours.shown(model, dtype), ours.kept(model, dtype)
        cases = [case(made, paths, size) for size in sizes]
        cases.append(Case(DECODE, each(decode, paths), pieces=N_FILES))
        cases.append(Case(READ, each(read_media, paths), pieces=N_FILES))
        if model == ours.VIT:
            cases += product_cases(operations())
        table.add(name, cases, effort.times(rounds))
        if model == ours.VIT:
            table.rows.append(floor(table, name))
    return table


def case(made: Any, paths: list[Path], size: int) -> Case:
    """Return a call with so many clips; single clips are eight calls."""
    clips = [{"video": paths[i % N_FILES], "text": TEXT} for i in range(size)]
    if size == 1:
        singly = [{"video": path, "text": TEXT} for path in paths]
        return Case("1 clip", each(made, singly), pieces=N_FILES, warm=False)
    return Case(f"{size} clips", lambda: made(clips), pieces=size, warm=False)


def each(work: Callable[[Any], object], items: list[Any]) -> Callable[[], None]:
    """Return what does a piece of work for each item."""

    def run() -> None:
        for item in items:
            work(item)

    return run


def copies() -> list[Path]:
    """Return the same clip in several files: none can be kept from the other."""
    source = clip()
    paths = [folder() / f"{source.stem}-{i}.mp4" for i in range(N_FILES)]
    for path in paths:
        if not path.is_file():
            copyfile(source, path)
    return paths
