"""``--adapt`` and ``--adapt-by``: the situations that a classifier is adapted to."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from merclip.cli._console import CommandError

if TYPE_CHECKING:
    from merclip.classifier import EmotionClassifier
    from merclip.results import Prediction


def add_adapt_arguments(parser: argparse.ArgumentParser, table: str) -> None:
    """Add the two options."""
    group = parser.add_argument_group("adapting").add_mutually_exclusive_group()
    group.add_argument(
        "--adapt",
        action="store_true",
        help="learn the people, the room and the microphone from these clips first, without "
        "labels; all are one situation, in which emotions are mixed",
    )
    group.add_argument(
        "--adapt-by",
        metavar="COLUMN",
        help=f"the same, each value of a column of {table} by itself, such as a speaker or session",
    )


def situations_in(
    arguments: argparse.Namespace, columns: Iterable[Mapping[str, Any]]
) -> list[str] | None:
    """Return the situation of each row; None where nothing is to be adapted.

    Raises
    ------
    CommandError
        A row has no value in the column.
    """
    if arguments.adapt:
        return ["" for _ in columns]
    if arguments.adapt_by is None:
        return None
    name, found = arguments.adapt_by, []
    for row in columns:
        value = row.get(name)
        if value is None or value == "":
            there = f"; it has {', '.join(map(repr, row))}" if name not in row else ""
            raise CommandError(f"--adapt-by {name}: a row has nothing there{there}")
        found.append(str(value))
    return found


def adapted_predictions(
    classifier: EmotionClassifier, clips: Sequence[Any], situations: Sequence[str]
) -> Iterator[Prediction]:
    """Yield answers in the order of the clips, each by a classifier that knows its situation."""
    features = classifier.encode(clips)
    adapted = {}
    for name in dict.fromkeys(situations):
        own = [row for row, situation in enumerate(situations) if situation == name]
        readable = [row for row in own if features[row].error is None]
        adapted[name] = classifier.adapt(features[readable]) if readable else classifier
    for row, name in enumerate(situations):
        yield from adapted[name](features[[row]])
