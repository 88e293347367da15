"""What is saved comes back the same, and what is broken is refused by name."""

from __future__ import annotations

import json
from fnmatch import fnmatch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from merclip import EmotionClassifier
from merclip.errors import CheckpointError, CheckpointWarning
from merclip.network import save_checkpoint
from merclip.network.checkpoint import (
    FORMAT_VERSION,
    ROW_SCALES,
    TOKEN_TABLES,
    round_to_eight_bits,
)


@pytest.fixture
def saved(tiny, clips_and_labels, tmp_path):
    clips, y = clips_and_labels
    classifier = tiny(["happy", "angry"], epochs=2).fit(clips, y)
    return classifier, classifier.save_pretrained(tmp_path / "model")


def edit(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"share_token_table": True},
        {"share_token_table": True, "token_rank": 4},
        {"share_contexts": True},
        {"use_decoder": False},
        {"use_label_encoder": False},
        {"fusion": "VA"},
        {"query": None, "n_label_contexts": 0},
    ],
    ids=str,
)
def test_a_loaded_checkpoint_gives_the_same_logits(tiny, clips_and_labels, tmp_path, network):
    clips, y = clips_and_labels
    classifier = tiny(network=network, epochs=1).fit(clips, y)
    loaded = EmotionClassifier.from_pretrained(classifier.save_pretrained(tmp_path))
    np.testing.assert_array_equal(
        loaded.decision_function(clips), classifier.decision_function(clips)
    )


def test_full_training_is_saved_too(tiny, clips_and_labels, tmp_path):
    clips, y = clips_and_labels
    classifier = tiny(tune="full", epochs=1).fit(clips, y)
    loaded = EmotionClassifier.from_pretrained(classifier.save_pretrained(tmp_path))
    np.testing.assert_array_equal(loaded.predict_proba(clips), classifier.predict_proba(clips))


