"""The embedded model: real, offline, and ready with any labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import merclip
from merclip import EmotionClassifier
from merclip.hub import card_licence
from merclip.hub.models import MINI, MINI_LINEAGE, WEIGHTS_DIRECTORY
from merclip.preprocess.text import known_share, tokenize

ROOT = Path(__file__).parents[1]
HAPPY, ANGRY = (str(ROOT / "examples" / f"{name}.mp4") for name in ("happy", "angry"))
LABELS = ["happy", "sad", "angry"]


@pytest.fixture(scope="module")
def mini():
    return EmotionClassifier(LABELS)


def test_it_names_the_emotion_of_the_clips_that_we_ship(mini):
    said = ["Oh wow! I'm so happy to see you!", "You never listen to me! Stop it!"]
    assert mini.predict([HAPPY, ANGRY], text=said).tolist() == ["happy", "angry"]


def test_it_names_the_emotion_of_drawn_faces():
    faces = EmotionClassifier(LABELS, use_video_audio=False)
    assert faces.predict([HAPPY, ANGRY]).tolist() == ["happy", "angry"]
    assert faces(HAPPY).modalities_used == ("video",)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I am so happy, what a wonderful day!", "happy"),
        ("I miss her so much, I could cry.", "sad"),
        ("I hate you! Get out of here, now!", "angry"),
    ],
)
def test_it_understands_plain_sentences(mini, text, label):
    assert mini(text=text).label == label


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("I can't believe you did that, I'm so happy for you!", True),
        ("omg lol im sooo tired rn, gonna sleep now \U0001f634", True),
        ("Warum hast du mir nichts davon gesagt?", False),
        ("Jestem dzisiaj bardzo zmęczony i chcę tylko spać.", False),
        ("Non me lo sarei mai aspettato.", False),
        ("Yarın trenle Ankara'ya gidiyoruz.", False),
        ("ksjdhf lskdjf owieur qpwoe", False),
    ],
)
def test_it_knows_english_words_and_no_others(mini, text, known):
    learned = mini.network_.encoders["L"].tower.token_embedding.learned
    assert (known_share(tokenize(text).ids, learned) > 0.5) == known


def test_labels_can_be_sentences_that_it_never_saw(mini):
    described = mini.with_labels(
        {
            "good": ["This person is delighted and smiling.", "A feeling of great pleasure."],
            "bad": ["This person is furious and shouting.", "A feeling of hostility."],
        }
    )
    assert described.predict([HAPPY, ANGRY]).tolist() == ["good", "bad"]


def test_every_combination_of_modalities_gives_probabilities(mini):
    text = "Oh wow! I'm so happy to see you!"
    for parts in (
        {"video": HAPPY},
        {"audio": HAPPY},
        {"text": text},
        {"video": HAPPY, "text": text},
        {"audio": HAPPY, "text": text},
    ):
        scores = mini(**parts)
        assert sum(scores.values()) == pytest.approx(1)
        assert np.isfinite(list(scores.values())).all()


def test_it_says_what_it_used_and_whether_scores_are_calibrated(mini):
    assert mini(HAPPY).modalities_used == ("video", "audio")
    assert not mini(HAPPY).calibrated
    assert EmotionClassifier()(HAPPY).calibrated


def test_its_own_labels_are_used_when_none_are_given():
    classifier = EmotionClassifier()
    assert len(classifier.classes_) == 8
    assert classifier.predict(text="I am so happy, what a wonderful day!").tolist() == ["happy"]


def test_several_labels_have_scores_of_their_own():
    classifier = EmotionClassifier(LABELS, multi_label=True)
    scores = classifier.predict_proba(text="I am so happy, what a wonderful day!")[0]
    assert classifier.classes_[scores.argmax()] == "happy"
    assert ((scores >= 0) & (scores <= 1)).all()


def test_batches_of_1_and_8_give_the_same_scores(mini):
    rows = [{"video": HAPPY}, {"video": ANGRY, "text": "Stop it!"}, {"text": "oh"}] * 3
    one, eight = (EmotionClassifier(LABELS, batch_size=size).predict_proba(rows) for size in (1, 8))
    np.testing.assert_allclose(one, eight, atol=1e-4)


def test_it_needs_no_network():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
        "from merclip import EmotionClassifier\n"
        "print(EmotionClassifier(['happy', 'sad']).predict(text='I am so happy')[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["happy"]


def test_a_few_examples_teach_new_labels():
    greetings = ["hello there", "good morning", "hi, how are you", "welcome", "hey you"]
    partings = ["goodbye", "see you tomorrow", "farewell", "good night", "so long"]
    rows = [{"text": text} for text in greetings + partings]
    y = ["greeting"] * 5 + ["parting"] * 5
    classifier = EmotionClassifier(validation=0.0, batch_size=4, epochs=40, random_state=0).fit(
        rows, y
    )
    assert classifier.score(rows, y) == 1


def test_the_card_names_licence_data_and_limits():
    card = (Path(merclip.__file__).parent / "weights" / "mini" / "README.md").read_text()
    assert "license: cc-by-nc-sa-4.0" in card
    for word in ("RAVDESS", "EmoDB", "FER2013", "GoEmotions", "MELD", "must not"):
        assert word in card


def test_the_package_stays_small():
    directory = Path(merclip.__file__).parent / "weights" / "mini"
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 50e6
    config = json.loads((directory / "config.json").read_text())
    assert config["format_version"] == 4


def test_its_licence_is_that_of_its_card():
    assert MINI_LINEAGE["license"] == card_licence(WEIGHTS_DIRECTORY / MINI)
