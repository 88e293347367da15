"""Predictions: plain, frozen, and the same everywhere."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import numpy as np
import pytest

from merclip import Clip, EmotionClassifier, LabelSet, Prediction
from merclip.preprocess import ClipFeatures
from merclip.results import make_predictions
from merclip.scoring import DecisionRule

CLASSES = np.array(["angry", "happy", "sad"])
ORDER = LabelSet.of(["happy", "sad", "angry"])


def make(probability: Any, clips: Any = None, **params: Any) -> list[Prediction]:
    probability = np.atleast_2d(np.asarray(probability, float))
    values = {"classes": CLASSES, "multi_label": False, "threshold": np.full(3, 0.5)}
    clips = clips or [ClipFeatures({})] * len(probability)
    rule = DecisionRule(**{**values, **params})
    return make_predictions(clips, probability, rule, ORDER, False, [""] * len(clips))


def test_a_prediction_is_a_mapping_in_the_users_order() -> None:
    (found,) = make([0.2, 0.5, 0.3])
    assert isinstance(found, Mapping)
    assert list(found.items()) == [("happy", 0.5), ("sad", 0.3), ("angry", 0.2)]
    assert found["angry"] == 0.2
    assert found.get("joy") is None
    assert "sad" in found and "joy" not in found
    assert len(found) == 3
    assert dict(found) == found.scores
    assert max(found, key=found.get) == found.label == "happy"
    with pytest.raises(KeyError, match="'joy' is not among the labels .'happy', 'sad', 'angry'"):
        found["joy"]


def test_the_best_labels_come_first() -> None:
    (found,) = make([0.2, 0.5, 0.3])
    assert found.top(2) == [("happy", 0.5), ("sad", 0.3)]
    assert found.top(1) == [("happy", 0.5)]
    assert [name for name, _ in found.top(10)] == ["happy", "sad", "angry"]
    assert found.top() == found.top(3)


def test_labels_that_tie_come_in_the_users_order() -> None:
    (found,) = make([0.25, 0.25, 0.5])
    assert [name for name, _ in found.top()] == ["sad", "happy", "angry"]


def test_one_of_n_has_one_label_and_abstaining_none() -> None:
    (found,) = make([0.2, 0.5, 0.3])
    assert (found.label, found.labels) == ("happy", ("happy",))
    (found,) = make([0.2, 0.5, 0.3], abstain=0.6)
    assert (found.label, found.labels) == (None, ())


def test_multi_label_has_all_labels_that_hold() -> None:
    first, second = make([[0.9, 0.6, 0.1], [0.1, 0.2, 0.3]], multi_label=True)
    assert (first.label, first.labels) == ("angry", ("happy", "angry"))
    assert (second.label, second.labels) == (None, ())


def test_a_clip_that_could_not_be_read_has_its_error() -> None:
    clip = ClipFeatures({}, id="a.mp4", error="DecodeError: broken")
    (found,) = make([[np.nan] * 3], [clip])
    assert (found.label, found.labels, found.modalities_used) == (None, (), ())
    assert found.error == "DecodeError: broken"
    assert repr(found) == "Prediction(error='DecodeError: broken')"
    assert found.to_dict()["scores"] == {"happy": None, "sad": None, "angry": None}
    assert "NaN" not in json.dumps(found.to_dict(), allow_nan=False)


def test_to_dict_holds_built_in_types_alone() -> None:
    clip = ClipFeatures({}, id="a.mp4", warnings=("too long",))
    (found,) = make([0.2, 0.5, 0.3], [clip])
    plain = found.to_dict()
    assert plain == {
        "id": "a.mp4",
        "label": "happy",
        "labels": ["happy"],
        "scores": {"happy": 0.5, "sad": 0.3, "angry": 0.2},
        "modalities_used": [],
        "faces": None,
        "calibrated": False,
        "warnings": ["too long"],
        "error": None,
    }
    assert all(type(score) is float for score in plain["scores"].values())
    assert type(plain["label"]) is str
    assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize(
    "labels", [["happy", "sad"], {0: "happy", 5: "sad"}, np.array(["happy", "sad"])]
)
@pytest.mark.parametrize("multi_label", [False, True])
def test_real_predictions_are_json(
    tiny: Callable[..., EmotionClassifier], labels: Any, multi_label: bool
) -> None:
    clf = tiny(labels, multi_label=multi_label, on_error="nan")
    clips = [
        {"text": "hi", "id": np.int64(7)},
        Clip(text="ho"),
        {"video": "gone.mp4", "id": 3},
    ]
    found = [json.loads(json.dumps(p.to_dict(), allow_nan=False)) for p in clf(clips)]
    assert [item["id"] for item in found] == ["7", None, "3"]
    assert list(found[0]["scores"]) == [str(name) for name in clf.labels_.names]
    assert found[0]["modalities_used"] == ["text"]
    assert "gone.mp4" in found[2]["error"]


def test_repr_is_short_and_says_what_was_used(tiny: Callable[..., EmotionClassifier]) -> None:
    found = Prediction(
        "joy", {"joy": 0.75, "rage": 0.25}, labels=("joy",), modalities_used=("text", "video")
    )
    assert repr(found) == "Prediction('joy', {'joy': 0.750, 'rage': 0.250}, from text+video)"


def test_a_prediction_is_frozen_true_and_copies() -> None:
    (found,) = make([0.2, 0.5, 0.3])
    assert found
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.label = "sad"  # type: ignore[misc]
    for same in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert same == found
        assert same.label == "happy"


def test_predict_frame_has_one_column_for_each_class(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    pytest.importorskip("pandas")
    clf = tiny(["sad", "angry", "happy"], on_error="nan")
    clips = [Clip(text="hi", id="a"), Clip("gone.mp4")]
    frame = clf.predict_frame(clips)
    said = ["modalities_used", "faces", "warnings", "error"]
    assert list(frame.columns) == ["id", "label", "sad", "angry", "happy", *said]
    assert frame["modalities_used"][0] == "text"
    assert frame["modalities_used"].isna().tolist() == [False, True]
    assert frame["id"].tolist() == ["a", "gone.mp4"]
    np.testing.assert_allclose(frame[clf.classes_], clf.predict_proba(clips))
    assert frame["label"][0] == clf.predict(clips)[0]
    assert frame["label"].isna().tolist() == [False, True]
    assert "gone.mp4" in frame["error"][1]


def test_labels_that_are_called_like_columns(tiny: Callable[..., EmotionClassifier]) -> None:
    pytest.importorskip("pandas")
    clf = tiny(["label", "error", "score of error", "id"])
    frame = clf.predict_frame([Clip(text="hi", id="a")])
    scores = ["score of label", "score of score of error", "score of error", "score of id"]
    assert frame.columns.tolist()[2:6] == scores and frame.columns.is_unique
    answer = clf(Clip(text="hi"))
    expected = [answer[name] for name in ("label", "error", "score of error", "id")]
    np.testing.assert_allclose(frame[scores].iloc[0].astype(float), expected)
    assert (frame["id"][0], frame["label"][0], frame["error"][0]) == ("a", answer.label, None)


def test_features_are_one_line(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["happy", "sad"], on_error="nan")
    features = clf.encode([Clip(text="so glad", id="a"), Clip("gone.mp4")])
    assert repr(features) == "Features(n=2)"
    assert repr(features[0]) == "ClipFeatures('a', text 4)"
    assert repr(features[1]).startswith("ClipFeatures('gone.mp4', error=")


def valid(prediction: Prediction) -> dict[str, Any]:
    """Check what `to_dict` gives, after JSON, against the schema."""
    schema = Prediction.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    found = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    jsonschema.validate(found, schema, cls=jsonschema.Draft202012Validator)
    return dict(found)


def test_every_kind_of_answer_fits_the_json_schema(tiny: Callable[..., EmotionClassifier]) -> None:
    assert valid(make([0.2, 0.5, 0.3])[0])["label"] == "happy"
    assert valid(make([0.2, 0.7, 0.9], multi_label=True)[0])["labels"] == ["happy", "sad"]
    assert valid(make([0.2, 0.1, 0.3], multi_label=True)[0])["label"] is None
    assert valid(make([0.2, 0.5, 0.3], abstain=0.6)[0])["label"] is None
    failed = valid(make([np.nan] * 3, [ClipFeatures({}, error="no such file")])[0])
    assert failed["error"] == "no such file" and set(failed["scores"].values()) == {None}
    clf = tiny({0: "calm", 1: "tense"}, on_error="nan")
    assert set(valid(clf(text="hi"))["scores"]) == {"0", "1"}
    assert valid(clf("none.mp4"))["modalities_used"] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label", 0.5),
        ("labels", "happy"),
        ("scores", {}),
        ("scores", {"happy": 1.5}),
        ("modalities_used", ["smell"]),
        ("faces", -1),
        ("calibrated", None),
        ("warnings", [1]),
        ("error", False),
        ("mood", "good"),
    ],
)
def test_the_json_schema_refuses_other_values(key: str, value: Any) -> None:
    answer = make([0.2, 0.5, 0.3])[0].to_dict()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**answer, key: value}, Prediction.json_schema())


def test_the_json_schema_needs_every_key_and_is_a_copy() -> None:
    answer = make([0.2, 0.5, 0.3])[0].to_dict()
    for key in answer:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(
                {k: v for k, v in answer.items() if k != key}, Prediction.json_schema()
            )
    Prediction.json_schema()["properties"].clear()
    assert list(Prediction.json_schema()["properties"]) == list(answer)
