"""What a sample is: clips, batches of them, and media in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from merclip import Audio, Clip, Clips, Video
from merclip.errors import InputError, InputTypeError, ShapeError
from merclip.types import as_numpy

# Clip and Clips -----------------------------------------------------------------


def test_a_clip_takes_its_parts_by_position_and_the_rest_by_keyword() -> None:
    clip = Clip("a.mp4", "a.wav", "hello", start=1.0, end=2.0, id="x")
    assert (clip.video, clip.audio, clip.text) == ("a.mp4", "a.wav", "hello")
    with pytest.raises(TypeError):
        Clip("a.mp4", "a.wav", "hello", 1.0)  # type: ignore[misc]


def test_a_clip_is_named_by_its_id_else_its_path() -> None:
    assert Clip("a.mp4", id="first").name == "first"
    assert Clip(Path("d") / "a.mp4").name == str(Path("d") / "a.mp4")
    assert Clip(audio="b.wav").name == "b.wav"
    assert Clip(text="hello").name is None
    assert Clip(text="hello", id=7).name == "7"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "span", [{"start": -1}, {"start": float("nan")}, {"start": 2, "end": 2}, {"end": 0}]
)
def test_an_impossible_span_is_an_error(span: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"start|end"):
        Clip("a.mp4", **span)


@pytest.mark.parametrize("span", [{"start": None}, {"start": "1"}, {"end": "2"}, {"end": True}])
def test_a_span_is_given_in_numbers(span: dict[str, Any]) -> None:
    with pytest.raises(InputTypeError, match="numbers of seconds"):
        Clip("a.mp4", **span)
    with pytest.raises(InputTypeError, match="numbers of seconds"):
        Clips([{"video": "a.mp4", **span}])


def test_clips_index_like_an_array() -> None:
    clips = Clips([Clip(text=word) for word in "abcd"])
    assert len(clips) == 4
    assert clips[1].text == "b" == clips[np.int64(1)].text
    assert clips[-1].text == "d"
    for key in (slice(1, 3), [1, 2], np.array([1, 2]), np.array([False, True, True, False])):
        part = clips[key]
        assert isinstance(part, Clips)
        assert [clip.text for clip in part] == ["b", "c"]
    assert len(clips[[]]) == 0
    assert len(clips[np.array([], dtype=int)]) == 0


def test_clips_refuse_a_wrong_index() -> None:
    clips = Clips([Clip(text="a"), Clip(text="b")])
    with pytest.raises(IndexError):
        clips[2]
    with pytest.raises(IndexError, match="mask of length 3"):
        clips[[True, False, True]]
    with pytest.raises(TypeError, match="integers"):
        clips[[0.5]]
    with pytest.raises(TypeError, match="integers"):
        clips["text"]


def test_clips_from_columns_pair_up_rows() -> None:
    clips = Clips.from_columns(video=["a", "b"], text=["x", None], start=[0, 1.5])
    assert [(clip.video, clip.text, clip.start) for clip in clips] == [
        ("a", "x", 0),
        ("b", None, 1.5),
    ]
    assert len(Clips.from_columns()) == 0


def test_columns_of_different_length_are_an_error_with_their_lengths() -> None:
    with pytest.raises(InputError, match="video: 1, text: 2"):
        Clips.from_columns(video=["a"], text=["x", "y"])


def test_clips_refuse_what_is_no_clip() -> None:
    with pytest.raises(InputTypeError, match="vidoe"):
        Clips([{"vidoe": "a.mp4"}])
    with pytest.raises(InputTypeError, match="str"):
        Clips(["a.mp4"])  # type: ignore[list-item]


def test_clips_become_a_frame_and_come_back() -> None:
    pytest.importorskip("pandas")
    frame = Clips([Clip(text="a", id="x"), Clip(video="v.mp4", start=1, end=2)]).to_frame()
    assert frame.columns.tolist() == ["video", "audio", "text", "start", "end", "region", "id"]
    assert frame["text"][0] == "a"
    assert frame["end"][1] == 2


# Video ---------------------------------------------------------------------------


def test_video_takes_uint8_float_and_tensors_alike() -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    for same in (pixels, pixels / 255, (pixels / 255).astype(np.float32), torch.tensor(pixels)):
        np.testing.assert_array_equal(Video(same, fps=5).frames, pixels)


def test_video_takes_one_picture_and_grey_frames() -> None:
    picture = np.full((4, 5, 3), 7, np.uint8)
    assert Video(picture, fps=1).frames.shape == (1, 4, 5, 3)
    grey = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
    frames = Video(grey, fps=1).frames
    assert frames.shape == (2, 4, 5, 3)
    assert (frames == grey[..., None]).all()


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((2, 3, 16, 20), r"transpose\(0, 2, 3, 1\)"),
        ((3, 2, 16, 20), r"transpose\(1, 2, 3, 0\)"),
        ((3, 16, 20), r"transpose\(1, 2, 0\)"),
        ((2, 16, 20, 4), r"alpha channel.*\[\.\.\., :3\]"),
        ((16, 20, 4), r"alpha channel.*\[\.\.\., :3\]"),
        ((16, 20), r"\(16, 20\)"),
        ((1, 2, 16, 20, 3), r"\(T, H, W, 3\)"),
    ],
)
def test_frames_of_another_shape_are_an_error_with_a_hint(
    shape: tuple[int, ...], hint: str
) -> None:
    with pytest.raises(ShapeError, match=hint):
        Video(np.zeros(shape, np.uint8), fps=25)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((1, 4, 4, 3), 200.0), "divide values of 0..255 by 255"),
        (np.full((1, 4, 4, 3), -1.0), "lie in"),
        (np.full((1, 4, 4, 3), np.nan), "NaN"),
        (np.full((1, 4, 4, 3), np.inf), "infinite"),
        (np.zeros((1, 4, 4, 3), np.int64), "int64"),
        (np.zeros((0, 4, 4, 3), np.uint8), "empty"),
    ],
)
def test_frames_with_impossible_values_are_an_error(array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Video(array, fps=25)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "25", None, True])
def test_fps_is_a_positive_number(fps: Any) -> None:
    with pytest.raises(InputError, match="fps must be a positive number"):
        Video(np.zeros((1, 4, 4, 3), np.uint8), fps=fps)


# Audio ---------------------------------------------------------------------------


def test_audio_takes_float_integers_and_tensors_alike() -> None:
    whole = np.array([0, 16384, -32768, 32767], np.int16)
    expected = whole / 32768
    wide = whole.astype(np.int64)
    alike = [whole, whole.astype(">i2"), whole.astype("<i2"), torch.tensor(whole)]
    alike += [wide << 16, (wide << 16).astype(np.int32), (wide << 16).astype(">i4")]
    alike = [part.astype(np.int32) if part.dtype == np.int64 else part for part in alike]
    alike += [wide << 48, (wide + 32768).astype(np.uint16), expected, expected.astype(np.float32)]
    alike += [expected.astype(">f8"), torch.tensor(expected)]
    for same in alike:
        np.testing.assert_allclose(Audio(same, rate=8000).samples, expected, atol=1e-7)
    for rough in (expected.astype(np.float16), torch.tensor(expected).bfloat16()):
        np.testing.assert_allclose(Audio(rough, rate=8000).samples, expected, atol=1e-3)
    bytes_of_a_wav = np.array([128, 192, 0, 255], np.uint8)
    for short in (bytes_of_a_wav, (wide >> 8).astype(np.int8)):
        np.testing.assert_allclose(Audio(short, rate=8000).samples, expected, atol=1 / 128)


@pytest.mark.parametrize("array", [[0, 9000, -8000], np.array([0, 200], np.int32)])
def test_integers_of_a_wider_type_than_their_samples_are_refused(array: Any) -> None:
    with pytest.raises(InputError, match="cast it to their type, such as int16"):
        Audio(array, rate=8000)


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", ">i2", ">i4", "f4"])
def test_sound_is_taken_as_scipy_reads_it(kind: str, tmp_path: Path) -> None:
    wavfile = pytest.importorskip("scipy.io.wavfile")
    wave = 0.5 * np.sin(np.arange(800) / 5)
    kinds = np.dtype(kind)
    scale = {1: 127, 2: 32767, 4: 2**31 - 1}[kinds.itemsize] if kinds.kind != "f" else 1
    samples = (wave * scale + (128 if kinds.kind == "u" else 0)).astype(kinds)
    wavfile.write(tmp_path / "a.wav", 8000, np.stack([samples, samples], 1))
    rate, array = wavfile.read(tmp_path / "a.wav")
    np.testing.assert_allclose(Audio(array, rate=rate).samples, wave, atol=0.02)


def test_channels_are_averaged_whichever_way_they_lie() -> None:
    left, right = np.random.default_rng(0).uniform(-1, 1, (2, 100))
    for array in (np.stack([left, right]), np.stack([left, right], 1), np.array([right, left])):
        samples = Audio(array, rate=8000).samples
        np.testing.assert_allclose(samples, (left + right) / 2, atol=1e-6)
        assert samples.dtype == np.float32 and samples.flags.c_contiguous
    np.testing.assert_allclose(Audio(left[None, ::-1], rate=8000).samples, left[::-1], atol=1e-6)
    np.testing.assert_allclose(Audio(left[:, None], rate=8000).samples, left, atol=1e-6)


@pytest.mark.parametrize("gain", [1.0, 0.8])
def test_channels_that_cancel_give_the_loudest(gain: float) -> None:
    voice = np.sin(np.arange(1000) / 7)
    hum = 0.05 * np.sin(np.arange(1000) / 90)
    for array in (np.array([voice + hum, hum - gain * voice]), np.array([voice, -gain * voice])):
        loudest = array[(array**2).sum(1).argmax()]
        np.testing.assert_allclose(Audio(array, rate=8000).samples, loudest, atol=1e-6)
    many = np.array([0.5 * voice, -voice, *np.zeros((4, 1000)), 0.5 * voice])
    np.testing.assert_allclose(Audio(many, rate=8000).samples, many[1], atol=1e-6)


def test_a_channel_alone_and_channels_without_relation_are_averaged() -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (12, 4000))
    np.testing.assert_allclose(Audio(noise, rate=8000).samples, noise.mean(0), atol=1e-6)
    noise[1:] = 0
    np.testing.assert_allclose(Audio(noise, rate=8000).samples, noise[0] / 12, atol=1e-6)


def test_sound_a_little_over_full_scale_is_taken() -> None:
    assert Audio(np.array([1.2, -1.1]), rate=8000).samples.max() > 1


@pytest.mark.parametrize("rate", [1, 999, 10**7])
def test_rate_is_that_of_a_sound(rate: int) -> None:
    with pytest.raises(InputError, match="rate must lie in 1000 to 1000000 Hz"):
        Audio(np.zeros(10), rate=rate)


@pytest.mark.parametrize("rate", [0, -16000, float("nan"), float("inf"), "16000", None, True])
def test_rate_is_a_positive_number(rate: Any) -> None:
    with pytest.raises(InputError, match="rate must be a positive number of Hz"):
        Audio(np.zeros(10), rate=rate)


def test_rate_may_be_a_numpy_or_torch_scalar() -> None:
    for rate in (np.int64(8000), np.float32(8000), torch.tensor(8000), np.array(8000)):
        assert Audio(np.zeros(10), rate=rate).rate == 8000


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.array([0.0, np.nan]), InputError, r"nan at position \(1,\)"),
        (np.array([[0.0, 0.0], [np.inf, 0.0]]), InputError, r"inf at position \(1, 0\)"),
        (np.zeros(0), InputError, "empty"),
        (np.array([True, False]), InputError, "integers, got bool"),
        (np.array([0j]), InputError, "integers, got complex128"),
        (np.array([0.0, 30000.0]), InputError, "peak of 30000"),
        (np.zeros((2, 2, 2)), ShapeError, r"\(channels, n\) or \(n, channels\)"),
        (np.zeros((80, 300)), ShapeError, "at most 32 channels"),
        (torch.zeros(9, device="meta"), InputTypeError, "dense and in memory"),
        (torch.zeros(9).to_sparse(), InputTypeError, "dense and in memory"),
        (np.array(["a"]), InputError, "floating point"),
        ([[0.0, 0.1], [0.0]], ShapeError, "Nested lists"),
    ],
)
def test_sound_that_cannot_be_used_is_an_error(
    array: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Audio(array, rate=8000)


def test_duration_and_repr_tell_what_is_held() -> None:
    assert Audio(np.zeros(4000), rate=8000).duration == 0.5
    assert Video(np.zeros((5, 4, 4, 3), np.uint8), fps=10).duration == 0.5
    assert repr(Audio(np.zeros(4), rate=8000)) == "Audio(shape=(4,), rate=8000)"
    assert repr(Video(np.zeros((1, 4, 4, 3), np.uint8), fps=10)) == (
        "Video(shape=(1, 4, 4, 3), fps=10)"
    )


def test_bfloat16_and_tensors_with_a_gradient_become_numpy() -> None:
    tensor = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(as_numpy(tensor), [1, 1, 1])
