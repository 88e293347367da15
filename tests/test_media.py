"""Tests of `merclip.media`: exact frames, sound, and every refusal."""

from __future__ import annotations

import io
import pathlib
import random
import subprocess
import sys
import wave
from typing import Any

import av
import media_files as mf
import numpy as np
import pytest

from merclip.errors import (
    DecodeError,
    InputError,
    MediaNotFoundError,
    MediaTypeError,
    MerclipError,
    MissingStreamError,
)
from merclip.media import (
    Media,
    _frames,
    _sound,
    choose_blocks,
    read_audio_array,
    read_media,
    read_video_array,
)
from merclip.types import Audio, Video

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning")

SPANS: list[dict[str, Any]] = [
    {},
    {"n_frames": 3},
    {"start": 1.3, "end": 3.1, "n_frames": 2},
    {"start": 3.0, "n_frames": 3},
    {"start": 2.0, "end": 2.01},
]
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3"}
HEVC = "bframes=3:keyint=20:log-level=none:pools=1"
VPX = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "realtime", "cpu-used": "8"}
VARIABLE = [i * 0.04 + 0.013 * (i % 3) + 2 * (i > 50) for i in range(100)]

CODECS: list[Any] = [
    pytest.param("libx264", "mp4", {"b_frames": 0, "gop": 20}, id="h264"),
    pytest.param("libx264", "mp4", {"b_frames": 3, "gop": 250}, id="h264-long-gop"),
    pytest.param("libx264", "mp4", {"b_frames": 3, "gop": 20}, id="h264-b-frames"),
    pytest.param("libx264", "mkv", {"gop": 20, "options": OPEN_GOP}, id="h264-open-gop-mkv"),
    pytest.param("libx264", "mp4", {"gop": 20, "options": OPEN_GOP}, id="h264-open-gop-mp4"),
    pytest.param("libx264", "ts", {"gop": 20, "options": OPEN_GOP}, id="h264-open-gop-ts"),
    pytest.param("libx264", "flv", {"gop": 20}, id="h264-flv"),
    pytest.param("libx264", "mp4", {"gop": 20, "b_frames": 2, "times": VARIABLE}, id="h264-vfr"),
    pytest.param("libx264", "mov", {"gop": 20, "pix_fmt": "gray"}, id="h264-grey"),
    pytest.param("libx264", "mp4", {"gop": 20, "pix_fmt": "yuv420p10le"}, id="h264-10-bit"),
    pytest.param("libx265", "mp4", {"options": {"x265-params": f"open-gop=1:{HEVC}"}}, id="hevc"),
    pytest.param("libx265", "ts", {"options": {"x265-params": f"open-gop=1:{HEVC}"}}, id="hevc-ts"),
    pytest.param("libvpx-vp9", "webm", {"gop": 20, "options": VPX}, id="vp9-hidden-frames"),
    pytest.param("libvpx", "webm", {"gop": 20, "options": VPX}, id="vp8-hidden-frames"),
    pytest.param("libsvtav1", "mp4", {"gop": 20, "options": {"preset": "10"}}, id="av1"),
    pytest.param("mpeg4", "avi", {"gop": 20, "b_frames": 2}, id="mpeg4-avi"),
    pytest.param("mpeg2video", "mpg", {"gop": 20, "b_frames": 2}, id="mpeg2"),
    pytest.param("mjpeg", "avi", {"pix_fmt": "yuvj420p"}, id="mjpeg"),
    pytest.param("gif", "gif", {"pix_fmt": "rgb8"}, id="gif"),
    pytest.param("ffv1", "mkv", {"pix_fmt": "yuv444p"}, id="ffv1"),
]


def frames_only(source: Any, **how: Any) -> Media:
    return read_media(source, want_sound=False, **how)


def sound_only(source: Any, **how: Any) -> Media:
    return read_media(source, want_video=False, **how)


