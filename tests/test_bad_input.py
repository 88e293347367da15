"""Bad input through the public interface: the error's class, its parent, what it says."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.exceptions
from media_files import clip_bytes, tone, write_clip, write_sound, write_video

from merclip import Audio, Clip, EmotionClassifier, Video, errors

pd = pytest.importorskip("pandas")

RATE = 16000
LABELS = ["happy", "sad", "angry"]
ROWS = [{"text": "so good"}, {"text": "so bad"}]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of good and bad files."""
    folder = tmp_path_factory.mktemp("files")
    write_clip(str(folder / "clip.mp4"), video={"n": 10}, sound={"rate": RATE})
    write_video(str(folder / "mute.mp4"), n=10)
    write_sound(str(folder / "clip.wav"), samples=tone(0.5, RATE), rate=RATE)
    cut = folder / "cut.mp4"
    write_clip(str(cut), container_options={"movflags": "faststart"})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (folder / "garbage.mp4").write_bytes(b"these are no media at all" * 40)
    (folder / "empty.mp4").touch()
    (folder / "half.mp4").write_bytes(clip_bytes()[:200])
    (folder / "notes.txt").write_text("hello")
    return folder


@pytest.fixture
def clf(tiny: Callable[..., EmotionClassifier]) -> EmotionClassifier:
    """Return a classifier that takes in all modalities."""
    classifier = tiny(LABELS)
    classifier.network_.fusion_trained = True
    return classifier


def raises_in_every_way(
    clf: EmotionClassifier,
    X: Any,
    error: type[Exception],
    parent: type[Exception],
    message: str,
    **parts: Any,
) -> None:
    """Assert that predict, predict_proba and the call raise the same error."""
    assert issubclass(error, errors.MerclipError)
    assert issubclass(error, parent)
    for method in (clf.predict, clf.predict_proba, clf):
        with pytest.raises(error, match=message):
            method(X, **parts)
    if not parts:
        with pytest.raises(error, match=message):
            clf.encode(X)


# Media ------------------------------------------------------------------------------


def test_a_missing_file_is_named(clf: EmotionClassifier, files: Path) -> None:
    path = str(files / "gone.mp4")
    for X in (
        path,
        Path(path),
        [path],
        {"video": path},
        Clip(path),
        pd.DataFrame({"video": [path]}),
    ):
        raises_in_every_way(clf, X, errors.MediaNotFoundError, FileNotFoundError, "gone.mp4")
    with pytest.raises(errors.MediaNotFoundError, match="gone.wav"):
        clf(text="hi", audio="gone.wav")


@pytest.mark.parametrize("prose", ["I can't believe you did that", "Oh, no!", "you and me."])
def test_a_sentence_in_the_place_of_a_path_asks_for_text(
    clf: EmotionClassifier, prose: str
) -> None:
    for X in (prose, [prose], [prose, "another sentence"]):
        raises_in_every_way(
            clf, X, errors.MediaNotFoundError, FileNotFoundError, r"did you mean text=\?"
        )
    with pytest.raises(
        errors.MediaNotFoundError, match=r'\[\{"text": \.\.\.\}, .*df\[\["text"\]\]'
    ):
        clf.fit(pd.Series([prose, "another sentence"]), LABELS[:2])


@pytest.mark.parametrize("dtype", [object, str])
def test_a_table_without_names_of_columns(clf: EmotionClassifier, dtype: type) -> None:
    table = pd.DataFrame({"text": ["I am glad", "I am sad"]})[["text"]].to_numpy(dtype)
    message = r"shape \(2, 1\).*pass the DataFrame itself"
    raises_in_every_way(clf, table, errors.InputTypeError, TypeError, message)
    with pytest.raises(errors.InputTypeError, match=message):
        clf.fit(table, LABELS[:2])


def test_a_folder_and_a_url_say_what_to_do(clf: EmotionClassifier, files: Path) -> None:
    folder, url = str(files), "https://example.org/clip.mp4"
    raises_in_every_way(clf, folder, errors.MediaTypeError, TypeError, "list its files")
    raises_in_every_way(clf, url, errors.MediaTypeError, TypeError, "download it first")


