"""A recording learned from a few clips without labels: what is taken off their embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merclip.errors import InputError, LabelError
from merclip.network.evidence import clip_mean
from merclip.network.model import MERCLIP
from merclip.preprocess.features import ClipFeatures

Array = np.ndarray[Any, Any]

PRIOR_CLIPS = 8.0
"""So many clips of training count beside those of the recording: few clips move little."""
_STEPS = 200


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What fits a classifier to the people, the room and the camera of some clips.

    Parameters
    ----------
    offsets : mapping from modality letter to Tensor of shape (D,)
        Taken off the modality's embeddings.
    n_clips : int
        How many clips it was learned from.
    biases : mapping from label to float
        Added to the logits of labels, where shares of labels were given.
    """

    offsets: Mapping[str, Tensor]
    n_clips: int
    biases: Mapping[Any, float] = field(default_factory=dict)

    def biased(self, logits: Array, names: Sequence[Any]) -> Array:
        """Return logits of shape (n, k) with the biases of their labels; others have none."""
        if not self.biases:
            return logits
        moved: Array = logits + np.array([self.biases.get(name, 0) for name in names], logits.dtype)
        return moved


def learn_offsets(network: MERCLIP, features: Sequence[ClipFeatures]) -> Adaptation:
    """Return how far the mean embeddings of clips lie from those of training, by modality.

    A modality in which nothing is recognised in a clip does not count there.

    Raises
    ------
    InputError
        The network does not know the means of its training, or there is no clip to learn from.
    """
    evidence = network.evidence
    if evidence is None:
        raise InputError(
            "This model does not know the mean of what it was trained on, so it cannot be "
            "adapted; fit it first."
        )
    means: dict[str, list[Tensor]] = {}
    for clip in features:
        doubted = evidence.doubted(clip.sequences)
        for letter, sequence in clip.sequences.items():
            if letter not in doubted:
                means.setdefault(letter, []).append(clip_mean(letter, sequence))
    if not means:
        raise InputError("There is nothing to adapt to: no clip shows anything that is known.")
    offsets = {}
    for letter, rows in sorted(means.items()):
        moved = torch.stack(rows).mean(0) - evidence.centers[letter].cpu()
        offsets[letter] = moved * (len(rows) / (len(rows) + PRIOR_CLIPS))
    return Adaptation(offsets, max(map(len, means.values())))


def learn_biases(
    logits: Array, names: Sequence[Any], prior: Mapping[Any, float]
) -> dict[Any, float]:
    """Return what to add to each label's logits so that labels are as frequent as they are said.

    The mean probability of each label over the clips becomes its share, less so for few clips
    (label shift: Saerens et al., Neural Computation 14(1), 2002, with known shares).

    Parameters
    ----------
    logits : ndarray of shape (n, k)
    names : sequence of length k
    prior : mapping from label to float
        Shares of all labels; they are scaled to a sum of 1.

    Raises
    ------
    LabelError
        `prior` has other labels than `names`.
    InputError
        A share is negative or no number, or all are 0.
    """
    if set(prior) != set(names):
        raise LabelError(f"prior gives a share to each label, {list(names)}; it has {list(prior)}.")
    shares = np.array([float(prior[name]) for name in names])
    if not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise InputError(f"prior holds shares of 0 or more, not all 0; got {dict(prior)}.")
    wanted = np.log(np.clip(shares / shares.sum(), 1e-4, None))
    biases = np.zeros(len(names))
    for _ in range(_STEPS):
        shown = logits + biases
        shown = np.exp(shown - shown.max(1, keepdims=True))
        said = (shown / shown.sum(1, keepdims=True)).mean(0)
        change = wanted - np.log(said)
        biases += change - change.mean()
        if np.abs(change).max() < 1e-4:
            break
    weight = len(logits) / (len(logits) + PRIOR_CLIPS)
    return {name: float(weight * bias) for name, bias in zip(names, biases, strict=True)}
