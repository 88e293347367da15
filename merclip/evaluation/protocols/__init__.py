"""Ways to measure a classifier, one file each; all return a `Report`."""

from __future__ import annotations

from merclip.evaluation.protocols.as_it_is import evaluate, zero_shot

__all__ = ["evaluate", "zero_shot"]
