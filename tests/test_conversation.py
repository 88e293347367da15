"""ConversationClassifier and Dialogue: learning, answering, streaming, saving, bad input."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import f1_score, precision_score

from merclip import (
    Callback,
    Clip,
    ConversationClassifier,
    Dialogue,
    EmotionClassifier,
    errors,
)
from merclip.datasets import load_iemocap, load_meld
from merclip.training import DialogueSettings, VegaObjective
from merclip.training.dialogues import (
    EncodedDialogue,
    _batches,
    weights_of_classes,
    zero_dimensions,
)

SMALL = replace(
    DialogueSettings.of("practical"),
    hidden=16,
    heads=2,
    epochs=12,
    batch_size=4,
    lr=1e-2,
    zeroed=0.0,
    dropout=0.0,
    classifier_dropout=0.0,
    projection_dropout=0.0,
)
QUICK = replace(SMALL, epochs=2)


def make_dialogues(n=24, seed=0, modalities=("text", "audio")):
    """Return dialogues in which each utterance's emotion is told by the one before it."""
    generator = np.random.default_rng(seed)
    found = []
    for index in range(n):
        length = int(generator.integers(3, 7))
        marks = generator.integers(0, 2, length)
        labels = ["calm", *("joy" if mark else "rage" for mark in marks[:-1])]
        features = {
            name: np.eye(2)[marks] + 0.05 * generator.normal(size=(length, 2))
            for name in modalities
        }
        speakers = [("ana", "ben")[turn % 2] for turn in range(length)]
        found.append(Dialogue(features, speakers, labels, name=f"talk{index}"))
    return found


def make_classifier(**changed):
    values = {"model": None, "settings": SMALL, "validation": 0.0, "random_state": 0}
    return ConversationClassifier(**{**values, **changed})


@pytest.fixture(scope="module")
def fitted():
    return make_classifier(causal=True).fit(make_dialogues())


def test_it_learns_what_only_context_tells(fitted):
    test = make_dialogues(10, seed=1)
    assert fitted.score(test, metric="weighted_f1") > 0.9
    alone = make_classifier(context=False, settings=replace(SMALL, epochs=6)).fit(make_dialogues())
    assert alone.score(test, metric="weighted_f1") < 0.8


def test_shapes_and_containers(fitted):
    talks = make_dialogues(3, seed=2)
    one, several = fitted.predict(talks[0]), fitted.predict(talks)
    assert one.shape == (len(talks[0]),) and isinstance(several, list)
    assert [row.tolist() for row in several] == [fitted.predict(talk).tolist() for talk in talks]
    for talk, rows in zip(talks, fitted.predict_proba(talks), strict=True):
        assert rows.shape == (len(talk), 3)
        assert np.allclose(rows.sum(axis=1), 1)
        assert np.allclose(rows, fitted.predict_proba(talk), atol=1e-6)
    assert fitted.classes_.tolist() == ["calm", "joy", "rage"]
    assert fitted.modalities_ == ("text", "audio")


def test_a_stream_says_what_predict_says_of_what_was_said_so_far(fitted):
    talk = make_dialogues(1, seed=3)[0]
    stream = fitted.stream()
    said = [
        stream.hear({"text": turn.utterances["L"], "audio": turn.utterances["A"]}, turn.speakers[0])
        for turn in (talk[n : n + 1] for n in range(len(talk)))
    ]
    assert [prediction.label for prediction in said] == fitted.predict(talk).tolist()
    scores = [[prediction[name] for name in fitted.classes_] for prediction in said]
    assert np.allclose(scores, fitted.predict_proba(talk), atol=1e-6)
    for n in range(1, len(talk)):
        assert np.allclose(
            fitted.predict_proba(talk[:n]), fitted.predict_proba(talk)[:n], atol=1e-6
        )


