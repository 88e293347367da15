"""The field's measures: by hand, against plain numpy on random cases, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from merclip.errors import InputError, InputTypeError
from merclip.evaluation import (
    bootstrap_interval,
    label_scores,
    metrics,
    multilabel_scores,
    open_vocabulary_scores,
    paired_difference,
    sentiment_scores,
    two_class_scores,
    wheel_clusters,
    wheel_scores,
)

SEEDS = pytest.mark.parametrize("seed", range(12))
NAN = float("nan")


def ratio(above, below):
    return above / below if below else 0.0


def accuracy(truth, predicted):
    """Return what scikit-learn's function does, fast enough for thousands of resamples."""
    return float(np.mean(np.asarray(truth) == np.asarray(predicted)))


def f1_of(truth, predicted, value):
    """Return the F1 of one class, by its definition."""
    both = np.sum((truth == value) & (predicted == value))
    return ratio(2 * both, np.sum(truth == value) + np.sum(predicted == value))


def weighted_f1_of(truth, predicted):
    return sum(np.mean(truth == v) * f1_of(truth, predicted, v) for v in np.unique(truth))


# One of n -------------------------------------------------------------------------


@SEEDS
def test_scores_of_meld_iemocap_and_video_are_those_by_definition(seed):
    generator = np.random.default_rng(seed)
    probability = generator.dirichlet(np.ones(7), 40)
    truth = generator.integers(0, 5, 40)  # two classes are not there
    predicted = probability.argmax(axis=1)
    found = metrics.scores(truth, probability)
    recalls = [np.mean(predicted[truth == value] == value) for value in np.unique(truth)]
    assert found["accuracy"] == pytest.approx(np.mean(truth == predicted))  # WAR
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))  # UAR
    assert found["weighted_f1"] == pytest.approx(weighted_f1_of(truth, predicted))


@pytest.mark.parametrize(
    ("truth", "probability", "said"),
    [
        ([0, 1], [[1.0, 0.0]], r"\(2,\) and \(1, 2\)"),
        ([], np.zeros((0, 2)), "at least one clip"),
        ([0], [[NAN, NAN]], "NaN"),
        ([2], [[0.5, 0.5]], "from 0 to 1"),
        ([-1], [[0.5, 0.5]], "from 0 to 1"),
        (["happy"], [[0.5, 0.5]], "whole numbers"),
        ([0], ["happy"], "no array of numbers"),
    ],
)
def test_bad_one_of_n(truth, probability, said):
    with pytest.raises(InputError, match=said):
        metrics.scores(truth, probability)


# Several labels -------------------------------------------------------------------

TRUE = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
SAID = np.array([[1, 0, 1], [1, 1, 1], [0, 0, 0], [1, 0, 0]])
"""Jaccard of the rows: 1/3, 1/3, both empty, 0. Cells: 2 found, 4 wrongly, 1 missed."""


def test_multilabel_scores_by_hand():
    found = multilabel_scores(TRUE, SAID)
    assert found["accuracy_jaccard"] == pytest.approx((1 / 3 + 1 / 3) / 4)
    assert found["accuracy_jaccard_empty1"] == pytest.approx((1 / 3 + 1 / 3 + 1) / 4)
    assert found["micro_precision"] == pytest.approx(2 / 6)
    assert found["micro_recall"] == pytest.approx(2 / 3)
    assert found["micro_f1"] == pytest.approx(4 / 9)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 0) / 2)  # no clip has the third label
    assert found["subset_accuracy"] == 1 / 4
    assert found["hamming_loss"] == pytest.approx(5 / 12)
    assert found["empty_truth"] == 1 / 2


def test_precision_and_recall_are_not_swapped():
    found = multilabel_scores([[1, 0, 0]], [[1, 1, 0]])
    assert (found["micro_precision"], found["micro_recall"]) == (0.5, 1)
    swapped = multilabel_scores([[1, 1, 0]], [[1, 0, 0]])
    assert (swapped["micro_precision"], swapped["micro_recall"]) == (1, 0.5)
    for name in ("accuracy_jaccard", "micro_f1"):  # which cannot tell
        assert swapped[name] == found[name]


