"""How good is a classifier on labelled clips: measures, protocols and reports."""

from __future__ import annotations

from merclip.evaluation.intervals import Interval, bootstrap_interval, paired_difference
from merclip.evaluation.multilabel import LabelScores, label_scores, multilabel_scores
from merclip.evaluation.open_vocabulary import (
    open_vocabulary_scores,
    wheel_clusters,
    wheel_scores,
)
from merclip.evaluation.protocols import evaluate, k_shot, zero_shot
from merclip.evaluation.report import Condition, Report, Run, Skipped
from merclip.evaluation.sentiment import sentiment_scores, two_class_scores

__all__ = [
    "Condition",
    "Interval",
    "LabelScores",
    "Report",
    "Run",
    "Skipped",
    "bootstrap_interval",
    "evaluate",
    "k_shot",
    "label_scores",
    "multilabel_scores",
    "open_vocabulary_scores",
    "paired_difference",
    "sentiment_scores",
    "two_class_scores",
    "wheel_clusters",
    "wheel_scores",
    "zero_shot",
]
