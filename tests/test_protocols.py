"""Protocols: what is learned from, what is chosen on, what is tested, and how often it is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conftest import make_clips
from merclip import Clips, EmotionClassifier
from merclip.datasets import Dataset, LoadReport
from merclip.errors import InputError, LabelError
from merclip.evaluation import (
    cross_corpus,
    k_shot,
    leave_one_out,
    modalities,
    supervised,
    wordings,
    zero_shot,
)
from merclip.evaluation.protocols.leave_one_out import _recalls
from merclip.evaluation.provenance import fingerprint
from merclip.scoring import best_threshold

N, LABELS = 36, ("happy", "angry", "sad")
WORDS = ["so glad", "how dare you", "oh no", "we won", "get out", "all is lost"]
PARTS = np.array(["train"] * 18 + ["valid"] * 6 + ["test"] * 12)
SPEAKERS = np.array([f"s{index // 6}" for index in range(N)])
SEVERAL = [(), ("happy",), ("happy", "sad"), ("angry",)]


def names_of(clips):
    return [clip.id for clip in clips]


def data_of(y=None, labels=LABELS, parts=PARTS, groups=SPEAKERS, name="toy", prefix="c"):
    clips = Clips({"text": f"{WORDS[i % 6]} {i}", "id": f"{prefix}{i}"} for i in range(N))
    y = np.array([LABELS[i % 3] for i in range(N)]) if y is None else y
    return Dataset(name, clips, y, labels, groups, parts, LoadReport(name, "", N, N, ()))


def sets_of():
    return np.fromiter((SEVERAL[i % 4] for i in range(N)), dtype=object, count=N)


def scores_of():
    return np.array([(-2.0, 0.0, 1.5, 3.0)[i % 4] for i in range(N)])


def ids(*parts):
    return {f"c{index}" for index in range(N) if PARTS[index] in parts}


@pytest.fixture
def fits(monkeypatch):
    """Record the clips, labels, held-out clips and label names of each fit."""
    seen, fit = [], EmotionClassifier.fit

    def spy(self, X, y, *, groups=None):
        mask = (
            self.validation if isinstance(self.validation, np.ndarray) else np.zeros(len(X), bool)
        )
        listed = names_of(X)
        seen.append(
            {
                "learned": {name for name, out in zip(listed, mask, strict=True) if not out},
                "held_out": {name for name, out in zip(listed, mask, strict=True) if out},
                "y": set(map(str, y)),
                "labels": None if self.labels is None else list(self.labels),
                "seed": self.random_state,
            }
        )
        return fit(self, X, y, groups=groups)

    monkeypatch.setattr(EmotionClassifier, "fit", spy)
    return seen


@pytest.fixture
def encodings(monkeypatch):
    """Record how many clips each call of encode took."""
    seen, encode = [], EmotionClassifier.encode

    def spy(self, X):
        seen.append(len(X))
        return encode(self, X)

    monkeypatch.setattr(EmotionClassifier, "encode", spy)
    return seen


# Supervised -----------------------------------------------------------------------


def test_official_parts_are_learned_from_chosen_on_and_tested(tiny, fits, encodings):
    classifier = tiny(epochs=2)
    before = fingerprint(classifier.network_)
    report = supervised(classifier, data_of(), seeds=(0, 1))
    assert [condition.name for condition in report.conditions] == ["zero-shot", "supervised"]
    assert [fit["seed"] for fit in fits] == [0, 1]
    for fit in fits:
        assert fit["learned"] == ids("train") and fit["held_out"] == ids("valid")
    for condition in report.conditions:
        assert all(set(run.ids) == ids("test") for run in condition.runs)
    assert [(run.learned, run.held_out) for run in report["supervised"].runs] == [(18, 6)] * 2
    assert report.seeds == [0, 1] and list(report.labels) == list(LABELS)
    assert encodings == [N]
    assert fingerprint(classifier.network_) == before == report.model["fingerprint"]
    assert report.data["name"] == "toy" and report.data["clips"] == N


@pytest.mark.parametrize("kind", ["one of n", "several", "sentiment"])
def test_nothing_is_chosen_on_the_test_part(tiny, kind):
    y = {"one of n": data_of().y, "several": sets_of(), "sentiment": scores_of()}[kind]
    other = y.copy()
    test = np.flatnonzero(PARTS == "test")
    other[test] = y[test[::-1]]
    labels = () if kind == "sentiment" else LABELS
    classifier = tiny(epochs=3, multi_label=kind == "several")
    features = classifier.encode(data_of().clips)
    first, second = (
        supervised(classifier, data_of(truth, labels), seeds=(0,), features=features)
        for truth in (y, other)
    )
    for one, two in zip(first.conditions, second.conditions, strict=True):
        assert np.array_equal(one.runs[0].probability, two.runs[0].probability)
        assert np.array_equal(one.runs[0].threshold, two.runs[0].threshold)
    assert not np.array_equal(
        first.conditions[-1].runs[0].truth, second.conditions[-1].runs[0].truth
    )


def test_the_validation_part_chooses_the_epoch(tiny):
    y = data_of().y
    swapped = np.where(PARTS == "valid", np.roll(y, 1), y)
    classifier = tiny(epochs=6, lr=3e-3)
    features = classifier.encode(data_of().clips)
    first, second = (
        supervised(classifier, data_of(truth), seeds=(0,), features=features)
        for truth in (y, swapped)
    )
    pair = [found["supervised"].runs[0].probability for found in (first, second)]
    assert not np.array_equal(*pair)


def test_folds_keep_speakers_apart_and_test_each_clip_once(tiny, fits, encodings):
    data = data_of(parts=None)
    report = supervised(tiny(epochs=1), data, folds=3, seeds=(0, 1))
    speakers = dict(zip(names_of(data.clips), SPEAKERS, strict=True))
    runs = report["supervised"].runs
    assert [(run.seed, run.fold) for run in runs] == [(s, f) for s in (0, 1) for f in range(3)]
    for fit, run in zip(fits, runs, strict=True):
        assert not {speakers[n] for n in fit["learned"]} & {speakers[n] for n in run.ids}
        assert run.groups == tuple(speakers[name] for name in run.ids)
    assert sorted(name for run in runs[:3] for name in run.ids) == sorted(speakers)
    assert len(report["zero-shot"].runs) == 3 and encodings == [N]
    assert "over seeds and folds" in report.to_markdown()
    assert "12 clips in each test part, the same for each condition" in report.to_markdown()


def test_without_a_validation_part_speakers_are_held_out_of_training(tiny, fits):
    parts = np.where(PARTS == "valid", "train", PARTS)
    supervised(tiny(epochs=1, validation=0.3), data_of(parts=parts), seeds=(0,))
    (fit,) = fits
    speakers = dict(zip(names_of(data_of().clips), SPEAKERS, strict=True))
    assert fit["learned"] | fit["held_out"] == ids("train", "valid") and fit["held_out"]
    assert not {speakers[n] for n in fit["learned"]} & {speakers[n] for n in fit["held_out"]}


def test_several_labels_have_the_threshold_of_validation_and_those_of_papers(tiny):
    data = data_of(sets_of())
    classifier = tiny(LABELS, epochs=1, multi_label=True)
    features = classifier.encode(data.clips)
    report = supervised(classifier, data, seeds=(0, 1), features=features)
    assert [condition.name for condition in report.conditions] == [
        f"{name}{at}" for name in ("zero-shot", "supervised") for at in (" at 0.5", " at 0.6", "")
    ]
    valid = np.flatnonzero(PARTS == "valid").tolist()
    order = [classifier.classes_.tolist().index(name) for name in LABELS]
    probability = classifier.predict_proba(features[valid])[:, order]
    truth = np.array([[name in SEVERAL[i % 4] for name in LABELS] for i in valid])
    threshold = report["zero-shot"].runs[0].threshold
    assert threshold.tolist() == [best_threshold(probability, truth)] * 3
    for at in (0.5, 0.6):
        assert report[f"supervised at {at}"].runs[1].threshold == at
    same = [report[name].runs[0].probability for name in ("supervised", "supervised at 0.5")]
    assert np.array_equal(*same)
    assert report.metrics["empty_truth"] == 0.25


def test_a_threshold_that_was_set_is_kept(tiny):
    report = supervised(
        tiny(LABELS, epochs=1, multi_label=True, threshold={"sad": 0.7}), data_of(sets_of()),
        seeds=(0,),
    )  # fmt: skip
    # What is not named has what it would have without.
    assert report["zero-shot"].runs[0].threshold.tolist() == [0.2, 0.2, 0.7]
    angry, happy, sad = report["supervised"].runs[0].threshold.tolist()
    assert angry == happy and sad == 0.7


def test_neutral_clips_are_tested_and_not_learned_from(tiny, fits):
    report = supervised(tiny(epochs=1), data_of(scores_of(), ()), seeds=(0,))
    neutral = {f"c{index}" for index in range(N) if index % 4 == 1}
    (fit,) = fits
    assert fit["learned"] == ids("train") - neutral and fit["held_out"] == ids("valid") - neutral
    assert fit["y"] == {"negative", "positive"}
    assert set(report["supervised"].runs[0].ids) == ids("test")
    assert report.metrics["neutral_truth"] == 0.25 and list(report.labels)[1] == "positive"


def test_encoders_may_be_trained_too(tiny, fits):
    clips, y = make_clips(12)
    parts = np.array(["train"] * 8 + ["test"] * 4)
    data = Dataset(
        "toy", Clips(clips), np.array(y), ("happy", "angry"), None, parts,
        LoadReport("toy", "", 12, 12, ()),
    )  # fmt: skip
    report = supervised(tiny(tune="full", epochs=1, lr=1e-3), data, seeds=(0,))
    assert len(report["supervised"].runs[0].ids) == 4 and fits[0]["seed"] == 0
    encoded = tiny().encode(data.clips)
    with pytest.raises(InputError, match="give the clips"):
        supervised(tiny(tune="full"), replace(data, clips=encoded), seeds=(0,))


@pytest.mark.parametrize(
    ("changed", "options", "error", "said"),
    [
        ({"parts": None, "groups": None}, {}, InputError, "no groups"),
        ({"parts": np.array(["train"] * N)}, {}, InputError, "'test'"),
        ({"parts": np.array(["test"] * N)}, {}, InputError, "'train'"),
        ({}, {"folds": 99}, InputError, "6 groups"),
        ({}, {"folds": 0}, InputError, "whole number of at least 2"),
        ({}, {"folds": 2.5}, InputError, "whole number of at least 2"),
        ({}, {"seeds": ()}, InputError, "seeds"),
        ({}, {"labels": ["happy", "sad"]}, LabelError, "'angry'"),
        ({"y": sets_of()}, {}, LabelError, "multi_label=True"),
        ({"y": scores_of(), "labels": LABELS}, {}, LabelError, "two labels"),
    ],
)
def test_what_cannot_be_divided_or_told_apart(tiny, changed, options, error, said):
    with pytest.raises(error, match=said):
        supervised(tiny(epochs=1), data_of(**changed), **options)


def test_a_mask_is_for_fit_and_features_for_their_clips(tiny):
    with pytest.raises(InputError, match="divides clips itself"):
        supervised(tiny(validation=np.zeros(N, bool)), data_of(parts=None), seeds=(0,))
    features = tiny(LABELS).encode(data_of().clips[:4])
    with pytest.raises(InputError, match="4 features and 36 clips"):
        supervised(tiny(), data_of(), features=features)
    for few in (features, tiny(LABELS).encode([{"text": "so glad"}] * (N + 1))):
        with pytest.raises(InputError, match="features and 36 clips"):
            modalities(tiny(LABELS), data_of(), features=few)
        with pytest.raises(InputError, match="features and 36 clips"):
            cross_corpus(tiny(), data_of(), data_of(prefix="d"), test_features=few)
    with pytest.raises(InputError, match="what encode"):
        supervised(tiny(), data_of(), features=data_of().clips)
    with pytest.raises(InputError, match="takes a Dataset"):
        supervised(tiny(), data_of().clips)


# Baselines ------------------------------------------------------------------------


class Prior:
    """Says how often each label was learned, and notes what it was given."""

    def __init__(self, takes_features=False):
        self.takes_features = takes_features
        self.seen = []

    def encode(self, X):
        self.seen.append(("encode", type(X).__name__, len(X)))
        return np.array(names_of(X))

    def fit(self, X, y):
        self.seen.append(("fit", set(X)))
        names = [name for names in y for name in ([names] if isinstance(names, str) else names)]
        self.classes_ = np.unique(names)
        self.share = np.array([names.count(name) / len(y) for name in self.classes_])
        return self

    def predict_proba(self, X):
        self.seen.append(("predict", set(X)))
        return np.tile(self.share, (len(X), 1))


@pytest.mark.parametrize("takes_features", [False, True])
def test_a_baseline_is_fitted_to_the_same_rows(tiny, takes_features):
    prior = Prior(takes_features)
    report = supervised(
        tiny(epochs=1), data_of(), seeds=(0, 1), baselines=lambda learner: {"prior": prior}
    )
    assert [c.name for c in report.conditions] == ["zero-shot", "prior", "supervised"]
    assert prior.seen[0] == ("encode", "Features" if takes_features else "Clips", N)
    assert [what for what, *_ in prior.seen].count("encode") == 1
    assert [found for what, *found in prior.seen if what == "fit"] == [[ids("train")]] * 2
    assert ("predict", ids("test")) in prior.seen
    theirs, ours = report["prior"].runs[1], report["supervised"].runs[1]
    assert (theirs.ids, theirs.seed) == (ours.ids, ours.seed)
    assert np.allclose(theirs.probability, 1 / 3)
    assert report["prior"].mean["accuracy"] == report.metrics["majority"] == pytest.approx(1 / 3)


def test_a_label_that_a_baseline_does_not_know_gets_nothing(tiny):
    y = np.where((PARTS == "train") & (data_of().y == "angry"), "sad", data_of().y)
    report = supervised(tiny(epochs=1), data_of(y), seeds=(0,), baselines={"prior": Prior()})
    assert np.allclose(report["prior"].runs[0].probability, [[1 / 3, 0, 2 / 3]])


def test_a_baseline_of_several_labels_has_a_threshold_of_validation(tiny):
    report = supervised(
        tiny(epochs=1, multi_label=True), data_of(sets_of()), seeds=(0,),
        baselines={"prior": Prior()},
    )  # fmt: skip
    run = report["prior"].runs[0]
    valid = np.flatnonzero(PARTS == "valid")
    truth = np.array([[name in SEVERAL[i % 4] for name in LABELS] for i in valid])
    probability = np.tile(run.probability[0], (len(valid), 1))
    assert run.threshold.tolist() == [best_threshold(probability, truth)] * 3


def test_a_baseline_has_the_seed_and_the_fitted_classifier(tiny):
    from sklearn.dummy import DummyClassifier

    learners = []

    class Random(DummyClassifier):
        def fit(self, X, y):
            return super().fit(np.zeros((len(X), 1)), y)

    def make(learner):
        learners.append(learner.random_state)
        return {"random": Random(strategy="stratified")}

    report = supervised(tiny(epochs=1), data_of(), seeds=(3, 4), baselines=make)
    assert learners == [3, 4]
    fitted = Random(strategy="stratified", random_state=3).fit([0] * 18, data_of().y[:18])
    expected = fitted.predict_proba(np.zeros((12, 1)))[:, [1, 0, 2]]
    assert np.array_equal(report["random"].runs[0].probability, expected)


def test_baselines_as_they_are_and_beside_few_examples(tiny):
    data = data_of()
    train, test = data.split("train"), data.split("test")
    prior = Prior().fit(np.array(names_of(train.clips)), train.y)
    report = zero_shot(tiny(LABELS), test.clips, test.y, baselines={"prior": prior})
    assert [condition.name for condition in report.conditions] == ["prior", "zero-shot"]
    report = k_shot(
        tiny(epochs=1), data.clips, data.y, shots=(1, 2), seeds=(0,), baselines={"prior": Prior()}
    )
    names = [condition.name for condition in report.conditions]
    assert names == ["prior, 1-shot", "prior, 2-shot", "zero-shot", "1-shot", "2-shot"]
    assert len({condition.runs[0].ids for condition in report.conditions}) == 1
    with pytest.raises(InputError, match="give the clips"):
        zero_shot(tiny(LABELS), tiny(LABELS).encode(test.clips), test.y, baselines={"p": prior})


# K-shot on parts and on sentiment ------------------------------------------------------


def test_examples_are_drawn_from_the_training_part(tiny, fits):
    data = data_of()
    report = k_shot(
        tiny(epochs=1), data.clips, data.y, shots=(1, 3), seeds=(0, 1), parts=data.splits
    )
    assert all(fit["learned"] <= ids("train") for fit in fits)
    assert [len(fit["learned"]) for fit in fits] == [3, 9, 3, 9]
    assert all(set(run.ids) == ids("test") for c in report.conditions for run in c.runs)
    with pytest.raises(InputError, match="'angry' has 6|'happy' has 6|'sad' has 6"):
        k_shot(tiny(), data.clips, data.y, shots=(7,), parts=data.splits)
    with pytest.raises(InputError, match="'test'"):
        k_shot(tiny(), data.clips, data.y, shots=(1,), parts=["train"] * N)


@pytest.mark.parametrize("groups", [None, SPEAKERS])
def test_k_shot_of_sentiment_draws_no_neutral_clip(tiny, fits, groups):
    data = data_of(scores_of(), ())
    report = k_shot(tiny(epochs=1), data.clips, data.y, shots=(2,), seeds=(0,), groups=groups)
    neutral = {f"c{index}" for index in range(N) if index % 4 == 1}
    assert len(fits[0]["learned"]) == 4 and not fits[0]["learned"] & neutral
    tested = set(report.conditions[-1].runs[0].ids)
    assert tested & neutral and not tested & fits[0]["learned"]


def test_k_shot_of_several_labels_is_refused(tiny):
    data = data_of(sets_of())
    with pytest.raises(InputError, match="K-shot is for one-of-n"):
        k_shot(tiny(multi_label=True), data.clips, data.y)


# Leave-one-out -----------------------------------------------------------------------


def test_what_is_left_out_is_neither_learned_nor_validated_on(tiny, fits, encodings):
    data = data_of()
    report = leave_one_out(tiny(epochs=2), data, seeds=(0,), baselines={"prior": Prior()})
    truth = dict(zip(names_of(data.clips), data.y, strict=True))
    assert encodings == [N]
    for fit, left in zip(fits, LABELS, strict=True):
        assert left not in fit["labels"] and fit["y"] == set(LABELS) - {left}
        seen = fit["learned"] | fit["held_out"]
        assert seen == {n for n in ids("train", "valid") if truth[n] != left}
        run = report[f"without {left}"].runs[0]
        assert (run.learned, run.held_out) == (len(fit["learned"]), len(fit["held_out"]))
    assert [condition.name for condition in report.conditions] == [
        "zero-shot", "prior", "without happy", "without angry", "without sad", "leave-one-out",
    ]  # fmt: skip
    assert report["prior"].mean["unseen_recall"] == 0


def test_leave_one_out_takes_each_clip_from_who_never_saw_its_label(tiny):
    report = leave_one_out(tiny(epochs=2), data_of(), seeds=(0,))
    last = report["leave-one-out"].runs[0]
    assert set(last.ids) == ids("test")
    for name, truth, row in zip(last.ids, last.truth, last.probability, strict=True):
        single = report[f"without {LABELS[truth]}"].runs[0]
        assert np.array_equal(single.probability[single.ids.index(name)], row)
    recalls = [report[f"without {name}"].mean["unseen_recall"] for name in LABELS]
    assert report.metrics["unseen_recall"] == pytest.approx(np.mean(recalls))
    assert report.metrics["unseen_recall"] == pytest.approx(report.metrics["balanced_accuracy"])
    seen, unseen = report.metrics["seen_recall"], report.metrics["unseen_recall"]
    expected = 2 * seen * unseen / (seen + unseen) if seen + unseen else 0
    assert report.metrics["harmonic_mean"] == pytest.approx(expected)


def test_recalls_of_seen_and_unseen_labels_by_hand():
    truth, said = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 1, 0, 2])
    found = _recalls(truth, np.eye(3)[said], 0)
    assert found["unseen_recall"] == 1 / 4 and found["seen_recall"] == (1 / 2 + 1) / 2
    assert found["harmonic_mean"] == pytest.approx(2 * 0.25 * 0.75 / 1)
    assert _recalls(truth, np.eye(3)[(truth + 1) % 3], 0)["harmonic_mean"] == 0


def test_some_labels_alone_are_left_out(tiny, fits):
    report = leave_one_out(
        tiny(epochs=1), data_of(parts=None), leave_out=["sad"], folds=2, seeds=(0,)
    )
    assert len(fits) == 2
    assert set(report.conditions[-1].runs[0].truth) == {2}
    with pytest.raises(LabelError, match="'calm' has no test clip"):
        leave_one_out(tiny(), data_of(), leave_out=["calm"])
    for wrong in ("sad", []):
        with pytest.raises(LabelError, match="a list of labels"):
            leave_one_out(tiny(), data_of(), leave_out=wrong)


def test_a_label_that_one_fold_lacks_is_averaged_over_the_others(tiny):
    y = np.array([LABELS[i % 2] if i >= 6 else LABELS[i % 3] for i in range(N)])
    report = leave_one_out(
        tiny(epochs=1), data_of(y, parts=None), leave_out=["sad"], folds=2, seeds=(0,)
    )
    found = [run.metrics["unseen_recall"] for run in report["without sad"].runs]
    defined = [value for value in found if not np.isnan(value)]
    assert len(defined) == 1
    assert report["without sad"].mean["unseen_recall"] == defined[0]
    assert report["without sad"].std["unseen_recall"] is None


def test_what_leave_one_out_is_not_for(tiny):
    with pytest.raises(InputError, match="multi-label"):
        leave_one_out(tiny(multi_label=True), data_of(sets_of()))
    with pytest.raises(LabelError, match="three labels"):
        leave_one_out(tiny(), data_of(np.array(["happy", "sad"] * 18), ("happy", "sad")))
    fixed = tiny(network={"use_label_encoder": False, "n_classes": 3})
    with pytest.raises(InputError, match="label encoder"):
        leave_one_out(fixed, data_of())


# Cross-corpus --------------------------------------------------------------------------


def other_corpus(**options):
    y = np.array([("joy", "angry", "bored")[i % 3] for i in range(N)])
    return data_of(y, ("joy", "angry", "bored"), name="other", prefix="o", **options)


def test_one_data_set_is_learned_and_another_tested(tiny, fits, encodings):
    report = cross_corpus(
        tiny(epochs=1), data_of(), other_corpus(), rename={"joy": "happy"}, seeds=(0, 1),
        baselines={"prior": Prior()},
    )  # fmt: skip
    assert list(report.labels) == ["happy", "angry"]  # in the order of what is tested
    assert [condition.name for condition in report.conditions] == [
        "zero-shot", "prior", "cross-corpus",
    ]  # fmt: skip
    kept = {f"c{index}" for index in range(N) if index % 3 < 2}
    for fit in fits:
        assert fit["learned"] == ids("train") & kept and fit["held_out"] == ids("valid") & kept
    tested = {f"o{index}" for index in range(24, N) if index % 3 < 2}
    assert all(set(run.ids) == tested for c in report.conditions for run in c.runs)
    assert encodings == [16, 8] and report.n_clips == 24
    assert report.data["train"]["name"] == "toy" and report.data["test"]["name"] == "other"
    assert "- train data: toy" in report.to_markdown()


def test_data_sets_without_parts_are_learned_and_tested_whole(tiny, fits):
    report = cross_corpus(
        tiny(epochs=1), data_of(parts=None), data_of(parts=None, prefix="o"), seeds=(0,)
    )
    assert len(fits[0]["learned"]) == N == len(report.conditions[-1].runs[0].ids)
    assert list(report.labels) == list(LABELS)


@pytest.mark.parametrize("kind", ["several", "sentiment"])
def test_other_kinds_cross_too(tiny, kind):
    y, labels = (sets_of(), LABELS) if kind == "several" else (scores_of(), ())
    classifier = tiny(epochs=1, multi_label=kind == "several")
    report = cross_corpus(
        classifier, data_of(y, labels), data_of(y, labels, prefix="o"), seeds=(0,),
        rename={"happy": "joy"},
    )  # fmt: skip
    expected = ["joy", "angry", "sad"] if kind == "several" else ["negative", "positive"]
    assert list(report.labels) == expected
    run = report.conditions[-1].runs[0]
    assert run.ids == tuple(f"o{index}" for index in range(24, N))


def test_data_sets_without_common_labels(tiny):
    with pytest.raises(LabelError, match="rename"):
        cross_corpus(tiny(), data_of(), other_corpus())


# Wordings ------------------------------------------------------------------------------

TEXTS = {
    "word": list(LABELS),
    "sentence": {"sad": "in tears", "happy": ["full of joy", "a smile"], "angry": "shouting"},
}


def test_each_wording_is_zero_shot_with_these_labels(tiny, encodings):
    data, classifier = data_of(), tiny()
    report = wordings(classifier, data, TEXTS)
    assert encodings == [12]
    test = data.split("test")
    for name, labels in TEXTS.items():
        alone = zero_shot(classifier, test.clips, test.y, labels=labels)
        assert report[name].mean == pytest.approx(alone.metrics)
    assert report["sentence"].labels["happy"] == ["full of joy", "a smile"]
    found = report.to_dict()["conditions"][1]["labels"]
    assert found[0] == {"name": "sad", "descriptions": ["in tears"]}
    assert "- sentence, happy: full of joy / a smile" in report.to_markdown()


def test_a_model_is_trained_with_each_wording_or_with_one(tiny, fits):
    data, classifier = data_of(), tiny(epochs=1)
    each = wordings(classifier, data, TEXTS, fit="each", seeds=(0, 1))
    assert len(fits) == 4 and len(each["word"].runs) == 2
    alone = supervised(classifier, data, seeds=(0, 1), labels=TEXTS["word"])
    assert each["word"].mean == pytest.approx(alone.metrics)
    fits.clear()
    one = wordings(classifier, data, TEXTS, fit="word", seeds=(0,))
    assert len(fits) == 1 and one["word"].mean == each["word"].runs[0].metrics
    assert one["sentence"].mean != each["sentence"].runs[0].metrics


def test_wordings_of_several_labels(tiny):
    report = wordings(tiny(multi_label=True), data_of(sets_of()), TEXTS)
    assert [condition.name for condition in report.conditions] == [
        f"{name}{at}" for name in TEXTS for at in (" at 0.5", " at 0.6", "")
    ]
    assert all(condition.labels is not None for condition in report.conditions)


@pytest.mark.parametrize(
    ("texts", "options", "error", "said"),
    [
        ({}, {}, InputError, "empty"),
        ({"a": ["happy", "sad"]}, {}, LabelError, "'angry'"),
        ({"a": LABELS, "b": ["happy", "sad"]}, {}, LabelError, "the wording 'b'"),
        (TEXTS, {"fit": "phrase"}, InputError, "'phrase'"),
    ],
)
def test_bad_wordings(tiny, texts, options, error, said):
    with pytest.raises(error, match=f"(?i){said}"):
        wordings(tiny(), data_of(), texts, **options)


# Modalities ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talking():
    """Return twelve clips with all modalities, and one that has text alone."""
    clips, y = make_clips(12)
    clips = Clips([*clips, {"text": "so good", "id": "mute"}])
    parts = np.array(["train"] * 6 + ["test"] * 7)
    report = LoadReport("toy", "", 13, 13, ())
    return Dataset("toy", clips, np.array([*y, "happy"]), ("happy", "angry"), None, parts, report)


def trained(classifier, data):
    """Let the fusion count as trained, so that sound is not left out."""
    return classifier.fit(data.clips[:4], data.y[:4])


def test_every_subset_is_measured_on_the_same_clips_read_once(tiny, talking, encodings):
    classifier = trained(tiny(epochs=1), talking)
    encodings.clear()
    report = modalities(classifier, talking)
    assert [condition.name for condition in report.conditions] == [
        "text", "video", "audio", "text+video", "text+audio", "video+audio", "text+video+audio",
    ]  # fmt: skip
    assert encodings == [7] and len({c.runs[0].ids for c in report.conditions}) == 1
    assert [item.id for item in report.skipped] == ["mute"] and report.n_clips == 6
    assert report.skipped[0].reason == "It has no video and no audio."
    whole = talking.select(slice(6, 12))
    full = zero_shot(classifier, whole.clips, whole.y, labels=whole.labels)
    assert np.allclose(
        report.conditions[-1].runs[0].probability, full.conditions[0].runs[0].probability
    )
    texts = [{"text": clip.text} for clip in whole.clips]
    spoken = zero_shot(classifier, texts, whole.y, labels=whole.labels)
    assert np.allclose(
        report["text"].runs[0].probability, spoken.conditions[0].runs[0].probability, atol=1e-6
    )


def test_modalities_with_training(tiny, talking, fits):
    classifier = tiny(epochs=1)
    features = classifier.encode(talking.clips)
    each = modalities(classifier, talking, fit="each", seeds=(0,), features=features)
    assert len(fits) == 7
    fits.clear()
    once = modalities(classifier, talking, fit="all", seeds=(0,), features=features)
    assert len(fits) == 1 and [c.name for c in once.conditions] == [c.name for c in each.conditions]
    last = "text+video+audio"
    assert np.array_equal(once[last].runs[0].probability, each[last].runs[0].probability)
    assert not np.array_equal(once["text"].runs[0].probability, each["text"].runs[0].probability)


def test_what_modalities_cannot_do(tiny, talking):
    with pytest.raises(InputError, match="fit is None"):
        modalities(tiny(), talking, fit="some")
    with pytest.raises(InputError, match="tune='full'"):
        modalities(tiny(tune="full"), talking, fit="each")
    apart = talking.select([0, 12])
    clips = Clips([replace(apart.clips[0], text=None), apart.clips[1]])
    with pytest.raises(InputError, match=r"No clip has text\+video\+audio"):
        modalities(tiny(), replace(apart, clips=clips, splits=None))