def test_a_perfect_answer_is_capped_by_empty_truth():
    found = multilabel_scores(TRUE, TRUE)
    assert found["accuracy_jaccard"] == 1 - found["empty_truth"] == 0.5
    assert found["accuracy_jaccard_empty1"] == found["micro_f1"] == found["macro_f1"] == 1


def test_micro_f1_of_the_papers_row_follows_from_its_precision_and_recall():
    # 531 of 1000 predicted cells are right, and they are 63.4 % of the true ones.
    n_true = round(531 / 0.634)
    truth = np.r_[np.ones(n_true), np.zeros(2000 - n_true)].reshape(-1, 2)
    said = np.r_[np.zeros(n_true - 531), np.ones(1000), np.zeros(1000 - n_true + 531)]
    found = multilabel_scores(truth, said.reshape(-1, 2))
    assert found["micro_f1"] == pytest.approx(0.578, abs=0.001)


def test_label_scores_by_hand():
    first, second, third = label_scores(TRUE, SAID)
    assert first == pytest.approx((3 / 4, 3 / 4, 2 / 3, 1, 4 / 5, 11 / 15, 2))
    assert second == pytest.approx((2 / 4, (0 + 2 / 3) / 2, 0, 0, 0, 3 / 4 * 2 / 3, 1))
    # Never true: what is left of balanced accuracy is the rate of true negatives.
    assert third == pytest.approx((1 / 2, 1 / 2, 0, 0, 0, 2 / 3, 0))


@SEEDS
def test_multilabel_scores_by_definition(seed):
    generator = np.random.default_rng(seed)
    truth = generator.random((30, 5)) < generator.random(5) * 0.6
    said = generator.random((30, 5)) < generator.random(5)
    both, either = (truth & said).sum(axis=1), (truth | said).sum(axis=1)
    found = multilabel_scores(truth, said)
    assert found["accuracy_jaccard"] == pytest.approx(np.mean(both / np.maximum(either, 1)))
    by_one = np.where(either, both / np.maximum(either, 1), 1)
    assert found["accuracy_jaccard_empty1"] == pytest.approx(np.mean(by_one))
    assert found["micro_precision"] == pytest.approx(ratio(both.sum(), said.sum()))
    assert found["micro_recall"] == pytest.approx(ratio(both.sum(), truth.sum()))
    assert found["micro_f1"] == pytest.approx(ratio(2 * both.sum(), truth.sum() + said.sum()))
    each = [f1_of(truth[:, i], said[:, i], True) for i in range(5) if truth[:, i].any()]
    assert found["macro_f1"] == pytest.approx(np.mean(each))
    assert found["hamming_loss"] == pytest.approx(np.mean(truth != said))
    assert found["subset_accuracy"] == pytest.approx(np.mean((truth == said).all(axis=1)))


@SEEDS
def test_label_scores_by_definition(seed):
    generator = np.random.default_rng(seed)
    truth, said = generator.random((2, 25, 4)) < 0.4
    for row, true, one in zip(label_scores(truth, said), truth.T, said.T, strict=True):
        rates = [np.mean(one[true == value] == value) for value in np.unique(true)]
        assert row.accuracy == pytest.approx(np.mean(true == one))
        assert row.balanced_accuracy == pytest.approx(np.mean(rates))
        assert row.weighted_f1 == pytest.approx(weighted_f1_of(true, one))
        assert row.precision == pytest.approx(ratio((true & one).sum(), one.sum()))
        assert row.recall == pytest.approx(ratio((true & one).sum(), true.sum()))


