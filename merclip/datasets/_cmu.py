"""What CMU-MOSI and CMU-MOSEI have in common: segments of videos, and where their files lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from merclip._optional import import_h5py
from merclip.datasets._dataset import Collector
from merclip.datasets._files import Origin, choose, not_found, number, read_rows
from merclip.errors import InputError
from merclip.types import Clip

POLARITY = ("negative", "positive")
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Segment:
    """One segment of a video.

    Parameters
    ----------
    video, number : str
        Both are strings: a video's id may be all digits.
    text : str or None
    start, end : float or None
        In seconds; `start` may lie a little before 0.
    score : float or None
        Sentiment from -3 to 3.
    split : str or None
    """

    video: str
    number: str
    text: str | None = None
    start: float | None = None
    end: float | None = None
    score: float | None = None
    split: str | None = None

    @property
    def name(self) -> str:
        """Video and number, as the data set joins them."""
        return f"{self.video}_{self.number}"


Label: TypeAlias = "Callable[[Segment], tuple[Any, str | None]]"
"""Gives the label of a segment, or None and the reason why it has none."""


@dataclass(frozen=True)
class Media:
    """Where the files of segments lie.

    Parameters
    ----------
    files : mapping from modality to (folder, pattern)
        Patterns have ``{video}`` and ``{number}``.
    whole : bool
        The files are whole videos, of which a segment is a span.
    """

    files: Mapping[str, tuple[Path, str]]
    whole: bool = False

    def complete(self, parts: Iterable[str]) -> bool:
        """Tell whether there are folders for all media among some modalities."""
        needed = [part for part in parts if part != "text"]
        return all(part in self.files and self.files[part][0].is_dir() for part in needed)

    def paths(self, segment: Segment, parts: Iterable[str]) -> dict[str, str]:
        """Return the file of a segment for each modality but text."""
        return {
            part: str(folder / pattern.format(video=segment.video, number=segment.number))
            for part, (folder, pattern) in self.files.items()
            if part in parts
        }


def find_media(places: Sequence[Media], parts: Sequence[str], root: Path, origin: Origin) -> Media:
    """Return the first place that has files of all modalities asked for.

    Raises
    ------
    DatasetNotFoundError
        There is none.
    """
    for place in places:
        if place.complete(parts):
            return place
    wanted = " nor ".join(
        " with ".join(str(folder.relative_to(root)) for folder, _ in place.files.values())
        for place in places
    )
    raise not_found(root, f"folder {wanted} for {' and '.join(parts)}", origin)


def folder_of(root: Path, names: Iterable[str]) -> Path:
    """Return `root`, or ``Raw`` in it if that is where CMU's own folders are."""
    raw = root / "Raw"
    return raw if any((raw / name).is_dir() for name in names) else root


def read_mmsa(path: Path) -> list[Segment]:
    """Read MMSA's ``label.csv``, whose columns come in several orders."""
    rows = read_rows(path, ["video_id", "clip_id", "text", "label", "mode"])
    return [
        Segment(
            row["video_id"].strip(),
            row["clip_id"].strip(),
            row["text"].strip() or None,
            score=number(row["label"]),
            split=choose(row["mode"].strip(), f"mode in {path.name}", _SPLITS),
        )
        for row in rows
    ]


def read_csd(path: Path) -> dict[str, tuple[Any, Any]]:
    """Read labels in the format of CMU's SDK.

    Returns
    -------
    dict from video to (spans, values)
        Spans of shape (k, 2), in seconds, and values of shape (k, n).

    Raises
    ------
    InputError
        The file has another form.
    MissingExtraError
        h5py is not installed.
    """
    try:
        with import_h5py().File(path, "r") as file:
            (name, *_) = file
            data = file[name]["data"]
            return {
                video: (np.asarray(item["intervals"]), np.asarray(item["features"], dtype=float))
                for video, item in data.items()
            }
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{str(path)!r} is not a .csd file of labels: {error}") from error


def with_splits(segments: Iterable[Segment], splits: Mapping[str, str]) -> list[Segment]:
    """Put segments into the parts that are laid down for their videos."""
    return [
        replace(segment, split=choose(splits[segment.video], "a part in splits", _SPLITS))
        if segment.video in splits
        else segment
        for segment in segments
    ]


def score_of(segment: Segment) -> tuple[Any, str | None]:
    """Label a segment with its sentiment score."""
    return segment.score, None if segment.score is not None else "no sentiment score"


def polarity_of(segment: Segment) -> tuple[Any, str | None]:
    """Label a segment as negative or positive, as two-class accuracy counts them."""
    if segment.score is None:
        return score_of(segment)
    if segment.score == 0:
        return None, "sentiment exactly 0, neither negative nor positive"
    return POLARITY[segment.score > 0], None


def add_segments(
    rows: Collector,
    segments: Iterable[Segment],
    label_of: Label,
    media: Media | None,
    parts: Sequence[str],
) -> None:
    """Make a clip of each segment that has a label and files."""
    seen: set[str] = set()
    for segment in segments:
        if segment.name in seen:
            rows.note("excluded", "segment listed twice", segment.name)
            continue
        seen.add(segment.name)
        label, reason = label_of(segment)
        if reason is not None:
            rows.note("excluded", reason, segment.name)
            continue
        clip = _clip(rows, segment, media, parts)
        if clip is not None:
            rows.add(clip, label, group=segment.video, split=segment.split)


def _clip(
    rows: Collector, segment: Segment, media: Media | None, parts: Sequence[str]
) -> Clip | None:
    name = segment.name
    paths = {} if media is None else media.paths(segment, parts)
    if not rows.usable(name, *paths.values()):
        return None
    span = _span(rows, segment) if media is not None and media.whole else (0.0, None)
    if span is None:
        return None
    text = segment.text if "text" in parts else None
    if "text" in parts and text is None:
        rows.note("used" if paths else "excluded", "no transcript", name)
        if not paths:
            return None
    start, end = span
    return Clip(paths.get("video"), paths.get("audio"), text, start=start, end=end, id=name)


def _span(rows: Collector, segment: Segment) -> tuple[float, float] | None:
    if segment.start is None or segment.end is None:
        rows.note("excluded", "no transcript line, so start and end are unknown", segment.name)
        return None
    if segment.start < 0:
        rows.note("used", "starts before 0 s, taken from 0 s on", segment.name)
    start = max(segment.start, 0.0)
    if segment.end <= start:
        rows.note("excluded", "ends before it starts", segment.name)
        return None
    return start, segment.end
