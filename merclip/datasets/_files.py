"""Folders and tables on disk, and what to say where they are not as expected."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from merclip.datasets._report import Kind
from merclip.errors import DatasetNotFoundError, InputError, InputTypeError

Folder: TypeAlias = "str | os.PathLike[str]"

_POINTER = b"version https://git-lfs"
_POINTER_BYTES = 200
_N_SHOWN = 8
FALLBACK = "cp1252"
_BEGINNING = 4096
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from, for messages."""

    name: str
    advice: str = ""


def open_folder(folder: Folder, origin: Origin) -> Path:
    """Return a folder that exists.

    Raises
    ------
    DatasetNotFoundError
        There is none.
    """
    path = Path(folder)
    if not path.is_dir():
        kind = "is a file, not a folder" if path.exists() else "does not exist"
        raise DatasetNotFoundError(f"{str(path)!r} {kind}. {origin.advice}")
    return path


def first_of(places: Iterable[Path]) -> Path | None:
    """Return the first place that exists."""
    return next((place for place in places if place.exists()), None)


def not_found(folder: Path, wanted: str, origin: Origin) -> DatasetNotFoundError:
    """Say what was looked for, what is there, and how to get the data."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    shown = ", ".join(names[:_N_SHOWN]) or "nothing"
    more = f" and {len(names) - _N_SHOWN} more" if len(names) > _N_SHOWN else ""
    return DatasetNotFoundError(
        f"{origin.name} was looked for in {str(folder)!r}: there is no {wanted}, "
        f"but {shown}{more}. {origin.advice}"
    )


def file_names(folder: Path, *suffixes: str) -> list[str]:
    """Return the sorted names of files with a suffix, without those that macOS leaves behind."""
    if not folder.is_dir():
        return []
    names = sorted(os.listdir(folder))
    return [n for n in names if n.lower().endswith(suffixes) and not n.startswith("._")]


def problem(path: str) -> tuple[Kind, str] | None:
    """Return what keeps a file from being media, as far as can be told without decoding it."""
    try:
        size = os.stat(path).st_size
    except OSError:
        return "missing", "file missing"
    if size == 0:
        return "undecodable", "file empty"
    if size < _POINTER_BYTES:
        with open(path, "rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                return "undecodable", "Git LFS pointer in place of the file"
    return None


def choose(value: str, name: str, known: Sequence[str]) -> str:
    """Return one of several known values.

    Raises
    ------
    InputError
        It is another one.
    """
    if value not in known:
        raise InputError(f"{name} is one of {list(known)}, got {value!r}.")
    return value


def parts_to_use(modalities: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities that were asked for.

    Raises
    ------
    InputTypeError
        A string, which is a sequence of letters.
    InputError
        None, or one that the data set does not have.
    """
    if isinstance(modalities, str):
        raise InputTypeError(f"modalities is a list such as [{modalities!r}], not a string.")
    chosen = tuple(dict.fromkeys(modalities))
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise InputError(f"modalities are some of {list(known)}, got {list(chosen)}.")
    return chosen


def read_text(path: Path) -> str:
    """Read text as `decoded` understands it.

    Raises
    ------
    DatasetNotFoundError
        The file cannot be opened.
    """
    return decoded(read_bytes(path))[0]


def read_bytes(path: Path) -> bytes:
    """Return what a file holds.

    Raises
    ------
    DatasetNotFoundError
        The file cannot be opened.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetNotFoundError(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def decoded(data: bytes) -> tuple[str, str]:
    """Return a text and its encoding, found by its byte order mark or by its bytes.

    It is UTF-8, UTF-16 or UTF-32, as Excel's "Unicode text", or else Windows' cp1252.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:_BEGINNING]:
        # Of Latin letters every second byte is zero.
        even, odd = data[:_BEGINNING:2].count(0), data[1:_BEGINNING:2].count(0)
        encoding = "utf-16-be" if even > odd else "utf-16-le"
    try:
        found = encoding or "utf-8-sig"
        return data.decode(found), found
    except UnicodeDecodeError:
        return data.decode(FALLBACK, errors="replace"), FALLBACK


@contextlib.contextmanager
def cells_of_any_length() -> Iterator[None]:
    """Lift the csv module's limit of 131,072 letters a cell."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_rows(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """Read a CSV file with a header; every value stays a string.

    Raises
    ------
    InputError
        A column is not there, or the file is not CSV.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        with cells_of_any_length():
            found = list(reader.fieldnames or ())
            lacking = [name for name in needed if name not in found]
            if lacking:
                raise InputError(f"{str(path)!r} has the columns {found}; it lacks {lacking}.")
            return [
                {name: value or "" for name, value in row.items() if isinstance(name, str)}
                for row in reader
            ]
    except csv.Error as error:
        # The line that fails is not counted yet.
        raise InputError(f"{str(path)!r} line {reader.line_num + 1} is not CSV: {error}") from error


def number(value: str | None) -> float | None:
    """Return a finite number, or None where there is none."""
    try:
        found = float(value or "")
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
