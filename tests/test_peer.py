"""Our towers against Hugging Face's CLIPModel with the same random weights."""

from __future__ import annotations

import pytest
import torch

from merclip.network import MERCLIP, NetworkConfig, build_towers
from merclip.preprocess import Sample, VisionConfig
from merclip.preprocess.text import tokenize
from merclip.preprocess.vision import normalize_frames

transformers = pytest.importorskip("transformers")

WIDTH, HEADS, LAYERS, EMBEDDING = 64, 2, 3, 32
ARCHITECTURE = {
    "embed_dim": EMBEDDING,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 64,
        "layers": LAYERS,
        "width": WIDTH,
        "patch_size": 16,
        "head_width": WIDTH // HEADS,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": WIDTH,
        "heads": HEADS,
        "layers": LAYERS,
    },
}


@pytest.fixture(scope="module")
def peer():
    shared = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "projection_dim": EMBEDDING,
        "hidden_act": "quick_gelu",
    }
    config = transformers.CLIPConfig(
        text_config={**shared, "vocab_size": 49408, "eos_token_id": 49407, "bos_token_id": 49406},
        vision_config={**shared, "image_size": 64, "patch_size": 16},
        projection_dim=EMBEDDING,
    )
    torch.manual_seed(0)
    return transformers.CLIPModel(config).eval()


@pytest.fixture(scope="module")
def ours(peer):
    config = NetworkConfig(ARCHITECTURE)
    towers = build_towers(config.backbone)
    theirs = peer.state_dict()
    towers.visual.load_state_dict(_vision(theirs))
    towers.text.load_state_dict(_text(theirs))
    return MERCLIP(config, towers).eval()


def _blocks(theirs, prefix):
    found = {}
    for layer in range(LAYERS):
        source = f"{prefix}.encoder.layers.{layer}"
        target = f"transformer.resblocks.{layer}"
        for kind in ("weight", "bias"):
            parts = [theirs[f"{source}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
            found[f"{target}.attn.in_proj_{kind}"] = torch.cat(parts)
            pairs = {
                "self_attn.out_proj": "attn.out_proj",
                "layer_norm1": "ln_1",
                "layer_norm2": "ln_2",
                "mlp.fc1": "mlp.c_fc",
                "mlp.fc2": "mlp.c_proj",
            }
            for theirs_name, ours_name in pairs.items():
                found[f"{target}.{ours_name}.{kind}"] = theirs[f"{source}.{theirs_name}.{kind}"]
    return found


def _norm(theirs, source, target):
    return {f"{target}.{kind}": theirs[f"{source}.{kind}"] for kind in ("weight", "bias")}


def _vision(theirs):
    embeddings = "vision_model.embeddings"
    return {
        "class_embedding": theirs[f"{embeddings}.class_embedding"],
        "positional_embedding": theirs[f"{embeddings}.position_embedding.weight"],
        "conv1.weight": theirs[f"{embeddings}.patch_embedding.weight"],
        "proj": theirs["visual_projection.weight"].T,
        **_norm(theirs, "vision_model.pre_layrnorm", "ln_pre"),
        **_norm(theirs, "vision_model.post_layernorm", "ln_post"),
        **_blocks(theirs, "vision_model"),
    }


def _text(theirs):
    embeddings = "text_model.embeddings"
    return {
        "token_embedding.weight": theirs[f"{embeddings}.token_embedding.weight"],
        "positional_embedding": theirs[f"{embeddings}.position_embedding.weight"],
        "text_projection": theirs["text_projection.weight"].T,
        **_norm(theirs, "text_model.final_layer_norm", "ln_final"),
        **_blocks(theirs, "text_model"),
    }


def _cosine(ours, theirs):
    return torch.nn.functional.cosine_similarity(ours, theirs, dim=-1)


@torch.inference_mode()
def test_the_vision_tower_equals_the_peers(peer, ours):
    frames = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    (row,) = ours.encode([Sample(frames=frames)], VisionConfig())
    pictures = normalize_frames(frames, VisionConfig(), torch.float32)
    expected = peer.visual_projection(peer.vision_model(pictures).pooler_output)
    assert _cosine(row["V"], expected).min() > 0.9999


@torch.inference_mode()
@pytest.mark.parametrize("text", ["angry", "I can't believe you did that! " * 4])
def test_the_text_towers_equal_the_peers_at_every_token(peer, ours, text):
    ids = tokenize(text).ids
    states = peer.text_model(ids[None]).last_hidden_state
    expected = peer.text_projection(states)[0]
    (row,) = ours.encode([Sample(tokens=ids)], VisionConfig())
    assert _cosine(row["L"], expected).min() > 0.9999
    label = ours.encode_labels([ids])[0]
    assert _cosine(label, expected[-1]) > 0.9999