@pytest.mark.parametrize("name", ["garbage.mp4", "empty.mp4", "half.mp4", "notes.txt"])
def test_a_file_that_cannot_be_decoded_is_named(
    clf: EmotionClassifier, files: Path, name: str
) -> None:
    path = files / name
    raises_in_every_way(clf, path, errors.DecodeError, ValueError, name)
    raises_in_every_way(clf, path.read_bytes(), errors.DecodeError, ValueError, "<bytes>")
    raises_in_every_way(clf, None, errors.DecodeError, ValueError, name, audio=str(path))
    with open(path, "rb") as opened:
        raises_in_every_way(clf, opened, errors.DecodeError, ValueError, name)


def test_a_truncated_file_is_used_with_a_warning(clf: EmotionClassifier, files: Path) -> None:
    with pytest.warns(errors.DecodeWarning, match=r"Only .* of 2\.0 seconds.*cut\.mp4"):
        found = clf(files / "cut.mp4")
    assert found.label in LABELS
    assert "video" in found.modalities_used
    assert any("of 2.0 seconds" in message for message in found.warnings)
    assert issubclass(errors.DecodeWarning, UserWarning)


def test_sound_from_a_file_without_sound(clf: EmotionClassifier, files: Path) -> None:
    raises_in_every_way(
        clf, None, errors.MissingStreamError, ValueError, "no sound", audio=files / "mute.mp4"
    )


def test_a_text_mode_file_asks_for_rb(clf: EmotionClassifier, files: Path) -> None:
    with open(files / "notes.txt") as opened:
        raises_in_every_way(clf, opened, errors.MediaTypeError, TypeError, '"rb"')
        raises_in_every_way(clf, None, errors.MediaTypeError, TypeError, '"rb"', audio=opened)
    raises_in_every_way(clf, io.StringIO("hello"), errors.MediaTypeError, TypeError, '"rb"')


def test_a_closed_file_is_an_error(clf: EmotionClassifier, files: Path) -> None:
    with open(files / "clip.mp4", "rb") as opened:
        pass
    raises_in_every_way(clf, opened, errors.DecodeError, ValueError, "open binary file")


@pytest.mark.parametrize("source", [5, 0.5, object(), {"a", "b"}, pd.Timestamp(0)])
def test_other_objects_are_no_media(clf: EmotionClassifier, source: Any) -> None:
    kind = type(source).__name__
    raises_in_every_way(clf, source, errors.MediaTypeError, TypeError, f"a path.*got {kind}")
    raises_in_every_way(clf, None, errors.MediaTypeError, TypeError, f"got {kind}", audio=source)


# Arrays -----------------------------------------------------------------------------


def test_a_bare_sound_array_asks_for_its_rate(clf: EmotionClassifier) -> None:
    for bare in (np.zeros(100, np.float32), [np.zeros(100)], [0.0, 0.1, 0.2]):
        raises_in_every_way(
            clf, None, errors.InputTypeError, TypeError, r"\(array, rate\)", audio=bare
        )
    raises_in_every_way(
        clf, None, errors.InputTypeError, TypeError, "swap", audio=(RATE, np.zeros(100))
    )


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        ((np.zeros(100), 0), "positive number of Hz, got 0"),
        ((np.zeros(100), -1), "positive number of Hz, got -1"),
        ((np.zeros(100), float("nan")), "positive number of Hz, got nan"),
        ((np.zeros(100), None), "positive number of Hz, got None"),
        ((np.zeros(100), "16000"), "positive number of Hz, got '16000'"),
        ((np.array([0, np.nan]), RATE), r"nan at position \(1,\)"),
        ((np.array([0, -np.inf]), RATE), r"-inf at position \(1,\)"),
        ((np.zeros(0), RATE), "empty"),
        ((np.zeros(100, np.int32), RATE), "int16, got int32"),
        ((np.full(100, 3e4), RATE), "peak of 30000"),
        ((np.zeros((100, 2)), RATE), r"use array\.T"),
    ],
)
def test_sound_arrays_that_cannot_be_used(clf: EmotionClassifier, sound: Any, message: str) -> None:
    raises_in_every_way(clf, None, errors.InputError, ValueError, message, audio=sound)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (np.zeros((2, 3, 8, 9), np.uint8), errors.ShapeError, r"\(2, 3, 8, 9\).*transpose"),
        (np.zeros((8, 9), np.uint8), errors.ShapeError, r"\(T, H, W, 3\)"),
        (np.full((2, 8, 9, 3), 200.0), errors.InputError, "divide values of 0..255"),
        (np.zeros((0, 8, 9, 3), np.uint8), errors.InputError, "empty"),
    ],
)
def test_frame_arrays_that_cannot_be_used(
    clf: EmotionClassifier, frames: np.ndarray, error: type[Exception], message: str
) -> None:
    raises_in_every_way(clf, frames, error, ValueError, message)
    raises_in_every_way(clf, [frames], error, ValueError, f"Row 0: .*{message}")


