"""Fit a checkpoint's network to clips: the head on cached features, or everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from merclip._random import seeded
from merclip.anchors import BY_LABELS, Answers
from merclip.engine import Engine, LabelTokens, Reading, embed_labels
from merclip.errors import DivergenceError, InputError
from merclip.inputs import as_ours
from merclip.network.anchors import Anchors
from merclip.parameters import per_clip
from merclip.preprocess import ClipFeatures, Features, Preprocessor, Sample
from merclip.rows import check_read, encoding, readable, reason_of, with_row
from merclip.scoring import best_threshold, fit_temperature, probabilities
from merclip.training.callbacks import Callback
from merclip.training.loop import Trainer, TrainingData
from merclip.training.objective import VegaTraining
from merclip.training.plan import TrainingPlan, learning_rates
from merclip.training.sources import FeatureSource, SampleSource, Source
from merclip.training.split import class_weights, hold_out
from merclip.training.stream import Stream
from merclip.training.vega import VegaObjective
from merclip.types import Clip, Clips

Array = np.ndarray[Any, Any]
FULL_MICROBATCH = 4
_TAKEN_IN = 256
"""Clips that tell, after all encoders were trained, what embeddings look like now."""


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
    least_classes: int = 1
    class_weight: Any = None
    seed: int = 0
    reading: Reading = Reading(for_training=True)
    train_dtype: Literal["float32", "bfloat16"] = "float32"
    objective: VegaObjective | None = None
    answers: Answers = BY_LABELS
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
    stream: Stream | None = None,
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
    stream : Stream, optional
        What earlier calls of `partial_fit` left.

    Raises
    ------
    DivergenceError
        The loss became no number; the network is as it was.
    """
    network = engine.network
    sample_weight = per_clip(sample_weight, len(clips), "sample_weight")
    groups = per_clip(groups, len(clips), "groups")
    if not network.config.use_label_encoder and network.config.n_classes != len(classes):
        with seeded(settings.seed):
            network.set_classes(len(classes))
    had_branch = network.anchor_branch is not None
    objective = _objective(engine, settings)
    source, kept = _source(engine, clips, settings)
    targets = targets[kept]
    if not settings.multi_label and len(np.unique(targets)) < settings.least_classes:
        raise InputError("The clips that can be used have one class alone.")
    share = settings.validation
    if isinstance(share, np.ndarray):
        share = share[kept] if len(share) == len(clips) else share
    groups = None if groups is None else groups[kept]
    train, validation = hold_out(targets, share, settings.seed, groups)
    sample_weight = None if sample_weight is None else sample_weight[kept]
    weights = _weights(targets, train, classes, sample_weight, settings)
    part = partial(_part, source, targets, weights)
    trained, embed = network.fusion_trained, embed_labels
    if stream is not None:
        trained, embed = stream.begin(trained), stream.labels
        objective = stream.objective(objective)
    trainer = Trainer(
        network,
        _plan(settings, trained),
        partial(embed, network, tokens) if network.config.use_label_encoder else None,
        objective=objective,
        answers=settings.answers,
        stream=stream,
        callbacks=settings.callbacks,
        progress=settings.progress,
        directory=settings.checkpoint_dir,
    )
    held_out = part(validation) if len(validation) else None
    try:
        trainer.fit(part(train), held_out)
    except DivergenceError:
        if not had_branch:
            network.set_anchor_branch(0)
        raise
    if held_out is not None and objective is not None and objective.anchors is not None:
        _fit_branch_temperature(trainer, held_out, objective.anchors)
    _take_in(engine, clips, kept, source, settings)
    threshold = None
    if settings.multi_label and held_out is not None:
        logits = trainer.predict(held_out).cpu().numpy()
        threshold = best_threshold(
            probabilities(logits, multi_label=True), held_out.targets.numpy()
        )
    return FitOutcome(trainer.history, trainer.interrupted, threshold)


def _take_in(
    engine: Engine,
    clips: Clips | Features,
    kept: Sequence[int],
    source: Source,
    settings: FitSettings,
) -> None:
    """Let the network know what clips that it learned from look like to its encoders."""
    network = engine.network
    if isinstance(source, FeatureSource):
        network.take_in(source.features, anew=network.evidence is None)
        return
    random = np.random.default_rng(settings.seed)
    some = sorted(random.permutation(len(kept))[:_TAKEN_IN].tolist())
    reading = replace(settings.reading, cache=None, on_error="nan")
    again = engine.encode([clips[kept[row]] for row in some], reading)
    network.take_in([clip for clip in again if clip.error is None], anew=True)