def test_a_stream_forgets_the_oldest(fitted):
    stream = fitted.stream(memory=2)
    rows = {"text": np.ones((1, 2)), "audio": np.ones((1, 2))}
    for _ in range(5):
        stream.hear(rows, "ana")
    assert len(stream) == 2
    with pytest.raises(errors.InputError, match="one utterance"):
        stream.hear({name: np.ones((2, 2)) for name in rows}, "ana")
    with pytest.raises(errors.InputError, match="memory"):
        fitted.stream(memory=0)


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_a_fit_that_diverges_says_so_and_leaves_nothing_to_save(validation, epochs, tmp_path):
    settings = replace(QUICK, epochs=epochs, lr=1e30)
    classifier = make_classifier(settings=settings, validation=validation)
    with pytest.raises(errors.DivergenceError, match=r"is (nan|inf) in epoch .* lr=1e\+30"):
        classifier.fit(make_dialogues(6))
    with pytest.raises(errors.NotFittedError):
        classifier.save_pretrained(tmp_path / "model")


def test_held_out_dialogues_without_labels_measure_nothing():
    talks = make_dialogues(4)
    silent = [talk.with_labels([None] * len(talk)) for talk in make_dialogues(2, seed=1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier = make_classifier(settings=QUICK).fit(talks, held_out=silent)
    assert all(record["val_loss"] is None for record in classifier.history_)


def test_random_state_repeats_and_leaves_torchs_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    talks = make_dialogues(6)
    first, second = (make_classifier(settings=QUICK).fit(talks) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(first.predict_proba(talks[0]), second.predict_proba(talks[0]))
    other = make_classifier(settings=QUICK, random_state=1).fit(talks)
    assert not np.array_equal(first.predict_proba(talks[0]), other.predict_proba(talks[0]))


def test_y_beside_x_and_utterances_without_label():
    talks = make_dialogues(8)
    y = [[*talk.labels[:-1], None] for talk in talks]
    clf = make_classifier(settings=QUICK).fit([talk.with_labels(None) for talk in talks], y)
    again = make_classifier(settings=QUICK).fit(
        [talk.with_labels(row) for talk, row in zip(talks, y, strict=True)]
    )
    assert np.array_equal(clf.predict_proba(talks[0]), again.predict_proba(talks[0]))
    report = clf.evaluate(talks, y)
    assert report.n_clips == sum(len(talk) - 1 for talk in talks)


def test_measures_have_their_own_names(fitted):
    talks = make_dialogues(6, seed=4)
    truth = np.concatenate([talk.labels for talk in talks])
    said = np.concatenate(fitted.predict(talks))
    shared = {"average": "weighted", "zero_division": 0}
    assert fitted.score(talks) == pytest.approx(np.mean(truth == said))
    assert fitted.score(talks, metric="weighted_f1") == pytest.approx(
        f1_score(truth, said, **shared)
    )
    precision = precision_score(truth, said, **shared)
    assert fitted.score(talks, metric="weighted_precision") == pytest.approx(precision)
    assert "weighted precision" in fitted.evaluate(talks).to_markdown()
    with pytest.raises(errors.InputError, match="weighted_f1"):
        fitted.score(talks, metric="f1")


def test_the_best_epoch_is_of_held_out_dialogues_and_patience_ends_training():
    talks, other = make_dialogues(8), make_dialogues(4, seed=9)
    clf = make_classifier(settings=replace(SMALL, epochs=12, patience=2)).fit(talks, held_out=other)
    scores = [line["val_score"] for line in clf.history_]
    assert max(scores) == pytest.approx(clf.score(other, metric="weighted_f1"))
    assert len(scores) == 12 or len(scores) - 1 - int(np.argmax(scores)) == 2
    shared = make_classifier(settings=QUICK, validation=0.25).fit(talks)
    assert shared.history_[0]["val_score"] is not None


def test_callbacks_run_and_can_stop():
    class Once(Callback):
        def on_epoch_end(self, trainer, record):
            trainer.stop = record["epoch"] == 1

    clf = make_classifier(callbacks=[Once()]).fit(make_dialogues(4))
    assert len(clf.history_) == 2


def test_class_weights_count_training_alone_unless_told():
    part = [EncodedDialogue({}, torch.zeros(3), torch.tensor([0, 0, 1]))]
    other = [EncodedDialogue({}, torch.zeros(4), torch.tensor([1, 1, 1, -1]))]
    settings = DialogueSettings.of("vega")
    classes = np.array(["a", "b"])
    assert weights_of_classes(settings, classes, part, other).tolist() == [1, 2]
    leaking = replace(settings, count_held_out=True)
    assert weights_of_classes(leaking, classes, part, other).tolist() == [2, 1]


def test_zeroed_dimensions_are_the_same_for_a_dialogue_and_nothing_is_rescaled():
    torch.manual_seed(0)
    features = torch.full((3, 4, 20), 2.0)
    found = zero_dimensions(features, 0.1, torch.zeros(20))
    assert ((found == 0).sum(dim=2) == 2).all() and set(found.unique().tolist()) == {0.0, 2.0}
    assert (found[:, :1] == found).all()
    assert len({tuple((row[0] == 0).nonzero().flatten().tolist()) for row in found}) > 1
    missing = torch.zeros(1, 1, 20)
    assert not zero_dimensions(missing, 0.5, torch.ones(20)).any()


def test_every_dialogue_is_in_one_batch_an_epoch():
    batches = _batches([3, 9, 1, 4, 4, 2, 8], replace(SMALL, batch_size=3), 0, 1)
    assert sorted(row for batch in batches for row in batch) == list(range(7))
    assert max(map(len, batches)) == 3


def test_released_settings():
    found = DialogueSettings.of("vega")
    assert (found.hidden, found.heads, found.lr, found.weight_decay) == (768, 4, 9.84e-5, 9.97e-3)
    assert (found.dropout, found.classifier_dropout, found.projection_dropout) == (
        0.53,
        0.3963,
        0.37442,
    )
    assert (found.batch_size, found.epochs, found.patience, found.zeroed) == (9, 400, 31, 0.1)
    assert not VegaObjective.of(found.objective).detach_teacher


@pytest.mark.parametrize("source", ["anchors", "both"])
def test_anchors_of_embeddings(source, tmp_path):
    anchors = {
        name: np.random.default_rng(i).normal(size=(3, 6))
        for i, name in enumerate(["calm", "joy", "rage"])
    }
    clf = make_classifier(anchors=anchors, predict_from=source).fit(make_dialogues())
    test = make_dialogues(10, seed=1)
    assert clf.score(test) > 0.6
    again = ConversationClassifier.from_pretrained(clf.save_pretrained(tmp_path / "model"))
    assert np.allclose(again.predict_proba(test[0]), clf.predict_proba(test[0]), atol=1e-6)


def test_anchors_of_some_labels_alone():
    anchors = {"joy": np.ones((2, 6)), "rage": -np.ones((1, 6))}
    talks = make_dialogues(6)
    clf = make_classifier(settings=QUICK, anchors=anchors, predict_from="both").fit(talks)
    both = clf.predict_proba(talks[0])
    clf.predict_from = "labels"
    assert np.allclose(both[:, 0], clf.predict_proba(talks[0])[:, 0], atol=1e-6)
    assert np.allclose(both.sum(axis=1), 1)
    clf.predict_from = "anchors"
    assert not clf.predict_proba(talks[0])[:, 0].any()
    with pytest.raises(errors.LabelError):
        make_classifier(settings=QUICK, anchors={"bored": np.ones((1, 6))}).fit(talks)


def test_pictures_and_words_as_anchors_on_clips(tiny, clips_and_labels):
    clips, y = clips_and_labels
    talks = [
        Dialogue(clips[i : i + 3], ["ana", "ben", "ana"], y[i : i + 3]) for i in range(0, 12, 3)
    ]
    encoder = tiny(["happy", "angry"])
    pictures = {
        name: [np.full((24, 32, 3), level + i, dtype=np.uint8) for i in range(2)]
        for name, level in (("happy", 200), ("angry", 40))
    }
    clf = make_classifier(model=encoder, settings=QUICK, anchors=pictures).fit(talks)
    assert clf.modalities_ == ("text", "audio", "video")
    assert clf.network_.anchors.counts.tolist() == [2, 2]
    words = make_classifier(model=encoder, settings=QUICK, anchors="labels").fit(talks)
    other = words.with_labels({"bored": ["yawning", "so dull"], "glad": "glad", "shy": "shy"})
    assert other.predict_proba(talks[0]).shape == (3, 3)
    assert other.network_.anchors.counts.tolist() == [2, 1, 1]
    assert words.predict_proba(talks[0]).shape == (3, 2)
    with pytest.raises(errors.InputError, match='anchors="labels"'):
        clf.with_labels(["a", "b"])
    features = encoder.encode(clips[:3])
    same = Dialogue(features, ["ana", "ben", "ana"])
    assert np.allclose(words.predict_proba(same), words.predict_proba(talks[0]), atol=1e-5)
    prediction = words.stream().hear(clips[0], "ana")
    assert prediction.modalities_used == ("text", "audio", "video")


@pytest.mark.parametrize("on_error", ["skip", "nan", "raise"])
def test_an_utterance_that_cannot_be_read_keeps_its_turn(tiny, on_error):
    rows = [{"text": "we won"}, {"video": "none.mp4"}, {"text": "so sad"}]
    talks = [Dialogue(rows, labels=["joy", "rage", "rage"])] * 2
    clf = make_classifier(model=tiny(["a", "b"], on_error=on_error), settings=QUICK)
    if on_error == "raise":
        with pytest.raises(errors.MediaNotFoundError, match="none.mp4"):
            clf.fit(talks)
        return
    with pytest.warns(errors.MerclipWarning, match="none.mp4"):
        clf.fit(talks)
    with pytest.warns(errors.MerclipWarning, match="taken as silent"):
        assert clf.predict(talks[0]).shape == (3,)


@pytest.mark.filterwarnings("ignore::merclip.errors.ModalityWarning")
def test_messages_say_the_dialogue_and_the_utterance(tiny):
    silence = (np.zeros(16000, np.float32), 16000)
    talks = [
        Dialogue(["hi", {"text": "no", "audio": silence}], labels=["joy", "rage"], name="phone"),
        Dialogue(["well", {"video": "none.mp4"}], labels=["joy", "rage"]),
    ]
    clf = make_classifier(model=tiny(["a", "b"]), settings=QUICK)
    with (
        pytest.warns(errors.ModalityWarning, match="^Dialogue 'phone', utterance 1: "),
        pytest.raises(errors.MediaNotFoundError, match="Dialogue 1, utterance 1, none.mp4"),
    ):
        clf.fit(talks)
    clf.set_params(model=tiny(["a", "b"], on_error="nan"))
    with pytest.warns(errors.SkippedClipsWarning, match="Dialogue 1, utterance 1, none.mp4"):
        clf.fit(talks)
    narrow, wide = (Dialogue({"text": np.ones((1, n))}, labels=["joy"]) for n in (2, 3))
    with pytest.raises(errors.InputError, match="^Dialogue 1 has 3 features of text"):
        make_classifier(labels=["joy", "rage"]).fit([narrow, wide])


def test_features_of_other_encoders_are_refused(tiny, clips_and_labels):
    clips, y = clips_and_labels
    talks = [Dialogue(clips[:4], labels=y[:4])] * 2
    clf = make_classifier(model=tiny(["happy", "angry"]), settings=QUICK).fit(talks)
    clf._origin = "0123456789abcdef"
    with pytest.raises(errors.InputError, match="other encoders"):
        clf.predict(talks[0])


def test_saving_and_loading(fitted, tmp_path):
    directory = fitted.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in directory.iterdir()) == ["config.json", "model.safetensors"]
    again = ConversationClassifier.from_pretrained(directory)
    talks = make_dialogues(3, seed=6)
    for first, second in zip(fitted.predict_proba(talks), again.predict_proba(talks), strict=True):
        assert np.allclose(first, second, atol=1e-6)
    assert again.causal and again.classes_.tolist() == fitted.classes_.tolist()
    again.save_pretrained(directory)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(errors.InputError, match="another directory"):
        fitted.save_pretrained(tmp_path / "other")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(architecture="merclip"),
        lambda c: c.update(format_version=99),
        lambda c: c["network"].update(hidden=32),
        lambda c: c["network"].update(hidden=10**9),
        lambda c: c["network"].update(heads="many"),
        lambda c: c["network"].update(widths={"Z": 2}),
        lambda c: c["network"].pop("heads"),
        lambda c: c["conversation"].update(labels=[["a", ["a"]]]),
        lambda c: c["conversation"].pop("speakers"),
        lambda c: c.update(anchors=[1, 2, 3]),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(fitted, tmp_path, change):
    directory = fitted.save_pretrained(tmp_path)
    content = json.loads((directory / "config.json").read_text())
    change(content)
    (directory / "config.json").write_text(json.dumps(content))
    with pytest.raises(errors.CheckpointError):
        ConversationClassifier.from_pretrained(directory)


def test_broken_files_of_a_checkpoint(fitted, tmp_path):
    directory = fitted.save_pretrained(tmp_path)
    (directory / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(errors.CheckpointError):
        ConversationClassifier.from_pretrained(directory)
    with pytest.raises(errors.CheckpointError):
        ConversationClassifier.from_pretrained(tmp_path / "none")


def test_what_was_fitted_counts_whatever_the_parameters_say_since(fitted):
    talk = make_dialogues(1, seed=7)[0]
    many = Dialogue({"text": np.eye(2)[[0] * 20], "audio": np.eye(2)[[1] * 20]}, range(20))
    expected = fitted.predict_proba(talk), fitted.predict_proba(many)
    other = copy.deepcopy(fitted)
    for settings in ("vega", replace(SMALL, n_speakers=30)):
        other.set_params(settings=settings)
        assert np.array_equal(other.predict_proba(talk), expected[0])
        assert np.array_equal(other.predict_proba(many), expected[1])
    with pytest.raises(errors.InputError, match="needs anchors="):
        other.set_params(predict_from="anchors").predict(talk)


def test_a_loaded_model_has_the_settings_of_its_network(fitted, tmp_path):
    again = ConversationClassifier.from_pretrained(fitted.save_pretrained(tmp_path))
    assert (again.settings.hidden, again.settings.heads) == (SMALL.hidden, SMALL.heads)
    assert again.settings.speakers == "order"


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        ({}, "anchors is empty"),
        ({"joy": np.full((2, 4), np.nan), "rage": np.ones((1, 4))}, "'joy' are finite"),
        ({"joy": np.zeros((2, 4)), "rage": np.ones((1, 4))}, "'joy' are finite"),
        ({"joy": np.ones((2, 4), int), "rage": np.ones((1, 4))}, "'joy' is no embedding"),
        ({"joy": "joy.png"}, "need encoders: set model="),
        ("labels", "need encoders: set model="),
    ],
)
def test_anchors_that_cannot_be(anchors, message):
    with pytest.raises(errors.InputError, match=message):
        make_classifier(settings=QUICK, anchors=anchors).fit(make_dialogues(4))


def test_scikit_learns_contract(fitted):
    copied = clone(fitted)
    assert copied.get_params()["causal"] is True and not copied.__sklearn_is_fitted__()
    with pytest.raises(errors.NotFittedError):
        copied.predict(make_dialogues(1))
    assert copied.set_params(validation=0.5).validation == 0.5


def test_speakers_by_name_and_by_order():
    talks = make_dialogues(4)
    named = replace(QUICK, speakers="names", n_speakers=2)
    clf = make_classifier(settings=named).fit(talks)
    assert clf.speakers_ == ("ana",)
    assert clf._speakers(talks[0]).tolist()[:2] == [0, 1]
    ordered = make_classifier(settings=QUICK).fit(talks)
    rows = {"text": np.ones((3, 2)), "audio": np.ones((3, 2))}
    strangers = Dialogue(rows, ["x", "y", "x"])
    assert ordered._speakers(strangers).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"predict_from": "words"}, "predict_from"),
        ({"predict_from": "anchors"}, "needs anchors"),
        ({"settings": "fast"}, "settings"),
        ({"validation": 2}, "validation"),
        ({"validation": 0.99}, "no dialogue to learn from"),
        ({"modalities": ["smell"]}, "modalities"),
        ({"modalities": ["video"]}, "no features of"),
        ({"labels": ["calm"]}, "two labels"),
        ({"labels": ["calm", "joy"]}, "rage"),
    ],
)
def test_parameters_that_cannot_be(changed, message):
    with pytest.raises(errors.InputError, match=message):
        make_classifier(**{"settings": QUICK, **changed}).fit(make_dialogues(4))


