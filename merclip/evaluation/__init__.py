"""How good is a classifier on labelled clips: measures, protocols and reports."""

from __future__ import annotations

from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.intervals import Interval, bootstrap_interval, paired_difference
from merclip.evaluation.multilabel import LabelScores, label_scores, multilabel_scores
from merclip.evaluation.open_vocabulary import (
    open_vocabulary_scores,
    wheel_clusters,
    wheel_scores,
)
from merclip.evaluation.protocols.as_it_is import evaluate, zero_shot
from merclip.evaluation.protocols.cross_corpus import cross_corpus
from merclip.evaluation.protocols.k_shot import k_shot
from merclip.evaluation.protocols.leave_one_out import leave_one_out
from merclip.evaluation.protocols.modalities import modalities
from merclip.evaluation.protocols.supervised import supervised
from merclip.evaluation.protocols.wordings import wordings
from merclip.evaluation.report import Report, Skipped
from merclip.evaluation.sentiment import sentiment_scores, two_class_scores

__all__ = [
    "Condition",
    "Interval",
    "LabelScores",
    "Report",
    "Run",
    "Skipped",
    "bootstrap_interval",
    "cross_corpus",
    "evaluate",
    "k_shot",
    "label_scores",
    "leave_one_out",
    "modalities",
    "multilabel_scores",
    "open_vocabulary_scores",
    "paired_difference",
    "sentiment_scores",
    "supervised",
    "two_class_scores",
    "wheel_clusters",
    "wheel_scores",
    "wordings",
    "zero_shot",
]
