"""scikit-learn's contract, kept by an estimator whose X is no table of numbers.

`check_estimator` runs next to nothing for such an estimator, so this is a battery of our own.
"""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import random
import shutil
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
import torch
from safetensors.torch import save_file
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, make_scorer, top_k_accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks, estimator_html_repr
from sklearn.utils.validation import check_is_fitted

from conftest import TINY
from merclip import Clip, Clips, EmotionClassifier
from merclip.errors import (
    CheckpointError,
    InputError,
    LabelError,
    MerclipWarning,
    ModelNotFoundError,
)

pytestmark = pytest.mark.filterwarnings("ignore:This model's fusion is not trained yet")

UP = ["so good", "what a joy", "lovely day", "I love it", "great fun", "hurray"]
DOWN = ["so bad", "what a mess", "awful day", "I hate it", "no fun", "oh no"]
TEXTS = [text for pair in zip(UP, DOWN, strict=True) for text in pair]
X = [{"text": text} for text in TEXTS]
Y = ["up", "down"] * 6
Y3 = ["up", "down", "flat"] * 4
SENTENCES = [
    "A state of delight, and inner peace.",
    "ok",
    "A strong feeling of annoyance, displeasure or hostility towards someone",
]


def tiny_classifier(labels=None, *, network=None, **params) -> EmotionClassifier:
    """Return what the fixture `tiny` makes, for fixtures that outlive a test."""
    network = {"decoder": {"heads": 2}, **(network or {})}
    params.setdefault("random_state", 0)
    return EmotionClassifier(labels, model=TINY, pretrained="random", network=network, **params)


def same_scores(first, second, x=X) -> None:
    np.testing.assert_array_equal(first.predict_proba(x), second.predict_proba(x))
    np.testing.assert_array_equal(first.predict(x), second.predict(x))


@pytest.fixture(scope="module")
def learned():
    return tiny_classifier(epochs=2).fit(X, Y)


@pytest.fixture
def fitted(learned):
    """Return a fitted classifier that a test may change."""
    return copy.deepcopy(learned)


@pytest.fixture(scope="module")
def mini():
    """Return mini with words of our own, loaded."""
    classifier = EmotionClassifier(["happy", "sad"])
    classifier.predict(text="hello")
    return classifier


@pytest.fixture(scope="module")
def taught():
    """Return mini after `fit` of its head."""
    return EmotionClassifier(epochs=1).fit(X, Y)


# Parameters ---------------------------------------------------------------------------


def test_parameters_are_stored_and_set_unchanged():
    labels, network, callbacks = np.array(["a", "b"]), {"fusion": "VA"}, []
    given = {"labels": labels, "network": network, "callbacks": callbacks, "device": "cpu"}
    classifier = EmotionClassifier(**given)
    assert all(classifier.get_params()[name] is value for name, value in given.items())
    assert set(vars(classifier)) == set(classifier.get_params())
    other = EmotionClassifier().set_params(**classifier.get_params())
    assert other.get_params() == classifier.get_params()
    assert classifier.set_params(epochs=3) is classifier
    with pytest.raises(ValueError, match="epoch"):
        classifier.set_params(epoch=3)


def test_a_clone_has_equal_parameters_and_nothing_learned(fitted):
    copied = clone(fitted.set_params(labels=["up", "down"], class_weight={"up": 2.0}))
    assert copied.get_params() == fitted.get_params()
    assert set(vars(copied)) == set(copied.get_params())
    assert copied.model is not fitted.model


def test_fit_returns_self_and_changes_neither_input_nor_parameters(tiny):
    rows, y, weights = copy.deepcopy(X), np.array(Y), np.linspace(1, 2, 12)
    classifier = tiny(epochs=1, class_weight="balanced")
    before = copy.deepcopy(classifier.get_params())
    assert classifier.fit(rows, y, sample_weight=weights, groups=list(range(12))) is classifier
    assert classifier.partial_fit(rows, y) is classifier
    classifier.predict(rows)
    assert rows == X
    assert y.tolist() == Y
    assert weights.tolist() == np.linspace(1, 2, 12).tolist()
    assert classifier.get_params() == before


def test_refit_forgets(tiny):
    again = tiny(epochs=2).fit(X[:6], ["x", "y", "z"] * 2)
    again.fit(X, Y)
    assert again.classes_.tolist() == ["down", "up"]
    assert len(again.history_) == 2
    same_scores(again, tiny(epochs=2).fit(X, Y))


def test_warm_start_goes_on_and_a_new_fit_does_not(tiny):
    settings = {"epochs": 6, "lr": 3e-3}
    once, warm = tiny(**settings).fit(X, Y), tiny(warm_start=True, **settings).fit(X, Y)
    same_scores(once, warm)
    first = warm.history_
    warm.fit(X, Y)
    assert warm.history_[-1]["loss"] < first[-1]["loss"] < first[0]["loss"]
    assert not np.array_equal(warm.predict_proba(X), once.predict_proba(X))
    same_scores(once.fit(X, Y), tiny(**settings).fit(X, Y))


