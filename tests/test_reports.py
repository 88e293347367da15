"""Reports of several labels at once and of sentiment, and their intervals: by hand."""

from __future__ import annotations

import csv
import io
import json
import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from merclip.errors import InputError, MerclipWarning
from merclip.evaluation import (
    Condition,
    Report,
    Run,
    bootstrap_interval,
    label_scores,
    multilabel_scores,
    two_class_scores,
)
from merclip.evaluation.kinds import MULTI_LABEL, ONE_OF_N, Sentiment

TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]])
PROBABILITY = np.array([[0.9, 0.7, 0.1], [0.8, 0.4, 0.2], [0.3, 0.2, 0.1], [0.1, 0.2, 0.55]])
SCORES = np.array([-2.0, 0.0, 1.0, 3.0, -0.5])
POSITIVE = np.array([0.1, 0.3, 0.8, 0.6, 0.7])


def report_of(*runs, labels=("joy", "rage", "fear"), name="as it is"):
    return Report(name, {n: [n] for n in labels}, (Condition(name, runs),), n_clips=4)


def several(threshold=0.5, **facts):
    run = Run(tuple("abcd"), TRUTH, PROBABILITY, kind=MULTI_LABEL, threshold=threshold, **facts)
    return report_of(run)


def sentiment(truth=SCORES, positive=POSITIVE, column=1):
    probability = np.stack([1 - positive, positive], axis=1)
    labels = ["negative", "positive"]
    if column == 0:
        probability, labels = probability[:, ::-1], labels[::-1]
    ids = tuple(map(str, range(len(truth))))
    return report_of(Run(ids, truth, probability, kind=Sentiment(column)), labels=labels)


def one_of_n(truth, predicted, **facts):
    ids = facts.pop("ids", tuple(map(str, range(len(truth)))))
    return Run(ids, np.array(truth), np.eye(2)[predicted], **facts)


# Several labels at once -----------------------------------------------------------


def test_several_labels_are_measured_at_the_threshold():
    for threshold in (0.5, 0.6):
        found = several(threshold).metrics
        expected = multilabel_scores(TRUTH, PROBABILITY >= threshold)
        assert {name: found[name] for name in expected} == expected
        assert found["threshold"] == threshold
    found = several(0.5).metrics
    # Jaccard of the rows: 1/2, 1/2, both empty, 1.
    assert found["accuracy_jaccard"] == pytest.approx(2 / 4)
    assert found["accuracy_jaccard_empty1"] == pytest.approx(3 / 4)
    assert (found["micro_precision"], found["micro_recall"]) == (3 / 4, 3 / 4)
    assert found["empty_truth"] == 1 / 4


def test_precision_and_recall_are_not_swapped():
    run = Run(("a",), np.array([[1, 0, 0]]), np.array([[0.9, 0.9, 0.1]]), kind=MULTI_LABEL)
    found = report_of(run).metrics
    assert (found["micro_precision"], found["micro_recall"]) == (0.5, 1.0)


