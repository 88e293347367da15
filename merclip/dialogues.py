"""What a conversation is: `Dialogue`, utterances in the order in which they were said."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from merclip._shown import shown
from merclip.errors import InputError, InputTypeError, LabelError, ShapeError
from merclip.inputs import as_clips
from merclip.labels import Label
from merclip.preprocess import MODALITIES, Features
from merclip.types import Clips, ClipsLike, as_numpy

Array = np.ndarray[Any, Any]
Utterances: TypeAlias = "ClipsLike | Features | Mapping[str, Any] | Sequence[str]"
"""Clips, texts, encoded clips, or a mapping from modality to an array of features."""

NAMELESS = "A dialogue"
LETTERS = {name: letter for letter, name in MODALITIES.items()}


class Dialogue:
    """Utterances in the order in which they were said.

    Parameters
    ----------
    utterances : list of str, Clips, list of Clip or dict, Features, or mapping
        What was said, as text alone or as clips; or what encoders made of it:
        `Features`, or a mapping from "text", "audio", "video" to an array of shape
        (n, width), one row for each utterance.
    speakers : sequence of length n, optional
        Who speaks each utterance: names, or numbers. One person without it.
    labels : sequence of length n, optional
        The emotion of each utterance; None for one without a label, which is context
        for the others and neither learned from nor measured.
    name : str, optional

    Examples
    --------
    >>> from merclip import Dialogue
    >>> talk = Dialogue(["We won!", "No way.", "We did!"], ["ana", "ben", "ana"], name="phone")
    >>> talk
    Dialogue('phone': 3 utterances of 2 speakers)
    >>> talk[:2].speakers
    ('ana', 'ben')
    """

    def __init__(
        self,
        utterances: Utterances,
        speakers: Iterable[Any] | None = None,
        labels: Iterable[Label | None] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self.utterances = _as_utterances(utterances)
        self.name = name
        n_turns = len(self)
        if n_turns == 0:
            raise InputError(f"{self._called} has no utterance.")
        self.speakers = self._column(speakers, "speakers") or ("",) * n_turns
        self.labels = self._column(labels, "labels")

    def __len__(self) -> int:
        if isinstance(self.utterances, dict):
            return len(next(iter(self.utterances.values())))
        return len(self.utterances)

    def __getitem__(self, rows: slice) -> Dialogue:
        """Return a part, such as what was said so far: ``dialogue[:3]``."""
        if not isinstance(rows, slice):
            raise InputTypeError("A part of a dialogue is a slice, such as dialogue[:3].")
        return Dialogue(
            {MODALITIES[letter]: part[rows] for letter, part in self.utterances.items()}
            if isinstance(self.utterances, dict)
            else self.utterances[rows],
            self.speakers[rows],
            None if self.labels is None else self.labels[rows],
            name=self.name,
        )

    def __repr__(self) -> str:
        shown = "" if self.name is None else f"{self.name!r}: "
        people = len(set(self.speakers))
        return f"Dialogue({shown}{len(self)} utterances of {people} speakers)"

    def with_labels(self, labels: Iterable[Label | None] | None) -> Dialogue:
        """Return the same dialogue with other labels.

        Parameters
        ----------
        labels : sequence of length n, or None

        Returns
        -------
        Dialogue

        Examples
        --------
        >>> from merclip import Dialogue
        >>> Dialogue(["We won!"]).with_labels(["joy"]).labels
        ('joy',)
        """
        other = copy.copy(self)
        other.labels = self._column(labels, "labels")
        return other

    @property
    def ids(self) -> tuple[str, ...]:
        """A name for each utterance: the clip's own, or one made of the dialogue's."""
        clips: Iterable[Any] = () if isinstance(self.utterances, dict) else self.utterances
        own = [getattr(clip, "id", None) for clip in clips] or [None] * len(self)
        return tuple(
            name or f"{self.name or 'dialogue'}_utt{place}" for place, name in enumerate(own)
        )

    @property
    def _called(self) -> str:
        return NAMELESS if self.name is None else f"Dialogue {self.name!r}"

    def _column(self, values: Iterable[Any] | None, what: str) -> tuple[Any, ...] | None:
        if values is None:
            return None
        if isinstance(values, (str, bytes)):
            raise InputTypeError(f"{what} has one entry for each utterance, got a string.")
        column = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
        if len(column) != len(self):
            raise InputError(f"{self._called} has {len(self)} utterances and {len(column)} {what}.")
        bad = [value for value in column if what == "labels" and not isinstance(value, Hashable)]
        if bad:
            raise LabelError(f"A label is a text or a number, got {shown(bad[0])}.")
        return column


def as_dialogues(given: Any) -> list[Dialogue]:
    """Return dialogues as a list.

    Parameters
    ----------
    given : Dialogue or iterable of Dialogue

    Raises
    ------
    InputTypeError
        Something else.
    InputError
        There is none.
    """
    if isinstance(given, Dialogue):
        return [given]
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise InputTypeError(f"Give a Dialogue or a list of them, got {type(given).__name__}.")
    dialogues = list(given)
    for dialogue in dialogues:
        if not isinstance(dialogue, Dialogue):
            raise InputTypeError(
                f"A list of dialogues holds Dialogue objects, got {type(dialogue).__name__}; "
                "make one with Dialogue(utterances, speakers)."
            )
    if not dialogues:
        raise InputError("There is no dialogue.")
    return dialogues


def called(dialogues: Sequence[Dialogue]) -> list[str]:
    """Return what dialogues are called in messages: by their name, or their number."""
    if len(dialogues) == 1:
        return [dialogues[0]._called]
    return [
        f"Dialogue {number}" if dialogue.name is None else dialogue._called
        for number, dialogue in enumerate(dialogues)
    ]


def _as_utterances(given: Any) -> Clips | Features | dict[str, Array]:
    if isinstance(given, Features):
        return given
    if isinstance(given, Mapping):
        return _arrays(given)
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        what = "one string" if isinstance(given, (str, bytes)) else type(given).__name__
        raise InputTypeError(f"A dialogue is a list of utterances, got {what}.")
    if isinstance(given, (list, tuple)):
        # A string is what was said, also beside clips: it is never a path.
        said = [{"text": item} if isinstance(item, str) else item for item in given]
        return as_clips(said).clips if said else Clips([])
    return as_clips(given).clips


def _arrays(given: Mapping[str, Any]) -> dict[str, Array]:
    """Return features by modality letter."""
    unknown = [name for name in given if name not in LETTERS]
    if unknown or not given:
        raise InputError(
            f"Features are of some of {sorted(LETTERS)}, got {[str(name) for name in given]}."
        )
    arrays = {LETTERS[name]: _matrix(name, value) for name, value in given.items()}
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = {MODALITIES[letter]: len(array) for letter, array in arrays.items()}
        raise InputError(f"Each modality has a row for each utterance, got {lengths}.")
    return arrays


def _matrix(name: str, value: Any) -> Array:
    array = as_numpy(value)
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not array.shape[1]:
        raise ShapeError(
            f"Features of {name} are numbers of shape (n, width), got {array.dtype} of shape "
            f"{array.shape}."
        )
    array = array.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise InputError(f"Features of {name} are NaN or infinite in utterance {bad[0]}.")
    return array
