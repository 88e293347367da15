"""The clips of ``merclip predict``: files, sounds and texts that pair up, and listed files."""

from __future__ import annotations

import argparse
import glob
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from merclip.cli._arguments import reads_like_media
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

    @property
    def name(self) -> str:
        """What the clip is called in results."""
        text = textwrap.shorten(self.text or "", 60, placeholder=" …")
        return self.file or self.audio or text

    @property
    def facts(self) -> dict[str, Any]:
        """What tells the clip from others, as results have it beside ``id``."""
        given = {"audio": self.audio, "text": self.text, "start": self.start, "end": self.end}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Rows:
    """All clips, in order; those of a list are read one by one.

    Parameters
    ----------
    given : sequence of Row
        Those that stand in the command itself.
    listing : str or None
        A file with one path a line; ``-`` is stdin, which can be read once.
    start, end : float, optional
        Of the listed ones.
    """

    given: Sequence[Row]
    listing: str | None = None
    start: float | None = None
    end: float | None = None

    def __iter__(self) -> Iterator[Row]:
        yield from self.given
        if self.listing is not None:
            for path in _listed(self.listing):
                yield Row(path, start=self.start, end=self.end)

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
        return self.listing is not None or any(row.file or row.audio for row in self.given)


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
    """Pair files, sounds and texts, and add what is listed."""
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


def _listed(listing: str) -> Iterator[str]:
    """Yield the paths of a list, whatever bytes they consist of."""
    if listing == STDIN:
        yield from _paths(sys.stdin.buffer)
        return
    with open(listing, "rb") as file:
        yield from _paths(file)


def _paths(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(file):
        path = line.rstrip(b"\r\n")
        if number == 0:
            path = path.removeprefix(b"\xef\xbb\xbf")
        if path.strip():
            yield os.fsdecode(path)


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