def assert_equals_reference(path: Any, **span: Any) -> None:
    media = frames_only(path, **span)
    frames, times = mf.read_everything(path, **span)
    assert media.frames is not None
    np.testing.assert_allclose(media.frame_times, times, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(media.frames, frames)
    assert media.frames.flags.c_contiguous


def frequency(sound: np.ndarray, rate: int) -> float:
    inner = sound[rate // 20 : -rate // 20]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner))))
    return float(np.argmax(spectrum)) * rate / len(inner)


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two seconds of both."""
    return mf.write_clip(tmp_path_factory.mktemp("media") / "clip.mp4", video={"gop": 10})


class TestFrames:
    @pytest.mark.parametrize(("codec", "suffix", "how"), CODECS)
    def test_equal_to_decoding_everything(self, tmp_path, monkeypatch, codec, suffix, how):
        def no_fallback(*_: Any) -> None:
            raise AssertionError("fell back to decoding everything")

        path = mf.write_video(tmp_path / f"a.{suffix}", codec, n=100, **how)
        monkeypatch.setattr(_frames, "_read_everything", no_fallback)
        for span in SPANS:
            assert_equals_reference(path, **span)

    @pytest.mark.parametrize(
        ("suffix", "how"),
        [
            ("avi", {"gop": 20, "b_frames": 2}),
            ("mp4", {"gop": 20, "options": {"x264-params": "intra-refresh=1:bframes=0"}}),
        ],
        ids=["times-in-decoding-order", "intra-refresh"],
    )
    def test_equal_even_where_packets_mislead(self, tmp_path, suffix, how):
        path = mf.write_video(tmp_path / f"a.{suffix}", n=100, **how)
        for span in SPANS[:4]:
            assert_equals_reference(path, **span)

    def test_file_without_any_times(self, tmp_path):
        path = mf.write_video(tmp_path / "a.h264", n=60, gop=20, b_frames=2)
        media = frames_only(path)
        assert [mf.index_of(f) for f in media.frames] == list(range(2, 60, 5))

    def test_a_video_that_begins_between_key_frames(self, tmp_path):
        whole = mf.write_video(tmp_path / "a.ts", n=90, gop=30, b_frames=2)
        data = whole.read_bytes()
        cut = tmp_path / "b.ts"
        cut.write_bytes(data[188 * 3 :] if len(data) < 188 * 40 else data[188 * 20 :])
        assert_equals_reference(cut)

    def test_smart_seek_skips(self, tmp_path, monkeypatch):
        path = mf.write_video(tmp_path / "a.mp4", n=200, gop=10)
        decoded = []
        original = _frames.check_size
        monkeypatch.setattr(
            _frames, "check_size", lambda *a: (decoded.append(1), original(*a)) and None
        )
        frames_only(path, n_frames=2)
        assert len(decoded) < 30

    def test_frames_to_which_none_refers_are_not_decoded(self, tmp_path, monkeypatch):
        path = mf.write_video(tmp_path / "a.mp4", n=100, gop=250, b_frames=3)
        decoded = []
        original = _frames.check_size
        monkeypatch.setattr(_frames, "check_size", lambda *a: decoded.append(1) or original(*a))
        media = frames_only(path, n_frames=2)
        assert [mf.index_of(f) for f in media.frames] == [25, 75]
        assert len(decoded) < 60

    def test_targets_are_centres_of_parts(self, tmp_path):
        path = mf.write_video(tmp_path / "a.mp4", n=48, rate=24)
        media = frames_only(path, n_frames=4)
        assert [mf.index_of(f) for f in media.frames] == [6, 18, 30, 42]
        np.testing.assert_allclose(media.frame_times, np.array([6, 18, 30, 42]) / 24, atol=1e-4)
        assert media.duration == pytest.approx(2.0, abs=1e-3)

    def test_few_frames_come_once_each(self, tmp_path):
        path = mf.write_video(tmp_path / "a.mp4", n=12)
        assert [mf.index_of(f) for f in frames_only(path).frames] == list(range(12))
        assert len(frames_only(path, n_frames=20).frames) == 12

    def test_one_frame(self, tmp_path):
        media = read_media(mf.write_video(tmp_path / "a.mp4", n=1))
        assert media.frames.shape == (1, 48, 64, 3)
        assert media.sound is None and media.warnings == ()

    def test_a_long_frame_stands_for_all_its_targets(self, tmp_path):
        times = [0, 0.04, 0.08, 0.12, 3.0, 3.04]
        path = mf.write_video(tmp_path / "a.mkv", n=6, times=times)
        media = frames_only(path, n_frames=4)
        assert [mf.index_of(f) for f in media.frames] == [3, 3, 3, 3]

    def test_span(self, tmp_path):
        path = mf.write_video(tmp_path / "a.mp4", n=100, gop=20)
        media = frames_only(path, start=1.0, end=3.0, n_frames=2)
        assert [mf.index_of(f) for f in media.frames] == [37, 62]
        assert media.duration == pytest.approx(2.0)
        beyond = frames_only(path, start=3.0, end=100.0)
        assert beyond.duration == pytest.approx(1.0) and beyond.warnings == ()

    @pytest.mark.parametrize(("suffix", "codec"), [("mkv", "flac"), ("ts", "mp2")])
    def test_start_time_that_is_not_zero_changes_nothing(self, tmp_path, suffix, codec):
        results = []
        for begin in (1.0, 6.0):
            path = tmp_path / f"{begin}.{suffix}"
            sound = {"codec": codec, "rate": 48000, "samples": mf.tone(2.0, 48000), "start": begin}
            mf.write_clip(path, video={"start": begin}, sound=sound)
            results.append(read_media(path, start=0.51, end=1.51))
        # The encoder itself gives slightly other pictures.
        indices = [[mf.index_of(frame) for frame in result.frames] for result in results]
        assert indices[0] == indices[1]
        np.testing.assert_allclose(results[0].frame_times, results[1].frame_times, atol=1e-3)
        assert results[0].sound.shape == results[1].sound.shape

    def test_size_that_changes(self, tmp_path):
        mf.needs_codec("mpeg2video")
        parts = [
            mf.write_video(tmp_path / f"{i}.m2v", "mpeg2video", n=20, size=size)
            for i, size in enumerate([(48, 64), (96, 112)])
        ]
        media = frames_only(b"".join(part.read_bytes() for part in parts))
        assert media.frames.shape == (12, 48, 64, 3)
        assert mf.index_of(media.frames[-1]) > 15


class TestPixels:
    @pytest.mark.parametrize("rotation", [0, 90, 180, 270])
    @pytest.mark.parametrize("hflip", [False, True])
    def test_rotated_frames_are_upright(self, tmp_path, rotation, hflip):
        how = {"pix_fmt": "yuv444p", "options": {"crf": "1"}}
        path = tmp_path / "a.mp4"
        mf.write_video(path, n=3, rotation=rotation, hflip=hflip, **how)
        expected = np.rot90(mf.picture(2), rotation // 90)
        if hflip:
            expected = expected[:, ::-1]
        frame = frames_only(path).frames[2]
        assert mean_difference(frame, expected) < 2

    @pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
    def test_jpeg_orientation(self, tmp_path, orientation, turns):
        path = tmp_path / "a.jpg"
        mf.write_video(path, "mjpeg", format="image2", n=1, pix_fmt="yuvj444p")
        data = path.read_bytes()
        exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"
        exif += bytes([orientation, 0, 0, 0, 0, 0, 0, 0])
        tagged = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
        (frame,) = frames_only(tagged).frames
        (plain,) = frames_only(data).frames
        if turns and np.array_equal(frame, plain):
            pytest.skip("this FFmpeg does not tell the orientation of a JPEG")
        np.testing.assert_array_equal(frame, np.rot90(plain, turns))

    @pytest.mark.parametrize(
        ("codec", "suffix", "pix_fmt"),
        [
            ("png", "png", "rgb24"),
            ("png", "png", "rgba"),
            ("mjpeg", "jpg", "yuvj420p"),
            ("libwebp", "webp", "yuv420p"),
            ("bmp", "bmp", "bgr24"),
        ],
    )
    def test_stills(self, tmp_path, codec, suffix, pix_fmt):
        path = tmp_path / f"a.{suffix}"
        kind = "webp" if suffix == "webp" else "image2"
        mf.write_video(path, codec, format=kind, n=1, pix_fmt=pix_fmt)
        media = read_media(path)
        assert media.sound is None and media.duration > 0
        (frame,) = media.frames
        assert mean_difference(frame, mf.picture(0)) < 5

    def test_grey_still(self, tmp_path):
        path = tmp_path / "a.png"
        mf.write_video(path, "png", format="image2", n=1, pix_fmt="gray")
        (frame,) = read_media(path).frames
        assert (frame[..., 0] == frame[..., 2]).all()

    def test_gif_with_alpha(self):
        buffer = io.BytesIO()
        mf.write_video(buffer, "gif", format="gif", n=5, pix_fmt="bgr8")
        assert frames_only(buffer.getvalue()).frames.shape == (5, 48, 64, 3)

    def test_absurd_size(self):
        header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\0\0\0\x01\0\0\x08\x02\0\0\0"
        with pytest.raises(DecodeError):
            read_media(header + b"\0" * 300)


SOUNDS = [
    ("aac", "m4a", 44100, 2),
    ("aac", "mp4", 48000, 6),
    ("aac", "aac", 16000, 1),
    ("libmp3lame", "mp3", 44100, 2),
    ("libmp3lame", "mp3", 22050, 1),
    ("libopus", "webm", 48000, 1),
    ("libopus", "ogg", 48000, 6),
    ("flac", "flac", 96000, 2),
    ("ac3", "ts", 48000, 6),
    ("pcm_s16le", "wav", 8000, 1),
    ("pcm_s16le", "wav", 192000, 1),
    ("pcm_s24le", "wav", 48000, 8),
    ("pcm_f32le", "wav", 48000, 6),
    ("pcm_u8", "wav", 11025, 1),
]


class TestSound:
    @pytest.mark.parametrize(("codec", "suffix", "rate", "channels"), SOUNDS)
    def test_tone_and_length(self, tmp_path, codec, suffix, rate, channels):
        samples = mf.tone(2.0, rate, channels=channels)
        path = mf.write_sound(tmp_path / f"a.{suffix}", codec, samples=samples, rate=rate)
        media = read_media(path)
        assert media.frames is None and media.frame_times.shape == (0,)
        assert media.sound.dtype == np.float32 and media.rate == 16000
        assert len(media.sound) / 16000 == pytest.approx(2.0, abs=0.15)
        assert media.duration == pytest.approx(len(media.sound) / 16000, abs=1e-4)
        assert frequency(media.sound, 16000) == pytest.approx(440, abs=2)
        assert np.abs(media.sound[2000:-2000]).max() == pytest.approx(0.5, abs=0.12)
        part = read_media(path, start=0.5, end=1.25)
        assert len(part.sound) == 12000

    def test_other_rate(self, tmp_path):
        samples = mf.tone(1.0, 16000)
        path = mf.write_sound(tmp_path / "a.wav", samples=samples, rate=16000)
        assert len(read_media(path, rate=22050).sound) == 22050
        same = read_media(path).sound
        np.testing.assert_allclose(same, samples[0], atol=1e-4)

    @pytest.mark.parametrize("channels", [3, 5, 12])
    def test_channels_without_a_layout(self, channels):
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(16000)
            samples = mf.tone(1.0, 16000, channels=channels)
            file.writeframes((samples.T * 32767).astype("<i2").tobytes())
        sound = read_media(buffer.getvalue()).sound
        assert frequency(sound, 16000) == pytest.approx(440, abs=2)

    def test_stereo_is_averaged(self, tmp_path):
        samples = mf.tone(1.0, 16000, channels=2) * np.array([[1.9], [0.1]], np.float32)
        path = mf.write_sound(tmp_path / "a.wav", "pcm_f32le", samples=samples, rate=16000)
        np.testing.assert_allclose(read_media(path).sound, samples.mean(0), atol=1e-5)

    @pytest.mark.parametrize(
        ("codec", "suffix"),
        [
            ("aac", "mp4"),
            ("libmp3lame", "mp3"),
            ("flac", "flac"),
            ("aac", "ts"),
            ("libopus", "ogg"),
        ],
    )
    @pytest.mark.parametrize("rate", [44100, 48000])
    def test_a_cut_is_the_part_of_the_whole(self, tmp_path, codec, suffix, rate):
        if codec == "libopus" and rate == 44100:
            pytest.skip("Opus has no 44.1 kHz")
        seconds = np.arange(rate * 8) / rate
        sweep = 0.5 * np.sin(2 * np.pi * (200 * seconds + 60 * seconds**2))
        path = tmp_path / f"a.{suffix}"
        mf.write_sound(path, codec, samples=sweep[None].astype(np.float32), rate=rate)
        whole = read_media(path).sound
        for start, end in ((0.37, 1.9), (4.123, 6.5), (7.2, None)):
            part = read_media(path, start=start, end=end).sound
            expected = whole[round(start * 16000) : end and round(end * 16000)]
            assert abs(len(part) - len(expected)) <= 1
            n = min(len(part), len(expected))
            shift = min(
                float(np.abs(part[5 : n - 5] - expected[5 + k : n - 5 + k]).max())
                for k in (-1, 0, 1)
            )
            assert shift < 5e-3

    def test_sound_longer_and_shorter_than_the_picture(self, tmp_path):
        for seconds in (1.0, 4.0):
            path = tmp_path / f"{seconds}.mp4"
            mf.write_clip(path, sound={"samples": mf.tone(seconds, 44100)})
            media = read_media(path)
            assert len(media.frames) == 12
            assert len(media.sound) / 16000 == pytest.approx(seconds, abs=0.06)
            assert media.duration == pytest.approx(max(seconds, 2.0), abs=0.06)
            assert media.warnings == ()

    def test_span_beyond_the_sound(self, tmp_path):
        path = tmp_path / "a.mp4"
        mf.write_clip(path, video={"n": 100}, sound={"samples": mf.tone(1.0, 44100)})
        media = read_media(path, start=2.0)
        assert media.sound is None and len(media.frames) == 12
        assert len(media.warnings) == 1 and "sound" in media.warnings[0]

    def test_sound_that_begins_later(self, tmp_path):
        path = mf.write_clip(tmp_path / "a.mkv", sound={"start": 1.0})
        assert len(read_media(path).sound) / 16000 == pytest.approx(2.0, abs=0.06)
        assert len(read_media(path, end=1.5).sound) / 16000 == pytest.approx(0.5, abs=0.06)

    def test_long_sound_keeps_blocks(self, tmp_path):
        levels = np.repeat(np.arange(1, 42) / 50, 8000)[: 40 * 8000 + 1000]
        path = tmp_path / "a.wav"
        mf.write_sound(path, "pcm_f32le", samples=levels[None].astype(np.float32), rate=8000)
        how = {"rate": 8000, "sound_block": 1.0, "max_sound_blocks": 4}
        media = read_media(path, **how)
        assert len(media.sound) == 4 * 8000
        chosen = media.sound.reshape(4, 8000)[:, 4000]
        assert list(np.round(chosen * 50 - 1)) == choose_blocks(40, 4) == [5, 15, 25, 35]
        assert media.duration == pytest.approx(40.125)
        whole = read_media(path, **{**how, "max_sound_blocks": None})
        assert len(whole.sound) == 40 * 8000 + 1000
        late = read_media(path, start=10.0, **how)
        assert list(np.round(late.sound.reshape(4, 8000)[:, 4000] * 50 - 11)) == choose_blocks(
            30, 4
        )

    def test_a_block_is_the_block_of_the_whole(self, tmp_path):
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 44100 * 9)).astype(np.float32)
        path = mf.write_sound(tmp_path / "a.flac", "flac", samples=noise, rate=44100)
        whole = read_media(path).sound
        some = read_media(path, sound_block=2.0, max_sound_blocks=2).sound
        blocks = [whole[i * 32000 : (i + 1) * 32000] for i in choose_blocks(5, 2)]
        np.testing.assert_array_equal(some, np.concatenate(blocks))

    def test_nan_becomes_silence(self, tmp_path):
        samples = mf.tone(1.0, 16000)
        samples[0, 500:510] = np.nan
        path = mf.write_sound(tmp_path / "a.wav", "pcm_f32le", samples=samples, rate=16000)
        media = read_media(path)
        assert (media.sound[500:510] == 0).all() and "10 samples" in media.warnings[0]

    def test_cover_picture_is_no_video(self, tmp_path):
        path = tmp_path / "a.mp3"
        with mf.writing(path) as writer:
            sound = writer.sound("libmp3lame", samples=mf.tone(1.0, 44100), rate=44100)
            cover = writer.video("mjpeg", n=1, pix_fmt="yuvj420p")
            for stream in writer.container.streams.video:
                stream.disposition = av.stream.Disposition.attached_pic.value
            writer.mux(sound, cover)
        media = read_media(path)
        assert media.frames is None and media.sound is not None
        with pytest.raises(MissingStreamError, match="video"):
            frames_only(path)


class TestSources:
    def test_every_way_gives_the_same(self, clip, tmp_path):
        expected = read_media(str(clip))
        named = tmp_path / "Größe 表情:1 100%d.mp4"
        named.write_bytes(clip.read_bytes())
        with open(clip, "rb") as file:
            file.seek(7)
            sources = [clip, clip.read_bytes(), io.BytesIO(clip.read_bytes()), file, str(named)]
            for source in sources:
                media = read_media(source)
                np.testing.assert_array_equal(media.frames, expected.frames)
                np.testing.assert_array_equal(media.sound, expected.sound)
            assert not file.closed and file.tell() == 7

    def test_file_that_cannot_seek(self, clip):
        class Pipe(io.RawIOBase):
            def __init__(self, data: bytes) -> None:
                self._data = io.BytesIO(data)

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                return self._data.readinto(buffer)

        with Pipe(clip.read_bytes()) as pipe:
            media = read_media(pipe)
            assert not pipe.closed
        np.testing.assert_array_equal(media.frames, read_media(clip).frames)

    def test_no_handle_stays_open(self, clip):
        folder = pathlib.Path("/proc/self/fd")
        if not folder.exists():
            pytest.skip("needs /proc")
        read_media(clip)
        before = len(list(folder.iterdir()))
        for source in (clip, clip.read_bytes()[:500], b"garbage" * 99, "missing.mp4"):
            for _ in range(3):
                try:
                    read_media(source)
                except MerclipError:
                    pass
        assert len(list(folder.iterdir())) == before


class TestRefusals:
    def test_missing_path(self, tmp_path):
        with pytest.raises(MediaNotFoundError, match="no file") as caught:
            read_media(tmp_path / "my clip.mp4")
        assert "text=" not in str(caught.value) and isinstance(caught.value, FileNotFoundError)
        with pytest.raises(MediaNotFoundError, match="did you mean text="):
            read_media("I can't believe you did that.")

    def test_wrong_kinds(self, tmp_path):
        with pytest.raises(MediaTypeError, match="list its files yourself"):
            read_media(tmp_path)
        with pytest.raises(MediaTypeError, match="download it first"):
            read_media("https://example.org/a.mp4")
        with pytest.raises(MediaTypeError, match='open it with "rb"'):
            read_media(io.StringIO("text"))
        for source in (3, None, np.zeros((3, 4, 4, 3), np.uint8), ["a.mp4"]):
            with pytest.raises(MediaTypeError, match="got"):
                read_media(source)

    @pytest.mark.parametrize(
        ("source", "name"),
        [
            (b"", "<bytes>"),
            (io.BytesIO(), "<stream>"),
            (b"garbage" * 99, "<bytes>"),
            (io.BytesIO(b"x"), "<stream>"),
            (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n", "<bytes>"),
        ],
    )
    def test_not_media(self, source, name):
        with pytest.raises(DecodeError, match=name):
            read_media(source)

    def test_empty_and_garbage_files(self, tmp_path):
        for data in (b"", random.Random(0).randbytes(5000)):
            path = tmp_path / "a.mp4"
            path.write_bytes(data)
            with pytest.raises(DecodeError, match=r"a\.mp4"):
                read_media(path)

    def test_closed_file(self, clip):
        with open(clip, "rb") as file:
            pass
        with pytest.raises(DecodeError):
            read_media(file)

    def test_subtitles_only(self):
        with pytest.raises(DecodeError, match="neither"):
            read_media(b"1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")

    def test_missing_streams(self, tmp_path):
        video = mf.write_video(tmp_path / "a.mp4", n=5)
        sound = mf.write_sound(tmp_path / "a.wav", samples=mf.tone(0.5, 44100))
        with pytest.raises(MissingStreamError, match="no sound"):
            sound_only(video)
        with pytest.raises(MissingStreamError, match="no video"):
            frames_only(sound)
        assert read_media(video).sound is None and read_media(sound).frames is None

    def test_nothing_decodes(self, tmp_path):
        path = mf.write_sound(tmp_path / "a.flac", "flac", samples=mf.tone(1.0, 44100))
        data = path.read_bytes()
        broken = data[:8000] + bytes(len(data) - 8000)
        with pytest.raises(DecodeError, match="sound"):
            read_media(broken)

    def test_span_after_the_end(self, clip):
        with pytest.raises(InputError, match="after the end"):
            read_media(clip, start=30)

    @pytest.mark.parametrize(
        "how",
        [
            {"start": -1},
            {"start": float("nan")},
            {"start": 2, "end": 1},
            {"n_frames": 0},
            {"rate": 0},
            {"sound_block": 0},
            {"max_sound_blocks": 0},
            {"want_video": False, "want_sound": False},
        ],
    )
    def test_impossible_numbers(self, clip, how):
        with pytest.raises(InputError):
            read_media(clip, **how)


class TestChannelsThatCancel:
    @pytest.mark.parametrize(
        ("codec", "suffix"), [("pcm_s16le", "wav"), ("flac", "flac"), ("aac", "m4a")]
    )
    @pytest.mark.parametrize("how", [{}, {"sound_block": 0.5, "max_sound_blocks": 4}])
    def test_give_the_loudest(self, tmp_path, codec, suffix, how):
        voice = mf.tone(24.0, 16000)[0]
        both = np.stack([voice, -0.9 * voice])
        path = tmp_path / f"a.{suffix}"
        mf.write_sound(path, codec, samples=both, rate=16000)
        sound = sound_only(path, **how).sound
        assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.5 / np.sqrt(2), abs=0.02)
        assert frequency(sound[:8000], 16000) == pytest.approx(440, abs=2)

    def test_of_a_clip_are_heard(self, tmp_path):
        voice = mf.tone(2.0, 44100)[0]
        sound = {"samples": np.stack([voice, -voice])}
        media = read_media(mf.write_clip(tmp_path / "a.mp4", sound=sound))
        assert np.abs(media.sound).max() > 0.4

    def test_a_channel_that_is_silent_is_averaged(self, tmp_path):
        voice = mf.tone(1.0, 16000)[0]
        both = np.stack([voice, np.zeros_like(voice)])
        path = mf.write_sound(tmp_path / "a.wav", samples=both, rate=16000)
        np.testing.assert_allclose(read_media(path).sound, voice / 2, atol=1e-4)


class TestTagsBeforeTheHeader:
    ID3 = b"ID3\3\0\0\0\0\1\0" + bytes(128)
    FOOTER = b"ID3\4\0\x10\0\0\0\x20" + bytes(42)
    APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (40).to_bytes(4, "little") + bytes(56)

    @pytest.mark.parametrize("tag", [ID3, FOOTER, APE, ID3 + APE + ID3])
    @pytest.mark.parametrize(
        ("codec", "format"),
        [
            ("pcm_s16le", "wav"),
            ("flac", "flac"),
            ("flac", "ogg"),
            ("pcm_s16be", "aiff"),
            ("flac", "matroska"),
            ("aac", "mp4"),
        ],
    )
    def test_are_passed_over(self, tmp_path, codec, format, tag):
        buffer = io.BytesIO()
        mf.write_sound(buffer, codec, format=format, samples=mf.tone(1.0, 16000), rate=16000)
        expected = read_media(buffer.getvalue()).sound
        (tmp_path / "a").write_bytes(tag + buffer.getvalue())
        for source in (tag + buffer.getvalue(), tmp_path / "a"):
            media = read_media(source)
            np.testing.assert_array_equal(media.sound, expected)
            assert not media.warnings


class TestLiveRecordings:
    """Files whose clock does not begin at zero."""

    @pytest.mark.parametrize("suffix", ["mkv", "flv", "mp4", "ts", "nut", "asf"])
    def test_are_whole(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        video = {"start": 100.0, "codec": "mpeg4" if suffix == "asf" else "libx264"}
        mf.write_clip(path, video=video, sound={"start": 100.0})
        media = read_media(path)
        assert media.warnings == ()
        assert media.duration == pytest.approx(2.0, abs=0.3)

    def test_that_are_cut_say_so(self, tmp_path):
        path = tmp_path / "a.mkv"
        video = {"n": 250, "gop": 10, "start": 1.0}
        mf.write_clip(path, video=video, sound={"samples": mf.tone(10.0, 44100), "start": 1.0})
        data = path.read_bytes()
        assert not read_media(data).warnings
        assert any("seconds of the video" in s for s in read_media(data[: len(data) // 3]).warnings)


FAR = {"sound_block": 0.5, "max_sound_blocks": 4}


class TestFarBlocks:
    """Sound of which a few blocks are used is not decoded in between."""

    @pytest.fixture
    def read_in_blocks(self, monkeypatch):
        found = []
        original = _sound._read_far_blocks

        def spy(*arguments: Any) -> Any:
            found.append(original(*arguments))
            return found[-1]

        monkeypatch.setattr(_sound, "_read_far_blocks", spy)
        return found

    @staticmethod
    def sweep(rate: int, seconds: float = 24.0) -> np.ndarray:
        time = np.arange(round(rate * seconds)) / rate
        return (0.4 * np.sin(2 * np.pi * (200 + 20 * time) * time)[None]).astype(np.float32)

    @pytest.mark.parametrize(
        ("codec", "suffix", "rate", "tolerance"),
        [
            ("pcm_s16le", "wav", 44100, 1e-6),
            ("pcm_s16le", "wav", 16000, 0),
            ("flac", "flac", 44100, 1e-6),
            ("aac", "m4a", 44100, 1e-3),
            ("aac", "aac", 44100, 1e-3),
            ("libmp3lame", "mp3", 44100, 1e-4),
            ("libopus", "ogg", 48000, 1e-3),
        ],
    )
    @pytest.mark.parametrize("span", [{}, {"start": 3.21, "end": 22.5}])
    def test_samples_are_those_of_the_whole(
        self, tmp_path, monkeypatch, read_in_blocks, codec, suffix, rate, tolerance, span
    ):
        formats = {"m4a": "mp4", "aac": "adts"}
        path = tmp_path / f"a.{suffix}"
        mf.write_sound(path, codec, format=formats.get(suffix), samples=self.sweep(rate), rate=rate)
        quick = sound_only(path, **FAR, **span)
        assert read_in_blocks[0] is not None
        monkeypatch.setattr(_sound, "_are_far_apart", lambda *_: False)
        whole = sound_only(path, **FAR, **span)
        assert quick.duration == whole.duration and not quick.warnings
        np.testing.assert_allclose(quick.sound, whole.sound, rtol=0, atol=tolerance)
        assert len(quick.sound) == 4 * 8000

    @pytest.mark.parametrize("suffix", ["mkv", "ts"])
    def test_rounded_times_are_not_relied_upon(self, tmp_path, read_in_blocks, suffix):
        path = mf.write_sound(tmp_path / f"a.{suffix}", "aac", samples=self.sweep(44100))
        assert len(sound_only(path, **FAR).sound) == 32000
        assert all(found is None for found in read_in_blocks)

    def test_a_gap_or_a_lie_about_places_is_read_on(self, tmp_path, monkeypatch, read_in_blocks):
        path = mf.write_sound(tmp_path / "a.wav", samples=self.sweep(16000), rate=16000)
        expected = sound_only(path, **FAR).sound
        original = _sound._is_gapless

        def misled(track: Any) -> bool:
            track.places = [place + 1 for place in track.places]
            return original(track)

        monkeypatch.setattr(_sound, "_is_gapless", misled)
        np.testing.assert_array_equal(sound_only(path, **FAR).sound, expected)
        assert read_in_blocks[0] is not None and read_in_blocks[1] is None


class TestFastFrames:
    def test_key_frames_stand_for_frames_near_them(self, tmp_path):
        path = mf.write_video(tmp_path / "a.mp4", n=250, gop=5, b_frames=2)
        exact, fast = frames_only(path, n_frames=6), frames_only(path, n_frames=6, fast=True)
        with av.open(path) as container:
            keys = {
                round(float(p.pts * p.time_base), 3) for p in container.demux() if p.is_keyframe
            }
        assert {round(time, 3) for time in fast.frame_times} <= keys
        assert np.abs(fast.frame_times - exact.frame_times).max() <= 0.1
        assert not np.array_equal(fast.frame_times, exact.frame_times)
        shown = [mf.index_of(frame) for frame in fast.frames]
        assert shown == [round(time * 25) for time in fast.frame_times]

    @pytest.mark.parametrize("how", [{"n": 100, "gop": 250}, {"n": 100, "gop": 20}, {"n": 8}])
    def test_few_key_frames_are_no_reason(self, tmp_path, how):
        path = mf.write_video(tmp_path / "a.mp4", **how)
        fast = frames_only(path, fast=True)
        np.testing.assert_array_equal(fast.frames, frames_only(path).frames)

    def test_a_key_frame_too_far_is_not_taken(self):
        span = _frames._Span(0.0, 60.0, 3, fast=True)
        times = np.arange(60) / 1.0
        found = span.nearby(np.array([10, 30, 50]), np.array([0, 10, 29, 31, 51]), times)
        assert found.tolist() == [10, 30, 50]
        times = np.arange(60) / 4.0
        found = span.nearby(np.array([10, 30, 50]), np.array([0, 10, 29, 31, 50]), times)
        assert found.tolist() == [10, 29, 50]


class TestDamage:
    @pytest.mark.parametrize("suffix", ["mkv", "mp4"])
    def test_truncated_file_is_used(self, tmp_path, suffix):
        # A plain MP4 keeps its table at its end and is lost with it.
        options = {"movflags": "+faststart"} if suffix == "mp4" else {}
        path = mf.write_clip(
            tmp_path / f"a.{suffix}",
            video={"n": 100, "gop": 10},
            sound={"samples": mf.tone(4.0, 44100)},
            container_options=options,
        )
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
        media = read_media(path)
        assert len(media.frames) == 12 and media.sound is not None
        assert 1 < media.duration < 3.5
        assert any("of 4.0 seconds" in sentence for sentence in media.warnings)
        assert not read_media(path, end=0.5).warnings

    def test_truncated_stream_without_a_length(self):
        data = mf.clip_bytes("mpegts", video={"n": 100, "gop": 10})
        assert len(read_media(data[: len(data) // 2]).frames) == 12

    def test_corrupt_part_is_told(self, tmp_path):
        samples = np.random.default_rng(0).normal(0, 0.1, (1, 44100 * 4)).astype(np.float32)
        path = mf.write_sound(tmp_path / "a.mkv", "flac", samples=samples, rate=44100)
        data = bytearray(path.read_bytes())
        with av.open(path) as container:
            places = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
        for position, size in places[10:30]:
            data[position + 12 : position + size] = bytes(size - 12)
        media = read_media(bytes(data))
        assert len(media.warnings) == 1 and "could be read" in media.warnings[0]

    def test_only_merclip_errors_come_out(self):
        fast = {"deadline": "realtime", "cpu-used": "8"}
        webm = {"codec": "libvpx-vp9", "n": 20, "options": fast}
        opus = {"codec": "libopus", "rate": 48000, "samples": mf.tone(1.0, 48000)}
        files = [
            mf.clip_bytes("mp4", video={"n": 30, "gop": 10}),
            mf.clip_bytes("mpegts", video={"n": 30, "gop": 10}),
            mf.clip_bytes("avi", video={"codec": "mpeg4", "n": 30}, sound={"codec": "libmp3lame"}),
            mf.clip_bytes("webm", video=webm, sound=opus),
        ]
        for codec, format in (("pcm_s16le", "wav"), ("libmp3lame", "mp3"), ("flac", "flac")):
            buffer = io.BytesIO()
            mf.write_sound(buffer, codec, format=format, samples=mf.tone(0.5, 44100))
            files.append(buffer.getvalue())
        rng = random.Random(0)
        outcomes = set()
        for _ in range(200):
            try:
                media = read_media(mutated(rng.choice(files), rng), n_frames=rng.choice([2, 12]))
            except MerclipError:
                outcomes.add("refused")
                continue
            outcomes.add("read")
            assert np.isfinite(media.duration) and media.duration > 0
            assert media.sound is None or np.isfinite(media.sound).all()
        assert outcomes == {"refused", "read"}


def mutated(data: bytes, rng: random.Random) -> bytes:
    copy = bytearray(data)
    way = rng.randrange(3)
    if way == 0:
        del copy[rng.randrange(1, len(copy)) :]
    elif way == 1:
        for _ in range(rng.choice([1, 5, 50])):
            copy[rng.randrange(len(copy))] = rng.randrange(256)
    else:
        for _ in range(rng.choice([1, 5, 20])):
            copy[rng.randrange(min(len(copy), 800))] = rng.randrange(256)
    return bytes(copy)


class TestArrays:
    def test_frames_as_for_a_file(self, tmp_path):
        array = np.stack([mf.picture(i) for i in range(100)])
        path = mf.write_video(tmp_path / "a.mkv", "ffv1", n=100, pix_fmt="bgr0")
        for span in SPANS:
            frames, times = read_video_array(
                Video(array, fps=25), **{"start": 0.0, "end": None, "n_frames": 12, **span}
            )
            media = frames_only(path, **span)
            np.testing.assert_array_equal(frames, media.frames)
            np.testing.assert_allclose(times, media.frame_times, atol=1e-3)

    def test_sound(self):
        samples = mf.tone(3.0, 44100)
        sound = read_audio_array(Audio(samples, rate=44100), start=1.0, end=2.5, rate=16000)
        assert sound.dtype == np.float32 and abs(len(sound) - 24000) <= 1
        assert frequency(sound, 16000) == pytest.approx(440, abs=2)
        same = read_audio_array(Audio(samples, rate=44100), start=0, end=None, rate=44100)
        np.testing.assert_array_equal(same, samples[0])

    def test_span_after_the_end(self):
        with pytest.raises(InputError, match="start=9"):
            read_video_array(Video(np.zeros((5, 8, 8, 3), np.uint8), fps=5), start=9)
        with pytest.raises(InputError, match="start=9"):
            read_audio_array(Audio(np.zeros(1000), rate=1000), start=9)


@pytest.mark.parametrize(
    ("n_blocks", "max_blocks", "expected"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (10, 3, [1, 5, 8]), (9, 1, [4]), (0, 3, [])],
)
def test_choose_blocks(n_blocks, max_blocks, expected):
    assert choose_blocks(n_blocks, max_blocks) == expected


def test_import_needs_no_torch():
    code = "import sys, merclip.media._read; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
