"""EmotionClassifier: the one object that most users need."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from tqdm.auto import tqdm

from merclip._optional import import_pandas
from merclip.engine import Face, OnError, Reading, check_origin, choose_device
from merclip.errors import InputError, LabelError, NotFittedError
from merclip.evaluation import Report
from merclip.evaluation.protocols import evaluate
from merclip.hub import HubAccess, load_model, model_card
from merclip.inputs import as_clips, iter_clips, labels_in
from merclip.labels import LabelSet, encode_label_sets, encode_targets, names_in, prompt_list
from merclip.network import MERCLIP, save_checkpoint
from merclip.parameters import check_parameters, seed_of
from merclip.preprocess import (
    MODALITIES,
    ClipFeatures,
    FeatureCache,
    Features,
    PreprocessConfig,
)
from merclip.results import Prediction, make_predictions
from merclip.scoring import DecisionRule, log_probabilities, probabilities, threshold_row
from merclip.session import Session
from merclip.training import Callback
from merclip.training.fit import FitSettings
from merclip.types import Clip, Clips

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.utils import Tags
    from typing_extensions import Self

Array = np.ndarray[Any, Any]


class EmotionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Zero- and few-shot emotion classifier for video, sound and text.

    The model is MER-CLIP (Song and Cho, arXiv 2506.00903): a label is any
    text, embedded by a frozen CLIP text encoder, and compared by cosine with
    what a cross-modal decoder makes of the clip.

    Parameters
    ----------
    labels : sequence of str, mapping, or None
        Words, phrases or sentences; or a mapping from name to one description
        or several, which are averaged. None takes those of `y`, or those that
        the model was saved with.
    model : str, path or mapping
        "mini" (embedded, needs no network); a checkpoint's directory;
        "org/name" on the Hugging Face Hub; or an open_clip architecture, by
        name ("ViT-B-32"), JSON file or dictionary, for a new network.
    pretrained : str or path, optional
        For an architecture: a tag of open_clip ("openai"), a file of CLIP
        weights, or "random".
    revision : str, optional
        Branch, tag or commit on the Hub.
    network : mapping, optional
        Values of `NetworkConfig` to set, such as ``{"fusion": "VA"}``.
    preprocess : PreprocessConfig, optional
        For a new network; a checkpoint brings its own.
    prompt : str or list of str
        Format(s) with one ``{}`` into which labels are put.
    multi_label : bool
        Each label by itself (sigmoid) rather than one of n (softmax).
    threshold : float or mapping from label to float, optional
        Multi-label: the least probability of a label that holds. None takes
        the one that `fit` tuned in validation, else 0.5.
    abstain : float, optional
        One-of-n: `predict` gives None where the best probability is lower.
    tune : {"head", "full", "none"}
        What `fit` trains: fusion, prompts and scales on cached embeddings;
        every encoder as well (the label encoder stays frozen always); or
        nothing but the temperature of the probabilities.
    epochs, batch_size : int
    microbatch : int, optional
        Clips in one forward and backward pass. Default 4 for ``tune="full"``.
    lr : float or {"paper", "practical", "few-shot", "fresh"}, optional
        Default "practical" for ``tune="full"``; for "head" "few-shot", or
        "fresh" where the fusion was not trained before.
    validation : float, "auto" or ndarray of bool
        Share of clips held out to find the best epoch. "auto" is 0.1, or 0
        where that is less than 20 clips: so few would choose by chance. A mask
        says which of the clips of `fit` are held out, such as an official part.
    class_weight : "balanced" or mapping from label to float, optional
    callbacks : list of Callback, optional
    checkpoint_dir : path, optional
        Where `fit` keeps its state after each epoch; run again, it goes on.
    use_video_audio : bool
        Whether a video brings its own sound when no `audio` is given.
    face : {"auto", "always", "never"}
        Whether frames are cropped to the speaker's face: "auto" if the model
        was trained on faces and OpenCV (``merclip[face]``) is installed,
        "always" whatever the model, "never" for whole frames.
    device : str or torch.device, optional
        Default cuda, then mps, then cpu.
    dtype : {"float32", "bfloat16"}
        Precision of the towers in prediction; the rest is float32.
    feature_cache : path or FeatureCache, optional
        A directory in which encoded clips are kept, so that a clip goes through
        encoders that have not changed only once, in this run and in others. It
        holds 10 GiB at most; `FeatureCache` sets another limit.
    on_error : {"raise", "skip", "nan"}
        What a clip that cannot be read does to a batch. "skip" leaves its row
        out; "nan" gives NaN, None as label, and the reason in `Prediction`.
    on_long_label : {"warn", "raise"}
        For labels over the encoder's 77 tokens.
    warm_start : bool
        `fit` goes on from the last fit rather than from `model`.
    random_state : int, RandomState or None
    verbose : int
        1 shows progress bars.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        Sorted labels: the columns of every array.
    labels_ : LabelSet
        Labels in the user's order.
    history_ : list of dict
        One line for each epoch of the last fit.
    modalities_ : tuple of str
        What the network takes.
    calibration_ : dict
    threshold_ : ndarray of shape (k,)
    device_ : torch.device
    network_ : MERCLIP
    backbone_ : dict
        CLIP's architecture.
    interrupted_ : bool
        Whether the last fit was ended by a keyboard interrupt.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> clf = EmotionClassifier(labels=["happy", "sad", "angry"])
    >>> clf.classes_.tolist()
    ['angry', 'happy', 'sad']
    >>> prediction = clf(text="What a wonderful day, I love it!")
    >>> prediction.label, list(prediction)
    ('happy', ['happy', 'sad', 'angry'])
    """

    def __init__(
        self,
        labels: Sequence[Any] | Mapping[Any, Any] | None = None,
        *,
        model: str | os.PathLike[str] | Mapping[str, Any] = "mini",
        pretrained: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        network: Mapping[str, Any] | None = None,
        preprocess: PreprocessConfig | None = None,
        prompt: str | Sequence[str] = "{}",
        multi_label: bool = False,
        threshold: float | Mapping[Any, float] | None = None,
        abstain: float | None = None,
        tune: Literal["head", "full", "none"] = "head",
        epochs: int = 20,
        batch_size: int = 16,
        microbatch: int | None = None,
        lr: float | str | None = None,
        validation: float | Literal["auto"] | Array = "auto",
        class_weight: Any = None,
        callbacks: Sequence[Callback] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        use_video_audio: bool = True,
        face: Face = "auto",
        device: str | torch.device | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        feature_cache: str | os.PathLike[str] | FeatureCache | None = None,
        on_error: OnError = "raise",
        on_long_label: Literal["warn", "raise"] = "warn",
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.labels = labels
        self.model = model
        self.pretrained = pretrained
        self.revision = revision
        self.network = network
        self.preprocess = preprocess
        self.prompt = prompt
        self.multi_label = multi_label
        self.threshold = threshold
        self.abstain = abstain
        self.tune = tune
        self.epochs = epochs
        self.batch_size = batch_size
        self.microbatch = microbatch
        self.lr = lr
        self.validation = validation
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.use_video_audio = use_video_audio
        self.face = face
        self.device = device
        self.dtype = dtype
        self.feature_cache = feature_cache
        self.on_error = on_error
        self.on_long_label = on_long_label
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # Learning ---------------------------------------------------------------

    def fit(
        self, X: Any = None, y: Any = None, *, sample_weight: Any = None, groups: Any = None
    ) -> Self:
        """Learn from labelled clips.

        Parameters
        ----------
        X : Clips, list of Clip or dict, DataFrame, data set or Features
            None sets up the labels alone, for zero-shot use.
        y : sequence of length n, optional
            One label for each clip; with ``multi_label=True`` a collection of
            labels for each, or an indicator matrix whose columns follow
            `classes_`. None takes the column "label" of `X`.
        sample_weight : sequence of float, optional
        groups : sequence, optional
            Speaker or dialogue of each clip; validation keeps groups whole.

        Returns
        -------
        self

        Raises
        ------
        LabelError
            `y` has labels that `labels` lacks, or one class alone.
        InputError
            `X` and `y` differ in length.
        """
        check_parameters(self.get_params(deep=False))
        if not (self.warm_start and hasattr(self, "_session")):
            self._load()
        self.history_: list[dict[str, Any]] = []
        if X is None:
            if self.labels is None:
                raise NotFittedError("fit() without clips needs labels=.")
            if y is not None:
                raise InputError("y goes with X: give the clips too.")
            self._required_labels()
            return self
        y = self._given_targets(X, y)
        labels = LabelSet.of(names_in(y, self.multi_label) if self.labels is None else self.labels)
        clips, targets = self._training_data(X, y, labels)
        if self.tune == "none":
            return self._fit_temperature(clips, targets, labels)
        if not self.multi_label and len(np.unique(targets)) < 2:
            raise InputError("y has one class alone; there is nothing to tell apart.")
        return self._train(clips, targets, labels, self._settings(), sample_weight, groups)

    def partial_fit(self, X: Any, y: Any = None, *, classes: Any = None) -> Self:
        """Go on learning from a few more clips: one pass, no validation.

        Parameters
        ----------
        X, y
            As for `fit`.
        classes : sequence, optional
            All labels that will ever come; needed in the first call unless
            `labels` was given or the model was saved with labels.

        Returns
        -------
        self
        """
        check_parameters(self.get_params(deep=False))
        self._ready()
        labels = self._label_set()
        if classes is not None and self.labels is None and self._ready().fitted_labels is None:
            labels = LabelSet.of(classes)
        if labels is None:
            raise LabelError("The first call of partial_fit needs classes=, or set labels=.")
        clips, targets = self._training_data(X, self._given_targets(X, y), labels)
        settings = self._settings(epochs=1, validation=0.0, checkpoint_dir=None)
        return self._train(clips, targets, labels, settings)

    # Predicting: arrays -----------------------------------------------------

    def predict(
        self,
        X: Any = None,
        audio: Any = None,
        text: Any = None,
        *,
        video: Any = None,
        labels: Any = None,
    ) -> Array:
        """Return the label of each clip.

        Parameters
        ----------
        X : video, or any batch of clips
            A path, bytes, binary file, array or `Video`, or a list of them;
            `Clip`, `Clips`, dict, list of dicts, DataFrame, data set,
            `Features`.
        audio, text : one item or a list, optional
        video : one item or a list, optional
            The same as `X` when that is a video.
        labels : as the parameter `labels`, optional
            Other labels, for this call alone.

        Returns
        -------
        ndarray of shape (n,), or (n, k) of 0 and 1 with ``multi_label=True``
        """
        if labels is not None:
            return self.with_labels(labels).predict(X, audio, text, video=video)
        return self._rule().labels(self.predict_proba(X, audio, text, video=video))

    def predict_proba(
        self, X: Any = None, audio: Any = None, text: Any = None, *, video: Any = None
    ) -> Array:
        """Return probabilities of shape (n, k); columns follow `classes_`."""
        logits = self._logits(self._features(X, audio, text, video))
        return probabilities(logits, multi_label=self.multi_label)

    def predict_log_proba(
        self, X: Any = None, audio: Any = None, text: Any = None, *, video: Any = None
    ) -> Array:
        """Return the logarithms of `predict_proba`."""
        logits = self._logits(self._features(X, audio, text, video))
        return log_probabilities(logits, multi_label=self.multi_label)

    def decision_function(
        self, X: Any = None, audio: Any = None, text: Any = None, *, video: Any = None
    ) -> Array:
        """Return logits of shape (n, k); for two classes their difference, (n,)."""
        logits = self._logits(self._features(X, audio, text, video))
        if logits.shape[1] == 2 and not self.multi_label:
            return np.asarray(logits[:, 1] - logits[:, 0])
        return logits

    def predict_frame(
        self,
        X: Any = None,
        audio: Any = None,
        text: Any = None,
        *,
        video: Any = None,
        labels: Any = None,
    ) -> pd.DataFrame:
        """Return a DataFrame: id, label, one column for each class, error."""
        classifier = self if labels is None else self.with_labels(labels)
        found = classifier._predictions(classifier._features(X, audio, text, video))
        rows = [
            {"id": item.id, "label": item.label, **item.scores, "error": item.error}
            for item in found
        ]
        columns = ["id", "label", *classifier.labels_.names, "error"]
        frame: pd.DataFrame = import_pandas().DataFrame(rows, columns=columns)
        return frame

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy; for multi-label, the share of clips with all labels right."""
        truth = self._given_targets(X, y)
        classes = self.classes_
        if self.multi_label:
            truth = encode_label_sets(truth, classes)
        return float(accuracy_score(truth, self.predict(X), sample_weight=sample_weight))

    def evaluate(self, X: Any, y: Any = None, *, labels: Any = None) -> Report:
        """Measure this classifier, as it is, on clips that it was not fitted on.

        Parameters
        ----------
        X : as for `predict`
        y : sequence of length n, optional
            The true label of each clip; None takes the column "label" of `X`.
        labels : as the parameter `labels`, optional
            Other labels, for this call alone.

        Returns
        -------
        Report
            Accuracy, balanced accuracy, F1, likelihood, calibration, each
            class, confusions, and the clips that could not be read.

        Raises
        ------
        LabelError
            `y` has labels that are not among `labels`.
        InputError
            `X` and `y` differ in length, or ``multi_label=True``.
        """
        return evaluate(self, X, y, labels=labels)

    # Predicting: rich results -----------------------------------------------

    def __call__(
        self,
        clip_or_clips: Any = None,
        *,
        video: Any = None,
        audio: Any = None,
        text: Any = None,
        labels: Any = None,
    ) -> Any:
        """Return a `Prediction` for one clip, or a list of them for a batch.

        Parameters are those of `predict`.
        """
        if labels is not None:
            other = self.with_labels(labels)
            return other(clip_or_clips, video=video, audio=audio, text=text)
        if isinstance(clip_or_clips, Features):
            return self._predictions(self._features(clip_or_clips, audio, text, video))
        given = as_clips(clip_or_clips, audio, text, video=video)
        # One clip has one answer: there is no row to skip.
        skip = given.single and self.on_error == "skip"
        reading = self._reading(on_error="nan") if skip else self._reading()
        found = self._predictions(list(self._ready().engine.encode(given.clips, reading)))
        return found[0] if given.single else found

    def predict_iter(
        self, clips: Iterable[Clip | Mapping[str, Any]], *, batch_size: int | None = None
    ) -> Iterator[Prediction]:
        """Yield a `Prediction` for each clip as it is done, in bounded memory.

        Parameters
        ----------
        clips : iterable of Clip or dict
            May be endless.
        batch_size : int, optional
            Clips that are read before the first answer comes.
        """
        reading = self._reading() if batch_size is None else self._reading(batch_size=batch_size)
        for features in self._ready().engine.encode(iter_clips(clips), reading):
            yield from self._predictions([features])

    def with_labels(self, labels: Any) -> Self:
        """Return a classifier with other labels that shares this one's network."""
        self._ready()
        other = copy.copy(self)
        other.labels = labels
        other._required_labels()
        return other

    def encode(self, X: Any) -> Features:
        """Run the encoders once, for many calls of `fit` and `predict`.

        Parameters
        ----------
        X : as for `predict`

        Returns
        -------
        Features
        """
        engine = self._ready().engine
        clips = as_clips(X).clips
        encoded = engine.encode(clips, self._reading(for_training=True))
        bar = tqdm(encoded, "encode", len(clips), disable=not self.verbose)
        return Features(bar, engine.fingerprint())

    # Models -----------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        **params: Any,
    ) -> Self:
        """Load a checkpoint now, with the labels and thresholds that it was saved with.

        Parameters
        ----------
        name_or_dir : str or path
            A directory, "org/name" on the Hub, or "mini".
        revision, cache_dir, token, local_files_only, force_download
            As in huggingface_hub.
        **params
            Parameters of the classifier; they win over what was saved.

        Raises
        ------
        ModelNotFoundError
            There is no such checkpoint.
        CheckpointError
            It is broken, or needs a newer merclip.
        """
        access = HubAccess(revision, cache_dir, token, local_files_only, force_download)
        classifier = cls(model=name_or_dir, revision=revision, **params)
        check_parameters(classifier.get_params(deep=False))
        classifier._access = replace(access, token=None)
        classifier._load(access)
        saved = classifier._ready().checkpoint.classifier
        for name in ("prompt", "multi_label", "threshold"):
            value = saved.get(name)
            if name not in params and value is not None:
                pairs = name == "threshold" and isinstance(value, list)
                setattr(classifier, name, dict(value) if pairs else value)
        return classifier

    def save_pretrained(
        self, directory: str | os.PathLike[str], *, bundle_backbone: bool = False
    ) -> Path:
        """Write ``config.json``, ``model.safetensors`` and a model card.

        Parameters
        ----------
        directory : path
        bundle_backbone : bool
            Store frozen CLIP towers that came from the Hub too.

        Returns
        -------
        Path
            The directory.
        """
        session, labels = self._ready(), self._label_set()
        threshold = session.fitted_threshold if self.threshold is None else self.threshold
        session.describe(labels, prompt_list(self.prompt), self.multi_label, threshold)
        path = Path(directory)
        card = model_card(session.checkpoint, labels)
        save_checkpoint(session.checkpoint, path, card, bundle_backbone=bundle_backbone)
        return path

    def to(self, device: str | torch.device) -> Self:
        """Move to a device and return self."""
        chosen = choose_device(device)
        self.device = device
        if hasattr(self, "_session"):
            self._session.engine.network.to(chosen)
            self._session.engine.forget_labels()
        return self

    # State that scikit-learn and users look at --------------------------------

    @property
    def classes_(self) -> Array:
        """Sorted labels."""
        return self._required_labels().classes

    @property
    def labels_(self) -> LabelSet:
        """Labels in the user's order."""
        return self._required_labels()

    @property
    def network_(self) -> MERCLIP:
        """The network, loaded if need be."""
        return self._ready().engine.network

    @property
    def backbone_(self) -> dict[str, Any]:
        """CLIP's architecture."""
        return self.network_.config.backbone

    @property
    def device_(self) -> torch.device:
        """Where the network is."""
        return self.network_.device

    @property
    def modalities_(self) -> tuple[str, ...]:
        """What the network takes."""
        return tuple(MODALITIES[letter] for letter in self.network_.config.fusion)

    @property
    def calibration_(self) -> dict[str, Any]:
        """Temperature of the probabilities, and the labels that it was fitted for."""
        return self._ready().calibration()

    @property
    def threshold_(self) -> Array:
        """Least probability of each class, shape (k,)."""
        fitted = self._ready().fitted_threshold
        return threshold_row(fitted if self.threshold is None else self.threshold, self.classes_)

    def __sklearn_is_fitted__(self) -> bool:
        return self._label_set() is not None

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.dict = True
        tags.no_validation = True
        tags.requires_fit = self.labels is None
        tags.classifier_tags.multi_label = self.multi_label
        return tags

    # How it works inside ------------------------------------------------------

    def _ready(self) -> Session:
        """Return the session, loading the model at first use."""
        if not hasattr(self, "_session"):
            check_parameters(self.get_params(deep=False))
            self._load()
        return self._session

    def _load(self, access: HubAccess | None = None) -> None:
        device = choose_device(self.device)
        # Layers that the model does not bring start from random_state.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.random_state))
            checkpoint = load_model(
                self.model,
                pretrained=self.pretrained,
                access=access or self._hub_access(),
                network=self.network,
                preprocess=self.preprocess,
            )
        checkpoint.network.to(device)
        self._session = Session(checkpoint, getattr(torch, self.dtype))

    def _hub_access(self) -> HubAccess:
        # fit loads again what from_pretrained did; a pickle must not hold the token.
        access: HubAccess = getattr(self, "_access", HubAccess())
        return replace(access, revision=self.revision, force_download=False)

    def _reading(self, **changed: Any) -> Reading:
        values = {
            "batch_size": self.batch_size,
            "use_video_audio": self.use_video_audio,
            "face": self.face,
            "on_error": self.on_error,
            "cache": FeatureCache.of(self.feature_cache),
        }
        return Reading(**{**values, **changed})

    def _label_set(self) -> LabelSet | None:
        if self.labels is not None:
            return LabelSet.of(self.labels)
        return self._ready().known_labels()

    def _required_labels(self) -> LabelSet:
        labels = self._label_set()
        if labels is None:
            raise NotFittedError(
                "No labels are known: set labels=, call fit, or load a checkpoint with labels."
            )
        return self._enough(labels)

    def _enough(self, labels: LabelSet) -> LabelSet:
        if len(labels) < 2 and not self.multi_label:
            raise LabelError("One-of-n needs at least two labels; for one, set multi_label=True.")
        return labels

    def _features(
        self, X: Any = None, audio: Any = None, text: Any = None, video: Any = None
    ) -> list[ClipFeatures]:
        self._required_labels()
        engine = self._ready().engine
        if not isinstance(X, Features):
            clips = as_clips(X, audio, text, video=video).clips
            return list(engine.encode(clips, self._reading()))
        if audio is not None or text is not None or video is not None:
            raise InputError("Features are whole clips; give no audio, text or video beside.")
        check_origin(X, engine.fingerprint())
        return list(X)

    def _logits(self, features: Sequence[ClipFeatures]) -> Array:
        return self._ready().logits(
            features,
            self._required_labels(),
            prompt_list(self.prompt),
            multi_label=self.multi_label,
            on_long_label=self.on_long_label,
        )

    def _rule(self) -> DecisionRule:
        return DecisionRule(self.classes_, self.multi_label, self.threshold_, self.abstain)

    def _predictions(self, features: list[ClipFeatures]) -> list[Prediction]:
        if not features:
            return []
        labels = self._required_labels()
        probability = probabilities(self._logits(features), multi_label=self.multi_label)
        fitted_for = self.calibration_["labels"]
        calibrated = not self.multi_label and fitted_for == labels.classes.tolist()
        return make_predictions(features, probability, self._rule(), labels, calibrated)

    def _given_targets(self, X: Any, y: Any) -> Any:
        if y is None and not isinstance(X, Features):
            y = labels_in(X)
        if y is None:
            raise InputError("Give y, or clips with a column 'label'.")
        return y

    def _training_data(self, X: Any, y: Any, labels: LabelSet) -> tuple[Clips | Features, Array]:
        if isinstance(y, str):
            raise LabelError(f"y={y!r} is a single string; give one label for each clip.")
        clips = X if isinstance(X, Features) else as_clips(X).clips
        if isinstance(clips, Features):
            check_origin(clips, self._ready().engine.fingerprint())
        if len(clips) != len(y):
            raise InputError(f"X has {len(clips)} clips and y has {len(y)} labels.")
        encode = encode_label_sets if self.multi_label else encode_targets
        return clips, encode(y, self._enough(labels).classes)

    def _settings(self, **changed: Any) -> FitSettings:
        directory = None if self.checkpoint_dir is None else Path(self.checkpoint_dir)
        values = {
            "tune": "full" if self.tune == "full" else "head",
            "epochs": int(self.epochs),
            "batch_size": int(self.batch_size),
            "microbatch": self.microbatch,
            "lr": self.lr,
            "validation": self.validation,
            "class_weight": self.class_weight,
            "seed": seed_of(self.random_state),
            "callbacks": list(self.callbacks or ()),
            "progress": bool(self.verbose),
            "checkpoint_dir": directory,
            "reading": self._reading(for_training=True),
        }
        return FitSettings(multi_label=self.multi_label, **{**values, **changed})

    def _train(
        self,
        clips: Clips | Features,
        targets: Array,
        labels: LabelSet,
        settings: FitSettings,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        outcome = self._ready().train(
            clips,
            targets,
            labels,
            prompt_list(self.prompt),
            settings,
            on_long_label=self.on_long_label,
            sample_weight=sample_weight,
            groups=groups,
        )
        self.history_ = outcome.history
        self.interrupted_ = outcome.interrupted
        return self

    def _fit_temperature(self, clips: Clips | Features, targets: Array, labels: LabelSet) -> Self:
        if self.multi_label:
            raise InputError("tune='none' calibrates one-of-n probabilities, not multi-label.")
        session = self._ready()
        reading = self._reading(on_error="raise" if self.on_error == "raise" else "nan")
        encoded = clips if isinstance(clips, Features) else session.engine.encode(clips, reading)
        session.calibrate(
            list(encoded),
            targets,
            labels=labels,
            prompts=prompt_list(self.prompt),
            on_long_label=self.on_long_label,
        )
        return self
