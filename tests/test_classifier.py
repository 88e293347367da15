"""EmotionClassifier as scikit-learn's users and as people with one video use it."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from conftest import make_clips
from merclip import Clip, Clips, EmotionClassifier, Features, Prediction


@pytest.fixture(scope="module")
def data():
    return make_clips(16)


@pytest.fixture
def fitted(tiny, data):
    return tiny(["happy", "angry"], epochs=4).fit(*data)


def test_the_constructor_stores_its_arguments_and_loads_nothing():
    labels, network = ["a", "b"], {"fusion": "VA"}
    classifier = EmotionClassifier(labels, network=network, epochs=3)
    assert classifier.labels is labels
    assert classifier.network is network
    assert set(vars(classifier)) == set(classifier.get_params())


def test_clone_keeps_parameters_and_forgets_what_was_learned(fitted):
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "history_")


def test_set_params_changes_labels_after_fit(fitted):
    fitted.set_params(labels=["calm", "tense", "bored"])
    assert fitted.predict_proba(text="hello").shape == (1, 3)


def test_a_bad_parameter_is_refused_at_first_use_not_in_the_constructor(tiny):
    for name, value in {
        "tune": "some",
        "epochs": 0,
        "batch_size": 2.5,
        "dtype": "float64",
        "on_error": "ignore",
        "abstain": 2,
        "validation": 1.0,
        "prompt": "no place for a label",
        "device": "tpu9",
        "lr": "fast",
    }.items():
        classifier = tiny(["a", "b"], **{name: value})
        with pytest.raises(ValueError, match=name):
            classifier.fit([{"text": "x"}, {"text": "y"}], ["a", "b"])


def test_an_absent_device_names_those_that_there_are(tiny):
    with pytest.raises(RuntimeError, match="cpu"):
        tiny(["a", "b"], device="cuda:7").predict(text="x")


def test_without_labels_it_is_not_fitted(tiny):
    classifier = tiny()
    with pytest.raises(NotFittedError):
        check_is_fitted(classifier)
    with pytest.raises(NotFittedError, match="labels="):
        classifier.predict(text="hi")
    with pytest.raises(NotFittedError, match="labels="):
        classifier.predict_proba(text="hi")
    assert not hasattr(classifier, "classes_")


def test_labels_are_enough_to_predict(tiny):
    classifier = tiny(["happy", "sad"])
    check_is_fitted(classifier)
    assert classifier.predict(text="hi")[0] in ("happy", "sad")
    assert classifier.fit().predict(text="hi").shape == (1,)


def test_fit_without_labels_takes_those_of_y(tiny, data):
    classifier = tiny(epochs=1).fit(*data)
    assert classifier.classes_.tolist() == ["angry", "happy"]
    assert classifier.fit(data[0], ["b", "a"] * 8).classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize("labels", list(itertools.permutations(["happy", "sad", "angry"])))
def test_columns_follow_sorted_classes_whatever_the_order_of_labels(tiny, data, labels):
    classifier = tiny(list(labels))
    clips = data[0][:4]
    probability = classifier.predict_proba(clips)
    assert classifier.classes_.tolist() == ["angry", "happy", "sad"]
    assert (classifier.classes_[probability.argmax(axis=1)] == classifier.predict(clips)).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    reference = tiny(["angry", "happy", "sad"]).predict_proba(clips)
    np.testing.assert_allclose(probability, reference, atol=1e-6)
    assert list(classifier(clips[0])) == list(labels)


def test_sentences_are_labels_and_come_back_whole(tiny):
    labels = [
        "A state of delight, and inner peace.",
        "ok",
        "A strong feeling of annoyance, displeasure or hostility towards someone",
    ]
    assert tiny(labels).predict([{"text": "x"}] * 3)[0] in labels


def test_predict_takes_other_labels_for_one_call(fitted, data):
    clips = data[0]
    other = fitted.predict(clips, labels=["glad", "cross", "calm"])
    assert set(other) <= {"glad", "cross", "calm"}
    assert fitted.classes_.tolist() == ["angry", "happy"]


def test_with_labels_shares_the_network(fitted, data):
    other = fitted.with_labels({"joy": "delight", "rage": ["anger", "fury"]})
    assert other.network_ is fitted.network_
    assert other.predict_proba(data[0]).shape == (16, 2)
    assert other.classes_.tolist() == ["joy", "rage"]


def test_labels_are_encoded_once(fitted, data, monkeypatch):
    fitted.predict(data[0])
    monkeypatch.setattr(fitted.network_, "encode_labels", None)
    fitted.predict(data[0])


def test_fit_encodes_labels_anew(tiny, data):
    classifier = tiny(["happy", "angry"], epochs=3, warm_start=True, lr=1e-2)
    before = classifier.predict_proba(data[0])
    assert not np.allclose(classifier.fit(*data).predict_proba(data[0]), before)
    assert classifier.score(*data) == 1


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_batch_size_does_not_change_scores(fitted, data, batch_size):
    expected = fitted.predict_proba(data[0])
    fitted.batch_size = batch_size
    np.testing.assert_allclose(fitted.predict_proba(data[0]), expected, atol=1e-5)


def test_probabilities_logarithms_and_decisions_agree(tiny, data):
    classifier = tiny(["a", "b", "c"])
    probability = classifier.predict_proba(data[0])
    np.testing.assert_allclose(
        np.exp(classifier.predict_log_proba(data[0])), probability, rtol=1e-6
    )
    decisions = classifier.decision_function(data[0])
    assert (decisions.argmax(axis=1) == probability.argmax(axis=1)).all()


def test_two_classes_have_one_decision_value(fitted, data):
    decisions = fitted.decision_function(data[0])
    assert decisions.shape == (16,)
    expected = fitted.classes_[(decisions > 0).astype(int)]
    assert (fitted.predict(data[0]) == expected).all()


def test_score_is_accuracy_and_reads_a_label_column(fitted, data):
    clips, y = data
    rows = [
        {"video": c.video, "audio": c.audio, "text": c.text, "label": label}
        for c, label in zip(clips, y, strict=True)
    ]
    expected = np.mean(fitted.predict(clips) == np.array(y))
    assert fitted.score(clips, y) == fitted.score(rows) == expected


def test_fit_reads_a_label_column(tiny, data):
    rows = [{"text": "good", "label": "up"}, {"text": "bad", "label": "down"}] * 3
    assert tiny(epochs=1).fit(rows).classes_.tolist() == ["down", "up"]


def test_features_serve_fit_and_predict(tiny, data):
    clips, y = data
    classifier = tiny(epochs=3)
    features = classifier.encode(clips)
    assert isinstance(features, Features)
    by_features = classifier.fit(features, y).predict_proba(features[2:5])
    by_clips = tiny(epochs=3).fit(clips, y).predict_proba(clips[2:5])
    np.testing.assert_allclose(by_features, by_clips, atol=1e-5)


def test_features_of_another_model_are_refused(tiny, data):
    features = tiny(["a", "b"], random_state=1).encode(data[0])
    with pytest.raises(ValueError, match="another model"):
        tiny(["a", "b"], random_state=2).predict(features)


def test_features_cannot_train_encoders(tiny, data):
    classifier = tiny(tune="full")
    with pytest.raises(ValueError, match="needs clips"):
        classifier.fit(classifier.encode(data[0]), data[1])


def test_a_call_with_one_clip_gives_one_prediction_and_a_batch_a_list(fitted, data):
    one = fitted(data[0][0])
    assert isinstance(one, Prediction)
    assert one.id == "clip0"
    assert one.modalities_used == ("text", "video", "audio")
    assert one.label == fitted.predict(data[0][0])[0]
    many = fitted(data[0][:3])
    assert [item.id for item in many] == ["clip0", "clip1", "clip2"]
    assert fitted([]) == []


def test_a_prediction_names_the_modalities_it_rests_on(fitted):
    assert fitted(text="only words").modalities_used == ("text",)
    quiet = (np.zeros(16000, np.float32), 16000)
    with pytest.warns(UserWarning, match="silent"):
        found = fitted(text="words", audio=quiet)
    assert found.modalities_used == ("text",)
    assert "silent" in found.warnings[0]


def test_predictions_stream_in_order(fitted, data):
    read = []

    def stream():
        for clip in data[0]:
            read.append(clip.id)
            yield clip

    found = fitted.predict_iter(stream(), batch_size=2)
    assert next(found).id == "clip0"
    assert len(read) == 2
    assert [item.id for item in found] == [f"clip{i}" for i in range(1, 16)]


def test_predict_frame_has_named_columns(fitted, data):
    frame = fitted.predict_frame(data[0][:2])
    said = ["modalities_used", "faces", "warnings", "error"]
    assert list(frame.columns) == ["id", "label", "happy", "angry", *said]
    assert frame["id"].tolist() == ["clip0", "clip1"]


def test_abstaining_gives_none_in_an_object_array(tiny, data):
    classifier = tiny(["a", "b", "c"], abstain=1.0)
    found = classifier.predict(data[0])
    assert found.dtype == object
    assert set(found) == {None}
    assert classifier(data[0][0]).label is None


def test_several_labels_at_once(tiny, data):
    clips, y = data
    sets = [[label, "loud"] if label == "angry" else [label] for label in y]
    classifier = tiny(multi_label=True, epochs=40, validation=0.25).fit(clips, sets)
    assert classifier.classes_.tolist() == ["angry", "happy", "loud"]
    truth = np.array([[label == "angry", label == "happy", label == "angry"] for label in y])
    assert (classifier.predict(clips) == truth).all()
    assert classifier.score(clips, sets) == 1
    assert classifier(clips[1]).labels == ("angry", "loud")
    # The classes are the same for an indicator matrix, whose columns follow them.
    again = tiny(["loud", "happy", "angry"], multi_label=True, epochs=1)
    assert again.fit(clips, truth.astype(int)).classes_.tolist() == ["angry", "happy", "loud"]


def test_one_threshold_or_one_for_each_label(tiny, data):
    clips = data[0]
    classifier = tiny(["a", "b"], multi_label=True)
    probability = classifier.predict_proba(clips)
    assert (classifier.set_params(threshold=0.0).predict(clips) == 1).all()
    assert (classifier.set_params(threshold={"b": 1.0, "a": 0.0}).predict(clips) == [1, 0]).all()
    middle = float(np.median(probability))
    found = classifier.set_params(threshold=middle).predict(clips)
    np.testing.assert_array_equal(found, probability >= middle)
    with pytest.raises(ValueError, match="'c'"):
        classifier.set_params(threshold={"c": 0.5}).predict(clips)


def test_one_label_is_enough_only_for_multi_label(tiny):
    with pytest.raises(ValueError, match="multi_label"):
        tiny(["only"]).predict(text="x")
    assert tiny(["only"], multi_label=True).predict(text="x").shape == (1, 1)


def test_without_a_label_encoder_labels_are_fixed(tiny, data):
    classifier = tiny(network={"use_label_encoder": False}, epochs=3).fit(*data)
    assert classifier.score(*data) > 0.5
    with pytest.raises(ValueError, match="fitted on"):
        classifier.predict(data[0], labels=["glad", "cross"])


def test_untrained_fusion_warns_that_sound_is_left_out(tiny, data):
    with pytest.warns(UserWarning, match="sound is left out"):
        found = tiny(["a", "b"])(data[0][0])
    assert found.modalities_used == ("text", "video")


def test_sound_alone_cannot_be_used_before_fit(tiny):
    sound = (np.random.default_rng(0).normal(size=8000) * 0.1, 16000)
    with (
        pytest.warns(UserWarning, match="sound is left out"),
        pytest.raises(ValueError, match="does not take"),
    ):
        tiny(["a", "b"]).predict(audio=sound)


def test_modalities_that_the_network_does_not_take_are_named(tiny, data):
    classifier = tiny(network={"fusion": "VA"}, epochs=1).fit(*data)
    assert classifier.modalities_ == ("video", "audio")
    with pytest.warns(UserWarning, match="does not take text"):
        assert classifier(data[0][0]).modalities_used == ("video", "audio")


@pytest.mark.parametrize("container", [list, Clips, lambda clips: np.array(clips, dtype=object)])
def test_cross_validation_cuts_any_container(tiny, data, container):
    clips, y = data
    scores = cross_val_score(
        tiny(epochs=8, batch_size=4, validation=0.0), container(clips), y, cv=2
    )
    assert scores.mean() > 0.9


def test_grid_search_over_dicts_and_frames(tiny):
    pandas = pytest.importorskip("pandas")
    rows = [{"text": "good thing"}, {"text": "awful"}] * 6
    y = ["up", "down"] * 6
    for X in (rows, pandas.DataFrame(rows)):
        search = GridSearchCV(tiny(validation=0.0), {"epochs": [1, 8]}, cv=2).fit(X, y)
        assert search.best_score_ > 0.9


def test_a_pipeline_passes_clips_and_labels_through(tiny, data):
    pipeline = Pipeline([("classify", tiny(epochs=1))]).fit(*data)
    assert pipeline.predict(data[0]).shape == (16,)
    assert set(pipeline.predict(data[0], labels=["p", "q"])) <= {"p", "q"}


def test_pickling_keeps_what_was_learned(fitted, data):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(data[0]), fitted.predict_proba(data[0]))


def test_x_and_y_must_have_one_length(tiny, data):
    with pytest.raises(ValueError, match="16 clips and y has 3"):
        tiny().fit(data[0], ["a", "b", "c"])


def test_one_class_alone_cannot_be_fitted(tiny, data):
    with pytest.raises(ValueError, match="one class"):
        tiny(["happy", "sad"]).fit(data[0], ["happy"] * 16)


def test_a_generator_of_random_state_is_accepted(tiny, data):
    classifier = tiny(epochs=1, random_state=np.random.RandomState(0)).fit(*data)
    assert len(classifier.history_) == 1


def test_moving_to_a_device_returns_self(fitted):
    assert fitted.to("cpu") is fitted
    assert fitted.device_.type == "cpu"
    assert fitted.backbone_["embed_dim"] == 32


def test_bfloat16_towers_give_nearly_the_same_scores(tiny, data, fitted, tmp_path):
    directory = fitted.save_pretrained(tmp_path)
    fast = EmotionClassifier.from_pretrained(directory, dtype="bfloat16")
    exact = fitted.predict_proba(data[0])
    np.testing.assert_allclose(fast.predict_proba(data[0]), exact, atol=0.05)


def test_a_clip_can_be_cut_by_start_and_end(fitted):
    sound = np.sin(np.arange(64000) / 5).astype(np.float32)
    whole = fitted.predict_proba(Clip(audio=(sound, 16000), start=1.0, end=2.0))
    part = fitted.predict_proba(Clip(audio=(sound[16000:32000], 16000)))
    np.testing.assert_allclose(whole, part, atol=1e-5)
