"""A report of dialogues: what was said of each labelled utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_score

from merclip.dialogues import Dialogue
from merclip.errors import LabelError
from merclip.evaluation.condition import Condition, Run
from merclip.evaluation.provenance import versions
from merclip.evaluation.report import Report
from merclip.labels import LabelSet

Array = np.ndarray[Any, Any]


def report_of_dialogues(
    dialogues: Sequence[Dialogue],
    targets: Sequence[Array],
    probabilities: Sequence[Array],
    labels: LabelSet,
    model: Mapping[str, Any],
) -> Report:
    """Measure what was said of dialogues.

    Parameters
    ----------
    dialogues : sequence of Dialogue
    targets : sequence of ndarray of shape (n_i,), int
        Columns; -1 for an utterance without a label, which does not count.
    probabilities : sequence of ndarray of shape (n_i, k)
        Columns in sorted order of labels.
    labels : LabelSet
    model : mapping
        What the report says of the model.

    Raises
    ------
    LabelError
        No utterance has a label.
    """
    known = np.concatenate([np.asarray(row) >= 0 for row in targets])
    if not known.any():
        raise LabelError("No utterance has a label: give y, or Dialogue(labels=...).")
    # Reports show labels in the user's order.
    order = [labels.classes.tolist().index(name) for name in labels.names]
    truth = np.argsort(order)[np.concatenate(targets)[known]]
    probability = np.concatenate(list(probabilities))[known][:, order]
    ids = [name for dialogue in dialogues for name in dialogue.ids]
    groups = [
        dialogue.name or f"dialogue {place}"
        for place, dialogue in enumerate(dialogues)
        for _ in range(len(dialogue))
    ]
    precision = precision_score(
        truth, probability.argmax(axis=1), average="weighted", zero_division=0
    )
    run = Run(
        tuple(np.array(ids)[known].tolist()),
        truth,
        probability,
        groups=tuple(np.array(groups)[known].tolist()),
        extra={"weighted_precision": float(precision)},
    )
    return Report(
        "conversation",
        labels.to_dict(),
        (Condition("conversation", (run,)),),
        int(known.sum()),
        model=model,
        versions=versions(),
    )
