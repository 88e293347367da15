"""The feature cache: what the encoders made of clips, on disk, by the clips' content."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import numbers
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from merclip._optional import import_opencv
from merclip._version import __version__
from merclip.errors import InputError, InputTypeError, MerclipWarning
from merclip.inputs import with_media
from merclip.preprocess.content import Content, content_of
from merclip.preprocess.feature_file import is_share
from merclip.preprocess.features import MODALITIES, ClipFeatures, are_features
from merclip.preprocess.sample import Preprocessor, Sample
from merclip.preprocess.store import Store, open_store
from merclip.types import Clip

MAX_BYTES = 10 * 2**30
"""Size of a cache that is given by its directory alone."""

_FORMAT = 1
_PACKAGES = ("torch", "torchaudio", "av", "pillow", "open_clip_torch")
_CODE = ("media/*.py", "preprocess/*.py", "network/*.py", "inputs.py", "types.py")


@dataclass(frozen=True)
class FeatureCache:
    """A directory that keeps what the encoders made of clips.

    A clip is found again by its content, not by its name, and only by a model with
    the very same encoders that reads it in the same way. Several processes may share
    a directory. Errors are not kept. What is kept is as confidential as the clips, and only
    the user whose process made it can read it.

    Parameters
    ----------
    directory : path
        Made at first use. It may be deleted at any time.
    max_bytes : int
        Those clips that were not used for the longest time leave where there would be
        more.

    Raises
    ------
    InputTypeError, InputError
        `directory` is no path, or `max_bytes` is not a number of at least 1.

    Examples
    --------
    >>> from merclip import FeatureCache
    >>> FeatureCache("features", max_bytes=2 * 10**9)
    FeatureCache(directory='features', max_bytes=2000000000)
    """

    directory: str | os.PathLike[str]
    max_bytes: int = field(default=MAX_BYTES, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.directory, (str, os.PathLike)):
            kind = type(self.directory).__name__
            raise InputTypeError(f"A feature cache is the path of a directory, got {kind}.")
        if not os.fspath(self.directory):
            raise InputError("A feature cache is the path of a directory, got an empty one.")
        limit = self.max_bytes
        whole = isinstance(limit, numbers.Real) and not isinstance(limit, bool)
        if not whole or not 1 <= limit < float("inf"):
            raise InputError(f"max_bytes is a number of at least 1, got {limit!r}.")
        object.__setattr__(self, "max_bytes", int(limit))

    @classmethod
    def of(cls, value: Any) -> FeatureCache | None:
        """Return a cache for a directory; a cache and None stay what they are.

        Parameters
        ----------
        value : path, FeatureCache or None

        Returns
        -------
        FeatureCache or None
        """
        return value if value is None or isinstance(value, cls) else cls(value)

    def shelf(self, preprocessor: Preprocessor, encoders: Mapping[str, Any]) -> Shelf:
        """Return the part of the cache for one way to read and encode clips.

        Parameters
        ----------
        preprocessor : Preprocessor
        encoders : mapping
            All that their output depends on besides the input, as JSON takes it.

        Returns
        -------
        Shelf

        Raises
        ------
        InputError
            The directory cannot be made.
        """
        folder = os.path.abspath(self.directory)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The feature cache {folder!r} cannot be made ({error.strerror}): give another "
                "directory."
            ) from error
        setup = {
            "encoders": encoders,
            "preprocessor": preprocessor.to_dict(),
            "versions": versions(with_faces=preprocessor.finder is not None),
        }
        return Shelf(open_store(folder, self.max_bytes), setup)


@dataclass(frozen=True, eq=False)
class Encoded:
    """What reading and encoding a clip gives, whatever the clip is called.

    Parameters
    ----------
    sequences, faces, known
        As in `ClipFeatures`.
    warnings : tuple of MerclipWarning
    """

    sequences: Mapping[str, Tensor]
    warnings: tuple[MerclipWarning, ...] = ()
    faces: int | None = None
    known: float | None = None

    def features(self, name: str | None) -> ClipFeatures:
        """Return the features of a clip of a name."""
        messages = tuple(map(str, self.warnings))
        return ClipFeatures(self.sequences, name, messages, faces=self.faces, known=self.known)


class Shelf:
    """Features of many clips, all encoded in one way.

    Parameters
    ----------
    store : Store
    setup : mapping
        Features of another one are never found.
    """

    def __init__(self, store: Store, setup: Mapping[str, Any]) -> None:
        self.store = store
        self._setup = _digest([_FORMAT, setup])

    def place(self, clip: Clip) -> Place | None:
        """Return where a clip's features are kept.

        None stands for clips whose content cannot be told without using it up, such as a
        stream that cannot seek, and for files that cannot be read.

        Raises
        ------
        MerclipError
            As `merclip.inputs.with_media` does for what is no clip.
        """
        given = with_media(clip)
        contents = [content_of(part, self.store) for part in (given.video, given.audio)]
        known = tuple(content for content in contents if content is not None)
        if len(known) < len(contents):
            return None
        end = None if given.end is None else float(given.end)
        parts = [content.digest for content in known]
        key = _digest([self._setup, *parts, given.text, float(given.start), end, given.region])
        return Place(self.store, key, known)


@dataclass(frozen=True)
class Place:
    """Where the features of one clip are kept.

    Parameters
    ----------
    store : Store
    key : str
    contents : tuple of Content
        Of the clip's video and sound.
    """

    store: Store
    key: str
    contents: tuple[Content, ...]

    def load(self) -> Encoded | None:
        """Return what is kept; None if that is nothing, or not what was written."""
        content = self.store.read(self._name)
        return None if content is None else _unpack(content, self.key, self._sources)

    def save(self, encoded: Encoded) -> None:
        """Keep features, unless the clip's file has changed while it was read."""
        fit = are_features(encoded.sequences)
        if fit and all(content.still_holds() for content in self.contents):
            self.store.write(self._name, _pack(encoded, self.key, self._sources))

    @property
    def _name(self) -> str:
        return f"{self.key}.safetensors"

    @property
    def _sources(self) -> list[str | None]:
        return [content.name for content in self.contents]


