"""Where a training batch comes from: cached features, or clips through the encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from merclip.network import MERCLIP
from merclip.preprocess import ClipFeatures, FeatureBatch, Sample, VisionConfig, pad_features

CACHE_BYTES = 2 * 2**30
"""Preprocessed clips kept in memory; those beyond it are read again each epoch."""


class Source(Protocol):
    """Clips by position, as padded features."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> FeatureBatch:
        """Return the features of some clips, with gradients if encoders train."""
        ...

    def alike(self, indices: Sequence[int]) -> list[int]:
        """Return the clips of a batch in the order in which its parts waste least padding."""
        ...


class FeatureSource:
    """Features that frozen encoders made once."""

    def __init__(self, features: Sequence[ClipFeatures], network: MERCLIP) -> None:
        self.features = features
        self.network = network

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, indices: Sequence[int]) -> FeatureBatch:
        """Pad cached features."""
        return pad_features([self.features[i] for i in indices], self.network.device)

    def alike(self, indices: Sequence[int]) -> list[int]:
        """Leave the order: what is padded goes through no tower."""
        return list(indices)


class SampleSource:
    """Preprocessed clips, encoded anew in each step.

    Parameters
    ----------
    n_clips : int
    read : callable from position to Sample
    network : MERCLIP
    vision : VisionConfig
    text_lengths : sequence of int, optional
        About how long each clip's text is.
    """

    def __init__(
        self,
        n_clips: int,
        read: Callable[[int], Sample],
        network: MERCLIP,
        vision: VisionConfig,
        text_lengths: Sequence[int] | None = None,
    ) -> None:
        self.n_clips = n_clips
        self.read = read
        self.network = network
        self.vision = vision
        self.text_lengths = [0] * n_clips if text_lengths is None else text_lengths
        self._cache: dict[int, Sample] = {}
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return self.n_clips

    def batch(self, indices: Sequence[int]) -> FeatureBatch:
        """Run the encoders."""
        rows = self.network.encode([self._sample(i) for i in indices], self.vision)
        return pad_features([ClipFeatures(row) for row in rows], self.network.device)

    def alike(self, indices: Sequence[int]) -> list[int]:
        """Sort by the length of the text: the text tower runs over the longest of a part."""
        return sorted(indices, key=lambda index: self.text_lengths[index])

    def _sample(self, index: int) -> Sample:
        if index in self._cache:
            return self._cache[index]
        sample = self.read(index)
        size = sum(part.numel() * part.element_size() for part in sample.parts().values())
        if size <= self._room:
            self._room -= size
            self._cache[index] = sample
        return sample
