"""Training of a dialogue network."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from merclip._random import seeded
from merclip.errors import DivergenceError, InputError
from merclip.network.anchors import FUSED
from merclip.network.dialogue import (
    DialogueBatch,
    DialogueNetwork,
    DialogueOutput,
    pad_dialogues,
    present,
)
from merclip.training.callbacks import Callback
from merclip.training.split import class_weights
from merclip.training.vega import (
    Temperatures,
    VegaObjective,
    released_class_weights,
    vega_loss,
    vega_terms,
)

logger = logging.getLogger("merclip")
Array = np.ndarray[Any, Any]
Source = Literal["labels", "anchors", "both"]
NO_LABEL = -1
RELEASED = "released"
_POOL = 8
"""Batches whose dialogues are sorted by length."""


def _check_number(name: str, value: Any, below: float = float("inf")) -> None:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not (number and 0 <= value < below):
        raise InputError(f"{name} is a number in [0, {below:g}), got {value!r}.")


@dataclass(frozen=True)
class DialogueSettings:
    """How a conversation model is built and trained.

    The defaults are those that VEGA released for IEMOCAP.

    Parameters
    ----------
    hidden, heads : int
        Width of the network, an even number, and attention heads, which divide it.
    dropout, classifier_dropout, projection_dropout : float
        Of streams and transformers, of classifiers, and of projections to anchors.
    lr, weight_decay : float
        Of AdamW, without a schedule.
    batch_size : int
        Dialogues.
    epochs, patience : int
        The most epochs, and how many without a better weighted F1 of held-out
        dialogues end training; the best epoch is kept.
    zeroed : float
        Share of the features' dimensions that are 0 in training, drawn anew for each
        dialogue and modality, the same for all its utterances.
    class_weight : {"released", "balanced"}, mapping from label to float, or None
        "released" is VEGA's: the largest count over the class's own.
    count_held_out : bool
        Whether class weights count the held-out dialogues too, as VEGA's do those of
        its test part.
    objective : {"vega", "vega-detached", "even"} or VegaObjective
        What is minimised.
    standardize : bool
        Whether features are brought to mean 0 and deviation 1 of the training
        dialogues, which VEGA does not do.
    speakers : {"order", "names"}
        What the network knows of who speaks. "order": the first, second, ... person of
        this dialogue; people whom it never heard are no trouble. "names": the people of
        the training dialogues by name; all others are one.
    n_speakers : int
        How many are told apart; all further ones are the last.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from merclip.training import DialogueSettings
    >>> DialogueSettings.of("vega").hidden, DialogueSettings.of("practical").hidden
    (768, 128)
    >>> slower = replace(DialogueSettings.of("practical"), lr=1e-4)
    """

    hidden: int = 768
    heads: int = 4
    dropout: float = 0.53
    classifier_dropout: float = 0.3963
    projection_dropout: float = 0.37442
    lr: float = 9.84e-5
    weight_decay: float = 9.97e-3
    batch_size: int = 9
    epochs: int = 400
    patience: int = 31
    zeroed: float = 0.1
    class_weight: Any = RELEASED
    count_held_out: bool = False
    objective: str | VegaObjective = "vega"
    standardize: bool = False
    speakers: Literal["order", "names"] = "names"
    n_speakers: int = 9

    def __post_init__(self) -> None:
        for name in ("hidden", "heads", "batch_size", "epochs", "patience", "n_speakers"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"{name} is a whole number of at least 1, got {value!r}.")
        for name in ("dropout", "classifier_dropout", "projection_dropout", "zeroed"):
            _check_number(name, getattr(self, name), below=1.0)
        _check_number("lr", self.lr)
        _check_number("weight_decay", self.weight_decay)
        if self.speakers not in ("order", "names"):
            raise InputError(f"speakers is 'order' or 'names', got {self.speakers!r}.")
        VegaObjective.of(self.objective)

    @classmethod
    def of(cls, settings: str | DialogueSettings) -> DialogueSettings:
        """Return settings by name.

        Parameters
        ----------
        settings : {"practical", "vega"} or DialogueSettings
            "practical" is ours, found on the texts of MELD's training dialogues with
            features of the label encoder; "vega" is what VEGA released for IEMOCAP.

        Returns
        -------
        DialogueSettings

        Raises
        ------
        InputError
            There are no such settings.

        Examples
        --------
        >>> from merclip.training import DialogueSettings
        >>> DialogueSettings.of("vega").lr
        9.84e-05
        """
        if isinstance(settings, DialogueSettings):
            return settings
        if not isinstance(settings, str) or settings not in SETTINGS:
            raise InputError(
                f"settings is one of {sorted(SETTINGS)} or DialogueSettings, got {settings!r}."
            )
        return SETTINGS[settings]

    def to_dict(self) -> dict[str, Any]:
        """Return the values that differ from VEGA's, of built-in types where they are.

        Returns
        -------
        dict

        Examples
        --------
        >>> from merclip.training import DialogueSettings
        >>> DialogueSettings(hidden=64).to_dict()
        {'hidden': 64}
        """
        changed = {item.name: getattr(self, item.name) for item in fields(self)}
        defaults = {item.name: item.default for item in fields(self)}
        return {name: value for name, value in changed.items() if value != defaults[name]}


SETTINGS = {
    "vega": DialogueSettings(),
    "practical": DialogueSettings(
        hidden=128,
        dropout=0.3,
        classifier_dropout=0.3,
        projection_dropout=0.3,
        lr=5e-4,
        weight_decay=1e-2,
        batch_size=16,
        epochs=40,
        patience=6,
        class_weight=None,
        objective="even",
        standardize=True,
        speakers="order",
    ),
}


class EncodedDialogue(NamedTuple):
    """A dialogue as tensors.

    Attributes
    ----------
    features : dict from modality letter to Tensor of shape (n, width)
        0 where an utterance lacks the modality.
    speakers : Tensor of shape (n,), int64
    targets : Tensor of shape (n,), int64
        -1 for an utterance without a label.
    """

    features: dict[str, Tensor]
    speakers: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.speakers)


class DialogueTrainer:
    """Train a dialogue network, keeping the best epoch.

    Parameters
    ----------
    network : DialogueNetwork
        Trained in place.
    settings : DialogueSettings
    weights : ndarray of shape (k,)
        How much each class counts.
    source : {"labels", "anchors", "both"}
        What the held-out score is of.
    seed : int
    callbacks : sequence of Callback
    progress : bool

    Attributes
    ----------
    history : list of dict
        One line for each epoch: loss, val_loss, val_score (weighted F1), lr.
    stop : bool
        Set by callbacks.
    interrupted : bool
    """

    def __init__(
        self,
        network: DialogueNetwork,
        settings: DialogueSettings,
        weights: Array,
        *,
        source: Source = "labels",
        seed: int = 0,
        callbacks: Sequence[Callback] = (),
        progress: bool = False,
    ) -> None:
        self.network, self.settings = network, settings
        self.weights = torch.from_numpy(weights).to(network.device)
        self.objective = VegaObjective.of(settings.objective)
        self.temperatures = Temperatures(self.objective.temperature).to(network.device)
        self.source: Source = source
        self.seed, self.callbacks, self.progress = seed, list(callbacks), progress
        self.history: list[dict[str, Any]] = []
        self.stop = False
        self.interrupted = False
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self._waited = 0

    def fit(self, train: Sequence[EncodedDialogue], held_out: Sequence[EncodedDialogue]) -> None:
        """Run all epochs, then put the best one's weights in place.

        Without held-out dialogues the last epoch's weights stay.

        Raises
        ------
        DivergenceError
            The loss is no number any more, or a weight.
        """
        if self.settings.standardize:
            standardize(self.network, train)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        parameters += list(self.temperatures.parameters())
        adam = AdamW(parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay)
        with seeded(self.seed, self.network.device):
            try:
                self._epochs(train, held_out, adam)
                self._check_answers(train)
            except KeyboardInterrupt:
                self.interrupted = True
                logger.warning("Training was interrupted; the best state so far is kept.")
        if self._best is not None:
            self.network.load_state_dict(self._best[1])
        self.network.eval()
        for callback in self.callbacks:
            callback.on_fit_end(self)  # type: ignore[arg-type]

    def _epochs(
        self, train: Sequence[EncodedDialogue], held_out: Sequence[EncodedDialogue], adam: AdamW
    ) -> None:
        from tqdm.auto import tqdm

        for callback in self.callbacks:
            callback.on_fit_begin(self)  # type: ignore[arg-type]
        epochs = tqdm(range(self.settings.epochs), desc="fit", disable=not self.progress)
        for epoch in epochs:
            if self.stop or self._waited >= self.settings.patience:
                break
            for callback in self.callbacks:
                callback.on_epoch_begin(self, epoch)  # type: ignore[arg-type]
            loss = self._train_epoch(train, epoch, adam)
            record = {"epoch": epoch, "loss": loss, "lr": self.settings.lr}
            record.update(self._validate(held_out))
            self.history.append(record)
            self._offer(record["val_score"])
            shown = {"loss": f"{loss:.3f}", "weighted F1": record["val_score"]}
            epochs.set_postfix(shown)
            for callback in self.callbacks:
                callback.on_epoch_end(self, record)  # type: ignore[arg-type]

    def _train_epoch(self, train: Sequence[EncodedDialogue], epoch: int, adam: AdamW) -> float:
        self.network.train()
        losses = []
        for rows in _batches(
            [len(dialogue) for dialogue in train], self.settings, self.seed, epoch
        ):
            dialogues = [train[row] for row in rows]
            batch, targets = self._batch(dialogues)
            batch = batch._replace(features=self._augmented(batch.features))
            if not (targets != NO_LABEL).any():
                continue
            adam.zero_grad(set_to_none=True)
            loss = self._loss(self.network(batch), batch, targets, sampled=True)
            losses.append(float(loss.detach()))
            self._check_finite("the loss", losses[-1])
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            for callback in self.callbacks:
                callback.on_batch_end(self, len(losses), losses[-1])  # type: ignore[arg-type]
        return float(np.mean(losses))

    def _augmented(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        share, means = self.settings.zeroed, self.network.means
        return {
            letter: zero_dimensions(part, share, means[letter]) for letter, part in features.items()
        }

    def _loss(
        self, output: DialogueOutput, batch: DialogueBatch, targets: Tensor, *, sampled: bool
    ) -> Tensor:
        anchors, compared, places = self.network.anchors, None, None
        if anchors is not None:
            share = self.objective.sampling
            selected = anchors.draw(share) if sampled else anchors.selected()
            compared, places = self.network.anchor_logits(output, selected), anchors.places
        known = batch.mask & (targets != NO_LABEL)
        terms = vega_terms(
            output.logits,
            compared,
            targets,
            self.objective,
            self.temperatures,
            mask=known,
            present={letter: present(part) for letter, part in batch.features.items()},
            weights=self.weights[targets.clamp_min(0)],
            places=places,
        )
        return vega_loss(terms, self.objective)

    def _validate(self, held_out: Sequence[EncodedDialogue]) -> dict[str, Any]:
        if not held_out:
            return {"val_loss": None, "val_score": None}
        self.network.eval()
        losses, said, truth = [], [], []
        with torch.inference_mode():
            for start in range(0, len(held_out), self.settings.batch_size):
                batch, targets = self._batch(held_out[start : start + self.settings.batch_size])
                known = targets != NO_LABEL
                if not known.any():
                    continue
                output = self.network(batch)
                sampled = self.objective.sample_at_evaluation
                losses.append(float(self._loss(output, batch, targets, sampled=sampled)))
                found = dialogue_probabilities(self.network, output, self.source)
                said.append(found[known].argmax(dim=-1).cpu())
                truth.append(targets[known].cpu())
        if not losses:
            return {"val_loss": None, "val_score": None}
        self._check_finite("the loss of the held-out dialogues", loss := float(np.mean(losses)))
        return {"val_loss": loss, "val_score": _weighted_f1(truth, said)}

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            epoch = min(len(self.history) + 1, self.settings.epochs)
            raise DivergenceError(
                f"Training diverged: {what} is {value} in epoch {epoch}, with "
                f"lr={self.settings.lr:g}. Give settings with a lower lr; if it happens with a low "
                "one too, look at the scale of the features, or set standardize."
            )

    def _check_answers(self, train: Sequence[EncodedDialogue]) -> None:
        """Look at what the last step made, where no held-out loss came after it."""
        if self._best is not None:
            return
        self.network.eval()
        with torch.inference_mode():
            batch, _ = self._batch(train[: self.settings.batch_size])
            answers = self.network(batch).logits[FUSED]
        self._check_finite("an answer", float(answers.sum()))

    def _batch(self, dialogues: Sequence[EncodedDialogue]) -> tuple[DialogueBatch, Tensor]:
        batch = make_batch(dialogues, self.network)
        targets = nn.utils.rnn.pad_sequence(
            [dialogue.targets for dialogue in dialogues], batch_first=True, padding_value=NO_LABEL
        )
        return batch, targets.to(self.network.device)

    def _offer(self, score: float | None) -> None:
        if score is None:
            return
        self._waited += 1
        if self._best is None or score > self._best[0]:
            self._best = score, copy.deepcopy(self.network.state_dict())
            self._waited = 0


def make_batch(dialogues: Sequence[EncodedDialogue], network: DialogueNetwork) -> DialogueBatch:
    """Pad dialogues into a batch on the network's device."""
    letters = network.config.letters
    features = [{letter: item.features[letter] for letter in letters} for item in dialogues]
    speakers = [item.speakers for item in dialogues]
    return pad_dialogues(features, speakers, network.config.n_speakers).to(network.device)


