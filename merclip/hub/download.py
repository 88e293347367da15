"""Fetching a model ahead of its use, into the cache or as a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from merclip.errors import InputError
from merclip.hub.access import HubAccess
from merclip.hub.layouts import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, ClipWeights, clip_in
from merclip.hub.models import backbone_fetcher, checkpoint_files, find_model, load_model
from merclip.hub.sources import read_object
from merclip.network import load_checkpoint, save_checkpoint
from merclip.network.checkpoint import CARD_FILE
from merclip.network.weights import SAFE_SUFFIX


@dataclass(frozen=True)
class Fetched:
    """A model whose files are all on this machine.

    Parameters
    ----------
    files : tuple of Path
        Of the model itself.
    backbone : Path or None
        CLIP's weights, where a checkpoint leaves them to their own repository.
    clip : ClipWeights or None
        CLIP for a new network; None for a checkpoint of merclip.
    """

    files: tuple[Path, ...]
    backbone: Path | None = None
    clip: ClipWeights | None = None


def fetch(model: str, pretrained: str | None, access: HubAccess) -> Fetched:
    """Fetch all files of a model, and its backbone, without loading them.

    Parameters
    ----------
    model, pretrained, access
        As for `load_model`.

    Raises
    ------
    ModelNotFoundError, CheckpointError
        A file cannot be had.
    InputError
        The model has no files, or `pretrained` does not go with it.
    """
    source = find_model(model, pretrained, access)
    clip = source if isinstance(source, ClipWeights) else clip_in(source)
    if clip is not None:
        if not clip.files:
            raise InputError(f"pretrained={pretrained!r} is nothing that is downloaded.")
        return Fetched(clip.files, clip=clip)
    assert not isinstance(source, ClipWeights)
    files = tuple(checkpoint_files(source))
    place = read_object(files[0]).get("backbone")
    return Fetched(files, backbone_fetcher(access)(place) if place else None)


def write_whole(fetched: Fetched, access: HubAccess, directory: Path) -> Path:
    """Write a directory that needs no other file, and load it once to see that it works.

    A checkpoint gets its backbone built in; CLIP for a new network stays in its layout.

    Parameters
    ----------
    fetched : Fetched
    access : HubAccess
    directory : Path
        New, or empty. It is written whole or not at all.

    Raises
    ------
    InputError
        The directory holds something, or cannot be written.
    CheckpointError
        What was fetched is broken.
    """
    check_empty(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".merclip-") as folder:
            whole = Path(folder) / "model"
            whole.mkdir()
            _write(fetched, access, whole)
            load_model(whole, access=HubAccess(local_files_only=True))
            if directory.exists():
                directory.rmdir()
            os.replace(whole, directory)
    except OSError as error:
        raise InputError(f"{str(directory)!r} cannot be written: {error}") from error
    return directory


def check_empty(directory: Path) -> None:
    """Refuse a directory that holds something.

    Raises
    ------
    InputError
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{str(directory)!r} is a file: give a directory.")
    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"{str(directory)!r} is not empty: give a new directory.")


def _write(fetched: Fetched, access: HubAccess, directory: Path) -> None:
    if fetched.backbone is not None:
        checkpoint = load_checkpoint(
            fetched.files[0].parent, fetch_backbone=backbone_fetcher(access)
        )
        cards = [path for path in fetched.files if path.name == CARD_FILE]
        card = cards[0].read_text(encoding="utf-8") if cards else ""
        save_checkpoint(checkpoint, directory, card, bundle_backbone=True)
        return
    clip = fetched.clip
    named = clip is None or any(path.name.endswith("config.json") for path in fetched.files)
    for path in fetched.files:
        name = path.name if named or path.name == CARD_FILE else _open_clip_name(path)
        # The cache holds links; what is copied is what they lead to.
        shutil.copyfile(path, directory / name)
    if clip is not None and not named:
        config = {"model_cfg": clip.architecture, "preprocess_cfg": clip.vision}
        text = json.dumps(config, indent=2) + "\n"
        (directory / OPEN_CLIP_CONFIG).write_text(text, encoding="utf-8")


def _open_clip_name(weights: Path) -> str:
    safe, pickled = OPEN_CLIP_WEIGHTS
    return safe if weights.suffix == SAFE_SUFFIX else pickled