class Reader:
    """Read clips, and those that the cache knows without decoding anything.

    Parameters
    ----------
    preprocessor : Preprocessor
    shelf : Shelf or None
        None is no cache.
    """

    def __init__(self, preprocessor: Preprocessor, shelf: Shelf | None) -> None:
        self.preprocessor, self.shelf = preprocessor, shelf

    def __call__(self, clip: Clip) -> tuple[Sample | Encoded, Place | None]:
        """Return a clip, encoded if it is known, and else where to keep it.

        Raises
        ------
        MerclipError
            As `Preprocessor`.
        """
        place = None if self.shelf is None else self.shelf.place(clip)
        found = None if place is None else place.load()
        return (self.preprocessor(clip), place) if found is None else (found, None)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the names, types, shapes and all values of weights."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


@functools.cache
def versions(with_faces: bool) -> dict[str, str]:
    """Return the versions of all that reads and encodes clips, and a hash of our own code."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    if with_faces:
        found["opencv"] = import_opencv().__version__
    # A version of ours from between two releases does not tell what the code is.
    code = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(path for place in _CODE for path in root.glob(place)):
        code.update(path.read_bytes())
    return {"merclip": __version__, "code": code.hexdigest(), **found}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _bytes(tensor: Tensor) -> Any:
    # Bytes, as numpy knows no bfloat16.
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def _pack(encoded: Encoded, key: str, sources: list[str | None]) -> bytes:
    tensors = {letter: part.contiguous() for letter, part in encoded.sequences.items()}
    said = [[type(warning).__name__, str(warning)] for warning in encoded.warnings]
    noted = {"faces": encoded.faces, "known": encoded.known}
    facts = {"key": key, "warnings": said, **noted, "sources": sources}
    info = json.dumps(facts)
    metadata = {"info": info, "sha256": _checksum(info, tensors)}
    return safetensors.torch.save(tensors, metadata)


def _unpack(content: bytes, key: str, sources: list[str | None]) -> Encoded | None:
    try:
        tensors = safetensors.torch.load(content)
        if not are_features(tensors):
            return None
        n_bytes = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + n_bytes])["__metadata__"]
        info = json.loads(metadata["info"])
        whole = metadata["sha256"] == _checksum(metadata["info"], tensors)
        # Warnings name the file, and the same content may lie elsewhere by now.
        other = info["warnings"] and info["sources"] != sources
        if not whole or other or info["key"] != key:
            return None
        kinds = {kind.__name__: kind for kind in MerclipWarning.__subclasses__()}
        warnings = tuple(kinds[name](str(message)) for name, message in info["warnings"])
        faces, known = info["faces"], info.get("known")
        if not (faces is None or (type(faces) is int and faces >= 0)) or not is_share(known):
            return None
    except Exception:  # whatever is wrong with an entry, it is as if it were not there
        return None
    sequences = {letter: tensors[letter] for letter in MODALITIES if letter in tensors}
    return Encoded(sequences, warnings, faces, known)


def _checksum(info: str, tensors: Mapping[str, Tensor]) -> str:
    return _digest([info, weights_digest({name: tensors[name] for name in sorted(tensors)})])
