"""Files of tensors: read without running code, and copied only where every key fits."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from merclip.errors import CheckpointError

SAFE_SUFFIX = ".safetensors"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LONGEST_HEADER = 100_000_000
"""Bytes; safetensors reads no longer one."""

_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
_SPARE_NUMBERS = 2**24
_DRAWS = {
    *(nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, nn.init.trunc_normal_),
    *(Tensor.normal_, Tensor.uniform_),
}


class Undrawn(TorchFunctionMode):
    """Within it, weights that would be drawn at random keep what lies in their memory.

    For networks of which a file replaces every weight: drawing 25 million numbers takes
    longer than reading them.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, unless it is one that draws into a tensor."""
        kwargs = kwargs or {}
        if function in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


class Backed(TorchFunctionMode):
    """Within it, memory is set aside only for about as many numbers as weights have.

    For networks that a stranger's file describes: what it claims may be larger than any
    memory, and the weights beside it are not.

    Parameters
    ----------
    n_numbers : int
        Of the weights.
    problem : Exception
        Raised as soon as a network needs more than twice as many, and a few million.
    """

    def __init__(self, n_numbers: int, problem: Exception) -> None:
        super().__init__()
        self.left, self.problem = 2 * n_numbers + _SPARE_NUMBERS, problem

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, unless it makes too large a tensor."""
        if function in _MAKERS:
            given = (kwargs or {}).get("size", args)
            sides = given[0] if given and isinstance(given[0], (tuple, list)) else given
            self.left -= math.prod(side for side in sides if isinstance(side, int))
            if self.left < 0:
                raise self.problem
        return function(*args, **(kwargs or {}))


def save_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:  # also of a full disk
        raise OSError(str(error)) from error


def stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a safetensors file; nothing else of it is read.

    Raises
    ------
    CheckpointError
        There is no such file, or it is broken or not whole.
    """
    from safetensors import safe_open

    with _broken_files_named(path), safe_open(path, framework="pt") as file:
        names = file.keys()
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights: safetensors, or a pickle of which tensors alone are taken.

    Raises
    ------
    CheckpointError
        The file is broken or not whole, or a pickle that needs to run code.
    """
    if path.suffix == SAFE_SUFFIX:
        from safetensors.torch import load_file

        with _broken_files_named(path):
            return load_file(path)
    return tensors_of(read_pickle(path), path)


@contextmanager
def _broken_files_named(path: Path) -> Iterator[None]:
    """Turn what safetensors says of a file into what is wrong with it."""
    from safetensors import SafetensorError

    try:
        yield
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} holds no {path.name}.") from None
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(_what_is_wrong(path) or f"{path} cannot be read: {error}") from error


def _what_is_wrong(path: Path) -> str | None:
    """Return what is wrong with a file of weights, if it is one that was not fetched whole."""
    # Whatever else is wrong with it, its reader has said.
    with suppress(Exception), open(path, "rb") as file:
        size = path.stat().st_size
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            return (
                f"{path} is a Git LFS pointer and not the weights themselves: fetch them with 'git "
                "lfs pull', or download the model again."
            )
        claimed = _claimed_size(file)
        if size < claimed:
            return (
                f"{path} is incomplete: it has {size:,} of {claimed:,} bytes. Copy or download it "
                "again."
            )
    return None


def _claimed_size(file: BinaryIO) -> int:
    """Return how many bytes a safetensors file says that it has; 0 for any other file."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    header = file.read(length) if length <= _LONGEST_HEADER else b""
    if not header.startswith(b"{") or len(header) < length:
        return 8 + length if header.startswith(b"{") else 0
    facts = [value for name, value in json.loads(header).items() if name != "__metadata__"]
    return 8 + length + max((int(value["data_offsets"][1]) for value in facts), default=0)


def copy_strictly(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> None:
    """Copy tensors into those of a network.

    Parameters
    ----------
    expected : mapping from name to Tensor
        The network's own, written to.
    found : mapping from name to Tensor
    what : str
        Start of the message, such as "The weights in model.bin do not fit".

    Raises
    ------
    CheckpointError
        Names every tensor that is missing, unexpected or of another shape, or one that
        holds NaN, infinity or another kind of numbers.
    """
    wrong = {
        "missing": sorted(set(expected) - set(found)),
        "unexpected": sorted(set(found) - set(expected)),
        "of another shape": sorted(
            f"{name} {tuple(found[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in found and found[name].shape != tensor.shape
        ),
    }
    if any(wrong.values()):
        listed = "; ".join(f"{kind}: {names}" for kind, names in wrong.items() if names)
        raise CheckpointError(f"{what}. {listed}")
    for name, tensor in expected.items():
        _check_numbers(name, found[name], tensor.is_floating_point(), what)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(found[name])


def _check_numbers(name: str, tensor: Tensor, floats: bool, what: str) -> None:
    """Refuse a tensor of another kind of numbers than a network has, NaN and infinity."""
    if tensor.is_floating_point() != floats or tensor.is_complex() or tensor.dtype == torch.bool:
        raise CheckpointError(f"{what}. {name} holds numbers of type {tensor.dtype}.")
    # A sum tells at a tenth of the work; one that overflows is looked into.
    if floats and not tensor.sum(dtype=torch.float32).isfinite() and not tensor.isfinite().all():
        raise CheckpointError(f"{what}. {name} holds NaN or infinity.")


def read_pickle(path: Path) -> Any:
    """Read a file that torch wrote, of tensors and plain containers alone.

    Raises
    ------
    CheckpointError
        It is broken, or needs to run code.
    """
    # torch packs nothing; what is packed may be a thousand times as large in memory.
    packed = zipfile.is_zipfile(path) and any(
        part.compress_type != zipfile.ZIP_STORED for part in zipfile.ZipFile(path).infolist()
    )
    if packed:
        raise CheckpointError(f"{path} is compressed, which no file that torch wrote is.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a broken pickle makes it raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            _what_is_wrong(path)
            or f"{path} is not read, for it is no file of plain tensors, and other pickles and "
            f"TorchScript run code when they are loaded; give a {SAFE_SUFFIX} file. ({first})"
        ) from error


def tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors that a file holds by name, if each has its own numbers.

    Raises
    ------
    CheckpointError
    """
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(inner, Mapping) or not inner:
        raise CheckpointError(f"{path} holds no mapping from names to tensors.")
    # Trained on several devices, every name has this prefix.
    tensors = {str(name).removeprefix("module."): value for name, value in inner.items()}
    others = sorted(name for name, value in tensors.items() if not isinstance(value, Tensor))
    if others:
        raise CheckpointError(f"{path} holds things that are no tensors: {others}.")
    odd = sorted(name for name, tensor in tensors.items() if not _is_plain(tensor))
    # A few bytes may stand for many numbers, as in a tensor that repeats one.
    if odd or sum(tensor.nbytes for tensor in tensors.values()) > 2 * path.stat().st_size:
        raise CheckpointError(
            f"{path} has tensors without numbers of their own (sparse, quantised, nested, on no "
            f"device, or more numbers than bytes): {odd or sorted(tensors)[:3]}."
        )
    return tensors


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_nested
        and tensor.nbytes <= tensor.untyped_storage().nbytes()
    )
