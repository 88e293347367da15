"""Data of one's own: a CSV or JSON Lines file, or a folder for each class."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from merclip.datasets._dataset import Collector, Dataset
from merclip.datasets._files import Folder, Origin, file_names, number, numbered_rows, read_text
from merclip.errors import DatasetNotFoundError, InputError
from merclip.types import Clip

_MEDIA = ("video", "audio")
_PARTS = (*_MEDIA, "text")
_TIMES = ("start", "end")
_SEPARATOR = "|"
_SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
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

    Returns
    -------
    Dataset
        `labels` are sorted.

    Raises
    ------
    DatasetNotFoundError
        There is no such file or folder, or it holds no clip.
    InputError
        A column is missing or misspelt, or a row cannot be read; the message
        names the line.
    """
    source = Path(path)
    origin = Origin(source.name)
    rows = Collector(origin, source)
    if source.is_dir():
        if group is not None or split is not None or multi_label:
            raise InputError("group, split and multi_label go with a CSV or JSON Lines file.")
        _add_folder(rows, source)
    elif source.is_file():
        reader = _Reader(source, rows, label, group, split, multi_label)
        for line, row in reader.lines():
            reader.add(f"{source.name} line {line}", row)
    else:
        raise DatasetNotFoundError(f"There is no file or folder {str(source)!r}: check the path.")
    return rows.dataset(rows.labels_seen())


class _Reader:
    """Turns the rows of one file into clips."""

    def __init__(
        self,
        path: Path,
        rows: Collector,
        label: str,
        group: str | None,
        split: str | None,
        multi_label: bool,
    ) -> None:
        self.path, self.rows, self.multi_label = path, rows, multi_label
        self.label, self.group, self.split = label, group, split

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each row with its line."""
        if self.path.suffix.lower() in (".jsonl", ".ndjson"):
            yield from self._json_lines()
            return
        needed = [name for name in (self.label, self.group, self.split) if name is not None]
        for line, row in numbered_rows(self.path, needed, strict=True, skipinitialspace=True):
            if None in row:
                raise InputError(
                    f"{self.path.name} line {line} has more fields than the header: put texts "
                    "with a comma in quotes."
                )
            self._check(list(row))
            yield line, row

    def _json_lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, content in enumerate(read_text(self.path).split("\n"), start=1):
            if not content.strip():
                continue
            try:
                row = json.loads(content)
            except ValueError as error:
                raise InputError(f"{self.path.name} line {line} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InputError(f"{self.path.name} line {line} is not a JSON object.")
            self._check(list(row))
            yield line, row

    def _check(self, found: Sequence[str]) -> None:
        known = [*_PARTS, *_TIMES, "id", self.label]
        for name in found:
            close = difflib.get_close_matches(name.strip().lower(), known, n=1, cutoff=0.8)
            if name not in known and close and close[0] not in found:
                raise InputError(
                    f"{self.path.name} has a column {name!r}; did you mean {close[0]!r}?"
                )
        if not set(_PARTS) & set(found):
            raise InputError(
                f"{self.path.name} has the columns {list(found)}; a clip has one of {list(_PARTS)}."
            )

    def add(self, place: str, row: dict[str, Any]) -> None:
        """Take one row."""
        values: dict[str, Any] = {
            name: text for name in _PARTS if (text := _string(row, name, place))
        }
        name = str(row.get("id") or place)
        label = self._label(row, place)
        if not values or label is None:
            self.rows.note("excluded", "no label" if values else "no video, audio or text", name)
            return
        for part in set(_MEDIA) & set(values):
            values[part] = str(self.path.parent / values[part])
        if not self.rows.usable(name, *(values[part] for part in _MEDIA if part in values)):
            return
        clip = _clip(values, row, name, place)
        group = self._name(row, self.group, place)
        self.rows.add(clip, label, group=group, split=self._split(row, place))

    def _label(self, row: dict[str, Any], place: str) -> Any:
        value = row.get(self.label)
        if self.multi_label:
            if isinstance(value, list):
                return tuple(map(str, value))
            names = _string(row, self.label, place).split(_SEPARATOR)
            return tuple(name.strip() for name in names if name.strip())
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return _string(row, self.label, place) or None

    def _name(self, row: dict[str, Any], column: str | None, place: str) -> str | None:
        if column is None:
            return None
        value = row.get(column)
        if value is None or value == "":
            raise InputError(f"{place} has nothing in the column {column!r}.")
        return str(value)

    def _split(self, row: dict[str, Any], place: str) -> str | None:
        name = self._name(row, self.split, place)
        if name is None:
            return None
        if name.strip().lower() not in _SPLITS:
            raise InputError(f"{place}: the part {name!r} is not train, valid or test.")
        return _SPLITS[name.strip().lower()]


def _string(row: dict[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place}: {name} is {value!r} and not a string.")
    return value.strip()


def _clip(values: dict[str, Any], row: dict[str, Any], name: str, place: str) -> Clip:
    times: dict[str, Any] = {}
    for key in _TIMES:
        if row.get(key) not in (None, ""):
            seconds = number(str(row[key]))
            if seconds is None:
                raise InputError(f"{place}: {key} is {row[key]!r} and not a time in seconds.")
            times[key] = seconds
    try:
        return Clip(**values, **times, id=name)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _add_folder(rows: Collector, folder: Path) -> None:
    names = _folders(folder)
    by_part = bool(names) and all(name.lower() in _SPLITS for name in names)
    if not by_part:
        _add_classes(rows, folder, None)
        return
    for name in names:
        _add_classes(rows, folder / name, _SPLITS[name.lower()])


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