def test_partial_fit_goes_on_and_needs_classes_once(tiny):
    classifier = tiny(lr=3e-3)
    with pytest.raises(LabelError, match="classes="):
        classifier.partial_fit(X[:4], Y[:4])
    classifier.partial_fit(X[:1], Y[:1], classes=["up", "down"])
    assert classifier.classes_.tolist() == ["down", "up"]
    losses = [classifier.partial_fit(X, Y).history_[-1]["loss"] for _ in range(6)]
    assert losses[-1] < losses[0]
    twin = tiny(lr=3e-3).partial_fit(X[:1], Y[:1], classes=["up", "down"])
    for _ in range(6):
        twin.partial_fit(X, Y)
    same_scores(classifier, twin)


@pytest.mark.parametrize("seed", [7, np.int64(7), None])
def test_one_random_state_gives_one_result(tiny, seed):
    first, second = (tiny(epochs=1, random_state=seed).fit(X, Y) for _ in range(2))
    same_scores(first, second)


def test_generators_and_other_seeds(tiny):
    first, second = (
        tiny(epochs=1, random_state=np.random.RandomState(3)).fit(X, Y) for _ in range(2)
    )
    same_scores(first, second)
    same_scores(
        clone(tiny(epochs=1, random_state=3)).fit(X, Y), tiny(epochs=1, random_state=3).fit(X, Y)
    )
    other = tiny(epochs=1, random_state=4).fit(X, Y)
    assert not np.array_equal(first.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "seed", np.random.default_rng(0)])
def test_a_random_state_that_is_none_is_refused(tiny, seed):
    with pytest.raises(InputError, match="random_state"):
        tiny(["a", "b"], random_state=seed).predict(text="x")


def test_global_generators_are_left_alone(tiny):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    classifier = tiny(epochs=1, validation=0.25, random_state=1).fit(X, Y)
    classifier.partial_fit(X, Y)
    pickle.loads(pickle.dumps(classifier)).predict(X)
    no_encoder = tiny(epochs=1, network={"use_label_encoder": False}).fit(X, Y)
    pickle.loads(pickle.dumps(no_encoder)).predict(X)
    assert states() == before


# Labels and classes -------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["happy", "sad", "angry"], ["up", "Down", "flat", "10"], SENTENCES],
    ids=["words", "four", "sentences"],
)
def test_columns_and_predictions_agree_for_every_order_of_labels(tiny, words):
    base = tiny(words)
    reference = base.predict_proba(X)
    for order in itertools.permutations(words):
        classifier = base.with_labels(list(order))
        probability = classifier.predict_proba(X)
        assert classifier.classes_.tolist() == sorted(words)
        assert (classifier.classes_[probability.argmax(1)] == classifier.predict(X)).all()
        np.testing.assert_allclose(probability, reference, atol=1e-6)
        np.testing.assert_allclose(probability.sum(1), 1)
        assert classifier.decision_function(X).shape == (12, len(words))
        assert set(classifier.predict(X)) <= set(words)
        assert classifier.labels_.names == order


@pytest.mark.parametrize("order", list(itertools.permutations([3, 1, 2])))
def test_integers_are_names_when_a_mapping_gives_their_words(tiny, order):
    words = {1: "sad", 2: "angry", 3: "happy"}
    classifier = tiny({name: words[name] for name in order})
    assert classifier.classes_.tolist() == [1, 2, 3]
    assert classifier.predict(X).dtype.kind == "i"
    expected = classifier.classes_[classifier.predict_proba(X).argmax(1)]
    assert (classifier.predict(X) == expected).all()
    named = tiny(["happy", "sad", "angry"]).predict_proba(X)  # angry, happy, sad
    np.testing.assert_allclose(classifier.predict_proba(X), named[:, [2, 0, 1]], atol=1e-6)


@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        np.array,
        lambda y: np.array(y, dtype=object),
        lambda y: [np.str_(name) for name in y],
        lambda y: np.array([y, y]).T[:, 0],
        lambda y: pytest.importorskip("pandas").Series(y, index=range(5, 17)),
        lambda y: pytest.importorskip("pandas").Series(y, dtype="category"),
        lambda y: pytest.importorskip("pandas").Series(y, dtype="string"),
    ],
)
def test_any_column_of_strings_is_y(tiny, fitted, container):
    classifier = tiny(epochs=2).fit(X, container(Y))
    assert classifier.classes_.tolist() == ["down", "up"]
    assert classifier.classes_.dtype.kind == "U"
    same_scores(classifier, fitted)
    assert classifier.score(X, container(Y)) == np.mean(classifier.predict(X) == np.array(Y))


def test_long_labels_are_never_cut(tiny):
    y = np.array(["no", SENTENCES[2]] * 6)
    classifier = tiny(epochs=1).fit(X, y)
    assert classifier.classes_.tolist() == [SENTENCES[2], "no"]
    assert set(classifier.predict(X)) <= {"no", SENTENCES[2]}
    assert set(cross_val_predict(classifier, X, y, cv=2)) <= {"no", SENTENCES[2]}
    other = tiny(["a", "b"])
    other.predict(X)
    assert set(other.set_params(labels=SENTENCES).predict(X)) <= set(SENTENCES)


