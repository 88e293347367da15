"""Measures by hand, draws, protocols, and the report."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pytest

from conftest import make_clips
from merclip import Report
from merclip.errors import InputError, LabelError, MissingExtraError, NotFittedError
from merclip.evaluation import Condition, Run, k_shot, metrics, zero_shot
from merclip.evaluation.provenance import fingerprint
from merclip.evaluation.sampling import draw, draw_apart, first_of_each

TRUTH = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 3, 2])
"""The class 3 is predicted once and never true."""


def one_hot(positions, k=4, share=1.0):
    rest = (1 - share) / (k - 1)
    return np.where(np.eye(k)[positions] > 0, share, rest)


def labels_of(n, k=2):
    return np.arange(n) % k


@pytest.fixture
def texts():
    good = ["so glad", "what a day", "we won", "lovely", "great news", "thank you"]
    bad = ["how dare you", "get out", "so bad", "awful", "shut up", "never again"]
    rows = [{"text": text} for pair in zip(good, bad, strict=True) for text in pair]
    return rows, ["happy", "angry"] * len(good)


@pytest.fixture
def report():
    """Return a report of six predictions, made by hand."""
    run = Run(tuple("abcdef"), TRUTH, one_hot(PREDICTED, share=0.7))
    names = ["joy", "rage", "a | b", "fear"]
    labels = {name: [name] for name in names}
    return Report("zero-shot", labels, (Condition("zero-shot", (run,)),), n_clips=6)


# Measures -----------------------------------------------------------------------


def test_scores_by_hand():
    found = metrics.scores(TRUTH, one_hot(PREDICTED, share=0.7))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((0.8 + 0.5 + 1) / 3)
    assert found["weighted_f1"] == pytest.approx((3 * 0.8 + 2 * 0.5 + 1 * 1) / 6)
    assert found["majority"] == 0.5
    expected = -(4 * np.log(0.7) + 2 * np.log(0.1)) / 6
    assert found["negative_log_likelihood"] == pytest.approx(expected)
    assert found["expected_calibration_error"] == pytest.approx(0.7 - 4 / 6)
    assert list(found) == list(metrics.NAMES)


def test_scores_of_each_class_by_hand():
    rows = metrics.class_scores(TRUTH, one_hot(PREDICTED))
    assert rows[0] == pytest.approx((1, 2 / 3, 0.8, 3))
    assert rows[1] == pytest.approx((1 / 2, 1 / 2, 1 / 2, 2))
    assert rows[2] == (1, 1, 1, 1) and rows[3] == (0, 0, 0, 0)


def test_confusion_has_the_truth_in_rows():
    counts = metrics.confusion(TRUTH, one_hot(PREDICTED))
    assert counts.tolist() == [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_calibration_error_by_hand():
    best = np.array([0.6, 0.6, 0.9, 0.9, 1.0])
    probability = np.stack([best, 1 - best], axis=1)
    truth = np.array([0, 1, 0, 0, 1])
    # (0.4, 0.6]: confidence 0.6, accuracy 1/2; (0.8, 1]: confidence 2.8/3, accuracy 2/3.
    expected = (2 * 0.1 + 3 * (2.8 / 3 - 2 / 3)) / 5
    assert metrics.expected_calibration_error(truth, probability, 5) == pytest.approx(expected)
    bins = metrics.calibration_bins(truth, probability, 5)
    assert [item.n_clips for item in bins] == [0, 0, 2, 0, 3]
    assert (bins[2].lower, bins[2].upper) == pytest.approx((0.4, 0.6))
    assert np.isnan(bins[0].accuracy)


def test_calibration_of_what_is_certain():
    truth = np.array([0, 1])
    assert metrics.expected_calibration_error(truth, np.eye(2)) == 0
    assert metrics.expected_calibration_error(truth, np.eye(2)[::-1]) == 1


# Draws --------------------------------------------------------------------------


def test_a_draw_has_as_many_of_each_class_and_the_rest_is_left():
    truth = labels_of(30, 3)
    train, test = draw(truth, 4, seed=0, names="abc")
    assert np.bincount(truth[train]).tolist() == [4, 4, 4]
    assert sorted([*train, *test]) == list(range(30))


@pytest.mark.parametrize("seed", range(5))
def test_groups_do_not_cross(seed):
    truth, groups = labels_of(60, 3), np.arange(60) // 6
    train, test = draw(truth, 3, seed, "abc", groups)
    assert np.bincount(truth[train]).tolist() == [3, 3, 3]
    assert not set(groups[train]) & set(groups[test])
    assert set(groups[train]) | set(groups[test]) == set(range(10))


def test_draws_follow_the_seed():
    truth = labels_of(40)
    same = [draw(truth, 5, 1, "ab")[0].tolist() for _ in range(2)]
    assert same[0] == same[1] != draw(truth, 5, 2, "ab")[0].tolist()


def test_fewer_shots_are_the_first_of_more():
    truth = labels_of(40)
    many, _ = draw(truth, 8, 3, "ab")
    few, _ = draw(truth, 2, 3, "ab")
    assert sorted(first_of_each(many, truth, 2)) == sorted(few)


def test_too_few_clips_of_a_class():
    with pytest.raises(InputError, match=r"'b' has 3\."):
        draw(np.array([0] * 9 + [1] * 3), 3, 0, "ab")
    with pytest.raises(InputError, match="No groups"):
        draw(labels_of(8), 2, 0, "ab", np.array([0] * 4 + [0] * 4))


@pytest.mark.parametrize("seed", range(5))
def test_the_class_with_the_fewest_clips_is_named(seed):
    truth = np.array([0] * 6 + [1] * 9 + [2] * 4 + [3] * 3)
    with pytest.raises(InputError, match=r"'d' has 3\."):
        draw(truth, 4, seed, "abcd", np.arange(len(truth)) // 11)
    with pytest.raises(InputError, match=r"No groups .*: 'c' has 4\."):
        draw(truth[:-3], 3, seed, "abcd", np.zeros(19))
    with pytest.raises(InputError, match=r"'d' has 3\."):
        draw_apart(truth, 5, seed, "abcd")


# evaluate and zero_shot -----------------------------------------------------------


def test_evaluate_agrees_with_predict(tiny, clips_and_labels):
    clips, y = clips_and_labels
    classifier = tiny(["happy", "angry"])
    report = classifier.evaluate(clips, y)
    assert isinstance(report, Report) and report.n_clips == 12
    assert report.metrics["accuracy"] == classifier.score(classifier.encode(clips), y)
    (run,) = report.conditions[0].runs
    expected = classifier.predict_proba(classifier.encode(clips))[:, [1, 0]]
    assert np.allclose(run.probability, expected)  # columns in the user's order
    assert run.ids[0] == "clip0" and report.seeds == report.shots == []
    assert list(report.per_class) == ["happy", "angry"]


def test_y_may_be_a_column(tiny, texts):
    rows, y = texts
    labelled = [{**row, "label": label} for row, label in zip(rows, y, strict=True)]
    classifier = tiny(["happy", "angry"])
    assert classifier.evaluate(labelled).to_dict() == classifier.evaluate(rows, y).to_dict()


def test_labels_come_from_the_argument_the_classifier_or_y(tiny, texts):
    rows, y = texts
    assert list(zero_shot(tiny(), rows, y).labels) == ["angry", "happy"]
    assert list(zero_shot(tiny(["happy", "angry", "sad"]), rows, y).labels)[-1] == "sad"
    words = zero_shot(tiny(["happy", "angry"]), rows, y)
    described = {"happy": ["full of joy", "laughing"], "angry": "shouting"}
    sentences = zero_shot(tiny(["happy", "angry"]), rows, y, labels=described)
    assert sentences.labels == {"happy": ["full of joy", "laughing"], "angry": ["shouting"]}
    assert words.metrics != sentences.metrics
    assert "full of joy / laughing" in sentences.to_markdown()


def test_a_label_without_clips_is_in_no_average(tiny, texts):
    rows, y = texts
    report = zero_shot(tiny(["happy", "angry", "sad"]), rows[::2], y[::2])
    assert report.per_class["sad"].support == report.per_class["angry"].support == 0
    assert report.metrics["balanced_accuracy"] == report.per_class["happy"].recall


def test_clips_that_cannot_be_read_are_reported(tiny, texts, tmp_path):
    rows, y = texts
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    rows = [{"video": tmp_path / "broken.mp4", "id": "b"}, *rows]
    for on_error in ("skip", "nan"):
        report = tiny(["happy", "angry"], on_error=on_error).evaluate(rows, ["angry", *y])
        assert report.n_clips == 12 and len(report.conditions[0].runs[0].truth) == 12
        assert report.skipped[0].id == "b" and "DecodeError" in report.skipped[0].reason
    assert "## Left out\n\n- b: DecodeError" in report.to_markdown()
    with pytest.raises(InputError, match="Row 0"):
        tiny(["happy", "angry"]).evaluate(rows, ["angry", *y])
    with pytest.raises(InputError, match="No clip could be read"):
        tiny(["happy", "angry"], on_error="skip").evaluate(rows[:1], ["angry"])


@pytest.mark.parametrize(
    ("rows", "y", "error", "said"),
    [
        ([], [], InputError, "no clips"),
        ([{"text": "a"}], ["sad"], LabelError, "'sad'"),
        ([{"text": "a"}], ["happy", "sad"], InputError, "1 clips and y has 2"),
        ([{"text": "a"}], None, InputError, "Give y"),
        ([{"text": "a"}], "happy", LabelError, "single string"),
        ([{"text": "a"}], [None], LabelError, "None"),
    ],
)
def test_bad_input(tiny, rows, y, error, said):
    with pytest.raises(error, match=said):
        tiny(["happy", "angry"]).evaluate(rows, y)


def test_one_class_without_labels(tiny):
    with pytest.raises(LabelError, match="at least two"):
        zero_shot(tiny(), [{"text": "a"}] * 2, ["happy"] * 2)


def test_evaluate_does_not_change_the_classifier(tiny, texts):
    classifier = tiny()
    classifier.evaluate(*texts)
    assert classifier.labels is None
    with pytest.raises(NotFittedError):
        classifier.predict(text="a")


# k_shot -------------------------------------------------------------------------


def test_k_shot_measures_all_conditions_on_the_same_clips(tiny, texts):
    report = k_shot(tiny(epochs=2), *texts, shots=(3, 1), seeds=(0, 1))
    assert [condition.name for condition in report.conditions] == ["zero-shot", "1-shot", "3-shot"]
    assert (report.shots, report.seeds) == ([1, 3], [0, 1])
    for seed in range(2):
        parts = {condition.runs[seed].ids for condition in report.conditions}
        assert len(parts) == 1 and len(parts.pop()) == 6
    assert report.confusion.sum() == 12
    assert report.metrics == report["3-shot"].mean


def test_k_shot_zero_shot_is_zero_shot(tiny, texts):
    rows, y = texts
    classifier = tiny(["happy", "angry"], epochs=1)
    beside = k_shot(classifier, rows, y, shots=(2,), seeds=(0,))["zero-shot"].runs[0]
    alone = zero_shot(classifier, rows, y).conditions[0].runs[0]
    where = [alone.ids.index(name) for name in beside.ids]
    assert np.array_equal(alone.probability[where], beside.probability)


def test_k_shot_learns_and_leaves_the_classifier_alone(tiny):
    clips, y = make_clips(40)
    classifier = tiny(epochs=30)
    encoded = classifier.encode(clips)
    before = fingerprint(classifier.network_)
    report = k_shot(classifier, encoded, y, shots=(8,), seeds=(0,))
    assert report.metrics["accuracy"] > 0.9
    assert fingerprint(classifier.network_) == before == report.model["fingerprint"]


def test_k_shot_is_the_same_again(tiny, texts):
    found = [k_shot(tiny(epochs=2), *texts, shots=(2,), seeds=(0, 1)).to_json() for _ in range(2)]
    assert found[0] == found[1]


def test_k_shot_mean_and_deviation(tiny, texts):
    condition = k_shot(tiny(epochs=1), *texts, shots=(2,), seeds=(0, 1, 2))["2-shot"]
    values = [run.metrics["macro_f1"] for run in condition.runs]
    assert condition.mean["macro_f1"] == pytest.approx(np.mean(values))
    assert condition.std["macro_f1"] == pytest.approx(np.std(values, ddof=1))
    alone = k_shot(tiny(epochs=1), *texts, shots=(2,), seeds=(0,))["2-shot"]
    assert alone.std["macro_f1"] is None


def test_k_shot_keeps_groups_apart(tiny, texts, monkeypatch):
    rows, y = texts
    rows = [{**row, "id": str(index)} for index, row in enumerate(rows)]
    groups = [f"speaker {index // 2 % 3}" for index in range(len(rows))]
    learned = []
    classifier = tiny(epochs=1)
    fit = type(classifier).fit

    def spy(self, X, y, *, groups=None):
        learned.append(({clip.id for clip in X}, set(groups)))
        return fit(self, X, y, groups=groups)

    monkeypatch.setattr(type(classifier), "fit", spy)
    report = k_shot(classifier, rows, y, shots=(1,), seeds=range(4), groups=groups)
    for (train, speakers), run in zip(learned, report.conditions[-1].runs, strict=True):
        assert not train & set(run.ids)
        assert not speakers & {groups[int(name)] for name in run.ids}


def test_k_shot_forgets_checkpoints_and_callbacks(tiny, texts, tmp_path):
    classifier = tiny(epochs=1, checkpoint_dir=tmp_path / "state")
    k_shot(classifier, *texts, shots=(1,), seeds=(0,))
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shots": (6,)}, "'happy' has 6|'angry' has 6"),
        ({"shots": ()}, "shots"),
        ({"shots": (0,)}, "shots"),
        ({"shots": (1.5,)}, "shots"),
        ({"seeds": (-1,)}, "seeds"),
        ({"shots": (1,), "groups": ["a"]}, "groups has 1"),
        ({"shots": (1,), "groups": ["a"] * 12}, "No groups"),
    ],
)
def test_bad_k_shot(tiny, texts, options, said):
    with pytest.raises(InputError, match=said):
        k_shot(tiny(epochs=1), *texts, **options)


def test_k_shot_of_one_class(tiny, texts):
    rows, _ = texts
    with pytest.raises(InputError, match="one class alone"):
        k_shot(tiny(["happy", "angry"]), rows, ["happy"] * len(rows), shots=(1,))


def test_an_interrupted_fit_ends_the_protocol(tiny, texts, monkeypatch):
    classifier = tiny(epochs=2)
    monkeypatch.setattr(type(classifier), "fit", lambda self, *_, **__: None)
    monkeypatch.setattr(type(classifier), "interrupted_", True, raising=False)
    with pytest.raises(KeyboardInterrupt):
        k_shot(classifier, *texts, shots=(1,))


# The report ---------------------------------------------------------------------


def test_a_report_is_json(tiny, texts, tmp_path):
    data = tmp_path / "data.csv"
    data.write_bytes(b"text,label\n")
    report = zero_shot(tiny(prompt=["{}", "so {}"]), *texts, data=data)
    found = json.loads(report.to_json())
    assert found == report.to_dict()
    assert found["data"] == {
        "file": "data.csv",
        "sha256": hashlib.sha256(b"text,label\n").hexdigest(),
    }
    assert found["prompt"] == ["{}", "so {}"] and set(found["versions"]) == {
        "merclip",
        "python",
        "torch",
    }
    (condition,) = found["conditions"]
    assert condition["metrics"]["accuracy"]["std"] is None
    assert condition["calibration"][0]["accuracy"] is None
    assert np.sum(condition["confusion"]) == 12


def test_a_report_in_markdown(report):
    text = report.to_markdown()
    assert "| accuracy (WAR)           |     0.667 |" in text
    assert "| a \\| b | " in text
    assert "| rage   |   0 |    1 |      0 |    1 |" in text


def test_an_unknown_condition(report):
    with pytest.raises(InputError, match="zero-shot"):
        report["4-shot"]


def test_labels_may_be_integers(tiny, texts):
    rows, y = texts
    report = zero_shot(tiny({1: "happy", 0: "angry"}), rows, [int(label == "happy") for label in y])
    assert [item["name"] for item in report.to_dict()["labels"]] == [1, 0]
    assert "| 1 " in report.to_markdown()


def test_pictures(report, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    for draw_it in (report.plot_confusion, report.plot_calibration):
        draw_it(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        axes = Figure().subplots()
        assert draw_it(axes, condition="zero-shot") is axes and axes.get_xlabel()
    axes = Figure().subplots()
    report.plot_confusion(axes)
    shown = {text.get_text() for text in axes.texts}
    assert "0.67\n2" in shown and len(axes.texts) == 12  # no clip is of the fourth label


def test_pictures_of_pyplot(report):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    assert report.plot_confusion().figure.number in pyplot.get_fignums()
    pyplot.close("all")


def test_pictures_without_matplotlib(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[plot\]"):
        report.plot_confusion("picture.png")


def test_a_fingerprint_follows_every_weight(tiny):
    import torch

    network = tiny(["happy", "sad"]).network_
    before = fingerprint(network)
    with torch.no_grad():
        next(network.parameters()).flatten()[-1] += 1e-3
    assert fingerprint(network) != before
