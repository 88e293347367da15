"""The same choice of frames and sound for media that are in memory already."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from av import AudioFrame
from av.audio.resampler import AudioResampler

from merclip.errors import InputError
from merclip.media._choose import choose_frames
from merclip.media._scan import Times
from merclip.types import Audio, ByteArray, FloatArray, Video


def read_video_array(
    video: Video, *, start: float = 0.0, end: float | None = None, n_frames: int = 12
) -> tuple[ByteArray, Times]:
    """Choose frames of a video in memory as `read_media` does for a file.

    Parameters
    ----------
    video : Video
        Frames and their rate.
    start, end : float
        The span to use, in seconds.
    n_frames : int
        Number of frames to take at most.

    Returns
    -------
    frames : ndarray of shape (T, H, W, 3), uint8
    times : ndarray of shape (T,)
        When each frame begins, in seconds.
    """
    times = np.round(np.arange(len(video.frames)) / video.fps, 9)
    stop = video.duration if end is None else end
    positions = choose_frames(times, video.duration, start=start, end=stop, n_frames=n_frames)
    if len(positions) == 0:
        raise InputError(_outside("video", start, video.duration))
    return np.ascontiguousarray(video.frames[positions]), times[positions]


def read_audio_array(
    audio: Audio, *, start: float = 0.0, end: float | None = None, rate: int = 16000
) -> FloatArray:
    """Cut and resample a sound in memory.

    Parameters
    ----------
    audio : Audio
        Mono samples and their rate.
    start, end : float
        The span to use, in seconds.
    rate : int
        Samples per second of the result.

    Returns
    -------
    ndarray of shape (n,), float32
    """
    stop = audio.duration if end is None else end
    samples = audio.samples[round(start * audio.rate) : round(stop * audio.rate)]
    if len(samples) == 0:
        raise InputError(_outside("sound", start, audio.duration))
    if audio.rate == rate:
        return np.ascontiguousarray(samples)
    pieces = [np.zeros(0, np.float32), *_resampled(samples, audio.rate, rate)]
    return np.ascontiguousarray(np.concatenate(pieces), np.float32)


def _outside(kind: str, start: float, duration: float) -> str:
    return (
        f"Nothing of the {kind} lies in the span: start={start:g}, "
        f"but it lasts {duration:g} seconds; choose an earlier start."
    )


def _resampled(samples: FloatArray, rate_in: int, rate_out: int) -> Iterator[FloatArray]:
    resampler = AudioResampler(format="fltp", layout="mono", rate=rate_out)
    for begin in range(0, len(samples), rate_in):
        piece = np.ascontiguousarray(samples[None, begin : begin + rate_in])
        frame = AudioFrame.from_ndarray(piece, "fltp", "mono")
        frame.sample_rate = rate_in
        yield from (out.to_ndarray()[0] for out in resampler.resample(frame))
    yield from (out.to_ndarray()[0] for out in resampler.resample(None))