def test_two_classes_have_one_decision_and_more_have_one_each(fitted):
    decisions = fitted.decision_function(X)
    assert decisions.shape == (12,)
    assert (fitted.predict(X) == fitted.classes_[(decisions > 0).astype(int)]).all()
    odds = fitted.predict_proba(X)
    np.testing.assert_allclose(decisions, np.log(odds[:, 1] / odds[:, 0]), atol=1e-5)
    logits = fitted.with_labels(["a", "b", "c"]).decision_function(X)
    assert logits.shape == (12, 3)
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    expected = exponents / exponents.sum(1, keepdims=True)
    other = fitted.with_labels(["a", "b", "c"])
    np.testing.assert_allclose(other.predict_proba(X), expected, atol=1e-6)
    np.testing.assert_allclose(np.exp(other.predict_log_proba(X)), expected, atol=1e-6)


# Scorers ------------------------------------------------------------------------------


def one_against_rest(score, truth):
    """Return the share of pairs (one of the class, one of the rest) in the right order."""
    pairs = [(a, b) for a in score[truth] for b in score[~truth]]
    return np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])


@pytest.mark.parametrize("y", [Y, Y3], ids=["binary", "multiclass"])
def test_scorers_give_what_a_hand_works_out(tiny, y):
    classifier = tiny(sorted(set(y), reverse=True))
    truth, classes = np.array(y), sorted(set(y))
    probability = classifier.predict_proba(X)
    found = np.array(classes)[probability.argmax(1)]
    recalls = [np.mean(found[truth == name] == name) for name in classes]
    f1 = []
    for name in classes:
        hit = np.sum((found == name) & (truth == name))
        f1.append(2 * hit / (np.sum(found == name) + np.sum(truth == name)))
    columns = [classes.index(name) for name in y]
    expected = {
        "accuracy": np.mean(found == truth),
        "balanced_accuracy": np.mean(recalls),
        "f1_macro": np.mean(f1),
        "neg_log_loss": np.log(probability[np.arange(12), columns]).mean(),
    }
    areas = [one_against_rest(probability[:, i], truth == name) for i, name in enumerate(classes)]
    if len(classes) == 2:
        expected["roc_auc"] = areas[1]
    else:
        expected["roc_auc_ovr"] = np.mean(areas)
    for name, value in expected.items():
        assert get_scorer(name)(classifier, X, y) == pytest.approx(value, abs=1e-6), name


def test_top_k_accuracy_counts_ranks(tiny):
    classifier = tiny(["up", "down", "flat", "odd"])
    y = ["up", "down", "flat", "odd"] * 3
    probability = classifier.predict_proba(X)
    columns = [classifier.classes_.tolist().index(name) for name in y]
    own = probability[np.arange(12), columns]
    rank = (probability > own[:, None]).sum(1)
    for k in (1, 2, 3):
        scorer = make_scorer(top_k_accuracy_score, k=k, response_method="predict_proba")
        assert scorer(classifier, X, y) == np.mean(rank < k)


def test_score_weighs_clips(fitted):
    right = fitted.predict(X) == np.array(Y)
    weights = np.arange(12.0)
    assert fitted.score(X, Y) == right.mean()
    assert fitted.score(X, Y, sample_weight=weights) == pytest.approx(right @ weights / 66)
    with pytest.raises(InputError, match="sample_weight needs one entry for each of 12 clips"):
        fitted.score(X, Y, sample_weight=np.ones(13))
    with pytest.raises(InputError, match="sample_weight needs one entry for each of 12 clips"):
        fitted.fit(X, Y, sample_weight=np.ones(13))
    with pytest.raises(InputError, match="groups needs one entry for each of 12 clips"):
        fitted.fit(X, Y, groups=["a"] * 13)


def test_score_warns_of_labels_that_it_does_not_know(fitted):
    y = ["sideways", *Y[1:]]
    right = fitted.predict(X) == np.array(y)
    with pytest.warns(MerclipWarning, match="not among .*'sideways'"):
        assert fitted.score(X, y) == right.mean()
    with pytest.raises(LabelError, match="not among .* 0, 1"):
        fitted.score(X, [0, 1] * 6)
    with pytest.raises(LabelError):
        fitted.score(X, [None, *Y[1:]])


def test_a_clip_without_answer_is_missed(fitted):
    probability = fitted.predict_proba(X)
    fitted.set_params(abstain=float(np.median(probability.max(1))))
    answers = fitted.predict(X)
    assert 0 < sum(answer is None for answer in answers) < 12
    assert fitted.score(X, Y) == np.mean([a == b for a, b in zip(answers, Y, strict=True)])


def test_a_fold_with_a_new_label_has_a_score(tiny):
    y = ["up", "down"] * 5 + ["up", "odd"]
    classifier = tiny(epochs=1)
    with pytest.warns(MerclipWarning, match="'odd'"):
        scores = cross_val_score(classifier, X, y, cv=KFold(3), error_score="raise")
    assert scores[-1] <= 0.75


# Model selection ----------------------------------------------------------------------

CONTAINERS = {
    "dicts": list,
    "clips": Clips,
    "list of clips": lambda rows: [Clip(**row) for row in rows],
    "array of dicts": lambda rows: np.array(rows, dtype=object),
    "array of clips": lambda rows: np.array([Clip(**row) for row in rows], dtype=object),
    "frame": lambda rows: pytest.importorskip("pandas").DataFrame(rows),
}


