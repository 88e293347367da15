"""Data of one's own: a CSV or JSON Lines file, or a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from merclip.datasets._dataset import Collector, Dataset
from merclip.datasets._files import Folder, Origin, file_names, read_text
from merclip.datasets._table import MEDIA, Columns, Row, numbers_in, read_table, split_name
from merclip.errors import DatasetNotFoundError, InputError
from merclip.types import Clip

_VIDEO = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".flv", ".m4v", ".mpg", ".mpeg", ".gif")
_PICTURE = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_AUDIO = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac")
_TEXT = (".txt",)


def load_clips(
    path: Folder,
    *,
    label: str = "label",
    group: str | None = None,
    split: str | None = None,
    multi_label: bool = False,
    scores: bool = False,
    score_range: tuple[float, float] | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
) -> Dataset:
    """Load labelled clips of one's own.

    Parameters
    ----------
    path : path
        - A CSV file with a header, or JSON Lines for the suffix ``.jsonl``: one row
          for each clip, with some of the columns ``video``, ``audio``, ``text``,
          ``start``, ``end`` (seconds) and ``id``. Paths in it are relative to it.
        - Or a folder with a folder of files for each class, ``happy/1.mp4``; or,
          above them, one for each part, ``train/happy/1.mp4``. Text files (.txt)
          are read as what was said.
    label : str
        The column of labels.
    group : str, optional
        The column that says who speaks, or which clips otherwise belong together.
    split : str, optional
        The column of parts: "train", "valid" ("val", "dev") and "test".
    multi_label : bool
        A clip has any number of labels, joined by ``|`` or a list in JSON Lines.
    scores : bool
        Labels are sentiment from -3 (negative) to 3 (positive).
    score_range : (lowest, highest), optional
        The scale of scores that lie on another one, such as ``(1, 9)`` or ``(0, 1)``; they
        are brought to -3 to 3.
    encoding : str, optional
        Of the file, such as "cp1251"; by default it is found: UTF-8, UTF-16 or, with a
        warning, Windows' cp1252.
    delimiter : str, optional
        What divides the columns of CSV; by default it is found: a comma, a semicolon, a
        tab or a bar.

    Returns
    -------
    Dataset
        `labels` are sorted; scores have none. Where all labels of CSV are digits, or all
        are True and False, `y` holds numbers or booleans, as they would be in Python.

    Raises
    ------
    DatasetNotFoundError
        There is no such file or folder, or it holds no clip.
    InputError
        A column is missing or misspelt, or a row cannot be read; the message
        names the line. Or scores are on another scale.

    Examples
    --------
    >>> from merclip.datasets import load_clips
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> data
    Dataset(lines.csv: 24 clips, train 12, valid 6, test 6)
    """
    if score_range is not None and not scores:
        raise InputError("score_range goes with scores=True.")
    source = Path(path)
    origin = Origin(source.name)
    rows = Collector(origin, source)
    if source.is_dir():
        if any((group, split, multi_label, scores, encoding, delimiter)):
            raise InputError(
                "group, split, multi_label, scores, encoding and delimiter go with a CSV or JSON "
                "Lines file."
            )
        _add_folder(rows, source)
    elif source.is_file():
        columns = Columns(
            label, group, split, multi_label, scores, encoding=encoding, delimiter=delimiter
        )
        for row in read_table(source, columns):
            _add_row(rows, row)
    else:
        raise DatasetNotFoundError(f"There is no file or folder {str(source)!r}: check the path.")
    data = rows.dataset(() if scores else rows.labels_seen())
    if scores:
        return on_scale(data, score_range)
    return data if source.is_dir() else as_numbers(data)


def on_scale(data: Dataset, score_range: Sequence[float] | None) -> Dataset:
    """Return the data set with its scores brought to sentiment from -3 to 3."""
    from merclip.evaluation.sentiment import to_sentiment

    return replace(data, y=to_sentiment(data.y, score_range))


def as_numbers(data: Dataset) -> Dataset:
    """Return the data set with numbers or booleans for labels that are written as such.

    Raises
    ------
    InputError
        Some are fractions.
    """
    if data.y.dtype.kind not in "US":
        return data
    numbers = numbers_in(data.labels)
    if not numbers:
        return data
    if fractions := [name for name, value in numbers.items() if isinstance(value, float)]:
        raise InputError(
            f"{data.name} has labels such as {fractions[0]}: scores=True takes them as sentiment."
        )
    y = np.array([numbers[name] for name in data.y.tolist()])
    return replace(data, y=y, labels=tuple(sorted(set(numbers.values()))))


def _add_row(rows: Collector, row: Row) -> None:
    if not row.has_clip or row.label is None:
        what = "no label" if row.has_clip else "no video, audio or text"
        rows.note("excluded", what, row.name)
        return
    if rows.usable(row.name, *(row.values[part] for part in MEDIA if part in row.values)):
        clip = Clip(**row.values, id=row.name)
        rows.add(clip, row.label, group=row.group, split=row.split)


def _add_folder(rows: Collector, folder: Path) -> None:
    names = _folders(folder)
    by_part = bool(names) and all(split_name(name) for name in names)
    if not by_part:
        _add_classes(rows, folder, None)
        return
    for name in names:
        _add_classes(rows, folder / name, split_name(name))


def _add_classes(rows: Collector, folder: Path, split: str | None) -> None:
    for label in _folders(folder):
        for name in file_names(folder / label, ""):
            path = folder / label / name
            if name.startswith(".") or path.is_dir():
                continue
            values = _media(path)
            if values is None:
                rows.note("ignored", "neither media nor text", f"{label}/{name}")
            elif rows.usable(f"{label}/{name}", str(path)):
                rows.add(Clip(**values, id=f"{label}/{name}"), label, group=None, split=split)


def _folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _media(path: Path) -> dict[str, Any] | None:
    """Return what a file is by its suffix; a picture counts as a video of one frame."""
    suffix = path.suffix.lower()
    if suffix in (*_VIDEO, *_PICTURE):
        return {"video": str(path)}
    if suffix in _AUDIO:
        return {"audio": str(path)}
    return {"text": read_text(path).strip()} if suffix in _TEXT else None
