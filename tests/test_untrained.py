"""Answers before any fit: of CLIP's own embeddings, and of several labels at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from merclip import EmotionClassifier, Features
from merclip.preprocess import ClipFeatures
from merclip.scoring import ZERO_SHOT_THRESHOLD
from merclip.typical import LABELS as TYPICAL_LABELS
from merclip.typical import typical_clips

LABELS = ["angry", "happy", "neutral", "sad"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:This model's fusion is not trained yet"),
    pytest.mark.filterwarnings("ignore:.*does not take audio"),
]
TEXTS = ["what a lovely day", "I hate this", "He died.", "It is ten o'clock.", "Who is there?"]


# CLIP's own embeddings ------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["L", "V"])
def test_no_label_is_ahead_for_typical_clips(tiny, letter):
    clf = tiny(LABELS)
    logits = clf.decision_function(typical_clips(letter))
    np.testing.assert_allclose(logits.mean(axis=0), logits.mean(), atol=1e-4)
    assert np.abs(logits).max() > 1e-3


def test_there_are_as_many_typical_clips_of_each_kind():
    kinds = len(TYPICAL_LABELS)
    assert kinds == len(typical_clips("V")) == len(typical_clips("L")) / 3
    pictures = np.stack([clip.video.frames for clip in typical_clips("V")])
    assert pictures.shape == (kinds, 1, 48, 48, 3) and pictures.std() > 10


def test_a_score_does_not_depend_on_other_clips_or_the_batch(tiny, clips_and_labels):
    clips, _ = clips_and_labels
    together = tiny(LABELS, batch_size=5).decision_function(clips)
    alone = np.concatenate([tiny(LABELS).decision_function([clip]) for clip in clips[:3]])
    np.testing.assert_allclose(alone, together[:3], atol=1e-4)


def far_apart(embeddings: Tensor, letter: str, lean: Tensor) -> list[ClipFeatures]:
    """Return clips whose embeddings share a direction with all of a modality, as CLIP's do."""
    rows = functional.normalize(embeddings + lean, dim=-1)
    return [ClipFeatures({letter: row[None]}) for row in rows]


def test_texts_and_pictures_far_from_labels_and_from_each_other(tiny, monkeypatch):
    """Cosines of made embeddings: about 0.8 between texts, 0.2 of pictures with labels.

    Each label leans to a direction that all clips of a modality have in common, which is
    larger than what tells clips apart. Typical clips have it too.
    """
    clf = tiny(LABELS)
    network, engine, n = clf.network_, clf._ready().engine, len(LABELS)
    network.scales.softmax.data.fill_(np.log(100))  # CLIP's own
    random = torch.Generator().manual_seed(0)
    eye = torch.eye(network.config.width)
    labels = functional.normalize(
        0.5 * eye[:n] + 2.0 * eye[n] + torch.tensor([[0.9], [0.3], [0.0], [0.0]]) * eye[n + 1],
        dim=-1,
    )
    truth = torch.arange(n).repeat(25)
    lean = {"L": 2.0 * eye[n] + 0.8 * eye[n + 1], "V": 0.4 * eye[n] + 1.5 * eye[n + 1]}

    def clips(letter, which):
        noise = 0.05 * torch.randn(len(which), network.config.width, generator=random)
        return far_apart(0.5 * eye[which] + noise, letter, lean[letter])

    features = {letter: clips(letter, truth) for letter in "LV"}
    texts = torch.cat([clip.sequences["L"] for clip in features["L"]])
    pictures = torch.cat([clip.sequences["V"] for clip in features["V"]])
    assert 0.7 < (texts @ labels.T).mean() < 0.95
    assert (texts @ labels.T).mean() - (pictures @ labels.T).mean() > 0.2
    typical = clips("L", truth[:8]), clips("V", truth[:8])
    engine._typical = {
        letter: torch.cat([clip.sequences[letter] for clip in found]).mean(dim=0)
        for letter, found in zip("LV", typical, strict=True)
    }
    pairs = [
        ClipFeatures(text.sequences | picture.sequences)
        for text, picture in zip(features["L"], features["V"], strict=True)
    ]

    # The typical labels are these: what a label has in common with them is what it leans to.
    monkeypatch.setattr(engine, "label_embeddings", lambda *_: labels)

    def right(found):
        given = Features(found, clf.encode([]).origin)
        one = clf.set_params(multi_label=False).predict(given) == clf.classes_[truth.numpy()]
        several = clf.set_params(multi_label=True, threshold=0.5).predict(given)
        return one.mean(), (several == functional.one_hot(truth, n).numpy()).all(axis=1).mean()

    for found in (features["L"], features["V"], pairs):
        one, several = right(found)
        assert one == 1 and several > 0.9
    engine._typical = {"L": torch.zeros(1), "V": torch.zeros(1)}
    assert max(right(features["V"])) < 0.6


