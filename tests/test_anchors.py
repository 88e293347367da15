"""Pictures as labels: given in every form, compared before a fit, trained on, and kept."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from media_files import write_clip
from safetensors.torch import load_file, save_file
from sklearn.base import clone

from merclip import Callback, Clip, EmotionClassifier, Video
from merclip.anchors import averaged
from merclip.errors import (
    CheckpointError,
    DecodeError,
    InputError,
    InputTypeError,
    LabelError,
    MediaNotFoundError,
    MerclipWarning,
)
from merclip.training import VegaObjective

pytestmark = pytest.mark.filterwarnings("ignore::merclip.errors.ModalityWarning")

LEVELS = {"happy": 200, "angry": 40, "sad": 120}


def picture(level: int, seed: int = 0) -> np.ndarray:
    """Return a noisy picture of one brightness, as those of `conftest.make_clips`."""
    noise = np.random.default_rng([seed, level]).integers(-30, 30, (24, 32, 3))
    return (level + noise).astype(np.uint8)


def pictures(*labels: str, n: int = 3) -> dict[str, list[np.ndarray]]:
    return {label: [picture(LEVELS[label], i) for i in range(n)] for label in labels}


def write_picture(path, level: int, seed: int = 0) -> None:
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "rgb24"
        frame = av.VideoFrame.from_ndarray(picture(level, seed), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A folder with one folder of pictures for each label."""
    root = tmp_path_factory.mktemp("faces")
    for label in ("happy", "angry"):
        (root / label).mkdir()
        for i in range(3):
            write_picture(root / label / f"{i}.png", LEVELS[label], i)
        (root / label / "notes.txt").write_text("not a picture")
        (root / label / ".hidden.png").write_bytes(b"")
    return root


def embedded(classifier, label="happy"):
    """Return what a classifier keeps of the pictures of a label."""
    return torch.from_numpy(classifier.anchors_[label])


# What pictures may be -------------------------------------------------------------


def test_pictures_come_in_every_form(tiny, faces):
    path = faces / "happy" / "0.png"
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    array = picture(LEVELS["happy"])
    with path.open("rb") as file:
        forms = [path, str(path), path.read_bytes(), file, array, torch.from_numpy(array), frame]
        rows = embedded(tiny(anchors={"happy": forms, "sad": picture(LEVELS["sad"])}))
    assert rows.shape == (7, 32)
    torch.testing.assert_close(rows, rows[:1].expand(7, -1))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(7))


def test_a_picture_may_be_grey_or_one_pixel(tiny):
    grey = picture(LEVELS["happy"])[..., 0]
    rows = embedded(tiny(anchors={"happy": [grey, np.repeat(grey[..., None], 3, 2)], "sad": grey}))
    torch.testing.assert_close(rows[0], rows[1])
    assert embedded(tiny(anchors={"happy": np.full((1, 1, 3), 9, np.uint8), "sad": grey})).any()


def test_pictures_go_the_way_of_frames(tiny):
    classifier = tiny(anchors=pictures("happy", "sad"))
    clip = Clip(video=Video(picture(LEVELS["happy"]), fps=1))
    (features,) = classifier.encode([clip])
    frame = torch.nn.functional.normalize(features.sequences["V"], dim=-1)
    torch.testing.assert_close(embedded(classifier)[:1], frame)


def test_each_frame_of_a_video_is_an_exemplar(tiny, tmp_path):
    write_clip(tmp_path / "clip.mp4")
    classifier = tiny(anchors={"happy": tmp_path / "clip.mp4", "sad": picture(120)})
    assert len(embedded(classifier)) == 12
    assert len(embedded(classifier, "sad")) == 1


@pytest.mark.parametrize("given", [str, lambda path: path], ids=["str", "Path"])
def test_a_folder_of_folders_names_the_labels(tiny, faces, given):
    classifier = tiny(anchors=given(faces))
    assert classifier.classes_.tolist() == ["angry", "happy"]
    assert len(embedded(classifier)) == 3


