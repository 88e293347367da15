"""Words alone, counted."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from merclip.evaluation.baselines.base import LearnedBaseline

Array = np.ndarray[Any, Any]

_WORD = r"(?u)\b\w+\b"
"""scikit-learn's own leaves out words of one letter, such as "I"."""


class WordCounts(LearnedBaseline):
    """TF-IDF of words and pairs of words, and logistic regression, on text alone.

    Both are scikit-learn's with its defaults but for pairs, a logarithm of counts
    (``sublinear_tf``), words of one letter, and more iterations. A clip without a
    word gets the prior.

    Parameters
    ----------
    labels, multi_label
        As for `Baseline`.

    Examples
    --------
    >>> from merclip.evaluation.baselines import WordCounts
    >>> clips = [{"text": "so glad"}, {"text": "so sad"}]
    >>> words = WordCounts().fit(clips, ["happy", "sad"])
    >>> words.predict([{"text": "glad"}]).tolist()
    ['happy']
    """

    def _usable(self, rows: Any) -> Array:
        return np.array([_has_word(clip.text) for clip in rows], dtype=bool)

    def _values(self, rows: Any, usable: Array) -> list[str]:
        return [rows[int(index)].text for index in usable]

    def _steps(self) -> list[Any]:
        counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)
        return [counts, LogisticRegression(max_iter=1000)]


def _has_word(text: Any) -> bool:
    return isinstance(text, str) and re.search(_WORD, text) is not None
