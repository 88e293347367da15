"""Labels as they are pasted: lists, tables and JSON, of a person or of a chat model."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from merclip._shown import shown
from merclip.errors import LabelError

Labelled: TypeAlias = "list[tuple[str, list[str]]]"
"""Names with their descriptions; without any where there are names alone."""

_NAME_WORDS = ("label", "emotion", "name", "word", "class", "category", "feeling", "mood", "term")
_TEXT_WORDS = ("description", "descriptions", "sentence", "text", "definition", "meaning")
_REMARKS = ("note", "notes", "hint", "ps", "p.s.")
_MOST_WORDS = 6
_INDENT = 2

_FENCE = re.compile(r"^ {0,3}(?:```|~~~)[^\n]*\n(.*?)^ {0,3}(?:```|~~~)[ \t]*$", re.M | re.S)
_TABLE_RULE = re.compile(r"\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?")
_RULE = re.compile(r"([-*_=])\s*(\1\s*){2,}|#(?!#).*")
_HEADING = re.compile(r"#{2,6}\s+(.*?)\s*#*")
_NUMBER = re.compile(r"(?:\(?\d{1,4}[.)]\s*(?=\D)|\d\ufe0f?\u20e3\s*|[A-Za-z][.)]\s+)(?=\S)")
_BULLET = re.compile(r"(?:[-*+–—]\s+|[•◦▪▫●○‣·►➤✓✔✅]\s*)(?:\[[ xX]\]\s+)?(?=\S)")
_BETWEEN = r":(?=\s|$)|：|\s[-–=](?=\s|$)|[-=]>|→|—|\t"
_SEPARATOR = re.compile(rf"\s*(?:{_BETWEEN})\s*")
_MARKED_NAME = re.compile(
    r"(?P<bold>\*\*|__|[*_`])(?P<name>.+?)(?P=bold)(?P<more>\s*\([^)]*\))?"
    rf"(?P<rest>(?:{_BETWEEN}|\s).*|)"
)
_QUOTED_NAME = re.compile(rf"""(["“„'‘«])(?P<name>.+?)["”“'’»]\s*(?:{_BETWEEN})\s*(?P<rest>.*)""")
_EMPHASIS = re.compile(r"(\*\*|__|`|(?<!\w)[*_])(?=\S)(.+?)(?<=\S)\1(?!\w)")
_QUOTES = ('""', "''", "“”", "„“", "‘’", "«»")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>])")
_FIELD = re.compile(rf"(?:{'|'.join(_TEXT_WORDS)})\s*:\s*", re.I)


@dataclass(frozen=True)
class _Line:
    """One line: where it stands, how it is marked, and what is left of it.

    `mark` is "heading", "number", "bullet", "name" (bold, or with a colon behind it) or
    empty. `name` is None in a line that is no label; `described` is None where there is no
    separator, so that the name stands alone.
    """

    number: int
    raw: str
    indent: int
    mark: str
    text: str
    after_blank: bool
    name: str | None
    described: str | None

    @property
    def form(self) -> tuple[str, bool]:
        """What all labels of a list have in common."""
        return self.mark, bool(self.described)


