"""What a call returns: frozen, plain, and easy to turn into JSON."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merclip.labels import Label, LabelSet
from merclip.network.evidence import doubt
from merclip.preprocess import MODALITIES, ClipFeatures
from merclip.scoring import DecisionRule

_MODALITIES = ("video", "audio", "text")
_TEXTS = {"type": "array", "items": {"type": "string"}}
_TEXT_OR_NONE = {"type": ["string", "null"]}
_LABEL = {"type": ["string", "integer"]}
_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Prediction",
    "description": "The answer of merclip for one clip.",
    "type": "object",
    "properties": {
        "id": {**_TEXT_OR_NONE, "description": "The clip's id or path."},
        "label": {
            "type": [*_LABEL["type"], "null"],
            "description": "The best label; null if none holds or the clip could not be read.",
        },
        "labels": {
            "type": "array",
            "items": _LABEL,
            "uniqueItems": True,
            "description": "All labels that hold.",
        },
        "scores": {
            "type": "object",
            "additionalProperties": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "minProperties": 1,
            "description": "A probability for each label; null if the clip could not be read.",
        },
        "modalities_used": {
            "type": "array",
            "items": {"enum": ["text", "video", "audio"]},
            "uniqueItems": True,
            "description": "What the answer rests on.",
        },
        "faces": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "Frames in which the face was found; null if none was looked for.",
        },
        "calibrated": {
            "type": "boolean",
            "description": "Whether scores were calibrated for these labels.",
        },
        "warnings": {**_TEXTS, "description": "What of the clip could not be used."},
        "error": {**_TEXT_OR_NONE, "description": "Why the clip could not be read."},
    },
    "additionalProperties": False,
}
_SCHEMA["required"] = list(_SCHEMA["properties"])


@dataclass(frozen=True, eq=False)
class Prediction(Mapping[Label, float]):
    """The answer for one clip: a mapping from label to score.

    Labels come in the order in which the user gave them.

    Parameters
    ----------
    label : str or None
        The best label; None when no label passed its threshold, when the
        classifier abstained, or when the clip could not be read.
    scores : dict
        A probability in [0, 1] for each label.
    labels : tuple of str
        All labels that hold: the best one, or for multi-label those at or
        above their thresholds.
    modalities_used : tuple of str
        Which of "text", "video" and "audio" the answer rests on.
    calibrated : bool
        Whether scores were calibrated on held-out data for these labels.
    warnings : tuple of str
        What of the clip could not be used.
    id : str or None
    error : str or None
        Why the clip could not be read.
    faces : int or None
        In how many frames the speaker's face was found; 0 where whole frames
        were used instead; None where there are no pictures, or no face was
        looked for.

    Examples
    --------
    >>> from merclip import Prediction
    >>> prediction = Prediction("joy", {"joy": 0.75, "rage": 0.25}, labels=("joy",))
    >>> prediction["rage"], prediction.top(1)
    (0.25, [('joy', 0.75)])
    """

    label: Label | None
    scores: Mapping[Label, float]
    labels: tuple[Label, ...] = ()
    modalities_used: tuple[str, ...] = ()
    calibrated: bool = False
    warnings: tuple[str, ...] = ()
    id: str | None = None
    error: str | None = None
    faces: int | None = None

    def __getitem__(self, label: Label) -> float:
        if label not in self.scores:
            raise KeyError(f"{label!r} is not among the labels {list(self.scores)}")
        return self.scores[label]

    def __iter__(self) -> Iterator[Label]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __bool__(self) -> bool:
        return True

    def top(self, n: int = 3) -> list[tuple[Label, float]]:
        """Return the best labels with their scores, best first.

        Parameters
        ----------
        n : int
            At most so many.

        Returns
        -------
        list of (label, float)

        Examples
        --------
        >>> from merclip import Prediction
        >>> Prediction("joy", {"rage": 0.2, "joy": 0.7, "fear": 0.1}).top(2)
        [('joy', 0.7), ('rage', 0.2)]
        """
        ranked = sorted(self.scores.items(), key=lambda pair: -pair[1])
        return ranked[:n]

    def to_dict(self) -> dict[str, Any]:
        """Return built-in types alone, ready for `json.dumps`.

        Returns
        -------
        dict
            Of the form that `json_schema` describes. Names of labels in `scores`
            are strings; a score of NaN is None.

        Examples
        --------
        >>> from merclip import Prediction
        >>> found = Prediction("joy", {"joy": 0.75, "rage": 0.25}, labels=("joy",)).to_dict()
        >>> found["label"], found["labels"], found["scores"]
        ('joy', ['joy'], {'joy': 0.75, 'rage': 0.25})
        """
        return {
            "id": self.id,
            "label": self.label,
            "labels": list(self.labels),
            "scores": {
                str(name): None if math.isnan(score) else score
                for name, score in self.scores.items()
            },
            "modalities_used": list(self.modalities_used),
            "faces": self.faces,
            "calibrated": self.calibrated,
            "warnings": list(self.warnings),
            "error": self.error,
        }

    def to_row(self) -> list[Any]:
        """Return one row of a table, under `table_columns`.

        Returns
        -------
        list
            None where there is nothing to say.

        Examples
        --------
        >>> from merclip import Prediction
        >>> Prediction("joy", {"joy": 0.75, "rage": 0.25}, modalities_used=("text",)).to_row()
        [None, 'joy', 0.75, 0.25, 'text', None, None, None]
        """
        used = "+".join(name for name in _MODALITIES if name in self.modalities_used) or None
        said = "; ".join(self.warnings) or None
        return [self.id, self.label, *self.scores.values(), used, self.faces, said, self.error]

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of what `to_dict` gives.

        Returns
        -------
        dict
            A copy, ready for `json.dumps`.

        Examples
        --------
        >>> from merclip import Prediction
        >>> list(Prediction.json_schema()["properties"])[:4]
        ['id', 'label', 'labels', 'scores']
        """
        return copy.deepcopy(_SCHEMA)

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Prediction(error={self.error!r})"
        scores = ", ".join(f"{name!r}: {score:.3f}" for name, score in self.scores.items())
        used = "+".join(self.modalities_used) or "nothing"
        if self.faces is not None:
            used += f", faces in {self.faces} frames"
        return f"Prediction({self.label!r}, {{{scores}}}, from {used})"


