"""The labels of the paper's tasks in words, phrases and sentences.

The words are the paper's. Its phrases and sentences, in its Tables 5 and 6, are its authors'
and not shipped; these are merclip's own, written before any was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merclip.errors import LabelError

WORDS = {"anger": "angry"}
"""The paper's words where they are not the data set's own names."""

PHRASES = {
    "negative": "a bad opinion",
    "positive": "a good opinion",
    "happy": "full of joy",
    "sad": "down and tearful",
    "anger": "full of rage",
    "surprise": "caught off guard",
    "disgust": "deeply repelled",
    "fear": "scared of danger",
}
SENTENCES = {
    "negative": "The speaker dislikes it, complains about it and would not recommend it.",
    "positive": "The speaker likes it, praises it and would recommend it.",
    "happy": "The speaker is cheerful, smiles and enjoys the moment.",
    "sad": "The speaker is sorrowful, speaks softly and seems close to tears.",
    "anger": "The speaker is furious, raises the voice and blames somebody.",
    "surprise": "The speaker did not expect this and is astonished by it.",
    "disgust": "The speaker finds this revolting and turns away from it.",
    "fear": "The speaker is frightened and worries that something bad will happen.",
}
_OURS: dict[str, Mapping[str, str]] = {"phrase": PHRASES, "sentence": SENTENCES}


def ours_among(
    wording: str, names: Sequence[str], given: Mapping[str, Mapping[str, Any]] | None = None
) -> list[str]:
    """Return the labels to which `texts_of` gives a text of merclip's, no word of the paper."""
    known = _by_name((given or {}).get(wording, {}), names)
    return [name for name in names if wording in _OURS and name not in known]


def texts_of(
    wording: str, names: Sequence[str], given: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return labels in some form.

    Parameters
    ----------
    wording : {"word", "phrase", "sentence"}
    names : sequence of str
        What the data set calls its labels.
    given : mapping from wording to mapping from name to text or texts, optional
        They come before ours. A name may be spelt as the data set's or the paper's word, in
        any case.

    Returns
    -------
    dict
        As the parameter `labels` of the classifier.

    Raises
    ------
    LabelError
        There is no text for a label.
    """
    ours = _OURS.get(wording, {name: WORDS.get(name, name) for name in names})
    known = {**ours, **_by_name((given or {}).get(wording, {}), names)}
    lacking = [name for name in names if name not in known]
    if lacking:
        raise LabelError(
            f"There is no {wording} for {', '.join(map(repr, lacking))}: give one for each label, "
            f'in a file of texts {{"{wording}": {{{lacking[0]!r}: "..."}}}}.'
        )
    return {name: known[name] for name in names}


def _by_name(texts: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return texts by the data set's names for labels, which chat models write otherwise."""
    of = {alias.casefold(): name for name in names for alias in (WORDS.get(name, name), name)}
    return {of.get(name.casefold(), name): text for name, text in texts.items()}
