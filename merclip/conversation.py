"""ConversationClassifier: emotions of utterances, with memory of what was said before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

from merclip._files import placed, told
from merclip._random import seeded
from merclip._shown import shown
from merclip._warn import warn
from merclip.anchors import AnchorsLike, anchors_of, check_names, embedded, listed
from merclip.classifier import EmotionClassifier
from merclip.dialogues import LETTERS, NAMELESS, Dialogue, as_dialogues, called
from merclip.engine import choose_device
from merclip.errors import (
    DivergenceError,
    InputError,
    InputTypeError,
    LabelError,
    ModalityWarning,
    NotFittedError,
)
from merclip.hub import placed_model
from merclip.labels import LabelSet, LabelsLike, by_name, encode_targets, names_in
from merclip.network.anchors import Anchors
from merclip.network.dialogue import DialogueConfig, DialogueNetwork
from merclip.network.dialogue_file import load_dialogue_network, save_dialogue_network
from merclip.parameters import seed_of
from merclip.preprocess import MODALITIES, ClipFeatures, FeatureCache, Features, pad_features
from merclip.results import Prediction
from merclip.rows import encoding, readable
from merclip.training.callbacks import Callback
from merclip.training.dialogues import (
    NO_LABEL,
    DialogueSettings,
    DialogueTrainer,
    EncodedDialogue,
    dialogue_probabilities,
    make_batch,
    weights_of_classes,
)
from merclip.types import ClipLike

if TYPE_CHECKING:
    from typing_extensions import Self

    from merclip.evaluation import Report

Array = np.ndarray[Any, Any]
Dialogues: TypeAlias = Iterable[Dialogue]
Source: TypeAlias = Literal["labels", "anchors", "both"]
WORDS = "labels"
"""Value of `anchors` that takes the words of labels for pictures."""
MEASURES = ("accuracy", "weighted_f1", "weighted_precision")
_TOGETHER = 16
"""Dialogues that go through the network at once in prediction."""


class ConversationClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Emotion classifier for conversations, which knows what was said before.

    The network is the backbone of VEGA (Hu, Kollias and Yang, arXiv 2508.06564): for
    each pair of modalities one transformer over the utterances, gates, and a fusion
    that weighs modalities element by element. It works on one embedding of each
    utterance and modality, of merclip's own encoders or given as arrays.

    Parameters
    ----------
    labels : sequence of str or mapping, optional
        As for `EmotionClassifier`; None takes those that `fit` sees.
    model : str, path, EmotionClassifier or None
        Whose encoders make features of clips: "mini", a directory, a name on the Hub,
        or a classifier that is used as it is. None where dialogues are of arrays. Only
        loaded when a dialogue is of clips.
    modalities : sequence of str, optional
        Some of "text", "audio" and "video"; by default all that the training dialogues
        have.
    causal : bool
        Whether an utterance takes in only itself and what was said before it.
    anchors : mapping from label to pictures, path, "labels" or None
        Adds VEGA's branch, which brings utterances near to anchors. Pictures as for
        `EmotionClassifier`, embedded by the image tower of `model`; a mapping from
        label to an array of embeddings of shape (n, D); or "labels" for the words of
        labels, embedded by its label encoder, with which `with_labels` can
        name other emotions later.
    predict_from : {"labels", "anchors", "both"}
        Whether the classifier answers (as in VEGA's code), what is nearest among
        anchors, or the mean of both.
    settings : {"practical", "vega"} or DialogueSettings
        How the network is built and trained.
    validation : float
        Share of the training dialogues on which the best epoch is chosen, in [0, 1).
    context : bool
        False cuts each utterance off from all others, to see what they are worth.
    callbacks : list of Callback, optional
    feature_cache : path or FeatureCache, optional
        As for `EmotionClassifier`.
    device : str or torch.device, optional
    random_state : int, RandomState or None
    verbose : int
        1 shows progress bars.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        Sorted labels: the columns of every array.
    labels_ : LabelSet
        Labels in the user's order.
    modalities_ : tuple of str
        What the network takes.
    history_ : list of dict
        One line for each epoch: loss, val_loss, val_score (weighted F1), lr.
    network_ : DialogueNetwork
    speakers_ : tuple of str
        With ``speakers="names"`` in the settings, those that are known.
    interrupted_ : bool
        Whether the last fit was ended by a keyboard interrupt.

    Examples
    --------
    >>> from merclip import ConversationClassifier, Dialogue
    >>> from merclip.training import DialogueSettings
    >>> talks = [
    ...     Dialogue(["We won!", "Great!"], ["ana", "ben"], ["joy", "joy"]),
    ...     Dialogue(["He died.", "Oh no."], ["ana", "ben"], ["sadness", "sadness"]),
    ... ]
    >>> small = DialogueSettings(hidden=16, epochs=3)
    >>> clf = ConversationClassifier(settings=small, validation=0, random_state=0).fit(talks)
    >>> clf.classes_.tolist(), clf.predict(talks[0]).shape
    (['joy', 'sadness'], (2,))
    """

    def __init__(
        self,
        labels: LabelsLike | None = None,
        *,
        model: str | os.PathLike[str] | EmotionClassifier | None = "mini",
        modalities: Sequence[str] | None = None,
        causal: bool = False,
        anchors: AnchorsLike | Mapping[Any, Any] | Literal["labels"] | None = None,
        predict_from: Source = "labels",
        settings: str | DialogueSettings = "practical",
        validation: float = 0.1,
        context: bool = True,
        callbacks: Sequence[Callback] | None = None,
        feature_cache: str | os.PathLike[str] | FeatureCache | None = None,
        device: str | torch.device | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.labels = labels
        self.model = placed_model(model)
        self.modalities = modalities
        self.causal = causal
        self.anchors = placed(anchors, lambda path: path != WORDS and os.path.isdir(path))
        self.predict_from = predict_from
        self.settings = settings
        self.validation = validation
        self.context = context
        self.callbacks = callbacks
        self.feature_cache = feature_cache
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # Learning ---------------------------------------------------------------

    def fit(
        self,
        X: Dialogue | Dialogues,
        y: Sequence[Any] | None = None,
        *,
        held_out: Dialogue | Dialogues | None = None,
    ) -> Self:
        """Learn from labelled dialogues.

        Parameters
        ----------
        X : list of Dialogue
        y : list of sequences, optional
            The labels of each dialogue's utterances, None for one without; by default
            the dialogues' own.
        held_out : list of Dialogue, optional
            On which the best epoch is chosen, such as an official part; by default
            `validation` of the training dialogues.

        Returns
        -------
        self

        Raises
        ------
        LabelError
            `y` has labels that `labels` lacks, or one class alone.
        InputError
            Dialogues and labels do not fit together, or dialogues have different features.
        DivergenceError
            The loss became infinite or no number; nothing was learned.

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> rows = {"audio": np.eye(4)}
        >>> talks = [Dialogue(rows, labels=["calm", "tense", "tense", None])] * 3
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> clf.fit(talks).modalities_
        ('audio',)
        """
        self._check_parameters()
        dialogues = _with_labels(as_dialogues(X), y)
        others = [] if held_out is None else _with_labels(as_dialogues(held_out), None)
        self.labels_ = self._label_set([*dialogues, *others])
        self._fix_inputs([*dialogues, *others])
        encoded = self._encode([*dialogues, *others], learn=True)
        train, validation = encoded[: len(dialogues)], encoded[len(dialogues) :]
        if held_out is None:
            train, validation = self._held_out(train)
        if not train:
            raise InputError(f"validation={self.validation} leaves no dialogue to learn from.")
        targets = torch.cat([dialogue.targets for dialogue in train])
        if len(np.unique(targets[targets != NO_LABEL].numpy())) < 2:
            raise LabelError("The training dialogues have one class alone, or no label.")
        self.network_ = self._new_network(train[0])
        self._train(train, validation)
        return self

    # Predicting -------------------------------------------------------------

    @overload
    def predict(self, X: Dialogue) -> Array: ...
    @overload
    def predict(self, X: Dialogues) -> list[Array]: ...
    def predict(self, X: Dialogue | Dialogues) -> Array | list[Array]:
        """Return the label of each utterance.

        Parameters
        ----------
        X : Dialogue, or list of Dialogue

        Returns
        -------
        ndarray of shape (n,), or for a list a list of them

        Raises
        ------
        NotFittedError
            `fit` has not been called.
        InputError
            Features of another width, or a modality that no utterance has.

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> [labels.shape for labels in clf.fit([talk] * 3).predict([talk, talk[:1]])]
        [(2,), (1,)]
        """
        found = self.predict_proba(X)
        if isinstance(found, list):
            return [self.classes_[rows.argmax(axis=1)] for rows in found]
        labels: Array = self.classes_[found.argmax(axis=1)]
        return labels

    @overload
    def predict_proba(self, X: Dialogue) -> Array: ...
    @overload
    def predict_proba(self, X: Dialogues) -> list[Array]: ...
    def predict_proba(self, X: Dialogue | Dialogues) -> Array | list[Array]:
        """Return the probability of each label for each utterance.

        Parameters
        ----------
        X : Dialogue, or list of Dialogue

        Returns
        -------
        ndarray of shape (n, k), float64, or for a list a list of them
            Columns follow `classes_`.

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> clf.fit([talk] * 3).predict_proba(talk).sum(axis=1).round(6).tolist()
        [1.0, 1.0]
        """
        self._check_fitted()
        dialogues = as_dialogues(X)
        encoded = self._encode(dialogues)
        # Dialogues of like length go together, so that little is padding.
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
        found: list[Array] = [np.empty(0)] * len(encoded)
        for start in range(0, len(order), _TOGETHER):
            rows = order[start : start + _TOGETHER]
            for row, probability in zip(
                rows, self._forward([encoded[r] for r in rows]), strict=True
            ):
                found[row] = probability
        return found[0] if isinstance(X, Dialogue) else found

    def stream(self, *, memory: int = 512) -> ConversationStream:
        """Return a conversation that goes on, told one utterance after another.

        Parameters
        ----------
        memory : int
            Utterances that are remembered; older ones are forgotten.

        Returns
        -------
        ConversationStream

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> small = DialogueSettings(hidden=8, epochs=2)
        >>> clf = ConversationClassifier(model=None, causal=True, settings=small).fit([talk] * 3)
        >>> stream = clf.stream()
        >>> said = [stream.hear({"text": row[None]}, "ana").label for row in np.eye(2)]
        >>> said == clf.predict(talk).tolist()
        True
        """
        self._check_fitted()
        return ConversationStream(self, memory)

    def with_labels(self, labels: LabelsLike) -> Self:
        """Return a classifier for other labels, which shares the weights.

        Only anchors are open to labels that were not trained on, so this needs
        ``anchors="labels"``, and answers from them.

        Parameters
        ----------
        labels : as the parameter `labels`

        Returns
        -------
        ConversationClassifier

        Raises
        ------
        InputError
            The classifier was trained without ``anchors="labels"``.

        Examples
        --------
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue(["We won!", "He died."], labels=["joy", "sadness"])
        >>> small = DialogueSettings(hidden=16, epochs=2)
        >>> clf = ConversationClassifier(anchors="labels", settings=small).fit([talk] * 3)
        >>> clf.with_labels(["bored", "delighted", "upset"]).predict_proba(talk).shape
        (2, 3)
        """
        self._check_fitted()
        if not self._anchored_by_words or self.network_.anchors is None:
            raise InputError(
                'Other labels need a branch of words: fit with anchors="labels" first.'
            )
        other: Self = type(self)(**{**self.get_params(deep=False), "predict_from": "anchors"})
        other.__dict__.update(
            {k: v for k, v in vars(self).items() if k.endswith("_") or k[:1] == "_"}
        )
        other.labels = labels
        other.labels_ = other._enough(LabelSet.of(labels))
        other.network_ = self.network_.with_anchors(Anchors(other._words(other.labels_)))
        return other

    # Measuring --------------------------------------------------------------

    def score(
        self,
        X: Dialogue | Dialogues,
        y: Sequence[Any] | None = None,
        *,
        metric: Literal["accuracy", "weighted_f1", "weighted_precision"] = "accuracy",
    ) -> float:
        """Return a measure over all labelled utterances.

        Parameters
        ----------
        X : list of Dialogue
        y : list of sequences, optional
            As for `fit`.
        metric : {"accuracy", "weighted_f1", "weighted_precision"}
            The field compares by weighted F1. VEGA's code calls weighted precision
            accuracy; here each has its own name.

        Returns
        -------
        float
            In [0, 1].

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> 0 <= clf.fit([talk] * 3).score([talk], metric="weighted_f1") <= 1
        True
        """
        if metric not in MEASURES:
            raise InputError(f"metric is one of {list(MEASURES)}, got {shown(metric)}.")
        return float(self.evaluate(X, y).metrics[metric])

    def evaluate(self, X: Dialogue | Dialogues, y: Sequence[Any] | None = None) -> Report:
        """Measure the classifier on labelled dialogues.

        Parameters
        ----------
        X : list of Dialogue
        y : list of sequences, optional
            As for `fit`. Utterances without a label are context alone.

        Returns
        -------
        Report
            Weighted F1, accuracy and the other measures over utterances, and
            ``weighted_precision`` beside them.

        Raises
        ------
        LabelError
            No utterance has a label, or one has a label that is not known.

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> report = clf.fit([talk] * 3).evaluate([talk])
        >>> report.n_clips, "weighted_f1" in report.metrics
        (2, True)
        """
        from merclip.evaluation.conversations import report_of_dialogues

        self._check_fitted()
        dialogues = _with_labels(as_dialogues(X), y)
        targets = [self._targets(dialogue) for dialogue in dialogues]
        settings = DialogueSettings.of(self.settings)
        return report_of_dialogues(
            dialogues,
            targets,
            self.predict_proba(dialogues),
            self.labels_,
            {
                "name": "conversation",
                "features": str(self.model),
                "causal": bool(self.causal),
                "settings": settings.to_dict(),
            },
        )

    # Saving -----------------------------------------------------------------

    def save_pretrained(self, directory: str | os.PathLike[str]) -> Path:
        """Write ``config.json`` and ``model.safetensors``; no code is in them.

        The encoders are named and not stored: a model of your own has to be where it was,
        or is given to `from_pretrained`.

        Parameters
        ----------
        directory : path
            Made if it does not exist.

        Returns
        -------
        Path
            The directory.

        Raises
        ------
        InputError
            The directory has files of these names that are not a conversation's.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     sorted(os.listdir(clf.fit([talk] * 3).save_pretrained(directory)))
        ['config.json', 'model.safetensors']
        """
        self._check_fitted()
        named = isinstance(self.model, (str, os.PathLike))
        values = {
            "labels": [[name, texts] for name, texts in self.labels_.to_dict().items()],
            "model": told(self.model) if named else None,
            "origin": self._origin,
            "predict_from": self.predict_from,
            "anchored_by_words": self._anchored_by_words,
            "speakers": "names" if self._by_name else "order",
            "known_speakers": list(self.speakers_),
        }
        return save_dialogue_network(self.network_, values, Path(directory))

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike[str], **params: Any) -> Self:
        """Read what `save_pretrained` wrote, or the weights that VEGA gives out.

        Parameters
        ----------
        directory : path
            A directory, or VEGA's own file (``IEMOCAP.pth``), of which tensors alone are
            read. It takes dialogues as `load_vega_features` makes them, and has no anchors.
        **params
            Parameters to set, such as ``model=`` for encoders that lie elsewhere.

        Returns
        -------
        ConversationClassifier

        Raises
        ------
        CheckpointError
            A file is missing, broken, or not a conversation's.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     again = clf.from_pretrained(clf.fit([talk] * 3).save_pretrained(directory))
        >>> again.predict(talk).tolist() == clf.predict(talk).tolist()
        True
        """
        network, values = load_dialogue_network(Path(directory))
        config = network.config
        settings = replace(
            DialogueSettings.of("practical"),
            hidden=config.hidden,
            heads=config.heads,
            dropout=config.dropout,
            classifier_dropout=config.classifier_dropout,
            projection_dropout=config.projection_dropout,
            speakers=values["speakers"],
            n_speakers=config.n_speakers,
        )
        stored = {
            "model": values["model"],
            "causal": config.causal,
            "context": config.context,
            "predict_from": values["predict_from"],
            "settings": settings,
        }
        made = cls(**{**stored, **params})
        made._check_parameters()
        made.labels_ = LabelSet.of({name: texts for name, texts in values["labels"]})
        made.speakers_ = tuple(values["known_speakers"])
        made._by_name = values["speakers"] == "names"
        made._origin = values["origin"]
        made._anchored_by_words = values["anchored_by_words"]
        made.network_ = network.to(choose_device(made.device))
        made.history_, made.interrupted_ = [], False
        return made

    # State that scikit-learn and users look at --------------------------------

    @property
    def classes_(self) -> Array:
        """Sorted labels."""
        self._check_fitted()
        return self.labels_.classes

    @property
    def modalities_(self) -> tuple[str, ...]:
        """What the network takes."""
        self._check_fitted()
        return tuple(MODALITIES[letter] for letter in self.network_.config.letters)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    # How it works inside ------------------------------------------------------

    def _check_parameters(self) -> None:
        DialogueSettings.of(self.settings)
        if self.predict_from not in ("labels", "anchors", "both"):
            raise InputError(
                f"predict_from is 'labels', 'anchors' or 'both', got {shown(self.predict_from)}."
            )
        if not isinstance(self.validation, (int, float)) or not 0 <= self.validation < 1:
            raise InputError(f"validation is a share in [0, 1), got {shown(self.validation)}.")
        if isinstance(self.modalities, str):
            raise InputTypeError(f"modalities is a list such as [{self.modalities!r}].")
        unknown = [name for name in self.modalities or () if name not in LETTERS]
        if unknown or (self.modalities is not None and not len(self.modalities)):
            raise InputError(f"modalities are some of {sorted(LETTERS)}, got {self.modalities!r}.")

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise NotFittedError("This ConversationClassifier has not learned yet: call fit.")

    def _label_set(self, dialogues: Sequence[Dialogue]) -> LabelSet:
        if self.labels is not None:
            return self._enough(LabelSet.of(self.labels))
        names = [n for dialogue in dialogues for n in dialogue.labels or () if n is not None]
        if not names:
            raise LabelError("No utterance has a label: give y, or Dialogue(labels=...).")
        return self._enough(LabelSet.learned(names_in(sorted(set(names), key=str), False)))

    def _enough(self, labels: LabelSet) -> LabelSet:
        if len(labels) < 2:
            raise LabelError("One-of-n needs at least two labels.")
        return labels

    def _fix_inputs(self, dialogues: Sequence[Dialogue]) -> None:
        """Settle, before anything is encoded, what all later dialogues go by."""
        settings = DialogueSettings.of(self.settings)
        names = sorted({str(name) for dialogue in dialogues for name in dialogue.speakers})
        self._by_name = settings.speakers == "names"
        # The last number is for whoever is not known.
        self.speakers_ = tuple(names[: settings.n_speakers - 1]) if self._by_name else ()
        self._origin: str | None = None
        self._anchored_by_words = False
        self.__dict__.pop("network_", None)

    def _held_out(
        self, encoded: list[EncodedDialogue]
    ) -> tuple[list[EncodedDialogue], list[EncodedDialogue]]:
        count = round(self.validation * len(encoded))
        order = np.random.default_rng(seed_of(self.random_state)).permutation(len(encoded))
        kept = [encoded[row] for row in sorted(order[count:])]
        return kept, [encoded[row] for row in sorted(order[:count])]

    def _new_network(self, example: EncodedDialogue) -> DialogueNetwork:
        settings = DialogueSettings.of(self.settings)
        config = DialogueConfig(
            {letter: part.shape[1] for letter, part in example.features.items()},
            n_classes=len(self.labels_),
            n_speakers=settings.n_speakers,
            hidden=settings.hidden,
            heads=settings.heads,
            dropout=settings.dropout,
            classifier_dropout=settings.classifier_dropout,
            projection_dropout=settings.projection_dropout,
            causal=bool(self.causal),
            context=bool(self.context),
        )
        anchors = self._anchors()
        if anchors is None and self.predict_from != "labels":
            raise InputError(f"predict_from={self.predict_from!r} needs anchors=.")
        with seeded(seed_of(self.random_state)):
            return DialogueNetwork(config, anchors).to(choose_device(self.device))

    def _train(self, train: list[EncodedDialogue], held_out: list[EncodedDialogue]) -> None:
        settings = DialogueSettings.of(self.settings)
        trainer = DialogueTrainer(
            self.network_,
            settings,
            weights_of_classes(settings, self.labels_.classes, train, held_out),
            source=self.predict_from,
            seed=seed_of(self.random_state),
            callbacks=list(self.callbacks or ()),
            progress=bool(self.verbose),
        )
        try:
            trainer.fit(train, held_out)
        except DivergenceError:
            del self.network_  # of no use to anybody, and not to be saved
            raise
        self.history_, self.interrupted_ = trainer.history, trainer.interrupted

    def _anchors(self) -> Anchors | None:
        if self.anchors is None:
            return None
        classes = self.labels_.classes.tolist()
        if isinstance(self.anchors, str) and self.anchors == WORDS:
            self._anchored_by_words = True
            return Anchors(self._words(self.labels_))
        if isinstance(self.anchors, Mapping) and any(map(_is_embedding, self.anchors.values())):
            check_names(self.anchors, self.labels_)
            given = by_name(self.anchors)
            return anchors_of({n: _embeddings(n, v) for n, v in given.items()}, classes)
        pictures = listed(self.anchors)
        check_names(pictures, self.labels_)
        encoder = self._encoder()
        engine = encoder._ready().engine
        return anchors_of(embedded(engine, pictures, encoder._reading()), classes)

    def _words(self, labels: LabelSet) -> list[Tensor]:
        """Return for each class the embeddings of its descriptions, as exemplars."""
        engine = self._encoder()._ready().engine
        rows = [
            engine.label_embeddings(LabelSet.of({"label": text}), ["{}"], "warn")
            for texts in labels.in_class_order()
            for text in texts
        ]
        counts = [len(texts) for texts in labels.in_class_order()]
        return list(torch.split(torch.cat(rows).cpu().clone(), counts))

    def _encoder(self) -> EmotionClassifier:
        if isinstance(self.model, EmotionClassifier):
            return self.model
        if self.model is None:
            raise InputError(
                "Clips, and anchors that are pictures or words, need encoders: set model=, such "
                "as model='mini'. Without one an utterance, or an anchor, is given as floats of "
                "shape (n, width)."
            )
        if getattr(self, "_made_encoder", (None, None))[0] != self.model:
            made = EmotionClassifier(
                ["a", "b"],
                model=self.model,
                feature_cache=self.feature_cache,
                device=self.device,
                verbose=self.verbose,
            )
            self._made_encoder = (self.model, made)
        encoder: EmotionClassifier = self._made_encoder[1]
        return encoder

    def _encode(
        self, dialogues: Sequence[Dialogue], *, learn: bool = False
    ) -> list[EncodedDialogue]:
        """Return dialogues as tensors, their clips encoded together."""
        parts = self._feature_parts(dialogues)
        letters = self._letters(parts)
        self._warn_of_unused(parts, letters)
        widths = self._widths(parts[0])
        return [
            EncodedDialogue(
                _checked(given, letters, name, widths),
                self._speakers(dialogue),
                torch.from_numpy(self._targets(dialogue) if learn else _unknown(dialogue)),
            )
            for name, dialogue, given in zip(called(dialogues), dialogues, parts, strict=True)
        ]

    def _feature_parts(self, dialogues: Sequence[Dialogue]) -> list[dict[str, Tensor]]:
        pairs = zip(called(dialogues), dialogues, strict=True)
        of_clips = [(name, d) for name, d in pairs if not isinstance(d.utterances, dict)]
        if not of_clips:
            return [_tensors(dialogue) for dialogue in dialogues]
        made = iter(self._embeddings(of_clips))
        return [
            _tensors(dialogue) if isinstance(dialogue.utterances, dict) else next(made)
            for dialogue in dialogues
        ]

    def _embeddings(self, dialogues: Sequence[tuple[str, Dialogue]]) -> list[dict[str, Tensor]]:
        """Return for each modality the global embedding of each utterance of named dialogues."""
        encoder = self._encoder()
        engine = encoder._ready().engine
        origin = engine.fingerprint()
        if self._origin is not None and self._origin != origin:
            raise InputError(
                "This conversation model was trained on features of other encoders: give them as "
                "model=."
            )
        self._origin = origin
        clips = [
            clip
            for name, dialogue in dialogues
            if not isinstance(dialogue.utterances, Features)
            for clip in _placed(name, dialogue)
        ]
        fresh = iter(_encoded(encoder, clips) if clips else ())
        found = []
        for _, dialogue in dialogues:
            given = dialogue.utterances
            if isinstance(given, Features):
                rows = encoder._read(given)
            else:
                rows = [next(fresh) for _ in range(len(dialogue))]
            found.append(_global(engine.network, rows))
        return found

    def _letters(self, parts: Sequence[Mapping[str, Tensor]]) -> str:
        if hasattr(self, "network_"):
            return self.network_.config.letters
        if self.modalities is not None:
            return "".join(LETTERS[name] for name in self.modalities)
        return "".join(
            letter
            for letter in MODALITIES
            if any(letter in given and bool(given[letter].any()) for given in parts)
        )

    def _warn_of_unused(self, parts: Sequence[Mapping[str, Tensor]], letters: str) -> None:
        """Say which modalities are left out because nothing was learned of them."""
        if self.modalities is not None or not hasattr(self, "network_"):
            return
        given = {letter for part in parts for letter, rows in part.items() if bool(rows.any())}
        unused = [name for letter, name in MODALITIES.items() if letter in given - set(letters)]
        if unused:
            learned = [MODALITIES[letter] for letter in letters]
            message = (
                f"This model learned from dialogues with {' and '.join(learned)} alone: "
                f"{' and '.join(unused)} of these utterances has no say. Fit on dialogues that "
                "have it."
            )
            warn(ModalityWarning(message))

    def _widths(self, first: Mapping[str, Tensor]) -> Mapping[str, int]:
        if hasattr(self, "network_"):
            return self.network_.config.widths
        return {letter: part.shape[1] for letter, part in first.items()}

    def _speakers(self, dialogue: Dialogue) -> Tensor:
        names = [str(name) for name in dialogue.speakers]
        return self._numbers(names, tuple(dict.fromkeys(names)))

    def _numbers(self, names: Sequence[str], order: Sequence[str]) -> Tensor:
        """Return the number of each utterance's speaker; `order` is who spoke first, second, ..."""
        known = self.speakers_ if self._by_name else order
        numbers = {name: number for number, name in enumerate(known)}
        # What was fitted counts, whatever the settings say since.
        fitted = hasattr(self, "network_")
        settings = self.network_.config if fitted else DialogueSettings.of(self.settings)
        last = settings.n_speakers - 1
        return torch.tensor([min(numbers.get(name, last), last) for name in names])

    def _targets(self, dialogue: Dialogue) -> Array:
        targets = _unknown(dialogue)
        labels = dialogue.labels or ()
        known = [row for row, name in enumerate(labels) if name is not None]
        if known:
            targets[known] = encode_targets([labels[row] for row in known], self.labels_.classes)
        return targets

    def _forward(self, encoded: Sequence[EncodedDialogue]) -> Iterator[Array]:
        network = self.network_
        if self.predict_from != "labels" and network.anchors is None:
            raise InputError(f"predict_from={shown(self.predict_from)} needs anchors=, and a fit.")
        if network.training:  # each of its hundred parts is asked otherwise
            network.eval()
        with torch.inference_mode():
            output = network(make_batch(encoded, network))
            rows = dialogue_probabilities(network, output, self.predict_from).cpu()
        for dialogue, probability in zip(encoded, rows, strict=True):
            yield probability[: len(dialogue)].numpy()


