"""Labelled clips with their splits and groups: `Dataset`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from merclip.datasets._files import Origin, problem
from merclip.datasets._report import Finding, Kind, LoadReport
from merclip.dialogues import Dialogue
from merclip.errors import DatasetNotFoundError, InputError
from merclip.types import Clip, Clips

Array = np.ndarray[Any, Any]


class Turn(NamedTuple):
    """Where an utterance stands.

    Attributes
    ----------
    dialogue : str
    place : float
        Number or time of the utterance in the dialogue.
    speaker : str

    Examples
    --------
    >>> from merclip.datasets import Turn
    >>> Turn("train/dia0", 3, "Joey").speaker
    'Joey'
    """

    dialogue: str
    place: float
    speaker: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled clips, with what is needed to divide them fairly.

    Parameters
    ----------
    name : str
    clips : Clips of length n
        Paths and texts; nothing is decoded.
    y : ndarray of shape (n,)
        One label for each clip; tuples of labels where a clip may have several
        or none; or float scores.
    labels : tuple of str, or of numbers as in `y`
        The labels of the task, in the data set's own order, also those that no
        clip has; empty for scores.
    groups : ndarray of shape (n,), str, or None
        Who or what must not be on both sides of a split: the speaker, dialogue,
        session or video of each clip.
    splits : ndarray of shape (n,), str, or None
        "train", "valid" or "test" for each clip, where that is laid down.
    report : LoadReport
        What became of all rows while loading.
    turns : tuple of Turn of length n, or None
        Dialogue, place in it and speaker of each clip, where clips are of dialogues.

    Examples
    --------
    >>> from merclip.datasets import load_clips
    >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
    >>> data
    Dataset(lines.csv: 24 clips, train 12, valid 6, test 6)
    >>> data.labels, data.clips[0].text
    (('angry', 'happy', 'sad'), "We won! I can't believe it, we actually won!")
    """

    name: str
    clips: Clips
    y: Array
    labels: tuple[Any, ...]
    groups: Array | None
    splits: Array | None
    report: LoadReport
    turns: tuple[Turn, ...] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        counts = {} if self.splits is None else Counter(self.splits.tolist())
        splits = "".join(f", {name} {count:,}" for name, count in counts.items())
        return f"Dataset({self.name}: {len(self):,} clips{splits})"

    def select(self, rows: Any) -> Dataset:
        """Return some of the clips.

        Parameters
        ----------
        rows : slice, sequence of int or mask of shape (n,)

        Returns
        -------
        Dataset
            Its `report` is still that of the whole.

        Examples
        --------
        >>> from merclip.datasets import load_clips
        >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
        >>> len(data.select(data.groups == "ana"))
        6
        """
        kept = np.arange(len(self))[rows]
        return replace(
            self,
            clips=self.clips[kept],
            y=self.y[kept],
            groups=None if self.groups is None else self.groups[kept],
            splits=None if self.splits is None else self.splits[kept],
            turns=None if self.turns is None else tuple(self.turns[row] for row in kept),
        )

    def split(self, name: str) -> Dataset:
        """Return the clips of one official part.

        Parameters
        ----------
        name : {"train", "valid", "test"}

        Returns
        -------
        Dataset

        Raises
        ------
        InputError
            There are no official parts, or none of that name.

        Examples
        --------
        >>> from merclip.datasets import load_clips
        >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
        >>> len(data.split("test"))
        6
        """
        if self.splits is None:
            raise InputError(f"{self.name} has no official split here; use folds().")
        rows = self.splits == name
        if not rows.any():
            known = sorted(set(self.splits.tolist()))
            raise InputError(f"{self.name} has the parts {known}, and not {name!r}.")
        return self.select(rows)

    def dialogues(self) -> list[Dialogue]:
        r"""Return the conversations that the clips are of.

        Returns
        -------
        list of Dialogue
            In the order of the data set, each with its utterances in the order in which
            they were said, with speakers and labels. Utterances without a clip here
            (another emotion, a broken file) are left out.

        Raises
        ------
        InputError
            The clips are not of dialogues.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from merclip.datasets import load_meld
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "dev_sent_emo.csv").write_text(
        ...         "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID,StartTime,EndTime\n"
        ...         "Why?,Ross,surprise,0,1,,\nIt broke.,Joey,sadness,0,0,,\n"
        ...     )
        ...     talk = load_meld(folder, modalities=["text"]).dialogues()[0]
        >>> talk
        Dialogue('dev/dia0': 2 utterances of 2 speakers)
        >>> talk.speakers, talk.labels
        (('Joey', 'Ross'), ('sadness', 'surprise'))
        """
        if self.turns is None:
            raise InputError(f"The clips of {self.name} are not of dialogues.")
        rows: dict[str, list[int]] = {}
        for row, turn in enumerate(self.turns):
            rows.setdefault(turn.dialogue, []).append(row)
        return [self._dialogue(name, found) for name, found in rows.items()]

    def _dialogue(self, name: str, rows: list[int]) -> Dialogue:
        turns = self.turns or ()
        ordered = sorted(rows, key=lambda row: turns[row].place)
        speakers = [turns[row].speaker for row in ordered]
        return Dialogue(self.clips[ordered], speakers, self.y[ordered], name=name)

    def folds(self, n_folds: int = 5) -> list[tuple[Array, Array]]:
        """Divide the clips so that no group is both learned from and tested.

        The folds are of about equal size and the same at each call. Give as many
        folds as there are groups to leave out one at a time.

        Parameters
        ----------
        n_folds : int

        Returns
        -------
        list of (train, test)
            Positions, as scikit-learn's ``cv=`` takes them.

        Raises
        ------
        InputError
            There are no groups, or fewer than `n_folds`.

        Examples
        --------
        >>> from merclip.datasets import load_clips
        >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
        >>> [(len(train), len(test)) for train, test in data.folds(4)]
        [(18, 6), (18, 6), (18, 6), (18, 6)]
        """
        if self.groups is None:
            raise InputError(f"{self.name} has no groups; say who speaks in each clip.")
        n_groups = len(np.unique(self.groups))
        if not 2 <= n_folds <= n_groups:
            raise InputError(f"{n_groups} groups give 2 to {n_groups} folds, got {n_folds!r}.")
        from sklearn.model_selection import GroupKFold

        return list(GroupKFold(n_folds).split(self.y, groups=self.groups))


