"""One file with the embeddings of many clips, read where it lies.

It is a safetensors file. Each modality has two tensors: its letter, all sequences of all
clips one behind the other, shape (total, D); and ``<letter>.ends``, where each clip's
sequence ends in it, shape (n,). What is known of clips besides is JSON in the tensor
``clips``. The file is written clip by clip and mapped into memory when it is read, so
neither needs room for all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from merclip._files import replacing
from merclip.errors import FeaturesNotFoundError, InputError, InputTypeError

if TYPE_CHECKING:
    from merclip.preprocess.features import ClipFeatures

FORMAT, VERSION = "merclip.features", 1
DTYPES = {"float32": ("F32", torch.float32), "float16": ("F16", torch.float16)}
"""How numbers may be kept, with safetensors' names."""

_LETTERS = "LVA"
_CLIPS = "clips"
_ALIGNED = 8


class FeatureFile:
    """A file of embeddings, mapped into memory.

    Parameters
    ----------
    path : str
        Absolute.
    tensors : mapping from name to Tensor
        Views of the file.
    clips : mapping
        The file's JSON.
    digest : str
        Tells the file from another one that may take its place.
    """

    def __init__(
        self, path: str, tensors: Mapping[str, Tensor], clips: Mapping[str, Any], digest: str
    ) -> None:
        self.path, self.digest = path, digest
        self.origin: str = clips["origin"]
        self.ids: list[str | None] = clips["ids"]
        self.notes: list[dict[str, Any]] = clips["notes"]
        self._joined = {letter: tensors[letter] for letter in _LETTERS if letter in tensors}
        self._ends = {letter: tensors[_ends(letter)].numpy() for letter in self._joined}
        self._note_of: list[int] = clips["note_of"]

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process maps the same file, in place of a copy of it in the pickle.
        return _open_again, (self.path, self.digest)

    def sequences(self, row: int) -> dict[str, Tensor]:
        """Return a clip's embeddings in float32, as views of the file where it holds those."""
        found = {}
        for letter, joined in self._joined.items():
            ends = self._ends[letter]
            start, end = int(ends[row - 1]) if row else 0, int(ends[row])
            if end > start:
                found[letter] = joined[start:end].float()
        return found

    def facts(self, row: int) -> dict[str, Any]:
        """Return all else that is known of a clip, by the names of `ClipFeatures`."""
        note = self.notes[self._note_of[row]]
        return {"id": self.ids[row], **note, "warnings": tuple(note["warnings"])}


def open_features(path: str | os.PathLike[str]) -> FeatureFile:
    """Map a file into memory, and check everything but the embeddings themselves.

    Raises
    ------
    FeaturesNotFoundError
        There is no such file.
    InputError
        It is not a file that `write_features` wrote, or not whole.
    """
    place = _absolute(path)
    if not os.path.isfile(place):
        raise FeaturesNotFoundError(f"There is no file of features {place!r}: check the path.")
    try:
        with safe_open(place, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{place!r} is not a file of features, or not a whole one: {error}"
        ) from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{place!r} is a safetensors file, but not of merclip's features.")
    if metadata.get("version") != str(VERSION):
        raise InputError(
            f"{place!r} has format {metadata.get('version')} of feature files; this merclip "
            f"reads format {VERSION}."
        )
    try:
        digest = _digest(tensors)
        if digest != metadata.get("sha256"):
            raise ValueError("its list of clips is not the one that was written")
        clips = json.loads(bytes(tensors[_CLIPS].numpy()))
        _check(tensors, clips)
        return FeatureFile(place, tensors, clips, digest)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{place!r} is a damaged file of features: {error}") from error


