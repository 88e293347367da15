"""What a report rests on: the model, the data and the versions. No dates, to be reproducible."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from merclip._files import told
from merclip._version import __version__
from merclip.labels import LabelSet


def versions() -> dict[str, str]:
    """Return the versions of merclip, Python and torch."""
    return {
        "merclip": __version__,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }


def model_facts(classifier: Any, labels: LabelSet) -> dict[str, Any]:
    """Return the name, revision, fingerprint and temperature of a classifier's model.

    Where clips are compared with pictures, also "predict_from" and "anchors": how many
    pictures each label has.

    Parameters
    ----------
    classifier : EmotionClassifier
    labels : LabelSet
        What was told apart.
    """
    model = classifier.model
    name = told(model) if isinstance(model, (str, os.PathLike)) else "an architecture of its own"
    return {
        "name": name,
        "pretrained": None if classifier.pretrained is None else str(classifier.pretrained),
        "revision": classifier.revision,
        "fingerprint": fingerprint(classifier.network_),
        "temperature": float(classifier.calibration_["temperature"]),
        **_pictures(classifier, labels),
    }


def _pictures(classifier: Any, labels: LabelSet) -> dict[str, Any]:
    source = classifier._source(labels).source
    if source == "labels":
        return {}
    counts = {str(name): len(rows) for name, rows in classifier._exemplars(labels).items()}
    return {"predict_from": source, "anchors": counts}


def fingerprint(network: torch.nn.Module) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of every weight and its name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        # Bytes, as numpy knows no bfloat16.
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(name.encode() + flat.numpy().tobytes())
    return digest.hexdigest()[:16]


def data_facts(data: Any) -> dict[str, Any]:
    """Return what tells a file or a data set from others.

    Parameters
    ----------
    data : path or Dataset

    Returns
    -------
    dict
        Of a file its name, without its folder, and its SHA-256. Of a data set its
        rows, clips and what was left out while loading; and these facts of the file
        that it was loaded from, or the name of the data set, and a SHA-256 over the
        ids and labels of its clips.
    """
    if isinstance(data, (str, os.PathLike)):
        content = Path(data).read_bytes()
        return {"file": Path(data).name, "sha256": hashlib.sha256(content).hexdigest()}
    report = data.report
    if Path(report.folder).is_file():
        source = data_facts(report.folder)
    else:
        source = {"name": data.name, "sha256": _digest(data.clips, data.y)}
    return {
        **source,
        "rows": report.n_rows,
        "clips": len(data),
        **{kind: report.count(kind) for kind in ("missing", "undecodable", "excluded")},
    }


def _digest(clips: Any, y: Any) -> str:
    digest = hashlib.sha256()
    for clip, label in zip(clips, y.tolist(), strict=True):
        digest.update(f"{clip.id}\t{label}\n".encode())
    return digest.hexdigest()
