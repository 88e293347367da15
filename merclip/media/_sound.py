"""The sound of a file as mono samples, cut on the file's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import gcd
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.resampler import AudioResampler

from merclip.errors import DecodeError
from merclip.media._blocks import block_spans
from merclip.media._scan import Track, UnexpectedFrame, frames_of, packets_of
from merclip.media._source import Source
from merclip.types import FloatArray

if TYPE_CHECKING:
    from av.container import InputContainer

_LARGEST_GAP = 0.05
"""Seconds; times that jump by more begin a new run, less is rounding or jitter."""
_RUN_UP = 1.0
"""Seconds decoded before the start, as codecs need earlier packets to settle."""
_RATES = (1_000, 1_000_000)
_LEAST_PITCH = 1.5
"""Blocks further apart than so many times their length and run-up are sought one by one;
below, reading on takes no longer."""


@dataclass(frozen=True)
class Samples:
    """Mono sound, how long it was before blocks were chosen, and its NaNs."""

    samples: FloatArray
    seconds: float
    n_not_finite: int


def read_sound(
    source: Source,
    track: Track,
    *,
    start: float,
    end: float,
    rate: int,
    block: float,
    max_blocks: int | None,
) -> Samples | None:
    """Return the sound of [start, end), or None if there is none."""
    expected = round(_expected_seconds(track, start, end) * rate)
    spans = block_spans(expected, rate=rate, block=block, max_blocks=max_blocks)
    samples = None
    if spans is not None and _are_far_apart(spans, expected, rate) and _is_gapless(track):
        samples = _read_far_blocks(source, track, start, end, rate, spans)
    n_samples = expected
    if samples is None:
        cut = _read_on(source, track, start, end, rate, spans)
        samples, n_samples = cut.samples(), cut.n_samples if spans is None else expected
    if len(samples) == 0:
        return None
    bad = ~np.isfinite(samples)
    samples[bad] = 0
    return Samples(samples, n_samples / rate, int(np.count_nonzero(bad)))


def _expected_seconds(track: Track, start: float, end: float) -> float:
    known = [(p, d) for p, d in zip(track.pts, track.durations, strict=True) if p is not None]
    if not known:
        return 0.0
    begins = track.times([p for p, _ in known])
    ends = track.times([p + d for p, d in known])
    if not np.any(ends > begins):
        begins, ends = begins[:1], begins[-1:]
    return float(np.clip(np.minimum(ends, end) - np.maximum(begins, start), 0, None).sum())


def _read_on(
    source: Source,
    track: Track,
    start: float,
    end: float,
    rate: int,
    spans: list[tuple[int, int]] | None,
) -> _Cut:
    """Decode everything from the start to the last block."""
    if start > 2 * _RUN_UP:
        cut = _Cut(start, end, rate, spans)
        try:
            with _opened(source, track) as (container, stream):
                frames = _after_seek(container, stream, track, start, source.name)
                _fill(cut, frames, track, source.name)
            return cut
        except UnexpectedFrame:
            pass
    cut = _Cut(start, end, rate, spans)
    with _opened(source, track) as (container, stream):
        frames = frames_of(packets_of(container, stream), track, source.name)
        _fill(cut, frames, track, source.name)
    return cut


@contextmanager
def _opened(source: Source, track: Track) -> Iterator[tuple[InputContainer, Any]]:
    with source.container() as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "AUTO"
        yield container, stream


def _fill(cut: _Cut, frames: Iterator[Any], track: Track, name: str) -> None:
    for frame in frames:
        _check_rate(frame, name)
        cut.add(frame, _time_of(frame, track))
        if cut.is_done:
            break


def _are_far_apart(spans: list[tuple[int, int]], n_samples: int, rate: int) -> bool:
    first, stop = spans[0]
    return n_samples / len(spans) > _LEAST_PITCH * (stop - first + _RUN_UP * rate)


def _is_gapless(track: Track) -> bool:
    """Tell whether the time of each packet is surely how much sound lies before it.

    Only then is a block's place in the sound, without what is missing of it, a time.
    """
    if None in track.pts or None in track.places:
        return False
    pts = np.asarray(track.pts, np.int64)
    durations = np.asarray(track.durations, np.int64)
    follows = np.all(pts[1:] == pts[:-1] + durations[:-1])
    # MP4 tells in place of a packet's own length when the next one begins.
    return bool(follows and np.all(durations[1:-1] == durations[1]))


def _read_far_blocks(
    source: Source, track: Track, start: float, end: float, rate: int, spans: list[tuple[int, int]]
) -> FloatArray | None:
    """Seek to each block and decode it alone; None where that may give other samples."""
    pieces = []
    try:
        with _opened(source, track) as (container, stream):
            if track.time_base * stream.codec_context.sample_rate > 1:
                return None  # times are rounded by more than a sample
            begin = _first_time(container, stream, track, source.name)
            origin = round(max(start, begin) * rate)
            for first, stop in spans:
                # The resampler gives its last samples right only where sound goes on.
                until = min(end, (origin + stop) / rate + 2 * _LARGEST_GAP)
                cut = _Cut((origin + first) / rate, until, rate, None)
                frames = _after_seek(container, stream, track, cut.start, source.name)
                _fill(cut, frames, track, source.name)
                pieces.append(cut.samples()[: stop - first])
                goes_on = until < min(end, track.end) - _LARGEST_GAP
                if track.failed or (goes_on and len(pieces[-1]) < stop - first):
                    return None
    except UnexpectedFrame:
        return None
    return np.concatenate(pieces)


def _first_time(container: InputContainer, stream: Any, track: Track, name: str) -> float:
    frames = frames_of(packets_of(container, stream), track, name)
    time = next((_time_of(frame, track) for frame in frames), None)
    if time is None:
        raise UnexpectedFrame
    return time


def _time_of(frame: Any, track: Track) -> float | None:
    if frame.pts is None:
        return None
    return float(track.times(frame.pts))


def _after_seek(
    container: InputContainer, stream: Any, track: Track, start: float, name: str
) -> Iterator[Any]:
    """Yield frames from a little before a time on, surely those that the packets promised."""
    goal = start - _RUN_UP
    ticks = round((goal + track.origin) / track.time_base)
    before = [stamp for stamp in track.pts if stamp is not None and stamp <= ticks]
    try:
        # Where any sample can be sought, as in WAV, it must be one with which a packet begins.
        container.seek(max(before, default=ticks), stream=stream)
    except av.FFmpegError:
        raise UnexpectedFrame from None
    packets = packets_of(container, stream)
    packet = next((packet for packet in packets if packet.size), None)
    # Times may be guessed from a place and the bit rate; the place itself is not.
    if packet is None or packet.pts not in track.pts:
        raise UnexpectedFrame
    if packet.pos != track.places[track.pts.index(packet.pts)]:
        raise UnexpectedFrame
    frames = frames_of(chain([packet], packets), track, name)
    first = next(frames, None)
    if first is None or first.pts not in track.pts:
        raise UnexpectedFrame
    if float(track.times(first.pts)) > max(goal + 0.5, float(track.times(track.pts[0]))):
        raise UnexpectedFrame
    yield first
    yield from frames


class _Cut:
    """Collects the samples of a span from frames that come in order."""

    def __init__(
        self, start: float, end: float, rate: int, spans: list[tuple[int, int]] | None
    ) -> None:
        self.start = start
        self._end = end
        self._rate = rate
        self._keep = _Keep(spans)
        self._run: _Run | None = None
        self._ended = False

    @property
    def is_done(self) -> bool:
        """Tell whether no later frame can add anything."""
        return self._ended or self._keep.is_full

    def add(self, frame: Any, time: float | None) -> None:
        """Take the next frame, which begins at `time` as far as that is known."""
        if self._run is not None and not self._run.continues(frame, time):
            self._close_run()
        begin = self._run.clock if self._run is not None else time or 0.0
        if begin >= self._end:
            self._ended = True
        elif self._run is not None or begin + frame.samples / frame.sample_rate > self._warm_start:
            self._run = self._run or _Run(begin, frame, self.start, self._end, self._rate)
            self._keep.add(self._run.push(frame))

    @property
    def _warm_start(self) -> float:
        return self.start - 2 * _LARGEST_GAP

    def _close_run(self) -> None:
        if self._run is not None:
            self._keep.add(self._run.flush())
        self._run = None

    @property
    def n_samples(self) -> int:
        """Number of samples that lay in the span so far, kept or not."""
        return self._keep.n_seen

    def samples(self) -> FloatArray:
        """Return what was kept; call it once, at the end."""
        self._close_run()
        return self._keep.samples()


def _check_rate(frame: Any, name: str) -> None:
    low, high = _RATES
    if not low <= frame.sample_rate <= high:
        raise DecodeError(
            f"The sound of {name!r} claims {frame.sample_rate} samples per second, "
            f"{low} to {high} can be read: convert it first."
        )


class _Run:
    """Frames without a gap, of one format, through one resampler."""

    def __init__(self, begin: float, frame: Any, start: float, end: float, rate: int) -> None:
        self.clock = begin
        self._format = _format_of(frame)
        self._gain = mono_gain(frame.layout.name)
        self._resampler = AudioResampler(format="fltp", layout="mono", rate=rate)
        # Silence in front lets every run begin where samples of both rates
        # coincide, so that a sound read from its middle has the same samples.
        pad = _samples_to_pad(frame, begin, rate)
        origin = begin - pad / frame.sample_rate
        self._first = max(0, round((max(start, begin) - origin) * rate))
        self._stop = round((end - origin) * rate) if end < float("inf") else None
        self._position = 0
        if pad:
            self._cut(self._resampler.resample(_silence_like(frame, pad)))

    def continues(self, frame: Any, time: float | None) -> bool:
        """Tell whether a frame follows upon the ones before it."""
        if _format_of(frame) != self._format:
            return False
        return time is None or abs(time - self.clock) <= _LARGEST_GAP

    def push(self, frame: Any) -> FloatArray:
        """Take one frame; return the samples of the span that came out."""
        self.clock += frame.samples / frame.sample_rate
        # The resampler would demand gapless times, which are counted here instead.
        frame.pts = None
        return self._cut(self._resampler.resample(frame))

    def flush(self) -> FloatArray:
        """Return the samples that the resampler still holds."""
        return self._cut(self._resampler.resample(None))

    def _cut(self, frames: list[Any]) -> FloatArray:
        pieces = [frame.to_ndarray()[0] for frame in frames if frame is not None]
        if not pieces:
            return np.zeros(0, np.float32)
        # NaN and infinity are counted and set to 0 at the end.
        with np.errstate(invalid="ignore", over="ignore"):
            piece = np.concatenate(pieces).astype(np.float32) * np.float32(self._gain)
        begin, self._position = self._position, self._position + len(piece)
        stop = len(piece) if self._stop is None else max(self._stop - begin, 0)
        return np.asarray(piece[max(self._first - begin, 0) : stop])


def _samples_to_pad(frame: Any, begin: float, rate: int) -> int:
    # PyAV mishandles frames of eight planes and more.
    if frame.format.is_planar and len(frame.layout.channels) >= 8:
        return 0
    rate_in = int(frame.sample_rate)
    return round(begin * rate_in) % (rate_in // gcd(rate_in, rate))


def _silence_like(frame: Any, n_samples: int) -> Any:
    data = frame.to_ndarray()
    shape = (data.shape[0], data.shape[1] // frame.samples * n_samples)
    silence = np.full(shape, 128 if data.dtype == np.uint8 else 0, data.dtype)
    made = av.AudioFrame.from_ndarray(silence, frame.format.name, frame.layout.name)
    made.sample_rate = frame.sample_rate
    made.time_base = frame.time_base
    return made


def _format_of(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


@lru_cache(maxsize=64)
def mono_gain(layout: str) -> float:
    """Return what keeps a down-mix of full-scale channels within full scale.

    FFmpeg does so by itself for integer samples only.
    """
    resampler = AudioResampler(format="fltp", layout="mono", rate=16000)
    n_channels = len(av.AudioLayout(layout).channels)
    ones = np.ones((1, n_channels * 64), np.float32)
    frame = av.AudioFrame.from_ndarray(ones, "flt", layout)
    frame.sample_rate = 16000
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    peak = max(float(np.abs(frame.to_ndarray()).max()) for frame in frames if frame is not None)
    return 1 / max(peak, 1.0)


class _Keep:
    """Keeps the chosen blocks of samples that come in pieces."""

    def __init__(self, spans: list[tuple[int, int]] | None) -> None:
        self._spans = spans
        self._next = 0
        self._pieces: list[FloatArray] = []
        self.n_seen = 0

    @property
    def is_full(self) -> bool:
        """Tell whether every chosen block is complete."""
        return self._spans is not None and self._next == len(self._spans)

    def add(self, piece: FloatArray) -> None:
        """Take the next samples."""
        begin, self.n_seen = self.n_seen, self.n_seen + len(piece)
        if self._spans is None:
            self._pieces.append(piece)
            return
        while self._next < len(self._spans):
            first, stop = self._spans[self._next]
            part = piece[max(first - begin, 0) : max(stop - begin, 0)]
            if len(part):
                self._pieces.append(part.copy())
            if stop > self.n_seen:
                return
            self._next += 1

    def samples(self) -> FloatArray:
        """Return what was kept."""
        if not self._pieces:
            return np.zeros(0, np.float32)
        return np.ascontiguousarray(np.concatenate(self._pieces), np.float32)
