"""A part of the picture: `Clip.region`."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest

from merclip import Clip, Clips, Video
from merclip.datasets import load_iemocap
from merclip.errors import InputError, InputTypeError
from merclip.inputs import as_clips
from merclip.preprocess import FaceFinder, PreprocessConfig, Preprocessor

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
DARK, BRIGHT = 40, 200


def write_halves(path, *, left: int = DARK, right: int = BRIGHT) -> str:
    """Write two seconds of a grey left half and another grey on the right."""
    picture = np.full((48, 96, 3), left, np.uint8)
    picture[:, 48:] = right
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 96, "yuvj420p"
        for _ in range(20):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def frames_of(clip: Clip, finder: FaceFinder | None = None) -> np.ndarray:
    config = PreprocessConfig(image_size=32)
    frames = Preprocessor(config, "V", finder=finder)(clip).frames
    assert frames is not None
    return frames.numpy()


@pytest.mark.parametrize(("region", "level"), [(LEFT, DARK), (RIGHT, BRIGHT)])
def test_half_of_a_file(tmp_path, region, level):
    path = write_halves(tmp_path / "a.avi")
    whole = frames_of(Clip(path))
    assert whole.min() < DARK + 10 and whole.max() > BRIGHT - 10
    # Compression smears the edge by less than half a block.
    np.testing.assert_allclose(frames_of(Clip(path, region=region)), level, atol=6)


@pytest.mark.parametrize(
    ("region", "rows", "columns"),
    [
        (LEFT, slice(None), slice(0, 20)),
        (RIGHT, slice(None), slice(20, 41)),
        ((0.25, 0.5, 0.75, 1), slice(15, 30), slice(10, 31)),
        ((0, 0, 1e-6, 1e-6), slice(0, 1), slice(0, 1)),
        ((1 - 1e-6, 0, 1, 1), slice(None), slice(40, 41)),
        ((0, 0, 1, 1), slice(None), slice(None)),
    ],
)
def test_a_region_is_what_cutting_by_hand_gives(region, rows, columns):
    frames = np.random.default_rng(0).integers(0, 256, (5, 30, 41, 3)).astype(np.uint8)
    found = frames_of(Clip(Video(frames, fps=5), region=region))
    np.testing.assert_array_equal(found, frames_of(Clip(Video(frames[:, rows, columns], fps=5))))


def test_faces_are_looked_for_in_the_region(tmp_path):
    pytest.importorskip("cv2")
    shapes = []
    finder = FaceFinder(lambda picture, smallest: shapes.append(picture.shape) or [])
    frames = np.zeros((3, 120, 200, 3), np.uint8)
    frames_of(Clip(Video(frames, fps=5), region=(0.5, 0, 1, 1)), finder)
    assert set(shapes) == {(120, 100, 3)}


def test_sound_and_text_are_left_alone(tiny):
    clf = tiny(["a", "b"])
    np.testing.assert_array_equal(
        clf.predict_proba([Clip(text="hi", region=LEFT)]), clf.predict_proba([Clip(text="hi")])
    )


@pytest.mark.parametrize(
    "region",
    [
        (0, 0, 0, 1),
        (0.5, 0, 0.2, 1),
        (0, 1, 1, 0),
        (-0.1, 0, 1, 1),
        (0, 0, 100, 200),
        (0, 0, float("nan"), 1),
    ],
)
def test_an_impossible_region_is_an_error(region):
    with pytest.raises(InputError, match="0 <= left < right <= 1"):
        Clip("a.mp4", region=region)


@pytest.mark.parametrize(
    "region", ["left", (0, 1), 0.5, ("0", 0, 1, 1), {"left": 0}, [[0, 0, 1, 1]]]
)
def test_a_region_is_four_numbers(region):
    with pytest.raises(InputTypeError, match="four numbers"):
        Clip("a.mp4", region=region)
    with pytest.raises(InputTypeError, match="Row 1: region is four numbers"):
        as_clips([{"video": "b.mp4"}, {"video": "a.mp4", "region": region}])


def test_a_region_comes_by_keyword_row_column_and_json():
    clip = Clip("a.mp4", region=np.array([0, 0, 0.5, 1], np.float32))
    assert clip.region == LEFT
    assert "region=(0.0, 0.0, 0.5, 1.0)" in repr(clip)
    row = json.loads('{"video": "a.mp4", "region": [0, 0, 0.5, 1]}')
    assert as_clips([row, {"video": "a.mp4", "region": None}]).clips[0].region == LEFT
    columns = Clips.from_columns(video=["a.mp4", "b.mp4"], region=[LEFT, None])
    assert [clip.region for clip in columns] == [LEFT, None]
    pytest.importorskip("pandas")
    again = as_clips(columns.to_frame()).clips
    assert [clip.region for clip in again] == [LEFT, None]


def test_iemocap_shows_the_speaker(tmp_path):
    session, dialogue = tmp_path / "Session1", "Ses01F_impro01"
    write_halves(session / "dialog" / "avi" / "DivX" / f"{dialogue}.avi")
    evaluations = session / "dialog" / "EmoEvaluation"
    evaluations.mkdir()
    (evaluations / f"{dialogue}.txt").write_text(
        f"[0.0000 - 1.0000]\t{dialogue}_F000\tneu\t[2.5, 2.5, 2.5]\n"
        f"[0.5000 - 1.5000]\t{dialogue}_M000\tang\t[2.5, 2.5, 2.5]\n"
    )
    left, right = load_iemocap(tmp_path, modalities=["video"]).clips
    np.testing.assert_allclose(frames_of(left), DARK, atol=6)
    np.testing.assert_allclose(frames_of(right), BRIGHT, atol=6)