def test_a_folder_of_pictures_stands_for_them(tiny, faces):
    several = sorted((faces / "happy").glob("[0-9].png"))
    one, other = (
        tiny(anchors={"happy": given, "sad": picture(120)}) for given in (faces / "happy", several)
    )
    torch.testing.assert_close(embedded(one), embedded(other))


@pytest.mark.parametrize(
    ("anchors", "error", "said"),
    [
        ({}, InputError, "empty"),
        ({"happy": []}, InputError, "'happy' has no picture"),
        ({"happy": ["none.png"]}, MediaNotFoundError, r"Picture 0 of 'happy' \(none.png\)"),
        ({"happy": b"no picture"}, DecodeError, "1 of 1 pictures"),
        ({"happy": [b"", np.zeros(4)]}, InputError, "2 of 2 .*Picture 0 .*Picture 1 .*shape"),
        ({"happy": 3}, InputTypeError, "Picture 0 of 'happy'"),
        ({"happy": [None]}, InputTypeError, "A picture is a path"),
        ("tests/conftest.py", InputError, "is a file"),
        ("no-such-folder", MediaNotFoundError, "no-such-folder"),
        (7, InputTypeError, "mapping from label to pictures"),
        ({"hapy": picture(200)}, LabelError, "hapy"),
    ],
)
def test_anchors_that_cannot_be_used_say_which_and_why(tiny, anchors, error, said):
    classifier = tiny(["happy", "sad"], anchors=anchors)
    with pytest.raises(error, match=said):
        classifier.predict(text="hi")


def test_a_number_is_no_picture(tiny):
    with pytest.raises(InputTypeError, match="A picture is a path, .* got int"):
        tiny(anchors={"happy": 3, "sad": picture(120)}).predict(text="hi")


def test_a_folder_without_folders_or_pictures_is_refused(tiny, faces, tmp_path):
    with pytest.raises(InputError, match="into one that bears its name"):
        _ = tiny(anchors=faces / "happy").classes_
    (tmp_path / "happy").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        tiny(["happy", "sad"], anchors=tmp_path).predict(text="hi")


@pytest.mark.parametrize("on_error", ["skip", "nan"])
def test_bad_pictures_are_left_out_if_a_good_one_stays(tiny, on_error):
    good = pictures("happy", "sad")
    bad = {**good, "happy": [b"broken", *good["happy"], "none.png"]}
    classifier = tiny(anchors=bad, on_error=on_error)
    with pytest.warns(MerclipWarning, match=r"2 of 8 .*Picture 0 .*Picture 4 of 'happy'"):
        rows = embedded(classifier)
    torch.testing.assert_close(rows, embedded(tiny(anchors=good)))
    with pytest.raises(InputError, match="No picture of 'sad'"), pytest.warns(MerclipWarning):
        tiny(anchors={**good, "sad": [b"broken"]}, on_error=on_error).predict(text="hi")


# Before any fit -------------------------------------------------------------------


def test_mini_classifies_by_pictures_alone():
    with av.open("examples/happy.mp4") as happy, av.open("examples/angry.mp4") as angry:
        frames = [list(video.decode(video=0))[10:40:10] for video in (happy, angry)]
    # No words: the names say nothing.
    classifier = EmotionClassifier(anchors={"x1": frames[0], "x2": frames[1]})
    clips = ["examples/happy.mp4", "examples/angry.mp4"]
    assert classifier.predict(clips).tolist() == ["x1", "x2"]
    assert classifier.predict_frame(clips)["label"].tolist() == ["x1", "x2"]
    assert classifier(clips[0]).scores.keys() == {"x1", "x2"}


def test_before_a_fit_clips_are_compared_with_centres(tiny, clips_and_labels):
    clips, _ = clips_and_labels
    anchors = pictures("happy", "angry")
    classifier = tiny(anchors=anchors)
    fused = classifier._ready().engine.fused(list(classifier.encode(clips))).numpy()
    centres = np.stack([embedded(classifier, name).mean(dim=0) for name in ("angry", "happy")])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    scale = float(classifier.network_.scales.softmax.exp().clamp(max=100))
    logits = 0.4 * scale * fused @ centres.T
    np.testing.assert_allclose(
        classifier.decision_function(clips), logits[:, 1] - logits[:, 0], atol=1e-4
    )
    assert classifier.predict_proba(clips).tolist() == classifier.predict_proba(clips).tolist()