@pytest.fixture(scope="module")
def two_folds():
    """Return the answers and probabilities of a cross-validation that is written out."""
    answers, probability = np.empty(12, dtype="<U4"), np.empty((12, 2))
    for train, test in StratifiedKFold(2).split(X, Y):
        part = tiny_classifier(epochs=1).fit([X[i] for i in train], [Y[i] for i in train])
        answers[test] = part.predict([X[i] for i in test])
        probability[test] = part.predict_proba([X[i] for i in test])
    return answers, probability


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_any_container_goes_through_model_selection(tiny, two_folds, container):
    clips, (answers, probability) = container(X), two_folds
    found = cross_val_predict(tiny(epochs=1), clips, Y, cv=2)
    assert found.tolist() == answers.tolist()
    # scikit-learn numbers the classes before it asks for probabilities.
    for labels in (dict(enumerate(sorted(set(Y)))), ["up", "down"]):
        numbered = tiny(labels, epochs=1)
        found = cross_val_predict(numbered, clips, Y, cv=2, method="predict_proba")
        np.testing.assert_allclose(found, probability, atol=1e-5)
    train, test, y_train, y_test = train_test_split(clips, Y, stratify=Y, random_state=0)
    assert tiny(epochs=1).fit(train, y_train).predict(test).shape == (len(y_test),)
    search = GridSearchCV(tiny(), {"epochs": [1]}, cv=2).fit(clips, Y)
    assert search.best_score_ == pytest.approx(np.mean(answers == np.array(Y)))
    assert search.classes_.tolist() == ["down", "up"]
    assert search.predict(clips).shape == (12,)


NUMBERS = [Y.index(name) ^ 1 for name in Y]
"""What scikit-learn makes of Y: 0 for "down", 1 for "up"."""


@pytest.mark.parametrize("y", [NUMBERS, np.array(NUMBERS), np.array(NUMBERS, dtype=object)])
def test_numbers_are_places_in_the_sorted_labels(tiny, y):
    settings = {"epochs": 1, "class_weight": {"up": 2.0}}
    named = tiny(["up", "down"], **settings).fit(X, Y)
    with pytest.warns(MerclipWarning, match="places in the sorted labels: 0 for 'down', 1 for"):
        numbered = tiny(["up", "down"], **settings).fit(X, y)
    np.testing.assert_array_equal(numbered.predict_proba(X), named.predict_proba(X))
    assert numbered.classes_.tolist() == [0, 1]
    assert numbered.classes_[numbered.predict_proba(X).argmax(1)].tolist() == [
        ["down", "up"].index(name) for name in named.predict(X)
    ]
    assert numbered.score(X, y) == named.score(X, Y)
    assert numbered.evaluate(X, y).metrics == named.evaluate(X, Y).metrics
    # Rich answers, other labels and files go by the words.
    assert [answer.label for answer in numbered(X)] == named.predict(X).tolist()
    assert numbered.labels_.names == ("up", "down")
    assert set(numbered.predict(X, labels=["up", "down"])) <= {"up", "down"}
    same_scores(pickle.loads(pickle.dumps(numbered)), numbered)
    assert numbered.fit(X, Y).classes_.tolist() == ["down", "up"]
    with pytest.raises(LabelError, match="not among"):
        named.score(X, y)


def test_numbers_that_have_no_place_are_refused_and_places_without_clips_are_named(tiny):
    with pytest.raises(LabelError, match=r"not among \[0, 1\]: 2"):
        tiny(["up", "down"], epochs=1).fit(X, [0, 1, 2] * 4)
    with pytest.warns(MerclipWarning, match=r"2 for 'up'.* No clip has \['flat'\]"):
        classifier = tiny(["up", "down", "flat"], epochs=1).fit(X, [0, 2] * 6)
    assert classifier.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "y",
    [
        NUMBERS,
        np.array(NUMBERS) + 3,
        [str(number) for number in NUMBERS],
        [str(bool(number)) for number in NUMBERS],
    ],
)
def test_numbers_without_words_are_learned_with_a_warning(y):
    with pytest.warns(MerclipWarning, match="such labels have no words"):
        classifier = EmotionClassifier(epochs=10).fit(X, y)
    assert classifier.classes_.tolist() == sorted(set(np.array(y).tolist()))
    assert classifier.score(X, y) > 0.75
    with pytest.raises(LabelError, match="no words to encode"):
        EmotionClassifier(sorted(set(y))).predict(X)


def test_two_processes_find_what_one_finds(tiny, taught, two_folds):
    pandas = pytest.importorskip("pandas")
    pipeline = Pipeline([("classify", tiny(epochs=1))])
    grid = {"classify__labels": [None, ["down", "flat", "up"]]}
    one, two = (GridSearchCV(pipeline, grid, cv=2, n_jobs=n).fit(X, Y) for n in (1, 2))
    assert two.best_params_ == one.best_params_
    expected = one.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(two.cv_results_["mean_test_score"], expected)
    for clips in (pandas.DataFrame(X), Clips(X), np.array(X, dtype=object)):
        found = cross_val_predict(tiny(epochs=1), clips, Y, cv=2, n_jobs=2)
        assert found.tolist() == two_folds[0].tolist()
    # Fitted classifiers travel to the workers, by the name of mini's weights, and back.
    halves = joblib.Parallel(2)(
        joblib.delayed(taught.predict_proba)(part) for part in (X[:6], X[6:])
    )
    np.testing.assert_allclose(np.concatenate(halves), taught.predict_proba(X), atol=1e-5)
    back = cross_validate(tiny(epochs=1), X, Y, cv=2, n_jobs=2, return_estimator=True)
    _, probability = two_folds
    for part, (_, test) in zip(back["estimator"], StratifiedKFold(2).split(X, Y), strict=True):
        rows = [X[i] for i in test]
        np.testing.assert_allclose(part.predict_proba(rows), probability[test], atol=1e-5)


