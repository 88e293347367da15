"""Model cards: what is read from one, and the text of a new one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip._shown import json_text, markdown_text
from merclip._version import __version__
from merclip.errors import InputError
from merclip.labels import LabelSet
from merclip.network import Checkpoint
from merclip.network.checkpoint import CARD_FILE

if TYPE_CHECKING:
    from merclip.evaluation import Report

TAGS = ["merclip", "emotion-recognition", "multimodal", "zero-shot"]
TASK = "video-classification"
OWN_DATA = "clips of one's own"
_LICENCE_KEYS = ("license", "license_name", "license_link")
_REPO_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def licence_in(card: Path | None) -> dict[str, str]:
    """Return what the metadata of a model card say of the weights' licence.

    Returns
    -------
    dict
        ``license``, and ``license_name`` and ``license_link`` of one that the Hub
        does not know. Empty where there is no card, or it says nothing.
    """
    if card is None:
        return {}
    from huggingface_hub import metadata_load

    try:
        values = metadata_load(card) or {}
    except Exception:  # a card that cannot be read must not stand in its model's way
        return {}
    found = {key: values[key] for key in _LICENCE_KEYS if isinstance(values.get(key), str)}
    return found if "license" in found else {}


def card_licence(directory: Path) -> str | None:
    """Return the name of the licence of a checkpoint's weights, as its model card says it."""
    return licence_name(licence_in(directory / CARD_FILE))


def licence_name(values: Mapping[str, str]) -> str | None:
    """Return the name of a licence; that of one which the Hub calls "other"."""
    licence = values.get("license")
    return values.get("license_name", licence) if licence == "other" else licence


def model_card(
    checkpoint: Checkpoint,
    labels: LabelSet | None,
    *,
    name: str = "path/to/this/directory",
    report: Report | None = None,
    card_data: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a model card for a checkpoint that a user saves.

    Parameters
    ----------
    checkpoint : Checkpoint
    labels : LabelSet or None
    name : str
        Repository or directory, for the example.
    report : Report, optional
        Results of this very network.
    card_data : mapping, optional
        Metadata to add or replace, such as ``{"datasets": ["org/clips"]}``.

    Raises
    ------
    InputError
        The report is of other weights, or metadata have no place in a card.
    """
    from huggingface_hub import ModelCard

    if report is not None:
        _check_origin(report, checkpoint)
    metadata = _metadata(checkpoint, name, report, dict(card_data or {}))
    body = _body(checkpoint, labels, name, report)
    return str(ModelCard(f"---\n{metadata}\n---\n{body}"))


def _metadata(
    checkpoint: Checkpoint, name: str, report: Report | None, given: dict[str, Any]
) -> str:
    from huggingface_hub import ModelCardData

    lineage = checkpoint.lineage
    licence = {key: lineage[key] for key in _LICENCE_KEYS if key in lineage}
    if licence.get("license") == "unknown":
        licence = {}
    base = lineage.get("base_model", "")
    values = {
        "library_name": "merclip",
        "pipeline_tag": TASK,
        **licence,
        "language": "en",  # of CLIP's tokenizer and of what its text towers have read
        "base_model": base if _REPO_NAME.fullmatch(base) and base != name else None,
        "metrics": list(report.kind.headline) if report else None,
        "tags": TAGS,
        # Neither goes without the other.
        "model_name": name.rsplit("/", 1)[-1] if report else None,
        "eval_results": _results(report) if report else None,
    }
    if "license" in given:  # one that is given says all, the inherited one's name included
        values = {key: value for key, value in values.items() if key not in _LICENCE_KEYS}
    try:
        data = ModelCardData(**{**values, **given})
        return data.to_yaml(original_order=list(values)).strip()
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"card_data cannot stand in a model card: {error}") from error


def _results(report: Report) -> list[Any]:
    from huggingface_hub import EvalResult

    data = str((report.data or {}).get("name", OWN_DATA))
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=re.sub(r"[^\w.-]+", "-", data),
            dataset_name=data,
            metric_type=name,
            metric_name=f"{report.kind.measures[name]} ({report.conditions[-1].name})",
            metric_value=round(float(report.metrics[name]), 4),
        )
        for name in report.kind.headline
    ]


def _check_origin(report: Report, checkpoint: Checkpoint) -> None:
    from merclip.evaluation.provenance import fingerprint

    measured = report.model.get("fingerprint")
    if measured is not None and measured != fingerprint(checkpoint.network):
        raise InputError(
            f"The report measured other weights ({report.model.get('name')!r}, fingerprint "
            f"{measured}): evaluate this classifier, as it is now, and give that report."
        )


def _body(checkpoint: Checkpoint, labels: LabelSet | None, name: str, report: Report | None) -> str:
    names = [] if labels is None else [str(label) for label in labels.names]
    example = ", ".join(map(_quoted, names[:3])) or '"happy", "sad"'
    licence = licence_name(checkpoint.lineage) or "unknown"
    title = name.rsplit("/", 1)[-1] if "path/to" not in name else "A merclip checkpoint"
    return f"""
# {markdown_text(title)}

Emotion classifier for video, sound and text, saved by merclip {__version__}.

- Labels: {", ".join(map(markdown_text, names)) or "none stored"}
- Fusion order: {markdown_text(checkpoint.network.config.fusion)}
- Trained from: {markdown_text(checkpoint.lineage.get("base_model", "a new network"))}
- Licence of the weights that it was trained from: {markdown_text(licence)}

```python
from merclip import EmotionClassifier

clf = EmotionClassifier.from_pretrained({_quoted(name)})
clf.predict(video="clip.mp4", labels=[{example}])
```

{_measured(report)}
"""


def _quoted(text: str) -> str:
    """Return a string of Python that does not end the block of code in which it stands."""
    return json_text(text).replace("```", r"\x60\x60\x60")


def _measured(report: Report | None) -> str:
    if report is None:
        return (
            "Its accuracy has not been measured by merclip. Measure it on data of your own\n"
            "before you rely on it, and say here what it was trained on."
        )
    # One level down, below the heading of the card.
    return re.sub(r"^#", "##", report.to_markdown(), flags=re.MULTILINE)
