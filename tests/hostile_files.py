"""Files that claim more than they hold, written byte by byte."""

from __future__ import annotations

import struct
import zlib

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