@pytest.mark.filterwarnings("error")
def test_several_labels_when_nothing_is_true_or_predicted():
    zeros, ones = np.zeros((3, 2)), np.ones((3, 2))
    found = multilabel_scores(zeros, zeros)
    assert (found["accuracy_jaccard"], found["accuracy_jaccard_empty1"]) == (0, 1)
    assert found["micro_f1"] == 0 and found["empty_truth"] == found["subset_accuracy"] == 1
    assert np.isnan(found["macro_f1"])
    assert multilabel_scores(zeros, ones)["micro_precision"] == 0
    assert multilabel_scores(ones, zeros)["micro_recall"] == 0
    assert multilabel_scores(ones, ones)["accuracy_jaccard"] == 1
    assert label_scores(zeros, zeros)[0] == (1, 1, 0, 0, 0, 1, 0)
    assert label_scores(zeros, ones)[0] == (0, 0, 0, 0, 0, 0, 0)
    assert label_scores(ones, zeros)[0] == (0, 0, 0, 0, 0, 0, 3)
    assert label_scores([[1], [0]], [[1], [1]])[0].recall == 1  # one label is enough here


@pytest.mark.parametrize("measure", [multilabel_scores, label_scores])
@pytest.mark.parametrize(
    ("truth", "predicted", "said"),
    [
        ([[1, 0]], [[1, 0, 0]], r"\(1, 2\) and \(1, 3\)"),
        ([1, 0], [1, 0], r"shape \(n, k\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "at least one clip"),
        ([[1, 0]], [[0.9, 0.2]], "predicted holds 0 and 1 alone"),
        ([[1 / 3, 0]], [[1, 0]], "truth holds 0 and 1 alone"),
        ([[1, 0]], [[NAN, NAN]], "predicted holds NaN"),
        ([[1, 0]], [["happy", "sad"]], "no array of numbers"),
    ],
)
def test_bad_indicators(measure, truth, predicted, said):
    with pytest.raises(InputError, match=said):
        measure(truth, predicted)


def test_one_label_alone_has_no_sets():
    with pytest.raises(InputError, match="label_scores"):
        multilabel_scores([[1], [0]], [[1], [1]])


# Sentiment ------------------------------------------------------------------------


def test_sentiment_scores_by_hand():
    truth = np.array([-2.0, -0.4, 0.0, 0.0, 1.0, 3.0])
    said = np.array([-1.6, 0.2, 0.3, -0.1, 2.5, 4.2])
    found = sentiment_scores(truth, said)
    assert found["accuracy_2_has0"] == pytest.approx(4 / 6)
    # negative: 1 of 2 found, 2 predicted; non-negative: 3 of 4 found, 4 predicted.
    assert found["weighted_f1_2_has0"] == pytest.approx((2 * 0.5 + 4 * 0.75) / 6)
    assert found["accuracy_2_non0"] == pytest.approx(3 / 4)
    # negative: 1 of 2 found, 1 predicted; positive: 2 of 2 found, 3 predicted.
    assert found["weighted_f1_2_non0"] == pytest.approx((2 * 2 / 3 + 2 * 4 / 5) / 4)
    assert found["accuracy_7"] == pytest.approx(5 / 6)  # 2.5 is 2, and 4.2 is 3
    assert found["accuracy_5"] == pytest.approx(5 / 6)
    assert found["accuracy_3"] == pytest.approx(6 / 6)
    errors = 0.4 + 0.6 + 0.3 + 0.1 + 1.5 + 1.2  # nothing is cut
    assert found["mean_absolute_error"] == pytest.approx(errors / 6)
    assert found["correlation"] == pytest.approx(np.corrcoef(truth, said)[0, 1])


def test_zero_is_dropped_by_the_truth_and_not_by_the_prediction():
    found = sentiment_scores([0.0, 1.0, -1.0], [5.0, 0.0, 0.0])
    assert found["accuracy_2_non0"] == 1 / 2  # a prediction of 0 is not positive
    assert found["accuracy_2_has0"] == 2 / 3  # but it is non-negative


def test_halves_go_to_the_even_number():
    truth = np.array([0.0, 2.0, 2.0, 0.0, -2.0])
    assert sentiment_scores(truth, np.array([0.5, 1.5, 2.5, -0.5, -2.5]))["accuracy_7"] == 1


def test_classes_are_weighted_by_the_truth():
    truth, said = np.array([1.0, 1, 1, 1, -1]), np.array([1.0, 1, -1, -1, -1])
    positive, negative = 2 * 2 / (4 + 2), 2 * 1 / (1 + 3)
    found = sentiment_scores(truth, said)["weighted_f1_2_non0"]
    assert found == pytest.approx((4 * positive + 1 * negative) / 5)
    by_prediction = (2 * positive + 3 * negative) / 5  # with the arguments exchanged
    assert sentiment_scores(said, truth)["weighted_f1_2_non0"] == pytest.approx(by_prediction)
    assert found != pytest.approx(by_prediction)


@SEEDS
def test_sentiment_scores_by_definition(seed):
    generator = np.random.default_rng(seed)
    truth = generator.integers(-9, 10, 60) / 3  # thirds, as MOSEI's, with zeros
    said = truth + generator.normal(scale=1.5, size=60)
    found = sentiment_scores(truth, said)
    clear = truth != 0
    for name, true, one in (
        ("has0", truth >= 0, said >= 0),
        ("non0", truth[clear] > 0, said[clear] > 0),
    ):
        assert found[f"accuracy_2_{name}"] == pytest.approx(np.mean(true == one))
        assert found[f"weighted_f1_2_{name}"] == pytest.approx(weighted_f1_of(true, one))
    for classes, end in ((7, 3), (5, 2), (3, 1)):
        same = [
            round(min(max(a, -end), end)) == round(min(max(b, -end), end))
            for a, b in zip(truth.tolist(), said.tolist(), strict=True)
        ]
        assert found[f"accuracy_{classes}"] == pytest.approx(np.mean(same))
    assert found["mean_absolute_error"] == pytest.approx(np.mean(np.abs(truth - said)))
    a, b = truth - truth.mean(), said - said.mean()
    expected = (a @ b) / np.sqrt((a @ a) * (b @ b))
    assert found["correlation"] == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_sentiment_without_variance_or_without_sign():
    constant = sentiment_scores([-1.0, 2.0, 0.5], [0.1, 0.1, 0.1])
    assert np.isnan(constant["correlation"]) and constant["accuracy_2_non0"] == 2 / 3
    neutral = sentiment_scores([0.0, 0.0], [0.0, -1.0])
    assert np.isnan(neutral["accuracy_2_non0"]) and np.isnan(neutral["weighted_f1_2_non0"])
    assert neutral["accuracy_2_has0"] == 0.5
    assert np.isnan(sentiment_scores([1.0], [1.0])["correlation"])


def test_two_classes_by_hand():
    truth, positive = [-3.0, -1.0, 0.0, 2.0], [0.0, 0.7, 0.4, 0.9]
    found = two_class_scores(truth, positive)
    assert found["accuracy_2_non0"] == pytest.approx(2 / 3)
    assert found["accuracy_2_has0"] == pytest.approx(2 / 4)
    errors = 0 + 2.2 + 0.6 + 0.4  # of -3, 1.2, -0.6, 2.4
    assert found["extension_mean_absolute_error"] == pytest.approx(errors / 4)
    assert found["extension_accuracy_7"] == pytest.approx(2 / 4)
    extended = {name for name in found if name.startswith("extension_")}
    assert {name.removeprefix("extension_") for name in found} == set(sentiment_scores([1], [1]))
    assert set(found) - extended == {
        f"{measure}_2_{zeros}"
        for measure in ("accuracy", "weighted_f1")
        for zeros in ("has0", "non0")
    }


@SEEDS
def test_two_classes_agree_with_one_of_n_on_clear_clips(seed):
    generator = np.random.default_rng(seed)
    truth = generator.choice([-2.0, -1.0, 1.0, 3.0], 30)
    positive = generator.random(30)
    label = metrics.scores((truth > 0).astype(int), np.stack([1 - positive, positive], axis=1))
    found = two_class_scores(truth, positive)
    for zeros in ("has0", "non0"):
        assert found[f"accuracy_2_{zeros}"] == pytest.approx(label["accuracy"])
        assert found[f"weighted_f1_2_{zeros}"] == pytest.approx(label["weighted_f1"])


@pytest.mark.parametrize("measure", [sentiment_scores, two_class_scores])
@pytest.mark.parametrize(
    ("truth", "predicted", "said"),
    [
        ([1.0, 2.0], [1.0], r"\(2,\) and \(1,\)"),
        ([[1.0]], [[1.0]], r"shape \(n,\)"),
        ([], [], "at least one clip"),
        ([1.0], [NAN], "predicted holds NaN"),
        ([np.inf], [1.0], "truth holds NaN or infinity"),
        (["positive"], [1.0], "no array of numbers"),
        ([None], [1.0], "truth"),
    ],
)
def test_bad_intensities(measure, truth, predicted, said):
    with pytest.raises(InputError, match=said):
        measure(truth, predicted)


def test_a_probability_outside_of_its_range():
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        two_class_scores([1.0], [1.2])


# Free words -----------------------------------------------------------------------


def test_open_vocabulary_by_hand():
    truth = [{"Happy", "calm", "glad"}, ["angry"], ["sad", "tired"], []]
    said = [["joyful", "bored "], [], ["tired"], ["calm"]]
    groups = [[["joyful", "happy", "glad"]], [], [["sad", "tired"]], []]
    found = open_vocabulary_scores(truth, said, groups)
    # {joyful, calm} and {joyful, bored}; nothing said; {sad} and {sad}; no truth: left out.
    assert found["precision"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    alone = open_vocabulary_scores(truth, said)
    assert alone["precision"] == pytest.approx((0 + 0 + 1) / 3)
    assert alone["recall"] == pytest.approx((0 + 0 + 1 / 2) / 3)
    assert alone["mean"] == pytest.approx((1 / 3 + 1 / 6) / 2)


WHEELS = [
    wheel_clusters({"joy": {"content": ["calm"], "glad": ["merry"]}, "anger": {"mad": ["cross"]}}),
    wheel_clusters({"good": {"joy": ["calm", "merry"]}, "bad": {"cross": ["mad"]}}),
]


def test_wheels_by_hand():
    truth = [["merriest", "furious"], ["calm"], ["unheard of"]]
    said = [["merry", "glad"], ["mad", "calm", "nonsense"], ["calm"]]
    forms = {word: word for word in ("merry", "calm", "mad", "glad", "furious")}
    forms["Merriest"] = ["merry"]
    meanings = {"merry": "merry", "calm": "calm", "mad": "mad", "glad": "glad"}
    meanings["furious"] = {"mad", "zzz"}
    found = wheel_scores(truth, said, WHEELS, base_forms=forms, synonyms=meanings)
    # First wheel: {joy, anger} and {joy}; {joy} and {joy, anger}. The second wheel lacks glad.
    first = second = (3 / 4, 3 / 4)
    assert (found["precision"], found["recall"]) == pytest.approx(np.mean([first, second], axis=0))
    assert found["f1"] == pytest.approx(3 / 4)


def test_f1_is_of_the_means_and_the_mean_of_wheels():
    truth, said = [["calm"], ["cross", "calm"]], [["calm", "cross"], ["cross"]]
    (one, two) = (wheel_scores(truth, said, [wheel]) for wheel in (WHEELS[0], {"calm": "a"}))
    assert one == pytest.approx({"precision": 3 / 4, "recall": 3 / 4, "f1": 3 / 4})
    # The mean of each clip's own F1 would be 2/3.
    assert two == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2})
    both = wheel_scores(truth, said, [WHEELS[0], {"calm": "a"}])
    assert both == pytest.approx({name: (one[name] + two[name]) / 2 for name in one})