def _objective(engine: Engine, settings: FitSettings) -> VegaTraining | None:
    """Return VEGA's losses, with a branch in the network if they compare with anchors."""
    network, anchors = engine.network, settings.answers.anchors
    if settings.objective is None:
        return None
    compares = anchors is not None and settings.objective.uses_anchors
    if compares and network.anchor_branch is None:
        with seeded(settings.seed):
            network.set_anchor_branch(network.config.width)
    return VegaTraining(network, settings.objective, anchors)


def _fit_branch_temperature(trainer: Trainer, held_out: TrainingData, anchors: Anchors) -> None:
    branch = trainer.network.anchor_branch
    assert branch is not None
    branch.temperature.fill_(1.0)
    trainer.answers = Answers("anchors", anchors)
    logits, columns = trainer.predict(held_out).cpu(), anchors.places[held_out.targets]
    kept = columns >= 0
    if kept.any():
        found = fit_temperature(logits[kept].numpy(), columns[kept].numpy())
        branch.temperature.fill_(found)


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
        dtype=getattr(torch, settings.train_dtype) if full else torch.float32,
    )


def _source(
    engine: Engine, clips: Clips | Features, settings: FitSettings
) -> tuple[Source, list[int]]:
    """Return where batches come from, and the positions of clips that can be read."""
    if isinstance(clips, Features):
        if settings.tune == "full":
            raise InputError("tune='full' trains the encoders and needs clips, not features.")
        if settings.reading.on_error == "raise":
            check_read(clips)
        return _feature_source(engine, clips)
    if settings.tune == "head":
        return _feature_source(engine, _encode(engine, clips, settings))
    return _sample_source(engine, clips, settings.reading)


def _encode(engine: Engine, clips: Clips, settings: FitSettings) -> list[ClipFeatures]:
    encoded = engine.encode(clips, settings.reading)
    return list(encoding(encoded, len(clips), bar=settings.progress))


def _feature_source(engine: Engine, features: Sequence[ClipFeatures]) -> tuple[Source, list[int]]:
    kept = readable(features, "not trained on", least=True)
    # Features of a file stay there.
    taken = features if len(kept) == len(features) else [features[i] for i in kept]
    return FeatureSource(taken, engine.network), kept


def _sample_source(engine: Engine, clips: Clips, reading: Reading) -> tuple[Source, list[int]]:
    preprocessor = engine.preprocessor(reading)
    kept = list(range(len(clips)))
    if reading.on_error != "raise":
        found = [ClipFeatures({}, clip.name, error=_error(preprocessor, clip)) for clip in clips]
        kept = readable(found, "not trained on", least=True)

    def read(index: int) -> Sample:
        row = kept[index]
        try:
            return preprocessor(clips[row])
        except Exception as error:
            raise with_row(as_ours(error), row, clips[row]) from error

    vision = engine.checkpoint.preprocess.vision
    lengths = [_text_length(clips[row]) for row in kept]
    return SampleSource(len(kept), read, engine.network, vision, lengths), kept


def _text_length(clip: Clip) -> int:
    text = getattr(clip, "text", None)
    return len(text) if isinstance(text, str) else 0


def _error(preprocessor: Preprocessor, clip: Clip) -> str | None:
    try:
        preprocessor(clip)
    except Exception as error:
        return reason_of(as_ours(error))
    return None


def _weights(
    targets: Array, train: Array, classes: Array, sample_weight: Array | None, settings: FitSettings
) -> Array:
    weights = np.ones(len(targets), dtype=np.float32)
    if sample_weight is not None:
        weights *= sample_weight.astype(np.float32)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise InputError("sample_weight holds finite numbers of at least 0, not all 0.")
    class_weight = settings.class_weight
    if class_weight is None and settings.objective is not None and settings.objective.balanced:
        class_weight = "balanced"
    if class_weight is not None:
        if targets.ndim != 1:
            raise InputError("class_weight is for one-of-n labels; use sample_weight.")
        weights *= class_weights(class_weight, targets[train], classes)[targets]
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

    def alike(self, indices: Sequence[int]) -> list[int]:
        places = {self.positions[i]: i for i in indices}
        return [places[position] for position in self.source.alike(list(places))]