def test_groups_stay_whole_in_a_cross_validation(tiny):
    groups = np.repeat(["ann", "bob", "cid"], 4)
    seen = []

    class Spy(EmotionClassifier):
        def fit(self, X=None, y=None, **more):
            seen.append({row["text"] for row in X})
            return super().fit(X, y, **more)

    spy = Spy(**tiny(epochs=1).get_params())
    scores = cross_val_score(spy, X, Y, groups=groups, cv=GroupKFold(3))
    assert scores.shape == (3,)
    of_groups = [set(TEXTS[i : i + 4]) for i in (0, 4, 8)]
    for learned in seen:
        assert len(learned) == 8
        assert sum(group <= learned for group in of_groups) == 2


def test_a_leave_one_out_score_is_the_share_of_hits(tiny):
    scores = cross_val_score(tiny(epochs=1), X[:4], Y[:4], cv=LeaveOneOut())
    found = cross_val_predict(tiny(epochs=1), X[:4], Y[:4], cv=LeaveOneOut())
    assert scores.tolist() == (found == np.array(Y[:4])).astype(float).tolist()


# Calibration and ensembles ------------------------------------------------------------


@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
@pytest.mark.parametrize("y", [Y, Y3], ids=["binary", "multiclass"])
def test_calibration_of_a_frozen_classifier(tiny, method, y):
    classifier = tiny(sorted(set(y)))
    calibrated = CalibratedClassifierCV(FrozenEstimator(classifier), method=method, cv=3)
    for clips in (X, np.array(X, dtype=object)):
        probability = calibrated.fit(clips, y).predict_proba(clips)
        assert probability.shape == (12, len(set(y)))
        np.testing.assert_allclose(probability.sum(1), 1)
        assert calibrated.classes_.tolist() == classifier.classes_.tolist()
        if method == "temperature":
            assert (calibrated.predict(clips) == classifier.predict(clips)).all()


def test_temperature_is_what_tune_none_finds(tiny):
    """scikit-learn's temperature scaling and ours minimise the same loss."""
    classifier = tiny(sorted(set(Y3)))
    theirs = CalibratedClassifierCV(FrozenEstimator(classifier), method="temperature", cv=3)
    theirs.fit(X, Y3)
    ours = tiny(sorted(set(Y3)), tune="none").fit(X, Y3)
    loss = get_scorer("neg_log_loss")
    assert loss(ours, X, Y3) >= loss(classifier, X, Y3)
    assert loss(ours, X, Y3) == pytest.approx(loss(theirs, X, Y3), abs=0.01)


@pytest.mark.parametrize("labels", [{0: "down", 1: "up"}, ["up", "down"], None])
def test_ensembles_number_the_classes(tiny, labels):
    members = [("a", tiny(labels, epochs=1)), ("b", tiny(labels, epochs=1, random_state=1))]
    singles = [clone(member).fit(X, NUMBERS) for _, member in members]
    voting = VotingClassifier(members, voting="soft").fit(X, Y)
    mean = np.mean([single.predict_proba(X) for single in singles], axis=0)
    np.testing.assert_allclose(voting.predict_proba(X), mean, atol=1e-5)
    assert voting.predict(X).tolist() == np.array(["down", "up"])[mean.argmax(1)].tolist()
    assert set(VotingClassifier(members, voting="hard").fit(X, Y).predict(X)) <= {"up", "down"}
    stacking = StackingClassifier(members, LogisticRegression(), cv=2).fit(X, Y)
    assert set(stacking.predict(X)) <= {"up", "down"}
    probability = cross_val_predict(members[0][1], X, Y, cv=2, method="predict_proba")
    assert probability.shape == (12, 2)


def test_stacking_of_fitted_classifiers_keeps_their_names(fitted):
    stacking = StackingClassifier([("a", fitted)], LogisticRegression(), cv="prefit").fit(X, Y)
    direction = stacking.transform(X)
    np.testing.assert_allclose(direction[:, 0], fitted.predict_proba(X)[:, 1], atol=1e-6)
    assert stacking.classes_.tolist() == ["down", "up"]


# Pipelines and metadata ---------------------------------------------------------------


def test_a_pipeline_prepares_clips(tiny):
    shorter = FunctionTransformer(lambda rows: [{"text": row["text"][:7]} for row in rows])
    pipeline = make_pipeline(shorter, tiny(epochs=1)).fit(X, Y)
    direct = tiny(epochs=1).fit([{"text": text[:7]} for text in TEXTS], Y)
    cut = [{"text": text[:7]} for text in TEXTS]
    np.testing.assert_array_equal(pipeline.predict_proba(X), direct.predict_proba(cut))
    assert pipeline.classes_.tolist() == ["down", "up"]
    assert pipeline.score(X, Y) == direct.score(cut, Y)
    assert clone(pipeline).get_params()["emotionclassifier__epochs"] == 1
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(pipeline))


