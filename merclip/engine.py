"""Clips to features to logits, in batches, each bad clip kept to itself."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from merclip._shown import shown
from merclip._warn import warn
from merclip.errors import (
    DeviceError,
    FaceWarning,
    InputError,
    LabelError,
    LabelTooLongWarning,
    MerclipError,
    MissingExtraError,
    ModalityWarning,
)
from merclip.inputs import as_ours
from merclip.labels import LabelSet
from merclip.network import Checkpoint
from merclip.preprocess import (
    ClipFeatures,
    Encoded,
    FaceFinder,
    FeatureCache,
    Features,
    Place,
    Preprocessor,
    Reader,
    Sample,
    VisionConfig,
    pad_features,
    weights_digest,
)
from merclip.preprocess.text import tokenize
from merclip.rows import reason_of, with_row
from merclip.types import Clip

OnError = Literal["raise", "skip", "nan"]
Face = Literal["auto", "always", "never"]
_MOST_LABEL_SETS, _MOST_SAID = 64, 1000
"""Memory of the embeddings of label sets, and of warnings given in one run."""


class LabelTokens(NamedTuple):
    """Token ids of every description, and which class each belongs to."""

    ids: list[Tensor]
    owner: Tensor
    n_classes: int


@dataclass(frozen=True)
class Reading:
    """How clips are read.

    Parameters
    ----------
    batch_size : int
        Clips that go through the towers together.
    use_video_audio : bool
        Whether a video brings its own sound when no `audio` is given.
    on_error : {"raise", "skip", "nan"}
        "raise" ends with the first clip that cannot be read; the others give features
        without sequences whose `error` says why, and "skip" is up to who takes them.
    for_training : bool
        Read every modality that the network takes, also those that it cannot
        use before it is trained.
    face : {"auto", "always", "never"}
        Whether frames are cropped to the speaker's face. "auto": if the towers
        were trained on faces and OpenCV is installed.
    cache : FeatureCache or None
        Where features are kept, and looked for before a clip is read.
    """

    batch_size: int = 16
    use_video_audio: bool = True
    on_error: OnError = "raise"
    for_training: bool = False
    face: Face = "auto"
    cache: FeatureCache | None = None


class _Read(NamedTuple):
    """A clip's name, what was read of it or why nothing was, and where to keep features."""

    name: str | None
    content: Sample | Encoded | MerclipError
    place: Place | None = None


