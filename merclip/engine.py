"""Clips to features to logits, in batches, each bad clip kept to itself."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from merclip._ahead import map_ahead, working
from merclip._optional import install_of
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
from merclip.network import Checkpoint, NetworkConfig
from merclip.network.evidence import doubt
from merclip.precision import Runner, Running, add_samples, written_to
from merclip.preprocess import (
    ClipFeatures,
    Encoded,
    FaceFinder,
    FeatureCache,
    Features,
    FrameChoice,
    Place,
    Preprocessor,
    Reader,
    Sample,
    VisionConfig,
    pad_features,
    weights_digest,
)
from merclip.preprocess.text import known_share, tokenize
from merclip.rows import reason_of, with_row
from merclip.types import Clip
from merclip.typical import typical_clips

OnError = Literal["raise", "skip", "nan"]
Face = Literal["auto", "always", "never"]
_MOST_LABEL_SETS, _MOST_SAID = 64, 1000
"""Memory of the embeddings of label sets, and of warnings given in one run."""
_MOST_THREADS = 8
"""That read clips; each decoder has threads of its own besides."""


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
    frames : {"exact", "fast"}
        "fast" may take a key frame in place of one that is near.
    cache : FeatureCache or None
        Where features are kept, and looked for before a clip is read.
    ahead : bool
        Whether clips beyond the batch are read while the encoders work. Without it no clip
        is asked for before it is needed, as suits those that come in as time goes by.
    """

    batch_size: int = 16
    use_video_audio: bool = True
    on_error: OnError = "raise"
    for_training: bool = False
    face: Face = "auto"
    frames: FrameChoice = "exact"
    cache: FeatureCache | None = None
    ahead: bool = True


