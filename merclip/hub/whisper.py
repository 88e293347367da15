"""Whisper as an audio tower: its encoder's architecture and weights, from a file or the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from merclip._shown import shown
from merclip.errors import CheckpointError, InputError, ModelNotFoundError
from merclip.hub.access import HubAccess
from merclip.hub.sources import Directory, Repository, Source, read_object, require
from merclip.network.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from merclip.network.weights import read_weights
from merclip.network.whisper import whisper_architecture


@dataclass(frozen=True)
class WhisperWeights:
    """Whisper's encoder as an audio tower takes it.

    Parameters
    ----------
    audio_cfg : dict
        As in an architecture.
    tensors : mapping from str to Tensor
        With transformers' names, perhaps of a whole Whisper.
    name : str
        Where they were found.
    """

    audio_cfg: dict[str, Any]
    tensors: Mapping[str, Tensor]
    name: str


def find_whisper(audio: str | os.PathLike[str], access: HubAccess) -> WhisperWeights:
    """Return Whisper's encoder from a safetensors file, a directory or "org/name" on the Hub.

    Parameters
    ----------
    audio : str or path
        "openai/whisper-base", a directory with ``config.json`` and ``model.safetensors`` as
        transformers writes them, or a file of such weights.
    access : HubAccess

    Raises
    ------
    ModelNotFoundError
        There is no such file, directory or repository.
    CheckpointError
        It is no Whisper, or broken.
    """
    if not isinstance(audio, (str, os.PathLike)) or not os.fspath(audio):
        raise InputError(
            "audio is a Whisper: 'openai/whisper-base' or another on the Hub, a directory, or a "
            f"file of its weights; got {shown(audio)}."
        )
    path = Path(audio)
    if os.path.isfile(path):
        return _described(read_weights(path), {}, str(path))
    source: Source
    if os.path.isdir(path):
        source = Directory(str(audio), path)
    elif str(audio).count("/") == 1 and not str(audio).startswith((".", "~", "/")):
        source = Repository(str(audio), access)
    else:
        raise ModelNotFoundError(
            f"There is no Whisper {shown(str(audio))}: give a directory, a file of weights, or "
            "'org/name' for a model on the Hub."
        )
    config = read_object(require(source, CONFIG_FILE))
    if config.get("model_type") != "whisper":
        raise CheckpointError(
            f"{source.name!r} is a model of type {config.get('model_type')!r}, and no Whisper."
        )
    return _described(read_weights(require(source, WEIGHTS_FILE)), config, source.name)


def _described(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], name: str
) -> WhisperWeights:
    return WhisperWeights(whisper_architecture(tensors, config, name), tensors, name)
