"""A loaded model, and what fitting has added to it."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merclip._warn import warn
from merclip.anchors import BY_LABELS, Answers
from merclip.engine import Engine, Reading, choose_device, label_tokens
from merclip.errors import (
    DeviceError,
    DivergenceError,
    LabelError,
    MerclipError,
    MerclipWarning,
)
from merclip.hub import HubAccess
from merclip.hub.layouts import ClipWeights
from merclip.hub.models import find_model
from merclip.hub.sources import read_object
from merclip.labels import LabelSet, no_words
from merclip.network import Checkpoint
from merclip.network.adaptation import Adaptation
from merclip.network.checkpoint import CONFIG_FILE
from merclip.pickling import checkpoint_state, restored_checkpoint
from merclip.precision import PrecisionCheck, Running, example_samples, least_cosine
from merclip.preprocess import MODALITIES, ClipFeatures, Features
from merclip.scoring import (
    DEFAULT_THRESHOLD,
    ZERO_SHOT_THRESHOLD,
    best_threshold,
    fit_temperature,
    probabilities,
)
from merclip.training.fit import FitOutcome, FitSettings, fit_network
from merclip.training.stream import Stream
from merclip.types import Clips
from merclip.typical import LABELS as TYPICAL_LABELS

Array = np.ndarray[Any, Any]


class Session:
    """What a classifier and its copies with other labels share.

    A pickle of it holds what was trained alone, and names the weights that it builds on;
    see `merclip.pickling`.

    Parameters
    ----------
    checkpoint : Checkpoint
    running : Running
        How the encoders are run in prediction.
    device : str, torch.device or None
        As the classifier's parameter.
    access : HubAccess, optional
        How a pickle gets the weights that it names; the token is left out.

    Attributes
    ----------
    engine : Engine
    fitted_labels : LabelSet or None
        Labels of the last fit; None before one.
    fitted_threshold : float or None
        Multi-label: the threshold that the last fit tuned.
    stream : Stream
        What calls of `partial_fit` share. A pickle does not hold it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        running: Running,
        device: str | torch.device | None = None,
        access: HubAccess | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.engine = Engine(checkpoint, running)
        self.running = running
        self.access = replace(access or HubAccess(), token=None, force_download=False)
        self.fitted_labels: LabelSet | None = None
        self.fitted_threshold: float | None = None
        # As after a fit: torch computes a little differently where gradients may be asked for.
        self.engine.network.requires_grad_(False)
        self.to(device)

    def to(self, device: str | torch.device | None) -> None:
        """Move to a device; None is the best there is."""
        self.engine.network.to(choose_device(device))
        self.engine.forget_labels()
        self.stream = Stream()
        self.device = device

    def __reduce__(self) -> tuple[Callable[..., Session], tuple[dict[str, Any]]]:
        state = {
            "checkpoint": checkpoint_state(self.checkpoint, self.access),
            "running": asdict(self.running),
            "device": None if self.device is None else str(self.device),
            "access": self.access,
            "fitted_labels": self.fitted_labels,
            "fitted_threshold": self.fitted_threshold,
        }
        return _restored, (state,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        # Not by way of a pickle: all weights are here.
        checkpoint = copy.deepcopy(self.checkpoint, memo)
        other = Session(checkpoint, self.running, self.device, self.access)
        other.fitted_labels = self.fitted_labels
        other.fitted_threshold = self.fitted_threshold
        return other

    def known_labels(self) -> LabelSet | None:
        """Return the labels of the last fit, or those that the model was saved with."""
        if self.fitted_labels is not None:
            return self.fitted_labels
        return _labels_of(self.checkpoint.classifier)

    @property
    def threshold(self) -> float:
        """Multi-label: the least probability of a label that holds, if the user gives none."""
        if self.fitted_threshold is not None:
            return self.fitted_threshold
        saved: Mapping[str, Any] = {} if self.fitted_labels else self.checkpoint.classifier
        if saved.get("multi_label") and isinstance(saved.get("threshold"), (int, float)):
            return float(saved["threshold"])
        learned = self.fitted_labels is not None or saved.get("multi_label")
        return DEFAULT_THRESHOLD if learned else ZERO_SHOT_THRESHOLD

    def calibration(self) -> dict[str, Any]:
        """Return the temperature, and the labels for which it was fitted."""
        stored = self.checkpoint.classifier.get("calibration")
        return dict(stored or {"temperature": 1.0, "labels": None})

    def calibrated_for(self, source: str) -> list[Any] | None:
        """Return the labels whose answers from a source the temperature was fitted for."""
        calibration = self.calibration()
        fitted: list[Any] | None = calibration["labels"]
        return fitted if calibration.get("predict_from", "labels") == source else None

    def logits(
        self,
        features: Sequence[ClipFeatures],
        labels: LabelSet,
        prompts: list[str],
        *,
        multi_label: bool,
        on_long_label: str,
        answers: Answers = BY_LABELS,
        adaptation: Adaptation | None = None,
    ) -> Array:
        """Return calibrated logits of shape (n, k), columns in class order.

        Raises
        ------
        LabelError
            Other labels than those of the fit, without a label encoder or without words.
        """
        network, embedded = self.engine.network, None
        if answers.source != "anchors":
            embedded = self._embedded_labels(labels, prompts, on_long_label)

        def compare(fused: Tensor) -> Tensor:
            if multi_label and not network.fusion_trained:
                # CLIP's own question, at its own scale: of this clip and a typical one of each
                # kind, which is it that the label belongs to?
                return network.logits(fused, embedded, False) - math.log(len(TYPICAL_LABELS))
            return answers.logits(network, fused, embedded, multi_label)

        offsets = None if adaptation is None else adaptation.offsets
        logits = self.engine.logits(features, compare, offsets)
        if multi_label:
            return logits
        temperature = self._temperature(answers.source)
        if adaptation is None:
            return logits / temperature
        known = self.engine.compared(adaptation.fused, compare) / temperature
        return logits / temperature - adaptation.label_shift(known, labels.classes.tolist())

    def _embedded_labels(
        self, labels: LabelSet, prompts: list[str], on_long_label: str
    ) -> Tensor | None:
        network = self.engine.network
        if not network.config.use_label_encoder:
            self._check_fixed(labels)
            return None
        self._check_words(labels)
        embedded = self.engine.label_embeddings(labels, prompts, on_long_label)
        if network.fusion_trained:
            return embedded
        # What all labels have in common would make all of several hold, or none.
        typical = self.engine.label_embeddings(LabelSet.of(TYPICAL_LABELS), prompts, "warn")
        return embedded - typical.mean(dim=0)

    def _temperature(self, source: str) -> float:
        calibration = self.calibration()
        fitted = calibration.get("predict_from", "labels") == source
        return float(calibration["temperature"]) if fitted else 1.0

    def train(
        self,
        clips: Clips | Features,
        targets: Array,
        labels: LabelSet,
        prompts: list[str],
        settings: FitSettings,
        *,
        on_long_label: str,
        sample_weight: Any = None,
        groups: Any = None,
        going_on: bool = False,
    ) -> FitOutcome:
        """Train the network in place, and forget what was known of the old one.

        With `going_on` it is one more call of a stream: the optimiser is that of the last.
        """
        network = self.engine.network
        # Labels without contexts are those of CLIP, whatever the fusion learns.
        same_labels = network.fusion_trained and not len(network.label_prompt)
        if not going_on:
            self.stream = Stream()
        tokens = label_tokens(labels, prompts, network.max_label_tokens, on_long_label)
        try:
            outcome = fit_network(
                self.engine,
                clips,
                targets,
                labels.classes,
                tokens,
                settings,
                sample_weight=sample_weight,
                groups=groups,
                stream=self.stream if going_on else None,
            )
        except DivergenceError:
            # Its optimiser goes by what diverged.
            self.stream = Stream()
            raise
        if not same_labels:
            self.engine.forget_labels()
        self.checkpoint.encoders_trained |= settings.tune == "full"
        self.checkpoint.classifier["calibration"] = None
        self.fitted_labels = labels
        self.fitted_threshold = outcome.threshold
        return outcome

    def calibrate(
        self,
        features: Sequence[ClipFeatures],
        targets: Array,
        *,
        multi_label: bool = False,
        **scoring: Any,
    ) -> None:
        """Fit the temperature of one-of-n probabilities, or the threshold of multi-label ones.

        Parameters
        ----------
        features : sequence of ClipFeatures
            Those that could not be read are left out.
        targets : ndarray of shape (n,), int, or (n, k)
        multi_label : bool
        **scoring
            As for `logits`.
        """
        self.checkpoint.classifier["calibration"] = None
        read = [i for i, clip in enumerate(features) if clip.error is None]
        logits = self.logits([features[i] for i in read], multi_label=multi_label, **scoring)
        self.fitted_labels = scoring["labels"]
        if multi_label:
            found = probabilities(logits, multi_label=True)
            self.fitted_threshold = best_threshold(found, targets[read])
            return
        source = scoring.get("answers", BY_LABELS).source
        self.checkpoint.classifier["calibration"] = {
            "temperature": fit_temperature(logits, targets[read]),
            "labels": scoring["labels"].classes.tolist(),
            **({} if source == "labels" else {"predict_from": source}),
        }

    def check_precision(
        self, clips: Clips | None, reading: Reading, probabilities: Callable[..., Array]
    ) -> PrecisionCheck:
        """Compare what the encoders give as they run with what they give in float32.

        Parameters
        ----------
        clips : Clips or None
            None stands for texts, pictures and sounds that need no file.
        reading : Reading
        probabilities : callable
            From features to an array of shape (n, k).
        """
        engines = self.engine, Engine(self.checkpoint, Running("float32", "default"))
        if clips is None:
            samples = example_samples(self.engine.network)
            encoded = [engine.encode_samples(samples) for engine in engines]
        else:
            encoded = [list(engine.encode(clips, reading)) for engine in engines]
        encoded = [[clip for clip in found if clip.error is None] for found in encoded]
        fused = [engine.fused(found) for engine, found in zip(engines, encoded, strict=True)]
        cosines = [
            least_cosine(two.sequences[letter], one.sequences[letter])
            for one, two in zip(*encoded, strict=True)
            for letter in one.sequences
        ]
        fast, exact = (probabilities(found) for found in encoded)
        return PrecisionCheck(
            dtypes=self.dtypes(),
            matmul=self.engine.runner.matmul,
            cosine=min(cosines + [least_cosine(*fused)]),
            same_labels=int((fast.argmax(1) == exact.argmax(1)).sum()),
            n_clips=len(fast),
            largest_difference=float(np.abs(fast - exact).max(initial=0)),
            backends=self.backends(),
        )

    def dtypes(self) -> dict[str, str]:
        """Return the precision in which each modality's encoder runs."""
        found = self.engine.runner.dtypes()
        return {MODALITIES[one]: str(found[one]).removeprefix("torch.") for one in found}

    def backends(self) -> dict[str, str]:
        """Return what runs each modality's encoder: "torch" or "openvino"."""
        found = self.engine.runner.backends()
        return {MODALITIES[one]: found[one] for one in found}

    def describe(
        self,
        labels: LabelSet | None,
        prompts: list[str],
        multi_label: bool,
        threshold: Any,
        source: str = "labels",
    ) -> None:
        """Note in the checkpoint how the classifier that is saved was used."""
        if isinstance(threshold, Mapping):  # JSON would turn integer names into strings
            threshold = [[name, float(value)] for name, value in threshold.items()]
        elif threshold is not None:
            threshold = float(threshold)
        self.checkpoint.classifier = {
            "labels": None if labels is None else [list(pair) for pair in labels.to_dict().items()],
            "prompt": prompts,
            "multi_label": multi_label,
            "threshold": threshold,
            "calibration": self.calibration(),
            **({} if source == "labels" else {"predict_from": source}),
        }

    def _check_words(self, labels: LabelSet) -> None:
        known = self.known_labels()
        learned = known is not None and set(labels.names) <= set(known.names)
        if not labels.has_words and not learned:
            raise no_words(labels.names[0])

    def _check_fixed(self, labels: LabelSet) -> None:
        known = self.known_labels()
        if known is None or known.classes.tolist() != labels.classes.tolist():
            raise LabelError(
                "A network without a label encoder knows only the labels that it was fitted on."
            )


def stored_labels(
    model: str | os.PathLike[str] | Mapping[str, Any], access: HubAccess
) -> LabelSet | None:
    """Return the labels that a model was saved with, without loading it.

    Returns
    -------
    LabelSet or None
        None also for a model of which this machine has no configuration yet.
    """
    offline = replace(access, local_files_only=True)
    try:
        source = find_model(model, None, offline)
        path = None if isinstance(source, ClipWeights) else source.find(CONFIG_FILE)
        described = {} if path is None else read_object(path).get("classifier", {})
        return _labels_of(described)
    except MerclipError:
        return None


def _labels_of(described: Mapping[str, Any]) -> LabelSet | None:
    stored = described.get("labels")
    return LabelSet.of(dict(stored)) if stored else None


def _restored(state: dict[str, Any]) -> Session:
    """Return the session of which a pickle was made, on the device or else on the CPU."""
    checkpoint = restored_checkpoint(state["checkpoint"], state["access"])
    running, device = Running(**state["running"]), state["device"]
    session = Session(checkpoint, running, "cpu", state["access"])
    session.fitted_labels = state["fitted_labels"]
    session.fitted_threshold = state["fitted_threshold"]
    try:
        session.to(device)
    except DeviceError as error:
        session.device = device
        message = f"{error} The classifier stays on the CPU; set device= before the next fit."
        warn(MerclipWarning(message))
    return session
