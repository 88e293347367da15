"""The clips of ``merclip predict``: files, sounds and texts that pair up."""

from __future__ import annotations

import argparse
import glob
import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from merclip.cli._arguments import reads_like_media
from merclip.cli._console import CommandError

if TYPE_CHECKING:
    from merclip.types import Clip

_OPTIONS = {"file": "FILE", "audio": "--audio", "text": "--text"}


@dataclass(frozen=True)
class Row:
    """One clip as the command line gives it."""

    file: str | None = None
    audio: str | None = None
    text: str | None = None

    @property
    def name(self) -> str:
        """What the clip is called in results."""
        text = textwrap.shorten(self.text or "", 60, placeholder=" …")
        return self.file or self.audio or text


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
    something_to_label = bool(arguments.files or arguments.text or arguments.audio)
    return something_to_label and os.sep not in label and "." not in label


def pair_rows(arguments: argparse.Namespace) -> list[Row]:
    """Pair files, sounds and texts."""
    columns = {
        "file": [path for pattern in arguments.files for path in _expand(pattern)],
        "audio": list(arguments.audio),
        "text": list(arguments.text),
    }
    present = {name: values for name, values in columns.items() if values}
    if not present:
        raise CommandError("there is nothing to classify: give a FILE, --text or --audio")
    lengths = {name: len(values) for name, values in present.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{number} x {_OPTIONS[name]}" for name, number in lengths.items())
        raise CommandError(f"give as many of each, so that they pair up; got {listed}")
    _refuse_directories([*columns["file"], *columns["audio"]])
    return [
        Row(**dict(zip(present, values, strict=True)))
        for values in zip(*present.values(), strict=True)
    ]


def _expand(pattern: str) -> list[str]:
    """Return the files of a pattern, which the shell of Windows leaves as it is."""
    if os.path.exists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern)) or [pattern]


def _refuse_directories(paths: Sequence[str]) -> None:
    for path in paths:
        if os.path.isdir(path):
            inside = os.path.join(path, "*.mp4")
            raise CommandError(f"{path!r} is a directory: give its files, such as {inside}")


def clips_of(
    rows: Sequence[Row], start: float | None = None, end: float | None = None
) -> Iterator[Clip]:
    """Yield the clips one by one, looking into each file only when its turn comes."""
    from merclip.types import Clip

    for row in rows:
        video, audio = row.file, row.audio
        if video is not None and audio is None and _is_sound(video):
            video, audio = None, video
        yield Clip(video, audio, row.text, start=start or 0.0, end=end, id=row.name)


def _is_sound(path: str) -> bool:
    """Return whether a file can be read as sound alone."""
    # A pipe can be read once alone; as a video it gives its sound as well.
    if not os.path.isfile(path):
        return False
    from merclip.errors import MerclipError
    from merclip.media import has_pictures

    try:
        return not has_pictures(path)
    except MerclipError:  # reading the clip will say it better
        return False
