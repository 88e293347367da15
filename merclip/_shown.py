"""Values of the user in messages and results: short, and acting on nothing."""

from __future__ import annotations

import json
import re
from typing import Any

_MOST_LETTERS = 80
_FORMULA = re.compile(r"\s*[=+\-@\t\r＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|]")
_MARKDOWN_START = re.compile(r"^[#+=~-]")


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


def visible(text: str) -> str:
    r"""Return text whose control and direction characters are written out.

    Examples
    --------
    >>> print(visible("\x1b[31mred\u202e"))
    \x1b[31mred\u202e
    """
    if text.isprintable():
        return text
    return "".join(c if _is_visible(c) else _escape(c) for c in text)


def cell(value: Any) -> Any:
    """Return what may stand in CSV: text that a spreadsheet takes for text, no formula.

    Examples
    --------
    >>> cell("=cmd|'/c calc'!A1"), cell("-0.5"), cell(-0.5)
    ("'=cmd|'/c calc'!A1", '-0.5', -0.5)
    """
    if not isinstance(value, str):
        return value
    # Inside quotes a line may break.
    text = "\n".join(map(visible, value.replace("\r\n", "\n").split("\n")))
    return f"'{text}" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else text


def markdown_text(value: Any) -> str:
    r"""Return text that Markdown shows as it is: no HTML, link, picture, heading or table.

    Examples
    --------
    >>> print(markdown_text("<script> [x](y) a|b"))
    \<script\> \[x\](y) a\|b
    """
    text = _MARKDOWN.sub(r"\\\g<0>", visible(" ".join(str(value).split())))
    return _MARKDOWN_START.sub(r"\\\g<0>", text)


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    r"""Return JSON in which control and direction characters are escaped.

    Examples
    --------
    >>> print(json_text({"label": "frühlich\u202e"}))
    {"label": "frühlich\u202e"}
    """
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    lines = text.split("\n")
    return "\n".join(
        line if line.isprintable() else "".join(map(_json_character, line)) for line in lines
    )


def _is_visible(character: str) -> bool:
    # Joiners, which Persian and emojis need, move nothing.
    return character.isprintable() or character in "\u200c\u200d\ufe0f"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_character(character: str) -> str:
    return character if _is_visible(character) else json.dumps(character)[1:-1]
