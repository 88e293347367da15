"""Files that claim more than they hold are refused, or cost no more than others."""

from __future__ import annotations

import gc
import io
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hostile_files import (
    fragmented_mp4,
    gif,
    id3,
    matroska,
    mp4,
    of_png,
    png,
    png_chunk,
    png_with,
    seven_bits,
    wav,
    with_flac_comments,
    with_matroska_tags,
    with_mp4_tags,
    with_riff_tags,
)
from media_files import clip_bytes, tone, write_clip, write_sound

from merclip.errors import DecodeError, MediaTypeError
from merclip.media import _frames, read_media
from merclip.media._claims import claimed

needs_decoder_options = pytest.mark.skipif(
    int(av.__version__.split(".")[0]) < 18, reason="this PyAV cannot limit FFmpeg's first look"
)


@pytest.mark.parametrize(
    "content",
    [
        png(50_000, 50_000, n_rows=1),
        gif(2, 50_000, 50_000),
        mp4(10, size=(50_000, 50_000)),
        pytest.param(png(9_000, 9_000, n_rows=1), marks=needs_decoder_options),
    ],
    ids=["png", "gif", "mp4", "png of 81 megapixels"],
)
def test_huge_pictures_are_refused(content: bytes) -> None:
    with pytest.raises(DecodeError, match="megapixels"):
        read_media(content)


def test_frames_of_a_video_have_a_lower_limit_than_a_picture() -> None:
    with pytest.raises(DecodeError, match="8000x8000 pixels, more than 36 megapixels"):
        read_media(gif(2, 8_000, 8_000))


@pytest.mark.parametrize(
    "content",
    [mp4(10**9), fragmented_mp4(10**9), mp4(10**5, n_edits=10**4), mp4(10**6, n_tracks=10)],
    ids=["sample table", "fragment", "edit list", "tracks"],
)
def test_a_billion_claimed_frames_are_refused_before_room_is_made(content: bytes) -> None:
    with pytest.raises(DecodeError, match=r"claims at least 1\d* frames.*more than the 4194304"):
        read_media(content)


def test_claims_of_honest_files_are_their_packets(tmp_path: Path) -> None:
    plain = clip_bytes(video={"n": 25}, sound={"rate": 16000, "samples": tone(1.0, 16000)})
    with av.open(write_clip(str(tmp_path / "clip.mp4"))) as container:
        n_packets = sum(packet.size > 0 for packet in container.demux())
    assert claimed((tmp_path / "clip.mp4").read_bytes()) == n_packets
    assert 25 < claimed(plain) < 50
    # Of plain sound each sample is a frame, of which FFmpeg makes packets.
    sound = write_sound(str(tmp_path / "long.mov"), samples=tone(20.0, 44100), rate=44100)
    assert claimed(Path(sound).read_bytes()) == 44100 * 20 // 1024
    assert read_media(sound).sound is not None


def test_many_streams_are_refused() -> None:
    with pytest.raises(DecodeError, match="more than 64 streams"):
        read_media(mp4(10, n_tracks=1000))


def test_a_long_animation_and_a_long_lie_are_read_in_little_time() -> None:
    found = read_media(gif(10_000))
    assert found.frames is not None
    assert found.frames.shape == (12, 2, 2, 3)
    sound = read_media(wav(2**32 - 1, b"\1\2" * 4000)).sound
    assert sound is not None
    assert len(sound) == 8000


def _mp3(tag: bytes) -> bytes:
    sound = {"samples": tone(0.3, 48000), "rate": 48000}
    return tag + write_sound(io.BytesIO(), "mp3", format="mp3", **sound).getvalue()


def _id3_entry(kind: bytes, data: bytes, flags: int = 0) -> bytes:
    return kind + seven_bits(len(data)) + struct.pack(">H", flags) + data