def test_each_label_may_have_its_own_threshold():
    found = several(np.array([0.85, 0.3, 0.5]))
    predicted = [[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert found.metrics["micro_f1"] == multilabel_scores(TRUTH, predicted)["micro_f1"]
    assert found.per_class["joy"] == label_scores(TRUTH, predicted)[0]
    assert found.metrics["threshold"] == pytest.approx(0.55)


def test_confusions_of_several_labels_are_those_of_each():
    counts = several().confusion
    assert counts.tolist() == [[[2, 0], [0, 2]], [[2, 1], [1, 0]], [[3, 0], [0, 1]]]
    text = several().to_markdown()
    assert "| label | found | missed | false alarms | rightly absent |" in text
    assert "| rage  |     0 |      1 |            1 |              2 |" in text


def test_calibration_of_several_labels_is_that_of_every_cell():
    probability = np.array([[0.9, 0.1], [0.9, 0.1]])
    truth = np.array([[1, 0], [0, 0]])
    found = report_of(Run(("a", "b"), truth, probability, kind=MULTI_LABEL), labels="xy")
    # Half of the cells at 0.9 are true, none of those at 0.1.
    assert found.metrics["expected_calibration_error"] == pytest.approx((0.4 + 0.1) / 2)
    assert sum(item.n_clips for item in found.conditions[0].calibration) == 4


def test_several_labels_have_calibration_but_no_confusion_picture(tmp_path):
    pytest.importorskip("matplotlib")
    several().plot_calibration(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="not taken for one another"):
        several().plot_confusion(tmp_path / "confusion.png")


def test_several_labels_as_json_and_in_words():
    found = several()
    assert json.loads(found.to_json())["kind"] == "multi-label"
    run = found.conditions[0].runs[0]
    answers = run.kind.answers(list(found.labels), run.truth, run.probability, run.threshold)
    assert answers == [("joy", "joy|rage"), ("joy|rage", "joy"), ("", ""), ("fear", "fear")]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_probability_that_is_none_is_refused(value):
    probability = PROBABILITY.copy()
    probability[0, 0] = value
    run = Run(tuple("abcd"), TRUTH, probability, kind=MULTI_LABEL)
    with pytest.raises(InputError, match="NaN or infinity"):
        _ = run.metrics


# Sentiment ------------------------------------------------------------------------


@pytest.mark.parametrize("column", [0, 1])
def test_sentiment_is_measured_in_two_classes(column):
    found = sentiment(column=column)
    expected = two_class_scores(SCORES, POSITIVE)
    for name, value in expected.items():
        assert found.metrics[name] == pytest.approx(value)
    assert found.metrics["accuracy_2_non0"] == 3 / 4  # the neutral clip does not count
    assert found.metrics["accuracy_2_has0"] == 3 / 5  # and here it is no negative one
    assert found.metrics["majority_non0"] == 1 / 2 and found.metrics["neutral_truth"] == 1 / 5
    assert found.per_class["positive"] == pytest.approx((2 / 3, 1, 0.8, 2))
    assert found.confusion.sum() == 4
    assert "extension: correlation" in found.to_markdown()


def test_sentiment_without_a_clear_clip_is_not_defined():
    found = sentiment(np.zeros(2), np.array([0.2, 0.9]))
    data = json.loads(found.to_json())["conditions"][0]["metrics"]
    assert data["accuracy_2_non0"]["mean"] is None
    assert data["accuracy_2_has0"]["mean"] == 0.5
    assert "| Acc-2 (negative/positive)                   |        - |" in found.to_markdown()


# Runs and conditions ----------------------------------------------------------------


def test_means_and_sums_are_over_runs():
    condition = report_of(
        one_of_n([0, 1], [0, 1], seed=0, fold=0), one_of_n([0, 1], [0, 0], seed=0, fold=1),
        labels="xy",
    )  # fmt: skip
    assert condition.metrics["accuracy"] == 0.75
    assert condition.conditions[0].std["accuracy"] == pytest.approx(np.std([1, 0.5], ddof=1))
    assert condition.confusion.tolist() == [[2, 0], [1, 1]]
    assert condition.seeds == [0]
    assert "mean ± standard deviation over folds" in condition.to_markdown()


def test_measures_of_a_protocol_stand_beside_those_of_the_kind():
    run = one_of_n([0, 1], [0, 1], extra={"harmonic_mean": 0.5, "odd": 0.25})
    found = report_of(run, labels="xy")
    assert found.metrics["harmonic_mean"] == 0.5 and found.metrics["accuracy"] == 1
    assert "| harmonic mean of the two |" in found.to_markdown()


def test_more_conditions_come_before_the_others():
    found = report_of(one_of_n([0, 1], [0, 1]), labels="xy")
    other = Condition("majority", (one_of_n([0, 1], [0, 0]),))
    both = found.with_conditions([other])
    assert [condition.name for condition in both.conditions] == ["majority", "as it is"]
    assert both.metrics == found.metrics and both["majority"].mean["accuracy"] == 0.5
    with pytest.raises(InputError, match="name of its own"):
        both.with_conditions([other])
    with pytest.raises(InputError, match="measures something else"):
        found.with_conditions([Condition("several", several().conditions[0].runs)])


def test_csv_has_a_line_for_each_condition_and_measure():
    found = sentiment(np.zeros(2), np.array([0.2, 0.9])).with_intervals(n_resamples=20)
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    by_name = {row["measure"]: row for row in rows}
    assert list(by_name) == list(found.metrics)
    assert float(by_name["accuracy_2_has0"]["mean"]) == 0.5
    assert by_name["accuracy_2_has0"]["upper"] == "1.0"
    assert by_name["accuracy_2_non0"]["mean"] == "" and rows[0]["condition"] == "as it is"


# Intervals --------------------------------------------------------------------------


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 40)
    return truth, np.where(generator.random(40) < 0.7, truth, 1 - truth)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_of_one_run_is_the_bootstraps(answers, grouped):
    truth, predicted = answers
    names = [f"{index:02}" for index in range(40)]
    groups = tuple(name[0] + str(int(name) % 3) for name in names) if grouped else None
    run = one_of_n(truth, predicted, ids=tuple(names), groups=groups)
    found = report_of(run, labels="xy").with_intervals(n_resamples=50)
    expected = bootstrap_interval(
        accuracy_score, truth, predicted, groups=groups or names, n_resamples=50
    )
    assert found.conditions[0].intervals["accuracy"] == pytest.approx(expected)
    assert found.resampling["resampled"] == ("groups" if grouped else "clips")
    assert f"[{expected.lower:.3f}, {expected.upper:.3f}]" in found.to_markdown()
    assert json.loads(found.to_json())["resampling"]["n_resamples"] == 50


def test_an_interval_of_few_says_so(answers):
    truth, predicted = answers
    groups = tuple(str(index % 4) for index in range(40))
    with pytest.warns(MerclipWarning, match="rests on 4 groups"):
        found = report_of(one_of_n(truth, predicted, groups=groups), labels="xy").with_intervals()
    assert "95% interval over 4 groups, so few that" in found.to_markdown()
    assert found.resampling["n_resampled"] == 4
    with pytest.warns(MerclipWarning, match="rests on 4 groups"):
        bootstrap_interval(accuracy_score, truth, predicted, groups=groups, n_resamples=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report_of(one_of_n(truth, predicted), labels="xy").with_intervals(n_resamples=5)


def test_labels_act_nowhere():
    labels = ("<script>", "[x](javascript:y)|", "\x1b[31m\u202e=1")
    found = report_of(Run(tuple("abc"), np.arange(3), np.eye(3)), labels=labels, name="=1+1")
    text = found.to_markdown()
    assert r"\<script\>" in text and r"\[x\](javascript:y)\|" in text
    assert r"\\x1b\[31m\\u202e=1" in text
    assert not {"\x1b", "\u202e"} & {*text, *found.to_json(), *found.to_csv()}
    assert [item["name"] for item in json.loads(found.to_json())["labels"]] == list(labels)
    assert next(csv.DictReader(io.StringIO(found.to_csv())))["condition"] == "'=1+1"


def test_runs_of_one_test_part_are_resampled_together(answers):
    truth, predicted = answers
    alone = report_of(one_of_n(truth, predicted), labels="xy")
    thrice = report_of(*(one_of_n(truth, predicted, seed=s) for s in range(3)), labels="xy")
    pair = [r.with_intervals(n_resamples=50).conditions[0].intervals for r in (alone, thrice)]
    assert pair[0]["accuracy"] == pytest.approx(pair[1]["accuracy"])


def test_folds_count_by_what_was_drawn_of_them():
    right = one_of_n([0, 1], [0, 1], fold=0, groups=("a", "a"))
    wrong = one_of_n([0, 1], [1, 0], fold=1, groups=("b", "b"), ids=("2", "3"))
    found = report_of(right, wrong, labels="xy").with_intervals(n_resamples=400, confidence=0.5)
    # Of two speakers either one is drawn twice, or both are: 0, 1/2 or 1 at 1 : 2 : 1.
    interval = found.conditions[0].intervals["accuracy"]
    assert interval.value == 0.5 and interval.n_resamples == 400
    assert {interval.lower, interval.upper} <= {0.0, 0.5, 1.0}
    wide = report_of(right, wrong, labels="xy").with_intervals(n_resamples=400, confidence=0.9)
    assert wide.conditions[0].intervals["accuracy"][1:3] == (0.0, 1.0)


def measured_by_sums(kind, truth, probability, threshold=None):
    blocks = kind.blocks(truth, probability, threshold)
    found = kind.from_sums({name: block.sum(axis=0)[None] for name, block in blocks.items()})
    return {name: values.item() for name, values in found.items()}


@pytest.mark.parametrize("seed", range(8))
def test_sums_give_what_scikit_learn_does(seed):
    generator = np.random.default_rng(seed)
    n_clips = int(generator.integers(2, 40))
    probability = generator.dirichlet(np.ones(5), n_clips)
    cases = [
        (ONE_OF_N, generator.integers(0, 4, n_clips), probability, None),
        (
            MULTI_LABEL,
            (generator.random((n_clips, 4)) < 0.3).astype(int),
            generator.random((n_clips, 4)),
            generator.random(4) if seed % 2 else 0.6,
        ),
        (
            Sentiment(seed % 2),
            np.round(generator.normal(size=n_clips) * 2) / 2,
            generator.dirichlet(np.ones(2), n_clips),
            None,
        ),
    ]
    for kind, *case in cases:
        expected = kind.scores(*case)
        found = measured_by_sums(kind, *case)
        assert set(expected) - set(found) <= {"threshold"}
        assert found == pytest.approx({n: expected[n] for n in found}, nan_ok=True), kind.name


def test_sums_of_what_is_constant_or_empty():
    flat = np.full((3, 2), 0.5)
    for truth in (np.zeros(3), np.full(3, 1.5), np.array([0.0, 0.0, 2.0])):
        expected = Sentiment().scores(truth, flat, None)
        assert measured_by_sums(Sentiment(), truth, flat) == pytest.approx(expected, nan_ok=True)
    nothing = np.zeros((3, 2), dtype=int)
    expected = MULTI_LABEL.scores(nothing, flat, 0.9)
    found = measured_by_sums(MULTI_LABEL, nothing, flat, 0.9)
    assert found == pytest.approx({name: expected[name] for name in found}, nan_ok=True)


@pytest.mark.parametrize("options", [{"n_resamples": 0}, {"confidence": 1.0}])
def test_bad_intervals(options):
    with pytest.raises(InputError, match="n_resamples is at least 1"):
        several().with_intervals(**options)
    with pytest.raises(InputError, match="At least two"):
        report_of(one_of_n([0], [0]), labels="xy").with_intervals(n_resamples=5)
