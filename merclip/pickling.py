"""A checkpoint in a pickle: what differs from weights that can be had again.

Weights that came from the Hub at a pinned commit, and those of the embedded model, are
named; a pickle holds the others as arrays. This module imports no pickle: it makes built-in
types and arrays, and takes them back.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merclip._version import __version__
from merclip.errors import CheckpointError, MerclipError, ModelNotFoundError
from merclip.hub import HubAccess, load_model
from merclip.hub.models import MINI, WEIGHTS_DIRECTORY, backbone_fetcher
from merclip.network import MERCLIP, Checkpoint, NetworkConfig, build_towers
from merclip.network.checkpoint import CONFIG_FILE, WEIGHTS_FILE, unique_tensors
from merclip.preprocess import PreprocessConfig, weights_digest

Array = np.ndarray[Any, Any]
Origin = dict[str, str]
"""Which weights a pickle builds on: a place on the Hub, the embedded model, or none at all."""


def checkpoint_state(checkpoint: Checkpoint, access: HubAccess) -> dict[str, Any]:
    """Return a checkpoint as built-in types and arrays.

    Parameters
    ----------
    checkpoint : Checkpoint
        Left as it is.
    access : HubAccess
        How the files that it came from are found; nothing is downloaded.
    """
    network = checkpoint.network
    config = network.config.to_dict()
    origin = _origin(checkpoint)
    known = _known_tensors(json.dumps(config), json.dumps(origin), network.tower_dtype, access)
    return {
        "merclip": __version__,
        "origin": origin if known else {},
        "network": config,
        "fusion_trained": network.fusion_trained,
        "tensors": _unknown_tensors(network, known),
        "preprocess": checkpoint.preprocess.to_dict(),
        "classifier": checkpoint.classifier,
        "backbone": checkpoint.backbone,
        "encoders_trained": checkpoint.encoders_trained,
        "lineage": checkpoint.lineage,
        "anchors": {name: _as_array(rows) for name, rows in checkpoint.anchors.items()},
    }


def restored_checkpoint(state: Mapping[str, Any], access: HubAccess) -> Checkpoint:
    """Return the checkpoint, on the CPU, of which `state` was made.

    Raises
    ------
    ModelNotFoundError
        The weights on the Hub that it builds on cannot be had.
    CheckpointError
        The embedded model here is another, or another merclip made the state.
    """
    _check_mini(state)
    try:
        config = NetworkConfig.from_dict(state["network"])
        network = _base(config, state["origin"], access)
        network.fusion_trained = state["fusion_trained"]
        _put(state["tensors"], network, partly=bool(state["origin"]))
        preprocess = PreprocessConfig.from_dict(state["preprocess"])
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"This pickle holds trained weights alone, and those that it builds on cannot be had: "
            f"{error} save_pretrained(..., bundle_backbone=True) stores all of them."
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"This pickle was made by merclip {state['merclip']}, and merclip {__version__} "
            f"cannot restore it: {error}"
        ) from error
    return Checkpoint(
        network.eval(),
        preprocess,
        state["classifier"],
        state["backbone"],
        state["encoders_trained"],
        state["lineage"],
        # A pickle of an earlier version has none.
        {name: torch.from_numpy(np.array(a)) for name, a in state.get("anchors", {}).items()},
    )


def _origin(checkpoint: Checkpoint) -> Origin:
    if checkpoint.backbone is not None:
        return checkpoint.backbone
    # Also a network that was trained from the embedded one, and saved in between.
    if checkpoint.network.config.backbone == _mini_config()["backbone"]:
        return {"model": MINI, "sha256": _mini_digest()}
    return {}


def _base(config: NetworkConfig, origin: Origin, access: HubAccess) -> MERCLIP:
    """Return a network as it was before anything was trained; the rest of it is random."""
    # What a fit learned of its clips is no tensor that the files have, unless they do.
    known = "model" in origin and bool(_mini_config().get("evidence"))
    plain = config.with_classes(0).with_anchor_branch(0).with_evidence(known)
    # A seed of its own each time: what chance made is then never taken for what is known.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.seed()
        if "model" in origin:
            network = load_model(MINI, network=plain.to_dict()).network
        else:
            weights = backbone_fetcher(access)(origin) if origin else None
            network = MERCLIP(plain, build_towers(config.backbone, weights))
        if config.evidence != known:
            network.set_evidence(config.evidence)
        if config.n_classes:
            network.set_classes(config.n_classes)
        if config.anchor_hidden:
            network.set_anchor_branch(config.anchor_hidden)
    return network


@functools.lru_cache(maxsize=8)
def _known_tensors(
    config: str, origin: str, dtype: torch.dtype, access: HubAccess
) -> dict[str, str]:
    """Return hashes of the tensors that need not be stored; none if they cannot be had now."""
    place = json.loads(origin)
    if not place:
        return {}
    try:
        offline = replace(access, local_files_only=True)
        network = _base(NetworkConfig.from_dict(json.loads(config)), place, offline)
    except MerclipError:
        return {}
    network.set_tower_dtype(dtype)
    return {name: _digest(tensor) for name, tensor in unique_tensors(network).items()}


def _unknown_tensors(network: MERCLIP, known: Mapping[str, str]) -> dict[str, Array]:
    return {
        name: _as_array(tensor)
        for name, tensor in unique_tensors(network).items()
        if _digest(tensor) != known.get(name)
    }


def _put(arrays: Mapping[str, Array], network: MERCLIP, *, partly: bool) -> None:
    tensors = unique_tensors(network)
    wrong = set(arrays) - set(tensors) if partly else set(arrays) ^ set(tensors)
    wrong |= {n for n in set(arrays) & set(tensors) if arrays[n].shape != tensors[n].shape}
    if wrong:
        raise ValueError(f"the network has other tensors: {sorted(wrong)}")
    with torch.no_grad():
        for name, array in arrays.items():
            # joblib gives arrays that cannot be written to.
            tensors[name].copy_(torch.from_numpy(np.array(array)))


def _as_array(tensor: Tensor) -> Array:
    tensor = tensor.detach().cpu()
    # numpy has no bfloat16; float32 holds every value of it.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()


def _digest(tensor: Tensor) -> str:
    return weights_digest({"": tensor})


def _check_mini(state: Mapping[str, Any]) -> None:
    wanted = state["origin"].get("sha256")
    if wanted not in (None, _mini_digest()):
        raise CheckpointError(
            f"This pickle holds what was trained on {MINI!r} of merclip {state['merclip']}, and "
            f"merclip {__version__} brings another one: install that version, and keep models "
            "with save_pretrained, which stores all that they need."
        )


@functools.cache
def _mini_config() -> dict[str, Any]:
    text = (WEIGHTS_DIRECTORY / MINI / CONFIG_FILE).read_text(encoding="utf-8")
    return dict(json.loads(text)["network"])


@functools.cache
def _mini_digest() -> str:
    return hashlib.sha256((WEIGHTS_DIRECTORY / MINI / WEIGHTS_FILE).read_bytes()).hexdigest()
