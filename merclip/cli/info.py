"""``merclip info``: versions, devices, and what a model is."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from merclip._shown import json_text, visible
from merclip.cli._arguments import (
    Parser,
    add_debug_argument,
    add_model_arguments,
    examples,
    model_parameters,
)
from merclip.cli._console import DONE, FAILED, debugging, one_line, say, short_messages, status_of

PACKAGES = {
    "torch": "torch",
    "torchaudio": "torchaudio",
    "open_clip": "open_clip_torch",
    "av": "av",
}


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(list(argv))
    with short_messages(debugging(argv)):
        model, error = _model_or_error(arguments)
        found = {"versions": _versions(), "devices": _devices(), "model": model}
        failed = arguments.check and error is None and not model["check"]["passed"]
    if arguments.format == "json":
        print(json_text(found, indent=2, ascii_only=True))
    else:
        _print_table(found)
    if error is not None:
        say("error", error)
        return status_of(error)
    return FAILED if failed else DONE


def _parser() -> Parser:
    parser = Parser(
        prog="merclip info",
        usage="merclip info [--model NAME] [--check] [--format table|json]",
        description="Show versions, devices, what a model is (its labels, modalities, size, "
        "place and licence), and how it runs here.",
        epilog=examples("merclip info", "merclip info --model my_model --format json"),
    )
    add_model_arguments(parser, encodes=False)
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare how it runs here with float32; exit status 1 if it differs too much",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    add_debug_argument(parser)
    return parser


def _versions() -> dict[str, str]:
    from merclip._version import __version__

    found = {name: metadata.version(package) for name, package in PACKAGES.items()}
    return {"merclip": __version__, **found, "python": platform.python_version()}


def _devices() -> list[str]:
    import torch

    names = [
        f"cuda:{index} ({torch.cuda.get_device_name(index)})"
        for index in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, f"cpu ({torch.get_num_threads()} threads)"]


def _model_or_error(arguments: argparse.Namespace) -> tuple[dict[str, Any], Exception | None]:
    """Return what is known of the model; versions are worth showing even without it."""
    from merclip.errors import MerclipError

    try:
        return _model(arguments), None
    except MerclipError as error:
        return {"name": arguments.model, "error": one_line(str(error))}, error


def _model(arguments: argparse.Namespace) -> dict[str, Any]:
    from merclip import EmotionClassifier
    from merclip.hub import card_licence
    from merclip.network.checkpoint import unique_tensors

    classifier = EmotionClassifier.from_pretrained(arguments.model, **model_parameters(arguments))
    directory = _directory(arguments)
    labels = classifier.labels_.names if classifier.__sklearn_is_fitted__() else ()
    tensors = unique_tensors(classifier.network_).values()
    return {
        "name": arguments.model,
        "labels": list(labels),
        "multi_label": classifier.multi_label,
        "modalities": [
            name for name in ("video", "audio", "text") if name in classifier.modalities_
        ],
        "faces": _sees_faces(classifier),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "bytes": None if directory is None else _size(directory),
        "directory": None if directory is None else str(directory),
        "licence": None if directory is None else card_licence(directory),
        "device": str(classifier.device_),
        **_running(classifier),
        **({"check": _check(classifier)} if arguments.check else {}),
    }


def _running(classifier: Any) -> dict[str, Any]:
    """Return how the encoders are run here."""
    from merclip.engine import reading_threads

    session = classifier._ready()
    return {
        "dtypes": session.dtypes(),
        "dtypes_why": session.engine.runner.reason(),
        "backends": session.backends(),
        "matmul": session.engine.runner.matmul,
        "compiled": classifier.compile,
        "threads": {"computing": _threads(), "reading": reading_threads()},
    }


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _check(classifier: Any) -> dict[str, Any]:
    """Return how far what runs here lies from float32."""
    if not classifier.__sklearn_is_fitted__():
        classifier = classifier.with_labels(["happy", "sad", "angry"])
    found = classifier.check_precision()
    return {
        "passed": found.passed,
        "least_cosine": round(found.cosine, 6),
        "same_labels": f"{found.same_labels} of {found.n_clips}",
        "largest_difference": float(f"{found.largest_difference:.2g}"),
    }


def _sees_faces(classifier: Any) -> bool:
    """Return whether the model was trained on faces, so that frames are cropped to them."""
    vision = classifier._ready().checkpoint.preprocess.vision
    return bool("video" in classifier.modalities_ and vision.faces)


def _directory(arguments: argparse.Namespace) -> Path | None:
    """Return where a model's files lie; None for an architecture."""
    from merclip.hub import HubAccess, model_directory

    directory = model_directory(arguments.model, HubAccess(arguments.revision))
    return None if directory is None else directory.resolve()


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def _print_table(found: dict[str, Any]) -> None:
    for name, version in found["versions"].items():
        _line(name, version)
    for index, device in enumerate(found["devices"]):
        _line("devices" if index == 0 else "", device)
    for name, value in found["model"].items():
        _line("model" if name == "name" else f"  {name}".replace("_", "-"), _shown(name, value))


def _line(name: str, value: str) -> None:
    sys.stdout.write(visible(f"{name:<14}  {value}".rstrip()) + "\n")


def _shown(name: str, value: Any) -> str:
    if name == "labels":
        return ", ".join(map(str, value)) or "none stored: give --labels"
    if name == "modalities":
        return ", ".join(value)
    if name == "faces" and value and importlib.util.find_spec("cv2") is None:
        from merclip._optional import install_of

        return f"yes, but without OpenCV ({install_of('face')}) it sees whole frames"
    if name in ("multi_label", "faces", "compiled"):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}".replace("_", " ") for key, item in value.items())
    if name == "parameters":
        return f"{value / 1e6:.1f} million"
    if name == "bytes" and value is not None:
        return f"{value / 1e6:.1f} MB"
    return "unknown" if value is None else str(value)