class ConversationStream:
    """A conversation that goes on; made by `ConversationClassifier.stream`.

    An utterance goes through the encoders once. What is answered of one is never taken
    back; with ``causal=True`` it is also what `predict` answers of the whole.

    Parameters
    ----------
    classifier : ConversationClassifier
    memory : int
        Utterances that are remembered; older ones are forgotten.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip import ConversationClassifier, Dialogue
    >>> from merclip.training import DialogueSettings
    >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
    >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
    >>> stream = clf.fit([talk] * 3).stream()
    >>> prediction = stream.hear({"text": np.ones((1, 2))}, "ana")
    >>> list(prediction), len(stream)
    (['calm', 'tense'], 1)
    """

    def __init__(self, classifier: ConversationClassifier, memory: int = 512) -> None:
        if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
            raise InputError(f"memory is a whole number of at least 1, got {shown(memory)}.")
        self.classifier = classifier
        self.memory = memory
        self._heard: list[dict[str, Tensor]] = []
        self._speakers: list[str] = []
        self._order: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def hear(self, utterance: ClipLike | str | Mapping[str, Any], speaker: Any = "") -> Prediction:
        """Take in the next utterance, and return its emotion.

        Parameters
        ----------
        utterance : str, Clip, dict, or mapping from modality to array of shape (1, width)
        speaker : str or int
            Who says it.

        Returns
        -------
        Prediction

        Raises
        ------
        MerclipError
            The utterance cannot be read; then the stream goes on without it.

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import ConversationClassifier, Dialogue
        >>> from merclip.training import DialogueSettings
        >>> talk = Dialogue({"text": np.eye(2)}, labels=["calm", "tense"])
        >>> clf = ConversationClassifier(model=None, settings=DialogueSettings(hidden=8, epochs=2))
        >>> clf.fit([talk] * 3).stream().hear({"text": np.ones((1, 2))}, "ana").modalities_used
        ('text',)
        """
        given: Any = utterance if _is_features(utterance) else [utterance]
        dialogue = Dialogue(given)
        if len(dialogue) != 1:
            raise InputError(f"A stream hears one utterance at a time, got {len(dialogue)}.")
        encoded = self.classifier._encode([dialogue])[0]
        self._heard.append(encoded.features)
        self._speakers.append(str(speaker))
        self._order.setdefault(str(speaker))
        del self._heard[: -self.memory], self._speakers[: -self.memory]
        probability = next(iter(self.classifier._forward([self._so_far()])))[-1]
        return self._prediction(probability, encoded.features)

    def _so_far(self) -> EncodedDialogue:
        features = {
            letter: torch.cat([part[letter] for part in self._heard]) for letter in self._heard[0]
        }
        speakers = self.classifier._numbers(self._speakers, tuple(self._order))
        return EncodedDialogue(features, speakers, torch.full((len(self),), NO_LABEL))

    def _prediction(self, probability: Array, features: Mapping[str, Tensor]) -> Prediction:
        labels = self.classifier.labels_
        scores = dict(zip(labels.classes.tolist(), probability.tolist(), strict=True))
        best = labels.classes[probability.argmax()].item()
        used = tuple(MODALITIES[letter] for letter, part in features.items() if bool(part.any()))
        return Prediction(best, {name: scores[name] for name in labels.names}, (best,), used)