def test_the_first_word_that_the_wheel_has_decides():
    wheel = {"b": "second", "c": "third"}
    found = wheel_scores([["x"]], [["b"]], [wheel], synonyms={"x": ["c", "b", "a"], "b": "b"})
    assert found["f1"] == 1  # "a" is on no wheel, "b" comes before "c"


def test_rings_of_a_wheel():
    wheel = {"Joy": {"glad": ["merry"], "content": ["calm"]}, "calm": {"still": []}}
    assert wheel_clusters(wheel) == {
        "joy": "joy",
        "glad": "joy",
        "merry": "joy",
        "content": "joy",
        "calm": "calm",  # where it stands last
        "still": "calm",
    }
    assert wheel_clusters(wheel, 2)["joy"] == "content"
    assert wheel_clusters(wheel, 2)["merry"] == "glad"
    with pytest.raises(InputError, match="level"):
        wheel_clusters(wheel, 3)
    with pytest.raises(InputError, match="'joy' has no words"):
        wheel_clusters({"joy": {}})


@SEEDS
def test_free_words_by_definition(seed):
    generator = np.random.default_rng(seed)
    words = list("abcdefghij")
    truth, said = (
        [generator.choice(words, generator.integers(0, 5)).tolist() for _ in range(20)]
        for _ in range(2)
    )
    wheels = [dict(zip(words[:8], generator.choice(list("XYZ"), 8), strict=True)) for _ in "12345"]
    rows = []
    for wheel in wheels:
        precision, recall = [], []
        for true, one in zip(truth, said, strict=True):
            goal, given = ({wheel[w] for w in column if w in wheel} for column in (true, one))
            if goal:
                precision.append(ratio(len(goal & given), len(given)))
                recall.append(len(goal & given) / len(goal))
        p, r = np.mean(precision), np.mean(recall)
        rows.append((p, r, ratio(2 * p * r, p + r)))
    found = wheel_scores(truth, said, wheels)
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(
        np.mean(rows, axis=0).tolist()
    )


