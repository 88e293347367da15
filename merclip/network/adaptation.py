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

PRIOR_CLIPS = 4.0
"""So many clips of training count beside those of the recording: few clips move little."""
MOST_KEPT = 64
"""Clips of the recording that are kept, embedded, to tell how any labels fare on it."""
_STEPS = 200
_LEAST_SHARE = 1e-4


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What fits a classifier to the people, the room and the camera of some clips.

    Parameters
    ----------
    offsets : mapping from modality letter to Tensor of shape (D,)
        Taken off the modality's embeddings.
    fused : Tensor of shape (m, D)
        What the network then makes of some of the clips, to be compared with any labels.
    n_clips : int
        How many clips it was learned from.
    prior : mapping from label to float
        How frequent labels are, where that is known.
    """

    offsets: Mapping[str, Tensor]
    fused: Tensor
    n_clips: int
    prior: Mapping[Any, float] = field(default_factory=dict)

    def label_shift(self, logits: Array, names: Sequence[Any]) -> Array:
        """Return what to take off the logits of each label, shape (k,).

        Parameters
        ----------
        logits : ndarray of shape (m, k)
            Of `fused`.
        names : sequence of length k
            Without `prior`, or for other labels than its own, the mean log-probability of each
            label over the clips is taken off; with it, what makes labels as frequent as it
            says. Less so for few clips.
        """
        if self.prior and set(self.prior) == set(names):
            shift = -_biases(logits, names, self.prior)
        else:
            shift = _log_softmax(logits).mean(0)
            shift = shift - shift.mean()
        found: Array = shift * (self.n_clips / (self.n_clips + PRIOR_CLIPS))
        return found.astype(logits.dtype)


def learn_offsets(network: MERCLIP, features: Sequence[ClipFeatures]) -> dict[str, Tensor]:
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
        doubted = evidence.doubted(clip)
        for letter, sequence in clip.sequences.items():
            if letter not in doubted:
                means.setdefault(letter, []).append(clip_mean(letter, sequence))
    if not means:
        raise InputError("There is nothing to adapt to: no clip shows anything that is known.")
    offsets = {}
    for letter, rows in sorted(means.items()):
        moved = torch.stack(rows).mean(0) - evidence.centers[letter].cpu()
        offsets[letter] = moved * (len(rows) / (len(rows) + PRIOR_CLIPS))
    return offsets


def some_of(n_clips: int) -> list[int]:
    """Return evenly spaced positions of the clips that are kept."""
    return [round(place) for place in np.linspace(0, n_clips - 1, min(n_clips, MOST_KEPT))]


def check_prior(prior: Mapping[Any, float], names: Sequence[Any]) -> dict[Any, float]:
    """Return shares of labels that sum to 1.

    Raises
    ------
    LabelError
        `prior` has other labels than `names`.
    InputError
        A share is negative or no number, or all are 0.
    """
    if not isinstance(prior, Mapping) or set(prior) != set(names):
        given = list(prior) if isinstance(prior, Mapping) else prior
        raise LabelError(f"prior maps each label, {list(names)}, to its share; got {given!r}.")
    try:
        shares = np.array([float(prior[name]) for name in names])
    except (TypeError, ValueError) as error:
        raise InputError(f"Each share in prior is a number; got {dict(prior)}.") from error
    if not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise InputError(f"Each share in prior is 0 or more, not all 0; got {dict(prior)}.")
    return dict(zip(names, (shares / shares.sum()).tolist(), strict=True))


def _biases(logits: Array, names: Sequence[Any], prior: Mapping[Any, float]) -> Array:
    """Return what to add to logits (m, k) so that mean probabilities are the shares.

    Label shift, as in Saerens et al., Neural Computation 14(1), 2002, but with known shares.
    """
    wanted = np.log(np.clip([prior[name] for name in names], _LEAST_SHARE, None))
    biases = np.zeros(len(names))
    for _ in range(_STEPS):
        said = np.exp(_log_softmax(logits + biases)).mean(0)
        change = wanted - np.log(said)
        biases += change - change.mean()
        if np.abs(change).max() < 1e-4:
            break
    return biases


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found