class Engine:
    """Run one checkpoint's network.

    Parameters
    ----------
    checkpoint : Checkpoint
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.network = checkpoint.network
        # The most recently used last. A service may ask for other labels in each request.
        self._labels: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()
        self._labels_lock = threading.Lock()
        self._digest: tuple[Any, str] = (None, "")

    def encode(self, clips: Iterable[Clip], reading: Reading) -> Iterator[ClipFeatures]:
        """Encode clips batch by batch, in order, holding one batch at a time.

        Yields
        ------
        ClipFeatures
        """
        preprocessor = self.preprocessor(reading)
        if preprocessor.modalities != self.network.config.fusion:
            _warn_of_untrained_fusion()
        numbered = enumerate(clips)
        said: set[str] = set()
        reader, made_for = Reader(preprocessor, None), None
        while batch := list(itertools.islice(numbered, reading.batch_size)):
            # Who takes features as they come may train the encoders in between.
            if reading.cache is not None and made_for != (now := self._written()):
                reader, made_for = self._reader(preprocessor, reading.cache), now
            read = [self._read(reader, i, clip, reading.on_error, said) for i, clip in batch]
            yield from self._encode_batch(read)

    def preprocessor(self, reading: Reading) -> Preprocessor:
        """Return what turns clips into tensors for this network."""
        modalities = self.network.config.fusion
        if not (self.network.fusion_trained or reading.for_training):
            modalities = modalities.replace("A", "")
        preprocess = self.checkpoint.preprocess
        finder = face_finder(preprocess.vision, reading.face) if "V" in modalities else None
        return Preprocessor(preprocess, modalities, reading.use_video_audio, finder)

    def label_embeddings(self, labels: LabelSet, prompts: list[str], on_long_label: str) -> Tensor:
        """Return label embeddings of shape (k, D), encoded once for each label set."""
        key = (on_long_label, *map(tuple, labels.texts(prompts)))
        with self._labels_lock:
            if key in self._labels:
                self._labels.move_to_end(key)
                return self._labels[key]
        tokens = label_tokens(labels, prompts, self.network.max_label_tokens, on_long_label)
        with torch.inference_mode():
            embeddings = embed_labels(self.network, tokens)
        with self._labels_lock:
            self._labels[key] = embeddings
            while len(self._labels) > _MOST_LABEL_SETS:
                self._labels.popitem(last=False)
        return embeddings

    def forget_labels(self) -> None:
        """Encode labels anew after the network has changed."""
        with self._labels_lock:
            self._labels.clear()

    def fused(self, features: Sequence[ClipFeatures]) -> Tensor:
        """Return fused embeddings of shape (n, D), on the CPU."""
        chunks = []
        with torch.inference_mode():
            for start in range(0, len(features), 256):
                batch = pad_features(features[start : start + 256], self.network.device)
                chunks.append(self.network.fuse(batch).cpu())
        return torch.cat(chunks) if chunks else torch.zeros(0, self.network.config.width)

    def logits(
        self, features: Sequence[ClipFeatures], labels: Tensor | None, multi_label: bool
    ) -> np.ndarray[Any, Any]:
        """Return logits of shape (n, k); NaN for clips that could not be read."""
        fused = self.fused(features).to(self.network.device)
        with torch.inference_mode():
            logits = self.network.logits(fused, labels, multi_label).cpu().numpy()
        failed = [clip.error is not None for clip in features]
        logits[failed] = np.nan
        return logits

    def fingerprint(self) -> str:
        """Return a hash of the encoders, which features carry."""
        digest = hashlib.sha256(self.network.config.fusion.encode())
        for name, tensor in self.network.encoders.state_dict().items():
            flat = tensor.detach().flatten()
            sampled = flat[:: max(1, len(flat) // 64)].float().cpu().numpy()
            digest.update(name.encode() + sampled.tobytes())
        return digest.hexdigest()[:16]

    def encoders_digest(self) -> str:
        """Return a hash of every weight of the encoders, worked out anew if they changed."""
        # Going through all weights takes a second for large encoders.
        seen = self.fingerprint(), self._written()
        if self._digest[0] != seen:
            self._digest = seen, weights_digest(self.network.encoders.state_dict())
        return self._digest[1]

    def _written(self) -> list[tuple[int, int]]:
        """Return where each of the encoders' weights lies, and how often it was written to."""
        return [
            (tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version)
            for tensor in self.network.encoders.state_dict().values()
        ]

    def _reader(self, preprocessor: Preprocessor, cache: FeatureCache) -> Reader:
        config = self.network.config
        setup = {
            "weights": self.encoders_digest(),
            "backbone": config.backbone,
            "lengths": [config.max_frames, config.max_segments],
            "device": self.network.device.type,
            "precision": torch.get_float32_matmul_precision(),
        }
        return Reader(preprocessor, cache.shelf(preprocessor, setup))

    def _read(
        self, reader: Reader, index: int, clip: Clip, on_error: OnError, said: set[str]
    ) -> _Read:
        try:
            content, place = reader(clip)
        except Exception as error:
            ours = as_ours(error)
            if on_error == "raise":
                raise with_row(ours, index, clip) from error
            return _Read(clip.name, ours)
        for warning in content.warnings:
            # A thousand clips with the same lack are one warning; each keeps its own in results.
            if str(warning) in said:
                continue
            if len(said) >= _MOST_SAID:  # a run may be endless, and each of its warnings another
                said.clear()
            said.add(str(warning))
            named = type(warning)(f"{clip.name or f'Clip {index}'}: {warning}")
            warn(named)
        return _Read(clip.name, content, place)

    def _encode_batch(self, read: list[_Read]) -> list[ClipFeatures]:
        samples = [item.content for item in read if isinstance(item.content, Sample)]
        with torch.inference_mode():
            rows = iter(self.network.encode(samples, self.checkpoint.preprocess.vision))
        return [_features(item, rows) for item in read]


