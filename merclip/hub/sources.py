"""Where the files of one model lie: a directory, or one commit of a repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from merclip._files import settled
from merclip._shown import shown
from merclip.errors import CheckpointError, ModelNotFoundError
from merclip.hub.access import HubAccess, is_absence, is_unreachable
from merclip.network.checkpoint import CONFIG_FILE

PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
INDEX_SUFFIX = ".safetensors.index.json"


class Source(Protocol):
    """The files of one model."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def origin(self) -> str:
        """What it is called in what is made of it, and on another machine."""

    def find(self, *filenames: str) -> Path | None:
        """Return the first of these files that there is, or None."""

    def find_spare(self, filename: str) -> Path | None:
        """Return a file that is not needed, if it is to be had without waiting."""

    def lacks(self, filenames: Sequence[str]) -> Exception:
        """Return the error for files of which none was found."""

    def place(self, path: Path) -> dict[str, str] | None:
        """Return repository, commit and name of a file; None for one on this machine alone."""


@dataclass(frozen=True)
class Directory:
    """A directory on this machine."""

    name: str
    path: Path

    def __post_init__(self) -> None:
        with settled(self.path):
            pass

    @property
    def origin(self) -> str:
        """The directory's own name: the path to it is nobody else's business."""
        return self.path.resolve().name

    def find(self, *filenames: str) -> Path | None:
        """Return the first of these files that there is, or None."""
        return next((self.path / name for name in filenames if (self.path / name).is_file()), None)

    def find_spare(self, filename: str) -> Path | None:
        """Return a file that is not needed, if it is there."""
        return self.find(filename)

    def lacks(self, filenames: Sequence[str]) -> CheckpointError:
        """Return the error for files of which none was found."""
        names = [path.name for path in self.path.iterdir()]
        return CheckpointError(f"{self.path} holds no {filenames[0]}.{_instead(names, filenames)}")

    def place(self, path: Path) -> None:
        """Return None: another machine has no such file."""


@dataclass
class Repository:
    """A repository on the Hub. Its first file pins the commit of all others.

    Parameters
    ----------
    name : str
        "org/name".
    access : HubAccess
    commit : str or None
        None until a file has been found.
    """

    name: str
    access: HubAccess
    commit: str | None = None
    _found: dict[str, Path] = field(default_factory=dict)
    _absent: dict[str, ModelNotFoundError] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """The repository's name."""
        return self.name

    def find(self, *filenames: str) -> Path | None:
        """Return the first of these files that there is, downloaded if need be, or None.

        A Hub that cannot be reached is asked once; what the cache has may do without it.

        Raises
        ------
        ModelNotFoundError
            There is no such repository or revision.
        """
        for filename in filenames:
            if filename in self._found:
                return self._found[filename]
            if self.commit is not None and self.access.lacks(self.name, filename, self.commit):
                continue
            try:
                path = self.access.file(self.name, filename, self.commit)
            except ModelNotFoundError as error:
                if not is_absence(error):
                    raise
                self._absent.setdefault(filename, error)
                if is_unreachable(error):
                    self.access = replace(self.access, local_files_only=True)
                continue
            # The cache keeps a file under its commit; the branch may move in between.
            self.commit = path.parent.name
            self._found[filename] = path
            return path
        return None

    def find_spare(self, filename: str) -> Path | None:
        """Return a file that is not needed, if the cache or the Hub has it."""
        if self.commit is None:
            return None
        return self.access.spare_file(self.name, filename, self.commit)

    def lacks(self, filenames: Sequence[str]) -> ModelNotFoundError:
        """Return the error for files of which none was found."""
        why = _instead(self.access.names(self.name, self.commit), filenames)
        known = self._absent.get(filenames[0])
        text = str(known) if known else f"{self.name!r} on the Hub has no {filenames[0]}."
        error = ModelNotFoundError(text + why)
        error.__cause__ = known.__cause__ if known else None
        return error

    def place(self, path: Path) -> dict[str, str]:
        """Return repository, commit and name of a file."""
        return {"repo": self.name, "revision": path.parent.name, "filename": path.name}


def require(source: Source, *filenames: str) -> Path:
    """Return the first of these files that there is.

    Raises
    ------
    ModelNotFoundError, CheckpointError
        There is none; the message says what there is instead.
    """
    path = source.find(*filenames)
    if path is None:
        raise source.lacks(filenames)
    return path


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    CheckpointError
        It cannot be read, or is no object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return values


def _instead(names: Sequence[str], filenames: Sequence[str]) -> str:
    """Return what speaks against the files that there are, as the end of a message."""
    pickles = [name for name in names if name.endswith(PICKLES)]
    if any(name.endswith(INDEX_SUFFIX) for name in names):
        return " Its weights are cut into several files, which merclip does not put together."
    if pickles:
        return (
            f" It holds pickles ({', '.join(sorted(pickles)[:3])}), which can run code when they "
            "are loaded, and which merclip does not read; ask for safetensors."
        )
    if names and CONFIG_FILE in filenames:
        return (
            " It is neither a checkpoint of merclip nor CLIP as open_clip or Hugging Face stores "
            f"it; there is {shown(', '.join(sorted(names)))}. Check the name."
        )
    return ""
