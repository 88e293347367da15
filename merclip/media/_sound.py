"""The sound of a file as mono samples, cut on the file's own clock."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import numpy as np
from av.audio.resampler import AudioResampler

from merclip.errors import DecodeError
from merclip.media._blocks import block_spans
from merclip.media._scan import Track, UnexpectedFrame, frames_of, packets_of
from merclip.media._source import Source
from merclip.types import MAX_RATE, MIN_RATE, FloatArray, mixed

if TYPE_CHECKING:
    from av.container import InputContainer

_LARGEST_GAP = 0.05
"""Seconds; times that jump by more begin a new run, less is rounding or jitter."""
_RUN_UP = 1.0
"""Seconds decoded before the start, as codecs need earlier packets to settle."""
_LONGEST_PERIOD = 1000
"""Samples; rates whose samples coincide less often are taken to do so everywhere."""
_MOST_FORMATS = 100
"""Of one sound: for each of them a filter is made."""
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
    if samples.size == 0:
        return None
    bad = ~np.isfinite(samples)
    samples[bad] = 0
    return Samples(mixed(samples), n_samples / rate, int(np.count_nonzero(bad.any(axis=0))))


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
        cut = _Cut(start, end, rate, spans, source.name)
        try:
            with _opened(source, track) as (container, stream):
                frames = _after_seek(container, stream, track, start, source.name)
                _fill(cut, frames, track, source.name)
            return cut
        except UnexpectedFrame:
            pass
    cut = _Cut(start, end, rate, spans, source.name)
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
                cut = _Cut((origin + first) / rate, until, rate, None, source.name)
                frames = _after_seek(container, stream, track, cut.start, source.name)
                _fill(cut, frames, track, source.name)
                pieces.append(cut.samples()[:, : stop - first])
                goes_on = until < min(end, track.end) - _LARGEST_GAP
                if track.failed or (goes_on and pieces[-1].shape[1] < stop - first):
                    return None
    except UnexpectedFrame:
        return None
    return _joined(pieces)


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
        self, start: float, end: float, rate: int, spans: list[tuple[int, int]] | None, name: str
    ) -> None:
        self.start = start
        self._end = end
        self._rate = rate
        self._name = name
        self._keep = _Keep(spans)
        self._run: _Run | None = None
        self._n_runs = 0
        self._ended = False

    @property
    def is_done(self) -> bool:
        """Tell whether no later frame can add anything."""
        return self._ended or self._keep.is_full

    def add(self, frame: Any, time: float | None) -> None:
        """Take the next frame, which begins at `time` as far as that is known."""
        if self._run is not None and not self._run.takes(frame):
            self._close_run()
        clock = self._run.clock if self._run is not None else 0.0
        jumps = time is not None and abs(time - clock) > _LARGEST_GAP
        begin = time if time is not None and (jumps or self._run is None) else clock
        if begin >= self._end:
            self._ended = True
        elif self._run is not None or begin + frame.samples / frame.sample_rate > self._warm_start:
            run = self._run or self._new_run(frame)
            if jumps or self._run is None:
                self._keep.add(run.jump(frame, begin))
            self._keep.add(run.push(frame))
            self._run = run

    @property
    def _warm_start(self) -> float:
        return self.start - 2 * _LARGEST_GAP

    def _new_run(self, frame: Any) -> _Run:
        self._n_runs += 1
        if self._n_runs > _MOST_FORMATS:
            raise DecodeError(
                f"The sound of {self._name!r} changes its rate or its channels more than "
                f"{_MOST_FORMATS} times: convert it first."
            )
        return _Run(frame, self.start, self._end, self._rate)

    def _close_run(self) -> None:
        if self._run is not None:
            self._keep.add(self._run.flush())
        self._run = None

    @property
    def n_samples(self) -> int:
        """Number of samples that lay in the span so far, kept or not."""
        return self._keep.n_seen

    def samples(self) -> FloatArray:
        """Return what was kept, of shape (channels, n); call it once, at the end."""
        self._close_run()
        return self._keep.samples()


def _check_rate(frame: Any, name: str) -> None:
    if not MIN_RATE <= frame.sample_rate <= MAX_RATE:
        raise DecodeError(
            f"The sound of {name!r} claims {frame.sample_rate} samples per second, "
            f"{MIN_RATE} to {MAX_RATE} can be read: convert it first."
        )


class _Run:
    """Frames of one format through one resampler, which costs more to make than to use."""

    def __init__(self, frame: Any, start: float, end: float, rate: int) -> None:
        self.clock = 0.0
        self._start, self._end, self._rate = start, end, rate
        self._format = _format_of(frame)
        mono = frame.layout.nb_channels == 1
        # Channels that cancel are known only when all of them are there.
        layout = "mono" if mono else "stereo"
        self._gain = 1.0 if mono else stereo_gain(frame.layout.name)
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
        self._n_in = self._n_out = 0
        self._wanted: list[tuple[int, int]] = []

    def takes(self, frame: Any) -> bool:
        """Tell whether a frame is of the format of those before it."""
        return _format_of(frame) == self._format

    def jump(self, frame: Any, time: float) -> FloatArray:
        """Let the next frame begin at a time; return samples that came out."""
        if self._wanted:
            first, stop = self._wanted.pop()
            self._wanted.append((first, min(stop, self._place(0))))
        # Silence between them lets frames begin where samples of both rates
        # coincide, so that a sound read from its middle has the same samples.
        pad = _samples_to_pad(frame, round(time * frame.sample_rate) - self._n_in, self._rate)
        self._n_in += pad
        self.clock = time
        stop = self._place(self._end - time) if self._end < float("inf") else sys.maxsize
        self._wanted.append((self._place(max(self._start - time, 0)), stop))
        return self._cut(self._resampler.resample(_silence_like(frame, pad)) if pad else [])

    def push(self, frame: Any) -> FloatArray:
        """Take one frame; return the samples of the span that came out."""
        self.clock += frame.samples / frame.sample_rate
        self._n_in += frame.samples
        # The resampler would demand gapless times, which are counted here instead.
        frame.pts = None
        return self._cut(self._resampler.resample(frame))

    def flush(self) -> FloatArray:
        """Return the samples that the resampler still holds."""
        return self._cut(self._resampler.resample(None))

    def _place(self, seconds: float) -> int:
        """Return which sample comes out so long after those that went in."""
        return round((self._n_in / self._format.rate + seconds) * self._rate)

    def _cut(self, frames: list[Any]) -> FloatArray:
        pieces = [frame.to_ndarray() for frame in frames if frame is not None]
        if not pieces:
            return np.zeros((1, 0), np.float32)
        # NaN and infinity are counted and set to 0 at the end.
        with np.errstate(invalid="ignore", over="ignore"):
            piece = np.concatenate(pieces, axis=1).astype(np.float32) * np.float32(self._gain)
        begin, self._n_out = self._n_out, self._n_out + piece.shape[1]
        parts = [piece[:, max(a - begin, 0) : max(b - begin, 0)] for a, b in self._wanted]
        self._wanted = [(a, b) for a, b in self._wanted if b > self._n_out]
        return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(pieces: list[FloatArray]) -> FloatArray:
    """Return pieces of one or two channels, one after another."""
    n_channels = max((len(piece) for piece in pieces), default=1)
    alike = [np.broadcast_to(piece, (n_channels, piece.shape[1])) for piece in pieces]
    return np.concatenate([np.zeros((n_channels, 0), np.float32), *alike], axis=1)


def _samples_to_pad(frame: Any, ahead: int, rate: int) -> int:
    # PyAV mishandles frames of eight planes and more.
    if frame.format.is_planar and len(frame.layout.channels) >= 8:
        return 0
    rate_in = int(frame.sample_rate)
    period = rate_in // gcd(rate_in, rate)
    return ahead % period if period <= _LONGEST_PERIOD else 0


def _silence_like(frame: Any, n_samples: int) -> Any:
    data = frame.to_ndarray()
    shape = (data.shape[0], data.shape[1] // frame.samples * n_samples)
    silence = np.full(shape, 128 if data.dtype == np.uint8 else 0, data.dtype)
    made = av.AudioFrame.from_ndarray(silence, frame.format.name, frame.layout.name)
    made.sample_rate = frame.sample_rate
    made.time_base = frame.time_base
    return made


class _Format(NamedTuple):
    kind: str
    layout: str
    rate: int


def _format_of(frame: Any) -> _Format:
    return _Format(frame.format.name, frame.layout.name, frame.sample_rate)


@lru_cache(maxsize=64)
def stereo_gain(layout: str) -> float:
    """Return what keeps a down-mix of full-scale channels within full scale.

    FFmpeg does so by itself for integer samples only.
    """
    resampler = AudioResampler(format="fltp", layout="stereo", rate=16000)
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
        """Take the next samples, of shape (channels, n)."""
        begin, self.n_seen = self.n_seen, self.n_seen + piece.shape[1]
        if self._spans is None:
            self._pieces.append(piece)
            return
        while self._next < len(self._spans):
            first, stop = self._spans[self._next]
            part = piece[:, max(first - begin, 0) : max(stop - begin, 0)]
            if part.size:
                self._pieces.append(part.copy())
            if stop > self.n_seen:
                return
            self._next += 1

    def samples(self) -> FloatArray:
        """Return what was kept."""
        return _joined(self._pieces)
