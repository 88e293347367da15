"""Measures of predictions in free words, with any number of words for a clip.

Which words mean the same is said by tables, and those are the user's: the
published ones carry no licence. Words are compared in lower case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from merclip.errors import InputError
from merclip.evaluation import checks

Words = Collection[str]
Table = Mapping[str, "str | Words"]


def open_vocabulary_scores(
    truth: Sequence[Words],
    predicted: Sequence[Words],
    synonyms: Sequence[Sequence[Words]] | None = None,
) -> dict[str, float]:
    """Return the measures of the challenge MER2024: sets of words, synonyms counted once.

    Parameters
    ----------
    truth, predicted : sequence of length n of collections of str
        Words of each clip.
    synonyms : sequence of length n, optional
        For each clip groups of words that mean the same, as a person or a
        language model put them together. A word in no group stands for itself;
        of a word in several, the last group holds.

    Returns
    -------
    dict
        ``precision``: mean over clips of |true and predicted| / |predicted|,
        which MER2024 calls accuracy. ``recall``: of the same over |true|. Both
        are 0 for a clip without predicted words. ``mean``: of the two, the
        score of the challenge. Clips without true words are left out, and NaN
        says that none is left.

    Raises
    ------
    InputError
        Lengths differ, or a clip's words are no collection of str.

    Notes
    -----
    Source: Lian et al., "MER 2024", arXiv 2404.17113.

    Examples
    --------
    >>> found = open_vocabulary_scores(
    ...     [["happy", "calm"]], [["glad", "bored"]], synonyms=[[["glad", "happy"]]]
    ... )
    >>> found["precision"], found["recall"]
    (0.5, 0.5)
    """
    n_clips = checks.equally_long(truth=truth, predicted=predicted, synonyms=synonyms)
    tables = [{}] * n_clips if synonyms is None else [_first_members(item) for item in synonyms]
    true, said = (
        [
            {table.get(word, word) for word in words}
            for words, table in zip(_word_sets(column, name), tables, strict=True)
        ]
        for column, name in ((truth, "truth"), (predicted, "predicted"))
    )
    precision, recall = _means(true, said)
    return {"precision": precision, "recall": recall, "mean": (precision + recall) / 2}


def wheel_scores(
    truth: Sequence[Words],
    predicted: Sequence[Words],
    wheels: Sequence[Mapping[str, str]],
    *,
    base_forms: Table | None = None,
    synonyms: Table | None = None,
) -> dict[str, float]:
    """Return the measures of MER2025 and OV-MER: sets of clusters on emotion wheels.

    A word goes to its base forms, these to words of the wheels, and the first
    of these in the alphabet that a wheel has goes to its cluster there. A word
    that the tables do not lead to a wheel is dropped.

    Parameters
    ----------
    truth, predicted : sequence of length n of collections of str
        Words of each clip.
    wheels : sequence of mappings from word to cluster
        Such as `wheel_clusters` makes.
    base_forms : mapping from word to a str or several, optional
        Such as "happier" to "happy"; base forms must be keys too. Without it
        words stand for themselves.
    synonyms : mapping from base form to a str or several, optional
        Such as "glad" to "happy"; words of the wheels must be keys too.
        Without it base forms stand for themselves.

    Returns
    -------
    dict
        ``precision`` and ``recall`` as for `open_vocabulary_scores`, of
        clusters, over the clips with a true cluster on that wheel; ``f1``:
        2PR / (P + R) of these two means, not a mean over clips. Each is the mean
        over wheels; NaN says that a wheel has no true word.

    Raises
    ------
    InputError
        Lengths differ, a clip's words are no collection of str, or there is no
        wheel.

    Notes
    -----
    Source: Lian et al., "OV-MER", ICML 2025, arXiv 2410.01495.

    Examples
    --------
    >>> wheel = wheel_clusters({"joy": {"content": ["calm"]}, "anger": {"mad": ["furious"]}})
    >>> wheel_scores([["calm", "furious"]], [["content"]], [wheel])
    {'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666}
    """
    checks.equally_long(truth=truth, predicted=predicted)
    if not len(wheels):
        raise InputError("Give at least one wheel.")
    forms, meanings = _table(base_forms), _table(synonyms)
    true = [_reached(words, forms, meanings) for words in _word_sets(truth, "truth")]
    said = [_reached(words, forms, meanings) for words in _word_sets(predicted, "predicted")]
    rows = [_one_wheel(true, said, wheel) for wheel in wheels]
    return dict(zip(("precision", "recall", "f1"), np.mean(rows, axis=0).tolist(), strict=True))


def wheel_clusters(wheel: Mapping[str, Mapping[str, Words]], level: int = 1) -> dict[str, str]:
    """Return the cluster of each word of a wheel with three rings.

    Parameters
    ----------
    wheel : mapping from inner word to a mapping from middle word to outer words
    level : {1, 2}
        1 clusters by the inner ring, 2 by the middle one; there an inner word
        goes to the first of its middle words in the alphabet.

    Returns
    -------
    dict
        A word that the wheel has in several places counts where it stands last.

    Raises
    ------
    InputError
        `level` is neither 1 nor 2, or an inner word has no middle words.

    Examples
    --------
    >>> from merclip.evaluation import wheel_clusters
    >>> wheel_clusters({"joy": {"content": ["calm"]}}, level=2)
    {'joy': 'content', 'content': 'content', 'calm': 'content'}
    """
    if level not in (1, 2):
        raise InputError(f"level is 1 or 2, got {level!r}.")
    clusters = {}
    for inner, rings in wheel.items():
        if not rings:
            raise InputError(f"{inner!r} has no words in the middle ring.")
        clusters[inner] = inner if level == 1 else min(rings)
        for middle, outer in rings.items():
            cluster = inner if level == 1 else middle
            clusters |= dict.fromkeys([middle, *outer], cluster)
    return {_plain(word): _plain(cluster) for word, cluster in clusters.items()}


def _one_wheel(
    truth: list[list[set[str]]], predicted: list[list[set[str]]], wheel: Mapping[str, str]
) -> tuple[float, float, float]:
    clusters = {_plain(word): cluster for word, cluster in wheel.items()}
    true, said = (
        [
            {clusters[min(found)] for words in clip if (found := words & clusters.keys())}
            for clip in column
        ]
        for column in (truth, predicted)
    )
    precision, recall = _means(true, said)
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def _means(truth: list[set[str]], predicted: list[set[str]]) -> tuple[float, float]:
    """Return precision and recall, means over the clips with a true word."""
    pairs = [
        (len(true & said) / max(len(said), 1), len(true & said) / len(true))
        for true, said in zip(truth, predicted, strict=True)
        if true
    ]
    if not pairs:
        return float("nan"), float("nan")
    precision, recall = np.mean(pairs, axis=0).tolist()
    return precision, recall


def _reached(
    words: set[str], forms: dict[str, set[str]] | None, meanings: dict[str, set[str]] | None
) -> list[set[str]]:
    """Return for each word the words of the wheels that the tables lead it to."""
    return [_follow(_follow({word}, forms), meanings) for word in words]


def _follow(words: set[str], table: dict[str, set[str]] | None) -> set[str]:
    return words if table is None else {to for word in words for to in table.get(word, ())}


def _table(table: Table | None) -> dict[str, set[str]] | None:
    if table is None:
        return None
    return {
        _plain(word): {_plain(to)} if isinstance(to, str) else {_plain(one) for one in to}
        for word, to in table.items()
    }


def _first_members(groups: Sequence[Words]) -> dict[str, str]:
    members = [[_plain(word) for word in group] for group in groups]
    return {word: group[0] for group in members for word in group}


def _word_sets(column: Sequence[Words], name: str) -> list[set[str]]:
    for index, words in enumerate(column):
        fits = isinstance(words, Collection) and not isinstance(words, (str, bytes))
        if not fits or not all(isinstance(word, str) for word in words):
            raise InputError(f"{name}[{index}] is {words!r}; give a collection of words.")
    return [{_plain(word) for word in words} for words in column]


def _plain(word: str) -> str:
    return word.strip().lower()
