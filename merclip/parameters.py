"""Checks of the classifier's parameters, made at first use as scikit-learn does."""

from __future__ import annotations

import numbers
import sys
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from merclip._optional import import_openvino
from merclip._shown import shown
from merclip.errors import InputError
from merclip.labels import prompt_list
from merclip.preprocess import FeatureCache

CHOICES: dict[str, tuple[Any, ...]] = {
    "predict_from": ("auto", "labels", "anchors", "both"),
    "tune": ("head", "full", "none"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "train_dtype": ("float32", "bfloat16"),
    "matmul": ("auto", "default", "onednn"),
    "backend": ("torch", "openvino"),
    "face": ("auto", "always", "never"),
    "frames": ("exact", "fast"),
    "on_error": ("raise", "skip", "nan"),
    "on_long_label": ("warn", "raise"),
}
SWITCHES = ("multi_label", "use_video_audio", "compile", "warm_start")
COUNTS = ("epochs", "batch_size", "microbatch")


def check_parameters(parameters: dict[str, Any]) -> None:
    """Check values that no other room checks.

    Raises
    ------
    InputError
        A value that is not allowed; the message names those that are.
    """
    for name, allowed in CHOICES.items():
        value = parameters[name]
        if not isinstance(value, str) or value not in allowed:
            raise InputError(f"{name} is one of {list(allowed)}, got {shown(value)}.")
    for name in SWITCHES:
        if not isinstance(parameters[name], (bool, np.bool_)):
            raise InputError(f"{name} is True or False, got {shown(parameters[name])}.")
    for name in COUNTS:
        value = parameters[name]
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if value is not None and not (whole and 1 <= value <= sys.maxsize):
            raise InputError(f"{name} is a whole number of at least 1, got {shown(value)}.")
    _check_share("abstain", parameters["abstain"], optional=True)
    validation = parameters["validation"]
    if not isinstance(validation, np.ndarray) and validation != "auto":
        _check_share("validation", validation)
    _check_random_state(parameters["random_state"])
    prompt_list(parameters["prompt"])
    if parameters["multi_label"] and parameters["anchors"] is not None:
        raise InputError("anchors are for one label of n; with multi_label=True give words alone.")
    FeatureCache.of(parameters["feature_cache"])
    if parameters["backend"] == "openvino":
        _check_exported(parameters["dtype"], parameters["compile"])


def seed_of(random_state: Any) -> int:
    """Return a seed for `random_state`; None stands for 0, so that runs repeat."""
    if random_state is None:
        return 0
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def per_clip(values: Any, n_clips: int, name: str) -> np.ndarray[Any, Any] | None:
    """Return an argument that has one entry for each clip as an array; None stays None.

    Raises
    ------
    InputError
        It has more entries, or fewer.
    """
    array = None if values is None else np.asarray(values)
    if array is not None and array.shape != (n_clips,):
        raise InputError(
            f"{name} needs one entry for each of {n_clips} clips, got shape {array.shape}."
        )
    return array


def _check_exported(dtype: str, compiled: bool) -> None:
    if compiled:
        raise InputError("compile=True is for backend='torch'; OpenVINO compiles by itself.")
    if dtype == "float16":
        raise InputError("backend='openvino' computes in float32 or bfloat16, not in float16.")
    import_openvino()


def _check_random_state(random_state: Any) -> None:
    try:
        check_random_state(random_state)
    # Its message has the value, whose repr may raise anything.
    except Exception:
        raise InputError(
            "random_state is None, a whole number from 0 to 2**32 - 1, or a "
            f"numpy.random.RandomState, got {shown(random_state)}."
        ) from None


def _check_share(name: str, value: Any, optional: bool = False) -> None:
    if optional and value is None:
        return
    if not isinstance(value, (int, float, np.number)) or not 0 <= value < 1 + 1e-9 * optional:
        bound = "[0, 1]" if optional else "[0, 1)"
        raise InputError(f"{name} is a number in {bound}, got {shown(value)}.")
