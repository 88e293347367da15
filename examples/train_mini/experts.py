"""What each modality says by itself, and how much to believe it: what fusion learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from fusion_data import CALM, NEUTRAL, Pools
from settings import CLASSES
from torch import Tensor
from torch.nn import functional
from tower_trainer import recalls

from merclip.preprocess import ClipFeatures

BIAS_SHARE = {"L": 0.1, "V": 0.3, "A": 0.0}
"""How much of what validation samples show as bias is taken away.

Texts and faces are trained with rare emotions more frequent than they are, on purpose.
New voices show a strong bias, but those of each corpus another one, in sign too.
"""
LESS_SURE = {"L": 0.9, "V": 0.9, "A": 0.8}
"""Scales that suit validation samples are too sure of people, rooms and texts of elsewhere."""
DEPENDENCE = 0.5
"""How alike the doubts of a clip's modalities are: 0 multiplies likelihoods as if each were a
witness of its own, 1 takes their (geometric) mean.

`measure_agreement.py` finds 0 for clear clips, 1 for people in two minds, and 0.3 where three
in ten are; this costs 0.01 nats there, and less than a smaller one where more are.
"""
CALM_BELOW_NEUTRAL = 1.0
"""Only voices are calm in the data: elsewhere it is neutral, and less likely by so many nats."""
ANGRY, CONTEMPT = (CLASSES.index(name) for name in ("angry", "contempt"))


@dataclass
class Experts:
    """Each encoder's own answer to a clip, calibrated on validation samples.

    An encoder's answer is the softmax of `scale` times the cosine of its global
    embedding (text: end token; otherwise the mean over time) to the labels, less
    a `bias`.

    Parameters
    ----------
    scales : dict from modality letter to float
    biases : dict from modality letter to Tensor of shape (n_classes,)
        By how much a class is said too often: on new voices, for example, "happy" is.
    priors : dict from modality letter to Tensor of shape (n_classes,)
        Logarithms of how often each class occurs.
    """

    scales: dict[str, float]
    biases: dict[str, Tensor]
    priors: dict[str, Tensor]

    def targets(self, clips: Sequence[ClipFeatures], labels: Tensor, kept: Sequence[int]) -> Tensor:
        """Return what all modalities of each clip say together.

        Modalities of one clip are no independent witnesses: what is unclear in a face is
        often unclear in the voice too. n of them count as n / (1 + (n - 1) d) would that
        were, with `DEPENDENCE` d (Kish's effective sample size); the prior counts once.

        Parameters
        ----------
        clips : sequence of ClipFeatures, of length B
        labels : Tensor of shape (k, D)
        kept : sequence of int, of length k
            The class of each label.

        Returns
        -------
        Tensor of shape (B, k)
            Probabilities.
        """
        total = torch.zeros(len(clips), len(kept))
        prior, count = torch.zeros_like(total), torch.zeros(len(clips), 1)
        for letter, scale in self.scales.items():
            rows = [i for i, clip in enumerate(clips) if letter in clip.sequences]
            if not rows:
                continue
            states = torch.stack([own_embedding(letter, clips[i].sequences[letter]) for i in rows])
            cosines = states @ labels.T
            found = (scale * cosines - self.biases[letter][list(kept)]).log_softmax(1)
            own_prior = self.priors[letter][list(kept)]
            total[rows] += _without_unknown(letter, found, kept) - own_prior
            prior[rows] += own_prior
            count[rows] += 1
        return (total / (1 + (count - 1) * DEPENDENCE) + prior / count).softmax(1)


def own_embedding(letter: str, sequence: Tensor) -> Tensor:
    """Return a modality's global embedding, of norm 1."""
    state = sequence[-1] if letter == "L" else sequence.mean(0)
    return functional.normalize(state.float(), dim=-1)


def fit_experts(validation: Pools, words: Tensor) -> Experts:
    """Fit scales and priors on validation samples, with the classes' names as labels.

    Parameters
    ----------
    words : Tensor of shape (n_classes, D)
    """
    scales, biases, priors = {}, {}, {}
    for letter in validation.by_letter:
        kept = sorted(validation.classes(letter))
        states, numbers = samples_of(validation, letter)
        cosines = states @ words[kept].T
        targets = torch.tensor([kept.index(number) for number in numbers])
        scales[letter] = LESS_SURE[letter] * best_scale(cosines, targets)
        said = (scales[letter] * cosines).softmax(1).mean(0).log()
        occurs = (functional.one_hot(targets).float().mean(0)).log()
        biases[letter], priors[letter] = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
        biases[letter][kept] = BIAS_SHARE[letter] * (said - occurs)
        priors[letter][:] = occurs.min()
        priors[letter][kept] = occurs
        if CALM not in kept:
            priors[letter][CALM] = priors[letter][NEUTRAL]
        logits = scales[letter] * cosines
        for name, scores in (("", logits), (" less its bias", logits - biases[letter][kept])):
            accuracy, balanced = recalls(scores.argmax(1).numpy(), targets.numpy())
            print(f"[experts] {letter}{name}: {accuracy:.3f}, balanced {balanced:.3f}")
    return Experts(scales, biases, priors)


def samples_of(pools: Pools, letter: str) -> tuple[Tensor, np.ndarray]:
    """Return the global embeddings of a modality's unchanged samples, and their classes."""
    pairs = [
        (own_embedding(letter, versions[0]), number)
        for number, samples in pools.by_letter[letter].items()
        for versions in samples
    ]
    return torch.stack([state for state, _ in pairs]), np.array([number for _, number in pairs])


def _without_unknown(letter: str, found: Tensor, kept: Sequence[int]) -> Tensor:
    """Give classes that a modality has no samples of what the nearest known one has."""
    stand_in = {CALM: (NEUTRAL, CALM_BELOW_NEUTRAL)} if letter != "A" else {CONTEMPT: (ANGRY, 0.5)}
    found = found.clone()
    for number, (known, less) in stand_in.items():
        if number in kept and known in kept:
            found[:, kept.index(number)] = found[:, kept.index(known)] - less
    return found


def best_scale(cosines: Tensor, targets: Tensor) -> float:
    """Return the factor of cosines that makes true classes most likely."""
    grid = torch.exp(torch.linspace(math.log(2.0), math.log(100.0), 200))
    losses = [functional.cross_entropy(scale * cosines, targets).item() for scale in grid]
    return float(grid[int(np.argmin(losses))])
