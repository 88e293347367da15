"""`read_media`: one file, its frames and its sound."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from merclip.errors import DecodeError, InputError, MerclipError, MissingStreamError
from merclip.media._frames import Pictures, read_frames
from merclip.media._limits import MAX_PIXELS, MAX_STREAMS, MEGA
from merclip.media._scan import Scan, Times, Track, scan
from merclip.media._sound import Samples, read_sound
from merclip.media._source import Source, open_source
from merclip.media._stills import SECONDS, Still, still_reader
from merclip.types import ByteArray, FloatArray

_SAMPLE = 3
_NO_CONTRAST = 3
_WORTH_A_WARNING = 0.3
"""Seconds; lengths in headers are rounded, and codecs pad the last frame."""


@dataclass(frozen=True, eq=False)
class Media:
    """What was read from a file.

    Attributes
    ----------
    frames : ndarray of shape (T, H, W, 3), uint8, or None
        Upright RGB frames; None if there is no picture stream or it was not
        asked for.
    frame_times : ndarray of shape (T,)
        When each frame begins, in seconds from the file's beginning.
    sound : ndarray of shape (n,), float32, or None
        Mono sound; None if there is no sound stream or it was not asked for.
    rate : int
        Samples of `sound` per second.
    duration : float
        Length of the span that was used, in seconds; the longer of both
        streams.
    warnings : tuple of str
        What could not be read, one sentence each.
    """

    frames: ByteArray | None
    frame_times: Times
    sound: FloatArray | None
    rate: int
    duration: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Request:
    start: float
    end: float
    n_frames: int
    rate: int
    want_video: bool
    want_sound: bool
    sound_block: float
    max_sound_blocks: int | None
    fast: bool


def read_media(
    source: Any,
    *,
    start: float = 0.0,
    end: float | None = None,
    n_frames: int = 12,
    rate: int = 16000,
    want_video: bool = True,
    want_sound: bool = True,
    sound_block: float = 2.0,
    max_sound_blocks: int | None = 12,
    fast: bool = False,
) -> Media:
    """Read frames and sound of a span of a file.

    Parameters
    ----------
    source : path, bytes or binary file object
        `bytes` are an encoded file. A file object is read from its beginning
        and left open, at the position where it was if it can seek.
    start, end : float
        The span to use, in seconds from the file's beginning; `end` None is
        the file's end.
    n_frames : int
        Number of frames: those on screen at the centres of `n_frames` equal
        parts of the span. A span of fewer frames gives each of them once.
    rate : int
        Samples per second of the sound.
    want_video, want_sound : bool
        What to read.
    sound_block : float
        Length of a block of sound in seconds.
    max_sound_blocks : int or None
        A longer sound is represented by this many evenly spaced blocks, put
        one after another. None keeps everything.
    fast : bool
        Take a key frame in place of a frame where one begins less than half a second,
        and less than half of the distance between two frames, away: key frames
        are decoded alone.

    Returns
    -------
    Media

    Raises
    ------
    MediaNotFoundError
        There is no such file.
    MediaTypeError
        A folder, a URL, a text-mode file or something else that is no source.
    MissingStreamError
        Only video or only sound is wanted, and the file has none.
    DecodeError
        The file is empty, is not media, or nothing in it can be decoded.
    InputError
        The span or a number is impossible, or the span lies after the end.
    """
    request = _Request(
        start=float(start),
        end=math.inf if end is None else float(end),
        n_frames=n_frames,
        rate=rate,
        want_video=want_video,
        want_sound=want_sound,
        sound_block=sound_block,
        max_sound_blocks=max_sound_blocks,
        fast=fast,
    )
    _check(request)
    with open_source(source) as opened:
        try:
            return _read(opened, request)
        except MerclipError:
            raise
        # FFmpeg's errors have many Python classes, and a file object of the
        # caller may raise anything; all of it means that this file is unusable.
        except Exception as error:
            raise DecodeError(
                f"{opened.name!r} cannot be decoded ({_reason(error)}): "
                "check that it is a complete picture, video or sound file."
            ) from error


def _check(request: _Request) -> None:
    if not (math.isfinite(request.start) and request.start >= 0):
        raise InputError(f"start must be at least 0 seconds, got {request.start!r}.")
    if not request.end > request.start:
        raise InputError(
            f"end must lie after start, got start={request.start!r} and end={request.end!r}."
        )
    if not (request.want_video or request.want_sound):
        raise InputError("Nothing is wanted: set want_video or want_sound to True.")
    if request.n_frames < 1 or request.rate < 1 or not request.sound_block > 0:
        raise InputError(
            "n_frames, rate and sound_block must be positive, got "
            f"{request.n_frames!r}, {request.rate!r} and {request.sound_block!r}."
        )
    if request.max_sound_blocks is not None and request.max_sound_blocks < 1:
        raise InputError(
            f"max_sound_blocks must be positive or None, got {request.max_sound_blocks!r}."
        )


def _reason(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.ENOMEM:
        return f"it claims too much memory, or has more than {MAX_STREAMS} streams"
    if isinstance(error, av.FFmpegError):
        return str(error.strerror)
    return f"{type(error).__name__}: {error}"


def _read(source: Source, request: _Request) -> Media:
    read_still = still_reader(source)
    if read_still is not None:
        return _read_still(source, read_still, request)
    found = scan(source)
    video = found.video if request.want_video else None
    sound = found.sound if request.want_sound else None
    if video is None and sound is None:
        raise _nothing_wanted_is_there(source, found, request)
    pictures = _read_frames(source, video, request)
    samples = _read_sound(source, sound, request)
    if pictures is None and samples is None:
        raise _nothing_came_out(source, [t for t in (video, sound) if t], request)
    warnings = _warnings(source, found, pictures, samples, request)
    return _media(source.name, pictures, samples, request, warnings)


def _read_still(source: Source, read_still: Callable[[Source], Still], request: _Request) -> Media:
    if not request.want_video:
        raise _missing(source, request)
    if request.start >= SECONDS:
        raise InputError(
            f"start={request.start:g} lies after the beginning of {source.name!r}, which is a "
            "still picture: leave start away."
        )
    still = read_still(source)
    pictures = Pictures(still.frames, np.zeros(1), min(SECONDS, request.end) - request.start)
    return _media(source.name, pictures, None, request, still.warnings)


def _read_frames(source: Source, track: Track | None, request: _Request) -> Pictures | None:
    if track is None:
        return None
    return read_frames(
        source,
        track,
        start=request.start,
        end=request.end,
        n_frames=request.n_frames,
        fast=request.fast,
    )


def _read_sound(source: Source, track: Track | None, request: _Request) -> Samples | None:
    if track is None:
        return None
    return read_sound(
        source,
        track,
        start=request.start,
        end=request.end,
        rate=request.rate,
        block=request.sound_block,
        max_blocks=request.max_sound_blocks,
    )


def _media(
    name: str,
    pictures: Pictures | None,
    samples: Samples | None,
    request: _Request,
    warnings: tuple[str, ...],
) -> Media:
    if pictures and _is_blank(pictures.frames):
        warnings += (
            f"The pictures of {name!r} have one colour throughout: look whether it shows "
            "what it should.",
        )
    return Media(
        frames=pictures.frames if pictures else None,
        frame_times=pictures.times if pictures else np.zeros(0),
        sound=samples.samples if samples else None,
        rate=request.rate,
        duration=max(part.seconds for part in (pictures, samples) if part),
        warnings=warnings,
    )


def _is_blank(frames: ByteArray) -> bool:
    """Tell whether nothing can be seen, as where a decoder gives black for what it lacks."""
    some = frames[:, ::_SAMPLE, ::_SAMPLE].reshape(-1, 3)
    return bool((some.max(axis=0) - some.min(axis=0)).max() <= _NO_CONTRAST)


def _nothing_wanted_is_there(source: Source, found: Scan, request: _Request) -> MerclipError:
    if found.video is None and found.sound is None:
        return DecodeError(
            f"{source.name!r} has neither a video nor a sound stream that can be decoded: "
            "give a video or sound file."
        )
    return _missing(source, request)


def _missing(source: Source, request: _Request) -> MissingStreamError:
    missing, instead = ("video", "sound") if request.want_video else ("sound", "video")
    return MissingStreamError(
        f"{source.name!r} has no {missing} stream, only {instead}: "
        f"give another file, or do not ask for {missing}."
    )


def _nothing_came_out(source: Source, tracks: list[Track], request: _Request) -> MerclipError:
    streams = " and ".join(track.kind for track in tracks)
    reached = max(track.end for track in tracks)
    if 0 < reached <= request.start:
        return InputError(
            f"start={request.start:g} lies after the end of {source.name!r}, "
            f"whose {streams} ends at {reached:.2f} seconds."
        )
    return DecodeError(
        f"Nothing in the {streams} stream of {source.name!r} could be decoded in the span from "
        f"{request.start:g} s on; its packets reach {max(reached, 0):.2f} seconds. "
        "Check that the file is complete, and that no picture of it has more than "
        f"{MAX_PIXELS // MEGA} megapixels."
    )


def _warnings(
    source: Source,
    found: Scan,
    pictures: Pictures | None,
    samples: Samples | None,
    request: _Request,
) -> tuple[str, ...]:
    sentences = []
    for track, part in ((found.video, pictures), (found.sound, samples)):
        wanted = request.want_video if track is found.video else request.want_sound
        if track is not None and wanted:
            sentences += _track_warnings(source, track, part, found, request)
    if samples is not None and samples.n_not_finite:
        sentences.append(
            f"{samples.n_not_finite} samples of the sound of {source.name!r} were not finite "
            "numbers and were set to 0."
        )
    return tuple(sentences)


def _track_warnings(
    source: Source, track: Track, part: Pictures | Samples | None, found: Scan, request: _Request
) -> list[str]:
    if part is None:
        return [
            f"No {track.kind} could be read from {source.name!r} in the span; "
            f"it reaches {max(track.end, 0):.1f} seconds."
        ]
    claimed = track.claimed_end
    if claimed is None and found.end == track.end:
        claimed = found.claimed_end
    total = min(max(claimed or 0.0, track.end), request.end) - request.start
    lost = total - (min(track.end, request.end) - request.start) + track.failed
    if lost <= _WORTH_A_WARNING:
        return []
    return [
        f"Only {max(total - lost, 0):.1f} of {total:.1f} seconds of the {track.kind} "
        f"of {source.name!r} could be read."
    ]