def test_sources_are_words_pictures_or_their_average(tiny, clips_and_labels):
    clips, _ = clips_and_labels
    classifier = tiny(["happy", "angry"], anchors=pictures("happy", "angry"))
    found = {
        source: classifier.set_params(predict_from=source).predict_proba(clips)
        for source in ("labels", "anchors", "both", "auto")
    }
    np.testing.assert_allclose(
        found["both"], (found["labels"] + found["anchors"]) / 2, rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(found["auto"], found["both"])
    np.testing.assert_array_equal(found["labels"], tiny(["happy", "angry"]).predict_proba(clips))
    assert np.abs(found["labels"] - found["anchors"]).max() > 1e-3
    named = tiny(anchors=pictures("happy", "angry"))
    np.testing.assert_allclose(named.predict_proba(clips), found["anchors"], atol=1e-6)


def test_a_label_without_pictures_keeps_what_words_give_it(tiny, clips_and_labels):
    clips, _ = clips_and_labels
    labels = ["happy", "angry", "bored"]
    words = tiny(labels).predict_proba(clips)
    both = tiny(labels, anchors=pictures("happy", "angry")).predict_proba(clips)
    np.testing.assert_allclose(both[:, 1], words[:, 1], atol=1e-6)
    np.testing.assert_allclose(both.sum(axis=1), 1)
    assert np.abs(both - words).max() > 1e-3
    with pytest.raises(LabelError, match=r"\['bored'\] have none"):
        tiny(labels, anchors=pictures("happy", "angry"), predict_from="anchors").predict(clips)
    with pytest.raises(LabelError, match="predict_from='both' needs anchors"):
        tiny(labels, predict_from="both").predict(clips)


def test_averages_of_unlike_label_sets():
    words = torch.tensor([[1.0, 2.0, 0.0]]).double()
    pictures_ = torch.tensor([[3.0, -1.0]]).double()
    p, q = words.softmax(-1)[0], pictures_.softmax(-1)[0]
    found = averaged(words, pictures_, torch.tensor([True, False, True])).exp()[0]
    shared = p[0] + p[2]
    wanted = [(p[0] + shared * q[0]) / 2, p[1], (p[2] + shared * q[1]) / 2]
    torch.testing.assert_close(found, torch.stack(wanted))


def test_with_labels_keeps_the_pictures_of_labels_that_stay(tiny, clips_and_labels):
    clips, _ = clips_and_labels
    classifier = tiny(["happy", "angry", "sad"], anchors=pictures("happy", "angry", "sad"))
    fewer = classifier.with_labels(["sad", "happy"])
    direct = tiny(["sad", "happy"], anchors=pictures("happy", "sad"))
    np.testing.assert_allclose(fewer.predict_proba(clips), direct.predict_proba(clips), atol=1e-6)
    np.testing.assert_array_equal(
        classifier.predict(clips, labels=["sad", "happy"]), direct.predict(clips)
    )
    others = classifier.with_labels(["calm", "tense"])
    words = tiny(["calm", "tense"]).predict_proba(clips)
    np.testing.assert_array_equal(others.predict_proba(clips), words)


def test_a_network_without_an_image_tower_has_no_anchors(tiny):
    classifier = tiny(anchors=pictures("happy", "sad"), network={"fusion": "L"})
    with pytest.raises(InputError, match="no image tower"):
        classifier.predict(text="hi")


def test_several_labels_at_once_are_refused(tiny):
    with pytest.raises(InputError, match="one label of n"):
        tiny(["a", "b"], anchors={"a": picture(3)}, multi_label=True).predict(text="hi")


def test_clips_that_cannot_be_read_have_no_answer(tiny):
    classifier = tiny(["happy", "sad"], anchors=pictures("happy", "sad"), on_error="nan")
    found = classifier.predict_proba(["none.mp4", {"text": "hi"}])
    assert np.isnan(found).all(axis=1).tolist() == [True, False]


# Training -------------------------------------------------------------------------


class Gradients(Callback):
    """Keeps which parameters are trained, and which of them any batch had something to say of."""

    def __init__(self):
        self.trained, self.moved, self.temperatures = set(), set(), None

    def on_batch_end(self, trainer, step, loss):
        named = dict(trainer.network.named_parameters())
        self.trained |= {name for name, part in named.items() if part.requires_grad}
        self.moved |= {n for n, p in named.items() if p.grad is not None and bool(p.grad.any())}
        self.temperatures = trainer.objective.temperatures.logs


@pytest.mark.parametrize("tune", ["head", "full"])
def test_fit_trains_a_branch_that_tells_pictures_apart(tiny, clips_and_labels, tune):
    clips, y = clips_and_labels
    anchors = pictures("happy", "angry")
    seen = Gradients()
    # With so few steps as 8 the projections are still near to what chance made of them.
    classifier = tiny(anchors=anchors, tune=tune, epochs=8, batch_size=4, lr=1e-3, callbacks=[seen])
    before = embedded(classifier).clone()
    classifier.fit(clips, y)
    assert classifier.network_.anchor_branch is not None
    assert (classifier.predict(clips) == y).all()
    assert classifier.history_[-1]["loss"] < classifier.history_[0]["loss"]
    # Pictures stay what the tower made of them before it trained.
    torch.testing.assert_close(embedded(classifier), before)
    # Of one segment of sound there is nothing to choose, and sigmoid is for several labels.
    idle = {n for n in seen.trained if "layers.A.0.norm_query" in n or n.startswith("scales.sig")}
    assert seen.trained - idle == seen.moved - idle
    parts = {name.partition(".")[0] for name in seen.moved}
    assert {"anchor_branch", "decoder"} < parts
    assert ("encoders" in parts) is (tune == "full")
    assert (seen.temperatures.exp() != 2.0).all()


def test_objectives_can_be_chosen(tiny, clips_and_labels):
    clips, y = clips_and_labels
    anchors = pictures("happy", "angry")
    objectives = {
        "label": "label",
        "vega": "vega",
        "detached": "vega-detached",
        "even": "even",
        "default": None,
        "no anchors": replace(VegaObjective(), anchor_loss=0.0, anchor_distillation=0.0),
    }
    fitted = {
        name: tiny(["happy", "angry"], anchors=anchors, objective=objective, epochs=2).fit(clips, y)
        for name, objective in objectives.items()
    }
    # Before a first step a detached teacher changes nothing.
    losses = {name: classifier.history_[1]["loss"] for name, classifier in fitted.items()}
    assert losses["default"] == losses["even"]
    assert len({round(loss, 6) for loss in losses.values()}) == 5
    branches = {name: classifier.network_.anchor_branch for name, classifier in fitted.items()}
    assert {name for name, branch in branches.items() if branch is None} == {"label", "no anchors"}
    # Without anchors nothing is new.
    plain = [
        tiny(epochs=2, objective=o).fit(clips, y).predict_proba(clips) for o in (None, "label")
    ]
    np.testing.assert_array_equal(*plain)


@pytest.mark.parametrize("objective", ["odd", 3])
def test_an_unknown_objective_is_refused(tiny, clips_and_labels, objective):
    with pytest.raises(InputError, match="objective is one of"):
        tiny(objective=objective).fit(*clips_and_labels)


def test_vega_is_for_one_label_of_n(tiny, clips_and_labels):
    clips, y = clips_and_labels
    with pytest.raises(InputError, match="one label of n"):
        tiny(objective="vega", multi_label=True).fit(clips, [[label] for label in y])


def test_a_fit_with_labels_beyond_the_anchors(tiny, clips_and_labels):
    clips, y = clips_and_labels
    classifier = tiny(anchors=pictures("happy"), predict_from="both", epochs=2).fit(clips, y)
    assert classifier.classes_.tolist() == ["angry", "happy"]
    assert np.isfinite(classifier.predict_proba(clips)).all()


def test_clips_that_lack_modalities_train_too(tiny, clips_and_labels):
    clips, y = clips_and_labels
    mixed = [
        Clip(text=clip.text) if i % 3 == 0 else Clip(video=clip.video) if i % 3 == 1 else clip
        for i, clip in enumerate(clips)
    ]
    classifier = tiny(anchors=pictures("happy", "angry"), objective="vega", epochs=3)
    classifier.fit(mixed, y)
    assert all(np.isfinite(line["loss"]) for line in classifier.history_)
    assert np.isfinite(classifier.predict_proba(mixed)).all()


def test_microbatches_add_up(tiny, clips_and_labels):
    clips, y = clips_and_labels
    losses = []
    for microbatch in (12, 5):
        classifier = tiny(
            anchors=pictures("happy", "angry"),
            network={"decoder": {"heads": 2, "dropout": 0.0}},
            objective="vega",
            batch_size=12,
            microbatch=microbatch,
            epochs=1,
        )
        classifier._ready()
        torch.nn.Dropout.forward, kept = (lambda self, x: x), torch.nn.Dropout.forward
        try:
            losses.append(classifier.fit(clips, y).history_[0]["loss"])
        finally:
            torch.nn.Dropout.forward = kept
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_seed_decides_everything(tiny, clips_and_labels):
    clips, y = clips_and_labels
    first, same, other = (
        tiny(anchors=pictures("happy", "angry"), epochs=2, random_state=seed)
        .fit(clips, y)
        .predict_proba(clips)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tiny, clips_and_labels, tmp_path):
    clips, y = clips_and_labels

    class StopAfterOne:
        def __getattr__(self, name):
            return lambda trainer, *given: (
                setattr(trainer, "stop", True) if name == "on_epoch_end" else None
            )

    params = {"anchors": pictures("happy", "angry"), "epochs": 3, "batch_size": 4}
    whole = tiny(**params).fit(clips, y)
    tiny(**params, checkpoint_dir=tmp_path, callbacks=[StopAfterOne()]).fit(clips, y)
    resumed = tiny(**params, checkpoint_dir=tmp_path).fit(clips, y)
    assert [line["loss"] for line in resumed.history_] == [line["loss"] for line in whole.history_]
    np.testing.assert_array_equal(resumed.predict_proba(clips), whole.predict_proba(clips))
    with pytest.raises(CheckpointError, match="other settings"):
        tiny(**params, objective="vega", checkpoint_dir=tmp_path).fit(clips, y)


def test_calibration_is_of_the_source_that_answers(tiny, clips_and_labels):
    clips, y = clips_and_labels
    classifier = tiny(["happy", "angry"], anchors=pictures("happy", "angry"), tune="none")
    words = classifier.set_params(predict_from="labels").predict_proba(clips)
    classifier.set_params(predict_from="anchors").fit(clips, y)
    assert classifier(clips[0]).calibrated
    assert classifier.calibration_["temperature"] != 1.0
    classifier.set_params(predict_from="labels")
    assert not classifier(clips[0]).calibrated
    np.testing.assert_array_equal(classifier.predict_proba(clips), words)


# Kept -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted_and_clips():
    from conftest import TINY, make_clips

    clips, y = make_clips(12)
    classifier = EmotionClassifier(
        anchors=pictures("happy", "angry"),
        model=TINY,
        pretrained="random",
        network={"decoder": {"heads": 2}},
        epochs=2,
    )
    return classifier.fit(clips, y), clips


def test_a_checkpoint_keeps_pictures_and_branch(fitted_and_clips, tmp_path):
    classifier, clips = fitted_and_clips
    directory = classifier.save_pretrained(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    assert config["format_version"] == 4
    assert config["anchors"] == [["happy", 3], ["angry", 3]]
    stored = load_file(directory / "model.safetensors")
    assert stored["anchors.features"].shape == (6, 32)
    assert stored["anchors.centres"].shape == (2, 32)
    loaded = EmotionClassifier.from_pretrained(directory)
    assert loaded.predict_from == "anchors"
    np.testing.assert_allclose(
        loaded.predict_proba(clips), classifier.predict_proba(clips), atol=1e-6
    )
    for source in ("labels", "both"):
        loaded.set_params(predict_from=source)
        classifier.set_params(predict_from=source)
        np.testing.assert_allclose(
            loaded.predict_proba(clips), classifier.predict_proba(clips), atol=1e-6
        )
    classifier.set_params(predict_from="auto")


def test_a_model_without_anchors_is_written_as_before(tiny, tmp_path):
    directory = tiny(["happy", "sad"]).save_pretrained(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    assert config["format_version"] == 2
    assert "anchors" not in config
    assert "anchor_hidden" not in config["network"]
    assert "predict_from" not in config["classifier"]


@pytest.mark.parametrize(
    ("anchors", "said"),
    [
        ([["happy", 4], ["angry", 3]], "anchors.features"),
        ([["happy", 10**9], ["angry", 3]], "room"),
        ([["happy", -1]], "pairs"),
        ([["happy", 3], ["happy", 3]], "twice"),
        ("happy", "pairs"),
        ([["happy", 3]], "anchors.centres"),
    ],
)
def test_anchors_that_do_not_fit_their_weights_are_refused(
    fitted_and_clips, tmp_path, anchors, said
):
    directory = fitted_and_clips[0].save_pretrained(tmp_path)
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "anchors": anchors}))
    with pytest.raises(CheckpointError, match=said):
        EmotionClassifier.from_pretrained(directory)


