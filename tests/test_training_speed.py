"""Saved features, bfloat16 training, and streams: as before, only with less work."""

from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional

from conftest import make_clips
from merclip import Callback, Features
from merclip.errors import FeaturesNotFoundError, InputError
from merclip.network.attention import Attention
from merclip.preprocess import ClipFeatures
from merclip.preprocess import feature_file as files
from merclip.training.sources import SampleSource
from merclip.training.stream import Stream

ORIGIN = "0123456789abcdef"


@pytest.fixture(scope="module")
def data():
    return make_clips(16)


def some_features(n=5, width=8):
    """Clips of several lengths, with and without each modality, and one that failed."""
    generator = torch.Generator().manual_seed(0)
    clips = []
    for row in range(n):
        lengths = {"L": row % 4, "V": 2, "A": (row + 1) % 3}
        sequences = {
            letter: torch.randn(length, width, generator=generator)
            for letter, length in lengths.items()
            if length
        }
        clips.append(ClipFeatures(sequences, f"clip {row}", ("Cut.",) * (row % 2), faces=row))
    clips.append(ClipFeatures({}, None, error="DecodeError: broken ä"))
    return Features(clips, ORIGIN)


@pytest.fixture
def saved(tmp_path):
    features, path = some_features(), tmp_path / "clips.features"
    features.save(path)
    return features, path


def same_clips(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        facts = [(c.id, c.warnings, c.error, c.faces, c.modalities) for c in (one, other)]
        assert facts[0] == facts[1]
        for letter, sequence in one.sequences.items():
            assert torch.equal(sequence, other.sequences[letter])
            assert other.sequences[letter].dtype == torch.float32
    return True


def weights(classifier):
    return {name: value.clone() for name, value in classifier.network_.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


# Saved features


def test_saved_features_are_the_same(saved):
    features, path = saved
    loaded = Features.load(path)
    assert same_clips(features, loaded)
    assert loaded.origin == ORIGIN
    assert repr(loaded) == "Features(n=6)"


def test_loaded_features_are_indexed_as_others_are(saved):
    features, path = saved
    loaded = Features.load(str(path))
    assert loaded[-1].error == features[-1].error
    for index in (slice(1, 4), [4, 0, 4], np.array([True, False] * 3), slice(None, None, -1)):
        assert same_clips(features[index], loaded[index])
    assert same_clips(features[1:][[2, 0]], loaded[1:][[2, 0]])
    with pytest.raises(IndexError):
        loaded[6]


def test_a_part_of_loaded_features_is_saved_alone_also_over_its_own_file(saved):
    features, path = saved
    Features.load(path)[1:3].save(path)
    assert same_clips(features[1:3], Features.load(path))
    assert os.listdir(path.parent) == [path.name]


def test_no_clips_are_saved_too(tmp_path):
    Features([], ORIGIN).save(tmp_path / "none")
    assert len(Features.load(tmp_path / "none")) == 0


def test_half_the_numbers_in_half_the_space(tmp_path):
    features = Features([ClipFeatures({"V": torch.randn(500, 64)})], ORIGIN)
    for name, dtype in (("whole", "float32"), ("half", "float16")):
        features.save(tmp_path / name, dtype=dtype)
    sizes = [(tmp_path / name).stat().st_size for name in ("whole", "half")]
    assert sizes[0] - sizes[1] == 500 * 64 * 2
    found = Features.load(tmp_path / "half")[0].sequences["V"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, features[0].sequences["V"], rtol=2**-11, atol=1e-7)


def test_what_float16_cannot_hold_is_refused(tmp_path):
    features = Features([ClipFeatures({"V": torch.full((1, 2), 1e5)})], ORIGIN)
    with pytest.raises(InputError, match="float32"):
        features.save(tmp_path / "large", dtype="float16")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", None, ["float32"]])
def test_an_unknown_dtype_is_refused(tmp_path, dtype):
    with pytest.raises(InputError, match="dtype is one of"):
        some_features().save(tmp_path / "clips", dtype=dtype)


def test_embeddings_of_several_widths_are_refused(tmp_path):
    clips = [ClipFeatures({"V": torch.zeros(1, width)}) for width in (2, 3)]
    with pytest.raises(InputError, match="one width"):
        Features(clips, ORIGIN).save(tmp_path / "clips")


def test_a_write_that_fails_leaves_the_old_file(saved, monkeypatch):
    features, path = saved

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_narrowed", fail)
    with pytest.raises(InputError, match="No space left"):
        features[:2].save(path)
    monkeypatch.undo()
    assert same_clips(features, Features.load(path))
    assert os.listdir(path.parent) == [path.name]


def test_places_that_cannot_be_written_or_read(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        some_features().save(tmp_path / "no" / "such" / "folder")
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FeaturesNotFoundError, match="check the path"):
            Features.load(path)
    for path in (None, 3, b"clips"):
        with pytest.raises(TypeError, match="by its path"):
            Features.load(path)


def test_a_file_that_was_cut_anywhere_is_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="features"):
            Features.load(path)


def test_a_changed_header_or_list_is_never_another_error(saved):
    features, path = saved
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    ends = header + 3 * 8 * len(features)
    for place in [*range(0, ends, 5), *range(len(whole) - 200, len(whole), 3)]:
        changed = bytearray(whole)
        changed[place] ^= 0x15
        path.write_bytes(changed)
        try:
            list(Features.load(path))
        except InputError:
            continue
        # What is left are spaces of the header and names within its checksum.
        assert place < header


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"L": torch.zeros(2, 2)}, path)
    with pytest.raises(InputError, match="not of merclip's features"):
        Features.load(path)
    metadata = {"format": files.FORMAT, "version": "2"}
    safetensors.torch.save_file({"L": torch.zeros(2, 2)}, path, metadata)
    with pytest.raises(InputError, match="reads format 1"):
        Features.load(path)
    for content in (b"", b"id,label\n", b"\x80\x04]\x94."):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a file of features"):
            Features.load(path)


