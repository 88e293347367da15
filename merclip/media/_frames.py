"""Frames of a video file: exact by their times, decoding no more than needed."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Set
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.frame import PictureType

from merclip.media._choose import Positions, choose_frames
from merclip.media._limits import MAX_DECODER_BYTES, MAX_PIXELS, check_size
from merclip.media._pixels import Look, to_rgb
from merclip.media._scan import (
    Times,
    Track,
    UnexpectedFrame,
    frames_of,
    packets_of,
)
from merclip.media._source import Source
from merclip.types import ByteArray

if TYPE_CHECKING:
    from av.container import InputContainer

_SMALLEST_SKIP = 12
"""Frames; below this, decoding on is cheaper than a seek, which empties the decoder."""
_MOST_THREADS = 16
"""As FFmpeg itself has at most."""
FARTHEST = 0.5
"""Seconds that a frame may be from the one that it stands for, where speed counts more."""


@dataclass(frozen=True)
class Pictures:
    """Chosen frames, their times, and the length of the span that they stand for."""

    frames: ByteArray
    times: Times
    seconds: float


def read_frames(
    source: Source, track: Track, *, start: float, end: float, n_frames: int, fast: bool = False
) -> Pictures | None:
    """Return the frames of [start, end), or None if nothing is shown there.

    With `fast` a key frame stands for a frame that is near to it in time.
    """
    span = _Span(start, end, n_frames, fast)
    order = _promised_order(track)
    if order is not None:
        for way in [span, replace(span, fast=False)] if fast else [span]:
            try:
                return _read_promised(source, track, order, way)
            except UnexpectedFrame:
                pass
    return _read_everything(source, track, span)


@dataclass(frozen=True)
class _Span:
    start: float
    end: float
    n_frames: int
    fast: bool = False

    def choose(self, times: Times, last_end: float) -> Positions:
        return choose_frames(
            times, last_end, start=self.start, end=self.end, n_frames=self.n_frames
        )

    def seconds(self, times: Times, last_end: float) -> float:
        return min(self.end, last_end) - max(self.start, float(times[0]))

    def nearby(self, positions: Positions, keys: Positions, times: Times) -> Positions:
        """Return positions with key frames where one is so near that it stands for no other."""
        between = np.count_nonzero((keys >= positions[0]) & (keys <= positions[-1]))
        # With fewer, most frames have none near, and going to those that do saves nothing.
        if not self.fast or between < len(positions) or len(positions) < 2:
            return positions
        begins = times[positions]
        reach = min(FARTHEST, float(np.diff(begins).min()) / 2)
        after = np.searchsorted(keys, positions)
        either = keys[np.stack([np.maximum(after - 1, 0), np.minimum(after, len(keys) - 1)])]
        distances = np.abs(times[either] - begins)
        nearest = either[distances.argmin(0), np.arange(len(positions))]
        in_span = (times[nearest] >= self.start) & (times[nearest] < self.end)
        return np.where(in_span & (distances.min(0) < reach), nearest, positions)


def _promised_order(track: Track) -> list[int] | None:
    """Return the times of all frames in ticks, ascending; None if packets leave doubt."""
    pts = [stamp for stamp in track.pts if stamp is not None]
    if not pts or len(pts) < len(track.pts) or len(set(pts)) < len(pts):
        return None
    # Frames before the first key frame may lack what they refer to.
    if not track.keys[0] or min(pts) < pts[0]:
        return None
    return sorted(pts)


def _read_promised(source: Source, track: Track, order: list[int], span: _Span) -> Pictures | None:
    times, last_end = track.times(order), _last_end(track, order)
    positions = span.choose(times, last_end)
    if len(positions) == 0:
        return None
    keys = _key_positions(track, order)
    asked, positions = positions, span.nearby(positions, keys, times)
    moved = not np.array_equal(asked, positions)
    with source.container() as container:
        wanted = {order[position] for position in positions}
        kept = _Kept(len(positions), track.look)
        with closing(_Reader(container, track, order, keys, wanted, source.name)) as reader:
            for index, position in enumerate(positions):
                if index and position == positions[index - 1]:
                    kept.repeat()
                else:
                    kept.add(reader.frame_at(int(position), alone=moved))
    return Pictures(kept.frames(), times[positions], span.seconds(times, last_end))


def _key_positions(track: Track, order: list[int]) -> Positions:
    stamps = [p for p, is_key in zip(track.pts, track.keys, strict=True) if is_key]
    return np.searchsorted(order, sorted(stamp for stamp in stamps if stamp is not None))


class _Kept:
    """Pictures of one size, in one array from the first on: they may be large."""

    def __init__(self, n_frames: int, look: Look) -> None:
        self._n_frames = n_frames
        self._look = look
        self._n_kept = 0
        self._frames: ByteArray | None = None

    def add(self, frame: Any) -> None:
        """Take a decoded frame."""
        if self._frames is None:
            picture = to_rgb(frame, self._look, n_frames=self._n_frames)
            self._frames = np.empty((self._n_frames, *picture.shape), np.uint8)
        else:
            picture = to_rgb(frame, self._look, self._frames.shape[1:])
        self._frames[self._n_kept] = picture
        self._n_kept += 1

    def repeat(self) -> None:
        """Take the last one again."""
        assert self._frames is not None
        self._frames[self._n_kept] = self._frames[self._n_kept - 1]
        self._n_kept += 1

    def frames(self) -> ByteArray:
        """Return those that were taken."""
        assert self._frames is not None
        return self._frames[: self._n_kept]


def _last_end(track: Track, stamps: list[int]) -> float:
    last = stamps[-1]
    duration = next((d for p, d in zip(track.pts, track.durations, strict=True) if p == last), 0)
    if duration > 0:
        return float(track.times(last + duration))
    interval = track.seconds(last - stamps[-2]) if len(stamps) > 1 else track.interval
    return float(track.times(last)) + (interval if interval > 0 else track.interval)


class _Reader:
    """Goes forward through a video, frame by frame or by key frames.

    Every frame that comes out must be the one that the packets promised, else
    `UnexpectedFrame` is raised: after a seek nothing but its time tells which
    frame it is. Only frames that the decoder was allowed to drop may be missing.
    """

    def __init__(
        self,
        container: InputContainer,
        track: Track,
        order: list[int],
        keys: Positions,
        wanted: Set[int],
        name: str,
    ) -> None:
        self._container = container
        self._stream = _video_stream(container, track)
        self._track = track
        self._name = name
        self._order = order
        self._wanted = wanted
        # Of a codec without references no frame is decoded that is not wanted.
        self._alone = track.look.alone
        self._may_drop = self._alone or _may_drop(self._stream, track)
        self._position_of = {stamp: position for position, stamp in enumerate(order)}
        self._decoding_index = {stamp: i for i, stamp in enumerate(track.pts)}
        self._keys = keys.tolist()
        self._position = -1
        self._is_drained = False
        self._frames = self._decoded(packets_of(container, self._stream))

    def close(self) -> None:
        """Let go of the decoder and its threads, which a cycle would keep for a while."""
        self._frames.close()

    def frame_at(self, position: int, alone: bool = False) -> Any:
        """Return the frame at a position beyond the present one.

        With `alone` nothing that follows upon a key frame is decoded with it, so that
        the next frame needs a seek.
        """
        key = self._keys[bisect_right(self._keys, position) - 1]
        if self._is_drained or key > self._position + _SMALLEST_SKIP:
            if alone and key == position:
                return self._key_frame(key)
            return self._frame_after_seek(key, position)
        return self._advance(position)

    def _key_frame(self, key: int) -> Any:
        packets = self._packets_from(self._order[key])
        # The decoder's threads wait for more packets, unless they are told that none come.
        frames = [*self._decoded(islice(packets, 1)), *self._stream.codec_context.decode(None)]
        if len(frames) != 1 or frames[0].pts != self._order[key] or not _is_key(frames[0]):
            raise UnexpectedFrame
        self._position, self._is_drained = key, True
        return frames[0]

    def _advance(self, position: int) -> Any:
        for frame in self._frames:
            found = self._position_of.get(frame.pts, -1)
            last = position if self._may_drop else self._position + 1
            if not self._position < found <= last:
                raise UnexpectedFrame
            self._position = found
            if found == position:
                return frame
        raise UnexpectedFrame

    def _frame_after_seek(self, key: int, position: int) -> Any:
        packets = self._packets_from(self._order[key])
        self._frames = self._decoded(packets)
        for frame in self._frames:
            found = self._position_of.get(frame.pts, -1)
            # What is shown before the key frame may be broken (an open GOP).
            if found < key:
                continue
            if found > key or not _is_key(frame):
                raise UnexpectedFrame
            self._position, self._is_drained = key, False
            return frame if key == position else self._advance(position)
        raise UnexpectedFrame

    def _decoded(self, packets: Iterator[Any]) -> Any:
        if self._may_drop:
            packets = self._without_unneeded(packets)
        return decoded(packets, self._track, self._name)

    def _without_unneeded(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Let the decoder drop frames to which no other refers, unless they are wanted."""
        for packet in packets:
            if self._alone:
                if packet.pts in self._wanted or not packet.size:
                    yield packet
                continue
            needed = packet.is_keyframe or packet.pts in self._wanted
            self._stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
            yield packet

    def _packets_from(self, stamp: int) -> Iterator[Any]:
        """Seek, and return the packets from the one with this time on."""
        index = self._decoding_index[stamp]
        for target in self._seek_targets(stamp, self._track.dts[index]):
            self._frames.close()
            try:
                self._container.seek(target, stream=self._stream)
            except av.FFmpegError:
                break
            packets = packets_of(self._container, self._stream)
            for packet in packets:
                if packet.pts == stamp:
                    return _chain(packet, packets)
                if self._decoding_index.get(packet.pts, -1) > index:
                    break
        raise UnexpectedFrame

    def _seek_targets(self, pts: int, dts: int | None) -> list[int]:
        """Return times to seek to: formats differ in whether they go by pts or dts."""
        first = dts if dts is not None else pts
        earlier = first - round(2 / self._track.time_base)
        return list(dict.fromkeys([pts, first, earlier]))


