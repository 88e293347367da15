"""One bad clip in a batch: raised, left out, or kept with the reason, in every call."""

from __future__ import annotations

import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import TINY
from merclip import EmotionClassifier, _progress
from merclip.errors import (
    DecodeError,
    InputError,
    InputTypeError,
    LabelError,
    SkippedClipsWarning,
)
from merclip.evaluation import cross_corpus, evaluate, k_shot, metrics

LABELS = ["happy", "sad"]
GOOD = [{"text": "so glad to see you", "id": "a"}, {"text": "oh dear, he is gone", "id": "b"}]
CALLS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "predict_frame")


class Refusing:
    """A binary file whose reading fails with an error that is not ours."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


class Column(list):
    """A data set as of Hugging Face, which decodes a row when it is asked for."""

    column_names = ("text",)

    def __getitem__(self, index: Any) -> Any:
        row = super().__getitem__(index)
        if isinstance(row, Exception):
            raise row
        return row


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], str]]:
    """Return rows that cannot be used, and the class of the error of each."""
    folder: Path = tmp_path_factory.mktemp("broken")
    (folder / "garbage.mp4").write_bytes(b"this is no video")
    (folder / "empty.mp4").touch()
    (folder / "folder.mp4").mkdir()
    (folder / "text.mp4").write_text("a text file\n" * 20)
    return {
        "missing": ({"video": str(folder / "none.mp4")}, "MediaNotFoundError"),
        "garbage": ({"video": str(folder / "garbage.mp4")}, "DecodeError"),
        "empty": ({"video": str(folder / "empty.mp4")}, "DecodeError"),
        "folder": ({"audio": str(folder / "folder.mp4")}, "MediaTypeError"),
        "text file": ({"audio": str(folder / "text.mp4")}, "DecodeError"),
        "no modality": ({"text": float("nan"), "id": "nothing"}, "NoModalityError"),
        "number": ({"text": 5}, "InputTypeError"),
        "span": ({"text": "hm", "start": 2, "end": 1}, "InputError"),
        "time": ({"text": "hm", "start": "soon"}, "InputTypeError"),
        "network": ({"video": Refusing(ConnectionResetError("gone"))}, "DecodeError"),
        "foreign": ({"video": Refusing(RuntimeError("boom"))}, "DecodeError"),
    }


@pytest.fixture(scope="module")
def loaded() -> EmotionClassifier:
    clf = EmotionClassifier(
        LABELS,
        model=TINY,
        pretrained="random",
        network={"decoder": {"heads": 2}},
        random_state=0,
        epochs=1,
        validation=0.0,
    )
    clf.network_.fusion_trained = True
    return clf


@pytest.fixture
def clf(loaded: EmotionClassifier) -> EmotionClassifier:
    return loaded.set_params(on_error="raise", multi_label=False, tune="head")


@pytest.fixture
def rows(broken: dict[str, tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
    """Return a good row, all that are broken, and another good one."""
    return [GOOD[0], *(row for row, _ in broken.values()), GOOD[1]]


# Predicting --------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_rows_line_up_or_are_left_out_in_every_call(clf, rows, call):
    expected = np.asarray(getattr(clf, call)(GOOD))
    with pytest.raises(InputTypeError, match=r"Row 9: start and end are numbers"):
        getattr(clf, call)([*rows[:1] * 9, rows[9]])
    found = np.asarray(getattr(clf.set_params(on_error="nan"), call)(rows))
    assert len(found) == len(rows)
    lost = found[1:-1, 1:-1] if call == "predict_frame" else found[1:-1]
    assert all(value is None or value != value for value in lost.ravel())
    left = getattr(clf.set_params(on_error="skip"), call)
    with pytest.warns(SkippedClipsWarning, match=r"11 of 13 clips were left out\. Row 1") as said:
        found = np.asarray(left(rows))
    assert found.tolist() == expected.tolist()
    assert len(said) == 1 and said[0].message.rows == tuple(range(1, 12))
    assert said[0].filename == __file__
    assert pickle.loads(pickle.dumps(said[0].message)).rows == said[0].message.rows


def test_the_reason_is_readable_everywhere(clf, rows, broken):
    clf.set_params(on_error="nan")
    kinds = [None, *(kind for _, kind in broken.values()), None]
    reasons = {
        "frame": clf.predict_frame(rows)["error"].tolist(),
        "call": [prediction.error for prediction in clf(rows)],
        "iter": [prediction.error for prediction in clf.predict_iter(iter(rows), batch_size=4)],
        "encode": [features.error for features in clf.encode(rows)],
    }
    for found in reasons.values():
        assert [error.split(":")[0] if isinstance(error, str) else None for error in found] == kinds
        assert "gone" in found[10] and "RuntimeError: boom" in found[11]
    assert reasons["call"] == reasons["iter"] == reasons["encode"]
    assert reasons["call"][1:-1] == reasons["frame"][1:-1]


def test_a_frame_keeps_its_index(clf, rows):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["so glad", None, "oh dear"]}, index=["x", "y", "z"])
    found = clf.set_params(on_error="nan").predict_frame(frame)
    assert found.index.tolist() == ["x", "y", "z"] and "NoModality" in found.loc["y", "error"]
    clf.set_params(on_error="skip")
    with pytest.warns(SkippedClipsWarning):
        assert clf.predict_frame(frame).index.tolist() == ["x", "z"]
    with pytest.warns(SkippedClipsWarning):
        assert clf.predict_frame(rows).index.tolist() == [0, 12]
    with pytest.warns(SkippedClipsWarning):
        assert clf.predict_frame(text=frame["text"]).index.tolist() == ["x", "z"]


def test_one_clip_has_one_answer_and_a_batch_of_none_has_no_rows(clf):
    clf.set_params(on_error="skip")
    assert "NoModalityError" in clf({"text": None}).error
    assert "end must lie after start" in clf({"text": "hm", "start": 2, "end": 1}).error
    with pytest.warns(SkippedClipsWarning, match="1 of 1 clips was left out"):
        assert clf.predict_proba([{"text": None}]).shape == (0, 2)


def test_a_stream_warns_once_at_its_end_and_remembers_ten_rows(clf):
    clf.set_params(on_error="skip")
    stream = clf.predict_iter({"text": None if i % 2 else "hm"} for i in range(40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [next(stream) for _ in range(20)]
    with pytest.warns(SkippedClipsWarning, match="20 of 40 clips") as said:
        found += list(stream)
    assert len(found) == 20 and said[0].message.rows == tuple(range(1, 20, 2))


def test_encoded_clips_that_failed_obey_too(clf, rows):
    features = clf.set_params(on_error="nan").encode(rows)
    assert np.isnan(clf.predict_proba(features)[1:-1]).all()
    with pytest.warns(SkippedClipsWarning):
        assert len(clf.set_params(on_error="skip").predict(features)) == 2
    with pytest.warns(SkippedClipsWarning):
        assert [item.id for item in clf.encode(rows)] == ["a", "b"]
    clf.set_params(on_error="raise")
    for use in (clf.predict, lambda X: clf.fit(X, ["happy", "sad"] * 6 + ["sad"])):
        with pytest.raises(InputError, match=r"Row 1: MediaNotFoundError: .*none\.mp4"):
            use(features)


def test_a_data_set_whose_row_cannot_be_had(clf):
    data = Column([GOOD[0], OSError("no such shard"), GOOD[1]])
    with pytest.raises(OSError, match="no such shard"):
        clf.predict(data)
    found = clf.set_params(on_error="nan")(data)
    assert [item.error is None for item in found] == [True, False, True]
    assert "OSError: no such shard" in found[1].error


# What is no clip's fault ---------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, ImportError])
@pytest.mark.parametrize("on_error", ["raise", "skip", "nan"])
def test_what_is_no_clips_fault_is_raised_always(clf, monkeypatch, error, on_error):
    def fail(*_, **__):
        raise error("not this clip")

    monkeypatch.setattr("merclip.preprocess.sample.read_media", fail)
    clf.set_params(on_error=on_error)
    for use in (clf.predict, clf.encode, lambda X: clf.fit(X, ["happy", "sad"])):
        with pytest.raises(error, match="not this clip"):
            use([GOOD[0], {"video": "any.mp4"}])


def test_any_other_error_names_its_row(clf, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("merclip.preprocess.sample.read_media", fail)
    rows = [GOOD[0], {"video": "any.mp4"}]
    for tune in ("head", "full"):
        clf.set_params(tune=tune)
        with pytest.raises(DecodeError, match=r"Row 1 \(any\.mp4\): .*ZeroDivisionError") as raised:
            clf.fit(rows, LABELS)
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("on_error", ["raise", "skip", "nan"])
def test_wrong_use_is_raised_always(clf, on_error):
    clf.set_params(on_error=on_error)
    with pytest.raises(InputError, match="did you mean 'video'"):
        clf.predict([GOOD[0], {"vidoe": "a.mp4"}])
    with pytest.raises(InputTypeError, match="list of dicts"):
        clf.predict({"text": ["a", "b"]})
    with pytest.raises(LabelError, match="hapy"):
        clf.fit(GOOD, ["hapy", "sad"])


# Learning and measuring ------------------------------------------------------------------


@pytest.mark.parametrize("tune", ["head", "full", "none"])
def test_training_leaves_out_what_it_cannot_use_with_one_warning(clf, rows, tune):
    y = ["happy", *["sad"] * 11, "sad"]
    clf.set_params(tune=tune).fit(GOOD, LABELS)
    expected = clf.predict_proba(GOOD)
    clf.set_params(on_error="skip")
    with pytest.warns(SkippedClipsWarning, match=r"11 of 13 clips were .*And 8 more") as said:
        clf.fit(rows, y)
    assert sum(issubclass(one.category, SkippedClipsWarning) for one in said) == 1
    np.testing.assert_allclose(clf.predict_proba(GOOD), expected, rtol=1e-4)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_clip_without_a_label_is_left_out_with_its_weight_and_group(clf, missing):
    X, y = [*GOOD, {"text": "what is it?"}, GOOD[0]], ["happy", "sad", missing, "happy"]
    with pytest.raises(LabelError):
        clf.fit(X, y)
    clf.fit([X[0], X[1], X[3]], ["happy", "sad", "happy"], sample_weight=[1, 2, 3])
    expected = clf.predict_proba(GOOD)
    clf.set_params(on_error="nan", labels=None)
    with pytest.warns(SkippedClipsWarning, match=r"1 of 4 .*Row 2: LabelError: It has no label"):
        clf.fit(X, y, sample_weight=[1, 2, 9, 3], groups=["p", "q", "r", "s"])
    clf.set_params(labels=LABELS)
    np.testing.assert_allclose(clf.predict_proba(GOOD), expected, rtol=1e-4)
    with pytest.warns(SkippedClipsWarning, match="1 of 4 clips was left out"):
        partial = clf.score(X, y, sample_weight=[1, 1, 9, 1])
    assert partial == clf.score([X[0], X[1], X[3]], ["happy", "sad", "happy"])


def test_labels_in_rows_and_of_several_kinds_may_be_missing(clf):
    clf.set_params(on_error="skip")
    some = [{**GOOD[0], "label": "happy"}, {"text": "hm"}, {**GOOD[1], "label": "sad"}]
    with pytest.warns(SkippedClipsWarning, match="1 of 3"):
        clf.fit(some)
    clf.set_params(multi_label=True)
    for y in ([["happy"], None, []], np.array([[1, 0], [np.nan, np.nan], [0, 1]])):
        with pytest.warns(SkippedClipsWarning, match="1 of 3"):
            clf.fit(some, y)
    with pytest.raises(InputError, match="No clip has a label"):
        clf.fit(some, [None] * 3)


def test_training_says_when_too_little_is_left(clf):
    clf.set_params(on_error="skip")
    with pytest.raises(InputError, match=r"No clip can be used\. Row 0: NoModalityError"):
        clf.fit([{"text": None}, {"text": None}], LABELS)
    with pytest.warns(SkippedClipsWarning), pytest.raises(InputError, match="one class alone"):
        clf.fit([GOOD[0], {"text": None}], LABELS)
    with pytest.warns(SkippedClipsWarning):
        clf.partial_fit([GOOD[0], {"text": None}], LABELS)


@pytest.mark.parametrize("on_error", ["skip", "nan"])
def test_measures_leave_out_and_list_what_cannot_be_used(clf, rows, on_error):
    y = ["happy", *["sad"] * 10, None, "sad"]
    expected = clf.evaluate(GOOD, LABELS)
    clf.set_params(on_error=on_error)
    report = clf.evaluate(rows, y)
    assert report.n_clips == 2 and len(report.skipped) == 11
    assert report.skipped[-1].reason == "LabelError: It has no label."
    assert report.metrics["accuracy"] == expected.metrics["accuracy"]
    with pytest.warns(SkippedClipsWarning, match="11 of 13 clips were left out"):
        assert clf.score(rows, y) == report.metrics["accuracy"]
    with pytest.raises(InputError, match="No clip can"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf.score([{"text": None}], ["sad"])


def test_a_few_shots_of_a_batch_with_broken_clips(clf, rows):
    X, y = [*GOOD, *rows, *GOOD], ["happy", "sad", "happy", *["sad"] * 12, "happy", "sad"]
    report = k_shot(clf.set_params(on_error="skip"), X, y, shots=[1], seeds=[0])
    assert len(report.skipped) == 11 and report.n_clips == 6


# Arguments that protocols cannot use -----------------------------------------------------


@pytest.mark.parametrize("given", [["x"], {"a": "x"}, lambda _: ["x"]])
def test_baselines_that_are_none(clf, given):
    with pytest.raises(InputError, match="baselines is a mapping from name to estimator"):
        evaluate(clf, GOOD, LABELS, baselines=given)


def test_other_arguments_that_protocols_cannot_use(clf):
    with pytest.raises(InputError, match="rename is a mapping"):
        cross_corpus(clf, None, None, rename=["a"])
    with pytest.raises(InputError, match="seeds holds whole numbers"):
        k_shot(clf, GOOD, LABELS, seeds=[0, None])


@pytest.mark.parametrize("value", [1.5, -0.1])
def test_probabilities_outside_of_0_to_1(value):
    probability = np.array([[0.5, 0.5], [1 - value, value]])
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        metrics.scores(np.array([0, 1]), probability)
    metrics.scores(np.array([0, 1]), np.array([[1.0 + 1e-9, -1e-9], [0, 1]]))


# Progress ---------------------------------------------------------------------------------


def test_a_long_run_without_a_bar_logs_lines(monkeypatch, caplog):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "merclip"):
        shown = _progress.progress(
            range(9), "read", 9, bar=False, unit="clip", failed=lambda item: item == 1
        )
        assert list(shown) == list(range(9))
    assert caplog.messages == [
        "read: 3 of 9 clips, 1 failed, 60 s left",
        "read: 6 of 9 clips, 1 failed, 30 s left",
    ]


def test_the_bar_counts_failures(clf, capsys):
    clf.set_params(on_error="nan", verbose=1)
    try:
        clf.encode([*GOOD, {"text": None}])
    finally:
        clf.set_params(verbose=0)
    assert "failed=1" in capsys.readouterr().err
