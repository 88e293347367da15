"""A tiny CLIP in the layouts of Hugging Face and of open_clip, the same from run to run.

The embeddings in `EXPECTED` are those of transformers 5.24.0, which merclip does not
need. They were printed by this file, in an environment that has it besides:
``python tests/clip_files.py``
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

CLIP_MODEL: dict[str, Any] = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "projection_dim": 24,
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 96,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "max_position_embeddings": 40,
        "vocab_size": 49408,
        "eos_token_id": 49407,
        "layer_norm_eps": 1e-3,
    },
    "vision_config": {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "image_size": 32,
        "patch_size": 8,
    },
}
PROCESSOR: dict[str, Any] = {
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.3],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 32},
}
CARD = b"---\nlicense: other\nlicense_name: tiny-licence\nlanguage: en\n---\n# Tiny\n"
TOKENS = [49406, 706, 900, 269, 49407]
"""<start> so happy . <end>"""
EXPECTED = {
    "quick_gelu": {
        "image": [-1.69203, 1.898096, 3.449208, 1.295036, -2.250318, -3.378286],
        "text": [0.303229, -0.086763, -0.432954, -0.560582, -0.405217, -0.045289],
    },
    "gelu": {
        "image": [-1.690814, 1.897519, 3.447458, 1.293993, -2.249533, -3.376517],
        "text": [0.303014, -0.087042, -0.433158, -0.560606, -0.405049, -0.045015],
    },
}


def clip_model_config(activation: str = "quick_gelu") -> dict[str, Any]:
    """Return the content of ``config.json``."""
    sections = ("text_config", "vision_config")
    return {**CLIP_MODEL, **{k: {**CLIP_MODEL[k], "hidden_act": activation} for k in sections}}


def clip_model_tensors() -> dict[str, Tensor]:
    """Return weights with the names of a ``CLIPModel``."""
    text, vision = CLIP_MODEL["text_config"], CLIP_MODEL["vision_config"]
    width, tokens = text["hidden_size"], text["max_position_embeddings"]
    wide, patch = vision["hidden_size"], vision["patch_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "text_projection.weight": (24, width),
        "visual_projection.weight": (24, wide),
        "text_model.embeddings.token_embedding.weight": (49408, width),
        "text_model.embeddings.position_embedding.weight": (tokens, width),
        "vision_model.embeddings.class_embedding": (wide,),
        "vision_model.embeddings.patch_embedding.weight": (wide, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": (17, wide),
        **_norm("text_model.final_layer_norm", width),
        **_norm("vision_model.pre_layrnorm", wide),
        **_norm("vision_model.post_layernorm", wide),
    }
    for tower, size in (("text_model", width), ("vision_model", wide)):
        for layer in range(2):
            shapes |= _layer(f"{tower}.encoder.layers.{layer}", size, 96)
    return {name: _values(name, shape, i) for i, (name, shape) in enumerate(shapes.items())}


def clip_model_files(activation: str = "quick_gelu", **processor: Any) -> dict[str, bytes]:
    """Return a repository in Hugging Face's layout."""
    return {
        "config.json": json.dumps(clip_model_config(activation)).encode(),
        "model.safetensors": save(clip_model_tensors()),
        "preprocessor_config.json": json.dumps({**PROCESSOR, **processor}).encode(),
        "README.md": CARD,
    }


def picture() -> Tensor:
    """Return what the image tower takes, shape (1, 3, 32, 32)."""
    return torch.sin(torch.arange(3 * 32 * 32) * 0.05).view(1, 3, 32, 32)


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _layer(name: str, size: int, inner: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    linear = {f"self_attn.{part}_proj": (size, size) for part in ("q", "k", "v", "out")}
    for part, shape in {**linear, "mlp.fc1": (inner, size), "mlp.fc2": (size, inner)}.items():
        shapes |= {f"{name}.{part}.weight": shape, f"{name}.{part}.bias": shape[:1]}
    return shapes | _norm(f"{name}.layer_norm1", size) | _norm(f"{name}.layer_norm2", size)


def _values(name: str, shape: tuple[int, ...], index: int) -> Tensor:
    count = int(torch.tensor(shape).prod()) if shape else 1
    wave = torch.sin(torch.arange(count, dtype=torch.float64) * 0.37 + index).float() * 0.2
    scale = "norm" in name and name.endswith("weight")
    return (wave + 1 if scale or name == "logit_scale" else wave).view(shape)


def _print_expected() -> None:
    from transformers import CLIPModel

    for activation in EXPECTED:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in clip_model_files(activation).items():
                (Path(folder) / name).write_bytes(content)
            model = CLIPModel.from_pretrained(folder).eval()
        with torch.no_grad():
            image = model.get_image_features(pixel_values=picture())
            text = model.get_text_features(input_ids=torch.tensor([TOKENS]))
        for kind, found in (("image", image), ("text", text)):
            vector = getattr(found, "pooler_output", found)[0]
            print(activation, kind, [round(value, 6) for value in vector[:6].tolist()])


if __name__ == "__main__":
    _print_expected()
