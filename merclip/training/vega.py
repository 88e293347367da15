"""VEGA's objective: classes and self-distillation, by labels and by visual anchors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from merclip.errors import InputError
from merclip.network.anchors import FUSED, SAMPLING

TEACHERS = {"label_distillation": 0, "anchor_distillation": 1}
STUDENTS = "LAV"
"""Outputs that learn from the fused one."""


@dataclass(frozen=True)
class OutputWeights:
    """How much each output counts in one group of losses.

    Parameters
    ----------
    fused, text, audio, video : float
        At least 0.

    Examples
    --------
    >>> from merclip.training import OutputWeights
    >>> OutputWeights(fused=1.0, text=0.5).of("L")
    0.5
    """

    fused: float = 0.0
    text: float = 0.0
    audio: float = 0.0
    video: float = 0.0

    def of(self, letter: str) -> float:
        """Return the weight of an output.

        Parameters
        ----------
        letter : {"F", "L", "A", "V"}

        Returns
        -------
        float

        Examples
        --------
        >>> from merclip.training import OutputWeights
        >>> OutputWeights(video=0.7753).of("V")
        0.7753
        """
        named = {FUSED: self.fused, "L": self.text, "A": self.audio, "V": self.video}
        return float(named[letter])


@dataclass(frozen=True)
class VegaObjective:
    """What is minimised: four groups of losses, and how anchors are drawn.

    The total is ``label_loss`` x cross-entropy by labels, ``label_distillation`` x
    divergence of each modality from the fused output by labels, and the same two by
    anchors. The defaults are the settings that VEGA released for IEMOCAP. A weight of
    0 leaves a group out.

    Parameters
    ----------
    label_loss, label_distillation, anchor_loss, anchor_distillation : float
        Weight of each group.
    label_outputs, label_students, anchor_outputs, anchor_students : OutputWeights
        Weight of each output within its group.
    sampling : float
        How often a batch sees one exemplar of each class in place of the centres.
    temperature : float
        Of distillation, at the start; each modality learns its own in each space.
    detach_teacher : bool
        Whether distillation leaves the fused output as it is. In VEGA it pulls that to
        the modalities as well, and so it does here unless True is asked for.
    sample_at_evaluation : bool
        Whether the loss in validation draws anchors too, as VEGA's code does.
    balanced : bool
        Whether classes weigh alike in cross-entropy, by their counts in training, where
        no ``class_weight`` is given. VEGA's code counts validation and test too: give
        such weights with `released_class_weights` to do the same.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from merclip.training import VegaObjective
    >>> VegaObjective.of("vega").label_loss
    0.9521
    >>> without_distillation = replace(
    ...     VegaObjective.of("even"), label_distillation=0.0, anchor_distillation=0.0
    ... )
    """

    label_loss: float = 0.9521
    label_distillation: float = 0.3468
    anchor_loss: float = 0.46216
    anchor_distillation: float = 0.4868
    label_outputs: OutputWeights = OutputWeights(0.7666, 0.5132, 0.3536, 0.7753)
    label_students: OutputWeights = OutputWeights(0.0, 0.3891, 0.6867, 0.7815)
    anchor_outputs: OutputWeights = OutputWeights(0.5279, 0.1692, 0.3020, 0.2249)
    anchor_students: OutputWeights = OutputWeights(0.0, 0.9358, 0.2729, 0.7159)
    sampling: float = SAMPLING
    temperature: float = 2.0
    detach_teacher: bool = False
    sample_at_evaluation: bool = False
    balanced: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, OutputWeights):
                for part in fields(value):
                    _check_weight(f"{item.name}.{part.name}", getattr(value, part.name))
            elif isinstance(item.default, bool):
                _check_switch(item.name, value)
            else:
                _check_weight(item.name, value)
        if self.sampling > 1:
            raise InputError(f"sampling is a share in [0, 1], got {self.sampling!r}.")
        if self.temperature <= 0:
            raise InputError(f"temperature is positive, got {self.temperature!r}.")

    @property
    def uses_anchors(self) -> bool:
        """Whether a loss by anchors has a weight."""
        return self.anchor_loss > 0 or self.anchor_distillation > 0

    @classmethod
    def of(cls, objective: str | VegaObjective) -> VegaObjective:
        """Return a preset by name.

        Parameters
        ----------
        objective : {"vega", "vega-detached", "even"} or VegaObjective
            "vega": as released. "vega-detached": its weights, but distillation leaves the
            fused output alone (ours). "even": that, with 1 for the fused output and each
            group of cross-entropy, and 1/3 for each modality (ours).

        Returns
        -------
        VegaObjective

        Raises
        ------
        InputError
            There is no such preset.

        Examples
        --------
        >>> from merclip.training import VegaObjective
        >>> VegaObjective.of("even").label_outputs.fused
        1.0
        """
        if isinstance(objective, VegaObjective):
            return objective
        if not isinstance(objective, str) or objective not in OBJECTIVES:
            raise InputError(
                f"objective is one of {sorted(OBJECTIVES)} or a VegaObjective, got {objective!r}."
            )
        return OBJECTIVES[objective]


class Temperatures(nn.Module):
    """One temperature for each modality, by labels and by anchors, as logarithms.

    Parameters
    ----------
    start : float
    """

    def __init__(self, start: float = 2.0) -> None:
        super().__init__()
        # A vector: matrices are decayed, which would pull temperatures to 1.
        self.logs = nn.Parameter(torch.full((2 * len(STUDENTS),), math.log(start)))

    def forward(self, group: str, letter: str) -> Tensor:
        """Return the temperature of a group of distillation, for a modality's letter."""
        return self.logs[len(STUDENTS) * TEACHERS[group] + STUDENTS.index(letter)].exp()