def test_steps_before_it_may_give_frames(tiny):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "speaker": "ann"}, index=range(100, 112))
    pipeline = make_pipeline(FunctionTransformer(), tiny(epochs=1))
    pipeline.set_output(transform="pandas").fit(frame, Y)
    np.testing.assert_array_equal(pipeline.predict(frame), tiny(epochs=1).fit(X, Y).predict(X))
    assert not hasattr(pipeline[-1], "set_output")
    assert pipeline[-1].predict_frame(frame).index.tolist() == list(range(100, 112))


def test_weights_and_groups_are_routed_through_a_pipeline(tiny):
    weights, groups = np.tile([3.0, 1.0, 1.0], 4), np.repeat(["ann", "bob", "cid", "dan"], 3)
    with sklearn.config_context(enable_metadata_routing=True):
        step = tiny(epochs=1, validation=0.3)
        step.set_fit_request(sample_weight=True, groups=True).set_predict_request(labels=True)
        pipeline = make_pipeline(step).fit(X, Y, sample_weight=weights, groups=groups)
        direct = tiny(epochs=1, validation=0.3).fit(X, Y, sample_weight=weights, groups=groups)
        np.testing.assert_array_equal(pipeline.predict_proba(X), direct.predict_proba(X))
        plain = tiny(epochs=1, validation=0.3).fit(X, Y)
        assert not np.array_equal(plain.predict_proba(X), direct.predict_proba(X))
        expected = direct.predict(X, labels=["glad", "cross", "calm"])
        found = pipeline.predict(X, labels=["glad", "cross", "calm"])
        assert found.tolist() == expected.tolist()
        assert set(found) <= {"glad", "cross", "calm"}
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            make_pipeline(tiny(epochs=1)).fit(X, Y, sample_weight=weights)


def test_cross_validation_routes_weights_and_groups(tiny):
    weights, groups = np.tile([3.0, 1.0, 1.0], 4), np.repeat(["ann", "bob", "cid", "dan"], 3)
    params = {"sample_weight": weights, "groups": groups}
    cv = GroupKFold(2)
    expected = []
    for train, test in cv.split(X, Y, groups):
        part = tiny(epochs=1, validation=0.3).fit(
            [X[i] for i in train],
            [Y[i] for i in train],
            sample_weight=weights[train],
            groups=groups[train],
        )
        rows, y = [X[i] for i in test], [Y[i] for i in test]
        expected.append(part.score(rows, y, sample_weight=weights[test]))
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = tiny(epochs=1, validation=0.3)
        classifier.set_fit_request(sample_weight=True, groups=True)
        classifier.set_score_request(sample_weight=True)
        found = cross_validate(classifier, X, Y, cv=cv, params=params)
        np.testing.assert_allclose(found["test_score"], expected)
        assert clone(classifier).get_metadata_routing().fit.requests["groups"] is True
        search = GridSearchCV(classifier, {"lr": [1e-3]}, cv=cv).fit(X, Y, **params)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        kept = pickle.loads(pickle.dumps(classifier)).get_metadata_routing()
        assert kept.fit.requests["sample_weight"] is True


# Pickles ------------------------------------------------------------------------------


def test_a_pickle_of_mini_names_its_weights(mini):
    stored = pickle.dumps(mini)
    assert len(stored) < 5_000
    loaded = pickle.loads(stored)
    assert loaded.labels_ == mini.labels_
    same_scores(loaded, mini)
    # A classifier that has not been used has nothing but parameters.
    unused = pickle.dumps(EmotionClassifier(["happy", "sad"]))
    assert len(unused) < 2_000
    assert pickle.loads(unused).get_params() == mini.get_params()


def tensors_in(classifier):
    _, (state,) = classifier._session.__reduce__()
    return state["checkpoint"]["tensors"]


def test_a_pickle_holds_what_was_trained_and_nothing_else(taught):
    tensors = tensors_in(taught)
    trained = {"decoder", "query_prompt", "scales"}
    assert {name.partition(".")[0] for name in tensors} == trained
    size = sum(array.nbytes for array in tensors.values())
    stored = pickle.dumps(taught)
    assert size < len(stored) < size + 20_000
    loaded = pickle.loads(stored)
    same_scores(loaded, taught)
    assert loaded.history_ == taught.history_
    assert loaded.classes_.tolist() == ["down", "up"]
    assert len(pickle.dumps(loaded)) < size + 20_000


def test_joblib_files_hold_the_same(taught, tmp_path):
    sizes = []
    for compress in (0, 3):
        joblib.dump(taught, tmp_path / "taught.joblib", compress=compress)
        sizes.append((tmp_path / "taught.joblib").stat().st_size)
        same_scores(joblib.load(tmp_path / "taught.joblib"), taught)
    assert sizes[1] < sizes[0] < 3_000_000