class Collector:
    """Gathers clips row by row, and counts what becomes of each row."""

    def __init__(self, origin: Origin, folder: str | os.PathLike[str]) -> None:
        self.origin, self.folder = origin, os.fspath(folder)
        self._rows: list[tuple[Clip, Any, str | None, str | None, Turn | None]] = []
        self._found: dict[tuple[str, Kind], list[str]] = {}

    def note(self, kind: Kind, what: str, name: str) -> None:
        """Count a row that is left out, or something to know about one that is used."""
        self._found.setdefault((what, kind), []).append(name)

    def usable(self, name: str, *paths: str) -> bool:
        """Tell whether files exist and may be media; if not, leave the row out."""
        for path in paths:
            found = problem(path)
            if found is not None:
                self.note(*found, name)
                return False
        return True

    def add(
        self,
        clip: Clip,
        label: Any,
        *,
        group: str | None,
        split: str | None = None,
        turn: Turn | None = None,
    ) -> None:
        """Take a clip; of a data set of dialogues each has its turn."""
        self._rows.append((clip, label, group, split, turn))

    def labels_seen(self) -> list[Any]:
        """Return the labels of the clips so far, sorted.

        Raises
        ------
        InputError
            Some are strings, others are numbers.
        """
        labels = [label for _, label, *_ in self._rows]
        names = {n for found in labels for n in (found if _is_set(found) else [found])}
        try:
            return sorted(names)
        except TypeError:
            raise InputError("Labels are strings in some rows and numbers in others.") from None

    def dataset(self, labels: Sequence[Any]) -> Dataset:
        """Return what was gathered.

        Raises
        ------
        DatasetNotFoundError
            No clip is left.
        """
        report = self._report()
        if not self._rows:
            raise DatasetNotFoundError(f"No clip is left. {report}\n{self.origin.advice}")
        clips, y, groups, splits, turns = zip(*self._rows, strict=True)
        return Dataset(
            self.origin.name,
            Clips(clips),
            _column(y),
            tuple(labels),
            _names(groups),
            _names(splits),
            report,
            None if None in turns else turns,
        )

    def _report(self) -> LoadReport:
        findings = tuple(
            Finding(what, kind, tuple(names)) for (what, kind), names in self._found.items()
        )
        report = LoadReport(self.origin.name, self.folder, 0, len(self._rows), findings)
        lost = sum(report.count(kind) for kind in ("missing", "undecodable", "excluded"))
        return replace(report, n_rows=len(self._rows) + lost)


def _is_set(label: Any) -> bool:
    return isinstance(label, tuple)


def _column(values: Sequence[Any]) -> Array:
    """Return labels as an array, tuples of labels as one of objects."""
    if not _is_set(values[0]):
        return np.array(values)
    return np.fromiter(values, dtype=object, count=len(values))


def _names(values: Sequence[str | None]) -> Array | None:
    """Return names as an array; what only some rows have stays empty for the others."""
    if all(value is None for value in values):
        return None
    return np.array(["" if value is None else value for value in values])
