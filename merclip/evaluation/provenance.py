"""What a report rests on: the model, the data and the versions. No dates, to be reproducible."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from merclip._version import __version__


def versions() -> dict[str, str]:
    """Return the versions of merclip, Python and torch."""
    return {
        "merclip": __version__,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }


def model_facts(classifier: Any) -> dict[str, Any]:
    """Return the name, revision, fingerprint and temperature of a classifier's model.

    Parameters
    ----------
    classifier : EmotionClassifier
    """
    model = classifier.model
    name = str(model) if isinstance(model, (str, os.PathLike)) else "an architecture of its own"
    return {
        "name": name,
        "pretrained": None if classifier.pretrained is None else str(classifier.pretrained),
        "revision": classifier.revision,
        "fingerprint": fingerprint(classifier.network_),
        "temperature": float(classifier.calibration_["temperature"]),
    }


def fingerprint(network: torch.nn.Module) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of every weight and its name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        # Bytes, as numpy knows no bfloat16.
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(name.encode() + flat.numpy().tobytes())
    return digest.hexdigest()[:16]


def data_facts(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the name of a file, without its folder, and its SHA-256."""
    content = Path(path).read_bytes()
    return {"file": Path(path).name, "sha256": hashlib.sha256(content).hexdigest()}
