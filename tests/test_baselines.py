"""Baselines: exact values by hand, and what they do with clips that lack what they need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from media_files import tone, write_clip, write_video
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from conftest import make_clips
from merclip import Audio, Clip, Clips
from merclip.datasets import Dataset, LoadReport
from merclip.errors import InputError, LabelError, MediaNotFoundError, NotFittedError
from merclip.evaluation import supervised
from merclip.evaluation.baselines import (
    Concatenation,
    LateFusion,
    Majority,
    PlainClip,
    SoundStatistics,
    WordCounts,
    baselines_beside,
)
from merclip.evaluation.baselines.embeddings import global_embeddings
from merclip.evaluation.baselines.sound import BANDS, read_sound, statistics
from merclip.preprocess import ClipFeatures, Features
from merclip.preprocess.audio import log_mel

TEXTS = ["so glad", "so good", "glad I came", "how sad", "so sad I cry", "a sad day"]
Y = ["joy", "joy", "joy", "grief", "grief", "grief"]
GAIN = 20 * np.log10(2)
"""Decibels of twice the amplitude."""


def rows(texts):
    return [{"text": text} for text in texts]


def tones(n, *, rate=16000):
    """Return sounds that are low for "calm" and high for "tense"."""
    generator = np.random.default_rng(0)
    clips = []
    for index in range(n):
        wave = tone(0.4, rate, frequency=300 if index % 2 == 0 else 3000)[0]
        noise = 0.01 * generator.normal(size=len(wave))
        clips.append(Clip(audio=Audio((wave + noise).astype(np.float32), rate=rate)))
    return clips, ["calm", "tense"] * (n // 2)


def features_of(classifier, *sequences):
    """Return features with the given sequences, as the classifier's own encoders would."""
    origin = classifier.encode(rows(["a"])).origin
    return Features([ClipFeatures(parts) for parts in sequences], origin)


def unit(*values):
    vector = np.zeros(32, dtype=np.float32)
    vector[: len(values)] = values
    return torch.from_numpy(vector)


# Majority -----------------------------------------------------------------------


def test_majority_is_the_share_of_each_label():
    majority = Majority(["joy", "grief", "rage"]).fit(rows(TEXTS[:4]), Y[:4])
    assert majority.classes_.tolist() == ["grief", "joy", "rage"]
    assert majority.predict_proba(rows(["x", "y"])).tolist() == [[0.25, 0.75, 0.0]] * 2
    assert majority.predict(rows(["x"])).tolist() == ["joy"]


def test_majority_of_several_labels():
    y = [["joy", "awe"], ["joy"], [], ["joy"]]
    majority = Majority(multi_label=True).fit(rows("abcd"), y)
    assert majority.classes_.tolist() == ["awe", "joy"]
    assert majority.predict_proba(rows("a")).tolist() == [[0.25, 0.75]]
    assert majority.predict(rows("a")).tolist() == [[0, 1]]


def test_majority_takes_features_and_a_column_of_labels(tiny):
    encoded = tiny(["joy", "grief"]).encode(rows(TEXTS))
    assert Majority().fit(encoded, Y).predict_proba(encoded).tolist() == [[0.5, 0.5]] * 6
    labelled = [{"text": text, "label": label} for text, label in zip(TEXTS, Y, strict=True)]
    assert Majority().fit(labelled).prior_.tolist() == [0.5, 0.5]


# Without the decoder --------------------------------------------------------------


def test_plain_clip_is_what_an_untrained_model_does_without_typical_clips(tiny):
    clips, _ = make_clips(4)
    classifier = tiny(["happy", "angry"])
    encoded = classifier.encode(clips)
    plain = PlainClip(classifier)
    assert plain.classes_.tolist() == ["angry", "happy"]
    classifier._ready().engine._typical = {letter: torch.zeros(1) for letter in "LV"}
    assert plain.predict(encoded).tolist() == classifier.predict(encoded).tolist()


def test_plain_clip_by_hand(tiny):
    classifier = tiny(["happy", "angry"])
    angry, happy = _label_embeddings(classifier)
    network = classifier.network_
    network.fusion_trained = True  # contexts, which plain CLIP has not, would count from here on
    encoded = features_of(
        classifier,
        {"L": torch.stack([unit(5), 3 * happy])},  # the end token counts, whatever its length
        {"V": torch.stack([4 * angry, 4 * angry]), "A": 9 * happy[None]},
    )
    found = PlainClip(classifier).predict_proba(encoded)
    scale = network.scales.softmax.exp().item()
    cosine = float(angry @ happy)
    assert np.allclose(found[0], _softmax(scale * cosine, scale), atol=1e-5)
    assert np.allclose(found[1], _softmax(scale, scale * cosine), atol=1e-5)  # it heard nothing
    next(network.encoders["A"].parameters()).data += 1
    encoded = Features(encoded, classifier.encode([]).origin)
    found = PlainClip(classifier).predict_proba(encoded)
    assert np.allclose(found[1], [0.5, 0.5], atol=1e-5)


