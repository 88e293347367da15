"""CLIP in open_clip's and in Hugging Face's layout: the same numbers, from hub or directory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from clip_files import (
    CARD,
    EXPECTED,
    TOKENS,
    clip_model_config,
    clip_model_files,
    clip_model_tensors,
    picture,
)
from hub_server import Hub
from huggingface_hub import constants
from safetensors.torch import save, save_file
from torch import Tensor, nn

from conftest import TINY
from merclip import EmotionClassifier
from merclip.errors import CheckpointError, CheckpointWarning, ModelNotFoundError
from merclip.network import build_towers
from merclip.network.clip_model import clip_model_architecture, to_open_clip
from merclip.network.encoders import TextEncoder

LABELS = ["happy", "sad", "angry"]
TEXTS = ["so good", "I hate it"]
SMALL = {"decoder": {"heads": 2}}


def network_of(model: Any, **params: Any) -> EmotionClassifier:
    return EmotionClassifier(LABELS, model=model, network=SMALL, random_state=0, **params)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def same_scores(first: EmotionClassifier, second: EmotionClassifier) -> None:
    expected = first.decision_function(text=TEXTS)
    np.testing.assert_allclose(second.decision_function(text=TEXTS), expected, atol=1e-5)


# The names and shapes of a CLIPModel -----------------------------------------------------


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_embeddings_are_those_of_transformers(tmp_path: Path, activation: str) -> None:
    save_file(clip_model_tensors(), tmp_path / "model.safetensors")
    config = clip_model_architecture(clip_model_config(activation))
    towers = build_towers(config, tmp_path / "model.safetensors")
    with torch.no_grad():
        image = towers.visual.eval()(picture())[0, :6]
        text = TextEncoder(towers.text.eval())([torch.tensor(TOKENS)])[0][0, -1, :6]
    expected = EXPECTED[activation]
    np.testing.assert_allclose(image.numpy(), expected["image"], atol=1e-5)
    np.testing.assert_allclose(text.numpy(), expected["text"], atol=1e-5)
    assert towers.logit_scale == pytest.approx(float(clip_model_tensors()["logit_scale"].exp()))


def to_clip_model(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename open_clip's tensors the other way round, written independently of ours."""
    found = {}
    for name, tensor in tensors.items():
        name = name.replace("visual.transformer.resblocks", "vision_model.encoder.layers")
        name = name.replace("text.transformer.resblocks", "text_model.encoder.layers")
        name = name.replace("ln_1", "layer_norm1").replace("ln_2", "layer_norm2")
        name = name.replace("c_fc", "fc1").replace("c_proj", "fc2")
        if ".attn.in_proj_" in name:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace("attn.in_proj_", f"self_attn.{part}_proj.")] = piece.clone()
            continue
        found[name.replace(".attn.", ".self_attn.")] = tensor
    moved = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "text.positional_embedding": "text_model.embeddings.position_embedding.weight",
        "text.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    }
    for end in ("weight", "bias"):
        moved[f"visual.ln_pre.{end}"] = f"vision_model.pre_layrnorm.{end}"
        moved[f"visual.ln_post.{end}"] = f"vision_model.post_layernorm.{end}"
        moved[f"text.ln_final.{end}"] = f"text_model.final_layer_norm.{end}"
    found = {moved.get(name, name): tensor for name, tensor in found.items()}
    found["visual_projection.weight"] = found.pop("visual.proj").T.contiguous()
    found["text_projection.weight"] = found.pop("text.text_projection").T.contiguous()
    return found


def test_every_tensor_of_open_clip_comes_back() -> None:
    original = dict(open_clip.model.CustomTextCLIP(**TINY).state_dict())
    renamed = to_clip_model(original)
    renamed["vision_model.embeddings.position_ids"] = torch.arange(17)
    back = to_open_clip(renamed)
    assert set(back) == set(original)
    assert all(back[name].equal(tensor) for name, tensor in original.items())


def test_a_half_precision_file_is_read(tmp_path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in clip_model_tensors().items()}
    save_file(halves, tmp_path / "model.safetensors")
    towers = build_towers(
        clip_model_architecture(clip_model_config()), tmp_path / "model.safetensors"
    )
    assert {tensor.dtype for tensor in towers.visual.parameters()} == {torch.float32}
    with torch.no_grad():
        image = towers.visual.eval()(picture())[0, :6]
    np.testing.assert_allclose(image, EXPECTED["quick_gelu"]["image"], atol=0.02)


