"""The tables of the paper: what each row changes, and the number that it reports.

Song and Cho, "Leveraging CLIP Encoder for Multimodal Emotion Recognition",
arXiv 2506.00903. Numbers are percentages. A number that is not known here is absent,
and shown as a dash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from merclip.errors import InputError

ACC_2, F1 = "accuracy_2_non0", "weighted_f1_2_non0"
SENTIMENT = {ACC_2: "Acc-2", F1: "F1"}
EMOTION = {
    "accuracy_jaccard": "Acc",
    "micro_precision": "P",
    "micro_recall": "R",
    "micro_f1": "F1",
}
"""Measures of `Report`, and what the paper's tables call them."""

ORDERS = ("LVA", "LAV", "VLA", "VAL", "ALV", "AVL")


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Parameters
    ----------
    name : str
    paper : mapping from measure to float
        The paper's numbers that are known, in percent.
    network : mapping
        Values of `NetworkConfig` that differ from the model's.
    wording : {"word", "phrase", "sentence"}
        In what form labels are given.

    Examples
    --------
    >>> from merclip.evaluation.reproduce import find_table
    >>> find_table("ablation-modality").rows[0].network
    {'fusion': 'L'}
    """

    name: str
    paper: Mapping[str, float] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    wording: Literal["word", "phrase", "sentence"] = "word"


@dataclass(frozen=True)
class Table:
    """One table of the paper.

    Parameters
    ----------
    name : str
        What the command calls it.
    title : str
    data : {"mosi", "mosei"}
    target : {"sentiment", "emotion"}
    rows : tuple of Row
    note : str
        What is to be known when numbers are compared.

    Examples
    --------
    >>> from merclip.evaluation.reproduce import find_table
    >>> table = find_table("table-mosei-emotion")
    >>> table.data, table.target, list(table.measures.values())
    ('mosei', 'emotion', ['Acc', 'P', 'R', 'F1'])
    """

    name: str
    title: str
    data: Literal["mosi", "mosei"]
    target: Literal["sentiment", "emotion"]
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def measures(self) -> dict[str, str]:
        """Measures of the table, and what the paper calls them."""
        return SENTIMENT if self.target == "sentiment" else EMOTION

    @property
    def query(self) -> str:
        """The paper's query word for this task."""
        return "Sentiment" if self.target == "sentiment" else "Emotion"

    @property
    def changes_network(self) -> bool:
        """Whether rows differ in the network, so that each has to start without fusion."""
        return any(row.network for row in self.rows)

    @property
    def changes_wording(self) -> bool:
        """Whether rows differ in the texts of labels."""
        return len({row.wording for row in self.rows}) > 1