def _is_features(value: Any) -> bool:
    """Tell features from a clip that is a dictionary."""
    return isinstance(value, Mapping) and all(
        name in LETTERS and getattr(part, "ndim", 0) == 2 for name, part in value.items()
    )


def _is_embedding(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 2 and str(value.dtype).removeprefix("torch.")[:5] == "float"


def _embeddings(name: Any, value: Any) -> Tensor:
    """Return the embeddings of an anchor, each with a direction.

    Raises
    ------
    InputError
    """
    if not _is_embedding(value):
        raise InputError(
            "Anchors are all embeddings, of floats of shape (n, width), or all pictures: that of "
            f"{shown(name)} is no embedding."
        )
    rows = torch.as_tensor(np.asarray(value)).float()
    if not (rows.isfinite().all() and rows.any(dim=-1).all()):
        raise InputError(f"The embeddings of {shown(name)} are finite numbers, and none is all 0.")
    return rows


def _unknown(dialogue: Dialogue) -> Array:
    return np.full(len(dialogue), NO_LABEL, dtype=np.int64)


def _with_labels(dialogues: list[Dialogue], y: Sequence[Any] | None) -> list[Dialogue]:
    """Return dialogues with labels of their own, or with those of `y`."""
    if y is None:
        return dialogues
    if len(y) != len(dialogues):
        raise InputError(f"X has {len(dialogues)} dialogues and y has labels of {len(y)}.")
    return [dialogue.with_labels(labels) for dialogue, labels in zip(dialogues, y, strict=True)]


def _tensors(dialogue: Dialogue) -> dict[str, Tensor]:
    assert isinstance(dialogue.utterances, dict)
    return {letter: torch.from_numpy(part) for letter, part in dialogue.utterances.items()}


def _placed(name: str, dialogue: Dialogue) -> Iterable[Any]:
    """Return a dialogue's clips, called by their dialogue and their place in it."""
    clips: Iterable[Any] = dialogue.utterances
    if name == NAMELESS:
        return clips
    return [
        replace(clip, id=", ".join(filter(None, [name, f"utterance {place}", clip.name])))
        for place, clip in enumerate(clips)
    ]


def _encoded(encoder: EmotionClassifier, clips: list[Any]) -> Sequence[ClipFeatures]:
    """Encode utterances; one that cannot be read is an error, or keeps an empty turn."""
    reading = encoder._reading(for_training=True)
    rows = list(
        encoding(
            encoder._ready().engine.encode(clips, reading), len(clips), bar=bool(encoder.verbose)
        )
    )
    if reading.on_error != "raise":
        readable(rows, "taken as silent")
    return rows


def _global(network: Any, rows: Sequence[ClipFeatures]) -> dict[str, Tensor]:
    """Return each modality's global embedding of utterances, 0 where one lacks it."""
    with torch.inference_mode():
        found = network.global_embeddings(pad_features(rows, network.device))
    empty = torch.zeros(len(rows), network.config.width)
    # Made anew: tensors of inference mode cannot be trained on.
    return {
        letter: found[letter].float().cpu().clone() if letter in found else empty
        for letter in network.config.fusion
    }


def _checked(
    given: Mapping[str, Tensor], letters: str, name: str, widths: Mapping[str, int]
) -> dict[str, Tensor]:
    """Return those features of the dialogue of this name that a network takes.

    Raises
    ------
    InputError
        One is not there, or has another width.
    """
    lacking = [MODALITIES[letter] for letter in letters if letter not in given]
    if lacking or not letters:
        raise InputError(
            f"{name} has no features of {lacking or 'any modality'}; it has "
            f"{[MODALITIES[letter] for letter in given]}."
        )
    for letter in letters:
        width = given[letter].shape[1]
        if width != widths.get(letter, width):
            raise InputError(
                f"{name} has {width} features of {MODALITIES[letter]} for each utterance, and "
                f"{widths[letter]} are expected."
            )
    return {letter: given[letter] for letter in letters}