def test_old_files_hold_their_sections_twice_and_leave_out_defaults() -> None:
    full = clip_model_architecture(clip_model_config())
    config = clip_model_config()
    config["text_config_dict"] = config.pop("text_config")
    config["vision_config_dict"] = None
    assert clip_model_architecture(config) == full
    base = clip_model_architecture({"model_type": "clip", "text_config": {"hidden_size": 512}})
    assert base["embed_dim"] == 512 and base["quick_gelu"] is True
    assert base["vision_cfg"] == {
        "image_size": 224,
        "patch_size": 32,
        "head_width": 64,
        "layers": 12,
        "width": 768,
        "mlp_ratio": 4.0,
    }


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("text_config", {"hidden_act": "gelu_new"}, "gelu_new"),
        ("vision_config", {"hidden_act": "gelu"}, "'quick_gelu' for text and 'gelu'"),
        ("vision_config", {"num_channels": 4}, "4"),
        ("text_config", {"hidden_size": 0}, "hidden_size"),
        ("text_config", {"num_attention_heads": "two"}, "num_attention_heads"),
        ("text_config", {"vocab_size": 1000}, "49408"),
    ],
)
def test_a_config_that_clip_does_not_have_is_refused(
    tmp_path: Path, section: str, change: dict[str, Any], message: str
) -> None:
    folder = write(tmp_path / "clip", clip_model_files())
    config = clip_model_config()
    config[section] = {**config[section], **change}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"config\.json.*{message}"):
        network_of(folder).predict(text="hi")