def released_class_weights(counts: Any) -> np.ndarray[Any, Any]:
    """Return VEGA's weight of each class: the largest count over the class's own.

    Parameters
    ----------
    counts : sequence of int, of length k
        Of training alone. VEGA's own numbers count validation and test too.

    Returns
    -------
    ndarray of shape (k,), float32
        1 for a class that does not occur.

    Examples
    --------
    >>> from merclip.training import released_class_weights
    >>> released_class_weights([10, 5, 20]).tolist()
    [2.0, 4.0, 1.0]
    """
    counts = np.asarray(counts, dtype=np.float64)
    weights = counts.max() / np.maximum(counts, 1)
    return np.where(counts > 0, weights, 1.0).astype(np.float32)


@dataclass(frozen=True)
class Totals:
    """What sums are divided by, where a batch comes in several parts.

    Parameters
    ----------
    weight : float
        Sum of the weights of the whole batch.
    count : float
        Utterances of the whole batch.
    """

    weight: float
    count: float


def vega_terms(
    labels: Mapping[str, Tensor],
    anchors: Mapping[str, Tensor] | None,
    targets: Tensor,
    objective: VegaObjective,
    temperatures: Temperatures,
    *,
    mask: Tensor | None = None,
    present: Mapping[str, Tensor] | None = None,
    weights: Tensor | None = None,
    places: Tensor | None = None,
    totals: Totals | None = None,
) -> dict[str, Tensor]:
    """Return the four groups of losses, each before its own weight.

    Means are over all utterances that are no padding: a modality that one of them
    lacks adds nothing there.

    Parameters
    ----------
    labels : mapping from "F", "L", "A", "V" to Tensor of shape (..., k)
        Logits by labels; an output that is absent gives no loss.
    anchors : mapping to Tensor of shape (..., c), or None
        Logits by anchors; None leaves both groups out.
    targets : Tensor of shape (...), int64
        Classes; any where `mask` is False.
    objective : VegaObjective
    temperatures : Temperatures
    mask : Tensor of shape (...), bool, optional
        False for padding.
    present : mapping from letter to Tensor of shape (...), bool, optional
        Which utterances have a modality; all, for a letter that is absent.
    weights : Tensor of shape (...), optional
        How much each utterance counts in cross-entropy: ``class_weights[targets]`` is
        PyTorch's weighted one. One of weight 0 does not distil either.
    places : Tensor of shape (k,), int64, optional
        The column of each class among the anchors, -1 for one without: `Anchors.places`.
    totals : Totals, optional
        For a part of a batch, of all of it.

    Returns
    -------
    dict from "label_loss", "label_distillation", ... to Tensor of shape ()
    """
    counted = torch.ones_like(targets, dtype=torch.bool) if mask is None else mask
    weights = torch.ones_like(targets, dtype=torch.float32) if weights is None else weights
    weights = torch.where(counted, weights, 0.0)
    counted = counted & (weights > 0)
    if totals is None:
        totals = Totals(float(weights.sum()), float(counted.sum()))
    batch = _Batch(targets, counted, weights, present or {}, totals)
    found = {
        "label_loss": batch.classes(labels, objective.label_outputs),
        "label_distillation": batch.distillation(
            labels, objective, "label_distillation", temperatures
        ),
    }
    if anchors is not None:
        seen = batch if places is None else batch.by_places(places)
        found["anchor_loss"] = seen.classes(anchors, objective.anchor_outputs)
        found["anchor_distillation"] = batch.distillation(
            anchors, objective, "anchor_distillation", temperatures
        )
    return found


