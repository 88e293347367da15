"""Files that claim more than they hold, written byte by byte."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def png(width: int, height: int, *, n_rows: int | None = None) -> bytes:
    """Return a black picture, of which only some rows may be there."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    body = b"".join(packer.compress(row) for _ in range(height if n_rows is None else n_rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def gif(n_frames: int, width: int = 2, height: int = 2) -> bytes:
    """Return an animation of 23 bytes for each frame."""
    frame = b"\x21\xf9\x04\0\x04\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + (frame + b"\x02\x02\x44\x01\0") * n_frames + b";"


def wav(n_claimed: int, samples: bytes) -> bytes:
    """Return mono 16-bit sound at 8 kHz whose header claims a number of bytes."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    claimed = struct.pack("<I", n_claimed)
    return b"RIFF" + claimed + b"WAVEfmt " + form + b"data" + claimed + samples


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box of an MP4 file."""
    content = b"".join(parts)
    return struct.pack(">I", len(content) + 8) + kind + content


def full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    """Return a box with version and flags."""
    return box(kind, struct.pack(">I", flags), *parts)


def mp4(
    n_claimed: int,
    *,
    size: tuple[int, int] = (64, 64),
    content: bytes = bytes(1000),
    sample_size: int = 1,
    codec: bytes = b"mp4v",
    n_edits: int = 0,
    n_tracks: int = 1,
) -> bytes:
    """Return a video whose tables claim a number of frames of one size in bytes."""
    head = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
    place = len(head) + 8
    track = _track(n_claimed, size, sample_size, codec, place, n_edits)
    movie = box(b"moov", _movie_header(), track * n_tracks)
    return head + box(b"mdat", content) + movie


def fragmented_mp4(n_claimed: int) -> bytes:
    """Return a fragment that claims frames without a byte for any of them."""
    head = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
    extends = box(b"mvex", full_box(b"trex", struct.pack(">5I", 1, 1, 1, 1, 0)))
    movie = box(b"moov", _movie_header(), _track(0, (64, 64), 0, b"mp4v", 0, 0), extends)
    run = full_box(b"trun", struct.pack(">Ii", n_claimed, 100), flags=1)
    track = box(b"traf", full_box(b"tfhd", struct.pack(">I", 1), flags=0x20000), run)
    fragment = box(b"moof", full_box(b"mfhd", struct.pack(">I", 1)), track)
    return head + movie + fragment + box(b"mdat", bytes(1000))


def _movie_header() -> bytes:
    times = struct.pack(">IIIIIH", 0, 0, 1000, 1000, 0x10000, 0x100)
    return full_box(b"mvhd", times, bytes(10), _MATRIX, bytes(24), struct.pack(">I", 2))


def _track(
    n: int, size: tuple[int, int], n_bytes: int, codec: bytes, place: int, n_edits: int
) -> bytes:
    width, height = size
    entry = box(
        codec,
        struct.pack(">6xH16xHHII4xH", 1, width, height, 0x480000, 0x480000, 1),
        bytes(32),
        struct.pack(">Hh", 24, -1),
    )
    tables = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1), entry),
        full_box(b"stts", struct.pack(">III", 1, n, 1)),
        full_box(b"stsc", struct.pack(">IIII", 1, 1, n, 1)),
        full_box(b"stsz", struct.pack(">II", n_bytes, n)),
        full_box(b"stco", struct.pack(">II", 1, place)),
    )
    reference = full_box(b"dref", struct.pack(">I", 1), full_box(b"url ", flags=1))
    info = box(b"minf", full_box(b"vmhd", bytes(8), flags=1), box(b"dinf", reference), tables)
    media = box(
        b"mdia",
        full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, min(n, 2**32 - 1), 0x55C4, 0)),
        full_box(b"hdlr", bytes(4), b"vide", bytes(12), b"v\0"),
        info,
    )
    edit = struct.pack(">IiHH", max(n - 1, 0), 0, 1, 0)
    edits = full_box(b"elst", struct.pack(">I", n_edits), edit * n_edits)
    header = full_box(b"tkhd", struct.pack(">5I", 0, 0, 1, 0, n), bytes(16), _MATRIX, bytes(8))
    return box(b"trak", header, box(b"edts", edits) if n_edits else b"", media)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a part of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(chunks: bytes) -> bytes:
    """Return a picture that says something about itself."""
    picture = png(8, 8)
    return picture[:33] + chunks + picture[33:]


def id3(entries: bytes, *, size: int | None = None) -> bytes:
    """Return the tag, of version 2.4, that a sound file begins with."""
    return b"ID3\4\0\0" + seven_bits(len(entries) if size is None else size) + entries


