"""The training loop."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from merclip._random import seeded
from merclip.anchors import BY_LABELS, Answers
from merclip.errors import DivergenceError
from merclip.network import MERCLIP
from merclip.training.callbacks import Callback
from merclip.training.losses import clip_losses, validation_score
from merclip.training.masters import MasterWeights
from merclip.training.objective import VegaTraining
from merclip.training.plan import TrainingPlan, optimizer, schedule, trainable
from merclip.training.sources import Source
from merclip.training.state import BestState, load_state, save_state
from merclip.training.stream import Stream, constant
from merclip.training.vega import Totals

logger = logging.getLogger("merclip")
MAX_LOG_SCALE = float(np.log(100))
VALIDATED = 256
"""Clips of known features in one pass without gradients."""


@dataclass(frozen=True)
class TrainingData:
    """Clips to learn from or to validate on.

    Parameters
    ----------
    source : Source
    targets : Tensor of shape (n,) or (n, k)
    weights : Tensor of shape (n,)
        How much each clip counts.
    """

    source: Source
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.source)


class Trainer:
    """Train a network, keeping the best epoch.

    Parameters
    ----------
    network : MERCLIP
        Trained in place.
    plan : TrainingPlan
    labels : callable, or None
        Returns label embeddings of shape (k, D), with gradients to the label
        contexts; None without a label encoder.
    objective : VegaTraining, optional
        What is minimised in place of the cross-entropy of labels.
    answers : Answers
        What validation scores.
    stream : Stream, optional
        Of which this is one call: there is no best epoch and no end to the schedule.
    callbacks : sequence of Callback
    progress : bool
        Show a bar with the time left, the loss and the validation score.
    directory : Path, optional
        Where the state of each epoch is written; a run that finds the state of
        an unfinished one there goes on from it.

    Attributes
    ----------
    history : list of dict
        One line for each epoch: loss, val_loss, val_score, lr.
    stop : bool
        Set by callbacks.
    interrupted : bool
        Whether a keyboard interrupt ended training.
    """

    def __init__(
        self,
        network: MERCLIP,
        plan: TrainingPlan,
        labels: Callable[[], Tensor] | None,
        *,
        objective: VegaTraining | None = None,
        answers: Answers = BY_LABELS,
        stream: Stream | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = False,
        directory: Path | None = None,
    ) -> None:
        self.network = network
        self.plan = plan
        self.labels = labels
        self.objective = objective
        self.answers = answers
        self.stream = stream
        self.callbacks = list(callbacks)
        self.progress = progress
        self.directory = directory
        self.history: list[dict[str, Any]] = []
        self.stop = False
        self.interrupted = False
        self._frozen_labels: Tensor | None = None
        self._identity: dict[str, Any] = {}

    def fit(self, train: TrainingData, validation: TrainingData | None = None) -> None:
        """Run all epochs, then put the best one's weights in place.

        Raises
        ------
        DivergenceError
            The loss or the answers are no numbers any more; the weights are then as before.
        """
        was_trained, self.network.fusion_trained = self.network.fusion_trained, True
        self._identity = {**self.plan.identity(), "data": _digest(train)}
        parameters, extra = trainable(self.network, self.plan), []
        if self.objective is not None:
            self._identity["objective"] = self.objective.identity()
            extra = self.objective.parameters()
        adam, rate = self._optimizer(extra, self.plan.epochs * self._steps(train))
        masters = self._masters = MasterWeights(self.network, adam, self.plan.dtype)
        # Dropout draws from torch's global generators; their states are put back after.
        with seeded(self._seed(), self.network.device), masters:
            learning = masters.of([*parameters, *extra])
            start = BestState(learning, _buffers(self.network))
            start.take()
            best = self._best(learning)
            self._resume(adam, rate, best)
            masters.round()
            try:
                self._epochs(train, validation, adam, rate, best)
                best.restore()
                self._check_answers(train, validation)
            except KeyboardInterrupt:
                self.interrupted = True
                logger.warning("Training was interrupted; the best state so far is kept.")
                best.restore()
            except DivergenceError:
                start.restore()
                self.network.fusion_trained = was_trained
                raise
            finally:
                self.network.eval().requires_grad_(False)
        if self.stream is not None:
            self.stream.calls += 1
        for callback in self.callbacks:
            callback.on_fit_end(self)

    def _optimizer(self, extra: list[nn.Parameter], n_steps: int) -> tuple[AdamW, LambdaLR]:
        if self.stream is None:
            adam = optimizer(self.network, self.plan, extra)
            return adam, schedule(adam, self.plan, n_steps)
        adam = self.stream.optimizer(self.network, self.plan, extra)
        return adam, constant(adam)

    def _best(self, parameters: list[nn.Parameter]) -> BestState:
        if self.stream is not None:
            return BestState([], [])
        return BestState(parameters, _buffers(self.network))

    def _seed(self) -> int:
        return self.plan.seed if self.stream is None else self.stream.seed(self.plan.seed)

    def predict(self, data: TrainingData) -> Tensor:
        """Return logits of shape (n, k), in evaluation mode."""
        return self._evaluated(data)[0]

    def _epochs(
        self,
        train: TrainingData,
        validation: TrainingData | None,
        adam: AdamW,
        rate: LambdaLR,
        best: BestState,
    ) -> None:
        from tqdm.auto import tqdm

        for callback in self.callbacks:
            callback.on_fit_begin(self)
        first, steps = len(self.history), self._steps(train)
        total = self.plan.epochs * steps
        with tqdm(total=total, initial=first * steps, desc="fit", disable=not self.progress) as bar:
            for epoch in range(first, self.plan.epochs):
                if self.stop:
                    break
                for callback in self.callbacks:
                    callback.on_epoch_begin(self, epoch)
                loss = self._train_epoch(train, epoch, adam, rate, bar)
                record: dict[str, Any] = {"epoch": epoch, "loss": loss, "lr": rate.get_last_lr()[0]}
                record.update(self._validate(validation))
                self.history.append(record)
                bar.set_postfix(_shown(record))
                best.offer(record)
                for callback in self.callbacks:
                    callback.on_epoch_end(self, record)
                self._save(adam, rate, best)

    def _train_epoch(
        self, train: TrainingData, epoch: int, adam: AdamW, rate: LambdaLR, bar: Any
    ) -> float:
        self.network.train()
        if not self.plan.train_encoders:
            self.network.encoders.eval()
        self.network.label_encoder.eval()
        generator = np.random.default_rng([self._seed(), epoch])
        order = generator.permutation(len(train)).tolist()
        total = 0.0
        for step, indices in enumerate(_chunks(order, self.plan.batch_size), start=1):
            loss = self._step(train, indices, adam)
            rate.step()
            bar.update()
            total += loss * len(indices)
            for callback in self.callbacks:
                callback.on_batch_end(self, epoch * self._steps(train) + step, loss)
        return total / len(order)

    def _step(self, train: TrainingData, indices: list[int], adam: AdamW) -> float:
        adam.zero_grad(set_to_none=True)
        totals = _totals(train.weights[indices])
        if self.objective is not None:
            self.objective.begin(training=True)
        total = 0.0
        labels = self._label_embeddings()
        # Labels are encoded once for all parts: what these ask of them adds up in between.
        learns = labels is not None and labels.requires_grad
        asked = labels.detach().requires_grad_() if labels is not None and learns else labels
        for part in self._parts(train, indices):
            batch = train.source.batch(part)
            loss = self._loss(batch, asked, train.targets[part], train.weights[part], totals)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if learns and asked is not None and labels is not None:
            labels.backward(asked.grad)  # type: ignore[no-untyped-call]
        parameters = [p for group in adam.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.plan.clip_norm)
        self._check_finite("the loss", total)
        self._check_finite("the gradient", float(norm))
        adam.step()
        self._clamp_scales()
        self._masters.round()
        return total

    def _parts(self, train: TrainingData, indices: list[int]) -> list[list[int]]:
        size = self.plan.microbatch
        return _chunks(train.source.alike(indices) if size < len(indices) else indices, size)

    def _clamp_scales(self) -> None:
        # Beyond its largest value a scale's gradient is zero, and it could never return.
        scales = self.network.scales
        with torch.no_grad():
            scales.softmax.clamp_(max=MAX_LOG_SCALE)
            scales.sigmoid.clamp_(max=MAX_LOG_SCALE)

    def _label_embeddings(self) -> Tensor | None:
        if self.labels is None:
            return None
        if len(self.network.label_prompt):
            return self.labels()
        if self._frozen_labels is None:
            with torch.no_grad():
                self._frozen_labels = self.labels()
        return self._frozen_labels

    def _loss(
        self,
        batch: Any,
        labels: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        totals: Totals,
    ) -> Tensor:
        """Return what a part of a batch adds to the batch's loss."""
        if self.objective is not None:
            return self.objective.loss(batch, labels, targets, weights, totals)
        fused = self.network.fuse(batch)
        logits = self.network.logits(fused, labels, self.plan.multi_label)
        losses = clip_losses(logits, targets.to(logits.device), self.plan.multi_label)
        return (losses * weights.to(losses.device)).sum() / totals.weight

    def _validate(self, validation: TrainingData | None) -> dict[str, float | None]:
        if validation is None:
            return {"val_loss": None, "val_score": None}
        logits, loss = self._evaluated(validation)
        logits = logits.cpu()
        if self.objective is None:
            losses = clip_losses(logits, validation.targets, self.plan.multi_label)
            loss = float((losses * validation.weights).sum() / _totals(validation.weights).weight)
        self._check_finite("the validation loss", loss)
        score = validation_score(logits.numpy(), validation.targets.numpy(), self.plan.multi_label)
        return {"val_loss": loss, "val_score": score}

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            epoch = min(len(self.history) + 1, self.plan.epochs)
            raise DivergenceError(
                f"Training diverged: {what} is {value} in epoch {epoch}, with "
                f"lr={self.plan.rates.head:g}. Give a lower lr; if it happens with a low one too, "
                "look for clips whose features are no numbers."
            )

    def _check_answers(self, train: TrainingData, validation: TrainingData | None) -> None:
        """Look at what the last step made: no loss came after it."""
        if validation is None:
            # A call of a stream is one step, of which a pass over all its clips is a third.
            most = self.plan.microbatch if self.stream is None else 1
            answers, _ = self._evaluated(train, most)
            self._check_finite("an answer", float(answers.sum()))

    def _evaluated(self, data: TrainingData, most: int | None = None) -> tuple[Tensor, float]:
        """Return logits of shape (n, k), and the loss of an objective that is not labels alone.

        Of the first `most` clips, or of all.
        """
        self.network.eval()
        chunks, loss, totals = [], 0.0, _totals(data.weights)
        with torch.no_grad():
            labels = self._label_embeddings()
        size = self.plan.microbatch if self.plan.train_encoders else VALIDATED
        with torch.inference_mode():
            for indices in _chunks(list(range(len(data)))[:most], size):
                batch = data.source.batch(indices)
                fused = self.network.fuse(batch)
                chunks.append(
                    self.answers.logits(self.network, fused, labels, self.plan.multi_label)
                )
                if self.objective is not None:
                    self.objective.begin(training=False)
                    parts = data.targets[indices], data.weights[indices]
                    loss += float(self.objective.loss(batch, labels, *parts, totals))
        return torch.cat(chunks), loss

    def _steps(self, train: TrainingData) -> int:
        return -(-len(train) // self.plan.batch_size)

    def _resume(self, adam: AdamW, rate: LambdaLR, best: BestState) -> None:
        if self.directory is not None:
            self.history = load_state(
                self.directory, self._identity, adam, rate, best, self.network.device
            )

    def _save(self, adam: AdamW, rate: LambdaLR, best: BestState) -> None:
        if self.directory is not None:
            device = self.network.device
            save_state(self.directory, self._identity, adam, rate, best, self.history, device)


def _totals(weights: Tensor) -> Totals:
    return Totals(float(weights.sum().clamp_min(1e-12)), float((weights > 0).sum()))


def _digest(data: TrainingData) -> str:
    content = data.targets.numpy().tobytes() + data.weights.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _buffers(network: MERCLIP) -> list[Tensor]:
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


def _chunks(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _shown(record: dict[str, Any]) -> dict[str, str]:
    named = {"loss": "loss", "score": "val_score"}
    return {
        name: f"{record[key]:.3f}" for name, key in named.items() if record.get(key) is not None
    }