def test_plain_clip_with_several_labels(tiny):
    classifier = tiny(["happy", "angry"], multi_label=True)
    _, happy = _label_embeddings(classifier)
    found = PlainClip(classifier).predict_proba(features_of(classifier, {"L": happy[None]}))
    assert found[0, 1] == pytest.approx(1 / (1 + np.exp(-(10 - 5))), abs=1e-5)


def test_plain_clip_needs_a_label_encoder(tiny):
    classifier = tiny(["happy", "angry"], network={"use_label_encoder": False})
    with pytest.raises(LabelError, match="without a label encoder"):
        PlainClip(classifier).predict_proba(rows(["a"]))


def test_late_fusion_is_the_mean_of_each_modality_alone(tiny):
    clips, y = make_clips(8)
    classifier = tiny(epochs=1).fit(clips, y)
    late = LateFusion(classifier).fit(clips, y)
    found = late.predict_proba(clips[:2])
    parts = [
        [Clip(text=clip.text) for clip in clips[:2]],
        [Clip(video=clip.video) for clip in clips[:2]],
        [Clip(audio=clip.audio) for clip in clips[:2]],
    ]
    expected = np.mean([classifier.predict_proba(part) for part in parts], axis=0)
    assert np.allclose(found, expected, atol=1e-6)
    assert np.allclose(late.predict_proba(parts[0]), classifier.predict_proba(parts[0]), atol=1e-6)


def test_a_clip_that_cannot_be_read_gets_the_prior(tiny):
    classifier = tiny(["joy", "grief"], on_error="skip")
    bad = [*rows(TEXTS[:1]), {"video": "missing.mp4"}]
    assert LateFusion(classifier).predict_proba(bad)[1].tolist() == [0.5, 0.5]
    learned = Concatenation(classifier).fit(rows(TEXTS[:4]), Y[:4])
    assert learned.predict_proba(bad)[1].tolist() == [0.25, 0.75]
    assert len(learned.predict(bad)) == 2


def test_global_embeddings_by_hand(tiny):
    classifier = tiny(["joy", "grief"])
    encoded = features_of(
        classifier,
        {"L": torch.stack([unit(1), unit(0, 2)]), "V": torch.stack([unit(3), unit(0, 3)])},
        {"A": unit(0, 0, 7)[None]},
    )
    found = global_embeddings(classifier.network_, encoded)
    assert list(found) == ["A", "L", "V"]
    assert np.allclose(found["L"], [unit(0, 1), unit()])
    assert np.allclose(found["V"], [unit(0.5**0.5, 0.5**0.5), unit()])
    assert np.allclose(found["A"], [unit(), unit(0, 0, 1)])


def test_features_of_other_encoders_are_refused(tiny):
    clips, y = make_clips(4)
    encoded = tiny(["happy", "angry"]).encode(clips)
    other = tiny(["happy", "angry"], random_state=1)
    for baseline in (PlainClip(other), LateFusion(other), Concatenation(other)):
        with pytest.raises(InputError, match="made by another model"):
            baseline.fit(encoded, y)
    assert PlainClip(other).takes_features
    assert not PlainClip(tiny(["happy", "angry"], tune="full")).takes_features


def test_concatenation_is_logistic_regression_on_global_embeddings(tiny):
    clips, y = make_clips(12)
    classifier = tiny(["happy", "angry"])
    encoded = classifier.encode(clips)
    found = Concatenation(classifier).fit(encoded[:8], y[:8]).predict_proba(encoded[8:])
    values = np.hstack(list(global_embeddings(classifier.network_, encoded).values()))
    scaler = StandardScaler().fit(values[:8])
    line = LogisticRegression(max_iter=1000).fit(scaler.transform(values[:8]), y[:8])
    assert np.allclose(found, line.predict_proba(scaler.transform(values[8:])), atol=1e-6)
    assert Concatenation(classifier).fit(clips[:8], y[:8]).predict(clips[8:]).tolist() == y[8:]


# Text alone -----------------------------------------------------------------------


