"""The tables of the paper, measured anew: its numbers beside ours."""

from __future__ import annotations

from merclip.evaluation.reproduce.comparison import Comparison, Line
from merclip.evaluation.reproduce.fresh import forget_fusion
from merclip.evaluation.reproduce.paper import TABLES, Row, Table, find_table
from merclip.evaluation.reproduce.run import reproduce

__all__ = [
    "TABLES",
    "Comparison",
    "Line",
    "Row",
    "Table",
    "find_table",
    "forget_fusion",
    "reproduce",
]
