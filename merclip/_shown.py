"""Values of the user in messages: short, whatever they are."""

from __future__ import annotations

from typing import Any

_MOST_LETTERS = 80


def shown(value: Any) -> str:
    """Return the `repr` of a value, cut where it is long.

    Examples
    --------
    >>> shown("joy")
    "'joy'"
    >>> shown("ha" * 1000)[-29:]
    "hahaha' and 1920 more letters"
    """
    if isinstance(value, (str, bytes, bytearray)):
        more = len(value) - _MOST_LETTERS
        unit = "letters" if isinstance(value, str) else "bytes"
        return repr(value[:_MOST_LETTERS]) + (f" and {more} more {unit}" if more > 0 else "")
    try:
        text = " ".join(repr(value).split())
    # A whole number of 5,000 digits has no repr, and other classes may raise anything.
    except Exception:
        return f"an object of type {type(value).__name__}"
    more = len(text) - _MOST_LETTERS
    return text if more <= 0 else f"{text[:_MOST_LETTERS]} ... ({more} more letters)"