# Clips and batches -------------------------------------------------------------------


def test_nothing_at_all(clf: EmotionClassifier) -> None:
    raises_in_every_way(clf, None, errors.NoModalityError, ValueError, "at least one of")


def test_an_empty_row_is_named(clf: EmotionClassifier) -> None:
    empty = {"video": None, "text": float("nan")}
    good = {"text": "hi"}
    for batch in (
        [good, empty],
        pd.DataFrame([{**good, "video": None}, empty]),
        [good, {"id": "x"}],
        [good, {"text": ""}],
        [good, Clip()],
    ):
        raises_in_every_way(clf, batch, errors.NoModalityError, ValueError, r"Row 1: .*no text")


def test_a_row_beyond_the_first_batch_has_its_own_number(clf: EmotionClassifier) -> None:
    clf.set_params(batch_size=2)
    with pytest.raises(errors.NoModalityError, match="Row 5"):
        clf.predict([{"text": "hi"}] * 5 + [{"text": None}])


def test_lists_of_different_length(clf: EmotionClassifier, files: Path) -> None:
    with pytest.raises(errors.InputError, match="video: 1, audio: 3, text: 2") as caught:
        clf.predict(video=[files / "clip.mp4"], audio=[None] * 3, text=["a", "b"])
    assert isinstance(caught.value, ValueError)


def test_column_major_input(clf: EmotionClassifier) -> None:
    for X in ({"text": ["a", "b"]}, (["a.mp4"], ["a.wav"]), (["a"], ["b"], ["c"])):
        raises_in_every_way(
            clf, X, errors.InputTypeError, TypeError, r"list of dicts.*Clips\.from_columns"
        )


def test_a_frame_without_known_columns(clf: EmotionClassifier) -> None:
    frame = pd.DataFrame({"path": ["a.mp4"], "emotion": ["joy"]})
    raises_in_every_way(
        clf,
        frame,
        errors.InputError,
        ValueError,
        r"\['path', 'emotion'\].*'video', 'audio', 'text'",
    )


@pytest.mark.parametrize("text", [5, b"hello", ["a", 5], [True], np.array("hi"), {"a": 1}])
def test_text_that_is_no_string(clf: EmotionClassifier, text: Any) -> None:
    raises_in_every_way(clf, None, errors.InputTypeError, TypeError, "text", text=text)


def test_the_row_of_a_text_that_is_no_string(clf: EmotionClassifier) -> None:
    raises_in_every_way(
        clf, [*ROWS, {"text": 5}], errors.InputTypeError, TypeError, "Row 2: text is a string"
    )


@pytest.mark.parametrize(
    ("span", "error"),
    [
        ({"start": 3, "end": 1}, errors.InputError),
        ({"start": -1}, errors.InputError),
        ({"start": "0:01"}, errors.InputTypeError),
    ],
)
def test_the_row_of_an_impossible_span(
    clf: EmotionClassifier, span: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="Row 2: "):
        clf.predict([*ROWS, {"text": "hi", **span}])


def test_a_span_after_the_end(clf: EmotionClassifier, files: Path) -> None:
    clip = {"audio": files / "clip.wav", "start": 60.0}
    raises_in_every_way(clf, [clip], errors.InputError, ValueError, r"start=60 lies after the end")
    for kind in ({"audio": Audio(np.zeros(100), rate=RATE)},
                 {"video": Video(np.zeros((1, 4, 4, 3), np.uint8), fps=5)}):  # fmt: skip
        raises_in_every_way(
            clf, [{**kind, "start": 60.0}], errors.InputError, ValueError, "Row 0: .*start=60"
        )


