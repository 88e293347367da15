"""One CLIP architecture of open_clip, and its weights."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from merclip.errors import CheckpointError, InputError, MerclipError, ModelNotFoundError
from merclip.network.attention import replace_attention
from merclip.network.clip_model import is_clip_model, to_open_clip
from merclip.network.residual import build_residual, is_residual
from merclip.network.text_tower import build_text_tower
from merclip.network.weights import Backed, copy_strictly, read_weights
from merclip.network.whisper import build_whisper, is_whisper

CLIP_VOCABULARY = 49408
INIT_LOGIT_SCALE = math.log(1 / 0.07)
"""Logarithm of the scale that CLIP's training starts from (Radford et al. 2021, section 2.5)."""


@dataclass(frozen=True)
class Towers:
    """CLIP's image tower, its text tower and its learned logit scale (a factor).

    `audio` is a tower made for sound; None where the audio encoder starts from the
    image tower, as in the paper.
    """

    visual: nn.Module
    text: nn.Module
    logit_scale: float
    audio: nn.Module | None = None


def architecture(backbone: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return an open_clip architecture as a dictionary.

    Parameters
    ----------
    backbone : str, path or mapping
        A name that open_clip knows ("ViT-B-32"), the path of a JSON file in
        its format, or such a dictionary.

    Raises
    ------
    ModelNotFoundError
        open_clip knows no such name, and no such file exists.
    InputError
        The text tower is not CLIP's: a causal transformer whose end token is
        the text's embedding. MER-CLIP reads and prompts that kind alone.
    """
    config = _find_architecture(backbone)
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
        raise InputError("An architecture has the keys embed_dim, vision_cfg and text_cfg.")
    if not all(isinstance(config[key], Mapping) for key in ("vision_cfg", "text_cfg")):
        raise InputError("An architecture's vision_cfg and text_cfg are mappings.")
    _check_text_tower(config["text_cfg"])
    audio = config.get("audio_cfg", {"tower": "residual"})
    if not isinstance(audio, Mapping) or not (is_residual(audio) or is_whisper(audio)):
        raise InputError(
            "An audio tower of its own is residual, or Whisper's encoder: "
            "audio_cfg={'tower': 'residual'} or {'tower': 'whisper'}."
        )
    towers = ("vision_cfg", "audio_cfg", "text_cfg")
    allowed = ("embed_dim", *towers, "quick_gelu", "init_logit_scale")
    return {key: config[key] for key in allowed if key in config}


def build_towers(
    config: Mapping[str, Any], weights: str | os.PathLike[str] | None = None
) -> Towers:
    """Build CLIP's towers, with random weights or those of a file.

    Parameters
    ----------
    config : mapping
        As `architecture` returns it.
    weights : path, optional
        Weights with open_clip's names or those of a ``CLIPModel``: safetensors, or
        a pickle (``.pt``, ``.bin``) of tensors and nothing else.

    Raises
    ------
    CheckpointError
        The weights cannot be read, or do not fit the architecture; every wrong
        tensor is named.
    """
    found = None if weights is None else read_weights(Path(weights))
    n_numbers = 0 if found is None else sum(tensor.numel() for tensor in found.values())
    what = f"The weights in {os.fspath(weights or '')!r} do not fit the architecture"
    larger = CheckpointError(f"{what}, which has many more numbers.")
    with nullcontext() if found is None else Backed(n_numbers, larger):
        clip = SmallCLIP(config) if is_residual(config["vision_cfg"]) else _open_clip(config)
    if found is not None:
        _load(clip, found, what)
    audio: nn.Module | None = None
    if "audio_cfg" in config:
        build = build_whisper if is_whisper(config["audio_cfg"]) else build_residual
        audio = build(config["embed_dim"], config["audio_cfg"])
    return Towers(clip.visual, clip.text, float(clip.logit_scale.detach().exp()), audio)


class SmallCLIP(nn.Module):
    """A residual image tower and CLIP's text tower, in the names of open_clip's `CustomTextCLIP`.

    Parameters
    ----------
    config : mapping
        As `architecture` returns it, with a residual ``vision_cfg``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.visual = build_residual(config["embed_dim"], config["vision_cfg"])
        self.text = build_text_tower(config["embed_dim"], config["text_cfg"])
        start = config.get("init_logit_scale", INIT_LOGIT_SCALE)
        self.logit_scale = nn.Parameter(torch.tensor(float(start)))


def _open_clip(config: Mapping[str, Any]) -> Any:
    from open_clip.model import CustomTextCLIP
    from open_clip.transformer import ResidualAttentionBlock

    for_clip = {key: value for key, value in config.items() if key != "audio_cfg"}
    try:
        clip = CustomTextCLIP(**_without_downloads(for_clip))
        replace_attention(clip, ResidualAttentionBlock)
        return clip
    except MerclipError:
        raise
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        raise InputError(f"open_clip cannot build this architecture: {error}") from error


def _find_architecture(backbone: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(backbone, Mapping):
        return dict(backbone)
    path = Path(backbone)
    if path.suffix == ".json":
        if not path.is_file():
            raise ModelNotFoundError(f"There is no architecture file {str(path)!r}.")
        return dict(_read_architecture(path))
    from open_clip.factory import get_model_config

    config = get_model_config(os.fspath(backbone).replace("/", "-"))
    if config is None:
        raise ModelNotFoundError(f"open_clip knows no architecture {os.fspath(backbone)!r}.")
    return dict(config)


def _read_architecture(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The architecture file {str(path)!r} cannot be read: {error}") from error
    inner = config.get("model_cfg", config) if isinstance(config, dict) else None
    if not isinstance(inner, dict):
        raise InputError(f"The architecture file {str(path)!r} holds no JSON object.")
    return inner


def _check_text_tower(text: Mapping[str, Any]) -> None:
    size = text.get("vocab_size", CLIP_VOCABULARY)
    if not isinstance(size, int) or size < CLIP_VOCABULARY:
        raise InputError(
            f"This architecture's text tower has a vocabulary of {size!r} tokens; CLIP's own "
            f"tokenizer, which merclip uses, has {CLIP_VOCABULARY}."
        )
    causal = not text.get("no_causal_mask", False)
    ends = text.get("pool_type", "argmax") == "argmax" and not text.get("embed_cls", False)
    foreign = text.get("hf_model_name") or text.get("hf_tokenizer_name")
    if foreign or not (causal and ends) or text.get("proj_type", "linear") != "linear":
        raise InputError(
            "This architecture's text tower is not CLIP's own (a causal transformer with CLIP's "
            "tokenizer, pooled at its end token); use one such as 'ViT-B-32' or 'RN50'."
        )


def _without_downloads(config: Mapping[str, Any]) -> dict[str, Any]:
    vision = {**config["vision_cfg"], "timm_model_pretrained": False, "output_tokens": False}
    text = {**config["text_cfg"], "output_tokens": False}
    return {**config, "vision_cfg": vision, "text_cfg": text}


def _load(clip: nn.Module, found: dict[str, Tensor], what: str) -> None:
    found = to_open_clip(found) if is_clip_model(found) else _in_two_towers(found, clip)
    expected = clip.state_dict(keep_vars=True)
    scale = found.get("logit_scale")
    if scale is not None and scale.numel() == 1:  # a number in some files, a list of one in others
        found["logit_scale"] = scale.reshape(expected["logit_scale"].shape)
    copy_strictly(expected, found, what)


def _in_two_towers(found: dict[str, Tensor], clip: nn.Module) -> dict[str, Tensor]:
    """Bring the names of other files that open_clip knows to those of its `CustomTextCLIP`."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    try:
        converted: dict[str, Tensor] = convert_state_dict(clip, found)
    except (KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(f"open_clip cannot convert these weights: {error}") from error
    if "positional_embedding" in converted:
        converted = convert_to_custom_text_state_dict(converted)
    return dict(converted)