def _video_stream(container: InputContainer, track: Track) -> Any:
    stream: Any = container.streams[track.index]
    context = stream.codec_context
    stream.thread_type = "AUTO"
    n_bytes = 4 * max(1, int(context.width or 0) * int(context.height or 0))
    # Each thread works at a frame of its own, however few bytes it was made of.
    most = max(1, MAX_DECODER_BYTES // n_bytes)
    context.thread_count = min(most, os.cpu_count() or 1, _MOST_THREADS)
    # The size in the header was looked at; a later one must not be allocated.
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _is_key(frame: Any) -> bool:
    return bool(frame.key_frame and frame.pict_type == PictureType.I)


def _may_drop(stream: Any, track: Track) -> bool:
    # H.264 marks strictly which frames are referred to; HEVC by layers only. A file
    # whose times go up in decoding order may tell that order in place of the times.
    stamps = [stamp for stamp in track.pts if stamp is not None]
    return stream.codec_context.name == "h264" and stamps != sorted(stamps)


def _chain(packet: Any, packets: Iterator[Any]) -> Iterator[Any]:
    yield packet
    yield from packets


def decoded(packets: Iterator[Any], track: Track, name: str) -> Any:
    """Yield the frames of a video stream, of sane size only."""
    for frame in frames_of(packets, track, name):
        check_size(frame, name, len(track.pts))
        yield frame


def _read_everything(source: Source, track: Track, span: _Span) -> Pictures | None:
    """Choose among the frames that do come out of the decoder, in two passes."""
    # Frames come out in the order in which they are shown. Where their times do
    # not ascend (AVI tells the order of decoding), the times are what is wrong.
    times = np.sort(_decoded_times(source, track))
    if len(times) == 0:
        return None
    last_end = float(times[-1]) + _last_interval(track, times)
    positions = span.choose(times, last_end)
    found = _nth_frames(source, track, {int(position) for position in positions})
    kept = [int(position) for position in positions if int(position) in found]
    if not kept:
        return None
    frames = np.stack([found[position] for position in kept])
    return Pictures(frames, times[kept], span.seconds(times, last_end))


def _decoded_times(source: Source, track: Track) -> Times:
    """Return the times of all frames in the order in which they come out."""
    times: list[float] = []
    with source.container() as container:
        packets = packets_of(container, _video_stream(container, track))
        for frame in decoded(packets, track, source.name):
            stamp = frame.pts if frame.pts is not None else frame.dts
            if stamp is not None:
                times.append(float(track.times(stamp)))
            else:
                times.append(times[-1] + track.interval if times else 0.0)
    return np.asarray(times, np.float64)


def _last_interval(track: Track, times: Times) -> float:
    ends = {
        float(track.times(stamp)): track.seconds(duration)
        for stamp, duration in zip(track.pts, track.durations, strict=True)
        if stamp is not None
    }
    known = ends.get(float(times[-1]), 0.0)
    if known > 0:
        return known
    before = float(times[-1] - times[-2]) if len(times) > 1 else 0.0
    return before if before > 0 else track.interval


def _nth_frames(source: Source, track: Track, wanted: set[int]) -> dict[int, ByteArray]:
    found: dict[int, ByteArray] = {}
    if not wanted:
        return found
    with source.container() as container:
        packets = packets_of(container, _video_stream(container, track))
        shape: tuple[int, ...] | None = None
        for index, frame in enumerate(decoded(packets, track, source.name)):
            if index in wanted:
                found[index] = to_rgb(frame, track.look, shape, n_frames=len(wanted))
                shape = shape or found[index].shape
            if len(found) == len(wanted):
                break
    return found
