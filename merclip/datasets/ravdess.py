"""RAVDESS: actors who speak or sing two sentences with an acted emotion."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from merclip.datasets._dataset import Collector, Dataset
from merclip.datasets._files import Folder, Origin, choose, not_found, open_folder, parts_to_use
from merclip.types import Clip

_ORIGIN = Origin(
    "RAVDESS",
    "Get the zip files from https://zenodo.org/records/1188976 (CC BY-NC-SA 4.0), unpack them "
    "into one folder, and give that folder.",
)
_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_SENTENCES = ("Kids are talking by the door.", "Dogs are sitting by the door.")
_VOICES = {"speech": "01", "song": "02"}
_N_SUNG = 6
_N_ACTORS, _NEVER_SANG = 24, 18
_FORM = re.compile(
    r"0[123]-0[12]-0[1-8]-0[12]-0[12]-0[12]-(0[1-9]|1\d|2[0-4])\.(mp4|wav)", re.IGNORECASE
)


def load_ravdess(
    folder: Folder, *, voice: str = "speech", modalities: Iterable[str] = ("video",)
) -> Dataset:
    """Load RAVDESS.

    Parameters
    ----------
    folder : path
        Holds ``Actor_01`` to ``Actor_24``, at any depth, with files such as
        ``01-01-06-01-02-01-12.mp4``.
    voice : {"speech", "song"}
    modalities : some of "video", "audio", "text"
        "video" takes the files with picture and sound (they begin with 01),
        "audio" the wav files (03). The two sentences are the same for all
        emotions, so "text" is good for checks alone.

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
    Source: Livingstone and Russo, PLOS ONE 2018, for the meaning of file names.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from merclip.datasets import load_ravdess
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "01-01-03-01-01-01-01.mp4")
    ...     _ = file.write_bytes(b"...")
    ...     data = load_ravdess(folder)
    >>> data.y.tolist(), data.groups.tolist(), data.report.count("missing")
    (['happy'], ['Actor_01'], 1439)
    """
    code = _VOICES[choose(voice, "voice", list(_VOICES))]
    parts = parts_to_use(modalities, ("video", "audio", "text"))
    root = open_folder(folder, _ORIGIN)
    rows = Collector(_ORIGIN, root)
    files = _files(root, rows)
    heads = [head for part, head in (("video", "01"), ("audio", "03")) if part in parts]
    if heads and not any(name[:5] in {f"{head}-{code}" for head in heads} for name in files):
        raise not_found(root, f"file named {heads[0]}-{code}-*{_suffix(heads[0])}", _ORIGIN)
    for stem in _stems(code):
        _add(rows, stem, files, parts)
    return rows.dataset(_EMOTIONS if voice == "speech" else _EMOTIONS[:_N_SUNG])


def _stems(voice: str) -> Iterator[str]:
    """Yield the names of all recordings, without the modality in front."""
    sung = voice == _VOICES["song"]
    for actor in range(1, _N_ACTORS + 1):
        if sung and actor == _NEVER_SANG:
            continue
        for emotion in range(1, (_N_SUNG if sung else len(_EMOTIONS)) + 1):
            for intensity in (1,) if emotion == 1 else (1, 2):
                for sentence, take in ((1, 1), (1, 2), (2, 1), (2, 2)):
                    codes = (emotion, intensity, sentence, take, actor)
                    yield "-".join([voice, *(f"{number:02}" for number in codes)])


def _files(root: Path, rows: Collector) -> dict[str, str]:
    """Find files by name: the zip files unpack to different depths."""
    found: dict[str, str] = {}
    for place, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if name.startswith("._") or not name.lower().endswith((".mp4", ".wav")):
                continue
            if not _FORM.fullmatch(name):
                rows.note("ignored", "name is not of RAVDESS's form", name)
            elif name.lower() in found:
                rows.note("ignored", "second copy of a file", os.path.join(place, name))
            else:
                found[name.lower()] = os.path.join(place, name)
    return found


def _suffix(head: str) -> str:
    return ".mp4" if head == "01" else ".wav"


def _add(rows: Collector, stem: str, files: dict[str, str], parts: tuple[str, ...]) -> None:
    _, emotion, _, sentence, _, actor = stem.split("-")
    heads = {"video": "01", "audio": "03"}
    paths = {}
    for part in parts:
        if part in heads:
            name = f"{heads[part]}-{stem}{_suffix(heads[part])}"
            paths[part] = files.get(name, os.path.join(rows.folder, name))
    if not rows.usable(stem, *paths.values()):
        return
    text = _SENTENCES[int(sentence) - 1] if "text" in parts else None
    clip = Clip(paths.get("video"), paths.get("audio"), text, id=stem)
    rows.add(clip, _EMOTIONS[int(emotion) - 1], group=f"Actor_{actor}")
