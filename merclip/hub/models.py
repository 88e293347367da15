"""Where models come from: the package, a directory, open_clip, the Hugging Face Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from merclip._files import placed
from merclip._shown import shown
from merclip.errors import CheckpointError, InputError, ModelNotFoundError
from merclip.hub.access import HubAccess
from merclip.hub.cards import licence_in
from merclip.hub.layouts import OPEN_CLIP_CONFIG, ClipWeights, clip_in, clip_of_tag
from merclip.hub.sources import Directory, Repository, Source, require
from merclip.hub.whisper import WhisperWeights, find_whisper
from merclip.network import (
    MERCLIP,
    Checkpoint,
    NetworkConfig,
    architecture,
    build_towers,
    load_checkpoint,
)
from merclip.network.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, FetchBackbone
from merclip.network.stored import check_place
from merclip.network.whisper import load_whisper
from merclip.preprocess import PreprocessConfig
from merclip.preprocess.config import AudioConfig, VisionConfig

MINI = "mini"
MINI_LINEAGE = {"base_model": "merclip mini", "license": "cc-by-nc-sa-4.0"}
WEIGHTS_DIRECTORY = Path(__file__).parents[1] / "weights"


def load_model(
    model: str | os.PathLike[str] | Mapping[str, Any],
    *,
    pretrained: str | os.PathLike[str] | None = None,
    access: HubAccess | None = None,
    network: Mapping[str, Any] | None = None,
    preprocess: PreprocessConfig | None = None,
    audio: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Load a model from wherever its name points to.

    Parameters
    ----------
    model : str, path or mapping
        "mini"; a directory or "org/name" on the Hub that holds a checkpoint, or
        CLIP in open_clip's or Hugging Face's layout; a name of open_clip's
        architectures, or a JSON file or mapping in its format.
    pretrained : str or path, optional
        For an architecture: a tag of open_clip ("openai") or a file of CLIP
        weights.
    access : HubAccess, optional
    network : mapping, optional
        Values of `NetworkConfig` to replace.
    preprocess : PreprocessConfig, optional
        For a new network; a checkpoint brings its own.
    audio : str or path, optional
        For a new network: the Whisper whose encoder hears sound, as in `find_whisper`.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to get one.
    CheckpointError
        It is broken, or of a kind that merclip cannot use.
    InputError
        `model` is of no such kind, or `pretrained` is given for a checkpoint.
    """
    access = access or HubAccess()
    overrides = dict(network or {})
    if not isinstance(preprocess, (PreprocessConfig, type(None))):
        raise InputError(f"preprocess is a PreprocessConfig, got {type(preprocess).__name__}.")
    source = find_model(model, pretrained, access)
    weights = source if isinstance(source, ClipWeights) else clip_in(source)
    if weights is not None:
        whisper = None if audio is None else find_whisper(audio, access)
        return _new_checkpoint(weights, overrides, preprocess, whisper)
    if audio is not None:
        raise InputError(
            f"audio={str(audio)!r} is for a new network; {str(model)!r} brings its own audio tower."
        )
    assert not isinstance(source, ClipWeights)
    return _saved_checkpoint(source, access, overrides)


def find_model(
    model: str | os.PathLike[str] | Mapping[str, Any],
    pretrained: str | os.PathLike[str] | None,
    access: HubAccess,
) -> Source | ClipWeights:
    """Return where a model's files lie, or the weights for an architecture.

    Parameters and errors are those of `load_model`.
    """
    if not isinstance(model, (str, os.PathLike, Mapping)) or model == "":
        raise InputError(
            "model is 'mini', a checkpoint's directory, 'org/name' on the Hub, or an open_clip "
            f"architecture by name, file or dictionary; got {shown(model)}."
        )
    if isinstance(model, Mapping) or str(model).endswith(".json"):
        return _for_architecture(model, pretrained, access)
    directory = checkpoint_directory(model)
    if directory is None and _is_architecture(str(model)):
        # OpenAI writes "ViT-B/32".
        return _for_architecture(str(model).replace("/", "-"), pretrained, access)
    if pretrained is not None:
        saved = directory is not None or "/" in str(model)
        reason = "brings its own weights" if saved else "is no architecture that open_clip knows"
        raise InputError(
            f"pretrained={str(pretrained)!r} goes with an open_clip architecture such as "
            f"model='ViT-B-32'; {str(model)!r} {reason}."
        )
    if directory is not None:
        return Directory(str(model), directory)
    if _reads_like_path(str(model)):
        home = " (~ is not expanded)" if str(model).startswith("~") else ""
        raise ModelNotFoundError(
            f"There is no directory {shown(str(model))}{home}: give a checkpoint's directory, or "
            "'org/name' for a model on the Hub."
        )
    if str(model).count("/") == 1:
        return Repository(str(model), access)
    raise ModelNotFoundError(
        f"There is no model {shown(str(model))}: give 'mini', a checkpoint's directory, an "
        "open_clip architecture such as 'ViT-B-32', or 'org/name' on the Hub."
    )


