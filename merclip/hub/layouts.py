"""CLIP's weights, wherever they come from: architecture, preprocessing, place and licence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merclip._warn import warn
from merclip.errors import CheckpointError, CheckpointWarning, InputError, ModelNotFoundError
from merclip.hub.access import HubAccess
from merclip.hub.cards import licence_in
from merclip.hub.preprocessing import of_clip_model, of_open_clip
from merclip.hub.sources import Repository, Source, read_object, require
from merclip.network import architecture
from merclip.network.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from merclip.network.clip_model import MODEL_TYPE, clip_model_architecture
from merclip.network.stored import check_backbone

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class ClipWeights:
    """A file of CLIP weights, its place on the Hub, and what its training fixed.

    Parameters
    ----------
    path : Path or None
        None for random weights.
    place : dict or None
        Repository, commit and file name; None for a file of this machine alone.
    architecture : dict
        In open_clip's terms.
    vision : dict
        Values of `VisionConfig`.
    lineage : dict
        Where the weights come from, and their licence.
    files : tuple of Path
        All that this was read from.
    """

    path: Path | None = None
    place: dict[str, str] | None = None
    architecture: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def clip_in(source: Source) -> ClipWeights | None:
    """Return CLIP's weights in open_clip's or Hugging Face's layout.

    Returns
    -------
    ClipWeights or None
        None for a checkpoint of merclip, and for what is nothing known.

    Raises
    ------
    CheckpointError
        A model of another kind, a configuration that cannot be used, or no weights
        that are safe to read.
    ModelNotFoundError
        The Hub cannot be reached, or has no such model.
    """
    path = source.find(CONFIG_FILE)
    values = _peek(path)
    if "format_version" in values:
        return None
    open_clip = source.find(OPEN_CLIP_CONFIG)
    if open_clip is not None:
        return _in_open_clip_layout(source, open_clip)
    if values.get("model_type") == MODEL_TYPE and path is not None:
        return _in_clip_model_layout(source, path, values)
    if "model_type" in values:
        raise CheckpointError(
            f"{source.name!r} is a model of type {values['model_type']!r}. merclip loads its own "
            f"checkpoints, and CLIP as open_clip stores it or as Hugging Face's CLIPModel."
        )
    return None


def clip_of_tag(
    name: str, config: Mapping[str, Any], pretrained: str, access: HubAccess
) -> ClipWeights:
    """Return the weights for an architecture: random ones, a file, or a tag of open_clip.

    Parameters
    ----------
    name : str
        Of the architecture.
    config : mapping
        The architecture itself.
    pretrained : str
    access : HubAccess

    Raises
    ------
    ModelNotFoundError
        open_clip has no such tag, or the Hub does not give its file.
    """
    if pretrained == "random":
        return ClipWeights(architecture=dict(config))
    if Path(pretrained).is_file():
        activation = _activation_of(Path(pretrained), name, config)
        return ClipWeights(Path(pretrained), architecture={**config, **activation})
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tag = get_pretrained_cfg(name, pretrained)
    if not tag.get("hf_hub"):
        raise ModelNotFoundError(
            f"open_clip has no weights {pretrained!r} for {name!r} on the Hub; "
            f"it has {list_pretrained_tags_by_model(name)}."
        )
    repo, _, filename = tag["hf_hub"].rpartition("/")
    source = Repository(repo, access)
    path = require(source, *((filename,) if filename else OPEN_CLIP_WEIGHTS))
    activation = {"quick_gelu": True} if tag.get("quick_gelu") else {}
    vision = of_open_clip(tag, f"{name} {pretrained}")
    return _weights(source, path, {**config, **activation}, vision)


def _in_open_clip_layout(source: Source, config: Path) -> ClipWeights:
    values = read_object(config)
    model, pictures = values.get("model_cfg"), values.get("preprocess_cfg") or {}
    if not isinstance(model, dict) or not isinstance(pictures, dict):
        raise CheckpointError(f"{config} has no mapping model_cfg, or its preprocess_cfg is none.")
    vision = of_open_clip(pictures, source.name)
    described = _checked(config, lambda: model)
    weights = require(source, *OPEN_CLIP_WEIGHTS)
    return _weights(source, weights, described, vision, config)


def _in_clip_model_layout(source: Source, config: Path, values: dict[str, Any]) -> ClipWeights:
    described = _checked(config, lambda: clip_model_architecture(values))
    processor = require(source, *PROCESSOR_FILES)
    pictures = read_object(processor)
    inner = pictures.get("image_processor", pictures)  # newer files nest it
    if not isinstance(inner, dict):
        raise CheckpointError(f"{processor} describes no image processor.")
    size = described["vision_cfg"]["image_size"]
    vision = of_clip_model(inner, size, source.name)
    return _weights(source, require(source, WEIGHTS_FILE), described, vision, config, processor)


def _checked(config: Path, describe: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the architecture that a configuration describes, if it is one that can be built."""
    try:
        described = describe()
        check_backbone(described)
        return architecture(described)
    except (InputError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{config} cannot be used: {error}") from error


def _weights(
    source: Source, path: Path, described: dict[str, Any], vision: dict[str, Any], *others: Path
) -> ClipWeights:
    card = source.find_spare(CARD_FILE)
    lineage = {"base_model": source.origin, **licence_in(card)}
    files = (*others, path, *([card] if card else []))
    return ClipWeights(path, source.place(path), described, vision, lineage, files)


def _activation_of(weights: Path, name: str, config: Mapping[str, Any]) -> dict[str, bool]:
    """Return what tells the activation that weights were trained with; a file itself does not.

    Warns
    -----
    CheckpointWarning
        Only the file's name tells it; or nothing does, of an architecture of which there
        are weights of either kind.
    """
    if "quick_gelu" in config:
        return {}
    beside = {path: _peek(path) for path in map(weights.with_name, (CONFIG_FILE, OPEN_CLIP_CONFIG))}
    if beside[weights.with_name(CONFIG_FILE)].get("model_type") == MODEL_TYPE:
        described = clip_model_architecture(beside[weights.with_name(CONFIG_FILE)])
        return {"quick_gelu": described["quick_gelu"]}
    model = beside[weights.with_name(OPEN_CLIP_CONFIG)].get("model_cfg")
    if isinstance(model, Mapping):
        return {"quick_gelu": bool(model.get("quick_gelu"))}
    told = f"{weights.parent.name}/{weights.name}".lower()
    if "openai" in told or "quickgelu" in told.replace("_", "").replace("-", ""):
        warn(
            CheckpointWarning(
                f"{str(weights)!r} is taken for weights of OpenAI's kind, by its name: it runs "
                "with QuickGELU. If it was trained with GELU, rename it."
            )
        )
        return {"quick_gelu": True}
    from open_clip import list_models

    if f"{name}-quickgelu" in list_models():
        warn(
            CheckpointWarning(
                f"{str(weights)!r} does not say which activation it was trained with, and runs "
                f"with GELU. OpenAI's, MetaCLIP's and some other weights need QuickGELU: for them "
                f"give model='{name}-quickgelu'. An architecture as a mapping with 'quick_gelu' "
                "says it either way."
            )
        )
    return {}


def _peek(path: Path | None) -> dict[str, Any]:
    """Return a configuration; nothing where there is none or its own reader must complain."""
    try:
        return {} if path is None or not path.is_file() else read_object(path)
    except CheckpointError:
        return {}
