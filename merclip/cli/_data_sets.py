"""What ``merclip evaluate`` measures on: a file of one's own, or a data set's folder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip.cli._arguments import given
from merclip.cli._console import CommandError, say
from merclip.cli._data import LabelledClip, columns_of, read_data, with_files

if TYPE_CHECKING:
    from merclip.datasets import Dataset

DATASETS = ("meld", "ravdess", "cremad", "mosi", "mosei", "iemocap")
_TARGET = {"ravdess": "voice", "iemocap": "n_classes"}
"""What the loaders call --target."""


@dataclass(frozen=True)
class Loaded:
    """A data set, and the rows of a file that it was made of.

    Parameters
    ----------
    data : Dataset
    rows : sequence of LabelledClip
        Empty for a folder.
    path : Path
    """

    data: Dataset
    rows: Sequence[LabelledClip]
    path: Path

    @property
    def facts(self) -> Any:
        """What the report notes: the file itself, or the data set."""
        return self.path if self.rows else self.data

    def only(self, part: str) -> Loaded:
        """Return the clips of an official part, or all where there is none of that name."""
        if self.data.splits is None or part not in self.data.splits:
            return self
        chosen = [index for index, name in enumerate(self.data.splits) if name == part]
        rows = [self.rows[index] for index in chosen] if self.rows else ()
        return Loaded(self.data.select(chosen), rows, self.path)


def load(arguments: argparse.Namespace, data: str, dataset: str | None) -> Loaded:
    """Load what the user named.

    Raises
    ------
    CommandError
        The file cannot be read, or options do not go with it.
    """
    path = Path(data)
    if dataset is None and path.is_file():
        return _from_file(arguments, path)
    if dataset is None and not path.is_dir():
        raise CommandError(f"{data!r} cannot be read: there is no such file or folder")
    for name in given(arguments, "group_column", "split_column", "score_range"):
        raise CommandError(f"--{name.replace('_', '-')} is for a file; a folder has its own")
    loaded = _from_folder(path) if dataset is None else _from_data_set(arguments, path, dataset)
    say("data", str(loaded.report).splitlines()[0])
    return Loaded(loaded, (), path)


def renamed(loaded: Loaded, names: Mapping[str, str]) -> Loaded:
    """Call labels as --map says."""
    if not names:
        return loaded
    from merclip.evaluation.protocols.cross_corpus import rename_labels

    rows = [replace(row, label=_renamed(row.label, names)) for row in loaded.rows]
    return Loaded(rename_labels(loaded.data, names), rows, loaded.path)


def numbered(loaded: Loaded) -> Loaded:
    """Give labels that are written as numbers or booleans as such, as Python users would."""
    from merclip.datasets.own import as_numbers

    return replace(loaded, data=as_numbers(loaded.data))


def labels_of(data: Dataset) -> set[Any]:
    """Return the labels that occur."""
    if data.y.dtype.kind == "f":
        return set()
    several = any(isinstance(names, tuple) for names in data.y)
    return {name for names in data.y for name in names} if several else set(data.y.tolist())


def _renamed(label: Any, names: Mapping[str, str]) -> Any:
    if isinstance(label, list):
        return list(dict.fromkeys(names.get(name, name) for name in label))
    return names.get(label, label)


def _from_file(arguments: argparse.Namespace, path: Path) -> Loaded:
    for name in given(arguments, "target", "use"):
        raise CommandError(f"--{name} is for --dataset")
    columns = columns_of(arguments, arguments.label_column)
    rows = read_data(path, columns=columns, on_error=arguments.on_error)
    if arguments.on_error == "raise":
        with_files(rows, "raise")
    data = _data_set(rows, path, arguments.scores)
    if arguments.scores:
        from merclip.datasets.own import on_scale

        data = on_scale(data, arguments.score_range)
    return Loaded(data, rows, path)


def _data_set(rows: Sequence[LabelledClip], path: Path, scores: bool) -> Dataset:
    """Make a data set of all rows; a clip without its file is reported when it is read."""
    import numpy as np

    from merclip.datasets import Dataset, LoadReport
    from merclip.types import Clips

    labels = [tuple(row.label) if isinstance(row.label, list) else row.label for row in rows]
    several = isinstance(labels[0], tuple)
    y = np.fromiter(labels, dtype=object, count=len(labels)) if several else np.array(labels)
    names = () if scores else sorted({name for row in rows for name in row.labels}, key=str)
    return Dataset(
        path.name,
        Clips(row.values for row in rows),
        y,
        tuple(names),
        _column([row.group for row in rows]),
        _column([row.split for row in rows]),
        LoadReport(path.name, str(path), len(rows), len(rows), ()),
    )


def _column(values: Sequence[str | None]) -> Any:
    import numpy as np

    return None if values[0] is None else np.array(values)


def _from_folder(path: Path) -> Dataset:
    from merclip.datasets import load_clips

    return load_clips(path)


def _from_data_set(arguments: argparse.Namespace, path: Path, dataset: str) -> Dataset:
    from merclip import datasets

    options: dict[str, Any] = {}
    if arguments.target is not None:
        target = arguments.target
        number = dataset == "iemocap" and target.isdecimal()
        options[_TARGET.get(dataset, "target")] = int(target) if number else target
    if arguments.use is not None:
        options["modalities"] = arguments.use
    loaded: Dataset = getattr(datasets, f"load_{dataset}")(path, **options)
    return loaded