_FLAC = {"codec": "flac", "format": "flac", "samples": tone(0.3, 16000), "rate": 16000}
_TAGGED = {
    "png": lambda n: png_with(png_chunk(b"tEXt", b"a\0b") * n),
    "flac": lambda n: with_flac_comments(write_sound(io.BytesIO(), **_FLAC).getvalue(), n),
    "wav": lambda n: with_riff_tags(wav(400, bytes(400)), n),
    "mkv": lambda n: with_matroska_tags(clip_bytes("matroska", video={"n": 8}), n),
    "mp4": lambda n: with_mp4_tags(clip_bytes("mp4", video={"n": 8}), n),
    "mp3": lambda n: _mp3(id3(_id3_entry(b"TXXX", b"\3a\0b") * n)),
    "mp3 with two tags": lambda n: _mp3(id3(b"") + id3(_id3_entry(b"TXXX", b"\3a\0b") * n)),
}


@pytest.mark.parametrize("kind", _TAGGED)
def test_many_tags_are_refused_and_a_hundred_are_read(kind: str) -> None:
    with pytest.raises(DecodeError, match="tags, more than 10000: remove them"):
        read_media(_TAGGED[kind](20_000))
    found = read_media(_TAGGED[kind](100))
    assert found.frames is not None or found.sound is not None


def test_many_comments_of_an_ogg_file_are_refused() -> None:
    sound = {"samples": tone(0.3, 48000), "rate": 48000}
    content = write_sound(io.BytesIO(), "libopus", format="ogg", **sound).getvalue()
    assert read_media(content).sound is not None
    begin = content.index(b"OpusTags") + 8
    begin += 4 + int.from_bytes(content[begin : begin + 4], "little")
    many = content[:begin] + struct.pack("<I", 20_000) + bytes(200_000) + content[begin + 4 :]
    with pytest.raises(DecodeError, match="20000 or more tags"):
        read_media(many)


_PACKED = zlib.compress(bytes(70 * 2**20), 1)


@pytest.mark.parametrize(
    "content",
    [
        png_with(png_chunk(b"zTXt", b"a\0\0" + _PACKED)),
        png_with(png_chunk(b"iTXt", b"a\0\1\0\0\0" + _PACKED)),
        png_with(png_chunk(b"iCCP", b"a\0\0" + _PACKED)),
        b"ID3\4\0\0" + seven_bits(70 * 2**20),
        id3(_id3_entry(b"TIT2", seven_bits(70 * 2**20) + _PACKED, 0x09)),
    ],
    ids=["zTXt", "iTXt", "iCCP", "ID3", "packed ID3"],
)
def test_long_tags_are_refused_before_they_are_unpacked(content: bytes) -> None:
    with pytest.raises(DecodeError, match="tags of more than 64 MiB"):
        read_media(content)


def test_short_tags_are_read() -> None:
    text = zlib.compress(b"hello " * 1000)
    chunks = png_chunk(b"zTXt", b"a\0\0" + text) + png_chunk(b"iTXt", b"a\0\1\0\0\0" + text)
    assert read_media(png_with(chunks)).frames is not None


@pytest.mark.parametrize("profile", [b"x", zlib.compress(bytes(3000))])
def test_a_png_with_a_colour_profile_does_not_end_the_process(profile: bytes) -> None:
    # The profile's name was freed twice, for most but not all sizes of the heap.
    content = png_with(png_chunk(b"iCCP", b"a" * 60 + b"\0\0" + profile))
    for _ in range(20):
        frames = read_media(content).frames
        assert frames is not None and not frames.any()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
