"""Clips, labels and a classifier, made ready for a protocol."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from merclip.errors import InputError, LabelError
from merclip.evaluation.kinds import MULTI_LABEL, ONE_OF_N, Kind, Sentiment
from merclip.evaluation.protocols._task import Task
from merclip.evaluation.report import Skipped
from merclip.evaluation.sentiment import check_scale
from merclip.inputs import as_clips, given_targets
from merclip.labels import LabelSet, encode_label_sets, encode_targets, names_in
from merclip.preprocess import Features
from merclip.rows import mark_unlabelled

Array = np.ndarray[Any, Any]

POLARITY = ("negative", "positive")


def make_task(
    classifier: Any,
    clips: Any,
    y: Any,
    labels: Any = None,
    *,
    groups: Any = None,
    parts: Any = None,
    features: Features | None = None,
) -> Task:
    """Encode clips once, and put them beside their labels.

    Parameters
    ----------
    classifier : EmotionClassifier
    clips : as for `EmotionClassifier.predict`, or Features
    y : sequence of length n, or None
        None takes the column "label" of `clips`.
    labels : optional
        None takes the classifier's, or those of `y`.
    groups, parts : sequence of length n, optional
    features : Features of length n, optional
        What ``classifier.encode(clips)`` gave.
    """
    keeps = classifier.on_error != "raise"
    y = given_targets(clips, y, some=keeps)
    rows = clips if isinstance(clips, Features) else as_clips(clips, keep_broken=keeps).clips
    for name, column in {"y": y, "groups": groups, "parts": parts, "features": features}.items():
        if column is not None and len(column) != len(rows):
            entries = "labels" if name == "y" else "entries"
            raise InputError(f"There are {len(rows)} clips and {name} has {len(column)} {entries}.")
    if not len(rows):
        raise InputError("There are no clips to evaluate.")
    if keeps:
        rows, y = mark_unlabelled(rows, y)
    chosen = _labels(classifier, y, labels)
    kind = _kind(classifier, y, chosen)
    truth = _truth(kind, y, chosen)
    classifier = classifier.with_labels(chosen.to_dict())
    encoded = _encoded(classifier, rows) if features is None else features
    ids, skipped, read = _readable(encoded)
    return Task(
        classifier,
        chosen,
        kind,
        None if isinstance(rows, Features) else rows[read.tolist()],
        encoded[read.tolist()],
        truth[read],
        tuple(ids[index] for index in read),
        skipped,
        read,
        _column(groups, read),
        _column(parts, read),
    )


def dataset_task(
    classifier: Any,
    data: Any,
    labels: Any,
    features: Features | None,
    parts: Sequence[str] | None = None,
) -> Task:
    """Encode the clips of a data set once.

    Parameters
    ----------
    classifier : EmotionClassifier
    data : Dataset
    labels : optional
        None takes the parameter of the classifier, or those of the data set.
    features : Features, optional
        Of all clips.
    parts : sequence of str, optional
        Official parts to encode alone, if there is any of them.

    Raises
    ------
    InputError
        `data` is no `Dataset`, or `features` are not those of its clips.
    """
    check_features(data, features)
    if parts is not None and data.splits is not None and np.isin(data.splits, parts).any():
        rows = np.flatnonzero(np.isin(data.splits, parts)).tolist()
        data, features = data.select(rows), None if features is None else features[rows]
    if labels is None:
        own = classifier.labels
        scores = are_scores(data.y) and not data.labels
        labels = own if own is not None else POLARITY if scores else data.labels
    return make_task(
        classifier,
        data.clips,
        data.y,
        labels,
        groups=data.groups,
        parts=data.splits,
        features=features,
    )


def check_features(data: Any, features: Features | None) -> None:
    """Refuse what is no data set, and features that are not one for each of its clips."""
    if not hasattr(data, "clips") or not hasattr(data, "y"):
        raise InputError(
            f"A protocol takes a Dataset, as merclip.datasets makes, got {type(data).__name__}."
        )
    if features is None:
        return
    if not isinstance(features, Features):
        raise InputError(
            f"features are what encode(data.clips) gives, got {type(features).__name__}."
        )
    if len(features) != len(data.clips):
        raise InputError(
            f"There are {len(features)} features and {len(data.clips)} clips: give those of all."
        )


def test_parts(classifier: Any) -> tuple[str, ...]:
    """Return the parts that testing needs: validation to choose a threshold."""
    return ("valid", "test") if classifier.multi_label else ("test",)


def whole_numbers(values: Sequence[int], name: str, least: int) -> list[int]:
    """Return distinct whole numbers in order.

    Raises
    ------
    InputError
        There are none, or others.
    """
    listed = np.atleast_1d(np.asarray(values)).tolist()
    whole = all(isinstance(value, int) and value >= least for value in listed)
    if not listed or not whole:
        raise InputError(f"{name} holds whole numbers of at least {least}, got {values!r}.")
    return sorted(set(listed))


def _readable(features: Features) -> tuple[list[str], tuple[Skipped, ...], Array]:
    """Return names of all clips, those that could not be read, and where the others stand."""
    ids = [clip.id or f"clip {index}" for index, clip in enumerate(features)]
    skipped = tuple(
        Skipped(name, clip.error)
        for name, clip in zip(ids, features, strict=True)
        if clip.error is not None
    )
    read = np.array([i for i, clip in enumerate(features) if clip.error is None], dtype=np.int64)
    if not len(read):
        raise InputError(f"No clip could be read; the first: {skipped[0].reason}")
    return ids, skipped, read


def _labels(classifier: Any, y: Any, labels: Any) -> LabelSet:
    if labels is not None:
        return LabelSet.of(labels)
    if classifier.__sklearn_is_fitted__():
        known: LabelSet = classifier.labels_
        return known
    if are_scores(y):
        return LabelSet.of(POLARITY)
    return LabelSet.of(names_in(y, multi_label=classifier.multi_label))


def _kind(classifier: Any, y: Any, labels: LabelSet) -> Kind:
    if classifier.multi_label:
        return MULTI_LABEL
    if are_scores(y) and isinstance(labels.names[0], str):
        if len(labels) != 2:
            raise LabelError(
                "y holds numbers, so sentiment is measured, in two classes: give two labels, "
                f"such as {list(POLARITY)}; got {list(labels.names)}."
            )
        names = labels.names
        return Sentiment(names.index("positive") if "positive" in names else 1)
    if any(isinstance(value, (tuple, list, set, frozenset)) for value in y):
        raise LabelError(
            "y has several labels for a clip: measure a classifier with multi_label=True."
        )
    return ONE_OF_N


def _truth(kind: Kind, y: Any, labels: LabelSet) -> Array:
    if isinstance(kind, Sentiment):
        scores = np.array([float(value) for value in y])
        if not np.isfinite(scores).all():
            raise LabelError("y has NaN or infinity, which is no sentiment; leave such clips out.")
        check_scale(scores)
        return scores
    if kind is MULTI_LABEL:
        classes = labels.classes.tolist()
        order = [classes.index(name) for name in labels.names]
        return encode_label_sets(y, labels.classes)[:, order].astype(np.int64)
    return encode_targets(y, np.array(labels.names))


def are_scores(y: Any) -> bool:
    """Tell whether y holds numbers that are no names of labels: sentiment."""
    if getattr(y, "ndim", 1) != 1:
        return False
    real = all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in y)
    return real and any(isinstance(value, (float, np.floating)) for value in y)


def _encoded(classifier: Any, clips: Any) -> Features:
    if isinstance(clips, Features):
        return clips
    reader = copy.copy(classifier)
    if reader.on_error == "skip":  # rows must stay beside their labels
        reader.on_error = "nan"
    encoded: Features = reader.encode(clips)
    return encoded


def _column(values: Any, read: Array) -> Array | None:
    return None if values is None else np.asarray([str(value) for value in values])[read]
