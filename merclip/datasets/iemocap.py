"""IEMOCAP: pairs of actors in improvised and scripted dialogues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from merclip.datasets._dataset import Collector, Dataset, Turn
from merclip.datasets._files import (
    Folder,
    Origin,
    file_names,
    not_found,
    open_folder,
    parts_to_use,
    read_text,
)
from merclip.errors import InputError
from merclip.types import Clip, Region

_ORIGIN = Origin(
    "IEMOCAP",
    "Ask for it at https://sail.usc.edu/iemocap/ (a form to sign, for research use), unpack "
    "IEMOCAP_full_release, and give that folder.",
)
_NAMES = {
    "hap": "happy",
    "sad": "sad",
    "neu": "neutral",
    "ang": "angry",
    "exc": "excited",
    "fru": "frustrated",
}
_FOUR = {"hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral", "ang": "angry"}
_N_SESSIONS, _TEST_SESSION = 5, "Session5"
_EVALUATIONS = Path("dialog", "EmoEvaluation")
_UNDECIDED = "xxx"
_HALVES: dict[str, Region] = {"left": (0.0, 0.0, 0.5, 1.0), "right": (0.5, 0.0, 1.0, 1.0)}
_EVALUATION = re.compile(
    r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(Ses\d\d[FM]_\w+_[FM]\w*\d+)\s+([a-z]{3})\b"
)
_SPOKEN = re.compile(r"(Ses\d\d[FM]_\w+_[FM]\w*\d+)\s+\[[\d.\s-]+\]:\s*(.*)")


@dataclass(frozen=True)
class _Utterance:
    name: str
    session: Path
    start: float
    end: float
    code: str

    @property
    def dialogue(self) -> str:
        return self.name.rpartition("_")[0]

    @property
    def speaker(self) -> str:
        """F or M: each dialogue is of a woman and a man, and a model knows them as such."""
        return self.name.rpartition("_")[2][:1]


def load_iemocap(
    folder: Folder, *, n_classes: int = 6, modalities: Iterable[str] = ("audio", "text")
) -> Dataset:
    r"""Load IEMOCAP.

    Parameters
    ----------
    folder : path
        ``IEMOCAP_full_release``, with ``Session1`` to ``Session5``.
    n_classes : {6, 4}
        Six emotions, or four with happy and excited as one and without
        frustrated. Utterances of other emotions, and those on which annotators
        did not agree, are left out.
    modalities : some of "video", "audio", "text"
        Without "video", sound is the wav file of the utterance. With it, pictures
        and sound are spans of the dialogue's files. Both people are in the picture,
        of which a clip has the half with the speaker (`Clip.region`).

    Returns
    -------
    Dataset
        With six classes Session 5 is the test part and the others are for
        training, as is usual; with four there is no split and one session is
        left out at a time: ``folds(5)``. Groups are sessions, since both people
        of a dialogue belong to one. `Dataset.dialogues` gives dialogues in order of
        time, with speakers.

    Raises
    ------
    DatasetNotFoundError
        The folder has no such files.
    InputError, InputTypeError
        A parameter has another value.

    Notes
    -----
    Source: Busso et al., Language Resources and Evaluation 2008.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from merclip.datasets import load_iemocap
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dialog = pathlib.Path(folder, "Session1", "dialog")
    ...     for name, line in {
    ...         "EmoEvaluation": "[6.29 - 8.24]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n",
    ...         "transcriptions": "Ses01F_impro01_F000 [006.29-008.24]: Excuse me.\n",
    ...     }.items():
    ...         dialog.joinpath(name).mkdir(parents=True)
    ...         _ = dialog.joinpath(name, "Ses01F_impro01.txt").write_text(line)
    ...     load_iemocap(folder, modalities=["text"]).clips[0].text
    'Excuse me.'
    """
    if n_classes not in (4, 6):
        raise InputError(f"n_classes is 4 or 6, got {n_classes!r}.")
    names = _NAMES if n_classes == 6 else _FOUR
    parts = parts_to_use(modalities, ("video", "audio", "text"))
    root = open_folder(folder, _ORIGIN)
    sessions = [root / f"Session{number}" for number in range(1, _N_SESSIONS + 1)]
    evaluated = [s for s in sessions if (s / _EVALUATIONS).is_dir()]
    if not evaluated:
        raise not_found(root, f"Session1/{_EVALUATIONS.as_posix()}", _ORIGIN)
    rows = Collector(_ORIGIN, root)
    for session in sessions:
        if session in evaluated:
            _add_session(rows, session, names, parts)
        else:
            rows.note("ignored", "session without its evaluations", session.name)
    return rows.dataset(tuple(dict.fromkeys(names.values())))


def speaker_side(utterance: str) -> Literal["left", "right"]:
    """Tell which half of the picture shows the speaker.

    Parameters
    ----------
    utterance : str
        Such as ``Ses01F_impro01_M000``: the letter after the session is who wears
        markers and sits on the left, the last letter is who speaks.

    Returns
    -------
    {"left", "right"}

    Examples
    --------
    >>> from merclip.datasets.iemocap import speaker_side
    >>> speaker_side("Ses01F_impro01_F000"), speaker_side("Ses01F_impro01_M000")
    ('left', 'right')
    """
    return "left" if utterance[5:6] == utterance.rpartition("_")[2][:1] else "right"


def _add_session(
    rows: Collector, session: Path, names: dict[str, str], parts: tuple[str, ...]
) -> None:
    texts = _texts(rows, session) if "text" in parts else {}
    for utterance in _utterances(rows, session):
        if utterance.code not in names:
            undecided = utterance.code == _UNDECIDED
            what = "no majority of annotators" if undecided else "emotion outside the task"
            rows.note("excluded", what, utterance.name)
            continue
        clip = _clip(rows, utterance, parts, texts.get(utterance.name))
        if clip is None:
            continue
        split = "test" if session.name == _TEST_SESSION else "train"
        rows.add(
            clip,
            names[utterance.code],
            group=session.name,
            split=split if len(names) == len(_NAMES) else None,
            turn=Turn(utterance.dialogue, utterance.start, utterance.speaker),
        )


def _utterances(rows: Collector, session: Path) -> Iterator[_Utterance]:
    folder = session / _EVALUATIONS
    for name in file_names(folder, ".txt"):
        for line in read_text(folder / name).splitlines():
            match = _EVALUATION.match(line)
            if match is not None:
                yield _Utterance(match[3], session, float(match[1]), float(match[2]), match[4])
            elif line.startswith("[") and "Ses" in line:
                rows.note("ignored", "evaluation line of another form", name)


def _texts(rows: Collector, session: Path) -> dict[str, str]:
    folder = session / "dialog" / "transcriptions"
    texts: dict[str, str] = {}
    for name in file_names(folder, ".txt"):
        for line in filter(str.strip, read_text(folder / name).splitlines()):
            match = _SPOKEN.match(line)
            if match is None:
                rows.note("ignored", "transcription line of another form", name)
            elif match[2].strip():
                texts[match[1]] = match[2].strip()
    return texts


def _clip(
    rows: Collector, utterance: _Utterance, parts: tuple[str, ...], text: str | None
) -> Clip | None:
    paths = _paths(utterance, parts)
    if not rows.usable(utterance.name, *paths.values()):
        return None
    if "video" in paths and utterance.end <= utterance.start:
        rows.note("excluded", "ends before it starts", utterance.name)
        return None
    if "text" in parts and text is None:
        rows.note("used" if paths else "excluded", "no transcription", utterance.name)
        if not paths:
            return None
    clip = Clip(paths.get("video"), paths.get("audio"), text, id=utterance.name)
    if clip.video is None:
        return clip
    half = _HALVES[speaker_side(utterance.name)]
    return replace(clip, start=utterance.start, end=utterance.end, region=half)


def _paths(utterance: _Utterance, parts: tuple[str, ...]) -> dict[str, str]:
    """Return files; with a span of the dialogue's video goes the same span of its sound."""
    session, dialogue = utterance.session, utterance.dialogue
    paths = {}
    if "video" in parts:
        paths["video"] = session / "dialog" / "avi" / "DivX" / f"{dialogue}.avi"
        if "audio" in parts:
            paths["audio"] = session / "dialog" / "wav" / f"{dialogue}.wav"
    elif "audio" in parts:
        paths["audio"] = session / "sentences" / "wav" / dialogue / f"{utterance.name}.wav"
    return {part: str(path) for part, path in paths.items()}