def test_features_of_another_model(
    clf: EmotionClassifier, tiny: Callable[..., EmotionClassifier]
) -> None:
    foreign = tiny(LABELS, random_state=5).encode(ROWS)
    with pytest.raises(errors.InputError, match="another model; encode the clips again"):
        clf.predict(foreign)
    with pytest.raises(errors.InputError, match="another model"):
        clf.fit(foreign, ["happy", "sad"])


# Labels -----------------------------------------------------------------------------


def test_a_lone_string_for_labels(
    clf: EmotionClassifier, tiny: Callable[..., EmotionClassifier]
) -> None:
    for use in (
        lambda: tiny("joy").predict(text="hi"),
        lambda: tiny("joy").fit(),
        lambda: tiny("joy").fit(ROWS, ["happy", "sad"]),
        lambda: clf.predict(text="hi", labels="joy"),
        lambda: clf(text="hi", labels="joy"),
        lambda: clf.with_labels("joy"),
    ):
        with pytest.raises(errors.InputTypeError, match="sequence of letters; give a list"):
            use()
    assert issubclass(errors.InputTypeError, TypeError)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "at least two"),
        (["joy"], "at least two labels; for one, set multi_label=True"),
        (["joy", ""], "empty"),
        (["joy ", "Joy"], "'joy ' and 'Joy'"),
    ],
)
def test_label_sets_that_cannot_be_used(
    clf: EmotionClassifier,
    tiny: Callable[..., EmotionClassifier],
    labels: list[str],
    message: str,
) -> None:
    for use in (
        lambda: tiny(labels).predict(text="hi"),
        lambda: tiny(labels).fit(ROWS, ["happy", "sad"]),
        lambda: clf.predict(text="hi", labels=labels),
        lambda: clf(text="hi", labels=labels),
    ):
        with pytest.raises(errors.LabelError, match=message) as caught:
            use()
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (["happy", "glad"], errors.LabelError, "'glad'"),
        ([0, 9], errors.LabelError, r"not among \[0, 1, 2\]: 9"),
        ([0.0, 1.0], errors.LabelError, "Give names, or labels with the same integers"),
        (["happy", None], errors.LabelError, "None"),
        (["happy"], errors.InputError, "2 clips and y has 1"),
        (["happy", "sad", "sad"], errors.InputError, "2 clips and y has 3"),
        (["happy", "happy"], errors.InputError, "one class"),
        (None, errors.InputError, "Give y, or clips with a column 'label'"),
    ],
)
def test_y_that_cannot_be_used(
    tiny: Callable[..., EmotionClassifier], y: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        tiny(LABELS).fit(ROWS, y)
    assert isinstance(caught.value, ValueError)


def test_predicting_without_labels(tiny: Callable[..., EmotionClassifier]) -> None:
    for method in ("predict", "predict_proba", "decision_function", "__call__"):
        with pytest.raises(errors.NotFittedError, match="labels=, call fit, or load") as caught:
            getattr(tiny(), method)(text="hi")
        assert isinstance(caught.value, sklearn.exceptions.NotFittedError)
        assert isinstance(caught.value, (ValueError, AttributeError))
    assert tiny().predict(text="hi", labels=LABELS).shape == (1,)


# Parameters --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tune", "all", r"\['head', 'full', 'none'\], got 'all'"),
        ("dtype", "float64", r"\['auto', 'float32', 'bfloat16', 'float16'\]"),
        ("on_error", "ignore", r"\['raise', 'skip', 'nan'\]"),
        ("on_error", None, r"\['raise', 'skip', 'nan'\]"),
        ("on_long_label", "cut", r"\['warn', 'raise'\]"),
        ("epochs", 0, "epochs is a whole number of at least 1"),
        ("batch_size", 2.5, "batch_size is a whole number"),
        ("microbatch", -1, "microbatch"),
        ("validation", 1.0, r"\[0, 1\)"),
        ("abstain", 1.5, r"\[0, 1\]"),
        ("prompt", "a face", "one '{}'"),
        ("lr", "fast", r"\['few-shot', 'fresh', 'paper', 'practical'\]"),
        ("class_weight", "even", "'balanced'"),
        ("device", "tpu", "not a device"),
        ("network", {"fusoin": "LVA"}, "'fusion'"),
        ("preprocess", {"image_size": 3}, "PreprocessConfig"),
        ("model", None, "'mini', a checkpoint's directory"),
        ("model", 5, "got 5"),
        ("model", "", "got ''"),
    ],
)
def test_a_wrong_parameter_is_refused_at_first_use_with_what_is_allowed(
    tiny: Callable[..., EmotionClassifier], name: str, value: Any, message: str
) -> None:
    clf = tiny(LABELS).set_params(**{name: value})
    with pytest.raises(errors.InputError, match=message) as caught:
        clf.fit(ROWS * 2, ["happy", "sad"] * 2)
    assert isinstance(caught.value, ValueError)


