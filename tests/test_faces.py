"""The speaker's face: found, followed, cropped, or left alone."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from merclip import Video
from merclip.engine import face_finder
from merclip.errors import FaceWarning, InputError, MissingExtraError
from merclip.media import read_media
from merclip.preprocess import FaceFinder, PreprocessConfig, VisionConfig, faces
from merclip.preprocess.faces import Box, crop

pytest.importorskip("cv2")
EXAMPLE = Path(__file__).parents[1] / "examples" / "happy.mp4"


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Return twelve frames of a drawn face, which YuNet finds."""
    media = read_media(
        EXAMPLE,
        start=0.0,
        end=None,
        n_frames=12,
        rate=16000,
        want_video=True,
        want_sound=False,
        sound_block=2.0,
        max_sound_blocks=1,
    )
    assert media.frames is not None
    return media.frames


def scene(places: list[tuple[int, int] | None], side: int = 60, bright: int = 0) -> np.ndarray:
    """Return frames of 240 x 320 with a white square around each place (x, y)."""
    y, x = np.mgrid[:240, :320]
    ground = (110 + 40 * np.sin(x / 37 + bright) + 30 * np.cos(y / 29 + 3 * bright)).astype(
        np.uint8
    )
    frames = np.repeat(np.repeat(ground[None, ..., None], 3, -1), len(places), 0)
    for frame, place in zip(frames, places, strict=True):
        if place is not None:
            left, top = place[0] - side // 2, place[1] - side // 2
            frame[max(0, top) : top + side, max(0, left) : left + side] = 255
    return frames


