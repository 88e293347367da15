"""Files of a dialogue network: ``config.json`` and ``model.safetensors``, strictly read."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from merclip._files import settled
from merclip._version import __version__
from merclip.errors import CheckpointError, InputError
from merclip.network.anchors import Anchors
from merclip.network.checkpoint import CONFIG_FILE, WEIGHTS_FILE, write_model_files
from merclip.network.dialogue import DialogueConfig, DialogueNetwork
from merclip.network.vega_file import load_vega_network
from merclip.network.weights import Backed, copy_strictly, read_weights

ARCHITECTURE = "merclip-conversation"
FORMAT_VERSION = 1
_LARGEST = 1 << 16
_KINDS: dict[str, tuple[type, ...]] = {
    "labels": (list,),
    "model": (str, type(None)),
    "origin": (str, type(None)),
    "predict_from": (str,),
    "anchored_by_words": (bool,),
    "speakers": (str,),
    "known_speakers": (list,),
}
"""What beside the network is stored, and of which types it is."""


def save_dialogue_network(
    network: DialogueNetwork, values: dict[str, Any], directory: Path
) -> Path:
    """Write a network and what goes with it.

    Parameters
    ----------
    network : DialogueNetwork
    values : dict
        Of built-in types.
    directory : Path
        Made if it does not exist; files of other names stay.

    Raises
    ------
    InputError
        It is a file, cannot be written, or has a ``config.json`` or weights of another kind.
    """
    _check_free(directory)
    config = {**asdict(network.config), "widths": dict(network.config.widths)}
    anchors = None if network.anchors is None else network.anchors.counts.tolist()
    content = {
        "architecture": ARCHITECTURE,
        "format_version": FORMAT_VERSION,
        "merclip_version": __version__,
        "network": config,
        "anchors": anchors,
        "conversation": values,
    }
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    write_model_files(directory, content, tensors)
    return directory


def load_dialogue_network(directory: Path) -> tuple[DialogueNetwork, dict[str, Any]]:
    """Read what `save_dialogue_network` wrote, or VEGA's own file of weights.

    Raises
    ------
    CheckpointError
        A file is missing or broken, is of another kind or a newer merclip, or weights
        do not fit the config.
    """
    if directory.is_file():
        return load_vega_network(directory)
    with settled(directory):
        return _load(directory)


def _load(directory: Path) -> tuple[DialogueNetwork, dict[str, Any]]:
    content = _read(directory)
    tensors = read_weights(directory / WEIGHTS_FILE)
    try:
        config = DialogueConfig(**_network(content))
        values = _values(content)
        anchors = _anchors(content, tensors)
        larger = InputError(f"the network is larger than all of {WEIGHTS_FILE}")
        with Backed(sum(tensor.numel() for tensor in tensors.values()), larger):
            network = DialogueNetwork(config, anchors)
    except (InputError, TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{directory / CONFIG_FILE} cannot be used: {error}") from error
    copy_strictly(
        network.state_dict(), tensors, f"The weights in {directory} do not fit its config"
    )
    return network.eval(), values


def _read(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"There is no conversation model in {str(directory)!r}: give a directory that "
            "ConversationClassifier.save_pretrained wrote."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("architecture") != ARCHITECTURE:
        raise CheckpointError(
            f"{path} is not of a conversation model; others are for EmotionClassifier."
        )
    if content.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has the format {content.get('format_version')!r}, and this merclip reads "
            f"{FORMAT_VERSION}: use a newer merclip."
        )
    return content


def _network(content: dict[str, Any]) -> dict[str, Any]:
    values = content["network"]
    known: dict[str, Any] = {item.name: item.default for item in fields(DialogueConfig)}
    if set(values) != set(known):
        raise InputError(f"the network has {sorted(known)}, got {sorted(values)}")
    numbers: dict[str, Any] = {**values, **values["widths"]}
    del numbers["widths"]
    for name, value in numbers.items():
        kind = type(known.get(name, 0))
        if not isinstance(value, kind) or not 0 <= value <= _LARGEST:
            raise InputError(f"{name} cannot be {value!r}")
    return dict(values)


def _values(content: dict[str, Any]) -> dict[str, Any]:
    values = content["conversation"]
    for name, kinds in _KINDS.items():
        if not isinstance(values.get(name), kinds):
            raise InputError(f"{name} cannot be {values.get(name)!r}")
    labels = values["labels"]
    pairs = all(isinstance(pair, list) and len(pair) == 2 for pair in labels)
    if not pairs or len(labels) != content["network"]["n_classes"]:
        raise InputError("labels are pairs of a name and descriptions, one for each class")
    return dict(values)


def _anchors(content: dict[str, Any], tensors: dict[str, Tensor]) -> Anchors | None:
    counts = content["anchors"]
    if counts is None:
        return None
    features = tensors["anchors.features"]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise InputError("anchors are counts, one for each class")
    return Anchors(list(torch.split(features.detach().float(), counts)))


def _check_free(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{str(directory)!r} is a file: give a directory.")
    with settled(directory):
        if not any((directory / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE)):
            return
        try:
            _read(directory)
        except CheckpointError:
            raise InputError(
                f"{str(directory)!r} has files that are no conversation model's, and that would be "
                "overwritten: give another directory."
            ) from None