def test_a_threshold_for_a_label_that_does_not_exist(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    with pytest.raises(errors.InputError, match=r"\['joy'\]"):
        tiny(LABELS, multi_label=True, threshold={"joy": 0.5}).predict(text="hi")


def test_a_device_that_is_absent_names_those_that_exist(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    with pytest.raises(errors.DeviceError, match="cpu") as caught:
        tiny(LABELS, device="cuda:99").predict(text="hi")
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": "ViT-B-32-typo"}, "give 'mini', a checkpoint's directory"),
        ({"model": "ViT-B-32"}, "give pretrained='openai'"),
        ({"model": "ViT-B/32"}, "give pretrained='openai'"),
        ({"model": "ViT-B-32", "pretrained": "opneai"}, "'openai'"),
        ({"model": "no/such/folder"}, "no/such/folder"),
        ({"model": "gone.json"}, "gone.json"),
    ],
)
def test_a_model_that_does_not_exist(params: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ModelNotFoundError, match=message) as caught:
        EmotionClassifier(LABELS, **params).predict(text="hi")
    assert isinstance(caught.value, FileNotFoundError)


def test_pretrained_beside_a_checkpoint_is_not_dropped_silently(
    tiny: Callable[..., EmotionClassifier], tmp_path: Path
) -> None:
    tiny(LABELS).save_pretrained(tmp_path)
    for model in ("mini", tmp_path):
        with pytest.raises(errors.InputError, match="'openai' goes with an open_clip architecture"):
            EmotionClassifier(LABELS, model=model, pretrained="openai").predict(text="hi")


# One bad clip among good ones ----------------------------------------------------------


