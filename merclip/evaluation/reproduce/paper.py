"""The tables of the paper: what each row changes, and the number that it reports.

Song and Cho, "Leveraging CLIP Encoder for Multimodal Emotion Recognition",
arXiv 2506.00903. Numbers are percentages; rows that the paper does not have are ours, and
have none.
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


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Parameters
    ----------
    name : str
    paper : mapping from measure to float
        The paper's numbers, in percent; none for a row that it does not have.
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
    others : mapping from name to numbers
        Other systems, as the paper quotes them.

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
    others: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

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


def find_table(name: str) -> Table:
    """Return a table of the paper by its name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    name = _FORMER.get(name, name)
    if name not in TABLES:
        raise InputError(f"There is no table {name!r}; there are {', '.join(TABLES)}.")
    return TABLES[name]


def _two(accuracy: float, f1: float) -> dict[str, float]:
    return {ACC_2: accuracy, F1: f1}


def _four(accuracy: float, precision: float, recall: float, f1: float) -> dict[str, float]:
    return dict(zip(EMOTION, (accuracy, precision, recall, f1), strict=True))


MOSI, MOSEI, MOSEI_EMOTION = _two(84.0, 84.0), _two(85.3, 85.1), _four(49.3, 53.1, 63.4, 57.8)
_FUSED = {
    "L": (83.7, 83.6),
    "V": (74.7, 73.8),
    "A": (70.9, 69.1),
    "LV": (84.4, 84.4),
    "VL": (84.7, 84.5),
    "LA": (84.5, 84.6),
    "AL": (84.4, 84.4),
    "VA": (74.6, 74.4),
    "AV": (75.0, 73.9),
    "LVA": (85.3, 85.1),
    "LAV": (85.0, 84.7),
    "VLA": (85.0, 84.8),
    "VAL": (84.5, 84.3),
    "ALV": (84.6, 84.5),
    "AVL": (84.8, 84.7),
}
"""Its Table 3: modalities in the order in which they are fused, on CMU-MOSEI."""
_OTHER_SENTIMENT = {
    "EF-LSTM": (73.6, 74.5, 76.1, 75.9),
    "LF-LSTM": (77.6, 77.8, 77.5, 78.2),
    "RAVEN": (72.7, 73.1, 75.4, 75.7),
    "MCTN": (75.9, 76.4, 79.3, 79.7),
    "MulT": (81.1, 81.0, 81.6, 81.6),
    "PMR": (82.4, 82.1, 83.1, 82.8),
    "MICA": (82.6, 82.7, 83.7, 83.3),
    "DMD": (83.5, 83.5, 84.8, 84.7),
}
"""Accuracy and F1 on CMU-MOSI, then on CMU-MOSEI."""
_OTHER_EMOTION = {
    "DFG": (38.6, 53.4, 45.6, 49.4),
    "RAVEN": (40.3, 63.3, 42.9, 51.1),
    "MulT": (42.3, 63.6, 44.5, 52.3),
    "SIMM": (41.8, 48.2, 48.6, 48.4),
    "MISA": (39.8, 37.1, 57.1, 45.0),
    "HHMPN": (43.4, 59.1, 47.6, 52.8),
    "TAILOR": (46.0, 63.9, 45.2, 52.9),
}
_WORDS = ("Emotion", "Sentiment", "Feeling", "Impression", "Mood", "Sensation", None)
"""Words of the query that the paper compares; None is contexts alone."""
_QUERY_MOSI = (
    (85.1, 85.0),
    (84.0, 84.0),
    (83.5, 83.4),
    (84.5, 84.3),
    (83.9, 83.7),
    (85.7, 85.5),
    (84.0, 84.0),
)
_QUERY_MOSEI = (
    (85.2, 85.1),
    (85.3, 85.1),
    (85.4, 85.2),
    (85.5, 85.5),
    (85.5, 85.3),
    (85.0, 84.8),
    (85.0, 85.0),
)
_QUERY_EMOTION = (
    (49.3, 53.1, 63.4, 57.8),
    (49.3, 55.1, 59.5, 57.2),
    (49.3, 52.3, 64.3, 57.7),
    (48.9, 54.7, 59.0, 56.8),
    (49.2, 53.3, 61.9, 57.3),
    (49.6, 55.5, 59.6, 57.5),
    (49.1, 52.7, 62.8, 57.3),
)


def _fused(order: str, name: str = "") -> Row:
    return Row(name or order, _two(*_FUSED[order]), {"fusion": order})