def test_words_are_scikit_learns_by_hand():
    found = WordCounts().fit(rows(TEXTS), Y).predict_proba(rows(["glad", "sad"]))
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\b\w+\b")
    line = LogisticRegression(max_iter=1000).fit(counts.fit_transform(TEXTS), Y)
    assert np.allclose(found, line.predict_proba(counts.transform(["glad", "sad"])))
    assert found[0, 1] > 0.5 > found[1, 1]


@pytest.mark.parametrize("wordless", [{"text": " "}, {"text": "?!"}, {"audio": (np.ones(9), 9)}])
def test_a_clip_without_a_word_gets_the_prior(wordless):
    words = WordCounts().fit([*rows(TEXTS), wordless, wordless], [*Y, "joy", "joy"])
    assert words.prior_.tolist() == [3 / 8, 5 / 8]
    assert words.predict_proba([wordless]).tolist() == [[3 / 8, 5 / 8]]
    assert words.predict_proba(rows(["sad"]))[0, 0] > 0.5


def test_words_of_several_labels_are_one_against_the_rest():
    y = [["joy", "all"], ["joy", "all"], ["joy", "all"], ["all"], ["all"], ["all", "grief"]]
    words = WordCounts(["joy", "grief", "all", "none"], multi_label=True).fit(rows(TEXTS), y)
    found = words.predict_proba(rows(["glad", "sad"]))
    assert words.classes_.tolist() == ["all", "grief", "joy", "none"]
    assert found[:, 0].tolist() == [1, 1] and found[:, 3].tolist() == [0, 0]
    alone = WordCounts(["joy"], multi_label=True).fit(rows(TEXTS), [[*set(n) & {"joy"}] for n in y])
    assert np.allclose(alone.predict_proba(rows(["glad", "sad"]))[:, 0], found[:, 2])


def test_a_class_without_words_is_never_said():
    clips, y = [*rows(TEXTS), {"text": "..."}], [*Y, "awe"]
    words = WordCounts().fit(clips, y)
    assert words.classes_.tolist() == ["awe", "grief", "joy"]
    assert words.predict_proba(rows(["glad"]))[0, 0] == 0
    nothing = WordCounts().fit(rows(["so glad", "...", "..."]), ["joy", "awe", "awe"])
    assert nothing.predict_proba(rows(["so glad"])).tolist() == [[2 / 3, 1 / 3]]


# Sound alone ----------------------------------------------------------------------


def test_statistics_by_hand():
    sound = np.random.default_rng(0).normal(size=8000).astype(np.float32) * 0.1
    bands = log_mel(torch.from_numpy(sound)[None], BANDS)[0].double().numpy()
    found = statistics(sound).reshape(5, 40)
    assert np.allclose(found[0], bands.mean(axis=0)) and np.allclose(found[1], bands.std(axis=0))
    assert np.allclose(found[2:], np.quantile(bands, [0.1, 0.5, 0.9], axis=0))
    louder = statistics(sound * 2).reshape(5, 40)
    assert np.allclose(louder - found, np.array([[1], [0], [1], [1], [1]]) * GAIN, atol=1e-4)


def test_statistics_of_a_sound_shorter_than_a_window():
    assert np.isfinite(statistics(np.full(3, 0.5, np.float32))).all()


def test_sound_is_told_apart():
    clips, y = tones(12)
    sound = SoundStatistics().fit(clips[:8], y[:8])
    assert sound.predict(clips[8:]).tolist() == y[8:]
    encoded = sound.encode(clips)
    assert encoded.shape == (12, 200)
    again = SoundStatistics().fit(encoded[:8], y[:8])
    assert np.array_equal(again.predict_proba(encoded[8:]), sound.predict_proba(clips[8:]))


