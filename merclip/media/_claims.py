"""What the tables of an MP4 file claim, added up before FFmpeg makes room for it.

A table of 20 bytes can claim 10^9 frames, for each of which FFmpeg takes 24 bytes and
more while it opens the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from merclip.media._limits import check_packets, check_tables, check_tags
from merclip.media._source import Source

_BOXES = {
    *(b"moov", b"hoov", b"moof", b"trak", b"traf", b"mdia", b"minf", b"stbl", b"edts", b"mvex"),
    *(b"udta", b"meta", b"sinf", b"schi", b"wave", b"dinf", b"tref", b"ilst", b"cmov"),
    *(b"stsz", b"stz2", b"stts", b"hdlr", b"trun", b"elst"),
}
"""What FFmpeg looks into, wherever it stands; it goes past everything else."""
_TABLE = re.compile(rb"stsz|stz2|stts|hdlr|trun|elst")
_TAG = b"data"
_SOUND = int.from_bytes(b"soun", "big")
_OTHERS = {int.from_bytes(kind, "big") for kind in (b"vide", b"subp", b"clcp")}
_USUAL_EDITS = 8
_SAMPLES_IN_PACKET = 1024


def check_claims(source: Source) -> None:
    """Refuse a file, of any format, whose tables claim more frames than a file may have.

    Raises
    ------
    DecodeError
    """
    n_bytes = n_claimed = 0
    with source.bytes() as file:
        for size in _boxes(file):
            n_bytes += size
            check_tables(n_bytes, source.name)
            tables = file.read(size)
            n_claimed += claimed(tables)
            check_packets(n_claimed, source.name)
            check_tags(tables.count(_TAG), source.name)


def claimed(tables: bytes) -> int:
    """Return how many frames and packets of sound the tables of a box promise."""
    return sum(map(_claimed_by_track, tables.split(b"trak")))


def _boxes(file: BinaryIO) -> Iterator[int]:
    """Yield the size of each box that has tables, with the file at its type."""
    file.seek(0, 2)
    end = file.tell()
    begin = 0
    while begin + 8 <= end:
        file.seek(begin)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        elif size == 0:
            size = end - begin
        if size < 8:
            return
        if kind in _BOXES:
            file.seek(begin + 4)
            yield min(size, end - begin) - 4
        begin += size


def _claimed_by_track(tables: bytes) -> int:
    n_frames, n_edits = 0, 1
    kinds: set[int] = set()
    durations: set[tuple[int, int]] = set()
    for match in _TABLE.finditer(tables):
        first, second, third = _numbers(tables, match.end() + 4)
        kind = match.group()
        if kind in (b"stsz", b"stz2"):
            n_frames += second
        elif kind == b"trun":
            n_frames += first
        elif kind == b"elst":
            n_edits += first if first > _USUAL_EDITS else 0
        elif kind == b"stts":
            durations.add((first, third))
        else:
            kinds.add(second)
    # FFmpeg makes packets of plain sound, in which each sample is a frame.
    if durations == {(1, 1)} and _SOUND in kinds and not kinds & _OTHERS:
        n_frames //= _SAMPLES_IN_PACKET
    return n_frames * n_edits


def _numbers(tables: bytes, begin: int) -> tuple[int, int, int]:
    places = range(begin, begin + 12, 4)
    first, second, third = (int.from_bytes(tables[i : i + 4], "big") for i in places)
    return first, second, third