def dialogue_probabilities(
    network: DialogueNetwork, output: DialogueOutput, source: Source
) -> Tensor:
    """Return the probability of each class, shape (B, n, k).

    "both" is the mean of the two. A class without anchors has probability 0 by anchors,
    and in the mean it keeps what labels say of it.
    """
    by_labels = output.logits[FUSED].double().softmax(dim=-1)
    if source == "labels":
        return by_labels
    anchors = network.anchors
    assert anchors is not None
    compared = network.anchor_logits(output, anchors.selected())[FUSED].double().softmax(dim=-1)
    # Anchors may be of other labels than the classifier's.
    by_anchors = compared.new_zeros(*compared.shape[:-1], len(anchors.present))
    by_anchors[..., anchors.present] = compared
    if source == "anchors":
        return by_anchors
    shared = by_labels[..., anchors.present].sum(dim=-1, keepdim=True)
    return torch.where(anchors.present, (by_labels + by_anchors * shared) / 2, by_labels)


def zero_dimensions(features: Tensor, share: float, mean: Tensor) -> Tensor:
    """Leave out some dimensions of each dialogue's features, the same for all its utterances.

    Parameters
    ----------
    features : Tensor of shape (B, n, width)
    share : float
    mean : Tensor of shape (width,)
        What takes their place: 0 unless features are standardised.
    """
    n_dialogues, _, width = features.shape
    # The places of the smallest of random numbers: exactly so many, without repeats.
    chosen = torch.rand(n_dialogues, width).argsort(dim=1)[:, : round(share * width)]
    keep = torch.ones(n_dialogues, width, dtype=torch.bool).scatter_(1, chosen, False)
    kept = keep[:, None].to(features.device) | ~present(features)[..., None]
    return torch.where(kept, features, mean)


