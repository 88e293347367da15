"""The clips of ``merclip predict``: files, sounds and texts that pair up, and listed files."""

from __future__ import annotations

import argparse
import glob
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from merclip.cli._arguments import reads_like_media, reads_like_table
from merclip.cli._console import CommandError

if TYPE_CHECKING:
    from merclip.types import Clip

STDIN = "-"
_OPTIONS = {"file": "FILE", "audio": "--audio", "text": "--text"}


@dataclass(frozen=True)
class Row:
    """One clip as the command line gives it."""

    file: str | None = None
    audio: str | None = None
    text: str | None = None
    start: float | None = None
    end: float | None = None
    id: str | None = None
    group: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Every column of a table, as it stands there."""

    @property
    def name(self) -> str:
        """What the clip is called in results."""
        text = textwrap.shorten(self.text or "", 60, placeholder=" …")
        return self.id or self.file or self.audio or text

    @property
    def facts(self) -> dict[str, Any]:
        """What tells the clip from others, as results have it beside ``id``."""
        given = {
            "group": self.group,
            "audio": self.audio,
            "text": self.text,
            "start": self.start,
            "end": self.end,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Rows:
    """All clips, in order; those of a list are read one by one.

    Parameters
    ----------
    given : sequence of Row
        Those that stand in the command itself, or in its table.
    listing : str or None
        A file with one path a line; ``-`` is stdin, which can be read once.
    start, end : float, optional
        Of the listed ones.
    texts : bool
        The lines of `listing` are texts, and no paths.
    table : str or None
        The file that `given` stands in.
    """

    given: Sequence[Row]
    listing: str | None = None
    start: float | None = None
    end: float | None = None
    texts: bool = False
    table: str | None = None

    def __iter__(self) -> Iterator[Row]:
        yield from self.given
        if self.listing is not None:
            for line in _listed(self.listing):
                if self.texts:
                    yield Row(text=_as_text(line))
                else:
                    yield Row(_as_path(line), start=self.start, end=self.end)

    @property
    def streams(self) -> bool:
        """Whether the clips come one by one from outside."""
        return self.listing == STDIN

    @property
    def single(self) -> bool:
        """Whether there is one clip alone."""
        return self.listing is None and len(self.given) == 1

    @property
    def has_media(self) -> bool:
        """Whether there is more than text."""
        listed = self.listing is not None and not self.texts
        return listed or any(row.file or row.audio for row in self.given)


def check_labels(arguments: argparse.Namespace) -> None:
    """Refuse files that --labels has swallowed."""
    for label in arguments.labels or ():
        if reads_like_media(label) or (os.path.isfile(label) and not _is_word(arguments, label)):
            raise CommandError(
                f"{label!r} was taken as a label, as --labels takes every word after it: put "
                "files before --labels, or -- between labels and files"
            )


def _is_word(arguments: argparse.Namespace, label: str) -> bool:
    """Return whether a label that is the name of a file may be meant as a word all the same."""
    something_to_label = bool(
        arguments.files or arguments.text or arguments.audio or arguments.files_from
    )
    return something_to_label and os.sep not in label and "." not in label


def rows_of(arguments: argparse.Namespace) -> Rows:
    """Pair files, sounds and texts, and add what is listed; or take the rows of a table."""
    tables = [path for path in arguments.files if reads_like_table(path)]
    if tables:
        return _in_table(arguments, tables[0])
    for name in ("encoding", "delimiter", "group_column"):
        if getattr(arguments, name) is not None:
            raise CommandError(f"--{name.replace('_', '-')} is for a table, DATA.csv")
    if STDIN in arguments.text:
        return _texts_from_stdin(arguments)
    span = {"start": arguments.start, "end": arguments.end}
    columns = {
        "file": [path for pattern in arguments.files for path in _expand(pattern)],
        "audio": list(arguments.audio),
        "text": list(arguments.text),
    }
    present = {name: values for name, values in columns.items() if values}
    listing = arguments.files_from
    if listing is not None:
        _check_listing(listing, set(present) - {"file"})
    elif not present:
        raise CommandError("there is nothing to classify: give a FILE, --text or --audio")
    lengths = {name: len(values) for name, values in present.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{number} x {_OPTIONS[name]}" for name, number in lengths.items())
        raise CommandError(f"give as many of each, so that they pair up; got {listed}")
    _refuse_directories([*columns["file"], *columns["audio"]])
    rows = [
        Row(**dict(zip(present, values, strict=True)), **span)
        for values in zip(*present.values(), strict=True)
    ]
    return Rows(rows, listing, **span)


def _in_table(arguments: argparse.Namespace, table: str) -> Rows:
    """Return the rows of a table; one that has no clip gets an answer that says so."""
    given = (arguments.files_from, arguments.start, arguments.end)
    if len(arguments.files) > 1 or arguments.text or arguments.audio or given != (None,) * 3:
        raise CommandError(
            f"{table!r} holds whole clips, with the columns video, audio, text, start and end: it "
            "goes without other files, --text, --audio, --files-from, --start and --end"
        )
    from merclip.cli._data import columns_of, rows_in

    path = Path(table)
    if not path.is_file():
        raise CommandError(f"{table!r} cannot be read: there is no such file")
    rows = [
        Row(
            row.values.get("video"),
            row.values.get("audio"),
            row.values.get("text"),
            row.values.get("start"),
            row.values.get("end"),
            id=str(row.columns.get("id") or "") or (None if row.has_clip else row.place),
            group=row.group,
            columns=row.columns,
        )
        for row in rows_in(path, columns_of(arguments))
    ]
    if not rows:
        raise CommandError(f"{table!r} has no rows")
    return Rows(rows, table=table)


def _texts_from_stdin(arguments: argparse.Namespace) -> Rows:
    others = (arguments.files, arguments.audio, arguments.files_from, arguments.text[1:])
    if any(others):
        raise CommandError("--text - reads one text a line from stdin, and goes alone")
    return Rows((), STDIN, texts=True)


def _expand(pattern: str) -> list[str]:
    """Return the files of a pattern, which the shell of Windows leaves as it is."""
    if os.path.exists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern, recursive=True)) or [pattern]


def _refuse_directories(paths: Sequence[str]) -> None:
    for path in paths:
        # One that is called x.mp4 came with the others of a folder; its row says what it is.
        if os.path.isdir(path) and not reads_like_media(path):
            inside = os.path.join(path, "*.mp4")
            raise CommandError(
                f"{path!r} is a directory: give its files, such as {inside}, or list them: "
                f"find {path} -name '*.mp4' | merclip predict --files-from -"
            )


def _check_listing(listing: str, paired: set[str]) -> None:
    if paired:
        options = " and ".join(_OPTIONS[name] for name in sorted(paired))
        raise CommandError(f"{options} pairs with FILEs, and --files-from lists whole clips")
    if listing == STDIN:
        return
    try:
        with open(listing, "rb") as file:
            beginning = file.read(4096)
    except OSError as error:
        raise CommandError(f"--files-from {listing!r} cannot be read: {error.strerror}") from error
    if b"\0" in beginning:
        raise CommandError(f"--files-from {listing!r} is no text: it has one path on each line")
    if next(_listed(listing), None) is None:
        raise CommandError(f"--files-from {listing!r} lists no file")


def _listed(listing: str) -> Iterator[bytes]:
    """Yield the lines of a list, whatever bytes they consist of."""
    if listing == STDIN:
        if sys.stdin is None:
            raise CommandError("stdin is closed")
        yield from _lines(sys.stdin.buffer)
        return
    with open(listing, "rb") as file:
        yield from _lines(file)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(file):
        content = line.rstrip(b"\r\n")
        if number == 0:
            content = content.removeprefix(b"\xef\xbb\xbf")
        if content.strip():
            yield content


def _as_path(line: bytes) -> str:
    """Return a path; the shell, which knows what ~ means, has not seen it."""
    path = os.fsdecode(line)
    return path if os.path.exists(path) else os.path.expanduser(path)


def _as_text(line: bytes) -> str:
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace").strip()


def clips_of(rows: Iterable[Row]) -> Iterator[Clip]:
    """Yield the clips one by one, looking into each file only when its turn comes."""
    from merclip.types import Clip

    for row in rows:
        video, audio = row.file, row.audio
        if video is not None and audio is None and _is_sound(video):
            video, audio = None, video
        yield Clip(video, audio, row.text, start=row.start or 0.0, end=row.end, id=row.name)


def _is_sound(path: str) -> bool:
    """Return whether a file can be read as sound alone."""
    # A pipe can be read once alone; as a video it gives its sound as well.
    if not os.path.isfile(path):
        return False
    from merclip.media import has_pictures

    try:
        return not has_pictures(path)
    except Exception:  # reading the clip will say it better
        return False
