"""What the encoders made of clips: cached, indexed and padded into batches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from merclip.errors import InputError
from merclip.preprocess.feature_file import FeatureFile, open_features, write_features

MODALITIES = {"L": "text", "V": "video", "A": "audio"}
"""Letters of the paper's tables, and the names that users see."""


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """One clip's embeddings in the shared space of D dimensions.

    Parameters
    ----------
    sequences : mapping from modality letter to Tensor of shape (n, D)
        "L": tokens from start to end; "V": frames; "A": segments. A modality
        that the clip lacks is absent.
    id : str or None
    warnings : tuple of str
    error : str or None
        Why the clip could not be read; then there are no sequences.
    faces : int or None
        In how many frames the speaker's face was found; 0 where whole frames
        were taken instead; None where no face was looked for.
    known : float or None
        How much of the text is in words that the model has met, in [0, 1]; None where it
        cannot tell.
    """

    sequences: Mapping[str, Tensor]
    id: str | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    faces: int | None = None
    known: float | None = None

    def __repr__(self) -> str:
        lengths = [
            f"{name} {len(self.sequences[x])}"
            for x, name in MODALITIES.items()
            if x in self.sequences
        ]
        said = ", ".join(lengths) if self.error is None else f"error={self.error!r}"
        return f"ClipFeatures({self.id!r}, {said or 'nothing'})"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that are present."""
        return tuple(name for letter, name in MODALITIES.items() if letter in self.sequences)


@dataclass(frozen=True)
class FeatureBatch:
    """Padded embeddings of several clips.

    Parameters
    ----------
    sequences : dict of Tensor of shape (B, longest, D)
    masks : dict of Tensor of shape (B, longest), bool
        True where there is a token, frame or segment.
    size : int
        B, the number of clips.
    known : Tensor of shape (B,), optional
        How much of each text is in known words; None stands for all.
    """

    sequences: dict[str, Tensor]
    masks: dict[str, Tensor]
    size: int
    known: Tensor | None = None

    def present(self, letter: str) -> Tensor:
        """Return which clips have the modality: shape (B,), bool."""
        return self.masks[letter].any(dim=1)


class Features(Sequence[ClipFeatures]):
    """Encoded clips, which `fit` and `predict` take in place of clips.

    Made by `EmotionClassifier.encode`. Indexes like an array: integers give a
    `ClipFeatures`; slices, index arrays and masks give `Features`.

    Parameters
    ----------
    clips : iterable of ClipFeatures
    origin : str
        Fingerprint of the encoders that made them; others refuse them.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> clf = EmotionClassifier(["happy", "sad"])
    >>> features = clf.encode([{"text": "What a lovely day!"}, {"text": "He died."}])
    >>> features[1:], features[0].modalities
    (Features(n=1), ('text',))
    """

    def __init__(self, clips: Iterable[ClipFeatures], origin: str) -> None:
        self._clips = clips if isinstance(clips, _Stored) else list(clips)
        self.origin = origin

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Features:
        """Return features that `save` wrote, read from the file where they are used.

        The file is mapped into memory: loading takes no longer for many clips, and
        processes that load the same file share it. It has to stay in place as long as its
        features are used. A pickle of them, as parallel jobs make, holds its path alone.

        Parameters
        ----------
        path : path

        Returns
        -------
        Features

        Raises
        ------
        FeaturesNotFoundError
            There is no such file.
        InputError
            It is not a file of features, or not a whole one; a clip whose embeddings are
            NaN or infinite is found where it is used.

        Examples
        --------
        >>> import os, tempfile
        >>> from merclip import EmotionClassifier, Features
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "lines.features")
        ...     clf.encode([{"text": "What a lovely day!"}, {"text": "He died."}]).save(path)
        ...     clf.predict(Features.load(path)).tolist()
        ['happy', 'sad']
        """
        file = open_features(path)
        return cls(_Stored(file, np.arange(len(file))), file.origin)

    def save(
        self, path: str | os.PathLike[str], *, dtype: Literal["float32", "float16"] = "float32"
    ) -> None:
        """Write all clips into one file, which `load` reads without a copy in memory.

        It is a safetensors file and holds nothing that runs code. It appears whole or not at
        all, and replaces a file of that name. It is as confidential as the clips.

        Parameters
        ----------
        path : path
        dtype : {"float32", "float16"}
            "float16" halves the file and rounds embeddings to 11 bits, which moves
            probabilities in the fourth decimal; embeddings that are read are float32 again.

        Raises
        ------
        InputError
            The file cannot be written, or "float16" cannot hold a value.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf.encode([{"text": "Hi"}]).save("lines.features")                # doctest: +SKIP
        """
        write_features(path, self, self.origin, dtype)

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> ClipFeatures: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int]) -> Features: ...
    def __getitem__(self, index: Any) -> ClipFeatures | Features:
        if isinstance(index, (int, np.integer)):
            return self._clips[int(index)]
        positions = np.arange(len(self))[index]
        if isinstance(self._clips, _Stored):
            return Features(self._clips.select(positions), self.origin)
        return Features([self._clips[position] for position in positions], self.origin)

    def __iter__(self) -> Iterator[ClipFeatures]:
        return iter(self._clips)

    def __repr__(self) -> str:
        return f"Features(n={len(self)})"


class _Stored(Sequence[ClipFeatures]):
    """Some clips of a file, each made when it is asked for."""

    def __init__(self, file: FeatureFile, rows: np.ndarray[Any, Any]) -> None:
        self.file, self.rows = file, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> ClipFeatures: ...
    @overload
    def __getitem__(self, index: slice) -> _Stored: ...
    def __getitem__(self, index: int | slice) -> ClipFeatures | _Stored:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        row = int(self.rows[index])
        sequences = self.file.sequences(row)
        if not are_features(sequences):
            raise InputError(
                f"Clip {row} in {self.file.path!r} has embeddings that are NaN or infinite: the "
                "file is damaged."
            )
        return ClipFeatures(sequences, **self.file.facts(row))

    def select(self, positions: np.ndarray[Any, Any]) -> _Stored:
        """Return some of these clips, none of them read yet."""
        return _Stored(self.file, self.rows[positions])


def are_features(sequences: Mapping[str, Tensor]) -> bool:
    """Return whether each modality has rows of finite numbers, all of one width."""
    if not set(sequences) <= set(MODALITIES):
        return False
    return len({part.shape[-1] for part in sequences.values() if part.ndim}) <= 1 and all(
        part.ndim == 2 and part.numel() and part.is_floating_point() and _is_finite(part)
        for part in sequences.values()
    )


def _is_finite(part: Tensor) -> bool:
    return bool(torch.isfinite(part).all())


def pad_features(clips: Sequence[ClipFeatures], device: torch.device | str = "cpu") -> FeatureBatch:
    """Pad each modality to the longest of the batch.

    Modalities that no clip of the batch has are left out.
    """
    sequences, masks = {}, {}
    for letter in MODALITIES:
        rows = [clip.sequences.get(letter) for clip in clips]
        present = [row for row in rows if row is not None]
        if not present:
            continue
        width = present[0].shape[-1]
        filled = [present[0].new_zeros(0, width) if row is None else row for row in rows]
        lengths = torch.tensor([len(row) for row in filled])
        sequences[letter] = torch.nn.utils.rnn.pad_sequence(filled, batch_first=True).to(device)
        masks[letter] = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).to(device)
    known = torch.tensor([1.0 if clip.known is None else clip.known for clip in clips]).to(device)
    return FeatureBatch(sequences, masks, len(clips), known)
