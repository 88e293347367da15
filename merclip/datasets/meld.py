"""MELD: utterances of the series Friends, in dialogues of several people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from merclip.datasets._dataset import Collector, Dataset, Turn
from merclip.datasets._files import (
    Folder,
    Origin,
    choose,
    file_names,
    first_of,
    not_found,
    number,
    open_folder,
    parts_to_use,
    read_rows,
)
from merclip.types import Clip

_ORIGIN = Origin(
    "MELD",
    "Get MELD.Raw.tar.gz from https://affective-meld.github.io (annotations under GPL-3.0; the "
    "pictures belong to the makers of the series), unpack it and the three archives inside it, "
    "and give the folder MELD.Raw.",
)
_LABELS = {
    "emotion": ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"),
    "sentiment": ("neutral", "positive", "negative"),
}
_COLUMNS = ("Utterance", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
_CORRECTED = "final_videos_test"
_UNDECODABLE = {"train/dia125_utt3"}
_SHORT, _LONG = 0.1, 30.0
_TIME = re.compile(r"(\d+):(\d+):(\d+)[,.](\d+)")
# The bytes of Windows quotes and dashes that were once read as Latin-1.
_WINDOWS = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}


@dataclass(frozen=True)
class _Part:
    """One official part: its name in the files, its split, and its folder of clips."""

    name: str
    split: str
    clips: str


_PARTS = (
    _Part("train", "train", "train_splits"),
    _Part("dev", "valid", "dev_splits_complete"),
    _Part("test", "test", "output_repeated_splits_test"),
)


def load_meld(
    folder: Folder, *, target: str = "emotion", modalities: Iterable[str] = ("video", "text")
) -> Dataset:
    r"""Load MELD.

    Parameters
    ----------
    folder : path
        ``MELD.Raw``, or the folder that holds it. The csv files and the folders of
        clips lie in it, or in ``train``, ``dev`` and ``test`` below it. Parts that
        are not there are left out.
    target : {"emotion", "sentiment"}
        Seven emotions, or neutral, positive and negative.
    modalities : some of "video", "text"
        A video brings its own sound. ``["text"]`` needs the csv files alone.

    Returns
    -------
    Dataset
        Splits are MELD's own, one csv file each. Groups are dialogues, which
        `Dataset.dialogues` gives whole, with the column ``Speaker``.

    Raises
    ------
    DatasetNotFoundError
        There are no such csv files, or no clip at all.
    InputError, InputTypeError
        A parameter has another value, or a csv file lacks a column.

    Notes
    -----
    Source: Poria et al., ACL 2019.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from merclip.datasets import load_meld
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "train_sent_emo.csv").write_text(
    ...         "Utterance,Emotion,Dialogue_ID,Utterance_ID,StartTime,EndTime\n"
    ...         "Oh my God!,surprise,0,0,,\n"
    ...     )
    ...     load_meld(folder, modalities=["text"])
    Dataset(MELD: 1 clips, train 1)
    """
    labels = _LABELS[choose(target, "target", list(_LABELS))]
    parts = parts_to_use(modalities, ("video", "text"))
    given = open_folder(folder, _ORIGIN)
    root = first_of([given / "MELD.Raw"]) or given
    rows = Collector(_ORIGIN, root)
    tables = [(part, _table(root, part)) for part in _PARTS]
    if not any(table for _, table in tables):
        raise not_found(root, "train_sent_emo.csv, dev_sent_emo.csv or test_sent_emo.csv", _ORIGIN)
    for part, table in tables:
        if table is None:
            rows.note("ignored", "part without its csv file", part.name)
        else:
            _add_part(rows, root, part, table, target.capitalize(), parts)
    return rows.dataset(labels)


def _table(root: Path, part: _Part) -> Path | None:
    name = f"{part.name}_sent_emo.csv"
    return first_of([root / name, root / part.name / name, root / part.clips / name])


def _add_part(
    rows: Collector, root: Path, part: _Part, table: Path, column: str, parts: tuple[str, ...]
) -> None:
    folder = first_of([root / part.clips, root / part.name / part.clips]) or root / part.clips
    names = set(file_names(folder, ".mp4")) if "video" in parts else set()
    seen: set[str] = set()
    for row in read_rows(table, [*_COLUMNS, column]):
        stem = f"dia{row['Dialogue_ID'].strip()}_utt{row['Utterance_ID'].strip()}"
        if stem in seen:
            rows.note("excluded", "utterance listed twice", f"{part.name}/{stem}")
            continue
        seen.add(stem)
        path = _path(rows, folder, stem, part, names) if "video" in parts else None
        _add(rows, row, f"{part.name}/{stem}", part.split, row[column], path, "text" in parts)
    for name in sorted(names):
        if name.removeprefix(_CORRECTED).removesuffix(".mp4") not in seen:
            rows.note("ignored", "clip without a row", f"{part.name}/{name}")


def _path(rows: Collector, folder: Path, stem: str, part: _Part, names: set[str]) -> str:
    """Return the path of a clip; some of the test part were cut anew, under another name."""
    corrected = f"{_CORRECTED}{stem}.mp4"
    if corrected in names:
        rows.note("used", "corrected clip final_videos_test*", f"{part.name}/{stem}")
        return str(folder / corrected)
    return str(folder / f"{stem}.mp4")


def _add(
    rows: Collector,
    row: dict[str, str],
    name: str,
    split: str,
    label: str,
    path: str | None,
    with_text: bool,
) -> None:
    if path is not None and not rows.usable(name, path):
        return
    if path is not None and name in _UNDECODABLE:
        rows.note("undecodable", "known not to decode", name)
        return
    text = row["Utterance"].translate(_WINDOWS)
    if with_text and text != row["Utterance"]:
        rows.note("used", "Windows quotes in the text repaired", name)
    end = None if path is None else _end(rows, row, name)
    clip = Clip(path, text=text if with_text else None, end=end, id=name)
    dialogue = name.rpartition("_")[0]
    turn = Turn(
        dialogue, number(row["Utterance_ID"]) or 0, row.get("Speaker", "").translate(_WINDOWS)
    )
    rows.add(clip, label.strip().lower(), group=dialogue, split=split, turn=turn)


def _end(rows: Collector, row: dict[str, str], name: str) -> float | None:
    """Return where to stop reading: a few clips run for minutes."""
    start, end = _seconds(row["StartTime"]), _seconds(row["EndTime"])
    if start is None or end is None:
        rows.note("used", "times cannot be read", name)
        return None
    length = round(end - start, 3)
    if length <= _SHORT:
        rows.note("used", f"at most {_SHORT:g} s long by its times", name)
    if length <= _LONG:
        return None
    rows.note("used", f"read for {_LONG:g} s, longer by its times", name)
    return _LONG


def _seconds(time: str) -> float | None:
    match = _TIME.fullmatch(time.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(match[group]) for group in (1, 2, 3))
    return 3600 * hours + 60 * minutes + seconds + float(f"0.{match[4]}")
