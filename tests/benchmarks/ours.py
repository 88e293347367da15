"""merclip's classifiers as they are measured."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from benchmarks.clips import LABELS
from benchmarks.machine import cpu_flags
from merclip import EmotionClassifier
from merclip.parameters import CHOICES

MINI, VIT = "mini", "ViT-B-32"
QUICK_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


def classifier(
    model: str = VIT, dtype: str | None = None, labels: Sequence[str] = LABELS, **params: Any
) -> EmotionClassifier:
    """Return a loaded classifier; ViT-B/32 has random weights, and takes all modalities.

    Parameters
    ----------
    model : {"mini", "ViT-B-32"}
    dtype : str, optional
        None leaves it to merclip's default.
    labels : sequence of str
    **params
        Others of `EmotionClassifier`.
    """
    if dtype is not None:
        params["dtype"] = dtype
    if model == MINI:
        made = EmotionClassifier(list(labels), **params)
    else:
        params = {"pretrained": "random", "random_state": 0, **params}
        made = EmotionClassifier(list(labels), model=model, **params)
    # Sound is left out of a model whose fusion was not trained. For the time it takes,
    # random weights do as well.
    made.network_.fusion_trained = True
    return made


@functools.cache
def kept(model: str, dtype: str | None = None) -> EmotionClassifier:
    """Return a classifier with six labels that several tables share."""
    return classifier(model, dtype)


def dtypes() -> list[str]:
    """Return the values of `dtype` to measure: float32, and those that may be faster."""
    found = ["float32"]
    if "auto" in CHOICES["dtype"]:
        found.append("auto")
    if cpu_flags() & QUICK_BFLOAT16:
        found.append("bfloat16")
    return found


def fast() -> str:
    """Return the `dtype` for tables that measure one: what merclip chooses by itself."""
    found = dtypes()
    return "auto" if "auto" in found else found[-1]


def shown(model: str, dtype: str | None) -> str:
    """Return a case's name."""
    return f"merclip {model}" + (f", {dtype}" if dtype else "")