def _features(item: _Read, rows: Iterator[dict[str, Tensor]]) -> ClipFeatures:
    """Return a clip's features; of a sample, they are the next of the encoders' rows."""
    content = item.content
    if isinstance(content, MerclipError):
        return ClipFeatures({}, item.name, error=reason_of(content))
    if isinstance(content, Sample):
        # Clones let go of the batch's storage, of which each row is a view.
        sequences = {letter: part.cpu().clone() for letter, part in next(rows).items()}
        content = Encoded(sequences, content.warnings, content.faces)
        if item.place is not None:
            item.place.save(content)
    return content.features(item.name)


def label_tokens(
    labels: LabelSet, prompts: Sequence[str], limit: int, on_long_label: str = "warn"
) -> LabelTokens:
    """Tokenise every description in every prompt.

    Parameters
    ----------
    labels : LabelSet
    prompts : sequence of str
    limit : int
        Tokens that a label may have, start and end included.
    on_long_label : {"warn", "raise"}
    """
    ids, owner = [], []
    for index, texts in enumerate(labels.texts(prompts)):
        for text in texts:
            tokens = tokenize(text, limit)
            if tokens.lost:
                _report_long_label(text, tokens.lost, on_long_label)
            ids.append(tokens.ids)
            owner.append(index)
    return LabelTokens(ids, torch.tensor(owner), len(labels))


def embed_labels(network: Any, tokens: LabelTokens) -> Tensor:
    """Encode labels and average each class's descriptions: shape (k, D), of norm 1."""
    embeddings = network.encode_labels(tokens.ids)
    sums = embeddings.new_zeros(tokens.n_classes, embeddings.shape[1])
    sums = sums.index_add(0, tokens.owner.to(embeddings.device), embeddings)
    return functional.normalize(sums, dim=-1)


def face_finder(vision: VisionConfig, face: Face) -> FaceFinder | None:
    """Return what crops frames to faces, or None where whole frames are used.

    Raises
    ------
    MissingExtraError
        ``face="always"`` without OpenCV.
    """
    if face == "never" or not (vision.faces or face == "always"):
        return None
    try:
        return FaceFinder()
    except MissingExtraError:
        if face == "always":
            raise
        _warn_of_whole_frames()
        return None


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device that was asked for, or the best there is.

    Raises
    ------
    DeviceError
        The device does not exist here.
    """
    seen = ["cpu"]
    if torch.backends.mps.is_available():
        seen.insert(0, "mps")
    if torch.cuda.is_available():
        seen.insert(0, "cuda")
    if device is None:
        return torch.device(seen[0])
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"device={shown(device)} is not a device of torch, such as 'cpu', 'cuda' or 'mps'."
        ) from error
    count = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if chosen.type not in seen or (chosen.index or 0) >= count:
        raise DeviceError(f"There is no device {str(chosen)!r}; this machine has {seen}.")
    return chosen


def check_origin(features: Features, fingerprint: str) -> None:
    """Refuse features that other encoders made.

    Raises
    ------
    InputError
    """
    if features.origin != fingerprint:
        raise InputError("These features were made by another model; encode the clips again.")


def _report_long_label(text: str, lost: str, on_long_label: str) -> None:
    message = f"The label {shown(text)} is too long; this part is lost: {shown(lost)}."
    if on_long_label == "raise":
        raise LabelError(message)
    warn(LabelTooLongWarning(message))


def _warn_of_whole_frames() -> None:
    message = (
        "This model was trained on faces, and without OpenCV none is found: it sees whole "
        "frames. Install it (pip install 'merclip[face]'), or set face='never'."
    )
    warn(FaceWarning(message))


def _warn_of_untrained_fusion() -> None:
    message = (
        "This model's fusion is not trained yet: text and video are compared with the labels, "
        "and sound is left out. Call fit first."
    )
    warn(ModalityWarning(message))