@pytest.mark.filterwarnings("error")
def test_free_words_when_nothing_is_there():
    assert open_vocabulary_scores([["a"]], [[]]) == {"precision": 0, "recall": 0, "mean": 0}
    assert np.isnan(open_vocabulary_scores([[]], [["a"]])["mean"])
    assert wheel_scores([["calm"]], [["cross"]], WHEELS)["f1"] == 0  # and not 0/0
    assert np.isnan(wheel_scores([["unheard of"]], [["calm"]], WHEELS)["f1"])


@pytest.mark.parametrize(
    ("truth", "said", "message"),
    [
        ([["a"]], [["a"], ["b"]], "'truth': 1, 'predicted': 2"),
        ([], [], "at least one"),
        ([["a"], "happy"], [["a"], ["b"]], r"truth\[1\] is 'happy'"),
        ([["a"]], [[NAN]], r"predicted\[0\]"),
        ([["a"]], [None], r"predicted\[0\]"),
    ],
)
def test_bad_words(truth, said, message):
    with pytest.raises(InputError, match=message):
        open_vocabulary_scores(truth, said)
    with pytest.raises(InputError, match=message):
        wheel_scores(truth, said, WHEELS)


def test_bad_tables():
    with pytest.raises(InputError, match="at least one wheel"):
        wheel_scores([["a"]], [["a"]], [])
    with pytest.raises(InputError, match="'synonyms': 2"):
        open_vocabulary_scores([["a"]], [["a"]], [[], []])


