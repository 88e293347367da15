"""What became of the rows of a data set: `LoadReport`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["missing", "undecodable", "excluded", "used", "ignored"]

_WORDS: dict[Kind, str] = {
    "missing": "left out",
    "undecodable": "left out",
    "excluded": "left out",
    "used": "used all the same",
    "ignored": "not a row",
}
_N_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """Something that was noticed about some rows or files.

    Parameters
    ----------
    what : str
        In words, such as "file missing".
    kind : {"missing", "undecodable", "excluded", "used", "ignored"}
        The first three are rows that were left out: there is no file, the file
        cannot be decoded, or the row has no label of the task. "used" are clips
        that were kept, "ignored" are files or lines that are no rows.
    ids : tuple of str
        The clips or files.

    Examples
    --------
    >>> from merclip.datasets import Finding
    >>> print(Finding("file missing", "missing", ("a.mp4", "b.mp4")))
    2 left out: file missing (a.mp4, b.mp4)
    """

    what: str
    kind: Kind
    ids: tuple[str, ...]

    def __str__(self) -> str:
        dots = ", ..." if len(self.ids) > _N_SHOWN else ""
        shown = ", ".join(self.ids[:_N_SHOWN])
        return f"{len(self.ids):,} {_WORDS[self.kind]}: {self.what} ({shown}{dots})"


@dataclass(frozen=True)
class LoadReport:
    """What became of the rows of a data set.

    Parameters
    ----------
    name, folder : str
    n_rows, n_clips : int
        Labelled rows, and the clips that came of them.
    findings : tuple of Finding

    Examples
    --------
    >>> from merclip.datasets import Finding, LoadReport
    >>> lost = Finding("file missing", "missing", ("dev/dia110_utt7",))
    >>> print(LoadReport("MELD", "MELD.Raw", 1109, 1108, (lost,)))
    MELD: 1,109 rows, 1,108 clips: 1 missing, 0 undecodable, 0 excluded
      1 left out: file missing (dev/dia110_utt7)
    """

    name: str
    folder: str
    n_rows: int
    n_clips: int
    findings: tuple[Finding, ...]

    def count(self, kind: Kind) -> int:
        """Return for how many rows or files there are findings of a kind.

        Parameters
        ----------
        kind : {"missing", "undecodable", "excluded", "used", "ignored"}

        Returns
        -------
        int

        Examples
        --------
        >>> from merclip.datasets import load_clips
        >>> data = load_clips("examples/lines.csv", group="speaker", split="part")
        >>> data.report.count("missing")
        0
        """
        return sum(len(finding.ids) for finding in self.findings if finding.kind == kind)

    def __getitem__(self, what: str) -> tuple[str, ...]:
        """Return the clips or files of a finding, none if it was not made."""
        return tuple(name for found in self.findings if found.what == what for name in found.ids)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{self.count(kind):,} {kind}" for kind in ("missing", "undecodable", "excluded")
        )
        head = f"{self.name}: {self.n_rows:,} rows, {self.n_clips:,} clips: {counts}"
        return "\n  ".join([head, *map(str, self.findings)])