def seven_bits(number: int) -> bytes:
    """Return a size as ID3 writes it."""
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def with_flac_comments(flac: bytes, n: int) -> bytes:
    """Return a FLAC file with comments after its first block."""
    comment = struct.pack("<I", 3) + b"a=b"
    block = struct.pack("<II", 0, n) + comment * n
    first = bytes([flac[4] & 127]) + flac[5:42]
    return flac[:4] + first + b"\4" + len(block).to_bytes(3, "big") + block + flac[42:]


def with_riff_tags(sound: bytes, n: int) -> bytes:
    """Return a WAV file with tags before its first chunk, in lists of a thousand."""
    entries = [struct.pack("<II", 0x49494949 + i, 2) + b"a\0" for i in range(n)]
    parts = [b"INFO" + b"".join(entries[i : i + 1000]) for i in range(0, n, 1000)]
    lists = b"".join(b"LIST" + struct.pack("<I", len(part)) + part for part in parts)
    return sound[:12] + lists + sound[12:]


def with_matroska_tags(clip: bytes, n: int) -> bytes:
    """Return a Matroska file with tags before its first cluster."""
    tag = element(b"\x67\xc8", element(b"\x45\xa3", b"a") + element(b"\x44\x87", b"b"))
    tags = element(b"\x12\x54\xc3\x67", element(b"\x73\x73", element(b"\x63\xc0", b"") + tag * n))
    at = clip.index(b"\x1fC\xb6u")
    clip = clip[:at] + tags + clip[at:]
    size = clip.index(b"\x18S\x80g") + 4
    return clip[:size] + b"\x01" + b"\xff" * 7 + clip[size + 8 :]


def element(kind: bytes, content: bytes) -> bytes:
    """Return an element of a Matroska file."""
    return kind + (len(content) | 1 << 56).to_bytes(8, "big") + content


def with_mp4_tags(clip: bytes, n: int) -> bytes:
    """Return an MP4 file with tags at the end of its header."""
    keys = full_box(b"keys", struct.pack(">I", n), box(b"mdta", b"a") * n)
    values = box(
        b"ilst", box(struct.pack(">I", 1), box(b"data", struct.pack(">II", 1, 0), b"b")) * n
    )
    meta = box(b"meta", full_box(b"hdlr", bytes(4), b"mdta", bytes(13)), keys, values)
    at = clip.index(b"moov") - 4
    size = int.from_bytes(clip[at : at + 4], "big")
    end = at + size
    return clip[:at] + struct.pack(">I", size + len(meta)) + clip[at + 4 : end] + meta + clip[end:]


def matroska(
    codec: bytes,
    blocks: list[tuple[int, bytes]],
    *,
    size: tuple[int, int] | None = None,
    rate: float = 48000.0,
    private: bytes = b"",
    packed: bool = False,
) -> bytes:
    """Return a file of one track: blocks, and when they begin in milliseconds.

    It holds pictures of a size, or else 16-bit mono sound. `packed` blocks are what a
    zlib stream gives.
    """
    if size is not None:
        width, height = (struct.pack(">H", side) for side in size)
        kind, how = b"\1", element(b"\xe0", element(b"\xb0", width) + element(b"\xba", height))
    else:
        parts = element(b"\xb5", struct.pack(">d", rate)) + element(b"\x9f", b"\1")
        kind, how = b"\2", element(b"\xe1", parts + element(b"\x62\x64", b"\x10"))
    if packed:
        packing = element(b"\x50\x34", element(b"\x42\x54", b"\0"))
        how += element(b"\x6d\x80", element(b"\x62\x40", packing))
    names = element(b"\xd7", b"\1") + element(b"\x73\xc5", b"\1") + element(b"\x83", kind)
    track = names + element(b"\x86", codec) + how
    if private:
        track += element(b"\x63\xa2", private)
    tick = element(b"\x2a\xd7\xb1", struct.pack(">I", 10**6))
    info = element(
        b"\x15\x49\xa9\x66", tick + element(b"\x4d\x80", b"x") + element(b"\x57\x41", b"x")
    )
    clusters = b"".join(
        element(
            b"\x1f\x43\xb6\x75",
            element(b"\xe7", struct.pack(">I", time)) + element(b"\xa3", b"\x81\0\0\x80" + block),
        )
        for time, block in blocks
    )
    tracks = element(b"\x16\x54\xae\x6b", element(b"\xae", track))
    head = element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", b"matroska"))
    return head + element(b"\x18\x53\x80\x67", info + tracks + clusters)


def of_png(width: int, height: int) -> bytes:
    """Return what Matroska keeps of an AVI file that holds PNG pictures."""
    return struct.pack("<IiiHH4s5I", 40, width, height, 1, 24, b"MPNG", 0, 0, 0, 0, 0)


