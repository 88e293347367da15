"""Files of tensors: read without running code, and copied only where every key fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from merclip.errors import CheckpointError

SAFE_SUFFIX = ".safetensors"

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


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights: safetensors, or a pickle of which tensors alone are taken.

    Raises
    ------
    CheckpointError
        The file is broken, or a pickle that needs to run code.
    """
    if path.suffix == SAFE_SUFFIX:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
    return _tensors_of(_unpickled(path), path)


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
        Names every tensor that is missing, unexpected or of another shape.
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
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(found[name])


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a broken pickle makes it raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is not read, for it is no file of plain tensors, and other pickles and "
            f"TorchScript run code when they are loaded; give a {SAFE_SUFFIX} file. ({first})"
        ) from error


def _tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(inner, Mapping) or not inner:
        raise CheckpointError(f"{path} holds no mapping from names to tensors.")
    # Trained on several devices, every name has this prefix.
    tensors = {str(name).removeprefix("module."): value for name, value in inner.items()}
    others = sorted(name for name, value in tensors.items() if not isinstance(value, Tensor))
    if others:
        raise CheckpointError(f"{path} holds things that are no tensors: {others}.")
    return tensors
