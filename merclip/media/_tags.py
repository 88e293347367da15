"""What is written about a file inside it, looked at before FFmpeg reads it.

FFmpeg keeps such entries in a list that it goes through for each new one, so that
300,000 of them take minutes; and it unpacks compressed text whole, a thousandfold.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from merclip.media._limits import MAX_TAG_BYTES, check_packing, check_tag_bytes, check_tags
from merclip.media._source import Source

_BLOCK = 2**20
_VORBIS = re.compile(rb"OpusTags|\x03vorbis")
_RIFF_INFO = re.compile(rb"LIST....INFO", re.DOTALL)
_LONGEST_MARK = 12
_MATROSKA_TAGS = re.compile(rb"\x12\x54\xc3\x67")
_MATROSKA_TAG = b"\x67\xc8"
_MATROSKA_TRACKS = b"\x16\x54\xae\x6b"
_TRACK_TYPE, _ALGORITHM, _SUBTITLES = 0x83, 0x4254, b"\x11"
_COMPRESSION = (0x6D80, 0x6240, 0x5034)
_WEIGHT_OF_TRACKS = 200
"""Of the tags that a file may have; it has one list of tracks, and here may have fifty."""
_SPAN = 2**24
"""Bytes in which they are counted: where they are further apart, there are few."""
_ID3_PACKED = 0x88
_PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}


def check_notes(source: Source) -> None:
    """Refuse a file with more, or longer, entries about itself than anyone writes.

    Raises
    ------
    DecodeError
    """
    with source.bytes() as file:
        file.seek(0)
        while (head := file.read(4))[:3] == b"ID3":
            _check_id3(head[3:] + file.read(6), file, source.name)
        look = _LOOKS.get(head)
        if look is not None:
            look(file, source.name)


def _check_id3(head: bytes, file: BinaryIO, name: str) -> None:
    """Look at a tag that a sound file begins with, and go to its end."""
    head = head.ljust(7, b"\0")
    version, size = head[0], _seven_bits(head[3:])
    check_tag_bytes(size, name)
    tag = file.read(size)
    n_name, n_head = (3, 6) if version < 3 else (4, 10)
    number = _seven_bits if version >= 4 else partial(int.from_bytes, byteorder="big")
    n_entries = n_bytes = at = 0
    while at + n_head <= len(tag) and tag[at]:
        length = number(tag[at + n_name : at + 2 * n_name])
        begin = at + n_head
        if n_name == 4 and tag[at + 9] & _ID3_PACKED:
            n_bytes += number(tag[begin : begin + 4])
        at = begin + length
        n_entries += 1
    check_tag_bytes(n_bytes, name)
    check_tags(n_entries, name)


def _seven_bits(data: bytes) -> int:
    number = 0
    for part in data:
        number = number << 7 | part & 127
    return number


def _check_png(file: BinaryIO, name: str) -> None:
    file.seek(8)
    n_texts = n_bytes = 0
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in _PNG_TEXTS:
            file.seek(size + 4, 1)
            continue
        check_tag_bytes(n_bytes + size, name)
        n_texts += 1
        n_bytes += _unpacked(file.read(size), kind)
        check_tag_bytes(n_bytes, name)
        check_tags(n_texts, name)
        file.seek(4, 1)


def _unpacked(data: bytes, kind: bytes) -> int:
    """Return how many bytes a text takes; just more than allowed if it is longer."""
    _, _, rest = data.partition(b"\0")
    if kind == b"iTXt" and rest[:1] == b"\1":
        *_, rest = rest[2:].split(b"\0", 2)
    elif kind in (b"zTXt", b"iCCP"):
        rest = rest[1:]
    else:
        return len(data)
    try:
        return len(zlib.decompressobj().decompress(rest, MAX_TAG_BYTES + 1))
    except zlib.error:
        return len(data)


def _check_flac(file: BinaryIO, name: str) -> None:
    while len(head := file.read(4)) == 4:
        if head[0] & 127 == 4:
            check_tags(_vorbis_comments(file.read(int.from_bytes(head[1:], "big"))), name)
        else:
            file.seek(int.from_bytes(head[1:], "big"), 1)
        if head[0] & 128:
            return


def _check_ogg(file: BinaryIO, name: str) -> None:
    for text in _found(file, _VORBIS, _BLOCK):
        check_tags(_vorbis_comments(text), name)


def _vorbis_comments(data: bytes) -> int:
    """Return how many comments a header claims; they follow upon the writer's name."""
    begin = 4 + int.from_bytes(data[:4], "little")
    return min(int.from_bytes(data[begin : begin + 4], "little"), len(data) // 4)


def _check_matroska(file: BinaryIO, name: str) -> None:
    for tracks in _every(file, _MATROSKA_TRACKS, name):
        check_packing(_is_packed(tracks), name)
    file.seek(0)
    for tags in _found(file, _MATROSKA_TAGS, _SPAN):
        check_tags(tags.count(_MATROSKA_TAG), name)


def _every(file: BinaryIO, mark: bytes, name: str) -> Iterator[bytes]:
    """Yield what each element of Matroska holds that begins with a mark."""
    n_found = begin = 0
    while True:
        file.seek(begin)
        block = file.read(_BLOCK)
        for match in re.finditer(re.escape(mark), block):
            n_found += 1
            check_tags(n_found * _WEIGHT_OF_TRACKS, name)
            file.seek(begin + match.end())
            yield next((part for _, part in _elements(mark + file.read(_SPAN))), b"")
        if len(block) < _BLOCK:
            return
        begin += _BLOCK - len(mark)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of Matroska in some bytes: their kinds and what they hold."""
    at = 0
    while at < len(data):
        n_kind = 9 - data[at].bit_length()
        kind, at = int.from_bytes(data[at : at + n_kind], "big"), at + n_kind
        if n_kind > 4 or at >= len(data):
            return
        n_size = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + n_size], "big") & (1 << 7 * n_size) - 1
        at += n_size
        yield kind, data[at : at + size]
        at += size


def _inside(data: bytes, *path: int) -> Iterator[bytes]:
    """Yield what the elements at the end of a path hold."""
    for kind, part in _elements(data):
        if kind == path[0]:
            yield from _inside(part, *path[1:]) if len(path) > 1 else (part,)


def _is_packed(tracks: bytes) -> bool:
    """Tell whether blocks of pictures or sound are compressed: zlib packs a thousandfold."""
    for _, track in _elements(tracks):
        is_text = set(_inside(track, _TRACK_TYPE)) == {_SUBTITLES}
        for compression in _inside(track, *_COMPRESSION):
            # Without a number it is zlib; 3 only leaves out what all blocks begin with.
            ways = {int.from_bytes(way, "big") for way in _inside(compression, _ALGORITHM)}
            if ways != {3} and not is_text:
                return True
    return False


def _check_riff(file: BinaryIO, name: str) -> None:
    for data in _found(file, _RIFF_INFO, _SPAN):
        n_chunks = at = 0
        while at + 8 <= len(data):
            kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            at += 12 if kind == b"LIST" else 8 + size + size % 2
            n_chunks += any(kind)
            check_tags(n_chunks, name)


def _found(file: BinaryIO, mark: re.Pattern[bytes], size: int) -> Iterator[bytes]:
    """Yield what follows upon the first mark in each part of a file."""
    while block := file.read(_BLOCK):
        end = file.tell()
        match = mark.search(block)
        if match is not None:
            yield block[match.end() :] + file.read(size)
        # Marks may lie across two parts.
        file.seek(end - _LONGEST_MARK if len(block) == _BLOCK else end)


_LOOKS: dict[bytes, Callable[[BinaryIO, str], None]] = {
    b"\x89PNG": _check_png,
    b"fLaC": _check_flac,
    b"OggS": _check_ogg,
    b"RIFF": _check_riff,
    b"RF64": _check_riff,
    b"\x1aE\xdf\xa3": _check_matroska,
}
