"""Held-out clips for validation, and weights of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from merclip.errors import InputError
from merclip.labels import by_name

Array = np.ndarray[Any, Any]

AUTO_SHARE, LEAST_HELD_OUT = 0.1, 20
"""What "auto" holds out, and the fewest clips that tell one epoch from another (ours)."""


def hold_out(
    targets: Array, share: float | str | Array, seed: int, groups: Any = None
) -> tuple[Array, Array]:
    """Split positions into training and validation.

    Parameters
    ----------
    targets : ndarray of shape (n,) or (n, k)
        One-of-n targets are split evenly over classes.
    share : float, "auto" or ndarray of shape (n,), bool
        Share of clips (or of groups) to hold out, in [0, 1). "auto" is 0.1, or
        0 where that is less than 20 clips. A mask says which clips are held out.
    seed : int
    groups : sequence of length n, optional
        Clips of one group (a speaker, a dialogue) stay together.

    Returns
    -------
    train, validation : ndarray of int
        `validation` is empty when `share` is 0, or when there are too few
        clips to hold out one of each class and keep one to learn from.

    Raises
    ------
    InputError
        `share` is not in [0, 1), or a mask leaves nothing to learn from.
    """
    if isinstance(share, np.ndarray):
        return _split_as_said(targets, share)
    if share == "auto":
        share = AUTO_SHARE if AUTO_SHARE * len(targets) >= LEAST_HELD_OUT else 0.0
    if isinstance(share, str) or not 0 <= share < 1:
        raise InputError(f"validation is a share in [0, 1) or 'auto', got {share!r}.")
    everything = np.arange(len(targets))
    nothing = np.array([], dtype=np.int64)
    if share == 0:
        return everything, nothing
    if groups is not None:
        return _split_groups(everything, nothing, np.asarray(groups), targets, share, seed)
    return _split_classes(everything, nothing, targets, share, seed)


def class_weights(class_weight: Any, targets: Array, classes: Array) -> Array:
    """Return one weight for each class, of mean 1 over the training clips.

    Parameters
    ----------
    class_weight : None, "balanced" or mapping from label to weight
    targets : ndarray of shape (n,), int
    classes : ndarray of shape (k,)

    Raises
    ------
    InputError
        Another value, or a label that does not exist.
    """
    names = classes.tolist()
    if class_weight is None:
        return np.ones(len(names), dtype=np.float32)
    counts = np.bincount(targets, minlength=len(names))
    if isinstance(class_weight, Mapping):
        class_weight = by_name(class_weight)
        unknown = [name for name in class_weight if name not in names]
        if unknown:
            raise InputError(f"class_weight names labels that do not exist: {unknown}.")
        weights = np.array([float(class_weight.get(name, 1.0)) for name in names])
    elif class_weight == "balanced":
        weights = len(targets) / np.maximum(counts, 1) / max(1, (counts > 0).sum())
    else:
        raise InputError(f"class_weight is None, 'balanced' or a mapping, got {class_weight!r}.")
    mean = (weights * counts).sum() / max(1, len(targets))
    return np.asarray(weights / max(mean, 1e-12), dtype=np.float32)


def _split_as_said(targets: Array, held_out: Array) -> tuple[Array, Array]:
    if held_out.dtype != bool or held_out.shape != targets.shape[:1] or held_out.all():
        raise InputError(
            f"validation as a mask has one bool for each of {len(targets)} clips, and leaves some "
            f"to learn from; got {held_out.dtype} of shape {held_out.shape}."
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _split_classes(
    everything: Array, nothing: Array, targets: Array, share: float, seed: int
) -> tuple[Array, Array]:
    from sklearn.model_selection import train_test_split

    count = round(share * len(everything))
    strata = targets if targets.ndim == 1 else None
    if strata is not None:
        n_classes = len(np.unique(strata))
        count = max(count, n_classes)
        if np.bincount(strata)[np.unique(strata)].min() < 3 or 2 * count > len(everything):
            return everything, nothing
    if count == 0 or count == len(everything):
        return everything, nothing
    train, held_out = train_test_split(
        everything, test_size=count, random_state=seed, stratify=strata
    )
    return np.sort(train), np.sort(held_out)


def _split_groups(
    everything: Array, nothing: Array, groups: Array, targets: Array, share: float, seed: int
) -> tuple[Array, Array]:
    if len(groups) != len(everything):
        raise InputError(f"groups has {len(groups)} entries for {len(everything)} clips.")
    names = np.unique(groups)
    count = max(1, round(share * len(names)))
    if len(names) < 3:
        return everything, nothing
    chosen = np.random.default_rng(seed).permutation(names)[:count]
    held_out = np.isin(groups, chosen)
    if targets.ndim == 1 and set(targets[held_out]) - set(targets[~held_out]):
        return everything, nothing
    return everything[~held_out], everything[held_out]
