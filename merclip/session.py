"""A loaded model, and what fitting has added to it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from merclip._warn import warn
from merclip.engine import Engine, choose_device, label_tokens
from merclip.errors import DeviceError, LabelError, MerclipError, MerclipWarning
from merclip.hub import HubAccess
from merclip.hub.layouts import ClipWeights
from merclip.hub.models import find_model
from merclip.hub.sources import read_object
from merclip.labels import LabelSet
from merclip.network import Checkpoint
from merclip.network.checkpoint import CONFIG_FILE
from merclip.pickling import checkpoint_state, restored_checkpoint
from merclip.preprocess import ClipFeatures, Features
from merclip.scoring import fit_temperature
from merclip.training.fit import FitOutcome, FitSettings, fit_network
from merclip.types import Clips

Array = np.ndarray[Any, Any]


class Session:
    """What a classifier and its copies with other labels share.

    A pickle of it holds what was trained alone, and names the weights that it builds on;
    see `merclip.pickling`.

    Parameters
    ----------
    checkpoint : Checkpoint
    dtype : torch.dtype
        Precision of the towers in prediction.
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
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        device: str | torch.device | None = None,
        access: HubAccess | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.engine = Engine(checkpoint)
        self.dtype = dtype
        self.access = replace(access or HubAccess(), token=None, force_download=False)
        self.fitted_labels: LabelSet | None = None
        self.fitted_threshold: float | None = None
        # As after a fit: torch computes a little differently where gradients may be asked for.
        self.engine.network.requires_grad_(False)
        self.engine.network.set_tower_dtype(dtype)
        self.to(device)

    def to(self, device: str | torch.device | None) -> None:
        """Move to a device; None is the best there is."""
        self.engine.network.to(choose_device(device))
        self.engine.forget_labels()
        self.device = device

    def __reduce__(self) -> tuple[Callable[..., Session], tuple[dict[str, Any]]]:
        state = {
            "checkpoint": checkpoint_state(self.checkpoint, self.access),
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": None if self.device is None else str(self.device),
            "access": self.access,
            "fitted_labels": self.fitted_labels,
            "fitted_threshold": self.fitted_threshold,
        }
        return _restored, (state,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        # Not by way of a pickle: all weights are here.
        checkpoint = copy.deepcopy(self.checkpoint, memo)
        other = Session(checkpoint, self.dtype, self.device, self.access)
        other.fitted_labels = self.fitted_labels
        other.fitted_threshold = self.fitted_threshold
        return other

    def known_labels(self) -> LabelSet | None:
        """Return the labels of the last fit, or those that the model was saved with."""
        if self.fitted_labels is not None:
            return self.fitted_labels
        return _labels_of(self.checkpoint.classifier)

    def calibration(self) -> dict[str, Any]:
        """Return the temperature, and the labels for which it was fitted."""
        stored = self.checkpoint.classifier.get("calibration")
        return dict(stored or {"temperature": 1.0, "labels": None})

    def logits(
        self,
        features: Sequence[ClipFeatures],
        labels: LabelSet,
        prompts: list[str],
        *,
        multi_label: bool,
        on_long_label: str,
    ) -> Array:
        """Return calibrated logits of shape (n, k), columns in class order.

        Raises
        ------
        LabelError
            Other labels than those of the fit, without a label encoder.
        """
        embedded = None
        if self.engine.network.config.use_label_encoder:
            embedded = self.engine.label_embeddings(labels, prompts, on_long_label)
        else:
            self._check_fixed(labels)
        logits = self.engine.logits(features, embedded, multi_label)
        return logits if multi_label else logits / self.calibration()["temperature"]

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
    ) -> FitOutcome:
        """Train the network in place, and forget what was known of the old one."""
        network = self.engine.network
        tokens = label_tokens(labels, prompts, network.max_label_tokens, on_long_label)
        network.set_tower_dtype(torch.float32)
        outcome = fit_network(
            self.engine,
            clips,
            targets,
            labels.classes,
            tokens,
            settings,
            sample_weight=sample_weight,
            groups=groups,
        )
        network.set_tower_dtype(self.dtype)
        self.engine.forget_labels()
        self.checkpoint.encoders_trained |= settings.tune == "full"
        self.checkpoint.classifier["calibration"] = None
        self.fitted_labels = labels
        self.fitted_threshold = outcome.threshold
        return outcome

    def calibrate(self, features: Sequence[ClipFeatures], targets: Array, **scoring: Any) -> None:
        """Fit the temperature of one-of-n probabilities.

        Parameters
        ----------
        features : sequence of ClipFeatures
            Those that could not be read are left out.
        targets : ndarray of shape (n,), int
        **scoring
            As for `logits`.
        """
        self.checkpoint.classifier["calibration"] = None
        read = [i for i, clip in enumerate(features) if clip.error is None]
        logits = self.logits([features[i] for i in read], multi_label=False, **scoring)
        self.fitted_labels = scoring["labels"]
        self.checkpoint.classifier["calibration"] = {
            "temperature": fit_temperature(logits, targets[read]),
            "labels": scoring["labels"].classes.tolist(),
        }

    def describe(
        self, labels: LabelSet | None, prompts: list[str], multi_label: bool, threshold: Any
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
        }

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
    dtype, device = getattr(torch, state["dtype"]), state["device"]
    session = Session(checkpoint, dtype, "cpu", state["access"])
    session.fitted_labels = state["fitted_labels"]
    session.fitted_threshold = state["fitted_threshold"]
    try:
        session.to(device)
    except DeviceError as error:
        session.device = device
        message = f"{error} The classifier stays on the CPU; set device= before the next fit."
        warn(MerclipWarning(message))
    return session