def forged(**changed):
    """Return the content of a file with a right checksum and wrong tensors."""
    clips = {
        "origin": ORIGIN,
        "ids": ["a", None],
        "notes": [{"warnings": [], "error": None, "faces": None}],
        "note_of": [0, 0],
    }
    clips.update({name: value for name, value in changed.items() if name in clips})
    text = torch.frombuffer(bytearray(json.dumps(clips).encode()), dtype=torch.uint8)
    tensors = {"V": torch.zeros(3, 4), "V.ends": torch.tensor([1, 3]), "clips": text}
    tensors.update({name.replace("_", "."): v for name, v in changed.items() if name not in clips})
    metadata = {"format": files.FORMAT, "version": "1", "sha256": files._digest(tensors)}
    return safetensors.torch.save(tensors, metadata)


@pytest.mark.parametrize(
    "changed",
    [
        {"V_ends": torch.tensor([2, 1])},
        {"V_ends": torch.tensor([-1, 3])},
        {"V_ends": torch.tensor([1, 4])},
        {"V_ends": torch.tensor([1, 2, 3])},
        {"V_ends": torch.tensor([1.0, 3.0])},
        {"V": torch.zeros(3)},
        {"V": torch.zeros(3, 4, dtype=torch.int32)},
        {"X": torch.zeros(1)},
        {"A": torch.zeros(1, 4)},
        {"ids": "ab"},
        {"ids": [1, 2]},
        {"ids": None},
        {"notes": []},
        {"notes": [{"warnings": [], "id": "x"}]},
        {"note_of": [0, 1]},
        {"note_of": [0, "0"]},
        {"origin": None},
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path, changed):
    path = tmp_path / "clips"
    path.write_bytes(forged())
    assert len(Features.load(path)) == 2
    path.write_bytes(forged(**changed))
    with pytest.raises(InputError, match="damaged"):
        Features.load(path)


def test_a_pickle_names_the_file(saved):
    features, path = saved
    loaded = Features.load(path)[1:]
    content = pickle.dumps(loaded)
    assert len(content) < 1000
    assert same_clips(features[1:], pickle.loads(content))
    features[:3].save(path)
    with pytest.raises(InputError, match="another file"):
        pickle.loads(content)


LOAD = """
import sys
from merclip import Features

def held():
    lines = open("/proc/self/status").read().splitlines()
    return {l.split(":")[0]: int(l.split()[1]) for l in lines if l.startswith("Rss")}

before = held()
features = Features.load(sys.argv[1])
loaded = held()
total = sum(float(part.sum()) for clip in features for part in clip.sequences.values())
after = held()
print(sum(loaded.values()) - sum(before.values()), after["RssAnon"] - before["RssAnon"], total)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's counters")
def test_a_large_file_is_not_read_into_memory(tmp_path):
    parts = torch.ones(64, 1000, 256)  # 64 MiB
    path = tmp_path / "large"
    Features([ClipFeatures({"V": part}) for part in parts], ORIGIN).save(path)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True
    )
    loaded, own, total = map(float, done.stdout.split())
    assert total == parts.numel()
    assert loaded < 16_000  # KiB: after loading
    assert own < 16_000  # of memory of its own, after all of it was read


def test_loaded_features_do_as_features_in_memory(tiny, data, tmp_path):
    clips, y = data
    classifier = tiny(["happy", "angry"], epochs=2, validation=0.25)
    features = classifier.encode(clips)
    features.save(tmp_path / "clips")
    loaded = Features.load(tmp_path / "clips")
    runs = []
    for given in (features, loaded):
        fitted = tiny(["happy", "angry"], epochs=2, validation=0.25).fit(given, y)
        fitted.partial_fit(given[:4], y[:4])
        report = fitted.evaluate(given, y)
        runs.append((weights(fitted), fitted.predict_proba(given), report.metrics))
    assert same(runs[0][0], runs[1][0])
    assert (runs[0][1] == runs[1][1]).all()
    assert runs[0][2] == runs[1][2]


def test_loaded_features_of_another_model_are_refused(tiny, saved):
    features = Features.load(saved[1])
    with pytest.raises(InputError, match="another model"):
        tiny(["happy", "angry"]).predict(features)


# The loop


def test_one_query_takes_what_many_take():
    torch.manual_seed(0)
    attention = Attention(16, 4)
    torch.nn.init.normal_(attention.in_proj_bias)
    queries, keys = torch.randn(3, 2, 16), torch.randn(3, 5, 16)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 1, 1, 1, 0]], dtype=torch.bool)
    found = []
    for given in ([queries], [queries[:, :1], queries[:, 1:]]):
        attention.zero_grad()
        known = keys.clone().requires_grad_()
        taken = torch.cat([attention(part, known, mask[:, None, None]) for part in given], dim=1)
        taken.pow(2).sum().backward()
        gradients = [p.grad.clone() for p in attention.parameters()]
        found.append([taken.detach(), known.grad, *gradients])
    for many, one in zip(*found, strict=True):
        torch.testing.assert_close(many, one, rtol=1e-4, atol=1e-5)


def test_dropout_of_one_query_has_the_mean_of_none():
    torch.manual_seed(0)
    attention = Attention(8, 2, dropout=0.3)
    torch.nn.init.normal_(attention.in_proj_bias)
    query, keys = torch.randn(1, 1, 8), torch.randn(1, 6, 8)
    mask = torch.ones(1, 1, 1, 6, dtype=torch.bool)
    expected = attention.eval()(query, keys, mask)
    drawn = attention.train()(
        query.expand(20000, -1, -1), keys.expand(20000, -1, -1), mask.expand(20000, -1, -1, -1)
    )
    torch.testing.assert_close(drawn.mean(0, keepdim=True), expected, rtol=0.05, atol=0.02)
    assert drawn.std(0).min() > 0


class Counted:
    """Counts how often labels are encoded."""

    def __init__(self, network):
        self.network, self.calls = network, 0
        self._encode = network.encode_labels
        network.encode_labels = self

    def __call__(self, texts):
        self.calls += 1
        return self._encode(texts)


class CountLabels(Callback):
    def on_fit_begin(self, trainer):
        self.counted = Counted(trainer.network)

    def on_fit_end(self, trainer):
        del trainer.network.encode_labels


def test_labels_are_encoded_once_where_no_contexts_train_and_else_once_a_step(tiny, data):
    clips, y = data
    for contexts, expected in ((0, 1), (4, 3 * 4 + 3)):
        counting = CountLabels()
        classifier = tiny(
            epochs=3,
            batch_size=4,
            microbatch=2,
            validation=np.arange(16) >= 13,
            network={"n_label_contexts": contexts},
            callbacks=[counting],
        )
        classifier.fit(clips, y)
        assert counting.counted.calls == expected


def test_parts_of_a_batch_learn_label_contexts_as_the_whole_does(tiny, data):
    clips, y = data
    common = {
        "epochs": 1,
        "validation": 0.0,
        "batch_size": 16,
        "network": {"decoder": {"dropout": 0.0, "heads": 2}, "n_label_contexts": 4},
    }
    vectors = [
        tiny(microbatch=size, **common).fit(clips, y).network_.label_prompt.vectors
        for size in (16, 2)
    ]
    torch.testing.assert_close(*vectors, rtol=0, atol=2e-5)


def test_texts_of_like_length_come_together():
    source = SampleSource(6, None, None, None, [30, 5, 60, 6, 50, 31])
    assert source.alike([0, 1, 2, 3]) == [1, 3, 0, 2]
    assert sorted(source.alike(range(6))) == list(range(6))


# bfloat16


def full(tiny, labels=None, **params):
    return tiny(labels, tune="full", **{"epochs": 4, "validation": 0.0, "lr": 1e-3, **params})


def test_bfloat16_learns_as_float32_does_and_leaves_float32(tiny, data):
    clips, y = data
    runs = [full(tiny, train_dtype=dtype).fit(clips, y) for dtype in ("float32", "bfloat16")]
    losses = [[record["loss"] for record in run.history_] for run in runs]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.1)
    assert losses[1][-1] < losses[1][0]
    found, before = weights(runs[1]), weights(full(tiny))
    assert {value.dtype for value in found.values()} == {torch.float32}
    for name, value in found.items():
        if name.startswith("label_encoder"):
            assert torch.equal(value, before[name])
        if name.startswith("encoders.V") and name.endswith("weight"):
            assert not torch.equal(value, value.bfloat16().float())
    assert not any(parameter.requires_grad for parameter in runs[1].network_.parameters())


def test_steps_too_small_for_bfloat16_are_not_lost(tiny, data):
    clips, y = data
    before = weights(full(tiny))
    after = weights(full(tiny, train_dtype="bfloat16", lr=1e-6, epochs=1).fit(clips, y))
    name = next(n for n in before if n.startswith("encoders.V") and n.endswith("c_fc.weight"))
    assert not torch.equal(before[name], after[name])
    assert torch.equal(before[name].bfloat16(), after[name].bfloat16()) or (
        (before[name].bfloat16() != after[name].bfloat16()).float().mean() < 0.01
    )


def test_towers_with_batch_norms_train_in_bfloat16(tiny, data):
    clips, y = data
    architecture = {
        "embed_dim": 32,
        "vision_cfg": {"tower": "residual", "image_size": 32, "widths": [8, 16], "hidden": 16},
        "text_cfg": {"width": 32, "heads": 2, "layers": 1},
    }
    runs = []
    for dtype in ("float32", "bfloat16"):
        classifier = full(tiny, train_dtype=dtype, epochs=2)
        classifier.model = architecture
        runs.append(classifier.fit(clips, y))
    found = weights(runs[1])
    assert {v.dtype for v in found.values() if v.is_floating_point()} == {torch.float32}
    for name, value in weights(runs[0]).items():
        if name.endswith("running_mean"):
            torch.testing.assert_close(found[name], value, rtol=0.1, atol=0.02)


class Stop(Callback):
    def on_batch_end(self, trainer, step, loss):
        if step == 3:
            raise KeyboardInterrupt


class Fail(Callback):
    def on_batch_end(self, trainer, step, loss):
        raise RuntimeError("of the user")


def test_a_resumed_run_in_bfloat16_ends_like_one_that_was_not_stopped(tiny, data, tmp_path):
    clips, y = data
    common = {"train_dtype": "bfloat16", "epochs": 3, "batch_size": 8}
    whole = full(tiny, **common).fit(clips, y)
    full(tiny, checkpoint_dir=tmp_path, callbacks=[Stop()], **common).fit(clips, y)
    resumed = full(tiny, checkpoint_dir=tmp_path, **common).fit(clips, y)
    assert resumed.history_ == whole.history_
    assert same(weights(resumed), weights(whole))
    with pytest.raises(RuntimeError, match="other settings"):
        full(tiny, checkpoint_dir=tmp_path, **{**common, "train_dtype": "float32"}).fit(clips, y)


def test_an_error_of_a_callback_leaves_float32(tiny, data):
    clips, y = data
    classifier = full(tiny, ["happy", "angry"], train_dtype="bfloat16", callbacks=[Fail()])
    with pytest.raises(RuntimeError, match="of the user"):
        classifier.fit(clips, y)
    assert {value.dtype for value in weights(classifier).values()} == {torch.float32}
    assert np.isfinite(classifier.predict_proba(clips)).all()


def test_predictions_after_training_are_of_the_new_weights(tiny, data):
    clips, y = data
    classifier = full(tiny, ["happy", "angry"], train_dtype="bfloat16", dtype="bfloat16")
    classifier.network_.fusion_trained = True
    before = classifier.predict_proba(clips)
    classifier.partial_fit(clips, y)
    after = classifier.predict_proba(clips)
    assert not np.allclose(before, after, atol=1e-3)
    classifier.set_params(dtype="float32")
    expected = pickle.loads(pickle.dumps(classifier)).predict_proba(clips)
    np.testing.assert_allclose(after, expected, atol=0.05)


@pytest.mark.parametrize("wrong", ["float16", "auto", None])
def test_an_unknown_precision_of_training_is_refused(tiny, data, wrong):
    with pytest.raises(ValueError, match="train_dtype is one of"):
        tiny(train_dtype=wrong).fit(*data)


# Streams


def test_a_stream_is_one_training_with_one_optimiser(tiny, data):
    clips, y = data
    settings = {"network": {"decoder": {"dropout": 0.0, "heads": 2}}, "lr": 1e-3}
    classifier = tiny(["happy", "angry"], **settings)
    features = classifier.encode(clips)
    for start in range(0, 16, 4):
        classifier.partial_fit(features[start : start + 4], y[start : start + 4])
    expected = by_hand(tiny(["happy", "angry"], **settings), features, y)
    for name, value in expected.items():
        torch.testing.assert_close(weights(classifier)[name], value, rtol=0, atol=1e-4)


def by_hand(classifier, features, y):
    """Train by AdamW at one rate, four clips a step."""
    from merclip.preprocess import pad_features

    network = classifier.network_
    network.fusion_trained = True
    learned = [p for p in network.head_parameters() if p.numel()]
    for parameter in learned:
        parameter.requires_grad_(True)
    groups = [
        {"params": [p for p in learned if p.ndim >= 2], "weight_decay": 1e-3},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))
    session = classifier._session
    from merclip.engine import embed_labels, label_tokens

    tokens = label_tokens(classifier.labels_, ["{}"], network.max_label_tokens)
    targets = torch.tensor([classifier.classes_.tolist().index(label) for label in y])
    assert session.stream.calls == 0
    for start in range(0, 16, 4):
        adam.zero_grad()
        fused = network.fuse(pad_features(list(features[start : start + 4])))
        logits = network.logits(fused, embed_labels(network, tokens), False)
        functional.cross_entropy(logits, targets[start : start + 4]).backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        adam.step()
    network.requires_grad_(False)
    return weights(classifier)


def test_a_stream_learns_at_one_rate_and_draws_anew_in_each_call(tiny, data):
    clips, y = data
    classifier = tiny(["happy", "angry"])
    features = classifier.encode(clips)
    rates, losses = set(), []
    for _ in range(12):
        record = classifier.partial_fit(features[:8], y[:8]).history_[0]
        rates.add(record["lr"])
        losses.append(record["loss"])
    assert rates == {1e-3}  # that of a fresh fusion, also when it is no longer fresh
    assert losses[-1] < 0.5 * losses[0]
    assert classifier._session.stream.calls == 12
    seeds = {classifier._session.stream.seed(0)}
    classifier.partial_fit(features[:8], y[:8])
    assert classifier._session.stream.seed(0) not in seeds
    assert Stream().seed(7) == 7


def test_the_same_stream_gives_the_same_weights(tiny, data):
    clips, y = data
    runs = []
    for _ in range(2):
        classifier = tiny(["happy", "angry"], random_state=3)
        for start in range(0, 16, 4):
            classifier.partial_fit(clips[start : start + 4], y[start : start + 4])
        runs.append(weights(classifier))
    assert same(*runs)


def test_fit_and_another_tune_begin_a_new_stream(tiny, data):
    clips, y = data
    classifier = tiny(["happy", "angry"], epochs=1)
    classifier.partial_fit(clips, y)
    first = classifier._session.stream._adam
    classifier.partial_fit(clips, y)
    assert classifier._session.stream._adam is first
    classifier.set_params(tune="full").partial_fit(clips[:4], y[:4])
    assert classifier._session.stream._adam is not first
    classifier.set_params(tune="head").fit(clips, y)
    assert classifier._session.stream.calls == 0
    assert pickle.loads(pickle.dumps(classifier))._session.stream.calls == 0


def test_a_stream_in_bfloat16_keeps_its_optimiser(tiny, data):
    clips, y = data
    classifier = full(tiny, ["happy", "angry"], train_dtype="bfloat16")
    for _ in range(3):
        classifier.partial_fit(clips[:4], y[:4])
    adam = classifier._session.stream._adam
    learned = {p for group in adam.param_groups for p in group["params"]}
    assert learned <= set(classifier.network_.parameters())
    assert {int(state["step"]) for state in adam.state.values()} == {3}
    assert set(adam.state) <= learned


def test_a_long_stream_encodes_labels_once_and_holds_nothing(tiny, data):
    clips, y = data
    classifier = tiny(["happy", "angry"], network={"n_label_contexts": 0})
    features = classifier.encode(clips)
    classifier.network_.fusion_trained = True
    counted = Counted(classifier.network_)
    for _ in range(3):
        classifier.partial_fit(features[:4], y[:4])
        classifier.predict(features)
    assert counted.calls == 2  # once to learn, once to predict
    gc.collect()
    before = sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())
    for _ in range(20):
        classifier.partial_fit(features[:4], y[:4])
    gc.collect()
    after = sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())
    assert counted.calls == 2
    assert after <= before + 5
