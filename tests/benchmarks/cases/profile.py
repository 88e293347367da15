"""Where the time of one clip goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import merclip.preprocess.sample
from benchmarks import ours
from benchmarks.cases import Effort
from benchmarks.clips import TEXT, clip
from benchmarks.rounds import Row, Table, say
from merclip import EmotionClassifier
from merclip.preprocess import FaceFinder

WHOLE, OTHER = "whole prediction", "other"
DECODING, FACES, PREPARING = "decode", "find faces", "prepare frames, sound and text"
TOWERS = {"V": "vision encoder", "A": "audio encoder", "L": "language encoder"}
FUSION = "fusion"
STAGES = (DECODING, FACES, PREPARING, *TOWERS.values(), FUSION)


class Stopwatch:
    """Sum up the wall time, and the CPU time of all threads, of parts of a program."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)

    def around(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same work, which adds its time to a stage."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds[stage] += time.perf_counter() - wall
                self.cpu[stage] += time.process_time() - cpu

        return timed


def profile(effort: Effort) -> Table:
    """Measure the stages of a prediction; ratios are shares of the whole."""
    table = Table("profile", "Where the time of one 5-second 720p clip goes")
    dtypes: dict[str, list[str | None]] = {
        ours.MINI: [None],
        ours.VIT: list(dict.fromkeys(["float32", ours.fast()])),
    }
    for model, kinds in dtypes.items():
        for dtype in kinds:
            table.rows += stages(ours.shown(model, dtype), ours.kept(model, dtype), effort)
    return table


def stages(section: str, classifier: EmotionClassifier, effort: Effort) -> list[Row]:
    """Return a row for the whole and for each stage."""
    predict = partial(classifier, video=clip(), text=TEXT)
    predict()
    rows = {name: Row(section, name, []) for name in (WHOLE, *STAGES, OTHER)}
    for _ in range(effort.times(7, 2)):
        watch = Stopwatch()
        with watched(classifier, watch):
            watch.around(WHOLE, predict)()
        for sums in (watch.seconds, watch.cpu):
            sums[OTHER] = sums[WHOLE] - sum(sums[stage] for stage in STAGES)
        for name, row in rows.items():
            row.values.append(watch.seconds[name])
            row.cpu.append(watch.cpu[name])
    say(f"  {section}: " + ", ".join(f"{name} {row.median:.3g}" for name, row in rows.items()))
    return list(rows.values())


@contextmanager
def watched(classifier: EmotionClassifier, watch: Stopwatch) -> Iterator[None]:
    """Time the stages of what runs inside."""
    network, sample = classifier.network_, merclip.preprocess.sample
    places: list[tuple[Any, str, str]] = [
        (sample, "read_media", DECODING),
        (FaceFinder, "crops", FACES),
        (sample, "frames_to_tensor", PREPARING),
        (sample, "sound_to_tensor", PREPARING),
        (sample, "tokenize", PREPARING),
        (network, "fuse", FUSION),
    ]
    with ExitStack() as stack:
        for owner, name, stage in places:
            timed = watch.around(stage, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, timed))
        # What runs may be copies of the network's encoders, so not they are watched.
        encode = network._encode_part
        by_letter = {letter: watch.around(name, encode) for letter, name in TOWERS.items()}
        towers = partial(_with_letter, by_letter)
        stack.enter_context(patch.object(network, "_encode_part", towers))
        yield


def _with_letter(works: Mapping[str, Callable[..., Any]], letter: str, *args: Any) -> Any:
    return works[letter](letter, *args)
