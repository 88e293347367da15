"""What a call returns: frozen, plain, and easy to turn into JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merclip.labels import LabelSet
from merclip.preprocess import ClipFeatures
from merclip.scoring import DecisionRule


@dataclass(frozen=True, eq=False)
class Prediction(Mapping[Any, float]):
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

    label: Any
    scores: dict[Any, float]
    labels: tuple[Any, ...] = ()
    modalities_used: tuple[str, ...] = ()
    calibrated: bool = False
    warnings: tuple[str, ...] = ()
    id: str | None = None
    error: str | None = None
    faces: int | None = None

    def __getitem__(self, label: Any) -> float:
        if label not in self.scores:
            raise KeyError(f"{label!r} is not among the labels {list(self.scores)}")
        return self.scores[label]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __bool__(self) -> bool:
        return True

    def top(self, n: int = 3) -> list[tuple[Any, float]]:
        """Return the `n` best labels with their scores, best first."""
        ranked = sorted(self.scores.items(), key=lambda pair: -pair[1])
        return ranked[:n]

    def to_dict(self) -> dict[str, Any]:
        """Return built-in types alone, ready for `json.dumps`."""
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

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Prediction(error={self.error!r})"
        scores = ", ".join(f"{name!r}: {score:.3f}" for name, score in self.scores.items())
        used = "+".join(self.modalities_used) or "nothing"
        if self.faces is not None:
            used += f", faces in {self.faces} frames"
        return f"Prediction({self.label!r}, {{{scores}}}, from {used})"


def make_predictions(
    clips: Sequence[ClipFeatures],
    probability: np.ndarray[Any, Any],
    rule: DecisionRule,
    labels: LabelSet,
    calibrated: bool,
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
    """
    classes = rule.classes.tolist()
    held = rule.holds(probability)
    found = []
    for clip, row, holds in zip(clips, probability.tolist(), held.tolist(), strict=True):
        scores = dict(zip(classes, row, strict=True))
        holding = dict(zip(classes, holds, strict=True))
        names = tuple(name for name in labels.names if holding[name])
        prediction = Prediction(
            label=max(names, key=scores.__getitem__) if names else None,
            scores={name: scores[name] for name in labels.names},
            labels=names,
            modalities_used=clip.modalities,
            calibrated=calibrated,
            warnings=clip.warnings,
            id=clip.id,
            error=clip.error,
            faces=clip.faces,
        )
        found.append(prediction)
    return found
