"""Small clips whose frames tell their own index, written with PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

N_BITS = 8


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return an RGB picture with the index in black and white blocks on a moving ground."""
    y, x = np.mgrid[:height, :width]
    ground = np.stack([x * 3 + index * 5, y * 4 + index * 3, x + y + index * 7], axis=-1)
    image = (ground % 200 + 20).astype(np.uint8)
    step = width // N_BITS
    for bit in range(N_BITS):
        image[: height // 3, bit * step : (bit + 1) * step] = 255 * (index >> bit & 1)
    return image


def index_of(image: np.ndarray) -> int:
    """Return the index that a picture tells."""
    height, width = image.shape[:2]
    step = width // N_BITS
    row = image[: height // 3].astype(float).mean(axis=(0, 2))
    return sum(
        1 << bit for bit in range(N_BITS) if row[bit * step + 2 : (bit + 1) * step - 2].mean() > 127
    )


def tone(seconds: float, rate: int, *, frequency: float = 440.0, channels: int = 1) -> np.ndarray:
    """Return a sine of shape (channels, n), the same in all channels."""
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None].astype(np.float32), channels, axis=0)


def needs_codec(name: str) -> None:
    """Skip the test if this FFmpeg cannot encode with a codec."""
    try:
        av.Codec(name, "w")
    except Exception:
        pytest.skip(f"this build of PyAV has no encoder {name}")


class Writer:
    """Writes pictures and sound to a file or a buffer."""

    def __init__(self, container: Any) -> None:
        self.container = container

    def video(
        self,
        codec: str = "libx264",
        *,
        n: int = 50,
        size: tuple[int, int] = (48, 64),
        rate: int = 25,
        times: Sequence[float] | None = None,
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        gop: int | None = None,
        b_frames: int | None = None,
        rotation: int | None = None,
        hflip: bool = False,
        start: float = 0.0,
    ) -> Iterator[tuple[float, Any]]:
        """Add a video stream; yield its packets with their times."""
        needs_codec(codec)
        stream = self.container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.thread_count = 1
        # Milliseconds only where times vary: some codecs know frame rates only.
        base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
        stream.codec_context.time_base = base
        if gop is not None:
            stream.codec_context.gop_size = gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a display matrix")
            stream.set_display_rotation(rotation, hflip=hflip)
        return self._video_packets(stream, n, size, times, base, pix_fmt, start)

    @staticmethod
    def _video_packets(
        stream: Any, n: int, size: Any, times: Any, base: Fraction, pix_fmt: str, start: float
    ) -> Iterator[tuple[float, Any]]:
        for index in range(n):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), "rgb24")
            frame = frame.reformat(format=pix_fmt)
            second = times[index] if times is not None else index * float(base)
            frame.time_base = base
            frame.pts = round((second + start) / base)
            for packet in stream.encode(frame):
                yield second, packet
        for packet in stream.encode(None):
            yield float("inf"), packet

    def sound(
        self,
        codec: str = "aac",
        samples: np.ndarray | None = None,
        *,
        rate: int = 44100,
        layout: str | None = None,
        start: float = 0.0,
    ) -> Iterator[tuple[float, Any]]:
        """Add a sound stream; yield its packets with their times."""
        needs_codec(codec)
        if samples is None:
            samples = tone(2.0, rate)
        layout = layout or {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(samples)]
        stream = self.container.add_stream(codec, rate=rate, layout=layout)
        return self._sound_packets(stream, samples, rate, layout, start)

    @staticmethod
    def _sound_packets(
        stream: Any, samples: np.ndarray, rate: int, layout: str, start: float
    ) -> Iterator[tuple[float, Any]]:
        step = 1024
        for begin in range(0, samples.shape[1], step):
            # Packed, as PyAV mishandles frames of eight planes and more.
            piece = samples[:, begin : begin + step].astype(np.float32).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "flt", layout)
            frame.sample_rate = rate
            frame.time_base = Fraction(1, rate)
            frame.pts = begin + round(start * rate)
            for packet in stream.encode(frame):
                yield begin / rate, packet
        for packet in stream.encode(None):
            yield float("inf"), packet

    def mux(self, *streams: Iterator[tuple[float, Any]]) -> None:
        """Write the packets of all streams, in the order of their times."""
        import heapq

        for _, _, packet in heapq.merge(
            *(((t, i, p) for t, p in s) for i, s in enumerate(streams)),
            key=lambda item: item[:2],
        ):
            self.container.mux(packet)


@contextmanager
def writing(target: Any, format: str | None = None, **options: Any) -> Iterator[Writer]:
    """Open a file or buffer to write media to."""
    with av.open(target, "w", format=format, **options) as container:
        yield Writer(container)


def write_video(target: Any, codec: str = "libx264", *, format: str | None = None, **how: Any):
    """Write a file that has pictures only; return `target`."""
    with writing(target, format) as writer:
        writer.mux(writer.video(codec, **how))
    return target


def write_sound(target: Any, codec: str = "pcm_s16le", *, format: str | None = None, **how: Any):
    """Write a file that has sound only; return `target`."""
    with writing(target, format) as writer:
        writer.mux(writer.sound(codec, **how))
    return target


def write_clip(
    target: Any,
    *,
    format: str | None = None,
    video: dict[str, Any] | None = None,
    sound: dict[str, Any] | None = None,
    container_options: dict[str, str] | None = None,
):
    """Write a file of both, 2 seconds by default; return `target`."""
    with writing(target, format, container_options=container_options or {}) as writer:
        pictures = writer.video(**(video or {}))
        writer.mux(pictures, writer.sound(**(sound or {})))
    return target


def clip_bytes(format: str = "mp4", **how: Any) -> bytes:
    """Return a small clip of both as bytes."""
    buffer = io.BytesIO()
    write_clip(buffer, format=format, **how)
    return buffer.getvalue()


def read_everything(
    path: Any, *, start: float = 0.0, end: float | None = None, n_frames: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Decode every frame, then pick by time: what `read_media` must equal."""
    with av.open(path) as container:
        stream = container.streams.best("video")
        streams = (*container.streams.video, *container.streams.audio)
        starts = [s.start_time * s.time_base for s in streams if s.start_time is not None]
        origin = float(min(starts, default=0))
        frames, times, last = [], [], 0.0
        for frame in container.decode(stream):
            frames.append(frame.to_ndarray(format="rgb24"))
            times.append(round(float(frame.pts * stream.time_base) - origin, 9))
            last = float((getattr(frame, "duration", 0) or 0) * stream.time_base)
        times.sort()
        interval = times[-1] - times[-2] if len(times) > 1 else 0.04
    last_end = times[-1] + (last or interval)
    begin, stop = max(start, times[0]), min(last_end, np.inf if end is None else end)
    ends = [*times[1:], last_end]
    chosen = [i for i, t in enumerate(times) if ends[i] > begin + 1e-6 and t < stop - 1e-6]
    if len(chosen) > n_frames:
        width = (stop - begin) / n_frames
        targets = [begin + (part + 0.5) * width + 1e-6 for part in range(n_frames)]
        chosen = [max(i for i, t in enumerate(times) if t <= target) for target in targets]
    return np.stack([frames[i] for i in chosen]), np.array([times[i] for i in chosen])
