"""CMU-MOSEI: people who speak to a camera, with sentiment and six emotions at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from merclip.datasets._cmu import (
    POLARITY,
    Label,
    Media,
    Segment,
    add_segments,
    find_media,
    folder_of,
    polarity_of,
    read_csd,
    read_mmsa,
    score_of,
)
from merclip.datasets._dataset import Collector, Dataset
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
from merclip.errors import InputError

_ORIGIN = Origin(
    "CMU-MOSEI",
    "CMU's own link is dead: ask its authors (http://multicomp.cs.cmu.edu/resources/), or follow "
    "https://github.com/thuiar/MMSA and https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK "
    "(CMU_MOSEI_Labels.csd), for research use; give the folder with Raw in it.",
)
_EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
_ANSWERS = ("sentiment", "happiness", "sadness", "anger", "surprise", "disgust", "fear")
_CSD = "CMU_MOSEI_Labels.csd"
_LINES = Path("Transcript", "Segmented", "Combined")
_MARK = "___"
_SAME_TIME = 1.05e-3  # 1 ms, and what float32 leaves of minutes

Find: TypeAlias = "Callable[[Segment], Sequence[float] | None]"
"""Gives sentiment and six intensities of a segment, or None."""


def load_mosei(
    folder: Folder,
    *,
    target: str = "emotion",
    modalities: Iterable[str] = ("video", "text"),
    threshold: float = 0.0,
) -> Dataset:
    r"""Load CMU-MOSEI.

    Parameters
    ----------
    folder : path
        MMSA's folder, with ``label.csv`` and ``Raw/<video>/<clip>.mp4``; or CMU's
        own, with ``Videos``, ``Audio``, ``Transcript`` and ``Labels`` in it or in
        ``Raw``; or parts of both. ``label.csv`` has the ids, sentiment and splits
        of the usual 22,856 clips, and emotions are in ``CMU_MOSEI_Labels.csd``
        (extra ``hdf5``; needs the transcripts, which say when a clip is) or in
        the csv files of ``Labels``.
    target : {"emotion", "sentiment", "score"}
        "emotion" is the tuple of emotions of each clip, for
        ``EmotionClassifier(multi_label=True)``; "sentiment" is negative or
        positive, without segments whose score is exactly 0; "score" is the number
        from -3 to 3.
    modalities : some of "video", "audio", "text"
        A video brings its own sound. "audio" takes the wav files of CMU's folder.
    threshold : float
        An emotion is there if its mean intensity, from 0 to 3, lies above.

    Returns
    -------
    Dataset
        Splits are the column ``mode`` of ``label.csv``, None without it: the
        standard folds of the SDK do not fit the usual clips. Groups are videos,
        which stand for the speakers.

    Raises
    ------
    DatasetNotFoundError
        The folder lacks labels or transcripts.
    InputError, InputTypeError
        A parameter has another value, or a file of labels cannot be read.
    MissingExtraError
        The .csd file is needed and h5py is not installed.

    Notes
    -----
    Source: Zadeh et al., ACL 2018.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from merclip.datasets import load_mosei
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "label.csv").write_text(
    ...         "video_id,clip_id,text,label,mode\nabc,1,A GREAT FILM,2.4,train\n"
    ...     )
    ...     load_mosei(folder, target="score", modalities=["text"]).y.tolist()
    [2.4]
    """
    choose(target, "target", ["emotion", "sentiment", "score"])
    parts = parts_to_use(modalities, ("video", "audio", "text"))
    root = open_folder(folder, _ORIGIN)
    base = folder_of(root, ("Videos", "Audio", "Transcript", "Labels"))
    rows = Collector(_ORIGIN, root)
    segments, has_scores = _segments(rows, root, base)
    find = _finder(rows, root, base) if target == "emotion" or not has_scores else None
    if not has_scores:
        segments = _scored(segments, find)
    media = None if parts == ("text",) else find_media(_places(root, base), parts, root, _ORIGIN)
    add_segments(rows, segments, _label(rows, target, find, threshold), media, parts)
    return rows.dataset({"emotion": _EMOTIONS, "sentiment": POLARITY, "score": ()}[target])


def parse_line(line: str, video: str) -> Segment | None:
    """Read one line of a transcript, or return None for one of another form.

    Parameters
    ----------
    line : str
        ``<video>___<clip>___<start>___<end>___<text>``; the text and the video's
        id may hold underscores of their own.
    video : str
        The stem of the file.
    """
    prefix = video + _MARK
    if not line.startswith(prefix):
        return None
    fields = line[len(prefix) :].split(_MARK, 3)
    if len(fields) < 4 or number(fields[1]) is None or number(fields[2]) is None:
        return None
    text = fields[3].strip() or None
    return Segment(video, fields[0].strip(), text, number(fields[1]), number(fields[2]))


def _places(root: Path, base: Path) -> list[Media]:
    video, sound = base / "Videos", base / "Audio" / "Full" / "WAV_16000"
    # Clips that were cut without encoding anew start too early, so whole videos come first.
    return [
        Media(
            {
                "video": (video / "Full" / "Combined", "{video}.mp4"),
                "audio": (sound, "{video}.wav"),
            },
            whole=True,
        ),
        Media({"video": (video / "Segmented" / "Combined", "{video}_{number}.mp4")}),
        Media({"video": (root / "Raw", "{video}/{number}.mp4")}),
    ]


def _segments(rows: Collector, root: Path, base: Path) -> tuple[list[Segment], bool]:
    """Return segments, and whether they come with scores."""
    spoken = _transcripts(rows, base / _LINES)
    listed = first_of([root / "label.csv", base / "label.csv"])
    if listed is None:
        if not spoken:
            raise not_found(root, f"label.csv and no {_LINES.as_posix()}", _ORIGIN)
        return list(spoken.values()), False
    return [_timed(segment, spoken.get(segment.name)) for segment in read_mmsa(listed)], True


def _timed(segment: Segment, spoken: Segment | None) -> Segment:
    if spoken is None:
        return segment
    text = segment.text or spoken.text
    return replace(segment, start=spoken.start, end=spoken.end, text=text)


def _transcripts(rows: Collector, folder: Path) -> dict[str, Segment]:
    found: dict[str, Segment] = {}
    for name in file_names(folder, ".txt"):
        text = (folder / name).read_bytes().decode("utf-8", errors="replace")
        for line in filter(str.strip, text.split("\n")):
            segment = parse_line(line.rstrip("\r"), name.removesuffix(".txt"))
            if segment is None:
                rows.note("ignored", "transcript line of another form", name)
            elif segment.name in found:
                rows.note("ignored", "transcript line of a segment that was read", segment.name)
            else:
                found[segment.name] = segment
    return found


def _finder(rows: Collector, root: Path, base: Path) -> Find:
    """Return what looks up sentiment and emotions of a segment."""
    folders = [root, base, root / "Labels", base / "Labels"]
    csd = first_of(folder / _CSD for folder in folders)
    if csd is not None and (base / _LINES).is_dir():
        return _by_time(read_csd(csd))
    folder = base / "Labels" if (base / "Labels").is_dir() else root / "Labels"
    answers = _read_answers(rows, folder)
    if answers:
        return lambda segment: answers.get((segment.video, segment.number))
    wanted = f"{_CSD} with {_LINES.as_posix()}, and no csv file of answers in Labels,"
    raise not_found(root, f"{wanted} for the labels", _ORIGIN)


def _by_time(labels: Mapping[str, tuple[Any, Any]]) -> Find:
    """Look segments up by their span: rows of the file do not follow clip numbers."""

    def find(segment: Segment) -> Sequence[float] | None:
        if segment.video not in labels or segment.start is None:
            return None
        spans, values = labels[segment.video]
        distance = np.abs(spans - [segment.start, segment.end]).max(axis=1)
        row = int(distance.argmin())
        return values[row].tolist() if distance[row] <= _SAME_TIME else None

    return find


def _read_answers(rows: Collector, folder: Path) -> dict[tuple[str, str], list[float]]:
    """Return the mean answer of all annotators for each clip."""
    given: defaultdict[tuple[str, str], list[list[float]]] = defaultdict(list)
    columns = [f"Answer.{name}" for name in _ANSWERS]
    for name in file_names(folder, ".csv"):
        try:
            table = read_rows(folder / name, ["Input.VIDEO_ID", "Input.CLIP", *columns])
        except InputError:
            rows.note("ignored", "csv file without the columns of answers", name)
            continue
        for row in table:
            key = (row["Input.VIDEO_ID"].strip(), row["Input.CLIP"].strip())
            answers = [number(row[column]) for column in columns]
            if None in answers:
                rows.note("ignored", "annotator left an answer out", "_".join(key))
            else:
                given[key].append([answer for answer in answers if answer is not None])
    return {key: np.mean(answers, axis=0).tolist() for key, answers in given.items()}


def _scored(segments: Iterable[Segment], find: Find | None) -> list[Segment]:
    scored = []
    for segment in segments:
        values = None if find is None else find(segment)
        scored.append(segment if values is None else replace(segment, score=values[0]))
    return scored


def _label(rows: Collector, target: str, find: Find | None, threshold: float) -> Label:
    if target == "score":
        return score_of
    if target == "sentiment" or find is None:
        return polarity_of
    search = find

    def emotions(segment: Segment) -> tuple[Any, str | None]:
        values = search(segment)
        if values is None or not all(map(math.isfinite, values)):
            return None, "no emotion labels for the segment"
        pairs = zip(_EMOTIONS, values[1:], strict=True)
        names = tuple(name for name, intensity in pairs if intensity > threshold)
        if not names:
            rows.note("used", "no emotion above the threshold", segment.name)
        return names, None

    return emotions
