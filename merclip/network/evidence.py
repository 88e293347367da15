"""How much an embedding has to say: whether there was a voice, a face, or known words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from merclip.network.weights import Undrawn
from merclip.preprocess.features import ClipFeatures, FeatureBatch

LEAST_TRUST = 0.1
"""What is left of cosines to labels where a clip shows nothing at all."""
SURE = 20.0
"""Logit of an untaught test, which lets everything pass: its probability is 1 in float32."""


class Evidence(nn.Module):
    """For each modality a linear test of embeddings, and the mean that they have in training.

    Texts are also tested by the share of words that the model has met (`least_known`).

    Parameters
    ----------
    width : int
        D, the dimensions of embeddings.
    letters : iterable of str
        Modality letters.
    """

    def __init__(self, width: int, letters: Iterable[str]) -> None:
        super().__init__()
        with Undrawn():  # nothing of chance is kept, and torch's generator stays as it is
            self.tests = nn.ModuleDict({letter: nn.Linear(width, 1) for letter in sorted(letters)})
        self.centers = nn.ParameterDict(
            {letter: nn.Parameter(torch.zeros(width), False) for letter in self.tests}
        )
        self.least_known = nn.Parameter(torch.zeros(()), False)
        for letter in self.tests:
            self.forget(letter)

    @torch.no_grad()
    def forget(self, letter: str) -> None:
        """Let everything pass."""
        nn.init.zeros_(self._test(letter).weight)
        nn.init.constant_(self._test(letter).bias, SURE)
        if letter == "L":
            self.least_known.fill_(-1.0)

    @torch.no_grad()
    def take_in(self, clips: Sequence[ClipFeatures], centers: bool) -> None:
        """Let pass what most of some clips show, and learn their mean embeddings if asked to."""
        for letter in self.tests:
            having = [clip for clip in clips if letter in clip.sequences]
            if not having:
                continue
            passed = [self.of_clip(letter, clip) >= 0.5 for clip in having]
            if 2 * sum(passed) < len(passed):
                self.forget(letter)
            if centers:
                means = [clip_mean(letter, clip.sequences[letter]) for clip in having]
                self.centers[letter].copy_(torch.stack(means).mean(0))

    def _test(self, letter: str) -> nn.Linear:
        return cast(nn.Linear, self.tests[letter])

    def scores(self, letter: str, sequence: Tensor) -> Tensor:
        """Return how probably each embedding (..., n, D) shows something: (..., n), in [0, 1]."""
        return torch.sigmoid(self.tests[letter](sequence.float())[..., 0])

    def of_clip(self, letter: str, clip: ClipFeatures) -> float:
        """Return the score of one clip's modality: of its best part, or of its last token."""
        if letter == "L" and clip.known is not None and clip.known <= self.least_known:
            return 0.0
        sequence = clip.sequences[letter].to(self.least_known.device)
        scores = self.scores(letter, sequence[-1:] if letter == "L" else sequence)
        return float(scores.max())

    def doubted(self, clip: ClipFeatures) -> str:
        """Return the letters of a clip's modalities in which nothing is recognised."""
        return "".join(one for one in clip.sequences if self.of_clip(one, clip) < 0.5)

    def weigh(self, batch: FeatureBatch) -> tuple[FeatureBatch, Tensor]:
        """Take away what shows nothing beside what does, and tell how far to trust the rest.

        Returns
        -------
        batch : FeatureBatch
            Without modalities in which nothing is recognised, where a clip has others, and
            without frames and windows that show nothing, where the modality has others.
        trust : Tensor of shape (B,)
            1, but for clips of which no modality shows anything: those get less, to 0.
        """
        masks, best = {}, {}
        for letter, sequence in batch.sequences.items():
            mask = batch.masks[letter]
            scores = self.scores(letter, sequence) * mask
            if letter == "L":
                last = mask.sum(1, keepdim=True).clamp_min(1) - 1
                best[letter] = scores.gather(1, last)[:, 0]
                if batch.known is not None:
                    best[letter] = best[letter] * (batch.known > self.least_known)
                masks[letter] = (best[letter] >= 0.5)[:, None] & mask
            else:
                best[letter] = scores.amax(1)
                masks[letter] = scores >= 0.5
        if not best:
            return batch, torch.ones(batch.size, device=self.least_known.device)
        total = torch.stack(list(best.values())).amax(0)
        lone = total < 0.5  # nothing is recognised in any modality: all of it is kept
        for letter in masks:
            masks[letter] = torch.where(lone[:, None], batch.masks[letter], masks[letter])
        trust = LEAST_TRUST + (2 - 2 * LEAST_TRUST) * total.clamp(max=0.5)
        return replace(batch, masks=masks), trust


def doubt(clip: ClipFeatures, letter: str) -> str:
    """Return what to say of a modality of a clip that shows nothing that is known."""
    if letter == "V":
        frames = len(clip.sequences["V"])
        return f"No face was found in {frames} frame{'s' if frames > 1 else ''}."
    return "No speech was heard." if letter == "A" else "Most words are not known."


def clip_mean(letter: str, sequence: Tensor) -> Tensor:
    """Return a clip's mean embedding, shape (D,): of its frames or windows, or its last token."""
    return sequence[-1].float() if letter == "L" else sequence.float().mean(0)


def shifted(batch: FeatureBatch, offsets: Mapping[str, Tensor] | None) -> FeatureBatch:
    """Take an offset of shape (D,) off the embeddings of each modality that has one."""
    if not offsets:
        return batch
    sequences = {
        letter: sequence - offsets[letter].to(sequence) if letter in offsets else sequence
        for letter, sequence in batch.sequences.items()
    }
    return replace(batch, sequences=sequences)