def _wordings(words: dict[str, float], **others: dict[str, float]) -> tuple[Row, ...]:
    return (
        Row("word", words),
        Row("phrase", others.get("phrase", {}), wording="phrase"),
        Row("sentence", others.get("sentence", {}), wording="sentence"),
    )


def _query(word: str | None, paper: dict[str, float]) -> Row:
    return Row(word or "(no word)", paper, {"query": word})


_LISTED = (
    Table(
        "table-mosi-sentiment",
        "CMU-MOSI, sentiment",
        "mosi",
        "sentiment",
        (Row("MER-CLIP", MOSI),),
        others={name: _two(*found[:2]) for name, found in _OTHER_SENTIMENT.items()},
    ),
    Table(
        "table-mosei-sentiment",
        "CMU-MOSEI, sentiment",
        "mosei",
        "sentiment",
        (Row("MER-CLIP", MOSEI),),
        others={name: _two(*found[2:]) for name, found in _OTHER_SENTIMENT.items()},
    ),
    Table(
        "table-mosei-emotion",
        "CMU-MOSEI, emotions",
        "mosei",
        "emotion",
        (Row("MER-CLIP", MOSEI_EMOTION),),
        "Acc is the example-based Jaccard index, 0 for a clip without an emotion. The paper does "
        "not say from which probability on a label counts.",
        others={name: _four(*found) for name, found in _OTHER_EMOTION.items()},
    ),
    Table(
        "ablation-modality",
        "CMU-MOSEI, sentiment: which modalities are fused",
        "mosei",
        "sentiment",
        tuple(_fused(order) for order in _FUSED if len(order) < 3 or order == "LVA"),
    ),
    Table(
        "ablation-fusion",
        "CMU-MOSEI, sentiment: the order of fusion",
        "mosei",
        "sentiment",
        tuple(_fused(order, " -> ".join(order)) for order in _FUSED if len(order) == 3),
        "L -> V -> A is the order that the paper found best, and uses.",
    ),
    Table(
        "ablation-components",
        "CMU-MOSEI, sentiment: without decoder (CMD) or label encoder (LE)",
        "mosei",
        "sentiment",
        (
            Row(
                "w/o CMD, LE",
                _two(81.1, 80.5),
                {"use_decoder": False, "use_label_encoder": False},
            ),
            Row("LE only", _two(85.1, 84.7), {"use_decoder": False}),
            Row("CMD only", _two(84.4, 84.1), {"use_label_encoder": False}),
            Row("CMD and LE", MOSEI),
        ),
    ),
    Table(
        "labels-mosi-sentiment",
        "CMU-MOSI, sentiment: words, phrases and sentences as labels",
        "mosi",
        "sentiment",
        _wordings(MOSI, phrase=_two(84.0, 83.8)),
    ),
    Table(
        "labels-mosei-sentiment",
        "CMU-MOSEI, sentiment: words, phrases and sentences as labels",
        "mosei",
        "sentiment",
        _wordings(MOSEI, phrase=_two(84.7, 84.5)),
    ),
    Table(
        "labels-mosei-emotion",
        "CMU-MOSEI, emotions: words, phrases and sentences as labels",
        "mosei",
        "emotion",
        _wordings(MOSEI_EMOTION, sentence=_four(49.1, 54.8, 59.2, 56.9)),
    ),
    Table(
        "query-mosi-sentiment",
        "CMU-MOSI, sentiment: the word of the query",
        "mosi",
        "sentiment",
        tuple(_query(word, _two(*found)) for word, found in zip(_WORDS, _QUERY_MOSI, strict=True)),
    ),
    Table(
        "query-mosei-sentiment",
        "CMU-MOSEI, sentiment: the word of the query",
        "mosei",
        "sentiment",
        tuple(_query(word, _two(*found)) for word, found in zip(_WORDS, _QUERY_MOSEI, strict=True)),
    ),
    Table(
        "query-mosei-emotion",
        "CMU-MOSEI, emotions: the word of the query",
        "mosei",
        "emotion",
        tuple(
            _query(word, _four(*found)) for word, found in zip(_WORDS, _QUERY_EMOTION, strict=True)
        ),
    ),
)

TABLES = {table.name: table for table in _LISTED}
"""Every table of the paper by its name."""
_FORMER = {"query-words": "query-mosi-sentiment"}
"""What tables were called before there were others like them."""