class TestWhatIsNoFile:
    def test_a_pipe_to_which_nobody_writes(self, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setattr("merclip.media._source._PATIENCE", 0.05)
        os.mkfifo(tmp_path / "x.mp4")
        with pytest.raises(DecodeError, match=r"x\.mp4' is a pipe that gave nothing"):
            read_media(tmp_path / "x.mp4")

    def test_a_pipe_is_read_as_it_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "x.mp4"
        content = clip_bytes(video={"n": 25})
        os.mkfifo(path)

        def write() -> None:
            with open(path, "wb", buffering=0) as file:
                file.write(content[:500])
                time.sleep(0.1)
                file.write(content[500:])

        writer = threading.Thread(target=write)
        writer.start()
        found = read_media(path).frames
        writer.join()
        np.testing.assert_array_equal(found, read_media(content).frames)

    def test_a_stream_without_end(self, monkeypatch: Any) -> None:
        class Endless(io.RawIOBase):
            def read(self, n: int = -1) -> bytes:
                return bytes(max(n, 0))

        monkeypatch.setattr("merclip.media._limits.MAX_SPOOLED", 2**22)
        with pytest.raises(DecodeError, match="gives more than 4 MiB"):
            read_media(Endless())

    def test_devices_and_sockets(self, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "zero.mp4").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.mp4")
            for name in ("zero.mp4", "socket.mp4"):
                with pytest.raises(MediaTypeError, match=f"'{name}' is a device or a socket"):
                    read_media(name)


@pytest.mark.parametrize("kind", ["sound", "pictures"])
def test_packets_that_a_container_packs_are_refused_before_they_are_unpacked(kind: str) -> None:
    block = zlib.compress(bytes(9_000_000), 9)
    blocks = [(1000 * i, block) for i in range(60)]
    how = {"size": (64, 48), "private": of_png(64, 48)} if kind == "pictures" else {}
    codec = b"V_MS/VFW/FOURCC" if kind == "pictures" else b"A_PCM/INT/LIT"
    begin = time.process_time()
    with pytest.raises(DecodeError, match="compressed once more by the container"):
        read_media(matroska(codec, blocks, packed=True, **how))
    assert time.process_time() - begin < 1
    plain = read_media(matroska(b"A_PCM/INT/LIT", [(0, bytes(96_000))]))
    assert plain.sound is not None and len(plain.sound) == 16_000


def test_of_pictures_without_references_only_those_wanted_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded = []
    original = _frames.check_size
    monkeypatch.setattr(_frames, "check_size", lambda *a: decoded.append(1) or original(*a))
    blocks = [(40 * i, png(64, 48)) for i in range(100)]
    content = matroska(b"V_MS/VFW/FOURCC", blocks, size=(64, 48), private=of_png(64, 48))
    frames = read_media(content).frames
    assert frames is not None and frames.shape == (12, 48, 64, 3)
    assert len(decoded) == 12


def test_large_frames_of_few_bytes_are_refused() -> None:
    blocks = [(40 * i, png(4000, 4000)) for i in range(12)]
    content = matroska(b"V_MS/VFW/FOURCC", blocks, size=(4000, 4000), private=of_png(4000, 4000))
    with pytest.raises(DecodeError, match="4000x4000 pixels, more than 9 megapixels"):
        read_media(content)


def test_work_and_memory_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merclip.media._limits.MIN_DECODED_PIXELS", 2**20)
    monkeypatch.setattr("merclip.media._limits.DECODED_DENSITY", 2**6)
    with pytest.raises(DecodeError, match="one after another"):
        read_media(gif(2_000, 100, 100))
    monkeypatch.setattr("merclip.media._limits.MIN_KEPT_PIXELS", 12 * 24 * 32)
    monkeypatch.setattr("merclip.media._limits.KEPT_DENSITY", 0)
    frames = read_media(clip_bytes(video={"n": 50})).frames
    assert frames is not None and frames.shape == (12, 24, 32, 3)


def test_threads_are_fewer_where_pictures_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_frames, "MAX_DECODER_BYTES", 3 * 4 * 64 * 48)
    counts = []
    original = _frames._video_stream

    def spy(*arguments: Any) -> Any:
        stream = original(*arguments)
        counts.append(stream.codec_context.thread_count)
        return stream

    monkeypatch.setattr(_frames, "_video_stream", spy)
    monkeypatch.setattr(_frames.os, "cpu_count", lambda: 64)
    read_media(clip_bytes(video={"n": 10}), want_sound=False)
    assert counts and set(counts) == {3}