def table_columns(labels: Sequence[Label], *, grouped: bool = False) -> list[str]:
    """Return the columns of a table of predictions, as `Prediction.to_row` fills them.

    With `grouped`, behind the id stands the group.

    Examples
    --------
    >>> table_columns(["joy"])
    ['id', 'label', 'joy', 'modalities_used', 'faces', 'warnings', 'error']
    """
    before = ("id", "group", "label") if grouped else ("id", "label")
    after = ("modalities_used", "faces", "warnings", "error")
    return [*before, *score_columns(labels, (*before, *after)), *after]


def score_columns(labels: Sequence[Label], others: Sequence[str]) -> list[str]:
    """Return what the columns of scores are called in a table that has others as well.

    Parameters
    ----------
    labels : sequence of str or int
    others : sequence of str

    Returns
    -------
    list of str
        The labels; one that is called like another column has "score of" before it.

    Examples
    --------
    >>> score_columns(["joy", "error"], ["id", "label", "error"])
    ['joy', 'score of error']
    """
    taken = {*others, *map(str, labels)}
    names = []
    for label in map(str, labels):
        name = label
        while name in others or (name != label and name in taken):
            name = f"score of {name}"
        taken.add(name)
        names.append(name)
    return names


def make_predictions(
    clips: Sequence[ClipFeatures],
    probability: np.ndarray[Any, Any],
    rule: DecisionRule,
    labels: LabelSet,
    calibrated: bool,
    doubted: Sequence[str],
) -> list[Prediction]:
    """Return one `Prediction` for each clip.

    Parameters
    ----------
    clips : sequence of ClipFeatures, of length n
    probability : ndarray of shape (n, k)
    rule : DecisionRule
    labels : LabelSet
        For the user's order of labels.
    calibrated : bool
    doubted : sequence of str, of length n
        Letters of modalities in which nothing is recognised.
    """
    classes = rule.classes.tolist()
    held = rule.holds(probability)
    found = []
    rows = zip(clips, probability.tolist(), held.tolist(), doubted, strict=True)
    for clip, row, holds, unknown in rows:
        scores = dict(zip(classes, row, strict=True))
        holding = dict(zip(classes, holds, strict=True))
        names = tuple(name for name in labels.names if holding[name])
        prediction = Prediction(
            label=max(names, key=scores.__getitem__) if names else None,
            scores={name: scores[name] for name in labels.names},
            labels=names,
            modalities_used=_used(clip, unknown),
            calibrated=calibrated,
            warnings=(*clip.warnings, *(doubt(clip, letter) for letter in unknown)),
            id=clip.id,
            error=clip.error,
            faces=clip.faces,
        )
        found.append(prediction)
    return found


def _used(clip: ClipFeatures, doubted: str) -> tuple[str, ...]:
    """Return the modalities that had a say: those that show nothing have none beside others."""
    without = {MODALITIES[letter] for letter in doubted}
    return tuple(name for name in clip.modalities if name not in without) or clip.modalities