def parse_labels(text: str) -> Labelled:
    """Return the labels that a text lists, in its order.

    Raises
    ------
    LabelError
        A line is not understood; the message says which.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    fenced = [match[1] for match in _FENCE.finditer(text)]
    if len(fenced) > 1:
        raise LabelError("The text has several fenced blocks; give the one with the labels.")
    text = fenced[0] if fenced else text
    rows = [(number, row) for number, row in enumerate(text.split("\n"), 1) if row.strip()]
    found = _json(text, rows)
    if found is None:
        found = _table(rows) if any(_is_table_rule(row) for _, row in rows) else _list(text)
    return found


def _json(text: str, rows: Sequence[tuple[int, str]]) -> Labelled | None:
    """Return what a text of JSON says; None of another text."""
    text = text.strip()
    if text.startswith(("{", "[")) and not re.match(r"\[[ xX]?\d*\]\s", text):
        try:
            return _labels_in(json.loads(text, object_pairs_hook=_Pairs))
        except (ValueError, RecursionError) as error:
            raise LabelError(f"The labels look like JSON, and are none: {error}.") from error
    if not rows or not all(row.lstrip().startswith('"') for _, row in rows):
        return None
    for brackets in ("{%s}", "[%s]"):
        try:
            # What stands between the brackets, and they were not copied.
            return _labels_in(json.loads(brackets % text.rstrip(","), object_pairs_hook=_Pairs))
        except ValueError:
            continue
    return None


class _Pairs(list[tuple[str, Any]]):
    """A JSON object whose keys may occur twice."""


def _labels_in(value: Any) -> Labelled:
    """Return labels from a JSON list or mapping."""
    if isinstance(value, _Pairs):
        inner = value[0][1] if len(value) == 1 else None
        listed = inner if isinstance(inner, list) else []
        if isinstance(inner, _Pairs) or any(isinstance(item, _Pairs) for item in listed):
            return _labels_in(inner)  # {"labels": {...}}
        return [(name, _texts(text, name)) for name, text in value]
    if _is_list(value) and value and all(isinstance(item, _Pairs) for item in value):
        return [_named(item) for item in value]
    if _is_list(value) and all(isinstance(item, str) for item in value):
        return [(item, []) for item in value]
    raise LabelError(
        "JSON with labels holds a list of strings, or a mapping from name to a description or a "
        "list of them."
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, _Pairs)


def _named(item: _Pairs) -> tuple[str, list[str]]:
    """Return a label from {"label": ..., "description": ...} or {name: description}."""
    if len(item) == 1 and item[0][0].lower() not in _NAME_WORDS:
        return item[0][0], _texts(item[0][1], item[0][0])
    names = [value for key, value in item if key.lower() in _NAME_WORDS]
    texts = [value for key, value in item if key.lower() in _TEXT_WORDS]
    if len(names) != 1 or not isinstance(names[0], str) or len(names) + len(texts) < len(item):
        raise LabelError(
            f"The JSON object with the keys {[key for key, _ in item]} is not understood as a "
            'label: it has a "label" and a "description".'
        )
    return names[0], [text for value in texts for text in _texts(value, names[0])]


def _texts(value: Any, name: str) -> list[str]:
    if isinstance(value, _Pairs) and all(key.lower() in _TEXT_WORDS for key, _ in value):
        value = [text for _, text in value]
    texts = value if _is_list(value) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise LabelError(
            f"The label {shown(name)} has {shown(value)} for a description: JSON with labels holds "
            "a list of strings, or a mapping from name to a description or a list of them."
        )
    return [*texts]


def _is_table_rule(row: str) -> bool:
    return "|" in row and _TABLE_RULE.fullmatch(row.strip()) is not None


def _table(rows: Sequence[tuple[int, str]]) -> Labelled:
    """Return the rows of a Markdown table: names, and a description in each further column."""
    if not _is_table_rule(rows[1][1] if len(rows) > 1 else ""):
        raise _not_understood(*rows[0], "a Markdown table has a head, and dashes below it")
    head = _cells(rows[0][1])
    # A first column of numbers counts the rows.
    first = int(len(head) > 1 and all(_counts(_cells(row)[0]) for _, row in rows[2:]))
    found = []
    for number, row in rows[2:]:
        name, *texts = (_unquoted(_bare(cell)) for cell in _cells(row)[first:] or [""])
        if "|" not in row or len(_cells(row)) != len(head) or _is_table_rule(row):
            raise _not_understood(number, row, f"it is no row of a table with {len(head)} columns")
        if not _named_by(name) or (len(head) > first + 1 and not any(texts)):
            raise _not_understood(number, row, "it lacks a name or a description")
        found.append((name, [text for text in texts if text]))
    return found


def _cells(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _counts(cell: str) -> bool:
    return cell.strip("#.)(*").isdecimal()


def _list(text: str) -> Labelled:
    """Return what a list says, one label a line or with its descriptions below it."""
    lines = _lines(text)
    if sum(line.mark == "heading" for line in lines) == 1:  # a title
        lines = [line for line in lines if line.mark != "heading"]
    if not lines:
        return []
    level = lines[0].indent + _INDENT
    bare = not any(line.mark or line.described for line in lines)
    below = [line.indent >= level for line in lines]
    turns = below == [False, True] * (len(lines) // 2)
    if bare and not turns:  # nothing but words, of which some happen to be indented
        level = 1 + max(line.indent for line in lines)
    heads = _heads([line for line in lines if line.indent < level])
    _check_alike(heads)
    return _with_details(lines, heads, level)


def _heads(top: Sequence[_Line]) -> Sequence[_Line]:
    """Return the lines that are labels, of those that are not below others."""
    if _in_pairs(top):
        return top[::2]
    headings = [line for line in top if line.mark == "heading"]
    if headings or top[0].described or not top[0].mark:
        return headings or top
    # Names, with lines of another form below them.
    named = [line for line in top if line.mark == top[0].mark]
    return named if len(named) > 1 else top


def _in_pairs(top: Sequence[_Line]) -> bool:
    """Return whether a name and a sentence take turns, with empty lines between pairs."""
    names, texts = top[::2], top[1::2]
    return (
        len(names) == len(texts) > 1
        and not any(line.mark for line in top)
        and all(line.after_blank for line in names[1:])
        and not any(line.described or _ends_a_sentence(line.text) for line in names)
        and not any(line.after_blank or not _ends_a_sentence(line.text) for line in texts)
    )


def _check_alike(heads: Sequence[_Line]) -> None:
    """Refuse a line that is not of the form of most."""
    usual = Counter(line.form for line in heads).most_common(1)[0][0]
    for line in heads:
        if line.name is None or not _named_by(line.name) or line.name.lower() in _REMARKS:
            raise _not_understood(line.number, line.raw, "it does not begin with a name")
        if line.form != usual:
            does = "have a description" if usual[1] else "are names alone"
            unlike = line.form[1] != usual[1]
            why = f"most others {does}" if unlike else "it is not marked as most others are"
            raise _not_understood(line.number, line.raw, why)
    sentences = [line for line in heads if _ends_a_sentence(line.text)]
    ends = [line for line in (heads[0], heads[-1]) if line in sentences]
    if not usual[1] and len(heads) > 2 and 0 < len(sentences) == len(ends):
        why = "it is a sentence, and the others are not"
        raise _not_understood(ends[0].number, ends[0].raw, why)


def _with_details(lines: Sequence[_Line], heads: Sequence[_Line], level: int) -> Labelled:
    """Add to each label the lines below it."""
    found: Labelled = []
    below: list[list[_Line]] = []
    numbers = {line.number for line in heads}
    for line in lines:
        if line.number in numbers:
            if _is_column_head(line):
                continue
            found.append((line.name or "", [line.described] if line.described else []))
            below.append([])
        elif below:
            below[-1].append(line)
        else:
            raise _not_understood(line.number, line.raw, "it stands before the first label")
    if any(below[-1:]) and not any(below[:-1]) and len(below) > 1 and not found[0][1]:
        line = below[-1][-1]
        raise _not_understood(line.number, line.raw, "only the last label has lines below it")
    for (_, texts), details, head in zip(found, below, heads[-len(found) :], strict=True):
        _add_details(texts, details, level)
        if not texts and (any(below) or head.described == ""):
            raise _not_understood(head.number, head.raw, "it has no description")
    return found


def _add_details(texts: list[str], lines: Sequence[_Line], level: int) -> None:
    """Add the descriptions that stand below a label; lines that are wrapped are joined."""
    loose = [line for line in lines if not line.mark and line.indent < level]
    if loose and len(lines) > 1:
        why = "a label has one line below it, or several that are indented or marked"
        raise _not_understood(loose[-1].number, loose[-1].raw, why)
    for line in lines:
        text = _FIELD.sub("", _unquoted(line.text), count=1)
        if texts and not line.mark and not line.after_blank:
            texts[-1] += f" {text}"
        else:
            texts.append(text)


def _lines(text: str) -> list[_Line]:
    found, after_blank = [], True
    for number, raw in enumerate(text.split("\n"), 1):
        row = raw.expandtabs(4) if raw[:1] == "\t" else raw
        stripped = re.sub(r"^(?:>\s?)+", "", row.strip()).strip()
        if not stripped or _RULE.fullmatch(stripped):
            after_blank = True
            continue
        indent = len(row) - len(row.lstrip())
        mark, content = _unmarked(stripped)
        name, described, is_name = _split(content)
        mark = mark or "name" * is_name
        line = _Line(number, raw, indent, mark, _bare(content), after_blank, name, described)
        found.append(line)
        after_blank = False
    return found


def _unmarked(text: str) -> tuple[str, str]:
    """Return how a line is marked, and the rest of it."""
    heading = _HEADING.fullmatch(text)
    if heading is not None:
        return "heading", _unmarked(heading[1])[1]
    for mark, pattern in (("number", _NUMBER), ("bullet", _BULLET)):
        match = pattern.match(text)
        if match is not None:
            return mark, _NUMBER.sub("", text[match.end() :], count=1) if mark == "bullet" else (
                text[match.end() :]
            )
    # A number in bold: **1. Happy** - text.
    return "", re.sub(r"^(\*\*|__)\(?\d{1,4}[.)]\s*", r"\1", text)


def _split(text: str) -> tuple[str | None, str | None, bool]:
    """Return the name in a line, what is said of it, and whether it is marked as a name."""
    text = _without_symbol(text)
    marked = _MARKED_NAME.fullmatch(text)
    if marked is not None:
        return _split_marked(marked)
    if text.startswith(("**", "__")):
        return None, None, False
    quoted = _QUOTED_NAME.fullmatch(text)
    if quoted is not None:
        return quoted["name"], _unquoted(_bare(quoted["rest"])), False
    separator = _SEPARATOR.search(text)
    if separator is None:
        return _unquoted(_bare(text)), None, False
    name, described = _bare(text[: separator.start()]), _unquoted(_bare(text[separator.end() :]))
    if not _reads_like_a_name(name):
        return None, described, False
    return _unquoted(_without_symbol(name)), described, not described


def _split_marked(marked: re.Match[str]) -> tuple[str | None, str | None, bool]:
    """Return the parts of a line that begins with a name in bold."""
    name, rest = marked["name"].strip(), marked["rest"].strip()
    if not rest and not marked["more"] and (inner := _SEPARATOR.search(name)) is not None:
        if inner.end() < len(name):
            return _split(name)  # all of the line is bold
    separator = _SEPARATOR.match(marked["rest"])
    inner = re.search(r"\s*[:：–—=-]$", name)
    if inner is None and rest and separator is None:
        return None, None, False
    name = _unquoted(_without_symbol(_bare(name[: inner.start()] if inner else name)))
    name += _bare(marked["more"] or "")
    if separator is not None and inner is None:
        rest = marked["rest"][separator.end() :]
    said = _unquoted(_bare(rest))
    return name, said if said or separator or inner else None, not said


def _is_column_head(line: _Line) -> bool:
    """Return whether a line is the head of columns: Emotion, Description."""
    names = (line.name or "").lower() in _NAME_WORDS
    return names and (line.described or "").lower() in _TEXT_WORDS


def _reads_like_a_name(text: str) -> bool:
    return len(text.split()) <= _MOST_WORDS and not re.search(r"[.!?](\s|$)", text)


def _named_by(name: str) -> bool:
    """Return whether a name has anything but punctuation in it."""
    return any(unicodedata.category(character)[0] in "LNS" for character in name)


def _ends_a_sentence(text: str) -> bool:
    return text.rstrip("\"'”’»)").endswith((".", "!", "?", "。", "！", "？", "…", ":"))


def _bare(text: str) -> str:
    """Return text without the marks of Markdown."""
    before = None
    while before != text:
        before, text = text, _EMPHASIS.sub(r"\2", text)
    return _ESCAPED.sub(r"\1", text).strip()


def _unquoted(text: str) -> str:
    text = text.strip()
    bare = text.rstrip(",;")
    inner = bare[1:-1]
    if inner and bare[0] + bare[-1] in _QUOTES and bare[0] not in inner:
        return inner.strip()
    return text


def _without_symbol(text: str) -> str:
    """Return text without an emoji before or after it."""
    if not any(character.isalnum() for character in text):
        return text
    start, end = 0, len(text)
    while _is_symbol(text[start]):
        start += 1
    while _is_symbol(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_symbol(character: str) -> bool:
    # Emojis, their modifiers and joiners, and spaces.
    known = unicodedata.category(character) in ("So", "Sk", "Cf", "Zs")
    return (known and character != "`") or character == "\ufe0f"


def _not_understood(number: int, row: str, why: str) -> LabelError:
    return LabelError(
        f"Line {number}, {shown(row.strip())}, is not understood as a label: {why}. Take it out, "
        "or give a JSON list, or a mapping from name to description."
    )
