"""What a file holds, learnt from its packets without decoding them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from merclip.media._claims import check_claims
from merclip.media._limits import (
    Work,
    check_aspect,
    check_density,
    check_packets,
    check_size,
)
from merclip.media._pixels import Look
from merclip.media._source import Source, open_source
from merclip.media._stills import still_reader
from merclip.media._tags import check_notes

if TYPE_CHECKING:
    from av.container import InputContainer

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_EXACT_DURATIONS = {_MP4, "matroska,webm", "avi", "wav", "flac", "asf", "flv"}
"""Formats whose header tells the length; FFmpeg guesses the others' from the bit rate."""

Times = np.ndarray[Any, np.dtype[np.float64]]


class UnexpectedFrame(Exception):
    """The decoder, or a seek, gave something else than the packets promised."""


@dataclass
class Track:
    """One stream: where it lies, and the times of its packets in decoding order."""

    kind: str
    index: int
    time_base: Fraction
    origin: float
    interval: float
    """Seconds that one frame lasts when nothing else is known."""
    claimed_end: float | None
    """Where the header says that the stream ends, in seconds."""
    look: Look = Look()
    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    places: list[int | None] = field(default_factory=list)
    """Where in the file each packet lies, in bytes, if the format tells."""
    failed: float = 0.0
    """Seconds of packets that the decoder refused in the last pass."""

    def times(self, pts: Any) -> Times:
        """Return seconds from the file's beginning, rounded to nanoseconds."""
        ticks = np.asarray(pts, dtype=np.float64)
        seconds = ticks * self.time_base.numerator / self.time_base.denominator
        return np.asarray(np.round(seconds - self.origin, 9))

    def seconds(self, ticks: int) -> float:
        """Return a length in seconds."""
        return float(ticks * self.time_base)

    @property
    def end(self) -> float:
        """The time at which the last packet that is there ends."""
        ends = [
            pts + duration
            for pts, duration in zip(self.pts, self.durations, strict=True)
            if pts is not None
        ]
        return float(self.times(max(ends))) if ends else 0.0


@dataclass(frozen=True)
class Scan:
    """The picture and the sound stream of a file, as far as they were asked for."""

    video: Track | None
    sound: Track | None
    claimed_end: float | None = None
    """Where the header says that the longest stream ends, in seconds."""

    @property
    def end(self) -> float:
        """The time at which the last packet that is there ends."""
        return max((track.end for track in (self.video, self.sound) if track), default=0.0)


def scan(source: Source) -> Scan:
    """Read all packets of the picture and the sound stream once."""
    check_claims(source)
    check_notes(source)
    with source.container() as container:
        video, sound = _best_video(container), _best_sound(container)
        streams = [stream for stream in (video, sound) if stream is not None]
        origin = _origin(container)
        tracks = {stream.index: _track(container, stream, origin) for stream in streams}
        if video is not None:
            check_size(video.codec_context, source.name)
            check_aspect(tracks[video.index].look.aspect, source.name)
        if streams:
            _collect(container, streams, tracks, source.name)
        if video is not None:
            track = tracks[video.index]
            check_size(video.codec_context, source.name, len(track.pts))
            if track.look.alone:
                n_bytes = track.look.n_bytes or 0
                check_density(video.codec_context, source.name, len(track.pts), n_bytes)
        return Scan(
            video=tracks[video.index] if video is not None else None,
            sound=tracks[sound.index] if sound is not None else None,
            claimed_end=_file_end(container, origin),
        )


def _best_video(container: InputContainer) -> Any:
    pictures = [
        stream
        for stream in container.streams.video
        if not _is_cover(stream) and _can_decode(stream)
    ]
    return _best(container, "video", pictures)


def _best_sound(container: InputContainer) -> Any:
    return _best(container, "audio", [s for s in container.streams.audio if _can_decode(s)])


def _best(container: InputContainer, kind: Any, streams: list[Any]) -> Any:
    best = container.streams.best(kind)
    indices = [stream.index for stream in streams]
    if best is not None and best.index in indices:
        return best
    return streams[0] if streams else None


def has_pictures(source: Any) -> bool:
    """Return whether a source has a video stream, a cover picture not counted.

    Parameters
    ----------
    source : path, bytes or binary file object
        As for `read_media`. False for a file that cannot be opened as media.
    """
    with open_source(source) as opened:
        try:
            if still_reader(opened) is not None:
                return True
            check_claims(opened)
            check_notes(opened)
            with opened.container() as container:
                return any(not _is_cover(stream) for stream in container.streams.video)
        except (av.FFmpegError, OSError, ValueError, IndexError):
            return False


