"""Logits to probabilities to labels, against values worked out by hand."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from merclip import EmotionClassifier
from merclip.errors import InputError
from merclip.scoring import (
    DecisionRule,
    best_threshold,
    fit_temperature,
    log_probabilities,
    probabilities,
    threshold_row,
)

CLASSES = np.array(["angry", "happy", "sad"])
TEXTS = ["so good", "so bad", "hm", "what a day", "I hate it", "lovely", "leave me alone"]


def rule(**params: Any) -> DecisionRule:
    values = {"classes": CLASSES, "multi_label": False, "threshold": np.full(3, 0.5)}
    return DecisionRule(**{**values, **params})


# Probabilities ----------------------------------------------------------------------


def test_one_of_n_is_a_softmax() -> None:
    logits = np.log([[1.0, 2.0, 5.0], [1.0, 1.0, 1.0]]).astype(np.float32)
    found = probabilities(logits, multi_label=False)
    np.testing.assert_allclose(found, [[0.125, 0.25, 0.625], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    assert found.dtype == np.float64


def test_multi_label_is_a_sigmoid_for_each() -> None:
    logits = np.array([[0.0, math.log(3), -math.log(4)]])
    found = probabilities(logits, multi_label=True)
    np.testing.assert_allclose(found, [[0.5, 0.75, 0.2]])


@pytest.mark.parametrize("multi_label", [False, True])
def test_extreme_logits_neither_overflow_nor_warn(multi_label: bool) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [-800.0, 0.0, 800.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = probabilities(logits, multi_label=multi_label)
        logs = log_probabilities(logits, multi_label=multi_label)
    middle = 0.5 if multi_label else 0.0
    np.testing.assert_allclose(found, [[1, 0, middle], [0, middle, 1]], atol=1e-300)
    assert np.isfinite(logs).all()
    assert logs[0, 1] == (-1e4 if multi_label else -2e4)


@pytest.mark.parametrize("multi_label", [False, True])
def test_log_probabilities_are_their_logarithm(multi_label: bool) -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(
        log_probabilities(logits, multi_label=multi_label),
        np.log(probabilities(logits, multi_label=multi_label)),
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_rows_of_nan_stay_alone_and_do_not_warn(multi_label: bool) -> None:
    logits = np.array([[0.0, 1.0, 2.0], [np.nan] * 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = probabilities(logits, multi_label=multi_label)
    np.testing.assert_array_equal(found[0], probabilities(logits[:1], multi_label=multi_label)[0])
    assert np.isnan(found[1]).all()


# Labels -----------------------------------------------------------------------------


def test_the_best_label_wins() -> None:
    probability = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    found = rule().labels(probability)
    assert found.tolist() == ["happy", "angry"]
    assert found.dtype == CLASSES.dtype
    assert rule().holds(probability).tolist() == [[False, True, False], [True, False, False]]


def test_a_tie_goes_to_the_first_class_as_argmax_has_it() -> None:
    assert rule().labels(np.array([[0.4, 0.2, 0.4]])).tolist() == ["angry"]


def test_abstaining_gives_none_below_the_least_probability() -> None:
    probability = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8]])
    found = rule(abstain=0.5).labels(probability)
    assert found.tolist() == ["happy", None, "sad"]
    assert found.dtype == object
    assert rule(abstain=0.0).labels(probability).dtype == object
    assert rule(abstain=0.0).labels(probability).tolist() == ["happy", "angry", "sad"]


def test_integer_classes_stay_integers_beside_none() -> None:
    classes = np.array([-1, 2, 10])
    found = rule(classes=classes, abstain=0.5).labels(np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]))
    assert found.tolist() == [2, None]
    assert rule(classes=classes).labels(np.array([[0.2, 0.5, 0.3]])).dtype == np.int64


def test_a_row_that_was_not_read_has_no_label() -> None:
    found = rule().labels(np.array([[0.2, 0.5, 0.3], [np.nan] * 3]))
    assert found.tolist() == ["happy", None]


def test_thresholds_decide_each_label_and_include_their_value() -> None:
    probability = np.array([[0.5, 0.49, 0.9], [0.1, 0.2, 0.3]])
    found = rule(multi_label=True).labels(probability)
    assert found.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert np.issubdtype(found.dtype, np.integer)
    own = rule(multi_label=True, threshold=np.array([0.6, 0.2, 0.95]))
    assert own.labels(probability).tolist() == [[0, 1, 0], [0, 1, 0]]


def test_a_multi_label_row_that_was_not_read_is_nan() -> None:
    found = rule(multi_label=True).labels(np.array([[0.5, 0.4, 0.9], [np.nan] * 3]))
    assert found[0].tolist() == [1, 0, 1]
    assert np.isnan(found[1]).all()


# Thresholds --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (None, [0.5, 0.5, 0.5]),
        (0.3, [0.3, 0.3, 0.3]),
        (0, [0, 0, 0]),
        (1, [1, 1, 1]),
        (np.float32(0.25), [0.25, 0.25, 0.25]),
        ({"sad": 0.1}, [0.5, 0.5, 0.1]),
        ({"sad": 0.1, "angry": 0.9, "happy": 0.2}, [0.9, 0.2, 0.1]),
        ({}, [0.5, 0.5, 0.5]),
    ],
)
def test_a_threshold_is_global_or_by_label(threshold: Any, expected: list[float]) -> None:
    assert threshold_row(threshold, CLASSES).tolist() == expected


def test_integer_labels_have_thresholds_also_when_json_made_them_strings() -> None:
    classes = np.array([0, 1])
    assert threshold_row({1: 0.9}, classes).tolist() == [0.5, 0.9]
    assert threshold_row({"1": 0.9}, classes).tolist() == [0.5, 0.9]


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (1.5, "probability in"),
        (-0.1, "probability in"),
        (float("nan"), "probability in"),
        ("high", "probability in"),
        ([0.1, 0.2, 0.3], "probability in"),
        ({"sad": None}, "probability in"),
        ({"sad": 2}, "probability in"),
        ({"joy": 0.5}, r"do not exist: \['joy'\]"),
    ],
)
def test_other_thresholds_are_refused(threshold: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        threshold_row(threshold, CLASSES)


def test_the_best_threshold_separates_and_stays_near_one_half() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    assert best_threshold(np.where(truth, 0.9, 0.1), truth) == 0.5
    assert best_threshold(np.where(truth, 0.32, 0.21), truth) == pytest.approx(0.3)
    assert best_threshold(np.where(truth, 0.92, 0.78), truth) == pytest.approx(0.8)


# Temperature -------------------------------------------------------------------------


def test_the_fitted_temperature_undoes_a_wrong_scale() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 3)) * 2
    chances = probabilities(logits, multi_label=False)
    targets = (chances.cumsum(axis=1) < generator.random((4000, 1))).sum(axis=1)
    for scale in (0.25, 1.0, 6.0):
        assert fit_temperature(logits * scale, targets) == pytest.approx(scale, rel=0.1)


# Through the classifier ---------------------------------------------------------------


def test_predict_is_the_argmax_of_the_columns_for_every_order_of_labels(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    names = ["sad", "angry", "happy", "fear"]
    clf = tiny(names)
    expected = clf.predict_proba(text=TEXTS)
    clip = dict(clf(text=TEXTS[0]))
    for order in itertools.permutations(names):
        other = clf.with_labels(list(order))
        probability = other.predict_proba(text=TEXTS)
        assert other.classes_.tolist() == sorted(names)
        np.testing.assert_allclose(probability, expected, atol=1e-6)
        best = other.classes_[probability.argmax(axis=1)]
        assert best.tolist() == other.predict(text=TEXTS).tolist()
        assert clf.predict(text=TEXTS, labels=list(order)).tolist() == best.tolist()
        prediction = other(text=TEXTS[0])
        assert list(prediction) == list(order)
        assert prediction.label == best[0]
        assert dict(prediction) == pytest.approx(clip, abs=1e-6)


def test_the_arrays_agree_with_each_other(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["sad", "angry", "happy"])
    probability, logits = clf.predict_proba(text=TEXTS), clf.decision_function(text=TEXTS)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_allclose(probability, probabilities(logits, multi_label=False), atol=1e-6)
    np.testing.assert_allclose(clf.predict_log_proba(text=TEXTS), np.log(probability), atol=1e-5)
    two = clf.with_labels(["sad", "angry"])
    margin, chance = two.decision_function(text=TEXTS), two.predict_proba(text=TEXTS)
    assert margin.shape == (len(TEXTS),)
    np.testing.assert_allclose(margin, np.log(chance[:, 1] / chance[:, 0]), atol=1e-4)
    assert (two.predict(text=TEXTS) == two.classes_[(margin > 0).astype(int)]).all()


def test_abstain_goes_through_predict_and_call(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["sad", "angry", "happy"])
    best = clf.predict_proba(text=TEXTS).max(axis=1)
    clf.set_params(abstain=float(np.median(best)))
    expected = [b >= clf.abstain for b in best]
    assert [label is not None for label in clf.predict(text=TEXTS)] == expected
    assert any(expected) and not all(expected)
    for prediction, kept in zip(clf(text=TEXTS), expected, strict=True):
        assert (prediction.label is not None) == kept
        assert len(prediction.labels) == kept
        assert sum(prediction.values()) == pytest.approx(1)


def test_thresholds_go_through_predict_and_call(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["sad", "angry", "happy"], multi_label=True)
    probability = clf.predict_proba(text=TEXTS)
    assert ((probability > 0) & (probability < 1)).all()
    cut = dict(zip(clf.classes_, np.median(probability, axis=0).tolist(), strict=True))
    clf.set_params(threshold=cut)
    np.testing.assert_array_equal(clf.threshold_, np.median(probability, axis=0))
    found = clf.predict(text=TEXTS)
    np.testing.assert_array_equal(found, probability >= clf.threshold_)
    assert 0 < found.sum() < found.size
    for prediction, row in zip(clf(text=TEXTS), found, strict=True):
        holds = set(clf.classes_[row.astype(bool)])
        assert set(prediction.labels) == holds
        assert prediction.label == (max(holds, key=prediction.scores.get) if holds else None)


def test_one_label_is_enough_for_multi_label(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(["happy"], multi_label=True)
    assert clf.predict_proba(text=TEXTS).shape == (len(TEXTS), 1)
    assert clf.predict(text=TEXTS).shape == (len(TEXTS), 1)
    assert clf.decision_function(text=TEXTS).shape == (len(TEXTS), 1)
    assert list(clf(text="hi")) == ["happy"]


def test_calibration_changes_probabilities_but_no_label(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    X, y = [{"text": text} for text in TEXTS], ["happy", "sad"] * 3 + ["sad"]
    clf = tiny(["happy", "sad"], tune="none")
    before, labels = clf.decision_function(X), clf.predict(X)
    assert clf(X)[0].calibrated is False
    clf.fit(X, y)
    temperature = clf.calibration_["temperature"]
    assert temperature > 0
    np.testing.assert_allclose(clf.decision_function(X), before / temperature, rtol=1e-4)
    assert clf.predict(X).tolist() == labels.tolist()
    assert clf(X)[0].calibrated is True
    assert clf(X[0], labels=["joy", "rage"]).calibrated is False