def vega_loss(terms: Mapping[str, Tensor], objective: VegaObjective) -> Tensor:
    """Return the total of what `vega_terms` gave."""
    weighted = [getattr(objective, name) * term for name, term in terms.items()]
    return torch.stack(weighted).sum()


@dataclass(frozen=True)
class _Batch:
    targets: Tensor
    counted: Tensor
    weights: Tensor
    present: Mapping[str, Tensor]
    totals: Totals

    def by_places(self, places: Tensor) -> _Batch:
        """Return the batch with columns of anchors as targets, without what has none."""
        columns = places.to(self.targets.device)[torch.where(self.counted, self.targets, 0)]
        weights = torch.where(columns >= 0, self.weights, 0.0)
        counted = self.counted & (columns >= 0)
        return _Batch(columns, counted, weights, self.present, self.totals)

    def classes(self, logits: Mapping[str, Tensor], shares: OutputWeights) -> Tensor:
        """Return the weighted cross-entropy, summed over outputs."""
        total = self.weights.new_zeros(())
        # Also padding goes through the loss, and is multiplied by 0.
        targets = torch.where(self.counted, self.targets, 0).flatten()
        for letter, scores in logits.items():
            if not shares.of(letter):
                continue
            losses = functional.cross_entropy(
                scores.flatten(0, -2).float(), targets, reduction="none"
            )
            kept = torch.where(self._of(letter).flatten(), losses, 0.0)
            mean = (kept * self.weights.flatten()).sum() / max(self.totals.weight, 1e-12)
            total = total + shares.of(letter) * mean
        return total

    def distillation(
        self,
        logits: Mapping[str, Tensor],
        objective: VegaObjective,
        group: str,
        temperatures: Temperatures,
    ) -> Tensor:
        """Return how far modalities are from the fused output, summed over them."""
        total = self.weights.new_zeros(())
        shares = objective.label_students if TEACHERS[group] == 0 else objective.anchor_students
        teacher = logits[FUSED].detach() if objective.detach_teacher else logits[FUSED]
        for letter in STUDENTS:
            if letter not in logits or not shares.of(letter):
                continue
            temperature = temperatures(group, letter)
            divergence = _divergence(teacher / temperature, logits[letter] / temperature)
            kept = torch.where(self._of(letter)[..., None], divergence, 0.0)
            mean = kept.sum() / max(self.totals.count * teacher.shape[-1], 1e-12)
            total = total + shares.of(letter) * temperature**2 * mean
        return total

    def _of(self, letter: str) -> Tensor:
        return self.counted & self.present[letter] if letter in self.present else self.counted


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return each class's part of KL(teacher || student): shape (..., k)."""
    from_, to = (functional.log_softmax(logits.float(), dim=-1) for logits in (teacher, student))
    return functional.kl_div(to, from_, reduction="none", log_target=True)


def _check_weight(name: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and 0 <= value < math.inf):
        raise InputError(f"{name} is a finite number of at least 0, got {value!r}.")


def _check_switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InputError(f"{name} is True or False, got {value!r}.")


_ALL = OutputWeights(1.0, 1 / 3, 1 / 3, 1 / 3)
_EACH = OutputWeights(0.0, 1 / 3, 1 / 3, 1 / 3)
OBJECTIVES = {
    "vega": VegaObjective(),
    "vega-detached": VegaObjective(detach_teacher=True),
    "even": VegaObjective(1.0, 1.0, 1.0, 1.0, _ALL, _EACH, _ALL, _EACH, detach_teacher=True),
}