@pytest.mark.parametrize("letter", ["L", "V"])
def test_several_labels_are_neither_all_nor_none(tiny, letter, clips_and_labels):
    clips, _ = clips_and_labels
    clf = tiny(LABELS, multi_label=True, use_video_audio=False)
    assert clf.threshold_.tolist() == [ZERO_SHOT_THRESHOLD] * 4
    # Among typical clips, and among typical labels, one is as good as six others.
    logits = clf.decision_function(typical_clips(letter))
    np.testing.assert_allclose(logits.mean(axis=0), -np.log(7), atol=1e-4)
    clf = clf.with_labels(TYPICAL_LABELS)
    given = [*clips, *({"text": text} for text in TEXTS)]
    logits = clf.decision_function(given)
    np.testing.assert_allclose(logits.mean(axis=1), -np.log(7), atol=1e-4)
    one_of_n = clf.set_params(multi_label=False).decision_function(given)
    np.testing.assert_allclose(one_of_n, logits + np.log(7), atol=1e-4)


def test_what_is_trained_compares_as_it_learned(tiny, clips_and_labels):
    clips, y = clips_and_labels
    clf = tiny(epochs=1).fit(clips, y)
    fused = clf._ready().engine.fused(clf.encode(clips))
    torch.testing.assert_close(fused.norm(dim=1), torch.ones(len(clips)))
    assert clf._ready().engine._typical is None


# Thresholds of several labels -----------------------------------------------------------


def test_a_threshold_before_any_fit_and_after(tiny, clips_and_labels, tmp_path):
    clips, y = clips_and_labels
    mini = EmotionClassifier(LABELS, multi_label=True)
    assert mini.threshold_.tolist() == [ZERO_SHOT_THRESHOLD] * 4
    mini.set_params(threshold={"sad": 0.7})
    assert mini.threshold_.tolist() == [ZERO_SHOT_THRESHOLD] * 3 + [0.7]
    sets = [[label] for label in y]
    fitted = tiny(multi_label=True, epochs=1, validation=0.0).fit(clips, sets)
    assert fitted.threshold_.tolist() == [0.5] * 2
    saved = fitted.save_pretrained(tmp_path / "fitted")
    again = EmotionClassifier(["glad", "cross"], model=saved, multi_label=True)
    assert again.threshold_.tolist() == [0.5] * 2


def test_zero_shot_answers_of_mini_to_several_labels():
    clf = EmotionClassifier(["happy", "sad", "angry", "fearful", "surprised"], multi_label=True)
    found = clf(text=["I love it, what a wonderful day!", "My dog died, I can't stop crying."])
    assert [answer.label for answer in found] == ["happy", "sad"]
    assert all(1 <= len(answer.labels) <= 2 for answer in found)


def test_without_training_the_threshold_is_tuned_and_no_weight_changes(tiny, clips_and_labels):
    clips, y = clips_and_labels
    sets = [[label] for label in y]
    for clf in (tiny(LABELS, multi_label=True), tiny(multi_label=True, epochs=8).fit(clips, sets)):
        clf.set_params(tune="none", warm_start=True)
        features = clf.encode(clips)
        before = {name: value.clone() for name, value in clf.network_.state_dict().items()}
        clf.fit(features, sets)
        probability, truth = (
            clf.predict_proba(features),
            np.array([[c in s for c in clf.classes_] for s in sets]),
        )
        best = max(
            (2 * (truth & held).sum() / (truth.sum() + held.sum()), held.sum())
            for t in np.arange(1, 20) / 20
            for held in [probability >= t]
        )
        found = clf.predict(features).astype(bool)
        f1 = 2 * (truth & found).sum() / (truth.sum() + found.sum())
        assert f1 == pytest.approx(best[0])
        assert len(set(clf.threshold_.tolist())) == 1
        assert all(torch.equal(before[k], v) for k, v in clf.network_.state_dict().items())


def test_a_tuned_threshold_is_saved(tiny, clips_and_labels, tmp_path):
    clips, y = clips_and_labels
    clf = tiny(LABELS, multi_label=True, tune="none").fit(clips, [[label] for label in y])
    clf._ready().fitted_threshold = 0.15
    saved = clf.save_pretrained(tmp_path / "tuned")
    named = clf.set_params(threshold={"sad": 0.7}).save_pretrained(tmp_path / "named")
    loaded = EmotionClassifier.from_pretrained(named)
    assert loaded.threshold_.tolist() == [0.15] * 3 + [0.7]
    for loaded in (
        EmotionClassifier.from_pretrained(saved),
        EmotionClassifier(LABELS, model=saved, multi_label=True),
    ):
        assert loaded.threshold_.tolist() == [0.15] * 4
