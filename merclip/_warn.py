"""Warnings that point at the user's line, not at ours."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import NoReturn

from merclip.errors import InputError, SkippedClipsWarning

_PACKAGE = str(Path(__file__).parent)
_NAMED = 3
_LONGEST_NAME = 1000
"""Letters; a longer name stands in the reason as well, shortened."""


def warn(warning: Warning) -> None:
    """Issue a warning as from the first caller outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


class Skipped:
    """Clips that are left out: all are counted, and the first few named.

    Parameters
    ----------
    most_rows : int, optional
        Rows that are remembered; by default all.
    """

    def __init__(self, most_rows: int | None = None) -> None:
        self.most_rows = most_rows
        self.rows: list[int] = []
        self.count = 0
        self._named: list[str] = []

    def add(self, row: int, name: str | None, reason: str) -> None:
        """Note a clip, and why it is left out."""
        self.count += 1
        if self.most_rows is None or len(self.rows) < self.most_rows:
            self.rows.append(row)
        if len(self._named) < _NAMED:
            self._named.append(f"{row_name(row, name, reason)}: {reason}")

    def warn(self, n_clips: int, done: str = "left out") -> None:
        """Issue one warning of all of them, if there are any."""
        if not self.count:
            return
        were = "was" if self.count == 1 else "were"
        message = f"{self.count} of {n_clips} clips {were} {done}. {self._listed()}"
        warn(SkippedClipsWarning(message, tuple(self.rows)))

    def raise_all(self) -> NoReturn:
        """Say that no clip is left.

        Raises
        ------
        InputError
        """
        raise InputError(f"No clip can be used. {self._listed()}")

    def _listed(self) -> str:
        more = self.count - len(self._named)
        return " ".join(self._named) + (f" And {more} more." if more else "")


def row_name(row: int, name: str | None, reason: str) -> str:
    """Return what a clip is called in a message, which may hold its name already."""
    if name is None or name in reason or len(name) > _LONGEST_NAME:
        return f"Row {row}"
    return f"Row {row} ({name})"