def placed_model(model: Any) -> Any:
    """Return a model on this machine by its absolute path, and any other by its name.

    So it is found where it was when its name was given, though it is loaded later.
    """
    if isinstance(model, str) and model == MINI:
        return model
    return placed(model, lambda path: os.path.isdir(path) or str(path).endswith(".json"))


def checkpoint_directory(model: str | os.PathLike[str]) -> Path | None:
    """Return where a checkpoint on this machine lies; None for any other model."""
    if model == MINI:
        return WEIGHTS_DIRECTORY / MINI
    path = Path(model)
    # `Path.is_dir` would raise for a name that is too long for any file.
    return path if os.path.isdir(path) else None


def model_directory(model: str | os.PathLike[str], access: HubAccess) -> Path | None:
    """Return where the files of a model lie, fetched if need be; None for an architecture.

    Errors are those of `load_model`.
    """
    source = None if _is_architecture(str(model)) else find_model(model, None, access)
    if source is None or isinstance(source, ClipWeights):
        return checkpoint_directory(model)
    found = source.find(CONFIG_FILE, OPEN_CLIP_CONFIG)
    return None if found is None else found.parent


def checkpoint_files(source: Source) -> list[Path]:
    """Return configuration, weights and card of a checkpoint, fetched if need be.

    Raises
    ------
    ModelNotFoundError, CheckpointError
        There is no configuration, or there are no weights.
    """
    files = [require(source, name) for name in (CONFIG_FILE, WEIGHTS_FILE)]
    card = source.find_spare(CARD_FILE)
    return [*files, card] if card else files


def backbone_fetcher(access: HubAccess) -> FetchBackbone:
    """Return what turns the stored place of CLIP's weights into a local file."""

    def fetch(place: dict[str, str]) -> Path:
        try:
            check_place(place)
        except InputError as error:
            raise CheckpointError(str(error)) from error
        return access.file(place["repo"], place["filename"], place["revision"])

    return fetch


def _reads_like_path(name: str) -> bool:
    """Return whether a name is one that no repository on the Hub can have, but a path can."""
    rooted = name.startswith((".", "~")) or Path(name).is_absolute()
    return rooted or "\\" in name or name.count("/") > 1


def _is_architecture(name: str) -> bool:
    from open_clip import list_models

    # Not get_model_config, which downloads for "hf-hub:org/name".
    return name.replace("/", "-") in list_models()


def _for_architecture(
    model: str | os.PathLike[str] | Mapping[str, Any],
    pretrained: str | os.PathLike[str] | None,
    access: HubAccess,
) -> ClipWeights:
    described = architecture(model)
    if pretrained is None:
        raise ModelNotFoundError(
            f"The architecture {model!r} has no weights by itself: give pretrained='openai' or "
            "another tag of open_clip, a file of CLIP weights, or 'random' to train from scratch."
        )
    return clip_of_tag(str(model), described, str(pretrained), access)


def _saved_checkpoint(source: Source, access: HubAccess, overrides: dict[str, Any]) -> Checkpoint:
    files = checkpoint_files(source)
    checkpoint = load_checkpoint(
        files[0].parent, fetch_backbone=backbone_fetcher(access), overrides=overrides or None
    )
    if source.name == MINI:
        # Reading its card would import huggingface_hub, which takes a fifth of a second.
        checkpoint.lineage = dict(MINI_LINEAGE)
        return checkpoint
    stored = checkpoint.lineage or {"base_model": source.origin}
    found = licence_in(files[2] if len(files) > 2 else None)
    checkpoint.lineage = {"license": "unknown", **stored, **found}
    return checkpoint


def _new_checkpoint(
    weights: ClipWeights,
    overrides: dict[str, Any],
    preprocess: PreprocessConfig | None,
    whisper: WhisperWeights | None,
) -> Checkpoint:
    described = weights.architecture
    if whisper is not None:
        described = {**described, "audio_cfg": whisper.audio_cfg}
    config = NetworkConfig(described).with_overrides(overrides)
    towers = build_towers(config.backbone, weights.path)
    if whisper is not None:
        load_whisper(cast(Any, towers.audio).encoder, whisper.tensors, whisper.name)
    preprocess = preprocess or PreprocessConfig(
        image_size=config.image_size,
        context_length=config.context_length,
        vision=VisionConfig(n_frames=config.max_frames, **weights.vision),
        audio=AudioConfig.whisper(config.audio_size[1]) if config.hears_windows else AudioConfig(),
    )
    network = MERCLIP(config, towers).eval()
    # The audio encoder is no copy of a tower of CLIP's, so that a checkpoint has to hold it.
    return Checkpoint(
        network,
        preprocess,
        backbone=weights.place,
        encoders_trained=whisper is not None,
        lineage=dict(weights.lineage),
    )