def test_dialogues_that_cannot_be_used(fitted):
    with pytest.raises(TypeError, match="Dialogue"):
        fitted.predict("hello")
    with pytest.raises(TypeError, match="make one with Dialogue"):
        fitted.predict([["hello"]])
    with pytest.raises(errors.InputError, match="no dialogue"):
        fitted.predict([])
    with pytest.raises(errors.InputError, match="3 features of text"):
        fitted.predict(Dialogue({"text": np.ones((2, 3)), "audio": np.ones((2, 2))}))
    with pytest.raises(errors.InputError, match="no features of"):
        fitted.predict(Dialogue({"text": np.ones((2, 2))}))
    with pytest.raises(errors.InputError, match="set model="):
        fitted.predict(Dialogue(["hello"]))
    with pytest.raises(errors.LabelError, match="No utterance has a label"):
        fitted.evaluate([talk.with_labels(None) for talk in make_dialogues(2)])
    with pytest.raises(errors.LabelError, match="one class"):
        make_classifier(labels=["calm", "joy"]).fit(
            [Dialogue({"text": np.ones((2, 2))}, labels=["calm"] * 2)]
        )
    with pytest.raises(errors.InputError, match="1 dialogues and y"):
        make_classifier().fit(make_dialogues(1), [])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("hello",), TypeError, "one string"),
        (([],), errors.InputError, "no utterance"),
        ((["a", "b"], ["ana"]), errors.InputError, "1 speakers"),
        ((["a", "b"], "ab"), TypeError, "speakers"),
        ((["a"], None, ["x", "y"]), errors.InputError, "2 labels"),
        ((["a"], None, [["x"]]), errors.LabelError, "a text or a number"),
        (({"smell": np.ones((1, 2))},), errors.InputError, "smell"),
        (({"text": np.ones(3)},), errors.ShapeError, "shape"),
        (({"text": np.ones((2, 2)), "audio": np.ones((1, 2))},), errors.InputError, "row for each"),
        (({"text": np.full((1, 2), np.nan)},), errors.InputError, "NaN"),
        ((3,), TypeError, "a list of utterances"),
    ],
)
def test_what_is_no_dialogue(arguments, error, message):
    with pytest.raises(error, match=message):
        Dialogue(*arguments)