def _is_cover(stream: Any) -> bool:
    disposition = stream.disposition
    return bool(disposition & type(disposition).attached_pic)


def _can_decode(stream: Any) -> bool:
    return stream.codec_context is not None


def _origin(container: InputContainer) -> float:
    """Return the smallest start of all streams, in seconds on the file's own clock."""
    starts = [
        float(stream.start_time * stream.time_base)
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.start_time is not None and stream.time_base
        if not _is_cover(stream)
    ]
    return min(starts, default=0.0)


def _track(container: InputContainer, stream: Any, origin: float) -> Track:
    time_base = stream.time_base or Fraction(1, 90000)
    rate = (stream.average_rate or stream.guessed_rate) if stream.type == "video" else None
    return Track(
        kind="video" if stream.type == "video" else "sound",
        index=stream.index,
        time_base=time_base,
        origin=origin,
        interval=float(1 / rate) if rate else 0.04,
        claimed_end=_claimed_end(container, stream, origin),
        look=_look(stream) if stream.type == "video" else Look(),
    )


def _look(stream: Any) -> Look:
    codec = stream.codec_context
    return Look(
        codec.name,
        float(stream.sample_aspect_ratio or 1),
        int(codec.color_trc or 0),
        int(codec.color_primaries or 0),
        alone=codec.codec.intra_only or codec.name == "png",
    )


def _claimed_end(container: InputContainer, stream: Any, origin: float) -> float | None:
    if container.format.name not in _EXACT_DURATIONS or not stream.duration:
        return None
    begin = _counted_from(container, stream.start_time or 0)
    return float((begin + stream.duration) * stream.time_base) - origin


def _file_end(container: InputContainer, origin: float) -> float | None:
    if container.format.name not in _EXACT_DURATIONS or not container.duration:
        return None
    # Subtitles count too and may be longer than what is read here.
    if container.streams.subtitles:
        return None
    begin = _counted_from(container, container.start_time or 0)
    return (container.duration + begin) / av.time_base - origin


def _counted_from(container: InputContainer, start: int) -> int:
    """Return where a claimed length begins, which is the start of the first packet in MP4.

    Writers of others count from there or from zero, where live recordings do not begin;
    the lesser is claimed either way.
    """
    return start if container.format.name == _MP4 else min(start, 0)


def _collect(
    container: InputContainer, streams: list[Any], tracks: dict[int, Track], name: str
) -> None:
    n_bytes = dict.fromkeys(tracks, 0)
    for n_before, packet in enumerate(packets_of(container, *streams)):
        check_packets(n_before, name)
        track = tracks[packet.stream.index]
        # Packets that an edit list hides are decoded, and their frames dropped.
        if packet.size == 0 or packet.is_discard:
            continue
        track.pts.append(packet.pts)
        track.dts.append(packet.dts)
        track.durations.append(packet.duration or 0)
        track.keys.append(packet.is_keyframe)
        track.places.append(packet.pos)
        n_bytes[packet.stream.index] += packet.size
    for index, track in tracks.items():
        track.look = replace(track.look, n_bytes=n_bytes[index])


def packets_of(container: InputContainer, *streams: Any) -> Iterator[Any]:
    """Yield packets until the file ends or cannot be read further."""
    for other in set(container.streams) - set(streams):
        # FFmpeg then neither reads nor unpacks them; older PyAV cannot say so.
        if hasattr(other, "discard"):
            other.discard = type(other.discard).all
    try:
        yield from container.demux(*streams)
    # What came before is used; the caller sees that the stream ends early.
    # PyAV stumbles with an IndexError, after the last packet of the streams
    # that are read, over a stream that appears in the middle of a file.
    except (av.FFmpegError, IndexError):
        return


def frames_of(packets: Iterator[Any], track: Track, name: str) -> Iterator[Any]:
    """Yield the frames of all packets that can be decoded; note those that cannot."""
    track.failed = 0.0
    work = Work(name, track.look.n_bytes or 0)
    for packet in packets:
        work.add_packet(packet)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            track.failed += track.seconds(packet.duration or 0)
            continue
        for frame in frames:
            work.add_frame(frame)
            yield frame