# Intervals ------------------------------------------------------------------------


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 120)
    first, second = (
        np.where(generator.random(120) < share, truth, generator.integers(0, 3, 120))
        for share in (0.8, 0.4)
    )
    return truth, first, second


def test_an_interval_is_that_of_the_binomial(answers):
    truth, first, _ = answers
    found = bootstrap_interval(accuracy, truth, first, n_resamples=4000)
    share = accuracy(truth, first)
    half = 1.96 * np.sqrt(share * (1 - share) / 120)
    assert found.value == share and found.n_resamples == 4000
    assert (found.lower, found.upper) == pytest.approx((share - half, share + half), abs=0.012)


def test_an_interval_by_hand():
    """Two clips: a quarter of resamples is all wrong, a half is even, a quarter all right."""
    found = bootstrap_interval(accuracy, [0, 0], [0, 1], n_resamples=4000, confidence=0.4)
    assert found[:3] == (0.5, 0.5, 0.5)  # percentiles 30 and 70
    found = bootstrap_interval(accuracy, [0, 0], [0, 1], n_resamples=4000, confidence=0.6)
    assert found[:3] == (0.5, 0.0, 1.0)  # percentiles 20 and 80


def test_an_interval_agrees_with_scipy(answers):
    stats = pytest.importorskip("scipy.stats")
    truth, first, _ = answers

    ours = bootstrap_interval(accuracy, truth, first, confidence=0.9, n_resamples=3000)
    theirs = stats.bootstrap(
        (truth, first),
        accuracy,
        n_resamples=3000,
        paired=True,
        vectorized=False,
        confidence_level=0.9,
        method="percentile",
        random_state=1,
    ).confidence_interval
    assert ours[1:3] == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_intervals_follow_the_seed(answers):
    truth, first, _ = answers
    options = {"metric": accuracy, "truth": truth, "predicted": first, "n_resamples": 99}
    same = bootstrap_interval(**options, random_state=3)
    assert same == bootstrap_interval(**options, random_state=np.random.default_rng(3))
    assert same != bootstrap_interval(**options, random_state=4)
    before = np.random.get_state()[1].tolist()
    bootstrap_interval(**options)
    assert np.random.get_state()[1].tolist() == before