def test_a_dialogue_of_texts_clips_and_parts():
    talk = Dialogue(["a", "b"], [1, 2], ["x", None], name="phone")
    assert talk.utterances[1].text == "b" and talk.ids == ("phone_utt0", "phone_utt1")
    assert talk[1:].speakers == (2,) and talk[1:].labels == (None,)
    assert Dialogue([Clip(text="a", id="u1"), {"text": "b"}]).ids == ("u1", "dialogue_utt1")
    with pytest.raises(TypeError, match="slice"):
        talk[0]
    assert np.array_equal(
        Dialogue({"video": torch.ones(2, 3)})[:1].utterances["V"], np.ones((1, 3))
    )


def test_meld_gives_dialogues_in_order_with_speakers(tmp_path):
    (tmp_path / "train_sent_emo.csv").write_text(
        "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID,StartTime,EndTime\n"
        "third,Joey,joy,0,10,,\nfirst,Ross,neutral,0,0,,\nsecond,Joey,anger,0,2,,\nelse,Amy,fear,3,0,,\n",
        encoding="utf-8",
    )
    talks = load_meld(tmp_path, modalities=["text"]).split("train").dialogues()
    assert [talk.name for talk in talks] == ["train/dia0", "train/dia3"]
    assert [clip.text for clip in talks[0].utterances] == ["first", "second", "third"]
    assert talks[0].speakers == ("Ross", "Joey", "Joey")
    assert talks[0].labels == ("neutral", "anger", "joy")


