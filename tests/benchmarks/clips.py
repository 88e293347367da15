"""The clips that are measured: a face before moving, noisy ground, with sound.

They are made once and kept in the system's temporary folder. Those of ten minutes are
one minute ten times over, copied without encoding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.rounds import say
from merclip.media import read_media

EXAMPLE = Path(__file__).parents[2] / "examples" / "happy.mp4"
TEXT = "I can't believe you did that!"
LABELS = ["happy", "sad", "angry", "neutral", "fearful", "surprised"]
FPS, RATE = 25, 44100
HEIGHTS = (360, 720, 1080)
MINUTE = 60

Picture = np.ndarray[Any, np.dtype[np.uint8]]


def folder() -> Path:
    """Return where clips are kept."""
    kept = Path(tempfile.gettempdir()) / "merclip-benchmarks"
    kept.mkdir(exist_ok=True)
    return kept


def clip(seconds: int = 5, height: int = 720) -> Path:
    """Return a clip, made now if it is not there yet.

    Parameters
    ----------
    seconds : int
        Up to a minute, or whole minutes.
    height : int
        Of pictures of 16 to 9.
    """
    path = folder() / f"{seconds}s-{height}p.mp4"
    if not path.is_file():
        say(f"  making {path}")
        unfinished = path.with_suffix(".part.mp4")
        if seconds > MINUTE:
            repeat(clip(MINUTE, height), unfinished, seconds // MINUTE)
        else:
            encode(unfinished, seconds, height)
        unfinished.replace(path)
    return path


def encode(path: Path, seconds: int, height: int) -> None:
    """Write a clip as x264 does by default: a key picture every ten seconds."""
    with av.open(path, "w") as container:
        pictures: Any = container.add_stream("libx264", FPS, options={"preset": "veryfast"})
        pictures.width, pictures.height, pictures.pix_fmt = height * 16 // 9, height, "yuv420p"
        sound: Any = container.add_stream("aac", RATE)
        for i, picture in enumerate(scene(seconds * FPS, height)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for begin, wave in voice(seconds * RATE):
            samples = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            samples.sample_rate, samples.pts = RATE, begin
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))


def scene(n_frames: int, height: int) -> Iterator[Picture]:
    """Yield frames: ground that moves, a face in the middle, and noise over all."""
    random = np.random.default_rng(0)
    width, travel = height * 16 // 9, 64
    y, x = np.mgrid[: height + travel, : width + travel]
    waves = 110 + 50 * np.sin(x * 40 / height) + 40 * np.cos(y * 50 / height)
    ground = np.repeat(waves[..., None], 3, axis=2).clip(0, 224).astype(np.uint8)
    noise = random.normal(16, 5, (height + travel, width + travel, 1)).clip(0, 31).astype(np.uint8)
    faces = example_faces(height * 5 // 9)
    top, left = (height - faces.shape[1]) // 2, (width - faces.shape[2]) // 2
    for i in range(n_frames):
        step = i % travel
        frame = ground[step : step + height, travel - step : travel - step + width].copy()
        face = faces[i % len(faces)]
        frame[top : top + len(face), left : left + face.shape[1]] = face
        down, right = random.integers(0, travel, 2)
        frame += noise[down : down + height, right : right + width]
        yield frame


def example_faces(side: int) -> Picture:
    """Return square pictures of the drawn face, of shape (n, side, side, 3)."""
    frames = read_media(EXAMPLE, n_frames=50, want_sound=False).frames
    assert frames is not None
    square = min(frames.shape[1:3])
    left = (frames.shape[2] - square) // 2
    rows = np.arange(side) * square // side
    return np.minimum(frames[:, :, left : left + square][:, rows][:, :, rows], 224)


def voice(n_samples: int) -> Iterator[tuple[int, np.ndarray[Any, np.dtype[np.float32]]]]:
    """Yield blocks of a tone that rises and falls, and where they begin."""
    for begin in range(0, n_samples, 1024):
        time = np.arange(begin, begin + 1024) / RATE
        loudness = 0.2 + 0.1 * np.sin(2 * np.pi * 3 * time)
        yield begin, (loudness * np.sin(2 * np.pi * 220 * time)).astype(np.float32)


def repeat(source: Path, path: Path, times: int) -> None:
    """Write a clip several times over, without decoding it."""
    with av.open(path, "w") as out, av.open(source) as first:
        streams: Any = [out.add_stream_from_template(stream) for stream in first.streams]
        last: dict[int, int] = {}
        for turn in range(times):
            with av.open(source) as container:
                for packet in container.demux():
                    _append(out, packet, streams, turn * MINUTE, last)


def _append(out: Any, packet: Any, streams: Any, shift: int, last: dict[int, int]) -> None:
    index = packet.stream.index
    if packet.dts is None:
        return
    later = round(shift / packet.time_base)
    packet.dts, packet.pts = packet.dts + later, packet.pts + later
    # A minute of sound is a fraction of a block longer than one of pictures.
    if packet.dts <= last.get(index, packet.dts - 1):
        return
    last[index] = packet.dts
    packet.stream = streams[index]
    out.mux(packet)
