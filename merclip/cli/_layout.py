"""Text in columns of a terminal."""

from __future__ import annotations

import shutil
import unicodedata


def terminal_width() -> int:
    """Return the columns of the terminal; 80 where there is none."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def width(text: str) -> int:
    """Return how many columns a text takes: Chinese and Korean letters take two."""
    return sum(_columns(character) for character in text)


def cut(text: str, columns: int, *, keep_end: bool = False, ellipsis: str = "…") -> str:
    """Shorten a text to some columns, with an ellipsis where it was cut."""
    text = plain(text)
    if width(text) <= columns:
        return text
    room = columns - width(ellipsis)
    kept = ""
    for character in reversed(text) if keep_end else text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return ellipsis + kept[::-1] if keep_end else kept.rstrip() + ellipsis


def pad(text: str, columns: int) -> str:
    """Fill a text up to some columns."""
    return text + " " * max(0, columns - width(text))


def plain(text: str) -> str:
    """Replace line breaks and control characters, which would move the cursor."""
    return "".join(character if character.isprintable() else " " for character in text)


def can_show(text: str, encoding: str | None) -> bool:
    """Return whether a stream of this encoding can show the text."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