def test_missing_anchors_are_named(fitted_and_clips, tmp_path):
    directory = fitted_and_clips[0].save_pretrained(tmp_path)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if n != "anchors.features"}, path)
    with pytest.raises(CheckpointError, match=r"missing: \['anchors.features'\]"):
        EmotionClassifier.from_pretrained(directory)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda classifier: pickle.loads(pickle.dumps(classifier))]
)
def test_copies_answer_alike(fitted_and_clips, copied):
    classifier, clips = fitted_and_clips
    other = copied(classifier)
    np.testing.assert_allclose(
        other.predict_proba(clips), classifier.predict_proba(clips), atol=1e-6
    )
    torch.testing.assert_close(embedded(other), embedded(classifier))


def test_a_pickle_needs_no_picture_again(tiny, faces, clips_and_labels, tmp_path):
    clips, _ = clips_and_labels
    for label in ("happy", "sad"):
        write_picture(tmp_path / f"{label}.png", LEVELS[label])
    anchors = {label: tmp_path / f"{label}.png" for label in ("happy", "sad")}
    classifier = tiny(anchors=anchors)
    found = classifier.predict_proba(clips)
    stored = pickle.dumps(classifier)
    for path in anchors.values():
        path.unlink()
    np.testing.assert_allclose(pickle.loads(stored).predict_proba(clips), found, atol=1e-6)


def test_clones_have_the_same_parameters(tiny):
    anchors = pictures("happy", "sad")
    classifier = tiny(anchors=anchors, predict_from="anchors", objective=VegaObjective())
    copied = clone(classifier)
    assert copied.predict_from == "anchors"
    assert copied.objective == VegaObjective()
    assert copied.anchors.keys() == anchors.keys()


def test_new_pictures_can_be_given_to_a_model_that_has_some(fitted_and_clips, tmp_path):
    classifier, clips = fitted_and_clips
    directory = classifier.save_pretrained(tmp_path)
    swapped = {"happy": picture(LEVELS["angry"]), "angry": picture(LEVELS["happy"])}
    other = EmotionClassifier.from_pretrained(directory, anchors=swapped)
    assert np.abs(other.predict_proba(clips) - classifier.predict_proba(clips)).max() > 1e-3
