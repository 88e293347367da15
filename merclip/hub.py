"""Where models come from: the package, a directory, open_clip, the Hugging Face Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merclip._version import __version__
from merclip.errors import InputError, ModelNotFoundError
from merclip.labels import LabelSet
from merclip.network import (
    MERCLIP,
    Checkpoint,
    NetworkConfig,
    architecture,
    build_towers,
    load_checkpoint,
)
from merclip.network.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, FetchBackbone
from merclip.preprocess import PreprocessConfig
from merclip.preprocess.config import VisionConfig

MINI = "mini"
CLIP_WEIGHTS_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
WEIGHTS_DIRECTORY = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class HubAccess:
    """How files are fetched: every download goes through one of these.

    The parameters are those of huggingface_hub, which also honours its own
    environment variables (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and others).
    """

    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    force_download: bool = False

    def file(self, repo: str, filename: str, revision: str | None = None) -> Path:
        """Return the local path of one file, downloaded if need be.

        Raises
        ------
        ModelNotFoundError
            The Hub cannot be reached, or has no such repository or file.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )

        try:
            path = hf_hub_download(
                repo,
                filename,
                revision=revision or self.revision,
                cache_dir=self.cache_dir,
                token=self.token,
                local_files_only=self.local_files_only,
                force_download=self.force_download,
                library_name="merclip",
                library_version=__version__,
            )
        except LocalEntryNotFoundError as error:
            raise ModelNotFoundError(
                f"{filename} of {repo!r} is not in the cache, and the Hub cannot be reached; "
                "connect to the network once, or copy the model's directory here and give its path."
            ) from error
        except HfHubHTTPError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ModelNotFoundError(
                f"The Hub gives no {filename} of {repo!r} ({' '.join(lines[:2])}): check the name "
                "and the revision; a private or gated model needs a token."
            ) from error
        except HFValidationError as error:
            raise ModelNotFoundError(f"{repo!r} is no name of a model: {error}") from error
        return Path(path)


def load_model(
    model: str | os.PathLike[str] | Mapping[str, Any],
    *,
    pretrained: str | os.PathLike[str] | None = None,
    access: HubAccess | None = None,
    network: Mapping[str, Any] | None = None,
    preprocess: PreprocessConfig | None = None,
) -> Checkpoint:
    """Load a model from wherever its name points to.

    Parameters
    ----------
    model : str, path or mapping
        "mini", the directory of a checkpoint, a name of open_clip's
        architectures, a JSON file or mapping in its format, or "org/name" on
        the Hub.
    pretrained : str or path, optional
        For an architecture: a tag of open_clip ("openai") or a file of CLIP
        weights.
    access : HubAccess, optional
    network : mapping, optional
        Values of `NetworkConfig` to replace.
    preprocess : PreprocessConfig, optional
        For a new network; a checkpoint brings its own.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to get one.
    InputError
        `model` is of no such kind, or `pretrained` is given for a checkpoint.
    """
    access = access or HubAccess()
    overrides = dict(network or {})
    if not isinstance(model, (str, os.PathLike, Mapping)) or model == "":
        raise InputError(
            "model is 'mini', a checkpoint's directory, 'org/name' on the Hub, or an open_clip "
            f"architecture by name, file or dictionary; got {model!r}."
        )
    if not isinstance(preprocess, (PreprocessConfig, type(None))):
        raise InputError(f"preprocess is a PreprocessConfig, got {type(preprocess).__name__}.")
    if isinstance(model, Mapping) or str(model).endswith(".json"):
        return _new_checkpoint(model, pretrained, access, overrides, preprocess)
    directory = checkpoint_directory(model)
    if directory is None and _is_architecture(str(model)):
        # OpenAI writes "ViT-B/32".
        name = str(model).replace("/", "-")
        return _new_checkpoint(name, pretrained, access, overrides, preprocess)
    if pretrained is not None:
        saved = directory is not None or "/" in str(model)
        reason = "brings its own weights" if saved else "is no architecture that open_clip knows"
        raise InputError(
            f"pretrained={str(pretrained)!r} goes with an open_clip architecture such as "
            f"model='ViT-B-32'; {str(model)!r} {reason}."
        )
    if directory is not None:
        return _saved_checkpoint(str(model), directory, access, overrides)
    if str(model).count("/") == 1 and not Path(model).is_absolute():
        return _from_hub(str(model), access, overrides)
    raise ModelNotFoundError(
        f"There is no model {str(model)!r}: give 'mini', a checkpoint's directory, an open_clip "
        "architecture such as 'ViT-B-32', or 'org/name' on the Hub."
    )


def checkpoint_directory(model: str | os.PathLike[str]) -> Path | None:
    """Return where a checkpoint on this machine lies; None for any other model."""
    if model == MINI:
        return WEIGHTS_DIRECTORY / MINI
    path = Path(model)
    return path if path.is_dir() else None


def _is_architecture(name: str) -> bool:
    from open_clip import list_models

    # Not get_model_config, which downloads for "hf-hub:org/name".
    return name.replace("/", "-") in list_models()


def _from_hub(repo: str, access: HubAccess, overrides: dict[str, Any]) -> Checkpoint:
    config = access.file(repo, CONFIG_FILE)
    access.file(repo, WEIGHTS_FILE)
    return _saved_checkpoint(repo, config.parent, access, overrides)


