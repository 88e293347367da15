"""What ``merclip fit`` says at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from merclip.cli._data import LabelledClip

if TYPE_CHECKING:
    from merclip.classifier import EmotionClassifier
    from merclip.labels import Label


def summary(
    classifier: EmotionClassifier, clips: Sequence[LabelledClip], n_lost: int
) -> list[tuple[str, str]]:
    """Return the lines of a summary as names and values."""
    counts: Counter[Label] = Counter(name for clip in clips for name in clip.labels)
    names = classifier.labels_.names
    lost = f" ({n_lost} more without their file)" if n_lost else ""
    classes = ", ".join(f"{name} {counts[name]}" for name in names)
    return [
        ("clips", f"{len(clips)}{lost}"),
        ("classes", classes),
        ("epochs", _epochs(classifier)),
        ("score", _score(classifier)),
    ]


def held_out(classifier: EmotionClassifier) -> bool:
    """Return whether clips were held out to find the best epoch."""
    return any(record["val_score"] is not None for record in classifier.history_)


def _epochs(classifier: EmotionClassifier) -> str:
    done = len(classifier.history_)
    if classifier.interrupted_:
        return f"{done}, then interrupted"
    return str(done)


def _score(classifier: EmotionClassifier) -> str:
    scored = [record for record in classifier.history_ if record["val_score"] is not None]
    if not scored:
        return "unknown: no clips were held out (see --validation)"
    best = max(scored, key=lambda record: (record["val_score"], -record["val_loss"]))
    kind = "micro F1" if classifier.multi_label else "accuracy"
    return f"{best['val_score']:.3f} {kind} on held-out clips, after epoch {best['epoch'] + 1}"
