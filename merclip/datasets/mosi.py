"""CMU-MOSI: people who review films in front of a camera, with sentiment scores."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from merclip.datasets._cmu import (
    POLARITY,
    Media,
    Segment,
    add_segments,
    find_media,
    folder_of,
    polarity_of,
    read_csd,
    read_mmsa,
    score_of,
    with_splits,
)
from merclip.datasets._dataset import Collector, Dataset
from merclip.datasets._files import (
    Folder,
    Origin,
    choose,
    first_of,
    not_found,
    number,
    open_folder,
    parts_to_use,
    read_text,
)
from merclip.errors import InputError

_ORIGIN = Origin(
    "CMU-MOSI",
    "CMU's own link is dead: ask its authors (http://multicomp.cs.cmu.edu/resources/), or follow "
    "https://github.com/thuiar/MMSA, for research use; give the folder with Raw in it.",
)
_LABELS = Path("Labels", "OpinionLevelSentiment.csv")
_CSD = "CMU_MOSI_Opinion_Labels.csd"
_DELIMITER = "_DELIM_"
_N_COLUMNS = 5


def load_mosi(
    folder: Folder,
    *,
    target: str = "sentiment",
    modalities: Iterable[str] = ("video", "text"),
    splits: Mapping[str, str] | None = None,
) -> Dataset:
    r"""Load CMU-MOSI.

    Parameters
    ----------
    folder : path
        MMSA's folder, with ``label.csv`` and ``Raw/<video>/<clip>.mp4``; or CMU's
        own, with ``Labels/OpinionLevelSentiment.csv``, ``Video``, ``Audio`` and
        ``Transcript`` in it or in ``Raw``. Without those labels, those of
        ``CMU_MOSI_Opinion_Labels.csd`` (extra ``hdf5``) go with whole videos; it does
        not say which transcript is whose.
    target : {"sentiment", "score"}
        "sentiment" is negative or positive, without the segments whose score is
        exactly 0, as the two-class accuracy of papers counts; "score" is the
        number from -3 to 3.
    modalities : some of "video", "audio", "text"
        A video brings its own sound. "audio" takes the wav files of CMU's folder.
    splits : mapping from video to "train", "valid" or "test", optional
        For CMU's own folder, which comes without splits: the standard folds of
        the CMU Multimodal SDK. By default they are those of ``label.csv``.

    Returns
    -------
    Dataset
        Splits are the column ``mode`` of ``label.csv``, or `splits`. Groups are
        videos, which stand for the speakers.

    Raises
    ------
    DatasetNotFoundError
        The folder has neither layout.
    InputError, InputTypeError
        A parameter has another value, or a file of labels cannot be read.
    MissingExtraError
        The .csd file is needed and h5py is not installed.

    Notes
    -----
    Source: Zadeh et al., IEEE Intelligent Systems 2016.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from merclip.datasets import load_mosi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "label.csv").write_text(
    ...         "video_id,clip_id,text,label,mode\nabc,1,A GREAT FILM,2.4,train\n"
    ...     )
    ...     load_mosi(folder, modalities=["text"]).y.tolist()
    ['positive']
    """
    choose(target, "target", ["sentiment", "score"])
    parts = parts_to_use(modalities, ("video", "audio", "text"))
    root = open_folder(folder, _ORIGIN)
    base = folder_of(root, ("Video", "Audio", "Transcript", "Labels"))
    rows = Collector(_ORIGIN, root)
    found, numbered = _segments(root, base)
    segments = with_splits(found, splits or {})
    places = [place for place in _places(root, base) if numbered or place.whole]
    media = None if parts == ("text",) else find_media(places, parts, root, _ORIGIN)
    add_segments(rows, segments, score_of if target == "score" else polarity_of, media, parts)
    return rows.dataset(() if target == "score" else POLARITY)


def _places(root: Path, base: Path) -> list[Media]:
    video, sound = base / "Video", base / "Audio" / "WAV_16000"
    return [
        Media(
            {
                "video": (video / "Segmented", "{video}_{number}.mp4"),
                "audio": (sound / "Segmented", "{video}_{number}.wav"),
            }
        ),
        Media(
            {"video": (video / "Full", "{video}.mp4"), "audio": (sound / "Full", "{video}.wav")},
            whole=True,
        ),
        Media({"video": (root / "Raw", "{video}/{number}.mp4")}),
    ]


def _segments(root: Path, base: Path) -> tuple[list[Segment], bool]:
    """Return segments, and whether they have the numbers of cut files and transcripts."""
    mmsa = first_of([root / "label.csv", base / "label.csv"])
    listed = [] if mmsa is None else read_mmsa(mmsa)
    if (base / _LABELS).is_file():
        splits = {segment.video: segment.split for segment in listed if segment.split}
        texts = {segment.name: segment.text for segment in listed}
        own = with_splits(_own_segments(base), splits)
        return [replace(item, text=item.text or texts.get(item.name)) for item in own], True
    folders = [root, base, root / "Labels", base / "Labels"]
    csd = first_of(folder / _CSD for folder in folders)
    if listed or csd is None:
        if not listed:
            raise not_found(root, f"label.csv, {_LABELS.as_posix()} or {_CSD}", _ORIGIN)
        return listed, True
    return _spans(read_csd(csd)), False


def _spans(labels: Mapping[str, tuple[Any, Any]]) -> list[Segment]:
    """Name segments by when they begin: a row of a .csd file does not tell its number."""
    return [
        Segment(video, f"{start:.3f}", start=start, end=end, score=number(str(score)))
        for video, (spans, values) in labels.items()
        for (start, end), score in sorted(
            zip(spans.tolist(), values[:, 0].tolist(), strict=True), key=lambda row: row[0]
        )
    ]


def _own_segments(base: Path) -> list[Segment]:
    """Read CMU's file of labels, which has no header, beside its transcripts."""
    path = base / _LABELS
    texts: dict[str, dict[str, str]] = {}
    segments = []
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    for row in reader:
        if not row:
            continue
        if len(row) < _N_COLUMNS or number(row[4]) is None:
            raise InputError(
                f"{str(path)!r} line {reader.line_num} is not start, end, video, segment, score."
            )
        start, end, video, count, score = (value.strip() for value in row[:_N_COLUMNS])
        if video not in texts:
            texts[video] = _transcript(base, video)
        segments.append(
            Segment(
                video, count, texts[video].get(count), number(start), number(end), number(score)
            )
        )
    return segments


def _transcript(base: Path, video: str) -> dict[str, str]:
    path = base / "Transcript" / "Segmented" / f"{video}.annotprocessed"
    if not path.is_file():
        return {}
    lines = (line.partition(_DELIMITER) for line in read_text(path).splitlines())
    return {count.strip(): text.strip() for count, mark, text in lines if mark and text.strip()}
