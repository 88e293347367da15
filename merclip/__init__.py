"""Zero- and few-shot emotion classification of clips of people talking.

Video, sound and text, with labels in your own words:

>>> from merclip import EmotionClassifier
>>> clf = EmotionClassifier(labels=["happy", "sad", "angry"])
>>> clf.predict(text="I can't believe you did that").shape
(1,)
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from merclip._version import __version__

if TYPE_CHECKING:
    from merclip import errors
    from merclip.classifier import EmotionClassifier
    from merclip.conversation import ConversationClassifier
    from merclip.dialogues import Dialogue
    from merclip.evaluation import Report
    from merclip.labels import LabelSet
    from merclip.network import NetworkConfig
    from merclip.preprocess import FeatureCache, Features, PreprocessConfig
    from merclip.results import Prediction
    from merclip.training import Callback, EarlyStopping
    from merclip.types import Audio, Clip, Clips, Video

_HOMES = {
    "Audio": "merclip.types",
    "Callback": "merclip.training",
    "Clip": "merclip.types",
    "Clips": "merclip.types",
    "ConversationClassifier": "merclip.conversation",
    "Dialogue": "merclip.dialogues",
    "EarlyStopping": "merclip.training",
    "EmotionClassifier": "merclip.classifier",
    "FeatureCache": "merclip.preprocess",
    "Features": "merclip.preprocess",
    "LabelSet": "merclip.labels",
    "NetworkConfig": "merclip.network",
    "Prediction": "merclip.results",
    "PreprocessConfig": "merclip.preprocess",
    "Report": "merclip.evaluation",
    "Video": "merclip.types",
}

__all__ = [
    "Audio",
    "Callback",
    "Clip",
    "Clips",
    "ConversationClassifier",
    "Dialogue",
    "EarlyStopping",
    "EmotionClassifier",
    "FeatureCache",
    "Features",
    "LabelSet",
    "NetworkConfig",
    "Prediction",
    "PreprocessConfig",
    "Report",
    "Video",
    "__version__",
    "errors",
]


def __getattr__(name: str) -> Any:
    # Importing on first use keeps `import merclip` and `merclip --help` free of torch.
    if name == "errors":
        return importlib.import_module("merclip.errors")
    if name in _HOMES:
        with _without_collections():
            found = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'merclip' has no attribute {name!r}")


@contextmanager
def _without_collections() -> Iterator[None]:
    """Import without looking for garbage among a million objects that all stay.

    That takes a seventh of the time that torch and scikit-learn take.
    """
    if not gc.isenabled() or gc.get_freeze_count():  # someone sees to it already
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # Both together move what was made to the oldest generation, without looking at it.
        gc.freeze()
        gc.unfreeze()
        gc.enable()


def __dir__() -> list[str]:
    return sorted(__all__)
