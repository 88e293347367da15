"""The training loop."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from merclip.network import MERCLIP
from merclip.training.callbacks import Callback
from merclip.training.losses import clip_losses, validation_score
from merclip.training.plan import TrainingPlan, optimizer, schedule, trainable
from merclip.training.sources import Source
from merclip.training.state import BestState, load_state, save_state

logger = logging.getLogger("merclip")
MAX_LOG_SCALE = float(np.log(100))


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
        callbacks: Sequence[Callback] = (),
        progress: bool = False,
        directory: Path | None = None,
    ) -> None:
        self.network = network
        self.plan = plan
        self.labels = labels
        self.callbacks = list(callbacks)
        self.progress = progress
        self.directory = directory
        self.history: list[dict[str, Any]] = []
        self.stop = False
        self.interrupted = False
        self._frozen_labels: Tensor | None = None
        self._identity: dict[str, Any] = {}

    def fit(self, train: TrainingData, validation: TrainingData | None = None) -> None:
        """Run all epochs, then put the best one's weights in place."""
        self.network.fusion_trained = True
        self._identity = {**self.plan.identity(), "data": _digest(train)}
        parameters = trainable(self.network, self.plan)
        adam = optimizer(self.network, self.plan)
        rate = schedule(adam, self.plan, self.plan.epochs * self._steps(train))
        # Dropout draws from torch's global generator; its state is put back after.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.plan.seed)
            best = BestState(parameters, _buffers(self.network))
            self._resume(adam, rate, best)
            try:
                self._epochs(train, validation, adam, rate, best)
            except KeyboardInterrupt:
                self.interrupted = True
                logger.warning("Training was interrupted; the best state so far is kept.")
        best.restore()
        self.network.eval().requires_grad_(False)
        for callback in self.callbacks:
            callback.on_fit_end(self)

    def predict(self, data: TrainingData) -> Tensor:
        """Return logits of shape (n, k), in evaluation mode."""
        self.network.eval()
        with torch.inference_mode():
            labels = None if self.labels is None else self.labels()
            chunks = [
                self._logits(data.source.batch(indices), labels)
                for indices in _chunks(list(range(len(data))), self.plan.microbatch)
            ]
        return torch.cat(chunks)

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
        generator = np.random.default_rng([self.plan.seed, epoch])
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
        whole = float(train.weights[indices].sum().clamp_min(1e-12))
        total = 0.0
        for part in _chunks(indices, self.plan.microbatch):
            logits = self._logits(train.source.batch(part), self._label_embeddings())
            targets = train.targets[part].to(logits.device)
            losses = clip_losses(logits, targets, self.plan.multi_label)
            loss = (losses * train.weights[part].to(losses.device)).sum() / whole
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        parameters = [p for group in adam.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.plan.clip_norm)
        adam.step()
        self._clamp_scales()
        return total

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

    def _logits(self, batch: Any, labels: Tensor | None) -> Tensor:
        fused = self.network.fuse(batch)
        return self.network.logits(fused, labels, self.plan.multi_label)

    def _validate(self, validation: TrainingData | None) -> dict[str, float | None]:
        if validation is None:
            return {"val_loss": None, "val_score": None}
        logits = self.predict(validation).cpu()
        losses = clip_losses(logits, validation.targets, self.plan.multi_label)
        weights = validation.weights
        loss = (losses * weights).sum() / weights.sum().clamp_min(1e-12)
        score = validation_score(logits.numpy(), validation.targets.numpy(), self.plan.multi_label)
        return {"val_loss": float(loss), "val_score": score}

    def _steps(self, train: TrainingData) -> int:
        return -(-len(train) // self.plan.batch_size)

    def _resume(self, adam: AdamW, rate: LambdaLR, best: BestState) -> None:
        if self.directory is not None:
            self.history = load_state(self.directory, self._identity, adam, rate, best)

    def _save(self, adam: AdamW, rate: LambdaLR, best: BestState) -> None:
        if self.directory is not None:
            save_state(self.directory, self._identity, adam, rate, best, self.history)


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
