"""What the encoders give without the decoder that fuses them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

from merclip.engine import LabelTokens, check_origin, label_tokens
from merclip.errors import LabelError
from merclip.evaluation.baselines.base import Baseline, LearnedBaseline
from merclip.labels import prompt_list
from merclip.network import MERCLIP
from merclip.network.encoders import last_positions
from merclip.preprocess import Features, pad_features
from merclip.scoring import probabilities

Array = np.ndarray[Any, Any]

_CHUNK = 256


class ModelBaseline(Baseline):
    """A baseline on a classifier's encoders, which it uses as they are.

    Parameters
    ----------
    classifier : EmotionClassifier
        Its labels, `multi_label` and ways of reading clips hold; it is not changed.
    """

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    @property
    def takes_features(self) -> bool:
        """Whether features that were made before the classifier was fitted are still its own."""
        return bool(self.classifier.tune != "full")

    @property
    def encodes_alike(self) -> bool:
        """Whether classifiers that were fitted apart encode clips alike."""
        return self.takes_features

    def encode(self, X: Any) -> Features:
        """Return features, those of a clip that cannot be read without sequences.

        Raises
        ------
        InputError
            `X` are features that other encoders made.
        """
        if isinstance(X, Features):
            check_origin(X, self.classifier.encode([]).origin)
            return X
        reader = copy.copy(self.classifier)
        if reader.on_error == "skip":  # rows must stay beside their labels
            reader.on_error = "nan"
        encoded: Features = reader.encode(X)
        return encoded

    def _known_labels(self) -> Any:
        return self.classifier.labels

    def _many(self) -> bool:
        return bool(self.classifier.multi_label)

    def _usable(self, rows: Features) -> Array:
        return np.array([bool(clip.sequences) for clip in rows], dtype=bool)


class UntrainedBaseline(ModelBaseline):
    """A baseline that has nothing to learn; without `fit` it knows the classifier's labels.

    `fit` takes the labels of `y` if the classifier was given none, and the prior.
    """

    def _learn(self, rows: Features, targets: Array) -> None:
        pass

    def _fallback(self) -> Array:
        if hasattr(self, "prior_"):
            return self.prior_
        n_classes = len(self.classes_)
        return np.full(n_classes, 0.5 if self._many() else 1 / n_classes)

    def _check_fitted(self) -> None:
        if not hasattr(self, "_label_set"):
            self._label_set = self.classifier.labels_

    def __sklearn_is_fitted__(self) -> bool:
        fitted: bool = self.classifier.__sklearn_is_fitted__()
        return fitted or hasattr(self, "_label_set")


class PlainClip(UntrainedBaseline):
    """CLIP's own zero-shot classification: no decoder, and nothing learned.

    The mean of the global embeddings of a clip's modalities, each of norm 1, is
    compared with the labels by cosine. Encoders and scales are the model's; labels
    stand without learned contexts. Sound is left out as long as the audio tower is
    the copy of the image tower that it starts as, and has heard nothing.

    Parameters
    ----------
    classifier : EmotionClassifier

    Raises
    ------
    LabelError
        In `predict`: the model has no label encoder.

    Notes
    -----
    Source: Radford et al., "CLIP", ICML 2021; the mean over modalities is ours.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.evaluation.baselines import PlainClip
    >>> clf = EmotionClassifier(["happy", "sad"])
    >>> PlainClip(clf).predict([{"text": "What a lovely day!"}]).tolist()
    ['happy']
    """

    def _probability(self, rows: Features, usable: Array) -> Array:
        network = self.classifier.network_
        if not network.config.use_label_encoder:
            raise LabelError("A network without a label encoder cannot compare clips with labels.")
        embeddings = global_embeddings(network, rows[usable.tolist()])
        if not hears(network):
            del embeddings["A"]
        clips = functional.normalize(torch.from_numpy(sum(embeddings.values())), dim=-1)
        with torch.inference_mode():
            labels = plain_labels(network, self._tokens(network))
            logits = network.logits(clips.to(network.device), labels, self._many())
        return probabilities(logits.cpu().numpy(), multi_label=self._many())

    def _tokens(self, network: MERCLIP) -> LabelTokens:
        prompts = prompt_list(self.classifier.prompt)
        limit, on_long_label = network.max_label_tokens, self.classifier.on_long_label
        return label_tokens(self._label_set, prompts, limit, on_long_label)


class LateFusion(UntrainedBaseline):
    """The model's answers to each modality alone, averaged.

    Parameters
    ----------
    classifier : EmotionClassifier
        Give it fitted, if it is to be: here it learns nothing.

    Notes
    -----
    The mean of probabilities is our choice.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.evaluation.baselines import LateFusion
    >>> clf = EmotionClassifier(["happy", "sad"])
    >>> LateFusion(clf).predict([{"text": "What a lovely day!"}]).tolist()
    ['happy']
    """

    def _probability(self, rows: Features, usable: Array) -> Array:
        asked = self.classifier.with_labels(self._label_set)
        total = np.zeros((len(usable), len(self.classes_)))
        count = np.zeros((len(usable), 1))
        for letter in sorted(self.classifier.network_.config.fusion):
            has = [place for place, index in enumerate(usable) if letter in _parts(rows, index)]
            if has:
                total[has] += asked.predict_proba(alone(rows[usable[has].tolist()], letter))
                count[has] += 1
        return total / count


class Concatenation(ModelBaseline, LearnedBaseline):
    """Global embeddings side by side and one linear layer: the paper's "w/o CMD, LE".

    The layer is scikit-learn's logistic regression, with its default penalty, over
    standardised embeddings; the encoders are not trained with it, which the paper
    does. A modality that a clip lacks is a block of zeros.

    Parameters
    ----------
    classifier : EmotionClassifier

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> from merclip.evaluation.baselines import Concatenation
    >>> clf = EmotionClassifier(["happy", "sad"])
    >>> clips = [{"text": "I love it!"}, {"text": "He died."}]
    >>> Concatenation(clf).fit(clips, ["happy", "sad"]).predict(clips).tolist()
    ['happy', 'sad']
    """

    def _values(self, rows: Features, usable: Array) -> Array:
        embeddings = global_embeddings(self.classifier.network_, rows[usable.tolist()])
        return np.concatenate(list(embeddings.values()), axis=1)

    def _steps(self) -> list[Any]:
        return [StandardScaler(), LogisticRegression(max_iter=1000)]


def hears(network: MERCLIP) -> bool:
    """Tell whether sound means something to a network: not to a copy of its image tower."""
    if not {"A", "V"} <= set(network.config.fusion):
        return True
    sound, pictures = (network.encoders[letter].state_dict() for letter in "AV")
    if sound.keys() != pictures.keys():
        return True
    return not all(torch.equal(sound[name], pictures[name]) for name in pictures)


def plain_labels(network: MERCLIP, tokens: LabelTokens) -> Tensor:
    """Return embeddings of labels without contexts, of shape (k, D) and norm 1."""
    rows, lengths = network.label_encoder(tokens.ids)
    embeddings = functional.normalize(last_positions(rows, lengths).float(), dim=-1)
    sums = embeddings.new_zeros(tokens.n_classes, embeddings.shape[1])
    sums = sums.index_add(0, tokens.owner.to(embeddings.device), embeddings)
    return functional.normalize(sums, dim=-1)


def global_embeddings(network: MERCLIP, features: Features) -> dict[str, Array]:
    """Return each modality's global embeddings, of norm 1.

    Parameters
    ----------
    network : MERCLIP
    features : Features

    Returns
    -------
    dict from modality letter to ndarray of shape (n, D), float32
        All letters of the network, sorted. Rows of clips that lack the modality
        are zero.
    """
    letters = sorted(network.config.fusion)
    chunks: list[dict[str, Array]] = []
    for start in range(0, len(features), _CHUNK):
        batch = pad_features(features[start : start + _CHUNK], network.device)
        with torch.inference_mode():
            found = network.global_embeddings(batch)
        empty = torch.zeros(batch.size, network.config.width)
        rows = {letter: found.get(letter, empty).float() for letter in letters}
        chunks.append({letter: _of_norm_1(values) for letter, values in rows.items()})
    return {letter: np.concatenate([chunk[letter] for chunk in chunks]) for letter in letters}


def alone(features: Features, letter: str) -> Features:
    """Return features with one modality, which every clip must have."""
    clips = [replace(clip, sequences={letter: clip.sequences[letter]}) for clip in features]
    return Features(clips, features.origin)


def _of_norm_1(values: Tensor) -> Array:
    return np.asarray(functional.normalize(values, dim=-1).cpu().numpy())


def _parts(rows: Features, index: Any) -> Any:
    return rows[int(index)].sequences