def write_features(
    path: str | os.PathLike[str], clips: Sequence[ClipFeatures], origin: str, dtype: str
) -> None:
    """Write a file, whole or not at all, in place of one of that name.

    Raises
    ------
    InputError
        `dtype` is not one of `DTYPES` or too narrow for a value; embeddings are not of
        one width; or the file cannot be written.
    """
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError(f"dtype is one of {sorted(DTYPES)}, got {dtype!r}.")
    place = Path(_absolute(path))
    small = _small_tensors(clips, origin)
    header = _header(small, _widths(clips), dtype)
    try:
        with replacing(place) as part, open(part, "wb") as file:
            _write(file, header, small, clips, dtype)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Features cannot be written to {str(place)!r}: {reason}.") from error


def _absolute(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        raise InputTypeError(f"A file of features is given by its path, got {kind}.")
    return os.path.abspath(os.fspath(path))


def _open_again(path: str, digest: str) -> FeatureFile:
    file = open_features(path)
    if file.digest != digest:
        raise InputError(f"{path!r} is another file of features by now: load it again.")
    return file


def _write(
    file: BinaryIO,
    header: bytes,
    small: Mapping[str, Tensor],
    clips: Sequence[ClipFeatures],
    dtype: str,
) -> None:
    file.write(len(header).to_bytes(8, "little") + header)
    for name, tensor in small.items():
        if name != _CLIPS:
            file.write(tensor.numpy().tobytes())
    for letter in _LETTERS:
        for sequence in _sequences(clips, letter):
            file.write(_narrowed(sequence, dtype).numpy().tobytes())
    file.write(small[_CLIPS].numpy().tobytes())


def _narrowed(sequence: Tensor, dtype: str) -> Tensor:
    kept = sequence.detach().cpu().to(DTYPES[dtype][1])
    if dtype != "float32" and not torch.equal(kept.isfinite(), sequence.cpu().isfinite()):
        raise InputError(f"An embedding has values that {dtype} cannot hold: save it in float32.")
    return kept.contiguous()


def _small_tensors(clips: Sequence[ClipFeatures], origin: str) -> dict[str, Tensor]:
    """Return all tensors but the embeddings, in the order of the file."""
    lengths: dict[str, list[int]] = {letter: [] for letter in _LETTERS}
    ids: list[str | None] = []
    notes: dict[str, int] = {}
    note_of: list[int] = []
    for clip in clips:
        for letter in _LETTERS:
            sequence = clip.sequences.get(letter)
            lengths[letter].append(0 if sequence is None else len(sequence))
        ids.append(clip.id)
        # The same few warnings come again and again.
        facts: dict[str, Any] = {
            "warnings": clip.warnings,
            "error": clip.error,
            "faces": clip.faces,
        }
        facts |= {} if clip.known is None else {"known": round(clip.known, 2)}
        note_of.append(notes.setdefault(json.dumps(facts), len(notes)))
    listed = {"origin": origin, "ids": ids, "notes": list(map(json.loads, notes))}
    text = json.dumps({**listed, "note_of": note_of}).encode()
    ends = {
        _ends(letter): torch.from_numpy(np.cumsum(counts, dtype=np.int64))
        for letter, counts in lengths.items()
        if any(counts)
    }
    return {**ends, _CLIPS: torch.frombuffer(bytearray(text), dtype=torch.uint8)}


def _widths(clips: Sequence[ClipFeatures]) -> dict[str, int]:
    """Return the width of each modality that there is."""
    found: dict[str, int] = {}
    for letter in _LETTERS:
        for sequence in _sequences(clips, letter):
            width = sequence.shape[-1] if sequence.ndim == 2 else -1
            if found.setdefault(letter, width) != width or width < 1:
                raise InputError(
                    "Embeddings of one modality are matrices of one width, got the shape "
                    f"{tuple(sequence.shape)} beside a width of {found[letter]}."
                )
    return found


def _sequences(clips: Sequence[ClipFeatures], letter: str) -> Iterator[Tensor]:
    for clip in clips:
        sequence = clip.sequences.get(letter)
        if sequence is not None and len(sequence):
            yield sequence


def _header(small: Mapping[str, Tensor], widths: Mapping[str, int], dtype: str) -> bytes:
    """Return a safetensors header, padded so that every tensor is aligned."""
    kind, wide = DTYPES[dtype]
    # Ends come first and bytes last, which keeps every tensor aligned to its own numbers.
    tensors = [
        (name, "I64", tuple(tensor.shape), 8) for name, tensor in small.items() if name != _CLIPS
    ]
    for letter, width in widths.items():
        total = int(small[_ends(letter)][-1])
        tensors.append((letter, kind, (total, width), wide.itemsize))
    tensors.append((_CLIPS, "U8", tuple(small[_CLIPS].shape), 1))
    facts: dict[str, Any] = {
        "__metadata__": {"format": FORMAT, "version": str(VERSION), "sha256": _digest(small)}
    }
    start = 0
    for name, number, shape, size in tensors:
        end = start + size * int(np.prod(shape, dtype=np.int64))
        facts[name] = {"dtype": number, "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(facts).encode()
    return text + b" " * (-len(text) % _ALIGNED)


def _check(tensors: Mapping[str, Tensor], clips: Mapping[str, Any]) -> None:
    """Refuse a file whose parts do not fit together.

    Raises
    ------
    ValueError
        The message says which.
    """
    lists = [clips[name] for name in ("ids", "notes", "note_of")]
    if not all(isinstance(part, list) for part in lists):
        raise ValueError("it has no list of clips")
    n_clips = len(clips["ids"])
    letters = [name for name in tensors if name in _LETTERS]
    named = {_CLIPS, *letters, *map(_ends, letters)}
    if set(tensors) != named:
        raise ValueError(f"its tensors are {sorted(tensors)}")
    for letter in letters:
        joined, ends = tensors[letter], tensors[_ends(letter)]
        if joined.ndim != 2 or joined.dtype not in [dtype for _, dtype in DTYPES.values()]:
            raise ValueError(f"{letter} holds {joined.dtype} of shape {tuple(joined.shape)}")
        if ends.dtype != torch.int64 or ends.shape != (n_clips,) or not n_clips:
            raise ValueError(f"{_ends(letter)} is not a whole number for each of {n_clips} clips")
        if int(ends[0]) < 0 or bool((ends.diff() < 0).any()) or int(ends[-1]) != len(joined):
            raise ValueError(f"{_ends(letter)} does not divide {letter}")
    if len({tensors[letter].shape[1] for letter in letters}) > 1:
        raise ValueError("its embeddings are not of one width")
    notes, note_of = clips["notes"], clips["note_of"]
    numbers = all(type(number) is int and 0 <= number < len(notes) for number in note_of)
    if len(note_of) != n_clips or not numbers:
        raise ValueError("it does not say of each clip what is known")
    strings = all(name is None or isinstance(name, str) for name in clips["ids"])
    if not (strings and all(map(_is_note, notes)) and isinstance(clips["origin"], str)):
        raise ValueError("what it says of clips is not what merclip writes")


def _is_note(note: Any) -> bool:
    """Return whether this is what is known of a clip besides its embeddings."""
    if not isinstance(note, dict) or set(note) - {"known"} != {"warnings", "error", "faces"}:
        return False
    warnings, error, faces = note["warnings"], note["error"], note["faces"]
    said = isinstance(warnings, list) and all(isinstance(text, str) for text in warnings)
    counted = faces is None or (type(faces) is int and faces >= 0)
    whole = said and counted and is_share(note.get("known"))
    return whole and (error is None or isinstance(error, str))


def is_share(value: Any) -> bool:
    """Return whether this is a share, in [0, 1], or None."""
    return value is None or (isinstance(value, float) and 0 <= value <= 1)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of everything but the embeddings, which would have to be read for it."""
    digest = hashlib.sha256()
    for name in sorted(set(tensors) - set(_LETTERS)):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _ends(letter: str) -> str:
    return f"{letter}.ends"
