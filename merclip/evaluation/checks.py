"""Refuse what cannot be measured, and say why."""

from __future__ import annotations

from typing import Any

import numpy as np

from merclip.errors import InputError

Array = np.ndarray[Any, Any]

_ROUNDING = 1e-6


def one_of_n(truth: Any, probability: Any) -> tuple[Array, Array]:
    """Return columns of shape (n,) and probabilities of shape (n, k).

    Raises
    ------
    InputError
        Shapes do not fit, there are no clips, a probability is NaN or outside [0, 1],
        or the truth is no column.
    """
    truth, probability = np.asarray(truth), finite(probability, "probability")
    if probability.ndim != 2 or truth.shape != probability.shape[:1] or not probability.size:
        raise InputError(
            "truth has the shape (n,) and probability (n, k), with at least one clip; "
            f"got {truth.shape} and {probability.shape}."
        )
    if probability.min() < -_ROUNDING or probability.max() > 1 + _ROUNDING:
        raise InputError(
            "probability holds values outside [0, 1]: give what predict_proba returns, not logits."
        )
    last = probability.shape[1] - 1
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() > last:
        raise InputError(f"truth holds columns of probability: whole numbers from 0 to {last}.")
    return truth, probability.clip(0, 1)


def indicators(truth: Any, predicted: Any) -> tuple[Array, Array]:
    """Return two matrices of shape (n, k), int, that hold 0 and 1.

    Raises
    ------
    InputError
        Shapes do not fit, there are no clips, or other values occur.
    """
    pair = _alike(truth, predicted, 2)
    for name, array in zip(("truth", "predicted"), pair, strict=True):
        if not np.isin(array, (0, 1)).all():
            raise InputError(
                f"{name} holds 0 and 1 alone. Put a threshold on probabilities "
                "(p >= 0.5) and on intensities (intensity > 0) first."
            )
    return pair[0].astype(np.int64), pair[1].astype(np.int64)


def intensities(truth: Any, predicted: Any) -> tuple[Array, Array]:
    """Return two arrays of shape (n,), float.

    Raises
    ------
    InputError
        Shapes do not fit, there are no clips, or a value is no finite number.
    """
    return _alike(truth, predicted, 1)


def equally_long(**columns: Any) -> int:
    """Return the length that all have; None is passed over.

    Raises
    ------
    InputError
        Lengths differ, or there are no clips.
    """
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise InputError(f"Each needs one entry for each clip, and at least one; got {lengths}.")
    return next(iter(lengths.values()))


def finite(values: Any, name: str) -> Array:
    """Return an array of float.

    Raises
    ------
    InputError
        A value is no finite number.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from None
    if not np.isfinite(array).all():
        raise InputError(
            f"{name} holds NaN or infinity. Leave out clips that could not be read, "
            "and say how many they are."
        )
    return array


def _alike(truth: Any, predicted: Any, n_axes: int) -> tuple[Array, Array]:
    truth, predicted = finite(truth, "truth"), finite(predicted, "predicted")
    if truth.shape != predicted.shape or truth.ndim != n_axes or not truth.size:
        wanted = "(n,)" if n_axes == 1 else "(n, k)"
        raise InputError(
            f"truth and predicted have one shape {wanted}, with at least one clip; "
            f"got {truth.shape} and {predicted.shape}."
        )
    return truth, predicted
