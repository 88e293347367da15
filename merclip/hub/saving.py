"""Writing a checkpoint's directory without harm to what else lies there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip._files import settled
from merclip.errors import CheckpointError, InputError
from merclip.hub.cards import model_card
from merclip.hub.sources import read_object
from merclip.labels import LabelSet
from merclip.network import Checkpoint, save_checkpoint
from merclip.network.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from merclip.evaluation import Report


def write_model(
    checkpoint: Checkpoint,
    labels: LabelSet | None,
    directory: Path,
    *,
    bundle_backbone: bool = False,
    name: str | None = None,
    report: Report | None = None,
    card_data: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint with its card, and return the directory.

    Parameters
    ----------
    checkpoint : Checkpoint
    labels : LabelSet or None
        For the card.
    directory : Path
        Made if it does not exist. An older checkpoint there is replaced; files of
        other names stay.
    bundle_backbone : bool
        Store frozen towers that came from the Hub too.
    name, report, card_data
        As for `model_card`.

    Raises
    ------
    InputError
        The directory is a file, cannot be written, or has a file of one of the three
        names that no checkpoint of merclip wrote.
    """
    given = {} if name is None else {"name": name}
    card = model_card(checkpoint, labels, report=report, card_data=card_data, **given)
    check_free(directory)
    save_checkpoint(checkpoint, directory, card, bundle_backbone=bundle_backbone)
    return directory


def check_free(directory: Path) -> None:
    """Refuse a directory that has files of a checkpoint's names, but is no checkpoint.

    Raises
    ------
    InputError
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{str(directory)!r} is a file: give a directory.")
    with settled(directory):
        _refuse_others(directory)


def _refuse_others(directory: Path) -> None:
    names = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
    there = [name for name in names if (directory / name).exists()]
    if there and not _is_checkpoint(directory):
        raise InputError(
            f"{str(directory)!r} has a {there[0]} that is not merclip's, and that would be "
            "overwritten: give another directory."
        )


def _is_checkpoint(directory: Path) -> bool:
    try:
        return "merclip_version" in read_object(directory / CONFIG_FILE)
    except CheckpointError:
        return False