class _Asked(NamedTuple):
    """A clip of a run, what reads it, and of which weights the cache is then asked."""

    row: int
    clip: Clip
    reader: Reader
    written: list[tuple[int, int]] | None


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
    running : Running, optional
        How the encoders are run.
    """

    def __init__(self, checkpoint: Checkpoint, running: Running | None = None) -> None:
        self.checkpoint = checkpoint
        self.network = checkpoint.network
        self.runner = Runner(self.network, running or Running())
        # The most recently used last. A service may ask for other labels in each request.
        self._labels: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()
        self._labels_lock = threading.Lock()
        self._query: Tensor | None = None
        self._typical: dict[str, Tensor] | None = None
        self._digest: tuple[Any, str] = (None, "")

    def encode(self, clips: Iterable[Clip], reading: Reading) -> Iterator[ClipFeatures]:
        """Encode clips batch by batch, in order, while threads read those that come next.

        At most a batch and twice the number of threads are held at a time. The threads end
        with the generator.

        Yields
        ------
        ClipFeatures
        """
        preprocessor = self.preprocessor(reading)
        if preprocessor.modalities != self.network.config.fusion:
            _warn_of_untrained_fusion()
        said: set[str] = set()
        n_threads = 0 if isinstance(clips, Sized) and len(clips) == 1 else reading_threads()
        with working(n_threads) as pool:
            begun = map_ahead(
                pool,
                lambda asked: asked.reader(asked.clip),
                self._asked(clips, preprocessor, reading.cache),
                ahead=2 * n_threads * reading.ahead,
                here=lambda asked: _is_read_here(asked.clip),
            )
            while batch := list(itertools.islice(begun, reading.batch_size)):
                read = [self._read(*one, reading.on_error, said) for one in batch]
                del batch  # and with it what was read, before the encoders need memory
                yield from self._encode_batch(read)

    def encode_samples(self, samples: Sequence[Sample]) -> list[ClipFeatures]:
        """Encode clips that are tensors already, all at once."""
        return self._encode_batch([_Read(None, sample) for sample in samples])

    def preprocessor(self, reading: Reading) -> Preprocessor:
        """Return what turns clips into tensors for this network."""
        modalities = self.network.config.fusion
        if not (self.network.fusion_trained or reading.for_training):
            modalities = modalities.replace("A", "")
        preprocess = self.checkpoint.preprocess
        finder = face_finder(preprocess.vision, reading.face) if "V" in modalities else None
        return Preprocessor(preprocess, modalities, reading.use_video_audio, finder, reading.frames)

    def label_embeddings(self, labels: LabelSet, prompts: list[str], on_long_label: str) -> Tensor:
        """Return label embeddings of shape (k, D), encoded once for each label set."""
        key = (on_long_label, labels, *prompts)
        with self._labels_lock:
            if key in self._labels:
                self._labels.move_to_end(key)
                return self._labels[key]
        tokens = label_tokens(labels, prompts, self.network.max_label_tokens, on_long_label)
        with self.runner.computing():
            embeddings = embed_labels(self.network, tokens)
        with self._labels_lock:
            self._labels[key] = embeddings
            while len(self._labels) > _MOST_LABEL_SETS:
                self._labels.popitem(last=False)
        return embeddings

    def forget_labels(self) -> None:
        """Encode labels, and the decoder's query, anew after the network has changed."""
        with self._labels_lock:
            self._labels.clear()
            self._query = self._typical = None

    def fused(
        self, features: Sequence[ClipFeatures], offsets: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return fused embeddings of shape (n, D), on the CPU; `offsets` as in `MERCLIP.fuse`."""
        chunks = []
        typical = None if self.network.fusion_trained else self._mean_of_typical()
        with self.runner.computing():
            query = self._query
            if query is None:
                query = self._query = self.network.query()
            for start in range(0, len(features), 256):
                part = features[start : start + 256]
                _check_shapes(part, self.network.config)
                batch = pad_features(part, self.network.device)
                chunks.append(self.network.fuse(batch, query, offsets, typical).cpu())
        return torch.cat(chunks) if chunks else torch.zeros(0, self.network.config.width)

    def _mean_of_typical(self) -> dict[str, Tensor]:
        """Return the mean embedding of typical clips of each modality, encoded once."""
        # Not of the clips of a batch: a clip's scores must not depend on its company.
        if self._typical is None:
            preprocessor = self.preprocessor(Reading(face="never"))
            self._typical = {}
            for letter in preprocessor.modalities:
                clips = typical_clips(letter)
                features = self.encode_samples([preprocessor(clip) for clip in clips])
                with self.runner.computing():
                    batch = pad_features(features, self.network.device)
                    found = self.network.global_embeddings(batch)[letter]
                self._typical[letter] = functional.normalize(found, dim=-1).mean(dim=0)
        return self._typical

    def logits(
        self,
        features: Sequence[ClipFeatures],
        compare: Callable[[Tensor], Tensor],
        offsets: Mapping[str, Tensor] | None = None,
    ) -> np.ndarray[Any, Any]:
        """Return logits of shape (n, k); NaN for clips that could not be read.

        Parameters
        ----------
        features : sequence of length n of ClipFeatures
        compare : callable
            From fused embeddings of shape (n, D) to logits.
        offsets : mapping from modality letter to Tensor of shape (D,), optional
            As in `MERCLIP.fuse`.
        """
        self._warn_of_doubts(features)
        logits = self.compared(self.fused(features, offsets), compare)
        failed = [clip.error is not None for clip in features]
        logits[failed] = np.nan
        return logits

    def compared(self, fused: Tensor, compare: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        """Return logits of shape (n, k) of fused embeddings of shape (n, D)."""
        with self.runner.computing():
            found: np.ndarray[Any, Any] = compare(fused.to(self.network.device)).cpu().numpy()
        return found

    def doubted(self, clip: ClipFeatures) -> str:
        """Return the letters of modalities in which nothing is recognised."""
        if self.network.evidence is None:
            return ""
        with self.runner.computing():
            return self.network.evidence.doubted(clip)

    def _warn_of_doubts(self, features: Sequence[ClipFeatures]) -> None:
        """Say once for each modality in how many clips nothing is recognised."""
        found: dict[str, list[str]] = {}
        for row, clip in enumerate(features):
            for letter in self.doubted(clip):
                said = f"{clip.id or f'Clip {row}'}: {doubt(clip, letter)}"
                found.setdefault(letter, []).append(said)
        for first, *rest in found.values():
            warn(ModalityWarning(first + (f" (So in {len(rest)} more clips.)" if rest else "")))

    def fingerprint(self) -> str:
        """Return a hash of the encoders, which features carry."""
        digest = hashlib.sha256(self.network.config.fusion.encode())
        add_samples(digest, self.network.encoders)
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
        return written_to(self.network.encoders)

    def _reader(self, preprocessor: Preprocessor, cache: FeatureCache) -> Reader:
        config = self.network.config
        setup: dict[str, Any] = {
            "weights": self.encoders_digest(),
            "backbone": config.backbone,
            "lengths": [config.max_frames, config.max_segments],
            "device": self.network.device.type,
            "precision": torch.get_float32_matmul_precision(),
            "dtypes": {letter: str(dtype) for letter, dtype in self.runner.dtypes().items()},
        }
        backends = self.runner.backends()
        if set(backends.values()) != {"torch"}:
            setup["backends"] = backends
        return Reader(preprocessor, cache.shelf(preprocessor, setup))

    def _asked(
        self, clips: Iterable[Clip], preprocessor: Preprocessor, cache: FeatureCache | None
    ) -> Iterator[_Asked]:
        reader, written = Reader(preprocessor, None), None
        for index, clip in enumerate(clips):
            # Who takes features as they come may train the encoders in between.
            if cache is not None and written != (now := self._written()):
                reader, written = self._reader(preprocessor, cache), now
            yield _Asked(index, clip, reader, written)

    def _read(
        self,
        asked: _Asked,
        outcome: Callable[[], tuple[Sample | Encoded, Place | None]],
        on_error: OnError,
        said: set[str],
    ) -> _Read:
        index, clip = asked.row, asked.clip
        try:
            content, place = outcome()
            if asked.written is not None and asked.written != self._written():
                place = None
                if isinstance(content, Encoded):
                    content = asked.reader.preprocessor(clip)
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
        vision = self.checkpoint.preprocess.vision
        with self.runner.computing():
            rows = iter(self.network.encode(samples, vision, self.runner))
            words = self.network.known_words()
        return [_features(item, rows, words) for item in read]


def _features(item: _Read, rows: Iterator[dict[str, Tensor]], words: Tensor | None) -> ClipFeatures:
    """Return a clip's features; of a sample, they are the next of the encoders' rows."""
    content = item.content
    if isinstance(content, MerclipError):
        return ClipFeatures({}, item.name, error=reason_of(content))
    if isinstance(content, Sample):
        # Clones let go of the batch's storage, of which each row is a view.
        sequences = {letter: part.cpu().clone() for letter, part in next(rows).items()}
        tokens = content.tokens
        known = None if tokens is None or words is None else known_share(tokens, words)
        content = Encoded(sequences, content.warnings, content.faces, known)
        if item.place is not None:
            item.place.save(content)
    return content.features(item.name)


def reading_threads() -> int:
    """Return how many threads read clips: one less than torch may use, and at most 8.

    So ``OMP_NUM_THREADS=1`` keeps a process to one core, as it does elsewhere.
    """
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return max(0, min(cores, torch.get_num_threads(), _MOST_THREADS + 1) - 1)


def _is_read_here(clip: Clip) -> bool:
    """Return whether a clip must not be read in a thread, or is not worth one.

    Text alone takes less time than to hand it over. An open file has one position, and
    other clips may be parts of it.
    """
    media = [part for part in (clip.video, clip.audio) if part is not None]
    return not media or any(hasattr(part, "read") for part in media)


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


def _check_shapes(features: Sequence[ClipFeatures], config: NetworkConfig) -> None:
    longest = {"L": config.context_length, "V": config.max_frames, "A": config.max_segments}
    for clip in features:
        for letter, part in clip.sequences.items():
            fits = part.ndim == 2 and part.shape[1] == config.width
            if not fits or len(part) > longest.get(letter, 0):
                raise InputError(
                    f"Features of shape {tuple(part.shape)} do not fit this model, which takes "
                    f"{longest.get(letter, 0)} rows of {config.width} at most; encode the clips "
                    "again."
                )


def _report_long_label(text: str, lost: str, on_long_label: str) -> None:
    message = f"The label {shown(text)} is too long; this part is lost: {shown(lost)}."
    if on_long_label == "raise":
        raise LabelError(message)
    warn(LabelTooLongWarning(message))


def _warn_of_whole_frames() -> None:
    message = (
        "This model was trained on faces, and without OpenCV none is found: it sees whole "
        f"frames. Install it ({install_of('face')}), or set face='never'."
    )
    warn(FaceWarning(message))


def _warn_of_untrained_fusion() -> None:
    message = (
        "This model's fusion is not trained yet: text and video are compared with the labels, "
        "and sound is left out. Call fit first."
    )
    warn(ModalityWarning(message))
