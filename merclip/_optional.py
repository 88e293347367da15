"""Optional packages, imported when first needed."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from merclip.errors import MissingExtraError


def install_of(extra: str) -> str:
    """Return how an extra is installed. merclip is not on PyPI yet, so a clone is needed."""
    return f'pip install -e ".[{extra}]" in a clone of merclip'


def _import(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"This needs the package {module!r}: {install_of(extra)}."
        ) from error


def import_pandas() -> Any:
    """Return pandas, or say how to install it."""
    return _import("pandas", "pandas")


def import_matplotlib() -> Any:
    """Return matplotlib, or say how to install it."""
    return _import("matplotlib", "plot")


def import_h5py() -> Any:
    """Return h5py, or say how to install it."""
    return _import("h5py", "hdf5")


def import_opencv() -> Any:
    """Return OpenCV, or say how to install it."""
    opencv = _import("cv2", "face")
    if not hasattr(opencv, "FaceDetectorYN"):
        raise MissingExtraError(
            f"OpenCV {opencv.__version__} cannot find faces with YuNet: "
            f"{install_of('face')} brings one that does."
        )
    return opencv


def import_openvino() -> Any:
    """Return OpenVINO, or say how to install it."""
    # Its first import would send a note of its use over the network.
    silenced = not {"openvino", "openvino_telemetry"} & set(sys.modules)
    if silenced:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return _import("openvino", "openvino")
    finally:
        if silenced:
            del sys.modules["openvino_telemetry"]