def test_gaps_in_sound_cost_no_more_than_sound() -> None:
    blocks = [(1060 * i, b"\1\2\3\4" * 1000) for i in range(300)]
    for rate in (999_983.0, 44_100.0):
        begin = time.process_time()
        found = read_media(matroska(b"A_PCM/INT/LIT", blocks, rate=rate), max_sound_blocks=None)
        assert time.process_time() - begin < 4
        assert found.sound is not None
        assert len(found.sound) == pytest.approx(300 * 2000 / rate * 16_000, abs=300)


def test_a_sound_that_is_never_of_one_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merclip.media._sound._MOST_FORMATS", 1)
    parts = [
        write_sound(
            io.BytesIO(), "mp3", format="mp3", samples=tone(1.0, rate), rate=rate
        ).getvalue()
        for rate in (48000, 32000)
    ]
    with pytest.raises(DecodeError, match="changes its rate or its channels"):
        read_media(b"".join(parts))


def test_work_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    content = clip_bytes(video={"n": 50})
    monkeypatch.setattr("merclip.media._limits.MAX_DECODED_PIXELS", 48 * 64 * 5)
    with pytest.raises(DecodeError, match="one after another: cut it into parts"):
        read_media(content, want_sound=False)
    monkeypatch.setattr("merclip.media._limits.MAX_DECODED_SAMPLES", 10_000)
    with pytest.raises(DecodeError, match="million samples: cut it into parts"):
        read_media(content, want_video=False)
    monkeypatch.setattr("merclip.media._limits.MAX_PACKETS", 20)
    with pytest.raises(DecodeError, match="more than the 20 that are read"):
        read_media(gif(30))


def test_many_pixels_are_scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    content = clip_bytes(video={"n": 50, "size": (96, 128), "rotation": 90})
    whole = read_media(content).frames
    monkeypatch.setattr("merclip.media._limits.MAX_KEPT_PIXELS", 12 * 48 * 64)
    small = read_media(content).frames
    assert whole is not None and small is not None
    assert whole.shape == (12, 128, 96, 3)
    assert small.shape == (12, 64, 48, 3)
    shrunk = whole.reshape(12, 64, 2, 48, 2, 3).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 8


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
def test_a_playlist_opens_no_other_file(tmp_path: Path, name: str) -> None:
    write_clip(str(tmp_path / "other.ts"), format="mpegts")
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path}/other.ts\n#EXT-X-ENDLIST\n"
    for text in (hls, "ffconcat version 1.0\nfile other.ts\n"):
        (tmp_path / name).write_text(text)
        with pytest.raises(DecodeError):
            read_media(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_no_thread_and_no_file_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(str(path))
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:-3000])
    broken = bytearray(path.read_bytes())
    broken[3000:9000:97] = bytes(len(broken[3000:9000:97]))

    def read_all() -> None:
        for source in (str(path), path.read_bytes(), str(tmp_path / "cut.mp4"), bytes(broken)):
            try:
                read_media(source)
            except DecodeError:
                pass

    read_all()
    gc.collect()
    gc.disable()
    try:
        before = [len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd")]
        for _ in range(3):
            read_all()
        after = [len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd")]
    finally:
        gc.enable()
    assert after == before


_PEAK = """
import resource, sys
from pathlib import Path
from merclip.media import read_media
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_media(path)
    except ValueError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_hostile_files_take_little_memory(tmp_path: Path) -> None:
    contents = [
        mp4(10**9),
        fragmented_mp4(10**9),
        mp4(4 * 10**6),
        gif(20_000),
        mp4(50, n_tracks=60),
    ]
    paths = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 300
