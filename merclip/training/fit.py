"""Fit a checkpoint's network to clips: the head on cached features, or everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from merclip._warn import warn
from merclip.engine import Engine, LabelTokens, Reading, embed_labels
from merclip.errors import InputError, MerclipError, MerclipWarning
from merclip.preprocess import ClipFeatures, Features, Preprocessor, Sample
from merclip.scoring import best_threshold, probabilities
from merclip.training.callbacks import Callback
from merclip.training.loop import Trainer, TrainingData
from merclip.training.plan import TrainingPlan, learning_rates
from merclip.training.sources import FeatureSource, SampleSource, Source
from merclip.training.split import class_weights, hold_out
from merclip.types import Clip, Clips

Array = np.ndarray[Any, Any]
FULL_MICROBATCH = 4


@dataclass(frozen=True)
class FitSettings:
    """What `EmotionClassifier` passes on of its parameters."""

    tune: Literal["head", "full"] = "head"
    epochs: int = 20
    batch_size: int = 16
    microbatch: int | None = None
    lr: float | str | None = None
    validation: float | str | Array = "auto"
    multi_label: bool = False
    class_weight: Any = None
    seed: int = 0
    reading: Reading = Reading(for_training=True)
    callbacks: Sequence[Callback] = ()
    progress: bool = False
    checkpoint_dir: Path | None = None


@dataclass(frozen=True)
class FitOutcome:
    """What a fit leaves besides the trained network.

    Parameters
    ----------
    history : list of dict
    interrupted : bool
    threshold : float or None
        For multi-label, the threshold with the best micro F1 in validation.
    """

    history: list[dict[str, Any]]
    interrupted: bool
    threshold: float | None


def fit_network(
    engine: Engine,
    clips: Clips | Features,
    targets: Array,
    classes: Array,
    tokens: LabelTokens,
    settings: FitSettings,
    *,
    sample_weight: Any = None,
    groups: Any = None,
) -> FitOutcome:
    """Train in place.

    Parameters
    ----------
    engine : Engine
        Made with ``for_training=True``.
    clips : Clips or Features
        Features can train the head alone.
    targets : ndarray of shape (n,) or (n, k)
    classes : ndarray of shape (k,)
    tokens : LabelTokens
        In the order of `classes`.
    settings : FitSettings
    sample_weight, groups : sequence of length n, optional
    """
    network = engine.network
    if not network.config.use_label_encoder and network.config.n_classes != len(classes):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network.set_classes(len(classes))
    source, kept = _source(engine, clips, settings)
    targets = targets[kept]
    share = settings.validation
    if isinstance(share, np.ndarray):
        share = share[kept] if len(share) == len(clips) else share
    train, validation = hold_out(targets, share, settings.seed, _rows_of(groups, kept, "groups"))
    weights = _weights(
        targets, train, classes, _rows_of(sample_weight, kept, "sample_weight"), settings
    )
    part = partial(_part, source, targets, weights)
    trainer = Trainer(
        network,
        _plan(settings, network.fusion_trained),
        partial(embed_labels, network, tokens) if network.config.use_label_encoder else None,
        callbacks=settings.callbacks,
        progress=settings.progress,
        directory=settings.checkpoint_dir,
    )
    held_out = part(validation) if len(validation) else None
    trainer.fit(part(train), held_out)
    threshold = None
    if settings.multi_label and held_out is not None:
        logits = trainer.predict(held_out).cpu().numpy()
        threshold = best_threshold(
            probabilities(logits, multi_label=True), held_out.targets.numpy()
        )
    return FitOutcome(trainer.history, trainer.interrupted, threshold)


def _plan(settings: FitSettings, fusion_trained: bool) -> TrainingPlan:
    full = settings.tune == "full"
    microbatch = settings.microbatch or (FULL_MICROBATCH if full else settings.batch_size)
    return TrainingPlan(
        rates=learning_rates(settings.lr, settings.tune, fusion_trained),
        train_encoders=full,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        microbatch=min(microbatch, settings.batch_size),
        multi_label=settings.multi_label,
        seed=settings.seed,
    )


def _source(
    engine: Engine, clips: Clips | Features, settings: FitSettings
) -> tuple[Source, list[int]]:
    """Return where batches come from, and the positions of clips that can be read."""
    if isinstance(clips, Features):
        if settings.tune == "full":
            raise InputError("tune='full' trains the encoders and needs clips, not features.")
        return _feature_source(engine, list(clips))
    if settings.tune == "head":
        return _feature_source(engine, _encode(engine, clips, settings))
    return _sample_source(engine, clips, settings.reading)


def _encode(engine: Engine, clips: Clips, settings: FitSettings) -> list[ClipFeatures]:
    from tqdm.auto import tqdm

    reading = settings.reading
    if reading.on_error == "skip":
        reading = replace(reading, on_error="nan")
    encoded = engine.encode(clips, reading)
    return list(tqdm(encoded, "encode", len(clips), disable=not settings.progress))


def _feature_source(engine: Engine, features: list[ClipFeatures]) -> tuple[Source, list[int]]:
    lost = {i: clip.error for i, clip in enumerate(features) if clip.error is not None}
    kept = _kept(len(features), lost, [clip.id for clip in features])
    return FeatureSource([features[i] for i in kept], engine.network), kept


def _sample_source(engine: Engine, clips: Clips, reading: Reading) -> tuple[Source, list[int]]:
    preprocessor = engine.preprocessor(reading)
    lost: dict[int, str] = {}
    if reading.on_error != "raise":
        lost = {i: error for i, clip in enumerate(clips) if (error := _error(preprocessor, clip))}
    kept = _kept(len(clips), lost, [clip.name for clip in clips])

    def read(index: int) -> Sample:
        return preprocessor(clips[kept[index]])

    vision = engine.checkpoint.preprocess.vision
    return SampleSource(len(kept), read, engine.network, vision), kept


def _error(preprocessor: Preprocessor, clip: Clip) -> str | None:
    try:
        preprocessor(clip)
    except MerclipError as error:
        return str(error)
    return None


def _kept(n_clips: int, lost: dict[int, str], names: Sequence[str | None]) -> list[int]:
    """Warn of each clip that cannot be trained on; return the positions of the others."""
    for index, error in lost.items():
        message = f"{names[index] or f'Clip {index}'} is not trained on: {error}"
        warn(MerclipWarning(message))
    if len(lost) == n_clips:
        raise InputError("None of the clips can be read, so there is nothing to learn from.")
    return [index for index in range(n_clips) if index not in lost]


def _rows_of(values: Any, kept: list[int], name: str) -> Array | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.ndim != 1 or len(array) <= max(kept, default=-1):
        raise InputError(f"{name} needs one entry for each clip, got shape {array.shape}.")
    return array[kept]


def _weights(
    targets: Array, train: Array, classes: Array, sample_weight: Array | None, settings: FitSettings
) -> Array:
    weights = np.ones(len(targets), dtype=np.float32)
    if sample_weight is not None:
        weights *= sample_weight.astype(np.float32)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise InputError("sample_weight holds finite numbers of at least 0, not all 0.")
    if settings.class_weight is not None:
        if targets.ndim != 1:
            raise InputError("class_weight is for one-of-n labels; use sample_weight.")
        weights *= class_weights(settings.class_weight, targets[train], classes)[targets]
    return weights


def _part(source: Source, targets: Array, weights: Array, positions: Array) -> TrainingData:
    return TrainingData(
        _Subset(source, positions.tolist()),
        torch.from_numpy(targets[positions]),
        torch.from_numpy(weights[positions]),
    )


class _Subset:
    def __init__(self, source: Source, positions: list[int]) -> None:
        self.source = source
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def batch(self, indices: Sequence[int]) -> Any:
        return self.source.batch([self.positions[i] for i in indices])