def test_iemocap_gives_dialogues_in_order_of_time(tmp_path):
    for session, name in ((1, "Ses01F_impro01"), (5, "Ses05M_script01_1")):
        dialog = tmp_path / f"Session{session}" / "dialog"
        for folder in ("EmoEvaluation", "transcriptions"):
            (dialog / folder).mkdir(parents=True)
        lines = [
            ("F000", 1.0, "hap"),
            ("F001", 9.0, "ang"),
            ("M000", 4.0, "sad"),
            ("M001", 6.0, "xxx"),
        ]
        (dialog / "EmoEvaluation" / f"{name}.txt").write_text(
            "".join(f"[{s} - {s + 1}]\t{name}_{u}\t{code}\t[1, 1, 1]\n" for u, s, code in lines)
        )
        (dialog / "transcriptions" / f"{name}.txt").write_text(
            "".join(f"{name}_{u} [{s}-{s + 1}]: {u}\n" for u, s, _ in lines)
        )
    data = load_iemocap(tmp_path, modalities=["text"])
    (test,) = data.split("test").dialogues()
    assert test.name == "Ses05M_script01_1" and test.speakers == ("F", "M", "F")
    assert [clip.text for clip in test.utterances] == ["F000", "M000", "F001"]
    assert len(data.dialogues()) == 2


