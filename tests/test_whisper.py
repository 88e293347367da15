"""Whisper's encoder as an audio tower: its numbers, its windows, its weights from files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merclip import Audio, EmotionClassifier
from merclip.errors import CheckpointError, InputError, ModelNotFoundError
from merclip.hub import HubAccess
from merclip.hub.whisper import find_whisper
from merclip.network import architecture
from merclip.network.whisper import (
    WhisperEncoder,
    WhisperTower,
    build_whisper,
    load_whisper,
    whisper_architecture,
)
from merclip.preprocess import AudioConfig
from merclip.preprocess.audio import sound_to_tensor

RATE = 16000
CFG = {"tower": "whisper", "width": 64, "heads": 4, "blocks": 2, "read": [1, 2], "n_positions": 300}
CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    """A folder as transformers writes it, of a tiny Whisper with an encoder of four blocks."""
    torch.manual_seed(0)
    encoder = WhisperEncoder(64, 4, 4, n_positions=1500)
    names = encoder.state_dict()
    tensors = {f"model.encoder.{name}": tensor.clone() for name, tensor in names.items()}
    tensors["model.encoder.layer_norm.weight"] = torch.ones(64)
    tensors["model.decoder.embed_tokens.weight"] = torch.zeros(5, 64)
    folder = tmp_path_factory.mktemp("whisper")
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "whisper", "encoder_layers": 4, "encoder_attention_heads": 4}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def sound(seconds, seed=0):
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    voice = np.sin(2 * np.pi * 180 * time) * (1 + np.sin(2 * np.pi * 3 * time))
    return (0.2 * voice + 0.05 * random.standard_normal(len(time))).astype(np.float32)


def test_states_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=64, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=256
    )
    config._attn_implementation = "eager"
    peer = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    ours = WhisperEncoder(64, 4, 3).eval()
    load_whisper(ours, peer.state_dict(), "a test")
    mel = torch.randn(2, 80, 3000)
    with torch.no_grad():
        wanted = peer(mel, output_hidden_states=True).hidden_states
        found = ours(mel.transpose(1, 2))
    # The last of transformers' states went through a norm that this tower does without.
    for one, two in zip(wanted[:-1], found[:-1], strict=True):
        assert torch.allclose(one, two, atol=1e-4)


def test_mel_windows_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    extract = transformers.WhisperFeatureExtractor()
    config = AudioConfig.whisper()
    ours = sound_to_tensor(sound(4.0), 0, config)[0]
    peer = extract(sound(4.0), sampling_rate=RATE, padding=False, return_tensors="pt")
    assert torch.allclose(ours, peer["input_features"][0].T, atol=1e-3)


@pytest.mark.parametrize(("seconds", "windows", "times"), [(1.0, 1, 100), (4.0, 1, 400)])
def test_short_sound_is_one_window_as_long_as_it_is(seconds, windows, times):
    made = sound_to_tensor(sound(seconds), 0, AudioConfig.whisper())
    assert made.shape == (windows, times, 80)


def test_long_sound_is_cut_into_windows_of_six_seconds_and_silence_around_speech_off():
    config = AudioConfig.whisper()
    assert sound_to_tensor(sound(20.0), 0, config).shape[1:] == (600, 80)
    assert len(sound_to_tensor(sound(200.0), 0, config)) == config.n_segments
    quiet = np.zeros(3 * RATE, np.float32)
    around = sound_to_tensor(np.concatenate([quiet, sound(2.0), quiet]), 0, config)
    assert around.shape[0] == 1 and 200 <= around.shape[1] <= 232
    assert len(sound_to_tensor(np.zeros(2 * RATE, np.float32), 0, config)) == 0
    assert sound_to_tensor(sound(0.1), 0, config).shape == (1, 50, 80)


def test_a_window_means_the_same_alone_and_beside_longer_ones():
    torch.manual_seed(0)
    clf = EmotionClassifier(
        ["happy", "sad"], model={**CLIP, "audio_cfg": CFG}, pretrained="random",
        network={"decoder": {"heads": 4}, "n_query_contexts": 2, "n_label_contexts": 2},
        preprocess=None, random_state=0,
    )  # fmt: skip
    clips = [
        {"audio": Audio(sound(s, seed), rate=RATE)} for seed, s in enumerate((1.0, 3.3, 1.0, 8.0))
    ]
    together = clf.encode(clips)
    assert [len(clip.sequences["A"]) for clip in together] == [1, 1, 1, 2]
    for clip, alone in zip(together, map(clf.encode, clips), strict=True):
        assert torch.allclose(clip.sequences["A"], alone[0].sequences["A"], atol=1e-5)


def test_pooling_is_mean_and_deviation_of_the_blocks_that_are_read():
    torch.manual_seed(0)
    tower = build_whisper(32, CFG).eval()
    mel = torch.randn(3, 120, 80)
    with torch.no_grad():
        states = tower.encoder(mel)
        found = tower.features(mel)
    parts = []
    for number in (1, 2):
        parts += [states[number].mean(1), states[number].std(1, correction=0)]
    assert states[0].shape == (3, 60, 64)
    assert torch.allclose(found, torch.cat(parts, 1), atol=1e-3)
    # The projection is linear: a mean taken off before is taken off after.
    assert torch.allclose(tower(mel).mean(0), tower.projection(found.mean(0)), atol=1e-5)


def test_a_frozen_encoder_is_not_trained_and_its_projection_is():
    clf = EmotionClassifier(
        ["happy", "sad"], model={**CLIP, "audio_cfg": {**CFG, "frozen": True}},
        pretrained="random", network={"decoder": {"heads": 4}},
    )  # fmt: skip
    network = clf.network_
    trained = {id(p) for p in network.encoder_parameters() + network.head_parameters()}
    tower = network.encoders["A"].tower
    assert isinstance(tower, WhisperTower)
    assert not trained & {id(p) for p in tower.encoder.parameters()}
    assert {id(p) for p in tower.projection.parameters()} <= trained


def test_whisper_is_found_in_a_folder_and_in_a_file(whisper_folder):
    found = find_whisper(whisper_folder, HubAccess())
    assert found.audio_cfg == {
        "tower": "whisper", "width": 64, "heads": 4, "blocks": 2, "read": [1, 2],
        "n_mels": 80, "n_positions": 1500,
    }  # fmt: skip
    tower = build_whisper(32, found.audio_cfg)
    load_whisper(tower.encoder, found.tensors, found.name)
    stored = found.tensors["model.encoder.layers.1.fc1.weight"]
    assert torch.equal(tower.encoder.layers[1].fc1.weight, stored)
    alone = find_whisper(whisper_folder / "model.safetensors", HubAccess())
    assert alone.audio_cfg["width"] == 64 and alone.audio_cfg["heads"] == 1


def test_a_new_network_hears_with_whisper_learns_and_is_saved_whole(whisper_folder, tmp_path):
    clf = EmotionClassifier(
        ["high", "low"], model=CLIP, pretrained="random", audio=whisper_folder, random_state=0,
        network={"decoder": {"heads": 4}, "fusion": "A"}, epochs=2,
    )  # fmt: skip
    clips = [{"audio": Audio(sound(1.0 + n % 3, n), rate=RATE)} for n in range(12)]
    y = ["high", "low"] * 6
    clf.fit(clips, y)
    stored = find_whisper(whisper_folder, HubAccess()).tensors["model.encoder.conv1.weight"]
    assert torch.equal(clf.network_.encoders["A"].tower.encoder.conv1.weight.cpu(), stored)
    clf.save_pretrained(tmp_path / "model")
    again = EmotionClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_allclose(again.predict_proba(clips), clf.predict_proba(clips), atol=1e-6)


@pytest.mark.parametrize(
    ("audio", "error", "says"),
    [
        ("no/such/folder", ModelNotFoundError, "no Whisper"),
        (7, InputError, "audio is a Whisper"),
        ("clip", CheckpointError, "no Whisper"),
    ],
)
def test_what_is_no_whisper_is_refused(audio, error, says, tmp_path):
    if audio == "clip":
        (tmp_path / "config.json").write_text('{"model_type": "clip"}')
        audio = tmp_path
    with pytest.raises(error, match=says):
        find_whisper(audio, HubAccess())


def test_audio_is_for_new_networks():
    with pytest.raises(InputError, match="brings its own audio tower"):
        EmotionClassifier(["a", "b"], audio="openai/whisper-base").predict(text="hello")


@pytest.mark.parametrize(
    "wrong",
    [
        {"blockz": 2},
        {"pool": "max"},
        {"read": [3]},
        {"read": []},
        {"heads": 5},
    ],
)
def test_unknown_settings_of_a_whisper_tower_are_named(wrong):
    with pytest.raises(InputError):
        build_whisper(32, {**CFG, **wrong})


def test_missing_weights_are_named():
    encoder = WhisperEncoder(64, 4, 2)
    tensors = dict(encoder.state_dict())
    del tensors["layers.1.fc2.bias"]
    with pytest.raises(CheckpointError, match=r"missing: \['layers\.1\.fc2\.bias'\]"):
        load_whisper(encoder, tensors, "a test")
    with pytest.raises(CheckpointError, match="no weights of Whisper"):
        whisper_architecture({"visual.proj": torch.zeros(2, 2)}, {}, "a test")


def test_an_audio_tower_is_residual_or_whisper():
    assert architecture({**CLIP, "audio_cfg": CFG})["audio_cfg"] == CFG
    with pytest.raises(InputError, match="residual, or Whisper"):
        architecture({**CLIP, "audio_cfg": {"tower": "wav2vec"}})