def weights_of_classes(
    settings: DialogueSettings,
    classes: Array,
    train: Sequence[EncodedDialogue],
    held_out: Sequence[EncodedDialogue],
) -> Array:
    """Return one weight for each class, shape (k,), of counts of training utterances."""
    counted = [*train, *held_out] if settings.count_held_out else train
    targets = torch.cat([dialogue.targets for dialogue in counted]).numpy()
    targets = targets[targets != NO_LABEL]
    if isinstance(settings.class_weight, str) and settings.class_weight == RELEASED:
        return released_class_weights(np.bincount(targets, minlength=len(classes)))
    return class_weights(settings.class_weight, targets, classes)


def standardize(network: DialogueNetwork, train: Sequence[EncodedDialogue]) -> None:
    """Bring the features of training utterances to mean 0 and deviation 1."""
    for letter in network.config.letters:
        rows = torch.cat([dialogue.features[letter] for dialogue in train])
        rows = rows[present(rows)]
        if len(rows) > 1:
            deviation, mean = torch.std_mean(rows, dim=0)
            network.set_standard(letter, mean, deviation)


def _batches(
    lengths: Sequence[int], settings: DialogueSettings, seed: int, epoch: int
) -> list[list[int]]:
    """Return the dialogues of each batch, those of like length together, in random order."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths)).tolist()
    size, pool = settings.batch_size, _POOL * settings.batch_size
    batches = []
    for start in range(0, len(order), pool):
        # Half of what goes through the network would be padding otherwise.
        near = sorted(order[start : start + pool], key=lengths.__getitem__)
        batches += [near[first : first + size] for first in range(0, len(near), size)]
    return [batches[place] for place in generator.permutation(len(batches))]


def _weighted_f1(truth: list[Tensor], said: list[Tensor]) -> float:
    from sklearn.metrics import f1_score

    pair = torch.cat(truth).numpy(), torch.cat(said).numpy()
    return float(f1_score(*pair, average="weighted", zero_division=0))
