"""fit learns, repeats, resumes, stops early and keeps the best."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import make_clips
from merclip import Callback, Clip, EarlyStopping, Features, Video
from merclip._random import random_state, seeded, set_random_state
from merclip.errors import DivergenceError, LabelError, MerclipWarning
from merclip.training import PRESETS, TrainingPlan, class_weights, hold_out, learning_rates
from merclip.training.losses import clip_losses, validation_score


@pytest.fixture(scope="module")
def data():
    return make_clips(32)


def weights(classifier):
    return {name: value.clone() for name, value in classifier.network_.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def unlike_clips(n):
    """Clips of one colour and one tone each, whose labels only memory can tell."""
    generator = np.random.default_rng(1)
    clips = []
    for index in range(n):
        frames = np.broadcast_to(generator.integers(0, 256, 3), (2, 24, 24, 3)).astype(np.uint8)
        tone = np.sin(2 * np.pi * 150 * 1.13**index * np.arange(8000) / 16000)
        clips.append(Clip(video=Video(frames, fps=5), audio=(tone, 16000)))
    return clips, generator.permutation(["angry", "happy"] * (n // 2)).tolist()


def test_full_training_overfits_32_clips(tiny):
    clips, y = unlike_clips(32)
    classifier = tiny(tune="full", epochs=90, lr=1e-3, validation=0.0, microbatch=16)
    assert classifier.fit(clips, y).score(clips, y) == 1


def test_head_training_learns_what_generalises(tiny, data):
    clips, y = data
    classifier = tiny(epochs=10).fit(clips, y)
    others, truth = make_clips(20, seed=9)
    assert classifier.score(others, truth) >= 0.95


def test_head_training_leaves_encoders_and_label_encoder_alone(tiny, data):
    clips, y = data
    classifier = tiny(epochs=2)
    before = weights(classifier)
    after = weights(classifier.fit(clips, y))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "query_prompt", "label_prompt", "scales"}


def test_full_training_trains_every_encoder_but_not_the_label_encoder(tiny, data):
    clips, y = data
    classifier = tiny(tune="full", epochs=1, validation=0.0)
    before = weights(classifier)
    after = weights(classifier.fit(clips[:8], y[:8]))
    changed = {
        ".".join(name.split(".")[:2])
        for name in before
        if not torch.equal(before[name], after[name])
    }
    assert {"encoders.L", "encoders.V", "encoders.A"} <= changed
    assert not any(name.startswith("label_encoder") for name in changed)


@pytest.mark.parametrize("tune", ["head", "full"])
def test_the_same_seed_gives_the_same_weights(tiny, data, tune):
    clips, y = data
    runs = [
        weights(tiny(tune=tune, epochs=2, random_state=7).fit(clips[:8], y[:8])) for _ in range(2)
    ]
    assert same(*runs)
    other = weights(tiny(tune=tune, epochs=2, random_state=8).fit(clips[:8], y[:8]))
    assert not same(runs[0], other)


def test_training_leaves_the_global_generators_alone(tiny, data):
    clips, y = data
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    tiny(epochs=1).fit(clips, y)
    assert (torch.rand(1), np.random.rand()) == expected


def test_a_device_has_its_own_seed_and_its_state_back(monkeypatch):
    """There is a generator of each GPU; torch.manual_seed would seed them all."""
    gpus = torch.Generator(), torch.Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", gpus)
    states = [gpu.get_state() for gpu in gpus]
    drawn = []
    for _ in range(2):
        with seeded(7, torch.device("cuda", 1)):
            first = torch.rand(3), torch.rand(3, generator=gpus[1])
            between = random_state(torch.device("cuda", 1))
            rest = torch.rand(3), torch.rand(3, generator=gpus[1])
            drawn.append(torch.stack([*first, *rest]))
        assert torch.equal(gpus[0].get_state(), states[0])
        assert torch.equal(gpus[1].get_state(), states[1])
    assert torch.equal(*drawn)
    # What a run keeps is enough to go on from it, also where there is no such device.
    with seeded(8, torch.device("cuda", 1)):
        set_random_state(between, torch.device("cuda", 1))
        again = torch.rand(3), torch.rand(3, generator=gpus[1])
    assert torch.equal(torch.stack(again), torch.stack(rest))
    with seeded(8):
        set_random_state(between, torch.device("cpu"))
        assert torch.equal(torch.rand(3), rest[0])


def test_nothing_seeds_every_gpu(tiny, data, monkeypatch):
    def refused(*_):
        raise AssertionError("all GPUs were seeded")

    for name in ("manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state_all"):
        monkeypatch.setattr(torch.cuda, name, refused)
    monkeypatch.setattr(torch, "manual_seed", refused)
    clips, y = data
    classifier = tiny(epochs=1, network={"use_label_encoder": False}).fit(clips[:8], y[:8])
    classifier.partial_fit(clips[:8], y[:8])
    pickle.loads(pickle.dumps(classifier)).predict(clips[:2])


@pytest.mark.parametrize("epochs", [1, 6])
@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_fit_that_diverges_says_so_and_leaves_the_classifier_as_it_was(tiny, data, tune, epochs):
    clips, y = data[0][:8], data[1][:8]
    classifier = tiny(["angry", "happy"], tune=tune, epochs=epochs, lr=1e30, validation=0.0)
    before = classifier.predict_proba(clips)
    with pytest.raises(DivergenceError, match=r"(the loss|the gradient|an answer) is .* lr=1e\+30"):
        classifier.fit(clips, y)
    np.testing.assert_array_equal(classifier.predict_proba(clips), before)
    assert not any(p.requires_grad for p in classifier.network_.parameters())
    # So it is where it goes on, after one that went well.
    classifier.set_params(lr=1e-3, warm_start=True).fit(clips, y)
    before = weights(classifier)
    for fit in (classifier.fit, classifier.partial_fit):
        classifier.set_params(lr=1e30)
        with pytest.raises(DivergenceError):
            fit(clips, y)
        assert same(before, weights(classifier))
    classifier.set_params(lr=1e-3).partial_fit(clips, y)
    assert np.isfinite(classifier.predict_proba(clips)).all()


def test_a_loss_that_is_no_number_is_found_wherever_it_comes_from(tiny, data):
    clips, y = data
    classifier = tiny(["angry", "happy"], epochs=2, validation=0.25)
    features = list(classifier.encode(clips))
    origin = classifier.encode(clips[:1]).origin
    for row in (0, 31):
        broken = list(features)
        spoilt = {name: part * np.nan for name, part in features[row].sequences.items()}
        broken[row] = replace(features[row], sequences=spoilt)
        with pytest.raises(DivergenceError, match="features are no numbers"):
            classifier.fit(Features(broken, origin), y)


def test_training_with_anchors_that_diverges_leaves_no_branch(tiny, data):
    clips, y = data
    pictures = {"happy": np.full((24, 32, 3), 200, np.uint8), "angry": np.zeros((24, 32, 3), "u1")}
    classifier = tiny(anchors=pictures, lr=1e30, epochs=3)
    before = classifier.predict_proba(clips[:4])
    with pytest.raises(DivergenceError):
        classifier.fit(clips, y)
    assert classifier.network_.anchor_branch is None
    np.testing.assert_array_equal(classifier.predict_proba(clips[:4]), before)


def test_microbatches_add_up_to_the_batch(tiny, data):
    clips, y = data
    common = {
        "epochs": 1,
        "validation": 0.0,
        "batch_size": 16,
        "network": {"decoder": {"dropout": 0.0, "heads": 2}},
    }
    whole = tiny(microbatch=16, **common).fit(clips, y)
    parts = tiny(microbatch=4, **common).fit(clips, y)
    np.testing.assert_allclose(
        whole.decision_function(clips), parts.decision_function(clips), atol=2e-3
    )


def test_history_has_a_line_for_each_epoch(tiny, data):
    clips, y = data
    history = tiny(epochs=3, validation=0.25).fit(clips, y).history_
    assert [record["epoch"] for record in history] == [0, 1, 2]
    assert set(history[0]) == {"epoch", "loss", "lr", "val_loss", "val_score"}
    assert history[-1]["loss"] < history[0]["loss"]


def test_without_enough_clips_there_is_no_validation(tiny, data):
    clips, y = data
    history = tiny(epochs=1).fit(clips[:4], y[:4]).history_
    assert history[0]["val_score"] is None


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_fit_begin(self, trainer):
        self.calls.append("fit_begin")

    def on_epoch_begin(self, trainer, epoch):
        self.calls.append(f"epoch_begin {epoch}")

    def on_batch_end(self, trainer, step, loss):
        self.calls.append(f"batch {step}")
        assert loss > 0

    def on_epoch_end(self, trainer, record):
        self.calls.append(f"epoch_end {record['epoch']}")

    def on_fit_end(self, trainer):
        self.calls.append("fit_end")


def test_callbacks_are_called_in_order(tiny, data):
    clips, y = data
    recorder = Recorder()
    tiny(epochs=2, validation=0.0, callbacks=[recorder]).fit(clips, y)
    epoch = ["epoch_begin {0}", "batch {1}", "batch {2}", "epoch_end {0}"]
    expected = ["fit_begin"]
    expected += [call.format(0, 1, 2) for call in epoch] + [call.format(1, 3, 4) for call in epoch]
    assert recorder.calls == [*expected, "fit_end"]


def test_early_stopping_ends_training_after_its_patience(tiny, data):
    clips, y = data
    stopping = EarlyStopping(patience=2, monitor="val_loss", min_delta=100)
    classifier = tiny(epochs=20, validation=0.25, callbacks=[stopping]).fit(clips, y)
    assert len(classifier.history_) == 3


def test_early_stopping_without_validation_says_so(tiny, data):
    clips, y = data
    with pytest.raises(ValueError, match="val_score"):
        tiny(epochs=2, validation=0.0, callbacks=[EarlyStopping()]).fit(clips, y)


class Interrupt(Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, step, loss):
        if step == self.step:
            raise KeyboardInterrupt


def test_an_interrupt_keeps_the_best_state_so_far(tiny, data):
    clips, y = data
    common = {"validation": 0.0, "lr": 1e-3, "epochs": 6}
    # Two steps an epoch: the interrupt comes in the middle of the third.
    stopped = tiny(callbacks=[Interrupt(5)], **common).fit(clips, y)
    assert stopped.interrupted_
    assert len(stopped.history_) == 2

    class Stop(Callback):
        def on_epoch_end(self, trainer, record):
            trainer.stop = record["epoch"] == 1

    whole = tiny(callbacks=[Stop()], **common).fit(clips, y)
    assert not whole.interrupted_
    assert same(weights(stopped), weights(whole))


@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_resumed_run_ends_like_one_that_was_not_stopped(tiny, data, tmp_path, tune):
    clips, y = data
    clips, y = clips[:16], y[:16]
    common = {"tune": tune, "epochs": 4, "validation": 0.25, "batch_size": 4}
    whole = tiny(**common).fit(clips, y)
    stopped = tiny(checkpoint_dir=tmp_path, callbacks=[Interrupt(7)], **common).fit(clips, y)
    assert len(stopped.history_) == 2
    resumed = tiny(checkpoint_dir=tmp_path, **common).fit(clips, y)
    assert [r["epoch"] for r in resumed.history_] == [0, 1, 2, 3]
    assert resumed.history_ == whole.history_
    assert same(weights(resumed), weights(whole))


def test_the_state_of_another_run_is_refused(tiny, data, tmp_path):
    clips, y = data
    tiny(epochs=1, checkpoint_dir=tmp_path).fit(clips, y)
    with pytest.raises(RuntimeError, match="other settings or data"):
        tiny(epochs=2, checkpoint_dir=tmp_path).fit(clips, y)


def test_the_best_epoch_is_kept_not_the_last(tiny, data):
    clips, y = data

    class Spoil(Callback):
        def on_epoch_begin(self, trainer, epoch):
            if epoch == 3:
                with torch.no_grad():
                    trainer.network.decoder.norm.weight.zero_()
                    trainer.network.decoder.norm.bias.zero_()

    common = {"epochs": 4, "validation": 0.25, "lr": 3e-3}
    spoilt = tiny(callbacks=[Spoil()], **common).fit(clips, y)
    scores = [record["val_score"] for record in spoilt.history_]
    assert scores[3] < max(scores)
    assert spoilt.score(clips, y) == 1


def test_class_weights_move_scores_towards_the_heavier_class(tiny, data):
    clips, y = data
    common = {"epochs": 3, "validation": 0.0}
    light, heavy = (
        tiny(class_weight={"angry": weight, "happy": 1.0}, **common).fit(clips, y)
        for weight in (0.02, 50.0)
    )
    column = light.classes_.tolist().index("angry")
    assert (
        heavy.predict_proba(clips)[:, column].mean() > light.predict_proba(clips)[:, column].mean()
    )


def test_sample_weight_of_zero_leaves_a_clip_out(tiny, data):
    clips, y = data
    wrong = ["happy" if label == "angry" else "angry" for label in y]
    classifier = tiny(epochs=10, validation=0.0)
    classifier.fit(clips + clips, y + wrong, sample_weight=[1] * 32 + [0] * 32)
    assert classifier.score(clips, y) == 1


def test_groups_stay_together_in_validation():
    targets = np.arange(40) % 2
    groups = np.repeat(np.arange(10), 4)
    train, held_out = hold_out(targets, 0.2, seed=0, groups=groups)
    assert not set(groups[train]) & set(groups[held_out])
    assert len(held_out) == 8


def test_validation_is_spread_over_classes():
    targets = np.array([0] * 30 + [1] * 10)
    train, held_out = hold_out(targets, 0.1, seed=0)
    assert np.bincount(targets[held_out]).tolist() == [3, 1]
    assert len(train) + len(held_out) == 40


def test_a_mask_says_what_is_held_out(tiny, data):
    clips, y = data
    mask = np.arange(len(clips)) % 4 == 0
    train, held_out = hold_out(np.arange(len(clips)) % 2, mask, seed=0)
    assert train.tolist() == np.flatnonzero(~mask).tolist()
    assert held_out.tolist() == np.flatnonzero(mask).tolist()
    swapped = [y[index - 1] if mask[index] else y[index] for index in range(len(clips))]
    scores = [
        tiny(epochs=2, validation=mask).fit(clips, labels).history_[-1]["val_score"]
        for labels in (y, swapped)
    ]
    assert scores[0] + scores[1] == pytest.approx(1)  # the labels that it is judged by are turned
    for wrong in (np.ones(32, dtype=bool), mask[:5], np.arange(32)):
        with pytest.raises(ValueError, match="validation as a mask"):
            tiny(epochs=1, validation=wrong).fit(clips, y)


def test_a_mask_goes_with_clips_that_cannot_be_read(tiny, data, tmp_path):
    clips, y = data
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    rows = [Clip(video=str(tmp_path / "broken.mp4")), *clips[:8]]
    mask = np.array([True] + [False] * 6 + [True] * 2)
    with pytest.warns(MerclipWarning, match="not trained on"):
        classifier = tiny(epochs=1, validation=mask, on_error="skip").fit(rows, [y[0], *y[:8]])
    assert classifier.history_[0]["val_score"] in (0.0, 0.5, 1.0)


def test_balanced_weights_are_inverse_to_counts_and_of_mean_1():
    found = class_weights("balanced", np.array([0, 0, 0, 1]), np.array(["a", "b"]))
    np.testing.assert_allclose(found, [2 / 3, 2], rtol=1e-6)


def test_learning_rate_presets():
    assert learning_rates("paper", "full", True) == PRESETS["paper"]
    assert learning_rates(None, "full", False) == PRESETS["practical"]
    assert learning_rates(None, "head", True) == PRESETS["few-shot"]
    assert learning_rates(None, "head", False) == PRESETS["fresh"]
    assert learning_rates(0.5, "head", True).head == 0.5
    for wrong in (-1, 0, "fast", True):
        with pytest.raises(ValueError, match="lr"):
            learning_rates(wrong, "head", True)


def test_the_schedule_warms_up_and_falls():
    from merclip.training.plan import schedule

    parameter = torch.nn.Parameter(torch.zeros(1))
    adam = torch.optim.AdamW([parameter], lr=1.0)
    rate = schedule(adam, TrainingPlan(PRESETS["paper"], False), n_steps=100)
    seen = []
    for _ in range(100):
        seen.append(rate.get_last_lr()[0])
        adam.step()
        rate.step()
    assert seen[0] == pytest.approx(0.2)
    assert max(seen) == seen[5] == pytest.approx(1.0)
    assert seen[-1] == pytest.approx(0.01, abs=2e-3)


def test_losses_have_known_values():
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    cross_entropy = clip_losses(logits, torch.tensor([0, 1]), multi_label=False)
    assert cross_entropy.tolist() == pytest.approx([np.log(2)] * 2)
    binary = clip_losses(logits, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), multi_label=True)
    assert binary.tolist() == pytest.approx([np.log(2)] * 2)


def test_validation_scores_have_known_values():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    assert validation_score(logits, np.array([0, 1, 1]), False) == pytest.approx(2 / 3)
    truth = np.array([[1, 0], [1, 1], [1, 1]])  # 4 hits, none false, 1 missed
    assert validation_score(logits, truth, True) == pytest.approx(8 / 9)


def test_partial_fit_goes_on_and_fit_starts_again(tiny, data):
    clips, y = data
    classifier = tiny(["happy", "angry"], epochs=2)
    for _ in range(15):
        classifier.partial_fit(clips, y)
    assert classifier.score(clips, y) >= 0.9
    fresh = tiny(["happy", "angry"], epochs=2).fit(clips, y)
    assert same(weights(classifier.fit(clips, y)), weights(fresh))


def test_partial_fit_needs_classes_first(tiny, data):
    clips, y = data
    with pytest.raises(ValueError, match="classes"):
        tiny().partial_fit(clips, y)
    classifier = tiny().partial_fit(clips[:1], y[:1], classes=["happy", "angry", "sad"])
    assert classifier.classes_.tolist() == ["angry", "happy", "sad"]
    classifier.partial_fit(clips, y)
    with pytest.raises(LabelError, match="are not those that are learned"):
        classifier.partial_fit(clips, y, classes=["happy", "angry", "bored"])


def test_warm_start_goes_on_from_the_last_fit(tiny, data):
    clips, y = data
    classifier = tiny(epochs=1, validation=0.0, warm_start=True, lr=1e-3)
    losses = [classifier.fit(clips, y).history_[0]["loss"] for _ in range(6)]
    assert losses[-1] < losses[0]
    cold = tiny(epochs=1, validation=0.0, lr=1e-3)
    assert cold.fit(clips, y).history_ == cold.fit(clips, y).history_


def test_calibration_alone_changes_no_label(tiny, data):
    clips, y = data
    classifier = tiny(["happy", "angry"], epochs=3).fit(clips, y)
    before = classifier.predict(clips), classifier.calibration_
    classifier.set_params(tune="none", warm_start=True).fit(clips, y)
    assert (classifier.predict(clips) == before[0]).all()
    assert before[1] == {"temperature": 1.0, "labels": None}
    assert classifier.calibration_["labels"] == ["angry", "happy"]
    assert classifier(clips[0]).calibrated
    assert not classifier(clips[0], labels=["glad", "cross"]).calibrated


def test_a_bad_clip_is_left_out_of_training_when_asked(tiny, data, tmp_path):
    clips, y = data
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    rows = [*clips, {"video": str(broken)}]
    for tune in ("head", "full"):
        common = {"tune": tune, "epochs": 1, "validation": 0.0}
        with pytest.raises(ValueError, match=r"broken\.mp4"):
            tiny(**common).fit(rows, [*y, "happy"])
        with pytest.warns(
            UserWarning, match=r"were not trained on|1 of \d+ clips was not trained on.*broken\.mp4"
        ):
            skipping = tiny(on_error="skip", **common).fit(rows, [*y, "happy"])
        assert skipping.score(clips, y) > 0