def test_a_memory_mapped_joblib_file_can_be_trained_on(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    mapped = joblib.load(tmp_path / "fitted.joblib", mmap_mode="r")
    same_scores(mapped.partial_fit(X, Y), fitted.partial_fit(X, Y))
    fresh = joblib.load(tmp_path / "fitted.joblib")
    assert not np.array_equal(fresh.predict_proba(X), mapped.predict_proba(X))


def test_training_goes_on_after_a_pickle(tiny):
    classifier = tiny(epochs=1, warm_start=True).fit(X, Y)
    loaded = pickle.loads(pickle.dumps(classifier))
    same_scores(loaded.fit(X, Y), classifier.fit(X, Y))
    same_scores(clone(loaded).fit(X, Y), tiny(epochs=1).fit(X, Y))


@pytest.mark.parametrize(
    "params",
    [
        {"multi_label": True},
        {"network": {"use_label_encoder": False}},
        {"network": {"use_decoder": False, "fusion": "LV"}},
        {"network": {"share_token_table": True, "token_rank": 4}, "tune": "full"},
        {"dtype": "bfloat16"},
    ],
    ids=["multi-label", "without label encoder", "without decoder", "full", "bfloat16"],
)
def test_every_kind_of_network_comes_back(tiny, params):
    y = [[name] for name in Y] if params.get("multi_label") else Y
    classifier = tiny(epochs=1, validation=0.25, **params).fit(X, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    same_scores(loaded, classifier)
    assert loaded.network_.config == classifier.network_.config
    np.testing.assert_array_equal(loaded.threshold_, classifier.threshold_)
    weights, expected = loaded.network_.state_dict(), classifier.network_.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def test_temperature_and_labels_come_back(tiny):
    labels = {"joy": ["delight", "a happy person"], "rage": "fury"}
    classifier = tiny(labels, tune="none").fit(X, ["joy", "rage"] * 6)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert loaded.calibration_ == classifier.calibration_
    assert loaded(text="hi").calibrated is True
    assert loaded.labels_ == classifier.labels_
    same_scores(loaded, classifier)


def test_weights_that_somebody_set_by_hand_come_back(mini):
    classifier = copy.deepcopy(mini)
    with torch.no_grad():
        next(classifier.network_.encoders["L"].parameters()).mul_(1.5)
    tensors = tensors_in(classifier)
    assert len(tensors) == 1
    same_scores(pickle.loads(pickle.dumps(classifier)), classifier)


def test_a_model_tuned_from_mini_and_saved_builds_on_mini(taught, tmp_path):
    taught.save_pretrained(tmp_path / "model")
    loaded = EmotionClassifier.from_pretrained(tmp_path / "model")
    stored = pickle.dumps(loaded)
    shutil.rmtree(tmp_path / "model")
    assert len(stored) < 3_000_000
    same_scores(pickle.loads(stored), loaded)


def test_another_mini_is_refused(mini, monkeypatch):
    stored = pickle.dumps(mini)
    monkeypatch.setattr("merclip.pickling._mini_digest", lambda: "of another version")
    with pytest.raises(CheckpointError, match="'mini' of merclip .* brings another one"):
        pickle.loads(stored)


def test_a_pickle_of_another_merclip_is_refused(tiny, monkeypatch):
    classifier = tiny(["a", "b"])
    classifier.predict(text="x")
    restore, (state,) = classifier._session.__reduce__()
    state["checkpoint"]["merclip"] = "9.0"
    state["checkpoint"]["network"]["unheard_of"] = 1
    with pytest.raises(CheckpointError, match=r"merclip 9\.0.*unheard_of"):
        restore(state)
    restore, (state,) = classifier._session.__reduce__()
    state["checkpoint"]["tensors"].popitem()
    with pytest.raises(CheckpointError, match="other tensors"):
        restore(state)


@pytest.fixture
def clip_cache(tmp_path):
    """Return a cache of the Hub that holds a tiny CLIP in open_clip's layout."""
    from open_clip.model import CustomTextCLIP

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--org--clip"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    pictures = {"mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"model_cfg": TINY, "preprocess_cfg": pictures}
    (snapshot / "open_clip_config.json").write_text(json.dumps(config))
    with torch.random.fork_rng(devices=[]):
        state = CustomTextCLIP(**TINY).state_dict()
    save_file({k: v.clone() for k, v in state.items()}, snapshot / "open_clip_model.safetensors")
    return tmp_path / "cache"


def from_cache(cache: Path) -> EmotionClassifier:
    return EmotionClassifier.from_pretrained(
        "org/clip",
        cache_dir=cache,
        local_files_only=True,
        token="hf_secretsecretsecret",
        network={"decoder": {"heads": 2}},
        epochs=1,
    )


def test_towers_from_the_hub_are_named_and_no_token_is_kept(clip_cache):
    classifier = from_cache(clip_cache)
    for _ in range(2):  # as it was loaded, and after a fit
        stored = pickle.dumps(classifier)
        assert b"secret" not in stored
        names = {name.partition(".")[0] for name in tensors_in(classifier)}
        assert not names & {"encoders", "label_encoder"}
        assert len(stored) < 500_000
        classifier.set_params(labels=["up", "down"])
        same_scores(pickle.loads(stored).set_params(labels=["up", "down"]), classifier)
        classifier.set_params(warm_start=True).fit(X, Y)


def test_towers_that_cannot_be_had_again_are_an_error(clip_cache):
    classifier = from_cache(clip_cache).set_params(labels=["up", "down"])
    stored = pickle.dumps(classifier)
    shutil.rmtree(clip_cache)
    with pytest.raises(ModelNotFoundError, match=r"org/clip.*bundle_backbone=True"):
        pickle.loads(stored)


def test_towers_that_are_out_of_reach_when_pickled_are_stored(clip_cache):
    classifier = from_cache(clip_cache).set_params(labels=["up", "down"])
    shutil.rmtree(clip_cache)
    stored = pickle.dumps(classifier)
    assert len(stored) > 6_000_000
    same_scores(pickle.loads(stored), classifier)


def test_a_device_that_is_not_here_gives_way_to_the_cpu(tiny, monkeypatch):
    classifier = tiny(epochs=1).fit(X, Y)
    expected = classifier.predict_proba(X)
    classifier.device = classifier._session.device = "cuda"
    stored = pickle.dumps(classifier)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(MerclipWarning, match="no device 'cuda'.*stays on the CPU"):
        loaded = pickle.loads(stored)
    assert loaded.device_.type == "cpu"
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    with pytest.raises(RuntimeError, match="no device 'cuda'"):
        loaded.fit(X, Y)
    assert loaded.to("cpu").fit(X, Y).predict_proba(X).shape == (12, 2)


def test_copies_share_a_network_in_a_pickle_too(fitted):
    other = fitted.with_labels(["glad", "cross", "calm"])
    first, second = pickle.loads(pickle.dumps((fitted, other)))
    assert first.network_ is second.network_
    same_scores(first, fitted)
    same_scores(second, other)


def test_a_deep_copy_is_whole_and_apart(fitted):
    expected = fitted.predict_proba(X)
    copied = copy.deepcopy(fitted)
    same_scores(copied, fitted)
    assert copied.network_ is not fitted.network_
    copied.partial_fit(X, Y)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    assert not np.array_equal(copied.predict_proba(X), expected)


def test_a_pickle_is_the_same_each_time(fitted):
    stored = pickle.dumps(fitted)
    assert pickle.dumps(fitted) == stored
    assert joblib.hash(pickle.loads(stored)) == joblib.hash(fitted)


# What notebooks and other tools look at -----------------------------------------------


def test_it_is_fitted_where_labels_are_known(tiny, mini, tmp_path):
    for classifier in (tiny(), EmotionClassifier(model="org/never-downloaded")):
        with pytest.raises(NotFittedError):
            check_is_fitted(classifier)
        assert not hasattr(classifier, "_session")
    tiny(["a", "b"]).save_pretrained(tmp_path / "model")
    known = [tiny(["a", "b"]), EmotionClassifier(), EmotionClassifier(model=tmp_path / "model")]
    for classifier in known:
        check_is_fitted(classifier)
        assert not hasattr(classifier, "_session")
    check_is_fitted(mini)
    for labels in ("joy", ["joy"], ["joy", "Joy "], []):
        assert not EmotionClassifier(labels).__sklearn_is_fitted__()


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function", "score"]
)
def test_without_labels_every_answer_is_refused(tiny, method):
    arguments = (X, Y) if method == "score" else (X,)
    with pytest.raises(NotFittedError, match="set labels="):
        getattr(tiny(), method)(*arguments)


