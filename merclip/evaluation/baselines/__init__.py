"""What a model has to beat: simple classifiers of clips with scikit-learn's face.

Each has `fit(clips, y)`, `predict_proba(clips)`, `predict(clips)` and `classes_`,
and takes in place of clips what its `encode(clips)` returned, so that a protocol
reads each clip once.
"""

from __future__ import annotations

from typing import Any

from merclip.evaluation.baselines.base import Baseline, Majority
from merclip.evaluation.baselines.embeddings import Concatenation, LateFusion, PlainClip
from merclip.evaluation.baselines.sound import SoundStatistics
from merclip.evaluation.baselines.text import WordCounts

__all__ = [
    "Baseline",
    "Concatenation",
    "LateFusion",
    "Majority",
    "PlainClip",
    "SoundStatistics",
    "WordCounts",
    "baselines_beside",
]


def baselines_beside(classifier: Any) -> dict[str, Baseline]:
    """Return every baseline that fits a classifier, by the name that tables show.

    They tell the same labels apart, one-of-n or multi-label, and hear a video's
    own sound only if the classifier does.

    Parameters
    ----------
    classifier : EmotionClassifier
        Fitted, where its protocol fits it: late fusion asks this very model.

    Returns
    -------
    dict from str to Baseline
        Not fitted. Text or sound alone is left out where the model does not take
        it, and what needs a label encoder where the model has none.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.evaluation.baselines import baselines_beside
    >>> clf = EmotionClassifier(["happy", "sad"])
    >>> list(baselines_beside(clf))[:3]
    ['majority', 'no fusion (mean)', 'late fusion']
    """
    shared = {"labels": classifier.labels, "multi_label": classifier.multi_label}
    config = classifier.network_.config
    found: dict[str, Baseline] = {"majority": Majority(**shared)}
    if config.use_label_encoder:
        found["no fusion (mean)"] = PlainClip(classifier)
    found["late fusion"] = LateFusion(classifier)
    found["concat + linear"] = Concatenation(classifier)
    if "L" in config.fusion:
        found["TF-IDF (text)"] = WordCounts(**shared)
    if "A" in config.fusion:
        hears = classifier.use_video_audio
        found["mel SVM (sound)"] = SoundStatistics(**shared, use_video_audio=hears)
    return found