def test_wrong_tensors_are_all_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip", clip_model_files())
    tensors = clip_model_tensors()
    tensors["surplus"] = torch.zeros(1)
    del tensors["visual_projection.weight"]
    tensors["text_model.final_layer_norm.bias"] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        network_of(folder).predict(text="hi")
    for part in ("missing: ['visual.proj']", "surplus", "text.ln_final.bias (3,) for (32,)"):
        assert part in str(caught.value)
    del tensors["text_model.encoder.layers.1.self_attn.k_proj.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"resblocks\.1\.attn\.in_proj_bias.*missing: \['k'"):
        network_of(folder).predict(text="hi")


# Both layouts, from a directory and from the Hub -----------------------------------------


@pytest.fixture
def open_clip_files() -> dict[str, bytes]:
    """Return a repository in open_clip's layout."""
    clip = open_clip.model.CustomTextCLIP(**TINY, quick_gelu=True)
    nn.init.normal_(clip.visual.conv1.weight)
    pictures = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bilinear"}
    config = {
        "model_cfg": {**TINY, "quick_gelu": True},
        "preprocess_cfg": {**pictures, "resize_mode": "shortest", "size": 32},
    }
    return {
        "open_clip_config.json": json.dumps(config).encode(),
        "open_clip_model.safetensors": save(dict(clip.state_dict())),
        "README.md": CARD,
    }


def in_layout(layout: str, open_clip_files: dict[str, bytes]) -> dict[str, bytes]:
    return open_clip_files if layout == "open_clip" else clip_model_files()


WEIGHTS = {"open_clip": "open_clip_model.safetensors", "CLIPModel": "model.safetensors"}


@pytest.mark.parametrize("layout", WEIGHTS)
def test_a_new_network_on_clip_from_the_hub(
    hub: Hub,
    open_clip_files: dict[str, bytes],
    tmp_path: Path,
    layout: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = in_layout(layout, open_clip_files)
    commit = hub.commit("org/tiny-clip", files)
    clf = network_of("org/tiny-clip")
    assert not clf.network_.fusion_trained
    preprocess = clf._ready().checkpoint.preprocess
    assert preprocess.vision.mean == (0.5, 0.4, 0.3)
    assert preprocess.vision.std == (0.2, 0.25, 0.3)
    assert preprocess.vision.interpolation == "bilinear"
    assert preprocess.image_size == 32
    assert preprocess.context_length == (77 if layout == "open_clip" else 40)
    assert clf.backbone_["quick_gelu"] is True
    assert clf.backbone_["text_cfg"]["vocab_size"] == 49408
    same_scores(clf, network_of(write(tmp_path / "directory", files)))

    saved = clf.save_pretrained(tmp_path / "saved")
    place = {"repo": "org/tiny-clip", "revision": commit, "filename": WEIGHTS[layout]}
    config = json.loads((saved / "config.json").read_text())
    assert config["backbone"] == place
    assert config["lineage"] == {
        "base_model": "org/tiny-clip",
        "license": "other",
        "license_name": "tiny-licence",
    }
    hub.commit("org/tiny-clip", {"config.json": b"{}"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    same_scores(clf, EmotionClassifier.from_pretrained(saved))


@pytest.mark.parametrize("layout", WEIGHTS)
def test_a_directory_is_stored_whole(
    open_clip_files: dict[str, bytes], tmp_path: Path, layout: str
) -> None:
    folder = write(tmp_path / "clip", in_layout(layout, open_clip_files))
    clf = network_of(folder)
    saved = clf.save_pretrained(tmp_path / "saved")
    assert json.loads((saved / "config.json").read_text())["backbone"] is None
    (folder / WEIGHTS[layout]).unlink()
    same_scores(clf, EmotionClassifier.from_pretrained(saved))


def test_what_is_trained_on_it_comes_back(
    hub: Hub, tmp_path: Path, clips_and_labels: tuple[Any, list[str]]
) -> None:
    hub.commit("org/tiny-clip", clip_model_files())
    clips, y = clips_and_labels
    clf = network_of("org/tiny-clip", epochs=1).set_params(labels=["happy", "angry"])
    clf.fit(clips, y)
    loaded = EmotionClassifier.from_pretrained(clf.save_pretrained(tmp_path / "saved"))
    np.testing.assert_array_equal(loaded.predict_proba(clips), clf.predict_proba(clips))


def test_open_clips_layout_wins_where_a_repository_has_both(
    hub: Hub, open_clip_files: dict[str, bytes]
) -> None:
    hub.commit("org/tiny-clip", {**clip_model_files(), **open_clip_files})
    assert network_of("org/tiny-clip").network_.config.context_length == 77


def test_all_files_come_from_one_commit_also_when_the_branch_moves(hub: Hub) -> None:
    first = clip_model_files()
    commit = hub.commit("org/tiny-clip", first)
    other = clip_model_files("gelu", image_mean=[0.1, 0.1, 0.1])

    def move(method: str, path: str) -> None:
        if method == "GET" and path.endswith("/main/config.json"):
            hub.commit("org/tiny-clip", other)

    hub.after = move
    clf = network_of("org/tiny-clip")
    assert clf._ready().checkpoint.backbone["revision"] == commit
    assert clf._ready().checkpoint.preprocess.vision.mean == (0.5, 0.4, 0.3)
    assert all(f"/{commit}/" in path for path in hub.downloaded()[1:])


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({"resample": 1}, "interpolation 'lanczos'"),
        ({"size": {"height": 32, "width": 32}}, "size"),
        ({"size": {"shortest_edge": 64}}, "size"),
        ({"crop_size": 24}, "crop_size 24"),
        ({"rescale_factor": 1.0}, "pixels times 1.0"),
    ],
)
def test_pictures_that_merclip_prepares_otherwise_are_no_secret(
    tmp_path: Path, processor: dict[str, Any], message: str
) -> None:
    folder = write(tmp_path / "clip", clip_model_files(**processor))
    with pytest.warns(CheckpointWarning, match=message):
        network_of(folder)._ready()


def test_squashed_pictures_of_open_clip_are_no_secret(
    open_clip_files: dict[str, bytes], tmp_path: Path
) -> None:
    config = json.loads(open_clip_files["open_clip_config.json"])
    config["preprocess_cfg"]["resize_mode"] = "squash"
    open_clip_files["open_clip_config.json"] = json.dumps(config).encode()
    with pytest.warns(CheckpointWarning, match="'squash'"):
        network_of(write(tmp_path / "clip", open_clip_files))._ready()


def test_pixels_without_mean_and_deviation(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip", clip_model_files(do_normalize=False))
    vision = network_of(folder)._ready().checkpoint.preprocess.vision
    assert (vision.mean, vision.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("values", [{"image_mean": [0.5]}, {"image_std": [1, 1, 0]}])
def test_a_processor_of_wrong_numbers_is_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    folder = write(tmp_path / "clip", clip_model_files(**values))
    with pytest.raises(CheckpointError, match=next(iter(values))):
        network_of(folder)._ready()


@pytest.mark.parametrize("missing", ["preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(hub: Hub, tmp_path: Path, missing: str) -> None:
    files = clip_model_files()
    del files[missing]
    hub.commit("org/tiny-clip", files)
    with pytest.raises(ModelNotFoundError, match=missing):
        network_of("org/tiny-clip")._ready()
    with pytest.raises(CheckpointError, match=missing):
        network_of(write(tmp_path / "clip", files))._ready()


def test_the_nested_processor_of_newer_files(hub: Hub) -> None:
    files = clip_model_files()
    pictures = json.loads(files.pop("preprocessor_config.json"))
    files["processor_config.json"] = json.dumps({"image_processor": pictures}).encode()
    hub.commit("org/tiny-clip", files)
    vision = network_of("org/tiny-clip")._ready().checkpoint.preprocess.vision
    assert vision.mean == (0.5, 0.4, 0.3)


def test_a_model_of_another_kind_is_refused(hub: Hub, tmp_path: Path) -> None:
    files = {"config.json": b'{"model_type": "bert"}', "model.safetensors": b""}
    hub.commit("org/bert", files)
    for model in ("org/bert", write(tmp_path / "bert", files)):
        with pytest.raises(CheckpointError, match="'bert'.*CLIPModel"):
            network_of(model)._ready()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"model_cfg": 3}', b"\xff"])
def test_a_broken_config_of_open_clip_is_an_error_of_ours(
    open_clip_files: dict[str, bytes], tmp_path: Path, content: bytes
) -> None:
    open_clip_files["open_clip_config.json"] = content
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json"):
        network_of(write(tmp_path / "clip", open_clip_files))._ready()


# Nothing that runs code ------------------------------------------------------------------


class Payload:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.path, "owned")


@pytest.fixture
def malicious(tmp_path: Path) -> tuple[bytes, Path]:
    """Return a pickle that would make a file, and that file's path."""
    target = tmp_path / "owned"
    buffer = io.BytesIO()
    torch.save({"logit_scale": torch.ones(()), "evil": Payload(target)}, buffer)
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert target.exists()  # the payload is real
    target.unlink()
    return buffer.getvalue(), target


def test_a_malicious_pickle_does_not_run(
    hub: Hub, open_clip_files: dict[str, bytes], tmp_path: Path, malicious: tuple[bytes, Path]
) -> None:
    content, target = malicious
    del open_clip_files["open_clip_model.safetensors"]
    open_clip_files["open_clip_pytorch_model.bin"] = content
    hub.commit("org/tiny-clip", open_clip_files)
    weights = tmp_path / "weights.pt"
    weights.write_bytes(content)
    models: list[dict[str, Any]] = [
        {"model": "org/tiny-clip"},
        {"model": write(tmp_path / "clip", open_clip_files)},
        {"model": TINY, "pretrained": weights},
    ]
    for model in models:
        with pytest.raises(CheckpointError, match=r"run code.*give a \.safetensors"):
            EmotionClassifier(LABELS, network=SMALL, **model).predict(text="hi")
    assert not target.exists()


def test_a_checkpoint_that_names_a_malicious_backbone_does_not_run_it(
    hub: Hub, open_clip_files: dict[str, bytes], tmp_path: Path, malicious: tuple[bytes, Path]
) -> None:
    content, target = malicious
    hub.commit("org/tiny-clip", open_clip_files)
    folder = network_of("org/tiny-clip").save_pretrained(tmp_path / "saved")
    evil = hub.commit("org/evil", {"model.bin": content})
    config = json.loads((folder / "config.json").read_text())
    for place in (
        {"repo": "org/evil", "revision": evil, "filename": "model.bin"},
        {"repo": "org/evil", "revision": evil, "filename": "../../../../secret"},
        {"repo": "../..", "revision": evil, "filename": "model.bin"},
        {"repo": "org/evil"},
        {"repo": "org/evil", "revision": evil, "filename": 3},
    ):
        (folder / "config.json").write_text(json.dumps({**config, "backbone": place}))
        with pytest.raises((CheckpointError, ModelNotFoundError)):
            EmotionClassifier.from_pretrained(folder)
    assert not target.exists()


def test_a_plain_pickle_of_open_clip_is_read(
    open_clip_files: dict[str, bytes], tmp_path: Path
) -> None:
    folder = write(tmp_path / "clip", open_clip_files)
    clf = network_of(folder)
    clf._ready()
    from safetensors.torch import load_file

    safe = folder / "open_clip_model.safetensors"
    tensors = {f"module.{name}": tensor for name, tensor in load_file(safe).items()}
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "open_clip_pytorch_model.bin")
    safe.unlink()
    same_scores(clf, network_of(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pkl"])
def test_a_repository_of_pickles_alone_is_refused_with_the_reason(
    hub: Hub, tmp_path: Path, malicious: tuple[bytes, Path], name: str
) -> None:
    content, target = malicious
    files = clip_model_files()
    del files["model.safetensors"]
    hub.commit("org/clip", {**files, name: content})
    hub.commit("org/only", {name: content})
    folder = write(tmp_path / "clip", {**files, name: content})
    for model in ("org/clip", "org/only", folder):
        with pytest.raises((CheckpointError, ModelNotFoundError), match=rf"{name}.*run code"):
            network_of(model)._ready()
    assert not target.exists()


def test_weights_in_several_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    files = clip_model_files()
    files["model.safetensors.index.json"] = b"{}"
    del files["model.safetensors"]
    with pytest.raises(CheckpointError, match="several files"):
        network_of(write(tmp_path / "clip", files))._ready()