def _saved_checkpoint(
    name: str, directory: Path, access: HubAccess, overrides: dict[str, Any]
) -> Checkpoint:
    checkpoint = load_checkpoint(
        directory, fetch_backbone=_fetcher(access), overrides=overrides or None
    )
    if not checkpoint.lineage:
        base = "merclip mini" if name == MINI else name
        licence = card_licence(directory) or "unknown"
        checkpoint.lineage = {"base_model": base, "license": licence}
    return checkpoint


def card_licence(directory: Path) -> str | None:
    """Return the licence of a checkpoint's weights, as its model card's metadata name it."""
    try:
        lines = (directory / CARD_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    if not lines or lines[0].strip() != "---":
        return None
    found = {}
    for line in lines[1:]:
        if line.strip() == "---":
            break
        key, _, value = line.partition(":")
        found[key.strip()] = value.strip().strip("'\"")
    licence = found.get("license")
    return found.get("license_name", licence) if licence == "other" else licence


def _new_checkpoint(
    model: str | os.PathLike[str] | Mapping[str, Any],
    pretrained: str | os.PathLike[str] | None,
    access: HubAccess,
    overrides: dict[str, Any],
    preprocess: PreprocessConfig | None,
) -> Checkpoint:
    backbone = architecture(model)
    if pretrained is None:
        raise ModelNotFoundError(
            f"The architecture {model!r} has no weights by itself: give pretrained='openai' or "
            "another tag of open_clip, a file of CLIP weights, or 'random' to train from scratch."
        )
    source = _weights(str(model), str(pretrained), access)
    backbone = {**backbone, **source.architecture}
    config = NetworkConfig(backbone).with_overrides(overrides)
    towers = build_towers(config.backbone, source.path)
    preprocess = preprocess or PreprocessConfig(
        image_size=config.image_size,
        context_length=config.context_length,
        vision=VisionConfig(n_frames=config.max_frames, **source.vision),
    )
    return Checkpoint(MERCLIP(config, towers).eval(), preprocess, backbone=source.place)


@dataclass(frozen=True)
class _Weights:
    """A file of CLIP weights, its place on the Hub, and what its training fixed."""

    path: Path | None = None
    place: dict[str, str] | None = None
    architecture: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)


def _weights(name: str, pretrained: str, access: HubAccess) -> _Weights:
    if pretrained == "random":
        return _Weights()
    if Path(pretrained).is_file():
        return _Weights(Path(pretrained))
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tag = get_pretrained_cfg(name, pretrained)
    if not tag.get("hf_hub"):
        raise ModelNotFoundError(
            f"open_clip has no weights {pretrained!r} for {name!r} on the Hub; "
            f"it has {list_pretrained_tags_by_model(name)}."
        )
    repo, _, filename = tag["hf_hub"].rpartition("/")
    path = _first_file(repo, (filename,) if filename else CLIP_WEIGHTS_FILES, access)
    # The cache keeps a file under its commit, which pins what was loaded.
    place = {"repo": repo, "revision": path.parent.name, "filename": path.name}
    vision = {key: tag[key] for key in ("mean", "std", "interpolation") if key in tag}
    activation = {"quick_gelu": True} if tag.get("quick_gelu") else {}
    return _Weights(path, place, activation, vision)


def _first_file(repo: str, filenames: tuple[str, ...], access: HubAccess) -> Path:
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return access.file(repo, filenames[0])
    except ModelNotFoundError as error:
        if len(filenames) == 1 or not isinstance(error.__cause__, EntryNotFoundError):
            raise
        try:
            return _first_file(repo, filenames[1:], access)
        except ModelNotFoundError:
            raise error from error.__cause__


def _fetcher(access: HubAccess) -> FetchBackbone:
    def fetch(place: dict[str, str]) -> Path:
        return access.file(place["repo"], place["filename"], place["revision"])

    return fetch


def model_card(checkpoint: Checkpoint, labels: LabelSet | None) -> str:
    """Return the text of a model card for a checkpoint that a user saved."""
    names = [] if labels is None else [str(name) for name in labels.names]
    licence = checkpoint.lineage.get("license", "unknown")
    header = ["---", "library_name: merclip", "pipeline_tag: video-classification"]
    header += [] if licence == "unknown" else [f"license: {licence}"]
    header += ["tags:"]
    header += [f"- {tag}" for tag in ("merclip", "emotion-recognition", "multimodal")]
    example = ", ".join(repr(name) for name in names[:3]) or "'happy', 'sad'"
    body = f"""
# A merclip checkpoint

Emotion classifier for video, sound and text, saved by merclip {__version__}.

- Labels: {", ".join(names) or "none stored"}
- Fusion order: {checkpoint.network.config.fusion}
- Trained from: {checkpoint.lineage.get("base_model", "a new network")}
- Licence of the weights that it was trained from: {licence}

```python
from merclip import EmotionClassifier

clf = EmotionClassifier.from_pretrained("path/to/this/directory")
clf.predict(video="clip.mp4", labels=[{example}])
```

Its accuracy has not been measured by merclip. Measure it on data of your own
before you rely on it, and say here what it was trained on.
"""
    return "\n".join([*header, "---", body])
