"""CLIP in Hugging Face's layout (``CLIPModel``), as open_clip would have it.

Facts of the format, from its files: one matrix each for query, key and value where
open_clip stacks them; projections as linear layers, so transposed; its own names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from merclip.errors import CheckpointError, InputError

MODEL_TYPE = "clip"
TEXT_DEFAULTS = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
VISION_DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
PROJECTION_DIM = 512
"""Values that a config may leave out."""

_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
_TOWERS = {"vision_model.": "visual.", "text_model.": "text."}
_NAMES = {
    "logit_scale": "logit_scale",
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text.text_projection",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "text.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
}
_NORMS = {
    "vision_model.pre_layrnorm": "visual.ln_pre",  # spelt like this in every file
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "text.ln_final",
}
_PARTS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_LAYER = re.compile(r"(vision_model\.|text_model\.)encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_STACKED = ("q", "k", "v")
_BUFFERS = ("vision_model.embeddings.position_ids", "text_model.embeddings.position_ids")
"""Older files hold these numbers from 0 on, which are no weights."""


def clip_model_architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture of a ``CLIPModel`` in open_clip's terms.

    Parameters
    ----------
    config : mapping
        The content of its ``config.json``.

    Raises
    ------
    InputError
        A value that CLIP as open_clip builds it does not have.
    """
    text = _section(config, "text_config", TEXT_DEFAULTS)
    vision = _section(config, "vision_config", VISION_DEFAULTS)
    if vision["num_channels"] != 3:
        raise InputError(f"Pictures have 3 channels, this CLIP's {vision['num_channels']}.")
    activations = {text["hidden_act"], vision["hidden_act"]}
    if len(activations) > 1 or not activations <= set(_ACTIVATIONS):
        raise InputError(
            f"Both towers have the activation {' or '.join(map(repr, _ACTIVATIONS))}; this CLIP "
            f"has {text['hidden_act']!r} for text and {vision['hidden_act']!r} for pictures."
        )
    return {
        "embed_dim": config.get("projection_dim") or PROJECTION_DIM,
        "quick_gelu": _ACTIVATIONS[text["hidden_act"]],
        "vision_cfg": {
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            **_transformer(vision),
        },
        "text_cfg": {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "heads": text["num_attention_heads"],
            **_transformer(text),
        },
    }


def is_clip_model(names: Iterable[str]) -> bool:
    """Return whether tensors have the names of a ``CLIPModel``."""
    return any(name.startswith(tuple(_TOWERS)) for name in names)


def to_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and reshape the tensors of a ``CLIPModel`` to open_clip's ``CustomTextCLIP``.

    A name that the layout does not have is kept, so that a strict load names it.

    Raises
    ------
    CheckpointError
        A layer has some of the matrices for query, key and value, but not all.
    """
    found: dict[str, Tensor] = {}
    stacked: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name in _BUFFERS:
            continue
        layer = _LAYER.fullmatch(name)
        part = layer[3].removeprefix("self_attn.").removesuffix("_proj") if layer else ""
        if layer and part in _STACKED:
            whole = f"{_block(layer)}.attn.in_proj_{layer[4]}"
            stacked.setdefault(whole, {})[part] = tensor
        else:
            found[_renamed(name)] = tensor.T if name.endswith("_projection.weight") else tensor
    for whole, parts in stacked.items():
        found[whole] = _stack(whole, parts)
    return found


def _section(config: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    # Files of the first versions hold the same values a second time; those win.
    sections = [config.get(name) or {}, config.get(f"{name}_dict") or {}]
    if not all(isinstance(section, Mapping) for section in sections):
        raise InputError(f"{name} is no mapping.")
    values = {**defaults}
    for section in sections:
        values.update({key: value for key, value in section.items() if value is not None})
    numbers = [key for key, value in defaults.items() if isinstance(value, int)]
    wrong = [key for key in numbers if type(values[key]) is not int or values[key] < 1]
    if wrong:
        raise InputError(f"{name} has no positive whole number for {wrong}.")
    return values


def _transformer(section: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "layers": section["num_hidden_layers"],
        "width": section["hidden_size"],
        "mlp_ratio": section["intermediate_size"] / section["hidden_size"],
    }
    if section["layer_norm_eps"] != TEXT_DEFAULTS["layer_norm_eps"]:
        found["norm_kwargs"] = {"eps": section["layer_norm_eps"]}
    return found


def _renamed(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    layer = _LAYER.fullmatch(name)
    if layer and layer[3] in _PARTS:
        return f"{_block(layer)}.{_PARTS[layer[3]]}.{layer[4]}"
    norm, _, parameter = name.rpartition(".")
    return f"{_NORMS[norm]}.{parameter}" if norm in _NORMS else name


def _block(layer: re.Match[str]) -> str:
    return f"{_TOWERS[layer[1]]}transformer.resblocks.{layer[2]}"


def _stack(whole: str, parts: Mapping[str, Tensor]) -> Tensor:
    missing = [part for part in _STACKED if part not in parts]
    try:
        return torch.cat([parts[part] for part in _STACKED])
    except (KeyError, RuntimeError) as error:
        reason = f"missing: {missing}" if missing else str(error)
        raise CheckpointError(
            f"{whole} cannot be put together from its q_proj, k_proj and v_proj; {reason}."
        ) from error
