"""Steps of training, on encoded clips and of every encoder; and a whole few-shot fit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks import ours
from benchmarks.cases import Effort
from benchmarks.clips import FPS, LABELS, TEXT
from benchmarks.rounds import Case, Table
from merclip import Callback, Clip, EmotionClassifier, Features, Video

CLASSES = [*LABELS, "disgusted", "calm"]
SHOTS, EPOCHS = 16, 20
FEW_SHOT = "fit, 8 classes of 16 clips, 20 epochs"


class StepClock(Callback):
    """Note when each step of training ends."""

    def on_fit_begin(self, trainer: Any) -> None:
        """Forget earlier fits."""
        self.ends: list[float] = []

    def on_batch_end(self, trainer: Any, step: int, loss: float) -> None:
        """Look at the clock."""
        self.ends.append(time.perf_counter())

    def seconds(self) -> float:
        """Return the median time between two ends; the first step is none of them."""
        return median(np.diff(self.ends).tolist())


def training(effort: Effort) -> Table:
    """Measure steps of `tune="head"` on encoded clips, and of `tune="full"`."""
    table = Table("training", "One step of training", "s a step")
    head = [head_case(model) for model in (ours.MINI, ours.VIT)]
    table.add('tune="head", encoded clips, 16 in a batch', head, effort.times(3))
    full = [full_case(ours.MINI, 16)]
    if not effort.quick:
        full.append(full_case(ours.VIT, 2))
    table.add('tune="full"', full, effort.times(2))
    steps = [f"{row.section}: {row.case} {1 / row.median:.3g}" for row in table.rows]
    table.notes.append("Steps a second: " + "; ".join(steps) + ".")
    return table


def few_shot(effort: Effort) -> Table:
    """Measure a whole fit on encoded clips, and encoding them."""
    table = Table("few-shot", "Few-shot fit on encoded clips", "s")
    labels = CLASSES * SHOTS
    made = ours.classifier(ours.MINI, labels=CLASSES, epochs=EPOCHS, face="never")
    encoded = made.encode(spoken_clips(len(labels)))
    cases = [Case(f"{FEW_SHOT}, mini", lambda: made.fit(encoded, labels), warm=False)]
    table.add("fit after encoding", cases, effort.times(3))
    return table


def head_case(model: str) -> Case:
    """Return steps on encoded clips; the same few stand for many."""
    clock = StepClock()
    params: dict[str, Any] = {"epochs": 3, "validation": 0.0, "callbacks": [clock]}
    made = ours.classifier(model, labels=CLASSES, face="never", **params)
    few = made.encode(spoken_clips(8))
    return _case(model, made, clock, Features([*few] * 8, few.origin), CLASSES * 8)


def full_case(model: str, batch_size: int) -> Case:
    """Return steps of every encoder, each of `batch_size` clips."""
    clock = StepClock()
    params: dict[str, Any] = {"epochs": 1, "validation": 0.0, "callbacks": [clock]}
    made = ours.classifier(
        model, labels=CLASSES[:2], face="never", tune="full", batch_size=batch_size, **params
    )
    n_clips = 3 * batch_size
    name = f"{model}, {batch_size} in a batch"
    return _case(name, made, clock, spoken_clips(n_clips), (CLASSES[:2] * n_clips)[:n_clips])


def spoken_clips(n: int) -> list[Clip]:
    """Return clips of three seconds in memory, each a little different."""
    random = np.random.default_rng(0)
    clips = []
    for index in range(n):
        frames = random.integers(0, 256, (12, 96, 128, 3), dtype=np.uint8)
        tone = np.sin(np.arange(3 * 16000) * (0.05 + 0.01 * (index % 8)))
        sound = (0.3 * tone + 0.05 * random.normal(size=len(tone))).astype(np.float32)
        text = f"{TEXT} Number {index}."
        clips.append(Clip(video=Video(frames, fps=FPS), audio=(sound, 16000), text=text))
    return clips


def _case(name: str, made: EmotionClassifier, clock: StepClock, X: Any, y: Sequence[str]) -> Case:
    def run(fit: Any) -> float:
        fit()
        return clock.seconds()

    return Case(name, partial(run, partial(made.fit, X, list(y))), own_clock=True, warm=False)