@pytest.mark.parametrize("n", [2, 3, 20])
def test_probabilities_of_any_number_of_clips(n):
    clips, y = tones(20)
    found = SoundStatistics().fit(clips[:n], y[:n]).predict_proba(clips[:n])
    assert np.allclose(found.sum(axis=1), 1)
    assert found.argmax(axis=1).tolist() == [0, 1] * (n // 2) + [0] * (n % 2)


def test_sound_of_several_labels():
    clips, y = tones(8)
    sets = [["high"] if label == "tense" else [] for label in y]
    sound = SoundStatistics(["high", "odd"], multi_label=True).fit(clips, sets)
    assert sound.predict(clips).tolist() == [[int(bool(names)), 0] for names in sets]


def test_a_clip_that_is_silent_or_has_no_sound_gets_the_prior(tmp_path):
    clips, y = tones(6)
    silent = Clip(audio=Audio(np.zeros(9000, np.float32), rate=16000))
    mute = Clip(video=write_video(str(tmp_path / "mute.mp4"), n=5))
    sound = SoundStatistics().fit([*clips, silent, mute], [*y, "calm", "calm"])
    assert sound.predict_proba([silent, mute, Clip(text="a")]).tolist() == [[5 / 8, 3 / 8]] * 3


def test_a_video_brings_its_own_sound(tmp_path):
    path = write_clip(
        str(tmp_path / "clip.mp4"), video={"n": 25}, sound={"samples": tone(1, 44100)}
    )
    assert len(read_sound(Clip(video=path))) == pytest.approx(16000, abs=1500)
    assert len(read_sound(Clip(video=path, start=0.5))) == pytest.approx(8000, abs=1500)
    assert read_sound(Clip(video=path), use_video_audio=False) is None
    assert read_sound(Clip()) is None
    with pytest.raises(MediaNotFoundError):
        SoundStatistics().fit([{"audio": str(tmp_path / "none.wav")}], ["calm"])


# All together ---------------------------------------------------------------------


def test_all_baselines_beside_a_classifier(tiny):
    clips, y = make_clips(12)
    classifier = tiny(["happy", "angry"])
    encoded = classifier.encode(clips)
    found = baselines_beside(classifier)
    assert list(found) == [
        "majority",
        "no fusion (mean)",
        "late fusion",
        "concat + linear",
        "TF-IDF (text)",
        "mel SVM (sound)",
    ]
    for name, baseline in found.items():
        given = encoded if name in ("no fusion (mean)", "late fusion", "concat + linear") else clips
        probability = baseline.fit(given[:8], y[:8]).predict_proba(given[8:])
        assert probability.shape == (4, 2) and np.allclose(probability.sum(axis=1), 1)
        assert baseline.classes_.tolist() == ["angry", "happy"]
        if name not in ("majority", "no fusion (mean)", "late fusion"):
            assert baseline.predict(given[8:]).tolist() == y[8:]


def test_each_training_of_encoders_has_its_own_baselines(tiny):
    clips, y = make_clips(8)
    parts = np.array(["train"] * 6 + ["test"] * 2)
    report = LoadReport("own", "-", 8, 8, ())
    data = Dataset("own", Clips(clips), np.array(y), ("angry", "happy"), None, parts, report)
    classifier = tiny(epochs=1, tune="full", lr=1e-2)
    found = supervised(classifier, data, seeds=(0, 1), baselines=baselines_beside)
    one, two = (run.probability for run in found["late fusion"].runs)
    assert not np.allclose(one, two)


def test_baselines_follow_the_network(tiny):
    network = {"fusion": "L", "use_label_encoder": False}
    found = baselines_beside(tiny(["a", "b"], network=network))
    assert list(found) == ["majority", "late fusion", "concat + linear", "TF-IDF (text)"]


def test_baselines_can_be_cloned():
    sound = clone(SoundStatistics(["a", "b"], use_video_audio=False))
    assert sound.get_params() == {
        "labels": ["a", "b"],
        "multi_label": False,
        "use_video_audio": False,
    }


@pytest.mark.parametrize(
    ("labels", "y", "error", "said"),
    [
        (None, Y[:5], InputError, "6 clips to learn from and 5"),
        (None, None, InputError, "Give y"),
        (None, "joy", LabelError, "single string"),
        (["joy", "rage"], Y, LabelError, "'grief'"),
        (None, [None] * 6, LabelError, "None"),
    ],
)
@pytest.mark.parametrize("kind", [Majority, WordCounts])
def test_bad_input(kind, labels, y, error, said):
    with pytest.raises(error, match=said):
        kind(labels).fit(rows(TEXTS), y)


def test_nothing_to_learn_from_or_learned():
    with pytest.raises(InputError, match="0 clips"):
        Majority().fit([], [])
    for baseline in (Majority(), WordCounts(), SoundStatistics()):
        with pytest.raises(NotFittedError, match="call fit"):
            baseline.predict(rows(["a"]))


@pytest.mark.parametrize("kind", [WordCounts, SoundStatistics])
def test_features_hold_neither_words_nor_sound(tiny, kind):
    encoded = tiny(["joy", "grief"]).encode(rows(TEXTS))
    with pytest.raises(InputError, match="Features hold neither"):
        kind().fit(encoded, Y)


def _label_embeddings(classifier):
    from merclip.engine import embed_labels, label_tokens

    tokens = label_tokens(classifier.labels_, ["{}"], 69)
    with torch.inference_mode():
        return functional.normalize(embed_labels(classifier.network_, tokens), dim=-1).clone()


def _softmax(*logits):
    shifted = np.exp(np.array(logits) - max(logits))
    return shifted / shifted.sum()