@pytest.fixture
def mixed(files: Path) -> tuple[list[Any], list[bool]]:
    """Return good and bad clips, and which are good."""
    nan = np.zeros(RATE, np.float32)
    nan[7] = np.nan
    sound = tone(0.5, RATE)[0]
    rows: list[tuple[Any, bool]] = [
        ({"text": "so good", "id": "first"}, True),
        ({"video": str(files / "garbage.mp4")}, False),
        ({"video": str(files / "clip.mp4"), "text": "so bad"}, True),
        ({"video": str(files / "gone.mp4"), "text": "so bad"}, False),
        ({"audio": (nan, RATE)}, False),
        ({"audio": (sound, "16000")}, False),
        ({"audio": (sound, RATE)}, True),
        ({"text": None}, False),
        ({"text": 5}, False),
        ({"video": np.zeros((2, 3, 8, 9), np.uint8), "id": 9}, False),
        ({"text": "hm"}, True),
    ]
    return [row for row, _ in rows], [good for _, good in rows]


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_nan_keeps_the_rows_and_the_scores_of_the_good(
    clf: EmotionClassifier, mixed: tuple[list[Any], list[bool]], batch_size: int
) -> None:
    rows, good = mixed
    expected = clf.predict_proba([row for row, fine in zip(rows, good, strict=True) if fine])
    clf.set_params(on_error="nan", batch_size=batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = clf.predict_proba(rows)
        labels = clf.predict(rows)
        predictions = clf(rows)
    np.testing.assert_allclose(found[good], expected, rtol=1e-4)
    assert np.isnan(found[~np.array(good)]).all()
    assert [label is not None for label in labels] == good
    assert set(labels[good]) <= set(LABELS)
    assert [prediction.error is None for prediction in predictions] == good
    assert [prediction.label for prediction in predictions] == labels.tolist()
    reasons = [prediction.error for prediction in predictions]
    for row, start, part in (
        (1, "DecodeError: ", "garbage.mp4"),
        (3, "MediaNotFoundError: ", "gone.mp4"),
        (4, "InputError: ", "nan at position (7,)"),
        (7, "NoModalityError: ", "no text"),
        (9, "ShapeError: ", "transpose"),
    ):
        assert reasons[row].startswith(start)
        assert part in reasons[row]
    assert (predictions[0].id, predictions[9].id) == ("first", "9")


def test_skip_leaves_the_bad_rows_out(
    clf: EmotionClassifier, mixed: tuple[list[Any], list[bool]]
) -> None:
    rows, good = mixed
    expected = clf.predict_proba([row for row, fine in zip(rows, good, strict=True) if fine])
    clf.set_params(on_error="skip", batch_size=3)
    np.testing.assert_allclose(clf.predict_proba(rows), expected, rtol=1e-4)
    assert clf.predict(rows).shape == (sum(good),)
    assert [prediction.error for prediction in clf(rows)] == [None] * sum(good)
    assert len(list(clf.predict_iter(rows))) == sum(good)
    assert clf.predict_proba([{"text": None}]).shape == (0, 3)
    assert "NoModalityError" in clf({"text": None}).error


def test_raise_names_the_first_bad_row(
    clf: EmotionClassifier, mixed: tuple[list[Any], list[bool]]
) -> None:
    rows, _ = mixed
    with pytest.raises(errors.DecodeError, match=r"garbage\.mp4"):
        clf.predict(rows)
    with pytest.raises(errors.InputError, match="Row 1: .*position"):
        clf.predict([rows[0], rows[4]])


def test_multi_label_rows_that_cannot_be_read_are_nan(
    tiny: Callable[..., EmotionClassifier], mixed: tuple[list[Any], list[bool]]
) -> None:
    rows, good = mixed
    clf = tiny(LABELS, multi_label=True, on_error="nan")
    clf.network_.fusion_trained = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = clf.predict(rows)
    assert np.isnan(found[~np.array(good)]).all()
    assert np.isin(found[good], (0, 1)).all()


def test_fit_leaves_out_bad_rows_when_told_to(
    tiny: Callable[..., EmotionClassifier], mixed: tuple[list[Any], list[bool]]
) -> None:
    rows, good = mixed
    y = [LABELS[row % 3] for row in range(len(rows))]
    kept = [row for row, fine in zip(rows, good, strict=True) if fine]
    kept_y = [label for label, fine in zip(y, good, strict=True) if fine]
    params = {"epochs": 1, "validation": 0.0}
    expected = tiny(LABELS, **params).fit(kept, kept_y).predict_proba(kept)
    with pytest.raises(errors.DecodeError):
        tiny(LABELS, **params).fit(rows, y)
    for on_error in ("skip", "nan"):
        clf = tiny(LABELS, **params, on_error=on_error)
        with pytest.warns(errors.SkippedClipsWarning, match="7 of 11 clips were not trained on"):
            clf.fit(rows, y)
        np.testing.assert_allclose(clf.predict_proba(kept), expected, rtol=1e-4)


def test_warnings_stand_in_the_prediction(clf: EmotionClassifier) -> None:
    long = "well " * 100
    with pytest.warns(errors.TextTooLongWarning, match="left out"):
        found = clf(text=long)
    assert len(found.warnings) == 1
    with pytest.warns(errors.ModalityWarning, match="silent"):
        found = clf(text="hi", audio=(np.zeros(RATE), RATE))
    assert found.modalities_used == ("text",)
    assert any("silent" in message for message in found.warnings)


def test_a_bad_clip_does_not_end_a_stream(
    clf: EmotionClassifier, mixed: tuple[list[Any], list[bool]]
) -> None:
    rows, good = mixed
    clf.set_params(on_error="nan")
    found = list(clf.predict_iter(iter(rows), batch_size=2))
    assert [prediction.error is None for prediction in found] == good


def test_a_stream_of_one_clip_is_refused(clf: EmotionClassifier, files: Path) -> None:
    for one in (str(files / "clip.mp4"), {"text": "hi"}, Clip(text="hi")):
        with pytest.raises(errors.InputTypeError, match="put it in a list"):
            list(clf.predict_iter(one))
    with pytest.raises(errors.MediaTypeError, match="Row 0: .*got list"):
        list(clf.predict_iter([[{"text": "hi"}, {"text": "ho"}]]))


def test_features_take_nothing_beside_them(clf: EmotionClassifier) -> None:
    features = clf.encode(ROWS)
    for method in (clf, clf.predict):
        with pytest.raises(errors.InputError, match="Features are whole clips"):
            method(features, text=["a", "b"])