def heif(
    tiles: list[tuple[bytes, bytes]],
    tile_size: tuple[int, int],
    *,
    n_columns: int = 1,
    size: tuple[int, int] | None = None,
    turns: tuple[bytes, ...] = (),
    codec: bytes = b"hvc1",
    n_same: int = 0,
) -> bytes:
    """Return a picture of tiles, each its decoder's settings and its bytes, row by row.

    `turns` are boxes of the whole, made by `turn`, `mirror` and `clean_aperture`. Without
    a `size` the first tile is the picture; `n_same` tiles more have the bytes of the last.
    """
    places = [*range(len(tiles)), *[len(tiles) - 1] * n_same]
    width, height = size or tile_size
    grid = bytes([0, 0, len(places) // n_columns - 1, n_columns - 1])
    contents = [data for _, data in tiles] + [grid + struct.pack(">HH", width, height)]
    main = len(places) + 1 if size else 1
    shown = [full_box(b"ispe", struct.pack(">II", *part)) for part in (tile_size, (width, height))]
    properties = box(b"ipco", box(b"hvcC", tiles[0][0]), *shown, *turns)
    numbers = range(1, len(places) + 1)
    of_whole = range(4, 4 + len(turns))
    linked = {number: [1, 2] for number in numbers}
    linked |= {main: [3, *of_whole] if size else [1, 2, *of_whole]}
    entries = b"".join(
        struct.pack(">HB", number, len(found)) + bytes(found) for number, found in linked.items()
    )
    kinds = dict.fromkeys(numbers, codec) | ({main: b"grid"} if size else {})
    infos = [
        full_box(b"infe", struct.pack(">HH", number, 0), kind, b"\0", flags=2 << 24)
        for number, kind in kinds.items()
    ]
    dimg = struct.pack(f">HH{len(places)}H", main, len(places), *numbers)
    indices = [*places, len(tiles)] if size else places

    def meta(begin: int) -> bytes:
        starts = [begin + sum(map(len, contents[:index])) for index in range(len(contents))]
        rows = b"".join(
            struct.pack(">HHHII", number + 1, 0, 1, starts[index], len(contents[index]))
            for number, index in enumerate(indices)
        )
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", main)),
            full_box(b"iinf", struct.pack(">H", len(infos)), *infos),
            full_box(b"iref", box(b"dimg", dimg)) if size else b"",
            box(b"iprp", properties, full_box(b"ipma", struct.pack(">I", len(linked)), entries)),
            full_box(b"iloc", struct.pack(">HH", 0x4400, len(indices)), rows),
        )

    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    begin = len(head) + len(meta(0)) + 8
    return head + meta(begin) + box(b"mdat", *contents)


def turn(quarters: int) -> bytes:
    """Return the box that turns a picture against the clock."""
    return box(b"irot", bytes([quarters]))


def mirror(axis: int) -> bytes:
    """Return the box that exchanges top and bottom (0), or left and right (1)."""
    return box(b"imir", bytes([axis]))


def clean_aperture(width: int, height: int, right: int, down: int) -> bytes:
    """Return the box that cuts a picture about a centre that lies so far from its own."""
    return box(b"clap", struct.pack(">8i", width, 1, height, 1, right, 1, down, 1))


def tiff(picture: np.ndarray, *, tile: int | None = None, planar: bool = False) -> bytes:
    """Return an uncompressed picture in square tiles, or in one strip."""
    height, width, n = picture.shape
    planes = [picture[..., i : i + 1] for i in range(n)] if planar else [picture]
    side = tile or 0
    if tile:
        pad = ((0, -height % side), (0, -width % side), (0, 0))
        planes = [np.pad(plane, pad) for plane in planes]
        parts = [
            plane[top : top + side, left : left + side].tobytes()
            for plane in planes
            for top in range(0, height, side)
            for left in range(0, width, side)
        ]
    else:
        parts = [plane.tobytes() for plane in planes]
    starts = [8 + sum(map(len, parts[:index])) for index in range(len(parts))]
    tags = {256: [width], 257: [height], 258: [8] * n, 259: [1], 262: [2], 277: [n]}
    tags |= {284: [2 if planar else 1]}
    sizes = [len(part) for part in parts]
    if tile:
        tags |= {322: [side], 323: [side], 324: starts, 325: sizes}
    else:
        tags |= {273: starts, 278: [height], 279: sizes}
    body = b"".join(parts)
    at = 8 + len(body)
    directory, values = struct.pack("<H", len(tags)), b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            place = at + 2 + 12 * len(tags) + 4 + len(values)
            values, packed = values + packed, struct.pack("<I", place)
        directory += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    return b"II*\0" + struct.pack("<I", at) + body + directory + bytes(4) + values
