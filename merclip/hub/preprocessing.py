"""What CLIP's training fixed of pictures, from the configurations that come with weights."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from merclip._warn import warn
from merclip.errors import CheckpointError, CheckpointWarning
from merclip.preprocess.config import VisionConfig

INTERPOLATIONS = ("bicubic", "bilinear")
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers, which Hugging Face stores."""


def of_open_clip(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return values of `VisionConfig` from open_clip's ``preprocess_cfg``.

    Parameters
    ----------
    values : mapping
        Keys that are not there have open_clip's defaults, which are CLIP's own.
    name : str
        Of the model, for messages.

    Raises
    ------
    CheckpointError
        Mean or deviation are not three numbers.

    Warns
    -----
    CheckpointWarning
        Pictures were resized in a way that merclip does not have.
    """
    found = {key: _three(values[key], key, name) for key in ("mean", "std") if values.get(key)}
    interpolation = values.get("interpolation") or "bicubic"
    if interpolation == "random":  # of training; in use, open_clip takes this one
        interpolation = "bicubic"
    shape = values.get("resize_mode") or "shortest"
    _say_what_differs(name, interpolation, [f"resize mode {shape!r}"] * (shape != "shortest"))
    return found | _kept(interpolation)


def of_clip_model(values: Mapping[str, Any], image_size: int, name: str) -> dict[str, Any]:
    """Return values of `VisionConfig` from Hugging Face's ``preprocessor_config.json``.

    Parameters
    ----------
    values : mapping
        Keys that are not there have the defaults of ``CLIPImageProcessor``.
    image_size : int
        Of the image tower.
    name : str
        Of the model, for messages.

    Raises
    ------
    CheckpointError
        Mean or deviation are not three numbers.

    Warns
    -----
    CheckpointWarning
        Pictures were resized or cropped in a way that merclip does not have.
    """
    found: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    if values.get("do_normalize", True):
        found = {
            key: _three(values[f"image_{key}"], f"image_{key}", name)
            for key in ("mean", "std")
            if values.get(f"image_{key}")
        }
    resample = values.get("resample", 3)
    interpolation = _RESAMPLING.get(resample, str(resample))
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1
    sizes = {"size": ("shortest_edge",), "crop_size": ("height", "width")}
    differences = [
        f"{key} {values[key]}"
        for key, sides in sizes.items()
        if values.get(key) and not _is_square_of(values[key], image_size, sides)
    ]
    if not _is_number(factor) or abs(float(factor) - 1 / 255) > 1e-6:
        differences.append(f"pixels times {factor}")
    _say_what_differs(name, interpolation, differences)
    return found | _kept(interpolation)


def _three(value: Any, key: str, name: str) -> tuple[float, ...]:
    numbers = isinstance(value, (list, tuple)) and all(map(_is_number, value))
    if not numbers or len(value) != 3 or (key.endswith("std") and min(value) <= 0):
        raise CheckpointError(f"{key} of {name!r} is not three numbers for red, green, blue.")
    return tuple(float(item) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) < 1e6


def _is_square_of(size: Any, image_size: int, sides: tuple[str, ...]) -> bool:
    given = size if isinstance(size, Mapping) else dict.fromkeys(sides, size)
    return {side: given[side] for side in given if given[side]} == dict.fromkeys(sides, image_size)


def _kept(interpolation: str) -> dict[str, Any]:
    known = interpolation in INTERPOLATIONS
    return {"interpolation": interpolation if known else VisionConfig.interpolation}


def _say_what_differs(name: str, interpolation: str, differences: list[str]) -> None:
    if interpolation not in INTERPOLATIONS:
        differences = [f"interpolation {interpolation!r}", *differences]
    if differences:
        warn(
            CheckpointWarning(
                f"{name!r} was made for pictures with {', '.join(differences)}. merclip resizes "
                "the shorter side to the tower's size (bicubic or bilinear) and crops the centre, "
                "so embeddings differ a little from those of its own library."
            )
        )
