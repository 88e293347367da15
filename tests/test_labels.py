"""Label sets in every form, prompts, and `y` in every form."""

from __future__ import annotations

import enum
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from merclip import EmotionClassifier, LabelSet
from merclip.anchors import anchor_labels, listed
from merclip.errors import InputTypeError, LabelError, LabelTooLongWarning
from merclip.labels import encode_label_sets, encode_targets, names_in, prompt_list
from merclip.scoring import threshold_row
from merclip.training import class_weights

pd = pytest.importorskip("pandas")

SENTENCES = [
    "A person who is quietly furious, with a clenched jaw, and says little.",
    "a state of delight, inner peace, and warmth",
    "sad",
]

# Label sets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        ["happy", "sad", "angry"],
        ("happy", "sad", "angry"),
        np.array(["happy", "sad", "angry"]),
        np.array(["happy", "sad", "angry"], dtype=object),
        pd.Series(["happy", "sad", "angry"], index=[4, 2, 7]),
        pd.Series(["happy", "sad", "happy", "angry"]).unique(),
        pd.Index(["happy", "sad", "angry"]),
        {"happy": 0, "sad": 1, "angry": 2}.keys(),
        {"happy": "happy", "sad": "sad", "angry": "angry"},
        LabelSet.of(["happy", "sad", "angry"]),
    ],
)
def test_labels_keep_the_users_order_and_classes_are_sorted(labels: Any) -> None:
    found = LabelSet.of(labels)
    assert found.names == ("happy", "sad", "angry")
    assert all(type(name) is str for name in found.names)
    assert found.descriptions == (("happy",), ("sad",), ("angry",))
    assert found.classes.tolist() == ["angry", "happy", "sad"]
    assert found.texts(["{}"]) == [["angry"], ["happy"], ["sad"]]
    assert len(found) == 3


def test_a_set_has_a_stable_order() -> None:
    assert LabelSet.of({"sad", "angry", "happy"}).names == ("angry", "happy", "sad")


def test_sentences_are_labels_whole() -> None:
    found = LabelSet.of(SENTENCES)
    assert found.names == tuple(SENTENCES)
    assert found.classes.tolist() == sorted(SENTENCES)
    assert found.texts(["{}"]) == [[text] for text in sorted(SENTENCES)]


def test_descriptions_follow_the_classes_in_each_prompt() -> None:
    found = LabelSet.of({"joy": "delight, peace", "anger": ["rage", "fury"]})
    assert found.texts(["{}", "I feel {}."]) == [
        ["rage", "I feel rage.", "fury", "I feel fury."],
        ["delight, peace", "I feel delight, peace."],
    ]
    assert found.to_dict() == {"joy": ["delight, peace"], "anger": ["rage", "fury"]}


def test_braces_in_a_label_are_text() -> None:
    assert LabelSet.of(["{joy}", "{}"]).texts(["a {} face"]) == [["a {joy} face"], ["a {} face"]]


def test_integers_are_names_when_descriptions_are_given() -> None:
    found = LabelSet.of({np.int64(2): "happy", 10: "sad", -1: "angry"})
    assert found.names == (2, 10, -1)
    assert all(type(name) is int for name in found.names)
    assert found.classes.tolist() == [-1, 2, 10]
    assert found.texts(["{}"]) == [["angry"], ["happy"], ["sad"]]


