"""Peak memory, threads, and the start: each in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import alone, ours
from benchmarks.cases import Effort
from benchmarks.clips import clip
from benchmarks.machine import n_cores
from benchmarks.rounds import Case, Table

NOTHING, HELP, TORCH = "python, nothing", "merclip --help", "import torch"
IMPORT, FIRST = "import merclip", "first text prediction with mini"
PREDICT = "from merclip import EmotionClassifier as E; E(['happy', 'sad'])(text='What a day!')"


def memory(effort: Effort) -> Table:
    """Measure a process that loads a model and predicts one clip."""
    table = Table("memory", "Peak memory of a process that predicts one clip", "MiB")
    clips = {"5 s": clip(5), "60 s": clip(60)}
    if not effort.quick:
        clips["10 min"] = clip(600)
    models = [(ours.MINI, None), (ours.VIT, ours.fast()), (alone.PEER, None)]
    for model, dtype in models[:2] if effort.quick else models:
        name = alone.PEER if model == alone.PEER else ours.shown(model, dtype)
        cases = [
            Case(f"{length}, 720p", partial(alone.run, "memory", model, dtype, path),
                 own_clock=True, warm=False)
            for length, path in clips.items()
            if model != alone.PEER or length != "10 min"
        ]  # fmt: skip
        table.add(name, cases, effort.times(1))
    return table


def threads(effort: Effort) -> Table:
    """Measure one clip with 1 core, 2, 4 and so on up to all."""
    table = Table("threads", "One 5-second 720p clip, by cores", "s")
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= n_cores()]
    models = [(ours.MINI, None), (ours.VIT, ours.fast())]
    for model, dtype in models[:1] if effort.quick else models:
        cases = [
            Case(f"{n} core" + "s" * (n > 1),
                 partial(alone.run, "clips", model, dtype, clip(), cores=n),
                 own_clock=True, warm=False)
            for n in counts
        ]  # fmt: skip
        table.add(ours.shown(model, dtype), cases, effort.times(2))
    table.notes.append(f"Each figure is a median of {alone.N_CLIPS} clips in a new process.")
    return table


def start_up(effort: Effort) -> Table:
    """Measure processes from their start to their end."""
    table = Table("start-up", "From a cold process to its end")
    merclip = Path(sys.executable).with_name("merclip")
    help_ = [str(merclip)] if merclip.exists() else [sys.executable, "-m", "merclip"]
    commands: dict[str, Sequence[str]] = {
        TORCH: [sys.executable, "-c", "import torch"],
        FIRST: [sys.executable, "-c", PREDICT],
        HELP: [*help_, "--help"],
        IMPORT: [sys.executable, "-c", "import merclip"],
        NOTHING: [sys.executable, "-c", "pass"],
    }
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    cases = [Case(name, partial(run, command)) for name, command in commands.items()]
    table.add("processes", cases, effort.times(7, 2))
    return table