def test_a_directory_holds_config_weights_and_card_alone(saved):
    _, directory = saved
    assert {path.name for path in directory.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    assert (directory / "README.md").read_text().startswith("---\nlibrary_name: merclip")


def test_labels_prompt_and_thresholds_come_back(tiny, clips_and_labels, tmp_path):
    clips, _ = clips_and_labels
    described = {"rage": ["anger", "fury"], "joy": "a state of delight"}
    classifier = tiny(
        described, multi_label=True, threshold={"joy": 0.7}, prompt="a person feeling {}", epochs=1
    )
    classifier.fit(clips, [["joy"], ["rage"]] * 6)
    loaded = EmotionClassifier.from_pretrained(classifier.save_pretrained(tmp_path))
    assert loaded.labels_ == classifier.labels_
    assert loaded.labels_.names == ("rage", "joy")
    assert loaded.multi_label
    assert loaded.threshold_.tolist() == [0.7, 0.5]
    np.testing.assert_array_equal(loaded.predict(clips), classifier.predict(clips))


def test_integer_labels_come_back_as_integers(tiny, clips_and_labels, tmp_path):
    clips, y = clips_and_labels
    numbers = [int(label == "happy") for label in y]
    classifier = tiny({0: "angry", 1: "happy"}, epochs=1).fit(clips, numbers)
    loaded = EmotionClassifier.from_pretrained(classifier.save_pretrained(tmp_path))
    assert loaded.classes_.tolist() == [0, 1]


def test_a_model_parameter_can_be_a_directory(saved, clips_and_labels):
    classifier, directory = saved
    clips, _ = clips_and_labels
    other = EmotionClassifier(model=directory)
    np.testing.assert_array_equal(other.predict_proba(clips), classifier.predict_proba(clips))


def test_parameters_win_over_what_was_saved(saved):
    _, directory = saved
    loaded = EmotionClassifier.from_pretrained(directory, labels=["calm", "tense"], prompt="so {}")
    assert loaded.classes_.tolist() == ["calm", "tense"]
    assert loaded.prompt == "so {}"


def test_weights_can_be_stored_in_half_precision(saved, tmp_path):
    classifier, _ = saved
    checkpoint = classifier._session.checkpoint
    save_checkpoint(checkpoint, tmp_path / "half", "card", dtype=torch.float16)
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded = EmotionClassifier.from_pretrained(tmp_path / "half")
    assert {tensor.dtype for tensor in loaded.network_.parameters()} == {torch.float32}


@pytest.mark.parametrize("network", [{}, {"share_token_table": True, "token_rank": 4}])
def test_token_tables_can_be_stored_in_eight_bits(tiny, tmp_path, clips_and_labels, network):
    clips, y = clips_and_labels
    classifier = tiny(["happy", "angry"], epochs=2, network=network).fit(clips, y)
    classifier.save_pretrained(tmp_path / "model")
    before = classifier.predict_proba(clips)
    save_checkpoint(classifier._session.checkpoint, tmp_path / "small", "", eight_bits=TOKEN_TABLES)
    tensors = load_file(tmp_path / "small" / "model.safetensors")
    tables = [name for name in tensors if any(fnmatch(name, p) for p in TOKEN_TABLES)]
    assert len(tables) == (1 if network else 2)
    assert all(tensors[name].dtype == torch.int8 for name in tables)
    loaded = EmotionClassifier.from_pretrained(tmp_path / "small")
    np.testing.assert_allclose(loaded.predict_proba(clips), before, atol=0.02)


def test_all_matrices_and_kernels_can_be_stored_in_eight_bits(tiny, tmp_path, clips_and_labels):
    clips, y = clips_and_labels
    classifier = tiny(["happy", "angry"], epochs=2).fit(clips, y)
    checkpoint = classifier._session.checkpoint
    save_checkpoint(checkpoint, tmp_path / "small", "", dtype=torch.float16, eight_bits=["*"])
    tensors = load_file(tmp_path / "small" / "model.safetensors")
    wide = [t for n, t in tensors.items() if t.ndim > 1 and not n.endswith(ROW_SCALES)]
    assert {tensor.dtype for tensor in wide} == {torch.int8}
    assert any(tensor.ndim == 4 for tensor in wide)
    loaded = EmotionClassifier.from_pretrained(tmp_path / "small", labels=classifier.labels)
    # The network in memory was rounded as well, so the file gives the same answers.
    now, again = classifier.predict_proba(clips), loaded.predict_proba(clips)
    np.testing.assert_allclose(again, now, atol=1e-5)


def test_rounding_to_eight_bits_keeps_directions_and_is_stable():
    table = torch.randn(50, 16, generator=torch.Generator().manual_seed(0)) * 0.03
    table[3] = 0
    rounded = table.clone()
    rows, scales = round_to_eight_bits(rounded)
    torch.testing.assert_close(rows * scales.float(), rounded)
    assert torch.cosine_similarity(table, rounded)[table.any(1)].min() > 0.999
    again = rounded.clone()
    round_to_eight_bits(again)
    torch.testing.assert_close(again, rounded)


def test_wrong_keys_and_shapes_are_all_named(saved):
    _, directory = saved
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tensors["surplus"] = torch.zeros(1)
    del tensors["decoder.norm.weight"]
    tensors["decoder.norm.bias"] = torch.zeros(3)
    save_file(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        EmotionClassifier.from_pretrained(directory)
    for name in ("surplus", "decoder.norm.weight", "decoder.norm.bias (3,) for (32,)"):
        assert name in str(caught.value)


def test_weights_that_do_not_belong_to_their_config_are_noticed(saved):
    _, directory = saved
    path = directory / "model.safetensors"
    save_file({name: value + 0.1 for name, value in load_file(path).items()}, path)
    with pytest.warns(CheckpointWarning, match="reference logits"):
        EmotionClassifier.from_pretrained(directory)


def test_a_newer_format_names_the_version_that_it_needs(saved):
    _, directory = saved
    edit(directory, format_version=FORMAT_VERSION + 1, merclip_version="9.1")
    with pytest.raises(CheckpointError, match=r"9\.1"):
        EmotionClassifier.from_pretrained(directory)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format_version": 1}', '"text"'])
def test_a_broken_config_is_an_error_of_ours(saved, content):
    _, directory = saved
    (directory / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        EmotionClassifier.from_pretrained(directory)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network", {"fusion": "LVA"}),
        ("network", 3),
        ("preprocess", {"rate": 1}),
        ("reference", "text"),
        ("reference", [1.0, 2.0, 3.0]),
    ],
)
def test_a_config_with_wrong_values_is_an_error_of_ours(saved, key, value):
    _, directory = saved
    edit(directory, **{key: value})
    with pytest.raises(CheckpointError, match=r"config\.json"):
        EmotionClassifier.from_pretrained(directory)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100])
def test_broken_weights_are_an_error_of_ours(saved, content):
    _, directory = saved
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        EmotionClassifier.from_pretrained(directory)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    _, directory = saved
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        EmotionClassifier.from_pretrained(directory)


def test_a_missing_model_says_what_can_be_given():
    with pytest.raises(FileNotFoundError, match="mini"):
        EmotionClassifier(["a", "b"], model="no-such-model").predict(text="hi")


def test_an_architecture_without_weights_says_how_to_get_some():
    with pytest.raises(FileNotFoundError, match="pretrained"):
        EmotionClassifier(["a", "b"], model="ViT-B-32").predict(text="hi")
