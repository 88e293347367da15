"""EmotionClassifier: the one object that most users need."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

from merclip._files import placed
from merclip._optional import import_pandas
from merclip._random import seeded
from merclip._shown import shown
from merclip._warn import Skipped
from merclip.anchors import (
    AnchorsLike,
    Answers,
    Embedding,
    anchor_labels,
    anchors_of,
    check_names,
    checked_answers,
    embedded,
    listed,
)
from merclip.engine import Face, OnError, Reading, check_origin, choose_device
from merclip.errors import InputError, LabelError, MerclipError, NotFittedError
from merclip.hub import HubAccess, load_model, placed_model, push_directory, write_model
from merclip.inputs import (
    Given,
    as_clips,
    given_targets,
    index_of,
    is_labelled,
    iter_clips,
)
from merclip.labels import (
    LabelSet,
    LabelsLike,
    TargetsLike,
    are_places,
    encode_label_sets,
    encode_targets,
    encode_truth,
    names_at,
    names_in,
    prompt_list,
)
from merclip.network import MERCLIP, Checkpoint
from merclip.network.adaptation import Adaptation, check_prior, learn_offsets, some_of
from merclip.parameters import check_parameters, per_clip, seed_of
from merclip.precision import PrecisionCheck, Running
from merclip.preprocess import (
    MODALITIES,
    ClipFeatures,
    FeatureCache,
    Features,
    FrameChoice,
    PreprocessConfig,
)
from merclip.results import Prediction, make_predictions, table_columns
from merclip.rows import (
    check_read,
    encoding,
    mark_unlabelled,
    readable,
    to_learn_from,
    train_part,
)
from merclip.scoring import DecisionRule, log_probabilities, probabilities, threshold_row
from merclip.session import Session, stored_labels
from merclip.training import Callback, VegaObjective
from merclip.training.fit import FitSettings
from merclip.types import (
    AudioLike,
    ClipLike,
    Clips,
    ClipsLike,
    Frame,
    Listed,
    Objects,
    Rows,
    Strings,
    VideoLike,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike
    from sklearn.utils import Tags
    from typing_extensions import Self

    from merclip.evaluation import Report

Array = np.ndarray[Any, Any]
Float32: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Float64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Videos: TypeAlias = Listed[VideoLike | None]
Sounds: TypeAlias = Listed[AudioLike | None]
Lines: TypeAlias = Listed[str | None]
Batch: TypeAlias = ClipsLike | Features
OneOrMany: TypeAlias = ClipLike | Batch

_LOADING = threading.RLock()


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
    anchors : mapping from label to pictures, or path, optional
        Pictures of each label, or of some: paths, bytes, arrays, frames of PyAV, or a
        folder of them; or a folder with one folder for each label. Their embeddings
        by the image tower stand beside the words, or in place of them.
    predict_from : {"auto", "labels", "anchors", "both"}
        Whether clips are compared with words, with pictures, or both and probabilities
        averaged; a label without pictures then keeps what words give it. "auto" is
        "anchors" where labels are named by `anchors` alone, else "both" with anchors
        and "labels" without.
    model : str, path or mapping
        "mini" (embedded, needs no network); a directory, or "org/name" on the
        Hugging Face Hub, that holds a checkpoint; or, for a new network, one
        that holds CLIP in open_clip's or Hugging Face's layout, or an
        open_clip architecture by name ("ViT-B-32"), JSON file or dictionary.
    pretrained : str or path, optional
        For an architecture: a tag of open_clip ("openai"), a file of CLIP
        weights, or "random".
    revision : str, optional
        Branch, tag or commit on the Hub.
    network : mapping, optional
        Values of `NetworkConfig` to set, such as ``{"fusion": "VA"}``.
    preprocess : PreprocessConfig, optional
        For a new network; a checkpoint brings its own.
    audio : str or path, optional
        For a new network: a Whisper whose encoder hears sound, in the place of a copy of
        CLIP's image tower. "openai/whisper-base" or another on the Hub, a directory, or a
        file of its weights with transformers' names.
    prompt : str or list of str
        Text(s) with one ``{}``, in whose place labels are put.
    multi_label : bool
        Each label by itself (sigmoid) rather than one of n (softmax).
    threshold : float or mapping from label to float, optional
        Multi-label: the least probability of a label that holds. None takes
        the one that `fit` tuned, 0.2 before any fit, else 0.5; so does a label that
        a mapping lacks.
    abstain : float, optional
        One-of-n: `predict` gives None where the best probability is lower.
    tune : {"head", "full", "none"}
        What `fit` trains: fusion, prompts and scales on cached embeddings;
        every encoder as well (the label encoder stays frozen always); or
        nothing but the temperature of the probabilities, or multi-label the threshold.
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
    objective : {"label", "even", "vega", "vega-detached"} or VegaObjective, optional
        What `fit` minimises: cross-entropy of the whole clip by labels; or that and
        VEGA's losses of each modality, by labels and by anchors, with even weights or
        as VEGA released them, without or with its teacher detached. Default "label",
        or "even" with anchors.
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
    frames : {"exact", "fast"}
        Which frames of a file are taken. "exact": those on screen at the asked times.
        "fast", for long videos: in place of each a key frame, which is decoded alone, if
        one begins less than half a second, and less than half of the distance between
        frames, from it. Videos with fewer key frames than frames to take are read exactly.
    device : str or torch.device, optional
        Default cuda, then mps, then cpu.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Precision of the encoders where clips are encoded; all else is float32, and so is
        what is saved. "auto" is float32, but for networks of 512 dimensions or more (not
        `mini`) on a CPU that computes in bfloat16 (AVX-512 BF16, AMX), or a CUDA GPU:
        there it is the fastest of the processor's own, for each encoder whose embeddings
        it leaves as they are (cosine of at least 0.9999). Labels that were nearly equal may
        then change places.
    train_dtype : {"float32", "bfloat16"}
        Precision in which encoders compute while ``tune="full"`` trains them. With
        "bfloat16" the weights that learn, and are saved, stay float32.
    matmul : {"auto", "default", "onednn"}
        What multiplies float32 matrices on a CPU. "auto" is oneDNN for large networks on AMD's
        processors with AVX-512, else what torch takes; results differ by rounding alone.
    compile : bool
        Whether image towers go through ``torch.compile``. It takes a minute at first use,
        needs a C++ compiler or a GPU with Triton, and did not pay on the CPU that we measured.
    backend : {"torch", "openvino"}
        What runs image towers. "openvino" (``merclip[openvino]``) is for CPUs, and exports
        them at first use, in memory.
    feature_cache : path or FeatureCache, optional
        A directory in which encoded clips are kept, so that a clip goes through
        encoders that have not changed only once, in this run and in others. It
        holds 10 GiB at most; `FeatureCache` sets another limit.
    on_error : {"raise", "skip", "nan"}
        What a clip that cannot be read does to a batch. "skip" leaves its row
        out of whatever is returned, with a `SkippedClipsWarning` whose `rows` say
        which; "nan" keeps its row, with NaN, None as label, and the reason in
        `Prediction` and `predict_frame`. Both leave it out of training and measures,
        and clips without a label too. Wrong use, such as a misspelt column or label,
        raises always.
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
    anchors_ : dict from label to ndarray of shape (n, D)
        Embedded pictures, each of norm 1.
    calibration_ : dict
    threshold_ : ndarray of shape (k,)
    weights_version_ : str
        16 digits that tell these weights from all others.
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
        labels: LabelsLike | None = None,
        *,
        anchors: AnchorsLike | None = None,
        predict_from: Literal["auto", "labels", "anchors", "both"] = "auto",
        model: str | os.PathLike[str] | Mapping[str, Any] = "mini",
        pretrained: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        network: Mapping[str, Any] | None = None,
        preprocess: PreprocessConfig | None = None,
        audio: str | os.PathLike[str] | None = None,
        prompt: str | Sequence[str] = "{}",
        multi_label: bool = False,
        threshold: float | Mapping[str, float] | Mapping[int, float] | None = None,
        abstain: float | None = None,
        tune: Literal["head", "full", "none"] = "head",
        epochs: int = 20,
        batch_size: int = 16,
        microbatch: int | None = None,
        lr: float | str | None = None,
        validation: float | Literal["auto"] | Array = "auto",
        objective: Literal["label", "even", "vega", "vega-detached"] | VegaObjective | None = None,
        class_weight: Literal["balanced"] | Mapping[str, float] | Mapping[int, float] | None = None,
        callbacks: Sequence[Callback] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        use_video_audio: bool = True,
        face: Face = "auto",
        frames: FrameChoice = "exact",
        device: str | torch.device | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        train_dtype: Literal["float32", "bfloat16"] = "float32",
        matmul: Literal["auto", "default", "onednn"] = "auto",
        compile: bool = False,
        backend: Literal["torch", "openvino"] = "torch",
        feature_cache: str | os.PathLike[str] | FeatureCache | None = None,
        on_error: OnError = "raise",
        on_long_label: Literal["warn", "raise"] = "warn",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.labels = labels
        self.anchors = placed(anchors, os.path.isdir)
        self.predict_from = predict_from
        self.model = placed_model(model)
        self.pretrained = placed(pretrained, os.path.isfile)
        self.revision = revision
        self.network = network
        self.preprocess = preprocess
        self.audio = placed(audio, os.path.exists)
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
        self.objective = objective
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.use_video_audio = use_video_audio
        self.face = face
        self.frames = frames
        self.device = device
        self.dtype = dtype
        self.train_dtype = train_dtype
        self.matmul = matmul
        self.compile = compile
        self.backend = backend
        self.feature_cache = feature_cache
        self.on_error = on_error
        self.on_long_label = on_long_label
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    if TYPE_CHECKING:

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the parameters by name, as scikit-learn does."""

        def set_params(self, **params: Any) -> Self:
            """Set parameters by name, and return self."""

    # Learning ---------------------------------------------------------------

    def fit(
        self,
        X: Batch | None = None,
        y: TargetsLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        groups: Listed[Any] | Array | None = None,
    ) -> Self:
        """Learn from labelled clips.

        Parameters
        ----------
        X : Clips, list of Clip or dict, DataFrame, data set or Features
            None sets up the labels alone, for zero-shot use. A `Dataset` of
            `merclip.datasets` brings `y` and `groups`; its test part is left out, and
            its validation part is held out where `validation` is "auto".
        y : sequence of length n, optional
            One label for each clip; with ``multi_label=True`` a collection of
            labels for each, or an indicator matrix, which may be sparse, whose columns
            follow `classes_`. None takes the column "label" of `X`. Whole numbers, as
            scikit-learn puts them in the place of labels, are places in the sorted
            `labels`, with a warning, and then what `predict` gives; without `labels`
            they are learned as they are.
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
        DivergenceError
            The loss became infinite or no number; the classifier is as it was before.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clips = [{"text": "Ship it."}, {"text": "Not again!"}] * 4
        >>> y = ["go", "stop"] * 4
        >>> clf = EmotionClassifier(epochs=5, random_state=0).fit(clips, y)
        >>> clf.classes_.tolist(), len(clf.history_)
        (['go', 'stop'], 5)
        """
        check_parameters(self.get_params(deep=False))
        if not (self.warm_start and hasattr(self, "_session")):
            self._load()
        self.history_: list[dict[str, Any]] = []
        self.__dict__.pop("_numbered", None)
        if X is None:
            if self.labels is None and self.anchors is None:
                raise NotFittedError("fit() without clips needs labels=.")
            if y is not None:
                raise InputError("y goes with X: give the clips too.")
            self._required_labels()
            return self
        X, y, sample_weight, groups, validation = to_learn_from(
            X, y, sample_weight, groups, self.validation
        )
        clips, y = self._labelled(X, y)
        labels = self._labels_for(y)
        numbered = not self.multi_label and are_places(y, labels)
        targets = self._targets(names_at(y, labels) if numbered else y, labels)
        if not self.multi_label and self.tune != "none" and len(np.unique(targets)) < 2:
            raise InputError("y has one class alone; there is nothing to tell apart.")
        if self.tune == "none":
            self._calibrate(clips, targets, labels)
        else:
            settings = self._settings(least_classes=2, validation=validation)
            self._train(clips, targets, labels, settings, sample_weight, groups)
        if numbered:
            self._numbered = labels
        return self

    def partial_fit(
        self, X: Batch, y: TargetsLike | None = None, *, classes: LabelsLike | None = None
    ) -> Self:
        """Go on learning from a few more clips: one pass, no validation.

        Many small calls are one training: the optimiser goes on where the last call left
        it, at a constant rate, until `fit`, `to` or another `tune` begins a new one.

        Parameters
        ----------
        X : as for `fit`
            Of a `Dataset` with parts those of training are learned from.
        y : as for `fit`, optional
        classes : sequence of str or int, or mapping, optional
            All labels that will ever come; needed in the first call unless
            `labels` was given or the model was saved with labels.

        Returns
        -------
        self

        Raises
        ------
        LabelError
            No labels are known yet, or `y` has others.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["go", "stop"])
        >>> for batch in ([{"text": "Ship it."}], [{"text": "Not again!"}]):
        ...     clf = clf.partial_fit(batch, ["go"])
        >>> clf.classes_.tolist()
        ['go', 'stop']
        """
        check_parameters(self.get_params(deep=False))
        self._ready()
        labels = self._label_set()
        given = None if classes is None else LabelSet.learned(classes)
        if given is not None and self.labels is None and self._ready().fitted_labels is None:
            labels = given
        if labels is None:
            raise LabelError("The first call of partial_fit needs classes=, or set labels=.")
        if given is not None and set(given.names) != set(labels.names):
            raise LabelError(
                f"classes={shown(list(given.names))} are not those that are learned "
                f"already, {shown(list(labels.names))}; start anew with another classifier."
            )
        clips, y = self._labelled(train_part(X) if y is None else X, y)
        targets = self._targets(y, labels)
        settings = self._settings(epochs=1, validation=0.0, checkpoint_dir=None)
        return self._train(clips, targets, labels, settings, going_on=True)

    # Predicting: arrays -----------------------------------------------------

    def predict(
        self,
        X: OneOrMany | None = None,
        audio: AudioLike | Sounds | None = None,
        text: str | Lines | None = None,
        *,
        video: VideoLike | Videos | None = None,
        labels: LabelsLike | None = None,
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

        Raises
        ------
        MerclipError
            A clip that cannot be read, with ``on_error="raise"``; arguments that do not
            fit together; or no labels are known.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf.predict(text=["What a lovely day!", "He died."]).tolist()
        ['happy', 'sad']
        >>> clf.predict(text="What a lovely day!", labels=["bored", "delighted"]).tolist()
        ['delighted']
        """
        if labels is not None:
            return self.with_labels(labels).predict(X, audio, text, video=video)
        return self._rule().labels(self.predict_proba(X, audio, text, video=video))

    def predict_proba(
        self,
        X: OneOrMany | None = None,
        audio: AudioLike | Sounds | None = None,
        text: str | Lines | None = None,
        *,
        video: VideoLike | Videos | None = None,
    ) -> Float64:
        """Return the probability of each label.

        Parameters
        ----------
        X : as for `predict`
        audio, text, video : as for `predict`, optional

        Returns
        -------
        ndarray of shape (n, k), float64
            In [0, 1]; columns follow `classes_`, and rows sum to 1 unless
            ``multi_label=True``. A row is NaN where the clip could not be read.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf.predict_proba(text=["What a lovely day!", "He died."]).sum(axis=1).round(6).tolist()
        [1.0, 1.0]
        """
        logits = self._logits(self._features(X, audio, text, video))
        return probabilities(logits, multi_label=self.multi_label)

    def predict_log_proba(
        self,
        X: OneOrMany | None = None,
        audio: AudioLike | Sounds | None = None,
        text: str | Lines | None = None,
        *,
        video: VideoLike | Videos | None = None,
    ) -> Float64:
        """Return the logarithm of each probability, without underflow.

        Parameters
        ----------
        X : as for `predict`
        audio, text, video : as for `predict`, optional

        Returns
        -------
        ndarray of shape (n, k), float64

        Examples
        --------
        >>> import numpy as np
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> logs = clf.predict_log_proba(text="What a lovely day!")
        >>> np.allclose(np.exp(logs), clf.predict_proba(text="What a lovely day!"))
        True
        """
        logits = self._logits(self._features(X, audio, text, video))
        return log_probabilities(logits, multi_label=self.multi_label)

    def decision_function(
        self,
        X: OneOrMany | None = None,
        audio: AudioLike | Sounds | None = None,
        text: str | Lines | None = None,
        *,
        video: VideoLike | Videos | None = None,
    ) -> Float32:
        """Return the logits of which probabilities are made.

        Parameters
        ----------
        X : as for `predict`
        audio, text, video : as for `predict`, optional

        Returns
        -------
        ndarray of shape (n, k), float32
            Of shape (n,) for two classes, one-of-n: how much the second is ahead, as
            scikit-learn has it.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf.decision_function(text=["What a lovely day!", "He died."]).shape
        (2,)
        >>> clf.with_labels(["happy", "sad", "angry"]).decision_function(text="He died.").shape
        (1, 3)
        """
        logits = self._logits(self._features(X, audio, text, video))
        if logits.shape[1] == 2 and not self.multi_label:
            return np.asarray(logits[:, 1] - logits[:, 0])
        return logits

    def predict_frame(
        self,
        X: OneOrMany | None = None,
        audio: AudioLike | Sounds | None = None,
        text: str | Lines | None = None,
        *,
        video: VideoLike | Videos | None = None,
        labels: LabelsLike | None = None,
    ) -> pd.DataFrame:
        """Return a table with a row for each clip (extra `pandas`).

        Parameters
        ----------
        X : as for `predict`
        audio, text, video : as for `predict`, optional
        labels : as the parameter `labels`, optional
            Other labels, for this call alone.

        Returns
        -------
        DataFrame
            Columns id, label, one for each label in the user's order, modalities_used
            ("video+audio"), faces, warnings and error. The scores of a label that is called
            like another column stand in "score of ...".

        Raises
        ------
        MissingExtraError
            pandas is not installed.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf.predict_frame([{"text": "What a lovely day!", "id": "a"}])[["id", "label"]]
          id  label
        0  a  happy
        """
        classifier = self if labels is None else self.with_labels(labels)
        names = classifier._required_labels().names
        features = classifier._read(X, audio, text, video)
        kept = classifier._kept(features)
        found = classifier._predictions([features[row] for row in kept])
        index = index_of((X, video, audio, text), len(features))
        frame: pd.DataFrame = import_pandas().DataFrame(
            [item.to_row() for item in found],
            columns=table_columns(names),
            index=[index[row] for row in kept],
        )
        return frame

    def score(
        self, X: Batch, y: TargetsLike | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy; for multi-label, the share of clips with all labels right.

        Parameters
        ----------
        X : as for `fit`
        y : as for `fit`, optional
            The true labels; None takes the column "label" of `X`.
        sample_weight : sequence of float, of length n, optional

        Returns
        -------
        float
            In [0, 1].

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf.score([{"text": "What a lovely day!"}, {"text": "He died."}], ["happy", "sad"])
        1.0
        """
        from sklearn.metrics import accuracy_score

        classes = self.classes_
        clips, truth = self._labelled(X, y)
        features = self._read(clips)
        rows = readable(features, "left out", least=True)
        truth = (encode_label_sets if self.multi_label else encode_truth)(truth, classes)[rows]
        logits = self._logits([features[row] for row in rows])
        probability, rule = probabilities(logits, multi_label=self.multi_label), self._rule()
        found = (rule.labels if self.multi_label else rule.positions)(probability)
        weights = per_clip(sample_weight, len(clips), "sample_weight")
        weights = None if weights is None else weights[rows]
        return float(accuracy_score(truth, found, sample_weight=weights))

    def evaluate(
        self, X: Batch, y: TargetsLike | None = None, *, labels: LabelsLike | None = None
    ) -> Report:
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

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clips = [{"text": "What a lovely day!"}, {"text": "He died."}]
        >>> clf.evaluate(clips, ["happy", "sad"]).metrics["balanced_accuracy"]
        1.0
        """
        from merclip.evaluation.protocols import evaluate

        groups, own = (X.groups, X) if is_labelled(X) else (None, None)
        if labels is None and hasattr(self, "_numbered"):
            y = names_at(given_targets(X, y), self.labels_)
        return evaluate(self, X, y, labels=labels, groups=groups, data=own)

    # Predicting: rich results -----------------------------------------------

    @overload
    def __call__(
        self, clip_or_clips: Objects | Strings, *, labels: LabelsLike | None = None
    ) -> list[Prediction]: ...
    @overload
    def __call__(
        self,
        clip_or_clips: ClipLike | None = None,
        *,
        video: VideoLike | None = None,
        audio: AudioLike | None = None,
        text: str | None = None,
        labels: LabelsLike | None = None,
    ) -> Prediction: ...
    @overload
    def __call__(
        self,
        clip_or_clips: Batch | None = None,
        *,
        video: Videos | None = None,
        audio: Sounds | None = None,
        text: Lines | None = None,
        labels: LabelsLike | None = None,
    ) -> list[Prediction]: ...
    def __call__(
        self,
        clip_or_clips: OneOrMany | None = None,
        *,
        video: VideoLike | Videos | None = None,
        audio: AudioLike | Sounds | None = None,
        text: str | Lines | None = None,
        labels: LabelsLike | None = None,
    ) -> Prediction | list[Prediction]:
        """Return a `Prediction` for one clip, or a list of them for a batch.

        Parameters
        ----------
        clip_or_clips : as `X` of `predict`
        video, audio, text, labels : as for `predict`, optional

        Returns
        -------
        Prediction or list of Prediction
            A list for whatever is a batch, be it of one clip.

        Raises
        ------
        MerclipError
            As for `predict`.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf(text="What a lovely day!").label
        'happy'
        >>> [answer.label for answer in clf(text=["What a lovely day!", "He died."])]
        ['happy', 'sad']
        """
        if labels is not None:
            return self.with_labels(labels)._answers(clip_or_clips, audio, text, video)
        return self._answers(clip_or_clips, audio, text, video)

    def _answers(
        self, clip_or_clips: Any, audio: Any, text: Any, video: Any
    ) -> Prediction | list[Prediction]:
        if isinstance(clip_or_clips, Features):
            return self._predictions(self._features(clip_or_clips, audio, text, video))
        self._required_labels()
        given = self._as_clips(clip_or_clips, audio, text, video)
        features = list(self._ready().engine.encode(given.clips, self._reading()))
        if given.single:  # one clip has one answer: there is no row to skip
            return self._predictions(features)[0]
        return self._predictions([features[row] for row in self._kept(features)])

    def predict_iter(
        self, clips: Iterable[ClipLike] | Frame | Rows, *, batch_size: int | None = None
    ) -> Iterator[Prediction]:
        """Yield a `Prediction` for each clip as it is done, in bounded memory.

        Parameters
        ----------
        clips : iterable of Clip or dict
            May be endless.
        batch_size : int, optional
            Clips that are read before the first answer comes.

        Yields
        ------
        Prediction
            One for each clip, in order; with ``on_error="skip"`` for those that can be read.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> lines = ({"text": text} for text in ["What a lovely day!", "He died."])
        >>> [answer.label for answer in clf.predict_iter(lines)]
        ['happy', 'sad']
        """
        reading = self._reading() if batch_size is None else self._reading(batch_size=batch_size)
        # What is there already may be read ahead; what comes in as time goes by may not.
        reading = replace(reading, ahead=isinstance(clips, Sized))
        given = iter_clips(clips, keep_broken=self.on_error != "raise")
        skipped, n_clips = Skipped(most_rows=10), 0
        encoded = self._ready().engine.encode(given, reading)
        # No more than what the engine has read: the first answer waits for nothing else.
        while batch := list(islice(encoded, reading.batch_size)):
            kept = []
            for features in batch:
                if features.error is not None and self.on_error == "skip":
                    skipped.add(n_clips, features.id, features.error)
                else:
                    kept.append(features)
                n_clips += 1
            yield from self._predictions(kept)
        skipped.warn(n_clips)

    def check_precision(self, X: OneOrMany | None = None) -> PrecisionCheck:
        """Compare this classifier, as it runs here, with itself in float32.

        Parameters
        ----------
        X : clip or batch of clips, optional
            Read twice. None stands for three texts, pictures and sounds that need no file.

        Returns
        -------
        PrecisionCheck

        Raises
        ------
        NotFittedError
            No labels are known.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> check = EmotionClassifier(["happy", "sad", "angry"]).check_precision()
        >>> check.passed, check.n_clips
        (True, 3)
        """
        clips = None if X is None else self._as_clips(X).clips
        return self._ready().check_precision(
            clips,
            self._reading(cache=None),
            lambda found: probabilities(self._logits(found), multi_label=self.multi_label),
        )

    def with_labels(self, labels: LabelsLike) -> Self:
        """Return a classifier with other labels that shares this one's network.

        Parameters
        ----------
        labels : as the parameter `labels`

        Returns
        -------
        EmotionClassifier
            Training it trains the shared network.

        Raises
        ------
        LabelError, InputTypeError
            The labels cannot be used.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> other = clf.with_labels({"joy": "Someone full of joy.", "grief": "Someone in tears."})
        >>> other.classes_.tolist()
        ['grief', 'joy']
        """
        self._ready()
        other = copy.copy(self)
        other.__dict__.pop("_numbered", None)
        other.labels = labels
        known = other._required_labels().names
        if self.anchors is not None:
            kept = {name: rows for name, rows in self._exemplars().items() if name in known}
            given = {name: given for name, given in listed(self.anchors).items() if name in known}
            other.anchors = given or None
            other._embedded = Embedding(other.anchors, self.face, self._session, kept)
        return other

    def encode(self, X: ClipLike | ClipsLike) -> Features:
        """Run the encoders once, for many calls of `fit` and `predict`.

        Parameters
        ----------
        X : as for `predict`

        Returns
        -------
        Features

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> features = clf.encode([{"text": "What a lovely day!"}, {"text": "He died."}])
        >>> features, clf.predict(features, labels=["delighted", "mourning"]).tolist()
        (Features(n=2), ['delighted', 'mourning'])
        """
        engine = self._ready().engine
        clips = self._as_clips(X).clips
        encoded = engine.encode(clips, self._reading(for_training=True))
        features = list(encoding(encoded, len(clips), bar=bool(self.verbose)))
        return Features([features[row] for row in self._kept(features)], engine.fingerprint())

    def adapt(
        self,
        X: OneOrMany | None,
        *,
        prior: Mapping[str, float] | Mapping[int, float] | None = None,
    ) -> Self:
        """Return a classifier that fits the people, the room and the camera of some clips.

        Voices, faces, rooms and microphones move embeddings in ways that look like emotions.
        This takes the mean embedding of the clips off, beyond that of training, for each
        modality, and then each label's mean log-probability: a handful of clips of one
        situation is enough, without labels, and it holds for any labels. It supposes that
        emotions are about as mixed in these clips as in training; where one dominates, as
        neutral does in conversations, it takes that away too, and answers become worse. Give
        `prior` there, or do not adapt.

        Parameters
        ----------
        X : as for `predict`, or None
            Clips of one speaker, session or recording. None undoes an adaptation.
        prior : mapping from label to float, optional
            How frequent each of the labels is in such clips, of any sum.

        Returns
        -------
        EmotionClassifier
            Shares this one's network, so that training it trains this one too; answers of this
            one stay as they are. `save_pretrained` keeps what it learned, and `fit` forgets it.

        Raises
        ------
        InputError
            There is no clip to learn from, or the model does not know the mean embeddings
            of its training; a fit finds them. Shares are negative, or given with
            ``multi_label=True``.
        LabelError
            `prior` has other labels than the classifier.

        Notes
        -----
        What n clips say counts n / (n + 4). The method is ours; offsets of scores for labels
        that are more or less frequent are those of Saerens, Latinne and Decaestecker, Neural
        Computation 14(1), 2002. With ``multi_label=True`` embeddings alone are adapted.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clips = [{"text": "What a lovely day!"}, {"text": "He died."}, {"text": "Well."}]
        >>> adapted = clf.adapt(clips)
        >>> adapted.adaptation_.n_clips, adapted.adapt(None).adaptation_ is None
        (3, True)
        """
        other = copy.copy(self)
        if X is None:
            if prior is not None:
                raise InputError("prior says how frequent labels are in clips; give the clips.")
            other._adaptation = None
            return other
        if prior is not None:
            if self.multi_label:
                raise InputError("prior is for one label of n, not multi_label=True.")
            prior = check_prior(prior, self.classes_.tolist())
        features = self._read(X)
        kept = [features[row] for row in readable(features, "adapted to", least=True)]
        engine = self._ready().engine
        offsets = learn_offsets(engine.network, kept)
        fused = engine.fused([kept[row] for row in some_of(len(kept))], offsets)
        other._adaptation = Adaptation(offsets, fused, len(kept), prior or {})
        return other

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
        revision : str, optional
            Branch, tag or commit. All files come from the commit that it is at the first.
        cache_dir, token, local_files_only, force_download
            As in huggingface_hub; for the CLIP weights below the checkpoint too.
        **params
            Parameters of the classifier; they win over what was saved.

        Returns
        -------
        EmotionClassifier
            Of the class that it was called on, ready to predict.

        Raises
        ------
        ModelNotFoundError
            There is no such checkpoint, or the Hub cannot be reached and the cache
            lacks a file.
        CheckpointError
            It is broken, needs a newer merclip, or would have to run code.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier.from_pretrained("mini", device="cpu")
        >>> "happy" in clf.labels_.names
        True
        """
        access = HubAccess(revision, cache_dir, token, local_files_only, force_download)
        classifier = cls(model=name_or_dir, revision=revision, **params)
        check_parameters(classifier.get_params(deep=False))
        classifier._access = replace(access, token=None)
        classifier._load(access)
        saved = classifier._ready().checkpoint.classifier
        for name in ("prompt", "multi_label", "threshold", "predict_from"):
            value = saved.get(name)
            if name not in params and value is not None:
                pairs = name == "threshold" and isinstance(value, list)
                setattr(classifier, name, dict(value) if pairs else value)
        return classifier

    def save_pretrained(
        self,
        directory: str | os.PathLike[str],
        *,
        bundle_backbone: bool = False,
        report: Report | None = None,
        card_data: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write ``config.json``, ``model.safetensors`` and a model card, ``README.md``.

        A checkpoint that lies there already is replaced, its card included; other
        files stay.

        Parameters
        ----------
        directory : path
        bundle_backbone : bool
            Store frozen CLIP towers that came from the Hub too.
        report : Report, optional
            What `evaluate` found for this very network: its results go into the card.
        card_data : mapping, optional
            Metadata of the card that merclip cannot know, such as
            ``{"datasets": ["org/clips"], "license": "mit"}``.

        Returns
        -------
        Path
            The directory.

        Raises
        ------
        InputError
            The directory has a file of one of the three names that is not merclip's, or
            the report is of other weights.

        Examples
        --------
        >>> import os, tempfile
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     sorted(os.listdir(clf.save_pretrained(directory)))
        ['README.md', 'config.json', 'model.safetensors']
        """
        return write_model(
            self._described(),
            self._label_set(),
            Path(directory),
            bundle_backbone=bundle_backbone,
            report=report,
            card_data=card_data,
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        commit_message: str | None = None,
        bundle_backbone: bool = False,
        report: Report | None = None,
        card_data: Mapping[str, Any] | None = None,
    ) -> str:
        """Send what `save_pretrained` writes to a repository on the Hugging Face Hub.

        Parameters
        ----------
        repo_id : str
            "org/name", made if it does not exist.
        private : bool, optional
            For a new repository.
        token : str or bool, optional
            One that may write; by default that of this machine.
        revision : str, optional
            Branch, made if it does not exist; by default "main".
        create_pr : bool
            Open a pull request in place of a commit.
        commit_message : str, optional
        bundle_backbone, report, card_data
            As for `save_pretrained`.

        Returns
        -------
        str
            Address of the commit, or of the pull request.

        Raises
        ------
        UploadError
            No token, no write access, or no Hub; the message says what to do.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier.from_pretrained("my-model")                # doctest: +SKIP
        >>> clf.push_to_hub("me/my-model", private=True)                       # doctest: +SKIP
        """
        checkpoint, labels = self._described(), self._label_set()

        def write(folder: Path) -> Path:
            return write_model(
                checkpoint,
                labels,
                folder,
                bundle_backbone=bundle_backbone,
                name=repo_id,
                report=report,
                card_data=card_data,
            )

        return push_directory(
            write,
            repo_id,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
        )

    def to(self, device: str | torch.device) -> Self:
        """Move to a device and return self.

        Parameters
        ----------
        device : str or torch.device
            Such as "cuda", "mps" or "cpu".

        Returns
        -------
        self

        Raises
        ------
        DeviceError
            This machine has no such device.

        Examples
        --------
        >>> from merclip import EmotionClassifier
        >>> clf = EmotionClassifier(["happy", "sad"])
        >>> clf.to("cpu").device_
        device(type='cpu')
        """
        choose_device(device)
        self.device = device
        if hasattr(self, "_session"):
            self._session.to(device)
        return self

    # State that scikit-learn and users look at --------------------------------

    @property
    def classes_(self) -> Array:
        """Sorted labels; or their numbers, where `fit` was given these."""
        return self._classes(self._required_labels())

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
    def anchors_(self) -> dict[Any, Array]:
        """Embedded pictures by label, each of shape (n, D): those given, or the model's own."""
        return {name: rows.cpu().numpy() for name, rows in self._exemplars().items()}

    @property
    def weights_version_(self) -> str:
        """What tells these weights from all others: 16 digits of the SHA-256 of every one of them.

        The same wherever they are loaded, another after any training. Beside
        ``merclip.__version__`` it says what gave an answer; a `Report` has it as its
        model's fingerprint.
        """
        from merclip.evaluation.provenance import fingerprint

        return fingerprint(self.network_)

    @property
    def adaptation_(self) -> Adaptation | None:
        """What `adapt` learned, or the model was saved with; None before, and undone."""
        if hasattr(self, "_adaptation"):
            return self._adaptation
        return self._ready().checkpoint.adaptation

    @property
    def threshold_(self) -> Array:
        """Least probability of each class, shape (k,)."""
        return threshold_row(self.threshold, self.classes_, self._ready().threshold)

    def __sklearn_is_fitted__(self) -> bool:
        # Asked by a notebook that shows the classifier: no model is loaded for it.
        given = self.labels is not None or self.anchors is not None
        loaded = given or hasattr(self, "_session")
        try:
            labels = self._label_set() if loaded else stored_labels(self.model, self._hub_access())
            return labels is not None and self._enough(labels) is not None
        except MerclipError:
            return False

    def __dir__(self) -> list[str]:
        # scikit-learn's asks for the value of each attribute, which would load the model.
        names = list(object.__dir__(self))
        if hasattr(self, "_session"):
            return names
        return [name for name in names if name.startswith("_") or not name.endswith("_")]

    def _get_fitted_attr_html(self, doc_link: str = "") -> Any:
        try:
            return super()._get_fitted_attr_html(doc_link)
        except MerclipError:  # a parameter that cannot be used, which the page shows too
            return {}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.dict = True
        tags.no_validation = True
        tags.requires_fit = self.labels is None and self.anchors is None
        tags.classifier_tags.multi_label = self.multi_label
        return tags

    # How it works inside ------------------------------------------------------

    def _ready(self) -> Session:
        """Return the session, loading the model at first use."""
        if not hasattr(self, "_session"):
            # Else every thread would load a network of its own, and random weights of
            # one would be drawn between those of another.
            with _LOADING:
                if not hasattr(self, "_session"):
                    check_parameters(self.get_params(deep=False))
                    self._load()
        return self._session

    def _load(self, access: HubAccess | None = None) -> None:
        choose_device(self.device)
        access = access or self._hub_access()
        # Layers that the model does not bring start from random_state.
        with seeded(seed_of(self.random_state)):
            checkpoint = load_model(
                self.model,
                pretrained=self.pretrained,
                access=access,
                network=self.network,
                preprocess=self.preprocess,
                audio=self.audio,
            )
        running = Running(self.dtype, self.matmul, bool(self.compile), self.backend)
        self._session = Session(checkpoint, running, self.device, access)

    def _described(self) -> Checkpoint:
        """Return the checkpoint, with labels, prompts and threshold as they are now."""
        session, labels = self._ready(), self._label_set()
        threshold = session.fitted_threshold if self.threshold is None else self.threshold
        if isinstance(threshold, Mapping) and labels is not None:
            # Those that are not named have what was tuned here.
            threshold = dict(zip(self.classes_.tolist(), self.threshold_.tolist(), strict=True))
        source = "labels" if labels is None else self._source().source
        session.describe(labels, prompt_list(self.prompt), self.multi_label, threshold, source)
        session.checkpoint.anchors = self._exemplars()
        return replace(session.checkpoint, adaptation=self.adaptation_)

    def _hub_access(self) -> HubAccess:
        # fit loads again what from_pretrained did; a pickle must not hold the token.
        access: HubAccess = getattr(self, "_access", HubAccess())
        return replace(access, revision=self.revision, force_download=False)

    def _reading(self, **changed: Any) -> Reading:
        values = {
            "batch_size": self.batch_size,
            "use_video_audio": self.use_video_audio,
            "face": self.face,
            "frames": self.frames,
            "on_error": self.on_error,
            "cache": FeatureCache.of(self.feature_cache),
        }
        return Reading(**{**values, **changed})

    def _label_set(self) -> LabelSet | None:
        if self.labels is not None:
            return LabelSet.of(self.labels)
        fitted = getattr(self, "_session", None) and self._session.fitted_labels
        if self.anchors is not None and fitted is None:
            return anchor_labels(self.anchors)
        return self._ready().known_labels()

    def _labels_for(self, y: Any) -> LabelSet:
        """Return the labels of a fit: those given, or those of the anchors and of `y`."""
        if self.labels is not None:
            return LabelSet.of(self.labels)
        named = None if self.anchors is None else anchor_labels(self.anchors)
        return LabelSet.learned(names_in(y, self.multi_label), named)

    def _exemplars(self, labels: LabelSet | None = None) -> Mapping[Any, Tensor]:
        """Return embedded pictures by label: those given, or those that the model has."""
        session = self._ready()
        if self.anchors is None:
            return session.checkpoint.anchors
        known = getattr(self, "_embedded", None)
        if known is None or not known.is_of(self.anchors, self.face, session):
            pictures = listed(self.anchors)
            check_names(pictures, labels or self._required_labels())
            found = embedded(session.engine, pictures, self._reading())
            known = self._embedded = Embedding(self.anchors, self.face, session, found)
        check_names(known.exemplars, labels or self._required_labels())
        return known.exemplars

    def _source(self, labels: LabelSet | None = None) -> Answers:
        """Return where answers come from."""
        labels = labels or self._required_labels()
        anchors = anchors_of(self._exemplars(labels), labels.classes.tolist())
        source = self.predict_from
        if source == "auto":
            named = self.labels is None and self.anchors is not None
            source = "labels" if anchors is None else "anchors" if named else "both"
        return checked_answers(source, anchors, labels)

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
    ) -> Sequence[ClipFeatures]:
        self._required_labels()
        features = self._read(X, audio, text, video)
        kept = self._kept(features)
        # Features of a file stay there.
        return features if len(kept) == len(features) else [features[row] for row in kept]

    def _read(
        self, X: Any = None, audio: Any = None, text: Any = None, video: Any = None
    ) -> Sequence[ClipFeatures]:
        """Encode clips; those that cannot be read keep their place, and say why."""
        engine = self._ready().engine
        if not isinstance(X, Features):
            clips = self._as_clips(X, audio, text, video).clips
            return list(engine.encode(clips, self._reading()))
        if audio is not None or text is not None or video is not None:
            raise InputError("Features are whole clips; give no audio, text or video beside.")
        check_origin(X, engine.fingerprint())
        if self.on_error == "raise":
            check_read(X)
        return X

    def _as_clips(self, X: Any, audio: Any = None, text: Any = None, video: Any = None) -> Given:
        return as_clips(X, audio, text, video=video, keep_broken=self.on_error != "raise")

    def _kept(self, features: Sequence[ClipFeatures]) -> Sequence[int]:
        """Return the positions of clips that get a row."""
        skip = self.on_error == "skip"
        return readable(features, "left out") if skip else range(len(features))

    def _logits(self, features: Sequence[ClipFeatures]) -> Array:
        return self._ready().logits(
            features,
            self._required_labels(),
            prompt_list(self.prompt),
            multi_label=self.multi_label,
            on_long_label=self.on_long_label,
            answers=self._source(),
            adaptation=self.adaptation_,
        )

    def _rule(self) -> DecisionRule:
        return DecisionRule(self.classes_, self.multi_label, self.threshold_, self.abstain)

    def _classes(self, labels: LabelSet) -> Array:
        numbered = getattr(self, "_numbered", None) == labels
        return np.arange(len(labels)) if numbered else labels.classes

    def _predictions(self, features: Sequence[ClipFeatures]) -> list[Prediction]:
        if not features:
            return []
        labels = self._required_labels()
        probability = probabilities(self._logits(features), multi_label=self.multi_label)
        fitted_for = self._ready().calibrated_for(self._source().source)
        calibrated = not self.multi_label and fitted_for == labels.classes.tolist()
        doubted = [self._ready().engine.doubted(clip) for clip in features]
        rule = replace(self._rule(), classes=labels.classes)
        return make_predictions(features, probability, rule, labels, calibrated, doubted)

    def _labelled(self, X: Any, y: Any) -> tuple[Clips | Features, Any]:
        """Return clips, and one label or collection of labels for each."""
        some = self.on_error != "raise"
        y = given_targets(None if isinstance(X, Features) else X, y, some=some)
        clips = X if isinstance(X, Features) else self._as_clips(X).clips
        if isinstance(clips, Features):
            check_origin(clips, self._ready().engine.fingerprint())
        if len(clips) != len(y):
            raise InputError(f"X has {len(clips)} clips and y has {len(y)} labels.")
        return mark_unlabelled(clips, y) if some else (clips, y)

    def _targets(self, y: Any, labels: LabelSet) -> Array:
        encode = encode_label_sets if self.multi_label else encode_targets
        return encode(y, self._classes(self._enough(labels)))

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
            "train_dtype": self.train_dtype,
        }
        return FitSettings(multi_label=self.multi_label, **{**values, **changed})

    def _objective(self, answers: Answers) -> VegaObjective | None:
        named = self.objective
        if named is None:
            named = "label" if answers.anchors is None else "even"
        if isinstance(named, str) and named == "label":
            return None
        if self.multi_label:
            raise InputError(f"objective={named!r} is for one label of n, not multi_label=True.")
        return VegaObjective.of(named)

    def _train(
        self,
        clips: Clips | Features,
        targets: Array,
        labels: LabelSet,
        settings: FitSettings,
        sample_weight: Any = None,
        groups: Any = None,
        going_on: bool = False,
    ) -> Self:
        session, answers = self._ready(), self._source(labels)
        exemplars = self._exemplars(labels)
        self._adaptation: Adaptation | None = None
        outcome = session.train(
            clips,
            targets,
            labels,
            prompt_list(self.prompt),
            replace(settings, answers=answers, objective=self._objective(answers)),
            on_long_label=self.on_long_label,
            sample_weight=sample_weight,
            groups=groups,
            going_on=going_on,
        )
        session.checkpoint.anchors = exemplars
        self.history_ = outcome.history
        self.interrupted_ = outcome.interrupted
        return self

    def _calibrate(self, clips: Clips | Features, targets: Array, labels: LabelSet) -> Self:
        session = self._ready()
        features = self._read(clips)
        rows = readable(features, "calibrated on", least=True)
        session.calibrate(
            [features[row] for row in rows],
            targets[rows],
            multi_label=self.multi_label,
            labels=labels,
            prompts=prompt_list(self.prompt),
            on_long_label=self.on_long_label,
            answers=self._source(labels),
        )
        return self
