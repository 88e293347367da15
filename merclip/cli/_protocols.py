"""From the options of ``merclip evaluate`` to a report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip.cli._adapt import situations_in
from merclip.cli._arguments import given, read_json
from merclip.cli._console import CommandError
from merclip.cli._data_sets import Loaded

if TYPE_CHECKING:
    from merclip.evaluation import Report

SHOTS, SEEDS = (16,), (0, 1, 2)
_FITTED = ("k-shot", "supervised", "leave-one-out", "cross-corpus")
_FITS_AT_WILL = ("wordings", "modalities")
OPTIONS: dict[str, tuple[str, ...]] = {
    "shots": ("k-shot",),
    "seeds": (*_FITTED, *_FITS_AT_WILL),
    "group_column": (*_FITTED, *_FITS_AT_WILL),
    "folds": ("supervised", "leave-one-out", *_FITS_AT_WILL),
    "train": ("supervised", "cross-corpus"),
    "train_dataset": ("supervised", "cross-corpus"),
    "leave_out": ("leave-one-out",),
    "wordings": ("wordings",),
    "fit": _FITS_AT_WILL,
    "tune": (*_FITTED[1:], "wordings"),
    "epochs": (*_FITTED, *_FITS_AT_WILL),
    "lr": (*_FITTED, *_FITS_AT_WILL),
    "baselines": _FITTED,
    "anchors": ("zero-shot", "k-shot", "supervised", "cross-corpus", *_FITS_AT_WILL),
}
"""The protocols for which an option is."""
NEEDED = {"wordings": "wordings", "cross-corpus": "train"}
"""The option that a protocol does not go without."""


def check_protocol(arguments: argparse.Namespace) -> None:
    """Refuse options that the protocol does not use, and ask for those that it needs.

    Raises
    ------
    CommandError
    """
    protocol = arguments.protocol
    for name, protocols in OPTIONS.items():
        used = protocol in protocols or (name == "group_column" and arguments.intervals)
        if getattr(arguments, name) and not used:
            listed = " or ".join(protocols)
            raise CommandError(f"--{name.replace('_', '-')} is for --protocol {listed}")
    needed = NEEDED.get(protocol)
    if needed is not None and not getattr(arguments, needed):
        raise CommandError(f"--protocol {protocol} needs --{needed}")
    if arguments.train_dataset and not arguments.train:
        raise CommandError("--train-dataset goes with --train")
    if arguments.folds and arguments.train:
        raise CommandError("--folds divides DATA, which --train leaves whole")


def read_wordings(path: Path) -> dict[str, Any]:
    """Return label sets by the name of the wording.

    Raises
    ------
    CommandError
        The file is not a JSON mapping from name to labels.
    """
    found = read_json(path, "--wordings")
    if not isinstance(found, dict) or not all(isinstance(v, (list, dict)) for v in found.values()):
        raise CommandError(
            f"--wordings {str(path)!r} holds no mapping from the name of a wording to labels, such "
            'as {"word": ["happy", "sad"], "sentence": {"happy": "...", "sad": "..."}}'
        )
    return found


def measure(
    arguments: argparse.Namespace,
    classifier: Any,
    loaded: Loaded,
    train: Loaded | None,
    labels: Any,
) -> Report:
    """Run the protocol.

    Parameters
    ----------
    arguments : Namespace
    classifier : EmotionClassifier
    loaded : Loaded
        What is tested, and learned from without `train`.
    train : Loaded, optional
    labels : optional
        None takes those of the data.
    """
    protocol = arguments.protocol
    if train is not None:
        from merclip.evaluation import cross_corpus

        return cross_corpus(
            classifier,
            train.data,
            loaded.data,
            labels=labels,
            protocol=protocol,
            **_fitting(arguments),
        )
    return _PROTOCOLS[protocol](arguments, classifier, loaded, labels)


def _zero_shot(arguments: Any, classifier: Any, loaded: Loaded, labels: Any) -> Report:
    from merclip.evaluation import zero_shot

    data = loaded.data
    return zero_shot(
        classifier,
        data.clips,
        data.y,
        labels=labels,
        groups=data.groups,
        data=loaded.facts,
        situations=_situations(arguments, loaded),
    )


def _situations(arguments: argparse.Namespace, loaded: Loaded) -> list[str] | None:
    if arguments.adapt_by and not loaded.rows:
        if arguments.adapt_by != "group" or loaded.data.groups is None:
            raise CommandError("--adapt-by names a column of a table; of a data set: group")
        return [str(name) for name in loaded.data.groups]
    columns = [row.columns for row in loaded.rows] or [{} for _ in loaded.data.clips]
    return situations_in(arguments, columns)


def _k_shot(arguments: Any, classifier: Any, loaded: Loaded, labels: Any) -> Report:
    from merclip.evaluation import k_shot

    data = loaded.data
    return k_shot(
        classifier,
        data.clips,
        data.y,
        shots=arguments.shots or SHOTS,
        labels=labels,
        groups=data.groups,
        parts=data.splits,
        data=loaded.facts,
        **_fitting(arguments),
    )


def _supervised(arguments: Any, classifier: Any, loaded: Loaded, labels: Any) -> Report:
    from merclip.evaluation import supervised

    options = {"labels": labels, "folds": arguments.folds, **_fitting(arguments)}
    return supervised(classifier, loaded.data, **options)


def _leave_one_out(arguments: Any, classifier: Any, loaded: Loaded, labels: Any) -> Report:
    from merclip.evaluation import leave_one_out

    options = {"labels": labels, "folds": arguments.folds, **_fitting(arguments)}
    return leave_one_out(classifier, loaded.data, leave_out=arguments.leave_out, **options)


def _wordings(arguments: Any, classifier: Any, loaded: Loaded, labels: Any) -> Report:
    from merclip.evaluation import wordings

    sets = read_wordings(Path(arguments.wordings))
    options = {"fit": arguments.fit, "folds": arguments.folds, **_seeds(arguments)}
    return wordings(classifier, loaded.data, sets, **options)


def _modalities(arguments: Any, classifier: Any, loaded: Loaded, labels: Any) -> Report:
    from merclip.evaluation import modalities

    options = {"fit": arguments.fit, "folds": arguments.folds, **_seeds(arguments)}
    return modalities(classifier, loaded.data, labels=labels, **options)


def _fitting(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the seeds, and baselines if they were asked for."""
    options = _seeds(arguments)
    if arguments.baselines:
        from merclip.evaluation.baselines import baselines_beside

        options["baselines"] = baselines_beside
    return options


def _seeds(arguments: argparse.Namespace) -> dict[str, Any]:
    return given(arguments, "seeds")


_PROTOCOLS: dict[str, Callable[[Any, Any, Loaded, Any], Report]] = {
    "zero-shot": _zero_shot,
    "k-shot": _k_shot,
    "supervised": _supervised,
    "leave-one-out": _leave_one_out,
    "wordings": _wordings,
    "modalities": _modalities,
}
PROTOCOLS = ("zero-shot", *_FITTED, *_FITS_AT_WILL)