def squares(picture: np.ndarray, smallest: int) -> list[Box]:
    """Find white squares, as a detector of faces would find faces."""
    rows, columns = np.nonzero(picture.min(-1) > 240)
    if len(rows) < 30:
        return []
    size = float(np.ptp(columns) + 1)
    box = Box((columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2, size)
    return [box] if size >= smallest else []


def listed(*rows: list[Box]) -> FaceFinder:
    """Return a finder that is told the faces of each whole frame, in any order of asking.

    Frames tell their number by the first pixel, and no face is found in parts.
    """

    def detect(picture: np.ndarray, smallest: int) -> list[Box]:
        return rows[picture[0, 0, 0]] if picture.shape == (240, 320, 3) else []

    return FaceFinder(detect)


def numbered(n: int) -> np.ndarray:
    frames = scene([None] * n)
    for i, frame in enumerate(frames):
        frame[0, 0] = i
    return frames


def test_a_moving_face_is_followed():
    places = [(60 + 15 * i, 100 + 4 * i) for i in range(12)]
    boxes, found = FaceFinder(squares).boxes(scene(places))
    assert found == 12
    assert np.abs(np.array([box[:2] for box in boxes]) - places).max() <= 2
    assert all(abs(box.size - 60) <= 2 for box in boxes)


def test_a_face_missed_in_some_frames_lies_between_its_neighbours():
    places = [(100, 100), None, (140, 120), None, None]
    boxes, found = FaceFinder(squares).boxes(scene(places))
    assert found == 2
    assert boxes[1][:2] == pytest.approx((120, 110), abs=2)
    assert boxes[4][:2] == pytest.approx((140, 120), abs=2)


def test_the_largest_person_is_followed_and_not_another():
    near, far = Box(80, 100, 60), Box(240, 120, 35)
    finder = listed([near, far], [far, near], [far], [near, far], [far, near])
    boxes, found = finder.boxes(numbered(5))
    assert found == 4
    assert all(box.x == pytest.approx(80) for box in boxes)


def test_a_jump_of_place_or_size_is_an_outlier():
    face = Box(160, 120, 50)
    far, huge = Box(40, 40, 50, 1.0), Box(160, 120, 140, 0.1)
    boxes, found = listed([face], [face], [far], [face], [face], [huge]).boxes(numbered(6))
    assert found == 4
    assert all(box.x == pytest.approx(160) and box.size == 50 for box in boxes)


def test_one_doubtful_find_in_many_frames_is_chance():
    doubtful, sure = Box(160, 120, 50, 0.1), Box(160, 120, 50, 0.9)
    rows: list[list[Box]] = [[] for _ in range(6)]
    assert listed(*rows[:2], [doubtful], *rows[3:]).boxes(numbered(6)) == ([None] * 6, 0)
    assert listed(*rows[:2], [sure], *rows[3:]).boxes(numbered(6))[1] == 1
    assert listed([doubtful]).boxes(numbered(1))[1] == 1


def test_sizes_do_not_flicker():
    sizes = [50, 50, 70, 50, 50]
    boxes, _ = listed(*[[Box(160, 120, size)] for size in sizes]).boxes(numbered(5))
    assert [box.size for box in boxes] == [50] * 5


def test_frames_of_another_shot_without_a_face_are_left_out():
    frames = np.concatenate([scene([(100, 100)] * 4), scene([None] * 3, bright=9)])
    crops, found = FaceFinder(squares).crops(frames)
    assert (len(crops), found) == (4, 4)


def test_frames_are_searched_larger_where_no_face_was_seen_and_no_frame_twice():
    sides: list[int] = []

    def detect(picture: np.ndarray, smallest: int) -> list[Box]:
        sides.append(max(picture.shape))
        return squares(picture, smallest)

    small = np.repeat(np.repeat(scene([(100, 80)] * 6, side=16), 2, axis=1), 2, axis=2)
    boxes, found = FaceFinder(detect).boxes(small)
    assert found == 6 and boxes[0][:3] == pytest.approx((200, 160, 32), abs=3)
    assert sides[:6] == [320] * 6 and sides[6:9] == [640] * 3 and max(sides[9:]) < 640
    sides.clear()
    FaceFinder(detect).boxes(small[:, ::2, ::2])
    assert sides == [320] * 6


def test_no_face_gives_whole_frames():
    frames = scene([None] * 4)
    crops, found = FaceFinder(squares).crops(frames)
    assert found == 0
    np.testing.assert_array_equal(crops, frames)


def test_large_frames_are_searched_small_and_boxes_are_in_their_pixels():
    frames = np.repeat(np.repeat(scene([(100, 80)] * 3), 4, axis=1), 4, axis=2)
    seen = []

    def detect(picture: np.ndarray, smallest: int) -> list[Box]:
        seen.append(picture.shape)
        return squares(picture, smallest)

    boxes, _ = FaceFinder(detect).boxes(frames)
    assert max(max(shape) for shape in seen) <= 320
    assert boxes[0][:3] == pytest.approx((400, 320, 240), abs=6)


def test_the_search_near_a_face_shrinks_it_and_gives_boxes_in_pixels_of_the_picture():
    picture = scene([(170, 110)], side=112)[0]
    seen = []

    def detect(part: np.ndarray, smallest: int) -> list[Box]:
        seen.append((part.shape, smallest))
        return squares(part, smallest)

    (found,) = faces._near(picture, detect, Box(160, 120, 112), 20)
    assert found[:3] == pytest.approx((170, 110, 112), abs=3)
    ((height, width, _), smallest), *others = seen
    assert not others and width == 157 and height == 120 and smallest == 10


def test_two_faces_are_both_found(drawn):
    opencv = pytest.importorskip("cv2")
    face = opencv.resize(drawn[0, :, 60:420], (90, 90))
    picture = np.full((180, 320, 3), 90, np.uint8)
    for left in (20, 200):
        picture[50:140, left : left + 90] = face
    found = sorted(faces.find_faces(picture, 20))
    assert [round(box.x / 45) for box in found] == [1, 5]
    assert all(0 <= box.confidence <= 1 for box in found)
    assert faces.find_faces(picture[:15], 20) == []


@pytest.mark.parametrize("box", [Box(100, 80, 40), Box(5, 5, 40), Box(318, 238, 60)])
def test_a_crop_is_square_and_repeats_the_edge(box):
    frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    side = round(0.95 * box.size)
    found = crop(frame, box)
    assert found.shape == (side, side, 3)
    padded = np.pad(frame, ((99, 99), (99, 99), (0, 0)), mode="edge")
    top, left = 99 + round(box.y - side / 2), 99 + round(box.x - side / 2)
    np.testing.assert_array_equal(found, padded[top : top + side, left : left + side])


def test_a_face_that_fills_the_picture_leaves_it():
    frame = np.zeros((200, 210, 3), np.uint8)
    assert crop(frame, Box(100, 100, 170)) is frame


def test_small_pictures_are_never_searched():
    def detect(picture: np.ndarray, smallest: int) -> list[Box]:
        raise AssertionError

    frames = np.zeros((2, 48, 90, 3), np.uint8)
    crops, found = FaceFinder(detect).crops(frames)
    assert found is None
    assert [c.shape for c in crops] == [(48, 90, 3)] * 2


def test_an_eye_in_a_tight_picture_is_no_face():
    smallest = []

    def detect(picture: np.ndarray, least: int) -> list[Box]:
        smallest.append(least)
        return []

    FaceFinder(detect).crops(np.zeros((1, 160, 150, 3), np.uint8))
    FaceFinder(detect).crops(np.zeros((1, 720, 1280, 3), np.uint8))
    assert smallest == [round(0.45 * 150), 20, 20]


def test_yunet_finds_the_drawn_face_at_any_place(drawn):
    face = drawn[:, :, 60:420]
    for top, left in ((0, 0), (300, 700)):
        frames = np.full((12, 720, 1280, 3), 90, np.uint8)
        frames[:, top : top + 360, left : left + 360] = face
        boxes, found = FaceFinder().boxes(frames)
        assert found == 12
        assert all(abs(box.x - left - 180) < 40 and abs(box.y - top - 190) < 50 for box in boxes)
        assert all(180 < box.size < 330 for box in boxes)


def test_networks_outlive_threads_and_are_lent_to_one_at_a_time(monkeypatch):
    monkeypatch.setattr(faces, "_spare", deque())
    lent: list[int] = []

    def borrow() -> None:
        with faces._network() as network:
            lent.append(id(network))

    for _ in range(3):
        thread = threading.Thread(target=borrow)
        thread.start()
        thread.join()
    assert len(set(lent)) == 1
    with faces._network() as one, faces._network() as other:
        assert one is not other and not faces._spare
    with pytest.raises(ValueError, match="stop"), faces._network():
        raise ValueError("stop")
    assert len(faces._spare) == 2


def test_threads_find_what_one_finds(drawn):
    finder = FaceFinder()
    expected = finder.boxes(drawn)
    found: list[object] = [None] * 4

    def work(i: int) -> None:
        found[i] = finder.boxes(drawn)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_the_setting_is_stored_and_old_files_have_none():
    stored = PreprocessConfig(vision=VisionConfig(faces=True)).to_dict()
    assert PreprocessConfig.from_dict(json.loads(json.dumps(stored))).vision.faces
    del stored["vision"]["faces"]
    assert not PreprocessConfig.from_dict(stored).vision.faces


@pytest.mark.parametrize(
    ("trained", "face", "used"),
    [
        (True, "auto", True),
        (False, "auto", False),
        (False, "always", True),
        (True, "never", False),
    ],
)
def test_when_faces_are_looked_for(trained, face, used):
    assert (face_finder(VisionConfig(faces=trained), face) is not None) == used


@pytest.fixture(params=["missing", "too old"])
def without_opencv(request, monkeypatch):
    """Take OpenCV away, or put one that does not know YuNet in its place."""
    module = None
    if request.param == "too old":
        module = type(sys)("cv2")
        module.__version__ = "4.5.1"
    monkeypatch.setitem(sys.modules, "cv2", module)


@pytest.mark.usefixtures("without_opencv")
def test_without_opencv_auto_warns_once_and_sees_whole_frames(tiny, drawn):
    clf = tiny(["happy", "sad"], preprocess=config(faces=True))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = clf([{"video": Video(drawn, fps=5)}] * 3)
    told = [w for w in caught if issubclass(w.category, FaceWarning)]
    assert len(told) == 1 and 'pip install -e ".[face]"' in str(told[0].message)
    assert [prediction.faces for prediction in found] == [None] * 3


@pytest.mark.usefixtures("without_opencv")
def test_without_opencv_always_is_an_error_and_text_is_none(tiny, drawn):
    clf = tiny(["happy", "sad"], preprocess=config(), face="always")
    with pytest.raises(MissingExtraError, match=r"pip install -e .*face"):
        clf(video=Video(drawn, fps=5))
    assert clf.set_params(face="never")(video=Video(drawn, fps=5)).faces is None


def config(faces: bool = False) -> PreprocessConfig:
    return PreprocessConfig(image_size=32, vision=VisionConfig(faces=faces))


@pytest.mark.parametrize("face", ["sometimes", None, True])
def test_another_value_is_refused(tiny, face):
    with pytest.raises(InputError, match="face is one of"):
        tiny(["happy", "sad"], face=face)(text="hi")


def test_a_prediction_says_in_how_many_frames_a_face_was_found(tiny, drawn):
    clf = tiny(["happy", "sad"], preprocess=config(faces=True))
    blank = np.full((3, 200, 300, 3), 90, np.uint8)
    clips = [{"video": Video(drawn, fps=5)}, {"video": Video(blank, fps=5)}, {"text": "hi"}]
    found = clf(clips)
    assert [prediction.faces for prediction in found] == [12, 0, None]
    assert found[0].to_dict()["faces"] == 12
    assert "faces in 12 frames" in repr(found[0])
    features = clf.encode(clips)
    assert [prediction.faces for prediction in clf(features[[1, 0]])] == [0, 12]


def test_fit_looks_for_faces_too(tiny, drawn, monkeypatch):
    asked = []
    crops = FaceFinder.crops
    monkeypatch.setattr(FaceFinder, "crops", lambda *a: asked.append(1) or crops(*a))
    clips = [{"video": Video(frames, fps=5)} for frames in (drawn[:2], drawn[2:4])]
    tiny(preprocess=config(), face="always", epochs=1).fit(clips, ["happy", "sad"])
    assert len(asked) == 2
