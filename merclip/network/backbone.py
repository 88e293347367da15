"""One CLIP architecture of open_clip, and its weights."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from merclip.errors import CheckpointError, InputError, ModelNotFoundError
from merclip.network.residual import build_residual, is_residual


@dataclass(frozen=True)
class Towers:
    """CLIP's image tower, its text tower and its learned logit scale (a factor).

    `audio` is an image tower made for spectrograms; None where the audio encoder
    starts from the image tower, as in the paper.
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
    _check_text_tower(config["text_cfg"])
    if not is_residual(config.get("audio_cfg", {"tower": "residual"})):
        raise InputError("An audio tower of its own is residual: audio_cfg={'tower': 'residual'}.")
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
        A checkpoint that open_clip reads (``.safetensors``, ``.pt``, ``.bin``).

    Raises
    ------
    CheckpointError
        The weights do not fit the architecture.
    """
    from open_clip.model import CustomTextCLIP

    own = is_residual(config["vision_cfg"])
    for_clip = {key: value for key, value in config.items() if key != "audio_cfg"}
    try:
        clip = CustomTextCLIP(**_without_downloads(_stand_in(for_clip) if own else for_clip))
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        raise InputError(f"open_clip cannot build this architecture: {error}") from error
    if own:
        clip.visual = build_residual(config["embed_dim"], config["vision_cfg"])
    if weights is not None:
        _load(clip, Path(weights))
    audio = None
    if "audio_cfg" in config:
        audio = build_residual(config["embed_dim"], config["audio_cfg"])
    return Towers(clip.visual, clip.text, float(clip.logit_scale.detach().exp()), audio)


def _find_architecture(backbone: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(backbone, Mapping):
        return dict(backbone)
    path = Path(backbone)
    if path.suffix == ".json":
        if not path.is_file():
            raise ModelNotFoundError(f"There is no architecture file {str(path)!r}.")
        config = json.loads(path.read_text(encoding="utf-8"))
        return dict(config.get("model_cfg", config))
    from open_clip.factory import get_model_config

    config = get_model_config(os.fspath(backbone).replace("/", "-"))
    if config is None:
        raise ModelNotFoundError(f"open_clip knows no architecture {os.fspath(backbone)!r}.")
    return dict(config)


def _check_text_tower(text: Mapping[str, Any]) -> None:
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


def _stand_in(config: Mapping[str, Any]) -> dict[str, Any]:
    # open_clip builds both towers at once; its image tower is replaced at once by our own.
    return {**config, "vision_cfg": {"layers": 1, "width": 64, "head_width": 64, "image_size": 32}}


def _load(clip: nn.Module, weights: Path) -> None:
    from open_clip.factory import load_checkpoint

    try:
        load_checkpoint(clip, str(weights), strict=True, weights_only=True)
    except Exception as error:  # open_clip raises whatever its readers raise
        raise CheckpointError(
            f"The weights in {str(weights)!r} do not fit the architecture: {error}"
        ) from error
