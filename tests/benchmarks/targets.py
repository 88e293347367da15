"""What was aimed at, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import ours
from benchmarks.cases.clip import FLOOR, PEER_A, PEER_A_SHORT, PEER_B, PEERS
from benchmarks.cases.processes import FIRST, HELP, TORCH
from benchmarks.cases.training import FEW_SHOT
from benchmarks.rounds import Row, Table

Tables = Mapping[str, Table]


@dataclass(frozen=True)
class Target:
    """One aim and what became of it.

    Parameters
    ----------
    what : str
    wanted, measured : float
    at_most : bool
        Whether `wanted` is an upper bound.
    unit : str
    """

    what: str
    wanted: float
    measured: float
    at_most: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether the aim was reached."""
        return (self.measured <= self.wanted) if self.at_most else (self.measured >= self.wanted)


def targets(tables: Tables) -> list[Target]:
    """Return the targets of which the tables have what is needed."""
    makers: tuple[Callable[[Tables], list[Target]], ...] = (
        _beside_peers,
        _labels,
        _memory,
        _batches,
        _few_shot,
        _start_up,
    )
    return [target for make in makers for target in make(tables)]


def _beside_peers(tables: Tables) -> list[Target]:
    found = []
    for dtype in ours.dtypes():
        name = ours.shown(ours.VIT, dtype)
        mine = _row(tables, "clip", PEERS, name)
        for peer, wanted in ((PEER_A, 8.0), (PEER_A_SHORT, 8.0), (PEER_B, 2.5)):
            other = _row(tables, "clip", PEERS, peer)
            if mine and other:
                what = f"{name}: how many times faster than {peer}"
                found.append(Target(what, wanted, other.times(mine), at_most=False))
        floor = _row(tables, "clip", PEERS, FLOOR)
        if mine and floor:
            found.append(Target(f"{name}: times {FLOOR}", 1.3, mine.times(floor)))
    return found


def _labels(tables: Tables) -> list[Target]:
    found = []
    for model, dtype in ((ours.VIT, ours.fast()), (ours.MINI, None)):
        name = ours.shown(model, dtype)
        whole = _row(tables, "labels", f"{name}, whole clip", "6 labels")
        many, few = (
            _row(tables, "labels", f"{name}, scoring and answer alone", case)
            for case in ("10,000 labels", "6 labels")
        )
        if whole and many and few:
            # The difference is far below what two whole clips differ by chance.
            share = (many.median - few.median) / whole.median
            what = f"{name}: what 10,000 encoded labels cost more than 6, of a whole clip"
            found.append(Target(what, 5.0, 100 * share, unit="%"))
    return found


def _memory(tables: Tables) -> list[Target]:
    found = []
    for model, dtype in ((ours.MINI, None), (ours.VIT, ours.fast())):
        name = ours.shown(model, dtype)
        long, short = (_row(tables, "memory", name, f"{n}, 720p") for n in ("10 min", "5 s"))
        if long and short:
            what = f"{name}: peak memory of 10 minutes, times that of 5 seconds"
            found.append(Target(what, 1.3, long.times(short)))
    return found


def _batches(tables: Tables) -> list[Target]:
    name = ours.shown(ours.VIT, ours.fast())
    many, floor = (_row(tables, "batches", name, case) for case in ("64 clips", FLOOR))
    if not (many and floor):
        return []
    what = f"{name}: a clip of a batch of 64, times its floor"
    return [Target(what, 1.15, many.times(floor))]


def _few_shot(tables: Tables) -> list[Target]:
    row = _row(tables, "few-shot", "fit after encoding", f"{FEW_SHOT}, mini")
    return [Target(f"mini: {FEW_SHOT}, encoded", 10.0, row.median, unit="s")] if row else []


def _start_up(tables: Tables) -> list[Target]:
    rows = [_row(tables, "start-up", "processes", name) for name in (HELP, FIRST, TORCH)]
    if not all(rows):
        return []
    help_, first, torch = (row.median for row in rows if row)
    return [
        Target(HELP, 0.1, help_, unit="s"),
        Target(f"{FIRST}, cold; wanted is 1.3 x ({TORCH}) + 0.5 s", 1.3 * torch + 0.5, first,
               unit="s"),
    ]  # fmt: skip


def _row(tables: Tables, table: str, section: str, case: str) -> Row | None:
    return tables[table].find(section, case) if table in tables else None