def test_tags_say_what_it_is(tiny):
    tags = sklearn.utils.get_tags(tiny(["a", "b"]))
    assert tags.estimator_type == "classifier"
    assert tags.target_tags.required is True
    assert tags.input_tags.two_d_array is False
    assert tags.input_tags.string and tags.input_tags.dict
    assert tags.requires_fit is False
    assert sklearn.utils.get_tags(tiny()).requires_fit is True
    assert sklearn.utils.get_tags(tiny(multi_label=True)).classifier_tags.multi_label is True
    assert is_classifier(tiny()) and not is_regressor(tiny())
    assert is_classifier(make_pipeline(tiny()))


def test_completion_in_a_notebook_loads_nothing(fitted):
    classifier = EmotionClassifier(["happy", "sad"])
    names = dir(classifier)
    assert {"fit", "predict", "epochs", "set_fit_request"} <= set(names)
    assert not hasattr(classifier, "_session")
    assert "network_" not in names
    assert {"network_", "classes_", "device_"} <= set(dir(fitted))


def test_a_notebook_shows_parameters_and_loads_nothing():
    classifier = EmotionClassifier(["happy", "<b>sad</b>"], epochs=3)
    assert repr(classifier) == "EmotionClassifier(epochs=3, labels=['happy', '<b>sad</b>'])"
    for shown in (classifier, make_pipeline(classifier), EmotionClassifier()):
        page = shown._repr_html_()
        assert estimator_html_repr(shown)
        assert "EmotionClassifier" in page
        assert "random_state" in page
    page = classifier._repr_html_()
    assert "&lt;b&gt;sad" in page and "<b>sad" not in page
    assert not hasattr(classifier, "_session")
    assert len(page) < 100_000


def test_a_notebook_shows_a_fitted_classifier(fitted, taught):
    for classifier in (fitted, make_pipeline(taught)):
        page = classifier._repr_html_()
        assert "history_" in page or sklearn.__version__ < "1.9"
        assert "fitted" in page
        assert len(page) < 200_000
    # Wrong parameters are shown, not raised.
    assert fitted.set_params(labels="joy")._repr_html_()
    assert fitted.set_params(labels=["a", "b"], threshold={"c": 1})._repr_html_()


CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


def test_check_estimator_passes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.SkipTestWarning)
        results = estimator_checks.check_estimator(EmotionClassifier(["a", "b"]), on_fail=None)
    assert results and {result["status"] for result in results} == {"passed"}


@pytest.mark.parametrize("name", CHECKS)
def test_checks_of_scikit_learn_that_need_no_table(name):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip("this scikit-learn has no such check")
    check("EmotionClassifier", EmotionClassifier(["a", "b"]))