def test_groups_are_drawn_whole():
    speakers = np.repeat(["a", "b", "c"], [3, 1, 2])
    rows = np.arange(6)
    seen = []

    def remember(truth, predicted):
        assert np.array_equal(truth, predicted)  # both are resampled alike
        seen.append(truth.tolist())
        return len(truth)

    bootstrap_interval(remember, rows, rows, groups=speakers, n_resamples=50)
    assert seen[0] == [0, 1, 2, 3, 4, 5]
    for drawn in seen[1:]:
        counts = np.bincount(drawn, minlength=6)
        assert counts[0] == counts[1] == counts[2] and counts[4] == counts[5]
        assert counts[0] + counts[3] + counts[4] == 3  # as many groups as there are


def test_speakers_make_intervals_wider():
    speakers = np.repeat(np.arange(20), 25)
    truth = np.zeros(500, dtype=int)
    said = speakers % 2  # all clips of a speaker are right, or all are wrong
    clips = bootstrap_interval(accuracy, truth, said)
    whole = bootstrap_interval(accuracy, truth, said, groups=speakers)
    assert clips.value == whole.value
    ratio_of_widths = (whole.upper - whole.lower) / (clips.upper - clips.lower)
    assert ratio_of_widths == pytest.approx(5, rel=0.2)  # the square root of 25


@pytest.mark.parametrize("seed", range(3))
def test_intervals_cover_what_they_should(seed):
    generator = np.random.default_rng(seed)
    covered = 0
    for trial in range(60):
        right = generator.random(80) < 0.7
        found = bootstrap_interval(
            lambda a, b: float(np.mean(a == b)), np.ones(80), right, random_state=trial,
            n_resamples=200, confidence=0.9,
        )  # fmt: skip
        covered += found.lower <= 0.7 <= found.upper
    assert 45 <= covered <= 60  # 54 are to be expected