@pytest.mark.parametrize("lone", ["joy", "joy, rage", b"joy", ""])
def test_a_lone_string_is_refused(lone: Any) -> None:
    with pytest.raises(InputTypeError, match="give a list"):
        LabelSet.of(lone)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "empty; give at least two"),
        ({}, "empty"),
        (["joy", ""], "empty"),
        (["joy", "  "], "empty"),
        (["joy ", "Joy"], "'joy ' and 'Joy' are the same"),
        (["Straße", "STRASSE"], "are the same"),
        (["ém", "e\u0301m"], "are the same"),
        ([0, 1], "no words to encode"),
        ({"happy": 0, "sad": 1}, "no words to encode"),
        ({"joy": "delight", 1: "rage"}, "all strings or all integers"),
        ({"joy": []}, "'joy' needs a description"),
        ({"joy": ""}, "'joy' needs a description"),
        ({"joy": None}, "'joy' needs a description"),
        ({"joy": 0.5}, "'joy' needs a description"),
        ({"joy": ["delight", 3]}, "'joy' needs a description"),
    ],
)
def test_label_sets_that_cannot_be_used_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelSet.of(labels)


@pytest.mark.parametrize(
    "labels",
    [5, None, object(), (word for word in ["joy"]), np.array("joy"), [0.5, 1.5], [None, "joy"],
     [True, False], [["joy"], ["rage"]], np.array([["joy", "rage"]])],
)  # fmt: skip
def test_what_is_no_collection_of_strings_is_refused(labels: Any) -> None:
    with pytest.raises(InputTypeError, match=r"label"):
        LabelSet.of(labels)


def test_names_in_any_script_survive(tiny: Callable[..., EmotionClassifier]) -> None:
    names = ["喜び", "грусть", "غضب", "😡", "naïve"]
    prediction = tiny(names)(text="hello")
    assert list(prediction) == names
    assert sum(prediction.values()) == pytest.approx(1)
    assert len(set(prediction.values())) == len(names)


# Prompts ---------------------------------------------------------------------------


def test_prompts_have_one_place_for_the_label() -> None:
    assert prompt_list("{}") == ["{}"]
    assert prompt_list(("a {} face", "{{{}}}")) == ["a {} face", "{{{}}}"]


@pytest.mark.parametrize("prompt", ["", "face", "{} {}", "{label}", "{0}", "{", [], ["{}", "x"]])
def test_other_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(LabelError, match=r"prompt"):
        prompt_list(prompt)


# What labels do to scores -----------------------------------------------------------


def embedding(clf: EmotionClassifier, labels: Any, **params: Any) -> np.ndarray:
    """Return label embeddings in the order of classes."""
    clf = clf.with_labels(labels).set_params(**params)
    prompts = prompt_list(clf.prompt)
    return clf._ready().engine.label_embeddings(clf.labels_, prompts, clf.on_long_label).numpy()


def test_several_descriptions_are_averaged(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["a", "b"])
    rage, fury, delight = (embedding(clf, {"x": text, "y": "y"})[0] for text in
                           ("rage", "fury", "delight"))  # fmt: skip
    both = embedding(clf, {"anger": ["rage", "fury"], "joy": "delight"})
    mean = (rage + fury) / np.linalg.norm(rage + fury)
    np.testing.assert_allclose(both, [mean, delight], atol=1e-5)


def test_several_prompts_are_averaged(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["a", "b"])
    plain = embedding(clf, ["joy", "rage"])
    framed = embedding(clf, ["joy", "rage"], prompt="a {} face")
    both = embedding(clf, ["joy", "rage"], prompt=["{}", "a {} face"])
    total = plain + framed
    expected = total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(both, expected, atol=1e-5)
    assert np.abs(plain - framed).max() > 1e-3


def test_a_comma_splits_nothing(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["joy, delight", "rage"])
    assert clf.classes_.tolist() == ["joy, delight", "rage"]
    assert list(clf(text="hi")) == ["joy, delight", "rage"]