def find_table(name: str) -> Table:
    """Return a table of the paper by its name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in TABLES:
        raise InputError(f"There is no table {name!r}; there are {', '.join(TABLES)}.")
    return TABLES[name]


def _two(accuracy: float, f1: float) -> dict[str, float]:
    return {ACC_2: accuracy, F1: f1}


def _four(accuracy: float, precision: float, recall: float, f1: float) -> dict[str, float]:
    return dict(zip(EMOTION, (accuracy, precision, recall, f1), strict=True))


MOSI, MOSEI, MOSEI_EMOTION = _two(84.0, 84.0), _two(85.3, 85.1), _four(49.3, 53.1, 63.4, 57.8)
_MODALITY = {"L": 83.7, "V": 74.7, "A": 70.9, "LV": 84.4, "LA": 84.5}
_TEXTS_ARE_OURS = (
    "The paper's own phrases and sentences stand in its tables of labels and are not shipped: "
    "unless --texts gives them, other than single words are merclip's wording."
)
_OURS_ONLY = "Rows without a number of the paper are not in it, or not known here."


def _order(order: str) -> Row:
    # The paper's text names the worst order; the numbers of the others are not known here.
    known = {"LVA": MOSEI, "VAL": {ACC_2: 84.5}}
    return Row(" -> ".join(order), known.get(order, {}), {"fusion": order})


def _wordings(words: dict[str, float], **others: dict[str, float]) -> tuple[Row, ...]:
    return (
        Row("word", words),
        Row("phrase", others.get("phrase", {}), wording="phrase"),
        Row("sentence", others.get("sentence", {}), wording="sentence"),
    )


_LISTED = (
    Table(
        "table-mosi-sentiment", "CMU-MOSI, sentiment", "mosi", "sentiment", (Row("MER-CLIP", MOSI),)
    ),
    Table(
        "table-mosei-sentiment",
        "CMU-MOSEI, sentiment",
        "mosei",
        "sentiment",
        (Row("MER-CLIP", MOSEI),),
    ),
    Table(
        "table-mosei-emotion",
        "CMU-MOSEI, emotions",
        "mosei",
        "emotion",
        (Row("MER-CLIP", MOSEI_EMOTION),),
        "Acc is the example-based Jaccard index, 0 for a clip without an emotion. The paper does "
        "not say from which probability on a label counts.",
    ),
    Table(
        "ablation-modality",
        "CMU-MOSEI, sentiment: which modalities are fused",
        "mosei",
        "sentiment",
        (
            *(Row(name, {ACC_2: _MODALITY[name]}, {"fusion": name}) for name in _MODALITY),
            Row("VA", {}, {"fusion": "VA"}),
            Row("LVA", MOSEI, {"fusion": "LVA"}),
        ),
        _OURS_ONLY,
    ),
    Table(
        "ablation-fusion",
        "CMU-MOSEI, sentiment: the order of fusion",
        "mosei",
        "sentiment",
        tuple(map(_order, ORDERS)),
        "The paper calls V -> A -> L the worst order. " + _OURS_ONLY,
    ),
    Table(
        "ablation-components",
        "CMU-MOSEI, sentiment: without decoder (CMD) or label encoder (LE)",
        "mosei",
        "sentiment",
        (
            Row("w/o CMD, LE", {ACC_2: 81.1}, {"use_decoder": False, "use_label_encoder": False}),
            Row("LE only", {ACC_2: 85.1}, {"use_decoder": False}),
            Row("CMD only", {ACC_2: 84.4}, {"use_label_encoder": False}),
            Row("CMD and LE", MOSEI),
        ),
    ),
    Table(
        "labels-mosi-sentiment",
        "CMU-MOSI, sentiment: words, phrases and sentences as labels",
        "mosi",
        "sentiment",
        _wordings(MOSI, phrase=_two(84.0, 83.8)),
        _TEXTS_ARE_OURS,
    ),
    Table(
        "labels-mosei-sentiment",
        "CMU-MOSEI, sentiment: words, phrases and sentences as labels",
        "mosei",
        "sentiment",
        _wordings(MOSEI, phrase=_two(84.7, 84.5)),
        _TEXTS_ARE_OURS,
    ),
    Table(
        "labels-mosei-emotion",
        "CMU-MOSEI, emotions: words, phrases and sentences as labels",
        "mosei",
        "emotion",
        _wordings(MOSEI_EMOTION, sentence=_four(49.1, 54.8, 59.2, 56.9)),
        _TEXTS_ARE_OURS,
    ),
    Table(
        "query-words",
        "CMU-MOSI, sentiment: the word of the query",
        "mosi",
        "sentiment",
        (
            Row("Sentiment", MOSI, {"query": "Sentiment"}),
            Row("Emotion", {}, {"query": "Emotion"}),
            Row("(no word)", {}, {"query": None}),
        ),
        "The paper's words span 83.5 to 85.7 in Acc-2; which word has which number is not known "
        "here, but for 'Sentiment', its choice. --queries adds words.",
    ),
)

TABLES = {table.name: table for table in _LISTED}
"""Every table of the paper by its name."""