def test_a_difference_is_paired(answers):
    truth, first, second = answers
    found = paired_difference(accuracy, truth, first, second)
    expected = accuracy(truth, first) - accuracy(truth, second)
    assert found.value == pytest.approx(expected) and 0 < found.lower < expected < found.upper
    turned = paired_difference(accuracy, truth, second, first)
    assert turned[:3] == pytest.approx((-found.value, -found.upper, -found.lower))
    assert paired_difference(accuracy, truth, first, first)[:3] == (0, 0, 0)


def test_pairing_is_sharper_than_two_intervals():
    generator = np.random.default_rng(1)
    truth = np.zeros(200, dtype=int)
    first = (generator.random(200) < 0.5).astype(int)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:8]] = 1  # wrong on eight clips more
    alone = [bootstrap_interval(accuracy, truth, said) for said in (first, second)]
    assert alone[1].upper > alone[0].lower  # these overlap
    assert paired_difference(accuracy, truth, first, second).lower > 0


@pytest.mark.parametrize("kind", ["multi-label", "sentiment", "words", "one of n"])
def test_every_measure_takes_part(kind):
    generator = np.random.default_rng(0)
    truth, said = generator.integers(0, 2, (2, 20, 3))
    words = [[f"{i}" for i in np.flatnonzero(row)] for row in said]
    truth_words = [[f"{i}" for i in np.flatnonzero(row)] for row in truth]
    metric, first, second = {
        "multi-label": (lambda *a: multilabel_scores(*a)["micro_f1"], truth, said),
        "sentiment": (lambda *a: sentiment_scores(*a)["accuracy_7"], truth[:, 0], said[:, 0]),
        "words": (lambda *a: open_vocabulary_scores(*a)["mean"], truth_words, words),
        "one of n": (
            lambda *a: metrics.scores(*a)["balanced_accuracy"],
            truth[:, 0],
            generator.dirichlet(np.ones(3), 20),
        ),
    }[kind]
    found = bootstrap_interval(metric, first, second, n_resamples=30)
    assert found.lower <= found.value <= found.upper and found.n_resamples == 30


def test_columns_of_pandas():
    pandas = pytest.importorskip("pandas")
    truth, said = (pandas.Series([0, 1, 1, 0], index=list("wxyz")) for _ in range(2))
    groups = pandas.Series(["a", "a", "b", "b"], index=list("wxyz"))
    assert bootstrap_interval(accuracy, truth, said, groups=groups)[:3] == (1, 1, 1)


def test_undefined_resamples_are_counted():
    truth, said = np.array([1.0, -1.0, 0.0, 2.0]), np.array([1.0, 1.0, 1.0, 1.0])
    found = bootstrap_interval(
        lambda *a: sentiment_scores(*a)["correlation"], truth, said, n_resamples=20
    )
    assert found.n_resamples == 0 and np.isnan(found[:3]).all()
    found = bootstrap_interval(
        lambda *a: sentiment_scores(*a)["accuracy_2_non0"], truth[1:3], said[1:3], n_resamples=200
    )
    assert 100 < found.n_resamples < 200  # a quarter is the neutral clip twice


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (([0, 1], [0]), {}, "'truth': 2, 'predicted': 1"),
        (([], []), {}, "at least one"),
        (([0], [0]), {}, "two clips"),
        (([0, 1], [0, 1]), {"groups": ["a", "a"]}, "two groups"),
        (([0, 1], [0, 1]), {"groups": ["a"]}, "'groups': 1"),
        (([0, 1], [0, 1]), {"n_resamples": 0}, "n_resamples"),
        (([0, 1], [0, 1]), {"confidence": 95}, "confidence"),
    ],
)
def test_bad_resampling(arguments, options, said):
    with pytest.raises(InputError, match=said):
        bootstrap_interval(accuracy, *arguments, **options)
    with pytest.raises(InputError, match=said.replace("predicted", "first")):
        paired_difference(accuracy, *arguments, arguments[1], **options)


def test_a_metric_of_several_numbers():
    with pytest.raises(InputTypeError, match="take one of several"):
        bootstrap_interval(sentiment_scores, [1.0, 2.0], [1.0, 2.0])
