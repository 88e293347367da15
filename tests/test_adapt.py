"""`adapt`: what a few clips without labels tell of a recording, and what shows nothing."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from merclip import Audio, EmotionClassifier
from merclip.errors import InputError, LabelError, ModalityWarning
from merclip.network.adaptation import Adaptation
from merclip.preprocess import ClipFeatures, Features

LABELS = ["happy", "sad", "angry", "neutral"]
TEXTS = [
    "What a lovely day, I love it!", "He died last night.", "How dare you touch my car!",
    "The train leaves at nine.", "I miss her so much.", "This is the best cake ever!",
]  # fmt: skip
CLIPS = [{"text": text} for text in TEXTS]


@pytest.fixture(scope="module")
def clf():
    return EmotionClassifier(LABELS)


def features_of(clf, rows):
    return Features([ClipFeatures({"A": row}) for row in rows], clf.encode(CLIPS[:1]).origin)


def test_an_offset_of_all_clips_is_taken_off(clf):
    # Voices that another microphone moves, all by the same: adapted, they answer as before.
    evidence = clf.network_.evidence
    torch.manual_seed(0)
    rows = evidence.centers["A"] + 3.0 * torch.randn(200, 1, clf.network_.config.width)
    moved = rows + 2.0 * torch.randn(clf.network_.config.width)
    here, there = features_of(clf, rows), features_of(clf, moved)
    plain = clf.adapt(here).predict_proba(here)
    adapted = clf.adapt(there).predict_proba(there)
    assert np.abs(clf.predict_proba(there) - plain).mean() > 5 * np.abs(adapted - plain).mean()


def test_few_clips_move_little(clf):
    one, many = clf.adapt(CLIPS[:1]), clf.adapt(CLIPS[:1] * 50)
    ratio = one.adaptation_.offsets["L"] / many.adaptation_.offsets["L"]
    assert torch.allclose(ratio, torch.full_like(ratio, (1 / 5) / (50 / 54)), rtol=1e-3)
    assert one.adaptation_.n_clips == 1


def test_it_leaves_the_classifier_as_it_is_and_is_undone(clf):
    before = clf.predict_proba(CLIPS)
    adapted = clf.adapt(CLIPS)
    assert not np.allclose(adapted.predict_proba(CLIPS), before)
    assert clf.adaptation_ is None
    np.testing.assert_array_equal(clf.predict_proba(CLIPS), before)
    np.testing.assert_array_equal(adapted.adapt(None).predict_proba(CLIPS), before)


def test_it_holds_for_labels_that_come_later(clf):
    adapted = clf.adapt(CLIPS)
    labels = ["delighted", "mourning", "furious"]
    assert not np.allclose(
        adapted.with_labels(labels).predict_proba(CLIPS),
        clf.with_labels(labels).predict_proba(CLIPS),
    )


def test_it_is_saved_pickled_and_forgotten_by_clone_and_fit(clf, tmp_path):
    adapted = clf.adapt(CLIPS, prior={"happy": 1, "sad": 1, "angry": 1, "neutral": 5})
    wanted = adapted.predict_proba(CLIPS)
    adapted.save_pretrained(tmp_path / "model")
    again = EmotionClassifier.from_pretrained(tmp_path / "model")
    assert again.adaptation_.n_clips == len(CLIPS)
    np.testing.assert_allclose(again.predict_proba(CLIPS), wanted, atol=1e-6)
    lazy = EmotionClassifier(model=tmp_path / "model")
    np.testing.assert_allclose(lazy.predict_proba(CLIPS), wanted, atol=1e-6)
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(adapted)).predict_proba(CLIPS), wanted, atol=1e-6
    )
    assert clone(adapted).adaptation_ is None
    clf.save_pretrained(tmp_path / "plain")  # shares the network of the adapted one
    assert EmotionClassifier.from_pretrained(tmp_path / "plain").adaptation_ is None
    fitted = clone(clf).fit(CLIPS, ["happy", "sad", "angry", "neutral", "sad", "happy"])
    assert fitted.adaptation_ is None
    assert fitted.adapt(CLIPS).adaptation_ is not None


def test_a_prior_makes_labels_as_frequent_as_they_are_said(clf):
    shares = {"happy": 0.1, "sad": 0.2, "angry": 0.1, "neutral": 0.6}
    clips = CLIPS * 200
    adapted = clf.adapt(clips, prior=shares)
    found = adapted.predict_proba(clips).mean(0)
    np.testing.assert_allclose(found, [shares[name] for name in clf.classes_], atol=0.02)


def test_shares_are_met_and_without_them_labels_are_alike():
    logits = np.random.default_rng(0).normal([2, 0, 0], 2, (100_000, 3))
    names, known = ["a", "b", "c"], torch.zeros(1, 4)
    moved = logits - Adaptation({}, known, 10**9, {"a": 0.5, "b": 0.25, "c": 0.25}).label_shift(
        logits, names
    )
    share = (np.exp(moved) / np.exp(moved).sum(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(share, [0.5, 0.25, 0.25], atol=1e-3)
    moved = logits - Adaptation({}, known, 10**9).label_shift(logits, names)
    logs = moved - np.log(np.exp(moved).sum(1, keepdims=True))
    np.testing.assert_allclose(logs.mean(0), logs.mean(0)[0], atol=0.03)


@pytest.mark.parametrize(
    ("prior", "error"),
    [
        ({"happy": 1}, LabelError),
        ({"happy": 1, "sad": 1, "angry": 1, "bored": 1}, LabelError),
        ({"happy": -1, "sad": 1, "angry": 1, "neutral": 1}, InputError),
        ({"happy": 0, "sad": 0, "angry": 0, "neutral": 0}, InputError),
        ({"happy": float("nan"), "sad": 1, "angry": 1, "neutral": 1}, InputError),
    ],
)
def test_a_prior_that_cannot_be_used_is_refused(clf, prior, error):
    with pytest.raises(error, match="prior|share"):
        clf.adapt(CLIPS, prior=prior)


def test_a_prior_goes_with_clips_and_one_label_of_n(clf):
    with pytest.raises(InputError, match="give the clips"):
        clf.adapt(None, prior=dict.fromkeys(LABELS, 1))
    several = EmotionClassifier(LABELS, multi_label=True)
    with pytest.raises(InputError, match="multi_label"):
        several.adapt(CLIPS, prior=dict.fromkeys(LABELS, 1))


def test_there_is_something_to_adapt_to(clf, tmp_path):
    with pytest.raises(InputError):
        clf.adapt([])
    with pytest.raises(InputError, match="nothing to adapt to"):
        clf.adapt({"audio": Audio(hum(), rate=16000)})


def hum():
    time = np.arange(48000) / 16000
    return (0.3 * np.sin(2 * np.pi * 100 * time)).astype(np.float32)


def test_a_hum_is_no_speech_and_gets_no_sure_answer(clf):
    with pytest.warns(ModalityWarning, match="No speech was heard"):
        answer = clf(audio=Audio(hum(), rate=16000))
    assert "No speech was heard." in answer.warnings
    assert max(answer.values()) < 0.45  # of four labels
    assert answer.modalities_used == ("audio",)


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_noise_and_chords_are_no_speech(clf, seconds):
    random = np.random.default_rng(0)
    time = np.arange(round(16000 * seconds)) / 16000
    chord = sum(np.sin(2 * np.pi * f * time) for f in (261.6, 329.6, 392.0)) * np.exp(-time % 0.5)
    for sound in (0.05 * random.standard_normal(len(time)), 0.2 * chord):
        with pytest.warns(ModalityWarning):
            answer = clf(audio=Audio(sound.astype(np.float32), rate=16000))
        assert max(answer.values()) < 0.45


def test_beside_words_a_hum_has_no_say(clf):
    with pytest.warns(ModalityWarning, match="No speech was heard"):
        both = clf(audio=Audio(hum(), rate=16000), text=TEXTS[0])
    alone = clf(text=TEXTS[0])
    assert both.modalities_used == ("text",)
    assert dict(both) == pytest.approx(dict(alone), abs=1e-6)


def test_black_frames_show_no_face(clf):
    black = np.zeros((8, 240, 320, 3), np.uint8)
    with pytest.warns(ModalityWarning, match="No face was found in 8 frames"):
        answer = clf(video=black)
    assert max(answer.values()) < 0.45


def test_what_most_clips_of_a_fit_show_is_known_afterwards():
    # Who fits a classifier for applause and rain does not want to hear that nobody speaks.
    random = np.random.default_rng(0)
    noises = [random.standard_normal(32000) * 0.1 for _ in range(8)]
    tones = [np.sin(np.arange(32000) * (0.02 + 0.01 * n)) * 0.1 for n in range(8)]
    clips = [{"audio": Audio(s.astype(np.float32), rate=16000)} for s in noises + tones]
    y = ["noise"] * 8 + ["tone"] * 8
    with pytest.warns(ModalityWarning):
        EmotionClassifier(["noise", "tone"]).predict(clips[:1])
    fitted = EmotionClassifier(random_state=0).fit(clips, y)
    answer = fitted(clips[0])
    assert not answer.warnings and fitted.score(clips, y) == 1.0
