"""HEIF pictures (HEIC, AVIF): their tiles put together, cut and turned as the file says.

FFmpeg takes each tile for a stream of its own, and reads at most `MAX_STREAMS` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import av
import numpy as np

from merclip.errors import DecodeError
from merclip.media._limits import MAX_PIXELS, check_area, most_of_still
from merclip.media._pixels import Look, to_rgb
from merclip.media._source import Source
from merclip.types import ByteArray

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif", b"miaf", b"MiHE"}
"""Of files that are one picture; those with a sequence of them have a video track."""
_DECODERS = {b"hvc1": ("hevc", b"hvcC"), b"av01": ("libdav1d", b"av1C")}
_MOST_ITEMS = 20_000
_MOST_META = 2**22
"""Bytes of what is said of all items; a picture of 200 tiles has 20,000."""
_PADDING = 64
"""Pixels by which a codec's blocks may reach beyond a picture."""

Extents = list[tuple[int, int]]
_Numbered = tuple[int, ByteArray]


@dataclass
class _Item:
    kind: bytes = b""
    extents: Extents = field(default_factory=list)
    in_meta: bool = False
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)

    def property(self, kind: bytes) -> bytes | None:
        return next((data for found, data in self.properties if found == kind), None)


def is_heif(head: bytes) -> bool:
    """Tell whether a file begins as one that holds a picture."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def read_heif(source: Source) -> ByteArray:
    """Return the main picture of a HEIF file as upright RGB of shape (H, W, 3).

    Raises
    ------
    DecodeError
        The file is broken, claims too much, or uses what is not known here.
    """
    with source.bytes() as file:
        try:
            return _Picture(file, source.name).read()
        except (IndexError, KeyError, StopIteration, ZeroDivisionError) as error:
            raise DecodeError(
                f"{source.name!r} is a broken HEIF file: save the picture anew, as JPEG or PNG."
            ) from error


class _Picture:
    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._n_bytes = file.seek(0, 2)
        self._meta = _Bytes(self._find_meta())
        self._idat = b""
        self._main = -1
        self._items: dict[int, _Item] = {}
        self._parse()

    def read(self) -> ByteArray:
        item = self._items[self._main]
        turns = item.properties
        while item.kind == b"iden":
            (part,) = item.parts
            if part == self._main or self._items[part].kind == b"iden":
                raise KeyError
            item = self._items[part]
            turns = [*item.properties, *turns]
        if item.kind == b"grid":
            picture = self._grid(item)
        else:
            picture = self._decoded([item], *_size(item))
        for kind, data in turns:
            picture = _TRANSFORMS.get(kind, _unchanged)(picture, data)
        if not picture.size:
            raise KeyError
        return np.ascontiguousarray(picture)

    def _grid(self, item: _Item) -> ByteArray:
        data = _Bytes(self._content(item))
        data.skip(1)
        wide = data.number(1) & 1
        n_rows, n_columns = data.number(1) + 1, data.number(1) + 1
        width, height = data.number(4 if wide else 2), data.number(4 if wide else 2)
        tiles = [self._items[part] for part in item.parts]
        if len(tiles) != n_rows * n_columns:
            raise KeyError
        return self._decoded(tiles, width, height, n_columns)

    def _decoded(
        self, tiles: list[_Item], width: int, height: int, n_columns: int = 1
    ) -> ByteArray:
        """Return tiles, which lie row by row, as one picture."""
        across, down = _size(tiles[0])
        n_rows = len(tiles) // n_columns
        most = most_of_still(self._n_bytes)
        check_area(width, height, self._name, most)
        check_area(across * n_columns, down * n_rows, self._name, most)
        if not (0 < width <= across * n_columns and 0 < height <= down * n_rows):
            raise KeyError
        if any(_size(tile) != (across, down) for tile in tiles):
            raise KeyError
        if sum(n for tile in tiles for _, n in tile.extents) > self._n_bytes:
            raise KeyError  # the same bytes for many tiles
        picture = np.zeros((height, width, 3), np.uint8)
        n_found = 0
        for index, tile in self._tiles(tiles, across, down):
            top, left = index // n_columns * down, index % n_columns * across
            part = picture[top : top + down, left : left + across]
            part[:] = tile[: part.shape[0], : part.shape[1]]
            n_found += 1
        if n_found < len(tiles):
            raise DecodeError(
                f"Only {n_found} of the {len(tiles)} tiles of {self._name!r} can be decoded: save "
                "the picture anew, as JPEG or PNG."
            )
        return picture

    def _tiles(self, tiles: list[_Item], width: int, height: int) -> Iterator[_Numbered]:
        """Yield the tiles' numbers and pictures as they come out of the decoder."""
        kind, decoder, colour = tiles[0].kind, None, tiles[0].property(b"colr")
        if kind not in _DECODERS:
            raise DecodeError(
                f"{self._name!r} is a HEIF picture of the kind {kind.decode('latin-1')!r}, which "
                "is not known here: save it anew, as JPEG or PNG."
            )
        codec, setting = _DECODERS[kind]
        before: bytes | None = None
        for index, tile in enumerate(tiles):
            extra = tile.property(setting)
            if decoder is None or extra != before:
                if decoder is not None:
                    yield from _pictures(decoder, None, width, height, codec, colour)
                decoder, before = _decoder(codec, extra or b"", width, height), extra
            packet = av.Packet(self._content(tile))
            packet.pts = packet.dts = index
            yield from _pictures(decoder, packet, width, height, codec, colour)
        if decoder is not None:
            yield from _pictures(decoder, None, width, height, codec, colour)

    def _content(self, item: _Item) -> bytes:
        if sum(n for _, n in item.extents) > self._n_bytes:
            raise KeyError
        if item.in_meta:
            return b"".join(self._idat[begin : begin + n] for begin, n in item.extents)
        pieces = []
        for begin, n in item.extents:
            self._file.seek(begin)
            pieces.append(self._file.read(n))
        return b"".join(pieces)

    def _find_meta(self) -> bytes:
        at = 0
        while at + 8 <= self._n_bytes:
            self._file.seek(at)
            head = self._file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            n_head = 8
            if size == 1:
                size, n_head = int.from_bytes(head[8:16], "big"), 16
            size = size or self._n_bytes - at
            if kind == b"meta":
                if size > _MOST_META:
                    raise KeyError
                self._file.seek(at + n_head)
                return self._file.read(size - n_head)[4:]
            at += max(size, 8)
        raise KeyError

    def _parse(self) -> None:
        boxes = dict(_boxes(self._meta))
        self._idat = bytes(boxes.get(b"idat", _Bytes(b"")).rest())
        data = boxes[b"pitm"]
        self._main = data.number(2 if data.full()[0] == 0 else 4)
        self._parse_kinds(boxes[b"iinf"])
        self._parse_places(boxes[b"iloc"])
        if b"iref" in boxes:
            self._parse_parts(boxes[b"iref"])
        self._parse_properties(boxes[b"iprp"])

    def _parse_kinds(self, data: _Bytes) -> None:
        data.skip(2 if data.full()[0] == 0 else 4)
        for kind, entry in _boxes(data):
            version = entry.full()[0]
            if kind == b"infe" and version >= 2:
                number = entry.number(2 if version == 2 else 4)
                entry.skip(2)
                self._items[number] = _Item(entry.take(4))
            if len(self._items) > _MOST_ITEMS:
                raise KeyError

    def _parse_places(self, data: _Bytes) -> None:
        version, _ = data.full()
        sizes = data.number(2)
        n_offset, n_length = sizes >> 12, sizes >> 8 & 15
        n_base, n_index = sizes >> 4 & 15, sizes & 15 if version else 0
        n_id = 2 if version < 2 else 4
        n_extents = 0
        for _ in range(data.number(n_id)):
            item = self._items.get(data.number(n_id), _Item())
            method = data.number(2) & 15 if version else 0
            if method > 1:
                item.kind = b"????"  # made of another item's bytes
            item.in_meta = method == 1
            data.skip(2)
            base = data.number(n_base)
            for _ in range(data.number(2)):
                data.skip(n_index)
                begin, n = base + data.number(n_offset), data.number(n_length)
                # Without a length it is all that follows.
                item.extents.append((begin, n or max(self._n_bytes - begin, 0)))
                n_extents += 1
                if n_extents > _MOST_ITEMS:
                    raise KeyError

    def _parse_parts(self, data: _Bytes) -> None:
        n_id = 2 if data.full()[0] == 0 else 4
        for kind, entry in _boxes(data):
            number = entry.number(n_id)
            parts = [entry.number(n_id) for _ in range(entry.number(2))]
            if kind == b"dimg" and number in self._items:
                self._items[number].parts = parts

    def _parse_properties(self, data: _Bytes) -> None:
        boxes = list(_boxes(data))
        known = [(kind, bytes(p.rest())) for kind, p in _boxes(dict(boxes)[b"ipco"])]
        for links in (entry for kind, entry in boxes if kind == b"ipma"):
            version, flags = links.full()
            n_id, n_link = 2 if version < 1 else 4, 2 if flags & 1 else 1
            for _ in range(links.number(4)):
                item = self._items.get(links.number(n_id), _Item())
                for _ in range(links.number(1)):
                    place = links.number(n_link) & (0x7FFF if n_link == 2 else 0x7F)
                    if place:
                        item.properties.append(known[place - 1])


