"""Short and long clips, small and large pictures."""

from __future__ import annotations

from functools import partial

from benchmarks import ours
from benchmarks.cases import Effort
from benchmarks.cases.clip import DECODE, PEER_B
from benchmarks.clips import HEIGHTS, LABELS, TEXT, clip
from benchmarks.floors import decode
from benchmarks.peers import HandBatched
from benchmarks.rounds import Case, Table

LENGTHS = {5: "5 s", 60: "60 s", 600: "10 min"}
ROUNDS = {5: 5, 60: 3, 600: 2}
LONGEST_FOR_PEER = 60


def lengths(effort: Effort) -> Table:
    """Measure clips of three lengths and three sizes."""
    table = Table("lengths", "Length and size of a clip, video, sound and text")
    peer = HandBatched(LABELS)
    for seconds in (5, 60) if effort.quick else LENGTHS:
        for height in (360,) if effort.quick else HEIGHTS:
            path = clip(seconds, height)
            cases = [Case(DECODE, partial(decode, path), warm=False)]
            for model, dtype in ((ours.MINI, None), (ours.VIT, ours.fast())):
                made = ours.kept(model, dtype)
                run = partial(made, video=path, text=TEXT)
                cases.append(Case(ours.shown(model, dtype), run, warm=False))
            if seconds <= LONGEST_FOR_PEER:
                cases.append(Case(PEER_B, partial(peer, path, TEXT), warm=False))
            table.add(f"{LENGTHS[seconds]}, {height}p", cases, effort.times(ROUNDS[seconds]))
    table.notes.append(
        "A key picture every ten seconds, as x264 sets them by default. To decode alone is "
        "to decode what twelve exact frames need, and all of the sound; merclip reads of a "
        "long sound only what it uses. The peer reads every frame, and is left out of ten "
        "minutes."
    )
    return table
