"""CREMA-D: actors who speak twelve sentences with an acted emotion."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from merclip.datasets._dataset import Collector, Dataset
from merclip.datasets._files import (
    Folder,
    Origin,
    choose,
    file_names,
    not_found,
    open_folder,
    parts_to_use,
    read_rows,
)
from merclip.errors import InputError
from merclip.types import Clip

_ORIGIN = Origin(
    "CREMA-D",
    "Clone https://github.com/CheyneyComputerScience/CREMA-D (Open Database License) with Git "
    "LFS installed, or run 'git lfs pull' in the clone, and give that folder.",
)
_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_VOTES = {"voice": "VoiceVote", "face": "FaceVote", "multimodal": "MultiModalVote"}
_MEDIA = {"video": ("VideoFlash", (".flv", ".mp4")), "audio": ("AudioWAV", (".wav",))}
_FORM = re.compile(r"(1\d{3})_([A-Z]{3})_([A-Z]{3})_(XX|LO|MD|HI)")
_BROKEN = {
    ("1064_IEO_DIS_MD", "video"): "video is a long take, not the clip",
    ("1064_TIE_SAD_XX", "video"): "video is cut short",
    ("1076_MTI_SAD_XX", "audio"): "sound is silent",
}


def load_cremad(
    folder: Folder, *, target: str = "intended", modalities: Iterable[str] = ("video",)
) -> Dataset:
    """Load CREMA-D.

    Parameters
    ----------
    folder : path
        Holds ``VideoFlash`` and ``AudioWAV``, or is one of them.
    target : {"intended", "voice", "face", "multimodal"}
        The emotion that was to be acted, or the one that most listeners or
        viewers named (``processedResults/summaryTable.csv``), by voice, by face
        or by both. Clips on which votes are tied are left out.
    modalities : some of "video", "audio", "text"
        "video" takes the flv files with their sound, "audio" the wav files. With
        both, sound comes from the wav files. The twelve sentences are the same
        for all emotions.

    Returns
    -------
    Dataset
        Groups are actors. There is no official split: use `Dataset.folds`.

    Raises
    ------
    DatasetNotFoundError
        The folder has no such files.
    InputError, InputTypeError
        A parameter has another value.

    Notes
    -----
    Source: Cao et al., IEEE Transactions on Affective Computing 2014.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from merclip.datasets import load_cremad
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "VideoFlash", "1001_DFA_ANG_XX.flv")
    ...     file.parent.mkdir()
    ...     _ = file.write_bytes(b"...")
    ...     load_cremad(folder)
    Dataset(CREMA-D: 1 clips)
    """
    choose(target, "target", ["intended", *_VOTES])
    parts = parts_to_use(modalities, ("video", "audio", "text"))
    root = open_folder(folder, _ORIGIN)
    rows = Collector(_ORIGIN, root)
    files = {part: _files(root, part) for part in parts if part in _MEDIA}
    votes = None if target == "intended" else _votes(root, _VOTES[target])
    stems = _stems(root, files)
    for stem in stems:
        _add(rows, stem, files, parts, votes)
    for name in sorted({stem for found in files.values() for stem in found} - set(stems)):
        rows.note("ignored", "file that is not in SentenceFilenames.csv", name)
    return rows.dataset(tuple(_EMOTIONS.values()))


def _files(root: Path, part: str) -> dict[str, str]:
    name, suffixes = _MEDIA[part]
    folder = root / name if (root / name).is_dir() else root
    found = {_stem(file): str(folder / file) for file in file_names(folder, *suffixes)}
    if not found:
        raise not_found(root, f"folder {name} with {' or '.join(suffixes)} files", _ORIGIN)
    return found


def _stem(name: str) -> str:
    """Return a clip's name; older copies have one that ends in a single X."""
    stem = name.strip().split(".")[0]
    return stem + "X" if stem.endswith("_X") else stem


def _stems(root: Path, files: dict[str, dict[str, str]]) -> list[str]:
    """Return the names of all clips: those of the list that comes along, if it does."""
    listed = root / "SentenceFilenames.csv"
    if listed.is_file():
        return list(
            dict.fromkeys(_stem(row["Filename"]) for row in read_rows(listed, ["Filename"]))
        )
    if not files:
        raise not_found(root, "SentenceFilenames.csv", _ORIGIN)
    return sorted({stem for found in files.values() for stem in found})


def _votes(root: Path, column: str) -> dict[str, str]:
    path = root / "processedResults" / "summaryTable.csv"
    if not path.is_file():
        raise not_found(root, "processedResults/summaryTable.csv", _ORIGIN)
    rows = read_rows(path, ["FileName", column])
    return {_stem(row["FileName"]): row[column].strip() for row in rows}


def _add(
    rows: Collector,
    stem: str,
    files: dict[str, dict[str, str]],
    parts: tuple[str, ...],
    votes: dict[str, str] | None,
) -> None:
    match = _FORM.fullmatch(stem)
    if match is None or match[3] not in _EMOTIONS:
        rows.note("ignored", "name is not of CREMA-D's form", stem)
        return
    lost = os.path.join(rows.folder, stem)
    paths = {part: found.get(stem, lost) for part, found in files.items()}
    if not rows.usable(stem, *paths.values()) or not _whole(rows, stem, paths):
        return
    label = _EMOTIONS[match[3]] if votes is None else _voted(rows, stem, votes)
    if label is not None:
        text = _SENTENCES.get(match[2]) if "text" in parts else None
        clip = Clip(paths.get("video"), paths.get("audio"), text, id=stem)
        rows.add(clip, label, group=match[1])


def _whole(rows: Collector, stem: str, paths: dict[str, str]) -> bool:
    """Take known broken files out of `paths`; tell whether the clip can still be used."""
    broken = [part for part in paths if (stem, part) in _BROKEN]
    lost = bool(broken) and len(broken) == len(paths)
    for part in broken:
        del paths[part]
        rows.note("undecodable" if lost else "used", _BROKEN[stem, part], stem)
    return not lost


def _voted(rows: Collector, stem: str, votes: dict[str, str]) -> str | None:
    letters = votes.get(stem, "")
    if not letters or ":" in letters:
        rows.note("excluded", "votes are tied" if letters else "no votes", stem)
        return None
    names = {code[0]: name for code, name in _EMOTIONS.items()}
    if letters not in names:
        raise InputError(f"summaryTable.csv has the unknown vote {letters!r} for {stem}.")
    return names[letters]