class _Bytes:
    """Numbers and boxes out of bytes; an IndexError at their end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    def take(self, n: int) -> bytes:
        if n < 0 or self._at + n > len(self._data):
            raise IndexError
        self._at += n
        return bytes(self._data[self._at - n : self._at])

    def skip(self, n: int) -> None:
        self.take(n)

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "big")

    def full(self) -> tuple[int, int]:
        """Return version and flags."""
        return self.number(1), self.number(3)

    def rest(self) -> memoryview:
        return self._data[self._at :]


def _boxes(data: _Bytes) -> Iterator[tuple[bytes, _Bytes]]:
    rest = data.rest()
    at = 0
    while at + 8 <= len(rest):
        size, kind = int.from_bytes(rest[at : at + 4], "big"), bytes(rest[at + 4 : at + 8])
        size = size or len(rest) - at
        if size < 8:
            raise IndexError
        yield kind, _Bytes(rest[at + 8 : at + size])
        at += size


def _size(item: _Item) -> tuple[int, int]:
    """Return width and height."""
    data = _Bytes(item.property(b"ispe") or b"")
    data.full()
    return data.number(4), data.number(4)


def _decoder(codec: str, extra: bytes, width: int, height: int) -> Any:
    decoder: Any = av.CodecContext.create(codec, "r")
    decoder.extradata = extra
    decoder.thread_type = "AUTO"
    most = min(MAX_PIXELS, (width + _PADDING) * (height + _PADDING))
    decoder.options = {"max_pixels": str(most)}
    return decoder


def _pictures(
    decoder: Any, packet: Any, width: int, height: int, codec: str, colour: bytes | None
) -> Iterator[_Numbered]:
    try:
        frames = decoder.decode(packet)
    except av.FFmpegError:
        return
    for frame in frames:
        if (frame.width, frame.height) != (width, height):
            continue
        look = Look(codec, 1.0, int(decoder.color_trc or 0), int(decoder.color_primaries or 0))
        if colour is not None and colour[:4] == b"nclx" and len(colour) >= 11:
            # What the file says goes before what the codec does.
            data = _Bytes(colour[4:])
            primaries, transfer, frame.colorspace = (data.number(2) for _ in range(3))
            frame.color_range = 2 if data.number(1) >> 7 else 1
            look = Look(codec, 1.0, transfer, primaries)
        yield int(frame.pts), to_rgb(frame, look)


def _unchanged(picture: ByteArray, _: bytes) -> ByteArray:
    return picture


def _turned(picture: ByteArray, data: bytes) -> ByteArray:
    return np.rot90(picture, data[0] & 3)


def _mirrored(picture: ByteArray, data: bytes) -> ByteArray:
    return picture[:, ::-1] if data[0] & 1 else picture[::-1]


def _cut(picture: ByteArray, data: bytes) -> ByteArray:
    """Return the part about a centre that lies so far from the picture's own."""
    numbers = np.frombuffer(data[:32], ">i4").astype(float)
    width, height, right, down = numbers[::2] / numbers[1::2]
    n_rows, n_columns = picture.shape[:2]
    left = round((n_columns - width) / 2 + right)
    top = round((n_rows - height) / 2 + down)
    if left < 0 or top < 0 or width < 1 or height < 1:
        raise KeyError
    return picture[top : top + round(height), left : left + round(width)]


_TRANSFORMS: dict[bytes, Callable[[ByteArray, bytes], ByteArray]] = {
    b"irot": _turned,
    b"imir": _mirrored,
    b"clap": _cut,
}