def test_the_name_of_a_described_label_changes_nothing(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    clf = tiny({"a": "delight", "b": "rage"})
    renamed = clf.with_labels({2: "delight", 7: "rage"})
    np.testing.assert_array_equal(
        clf.predict_proba(text=["hi"]), renamed.predict_proba(text=["hi"])
    )
    assert clf.predict(text=["hi"])[0] in ("a", "b")
    assert renamed.predict(text=["hi"]).dtype == np.int64


def test_predicted_sentences_are_not_cut(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(SENTENCES)
    texts = ["furious", "what a delight", "oh", "sad", "peace", "hm", "so tired"]
    found = clf.predict(text=texts)
    assert set(found) <= set(SENTENCES)
    assert found.tolist() == clf.classes_[clf.predict_proba(text=texts).argmax(axis=1)].tolist()
    other = clf.predict(text=texts, labels=["a", "a person in the depths of a long despair"])
    assert set(other) <= {"a", "a person in the depths of a long despair"}
    clf.set_params(abstain=0.0)
    assert set(clf.predict(text=texts)) <= set(SENTENCES)


def test_a_label_that_is_too_long_warns_with_the_lost_part(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    words = tiny(["joy"]).network_.max_label_tokens - 2
    long = "a " * words + "full of the deepest sorrow"
    with pytest.warns(LabelTooLongWarning, match="lost: .*deepest sorrow"):
        tiny(["joy", long]).predict_proba(text="hi")
    with pytest.raises(LabelError, match="deepest sorrow"):
        tiny(["joy", long], on_long_label="raise").predict_proba(text="hi")
    with pytest.raises(LabelError, match="deepest sorrow"):
        tiny({"joy": "joy", "sorrow": ["sorrow", long]}, on_long_label="raise").predict(text="hi")


def test_a_label_that_just_fits_does_not_warn(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["joy", "sad"])
    words = clf.network_.max_label_tokens - 2
    with warnings.catch_warnings():
        warnings.simplefilter("error", LabelTooLongWarning)
        clf.with_labels(["joy", "sad " * words]).predict(text="hi")
    with pytest.warns(LabelTooLongWarning, match="'sad'"):
        clf.with_labels(["joy", "sad " * (words + 1)]).predict(text="hi")


# y ---------------------------------------------------------------------------------

CLASSES = np.array(["angry", "happy", "sad"])


@pytest.mark.parametrize(
    "y",
    [
        ["sad", "angry", "sad"],
        ("sad", "angry", "sad"),
        np.array(["sad", "angry", "sad"]),
        np.array(["sad", "angry", "sad"], dtype=object),
        pd.Series(["sad", "angry", "sad"], index=[3, 3, 0]),
        pd.Categorical(["sad", "angry", "sad"]),
    ],
)
def test_labels_become_positions(y: Any) -> None:
    assert names_in(y, multi_label=False) == ["angry", "sad"]
    targets = encode_targets(y, CLASSES)
    assert targets.tolist() == [2, 0, 2]
    assert targets.dtype == np.int64


@pytest.mark.parametrize(
    "y", [[10, 2], np.array([10, 2]), torch.tensor([10, 2]), pd.Series([10, 2])]
)
def test_integers_are_labels_where_classes_are_integers(y: Any) -> None:
    assert encode_targets(y, np.array([-1, 2, 10])).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["sad", "glad", "mad"], r"\['angry', 'happy', 'sad'\]: 'glad', 'mad'"),
        ([0, 1], "Give names, or labels with the same integers"),
        (np.array([0.0, 1.0]), "Give names"),
        (torch.tensor([0, 1]), "Give names"),
        (["sad", None], "None"),
        (["sad", float("nan")], "nan"),
        ([["sad"], ["happy"]], r"\['sad'\]"),
        (["Sad"], "'Sad'"),
        (np.array([["sad"], ["happy"]]), r"shape \(2, 1\)"),
        (pd.DataFrame({"label": ["sad"]}), r"shape \(1, 1\)"),
    ],
)
def test_y_with_unknown_labels_is_an_error_that_names_them(y: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        encode_targets(y, CLASSES)


@pytest.mark.parametrize(
    "y", [["a", None], ["a", float("nan")], ["a", 1], [["a"], ["b"]], pd.DataFrame({"y": ["a"]})]
)
def test_labels_cannot_be_taken_from_a_y_with_gaps_or_mixtures(y: Any) -> None:
    with pytest.raises(LabelError, match="y "):
        names_in(y, multi_label=False)


@pytest.mark.parametrize("y", [[0, 1, 0, 1], np.array([0, 1, 0, 1])])
def test_numbers_with_words_are_names(tiny: Callable[..., EmotionClassifier], y: Any) -> None:
    X = [{"text": word} for word in "abcd"]
    clf = tiny({0: "happy", 1: "sad"}, epochs=1).fit(X, y)
    assert set(clf.predict(X)) <= {0, 1}
    assert clf.labels_.to_dict() == {0: ["happy"], 1: ["sad"]}


@pytest.mark.parametrize(
    "labels", [["0", "1"], ["-1", "+1"], ["1.0", "0,5"], ["True", "False"], np.array(["1", "2"])]
)
def test_names_of_digits_alone_say_nothing_before_a_fit(
    tiny: Callable[..., EmotionClassifier], labels: Any, tmp_path: Path
) -> None:
    X = [{"text": word} for word in "abcd"]
    clf = tiny(["happy", "sad"])
    for ask in (tiny(labels).predict, clf.with_labels(labels).predict_proba, tiny(labels)):
        with pytest.raises(LabelError, match=r"no words to encode.*a mapping such as"):
            ask(X)
    clf.predict(X, labels=[*labels, "10 out of 10"])
    clf.predict(X, labels={name: f"{name} of them" for name in labels})
    clf = tiny(labels, epochs=1).fit(X, list(labels) * 2)
    assert set(clf.predict(X)) <= set(labels)
    saved = EmotionClassifier.from_pretrained(clf.save_pretrained(tmp_path / "model"))
    assert saved.predict(X, labels=labels).tolist() == clf.predict(X).tolist()


def test_true_and_false_have_no_words(tiny: Callable[..., EmotionClassifier]) -> None:
    for y in ([True, False], np.array([True, False])):
        with pytest.raises(LabelError, match="y holds True and False.*give names"):
            tiny().fit([{"text": "a"}, {"text": "b"}], y)


class Word(str, enum.Enum):
    """As FastAPI and pydantic have it."""

    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"


class Member(enum.Enum):
    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"


class Number(enum.IntEnum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize("kind", [Word, Member])
def test_members_of_an_enumeration_are_their_words(
    tiny: Callable[..., EmotionClassifier], kind: Any
) -> None:
    expected = LabelSet.of(["happy", "sad", "angry"])
    described = LabelSet.of({kind.HAPPY: kind.HAPPY, kind.SAD: ["sad"], kind.ANGRY: "angry"})
    for labels in (LabelSet.of(list(kind)), LabelSet.of(kind), described):
        assert labels == expected
        assert {type(name) for name in labels.names} == {str}
    assert encode_targets([kind.SAD, kind.ANGRY], CLASSES).tolist() == [2, 0]
    assert encode_label_sets([[kind.SAD, kind.ANGRY], []], CLASSES).tolist() == [
        [1, 0, 1],
        [0, 0, 0],
    ]
    X = [{"text": word} for word in "abcd"]
    clf = tiny(list(kind), epochs=1).fit(X, [kind.HAPPY, kind.SAD] * 2)
    assert clf.classes_.tolist() == ["angry", "happy", "sad"]
    assert clf(text="a").label in ("angry", "happy", "sad")
    assert tiny(epochs=1).fit(X, [kind.HAPPY, kind.SAD] * 2).classes_.tolist() == ["happy", "sad"]
    # Nor is anything lost that is given for each of them.
    row = threshold_row({kind.SAD: 0.2}, CLASSES)
    assert row.tolist() == [0.5, 0.5, 0.2]
    weights = class_weights({kind.SAD: 3.0}, np.array([0, 1, 2, 2]), CLASSES)
    assert weights[2] == pytest.approx(3 * weights[0])
    assert listed({kind.SAD: "sad.png"}) == {"sad": ["sad.png"]}
    assert anchor_labels({kind.SAD: "sad.png", kind.HAPPY: b"..."}).names == ("sad", "happy")


def test_numbers_of_an_enumeration_are_numbers() -> None:
    found = LabelSet.of({Number.LOW: "calm", Number.HIGH: "tense"})
    assert found.names == (1, 2)
    assert {type(name) for name in found.names} == {int}
    assert encode_targets([Number.HIGH, 1], found.classes).tolist() == [1, 0]


def test_label_sets_become_an_indicator_matrix() -> None:
    expected = [[0, 0, 1], [1, 1, 0], [0, 0, 0]]
    names = [["sad"], ("happy", "angry"), set()]
    for y in (names, np.array([list(n) for n in names], dtype=object), pd.Series(names)):
        matrix = encode_label_sets(y, CLASSES)
        assert matrix.tolist() == expected
        assert matrix.dtype == np.float32
        assert names_in(y, multi_label=True) == ["angry", "happy", "sad"]
    matrix = np.array(expected)
    for y in (
        matrix,
        matrix.astype(bool),
        matrix.astype(float),
        torch.tensor(matrix),
        torch.tensor(matrix).to_sparse(),
        *(kind(matrix) for kind in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array)),
        pd.DataFrame(matrix, columns=CLASSES).astype("Int64"),
        pd.DataFrame(matrix, columns=CLASSES).astype("boolean"),
        pd.DataFrame(matrix, columns=CLASSES).astype(pd.SparseDtype("int", 0)),
    ):
        assert encode_label_sets(y, CLASSES).tolist() == expected


def test_columns_of_an_indicator_frame_go_by_their_names() -> None:
    frame = pd.DataFrame({"sad": [1, 0], "angry": [0, 1], "happy": [0, 1]})
    assert encode_label_sets(frame, CLASSES).tolist() == [[0, 0, 1], [1, 1, 0]]
    assert names_in(frame, multi_label=True) == ["angry", "happy", "sad"]
    with pytest.raises(LabelError, match=r"\['sad', 'angry'\]"):
        encode_label_sets(frame[["sad", "angry"]], CLASSES)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((2, 4)), r"3 columns of 0 and 1.*\(2, 4\)"),
        (np.full((2, 3), 0.5), "3 columns of 0 and 1"),
        (np.full((2, 3), np.nan), "3 columns of 0 and 1"),
        (sparse.csr_array(np.eye(4)), r"3 columns of 0 and 1.*\(4, 4\)"),
        (pd.DataFrame({"sad": [1], "happy": [pd.NA], "angry": [0]}), "0 and 1"),
        (["sad", "happy"], "row 0 is 'sad'"),
        ([["sad"], None], "row 1 is None"),
        ([["sad"], ["glad"]], "'glad'"),
        ([[0, 1, 0]], "0, 1"),
    ],
)
def test_other_multi_label_targets_are_refused(y: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        encode_label_sets(y, CLASSES)


def test_a_matrix_does_not_name_its_columns() -> None:
    with pytest.raises(LabelError, match="set labels="):
        names_in(np.eye(3), multi_label=True)


def test_multi_label_fit_takes_sets_matrix_and_frame(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    X = [{"text": word} for word in ["good", "bad", "good and bad", "nothing"]]
    sets = [["happy"], ["sad"], ["happy", "sad"], []]
    matrix = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    params = {"multi_label": True, "epochs": 1, "validation": 0.0}
    expected = tiny(**params).fit(X, sets).predict_proba(X)
    table = pd.DataFrame(matrix[:, ::-1], columns=["sad", "happy"])
    for y in (matrix, table, sparse.csr_matrix(matrix)):
        found = tiny(["sad", "happy"], **params).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-5)
