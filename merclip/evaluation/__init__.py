"""How good is a classifier on labelled clips: measures, protocols and reports."""

from __future__ import annotations

from merclip.evaluation.protocols import evaluate, k_shot, zero_shot
from merclip.evaluation.report import Condition, Report, Run, Skipped

__all__ = ["Condition", "Report", "Run", "Skipped", "evaluate", "k_shot", "zero_shot"]