def test_clips_without_dialogues_say_so():
    from merclip.datasets import load_clips

    with pytest.raises(errors.InputError, match="not of dialogues"):
        load_clips("examples/lines.csv").dialogues()


def test_a_string_is_what_was_said_also_beside_clips():
    dialogue = Dialogue(["Hello.", {"text": "Hi."}, "a.mp4"])
    assert [clip.text for clip in dialogue.utterances] == ["Hello.", "Hi.", "a.mp4"]
    assert all(clip.video is None for clip in dialogue.utterances)


def test_modalities_that_nothing_was_learned_of_are_named(fitted):
    talk = make_dialogues(1, modalities=("text", "audio", "video"))[0]
    with pytest.warns(errors.ModalityWarning, match="text and audio alone: video of these"):
        fitted.predict(talk)
    chosen = make_classifier(modalities=["text"], settings=QUICK).fit([talk])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen.predict(talk)


def test_the_other_classifier_says_whose_model_it_is(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "talks")
    with pytest.raises(errors.CheckpointError, match="ConversationClassifier.from_pretrained"):
        EmotionClassifier.from_pretrained(tmp_path / "talks")
    with pytest.raises(errors.CheckpointError, match="There is no conversation model in"):
        ConversationClassifier.from_pretrained(tmp_path / "nothing")
