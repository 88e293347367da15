"""A saved model's encoders under a fusion that has learned nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from merclip._random import seeded
from merclip.errors import InputError
from merclip.network import MERCLIP
from merclip.network.backbone import Towers
from merclip.preprocess import ClipFeatures, Features


def forget_fusion(network: MERCLIP, changes: Mapping[str, Any], seed: int) -> None:
    """Let a network's decoder, prompts and scales start afresh, in place.

    Ablations need it: a trained decoder knows its own order and modalities, so that
    any other would start at a disadvantage. Encoders stay as they are, those of
    modalities that are no longer fused are dropped.

    Parameters
    ----------
    network : MERCLIP
    changes : mapping
        Values of `NetworkConfig` to replace; they may not change the towers.
    seed : int
        Of the new weights.

    Raises
    ------
    InputError
        `changes` fuse a modality that the network has no encoder for.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.evaluation.reproduce import forget_fusion
    >>> network = EmotionClassifier(["happy", "sad"]).network_
    >>> forget_fusion(network, {"fusion": "LA"}, seed=0)
    >>> network.config.fusion
    'LA'
    """
    config = network.config.with_overrides({"n_classes": 0, **changes})
    missing = set(config.fusion) - set(network.config.fusion)
    if missing:
        raise InputError(
            f"The model has no encoder for {', '.join(sorted(missing))}; it takes "
            f"{network.config.fusion}."
        )
    scale = float(network.scales.softmax.detach().exp())
    towers = Towers(nn.Identity(), network.label_encoder.tower, scale)
    with seeded(seed):
        made = MERCLIP(config, towers).to(network.device)
    made.label_encoder = network.label_encoder
    for letter in config.fusion:
        made.encoders[letter] = network.encoders[letter]
    made.train(network.training)
    # A module is its attributes, and whoever holds the network keeps holding it.
    vars(network).clear()
    vars(network).update(vars(made))


def same_encoders(network: MERCLIP, other: MERCLIP) -> bool:
    """Tell whether `network` encodes its modalities by the very weights of `other`."""
    if set(network.config.fusion) - set(other.config.fusion):
        return False
    for letter in network.config.fusion:
        ours, theirs = (n.encoders[letter].state_dict() for n in (network, other))
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[k], theirs[k]) for k in ours):
            return False
    return True


def as_features_of(classifier: Any, features: Features) -> Features:
    """Return features of the same encoders as those that a classifier would make itself.

    Parameters
    ----------
    classifier : EmotionClassifier
        It may fuse fewer modalities.
    features : Features
    """
    fused = classifier.network_.config.fusion
    clips = [_only(clip, fused) for clip in features]
    return Features(clips, classifier.encode([]).origin)


def _only(clip: ClipFeatures, letters: str) -> ClipFeatures:
    kept = {letter: part for letter, part in clip.sequences.items() if letter in letters}
    return replace(clip, sequences=kept)
