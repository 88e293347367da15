"""The picture that is classified is the picture that a viewer shows."""

from __future__ import annotations

import contextlib
import io
import struct
from fractions import Fraction
from typing import Any

import av
import media_files as mf
import numpy as np
import pytest
from hostile_files import clean_aperture, gif, heif, mirror, png, tiff, turn
from PIL import Image, ImageOps

from merclip.errors import DecodeError, InputError, MissingStreamError
from merclip.media import _light, has_pictures, read_media

PICTURE = mf.picture(5, 96, 128)


def shown(content: bytes) -> np.ndarray:
    media = read_media(content)
    assert media.frames is not None and len(media.frames) == 1 and not media.warnings
    assert media.frames.flags.c_contiguous
    return media.frames[0]


def saved(image: Any, format: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **how)
    return buffer.getvalue()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_of_exif_is_as_pillow_has_it(self, format: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        how = {"lossless": True} if format == "WEBP" else {}
        content = saved(Image.fromarray(PICTURE), format, exif=exif.tobytes(), **how)
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
        np.testing.assert_array_equal(shown(content), np.asarray(expected))
        plain = {2: PICTURE[:, ::-1], 4: PICTURE[::-1], 5: PICTURE.transpose(1, 0, 2)}
        if orientation in plain:
            assert difference(shown(content), plain[orientation]) < 8

    def test_that_is_none_or_broken_changes_nothing(self) -> None:
        for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
            content = saved(Image.fromarray(PICTURE), "JPEG", quality=95, exif=exif)
            assert difference(shown(content), PICTURE) < 8


class TestWhatPillowReads:
    @pytest.mark.parametrize(
        "how", [{}, {"tile": 32}, {"planar": True}, {"tile": 64, "planar": True}]
    )
    def test_every_layout_of_tiff(self, how: dict[str, Any]) -> None:
        np.testing.assert_array_equal(shown(tiff(PICTURE, **how)), PICTURE)

    @pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    def test_every_compression_of_tiff(self, compression: str) -> None:
        content = saved(Image.fromarray(PICTURE), "TIFF", compression=compression)
        assert difference(shown(content), PICTURE) < 8

    def test_grey_of_many_bits(self) -> None:
        grey = PICTURE[..., 0]
        wide = Image.fromarray(grey.astype(np.uint16) * 257)
        floating = Image.fromarray((grey / 255).astype(np.float32))
        for content in (saved(wide, "PNG"), saved(wide, "TIFF"), saved(floating, "TIFF")):
            np.testing.assert_array_equal(shown(content), np.repeat(grey[..., None], 3, -1))
        beyond = saved(Image.fromarray(grey.astype(np.float32)), "TIFF")
        with pytest.raises(DecodeError, match="what is white is not known: save it with 8 bits"):
            read_media(beyond)

    def test_other_colours(self) -> None:
        image = Image.fromarray(PICTURE)
        assert difference(shown(saved(image.convert("CMYK"), "JPEG", quality=95)), PICTURE) < 8
        assert difference(shown(saved(image.quantize(256), "PNG")), PICTURE) < 20

    def test_what_is_transparent_is_paper(self) -> None:
        alpha = np.full((96, 128, 1), 255, np.uint8)
        alpha[:48] = 0
        content = saved(Image.fromarray(np.concatenate([PICTURE, alpha], -1)), "PNG")
        found = shown(content)
        assert (found[:48] == 255).all()
        np.testing.assert_array_equal(found[48:], PICTURE[48:])

    def test_of_two_pictures_the_first_but_of_a_video_all(self) -> None:
        def two(format: str, **how: Any) -> bytes:
            first, second = Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1])
            return saved(first, format, save_all=True, append_images=[second], **how)

        both = two("MPO", quality=95)
        assert difference(shown(both), PICTURE) < 8
        np.testing.assert_array_equal(shown(two("TIFF")), PICTURE)
        video = saved(Image.fromarray(PICTURE), "JPEG") * 2
        assert len(read_media(video).frames) == 2
        assert len(read_media(two("PNG")).frames) == 2

    def test_a_file_that_is_cut_off(self) -> None:
        content = saved(Image.fromarray(PICTURE), "JPEG", quality=95)
        media = read_media(content[: len(content) * 2 // 3])
        assert media.warnings == ("'<bytes>' is cut off, and the lower part of it is grey.",)
        assert difference(media.frames[0][:32], PICTURE[:32]) < 8
        for format in ("PNG", "TIFF"):
            content = saved(Image.fromarray(PICTURE), format)
            with pytest.raises(DecodeError, match="complete picture"):
                read_media(content[: len(content) * 2 // 3])

    def test_a_large_one_is_scaled_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("merclip.media._stills.MAX_SHRUNK_PIXELS", 48 * 64)
        found = shown(tiff(PICTURE))
        mean = PICTURE.reshape(48, 2, 64, 2, 3).mean((1, 3))
        assert difference(found, mean) < 1

    def test_is_a_video_without_sound_of_a_moment(self) -> None:
        content = saved(Image.fromarray(PICTURE), "JPEG")
        assert has_pictures(content) and has_pictures(tiff(PICTURE, planar=True))
        assert read_media(content, end=0.02).frames is not None
        with pytest.raises(MissingStreamError, match="no sound stream, only video"):
            read_media(content, want_video=False)
        with pytest.raises(InputError, match="leave start away"):
            read_media(content, start=1.0)

    def test_scans_and_tiles_cost_no_more_than_the_picture(self) -> None:
        content = saved(Image.fromarray(PICTURE), "JPEG", progressive=True)
        scan = content[content.rindex(b"\xff\xda") : -2]
        assert shown(content[:-2] + scan * 20 + content[-2:]).shape == PICTURE.shape
        with pytest.raises(DecodeError, match="goes over its picture far too often"):
            read_media(content[:-2] + scan * 400_000 + content[-2:])
        tiled = tiff(PICTURE, tile=32)
        side = struct.pack("<HHII", 322, 4, 1, 32)
        huge = tiled.replace(side, struct.pack("<HHII", 322, 4, 1, 2**22))
        with pytest.raises(DecodeError, match="megapixels"):
            read_media(huge)


def hevc(picture: np.ndarray) -> tuple[bytes, bytes]:
    """Return a picture as what HEIF keeps of HEVC: the decoder's settings, and its bytes."""
    mf.needs_codec("libx265")
    for _ in range(20):
        # FFmpeg's muxer refuses, now and then, what its own encoder gave.
        with contextlib.suppress(av.error.PatchWelcomeError):
            return muxed(picture)
    pytest.skip("this FFmpeg does not write HEVC")


def muxed(picture: np.ndarray) -> tuple[bytes, bytes]:
    """Encode a picture with libx265, and read it from an MP4."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"x265-params": "log-level=none:pools=1:qp=4"}
        stream = container.add_stream("libx265", rate=1, options=options)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv444p"
        frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv444p")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    buffer.seek(0)
    with av.open(buffer) as container:
        (stream,) = container.streams.video
        packet = next(packet for packet in container.demux(stream) if packet.size)
        return bytes(stream.codec_context.extradata), bytes(packet)


@pytest.fixture(scope="module")
def tiles() -> list[tuple[bytes, bytes]]:
    """Return a picture's quarters, row by row."""
    parts = [PICTURE[top : top + 48, left : left + 64] for top in (0, 48) for left in (0, 64)]
    return [hevc(np.ascontiguousarray(part)) for part in parts]


class TestHeif:
    def test_tiles_make_one_picture(self, tiles: Any) -> None:
        content = heif(tiles, (64, 48), n_columns=2, size=(128, 96))
        assert difference(shown(content), PICTURE) < 3
        cut = heif(tiles, (64, 48), n_columns=2, size=(121, 77))
        assert difference(shown(cut), PICTURE[:77, :121]) < 3
        assert has_pictures(content)

    @pytest.mark.parametrize("quarters", range(4))
    @pytest.mark.parametrize("axis", [None, 0, 1])
    def test_is_turned_and_mirrored_as_it_says(
        self, tiles: Any, quarters: int, axis: int | None
    ) -> None:
        turns = (turn(quarters), *(() if axis is None else (mirror(axis),)))
        expected = np.rot90(PICTURE, quarters)
        if axis is not None:
            expected = np.flip(expected, axis)
        whole = heif(tiles, (64, 48), n_columns=2, size=(128, 96), turns=turns)
        assert difference(shown(whole), expected) < 3
        first = np.rot90(PICTURE[:48, :64], quarters)
        alone = heif(tiles[:1], (64, 48), turns=turns)
        assert difference(shown(alone), first if axis is None else np.flip(first, axis)) < 3

    def test_clean_aperture_is_cut_out(self, tiles: Any) -> None:
        turns = (clean_aperture(100, 50, 10, -20),)
        content = heif(tiles, (64, 48), n_columns=2, size=(128, 96), turns=turns)
        assert difference(shown(content), PICTURE[3:53, 24:124]) < 3

    def test_what_cannot_be_shown_right_is_refused(self, tiles: Any) -> None:
        whole = {"n_columns": 2, "size": (128, 96)}
        broken = [(tiles[0][0], bytes(len(tiles[0][1]))), *tiles[1:]]
        with pytest.raises(DecodeError, match="Only 3 of the 4 tiles"):
            read_media(heif(broken, (64, 48), **whole))
        with pytest.raises(DecodeError, match="Only 0 of the 4 tiles"):
            read_media(heif(tiles, (32, 48), n_columns=4, size=(128, 48)))
        with pytest.raises(DecodeError, match="of the kind 'jpeg'"):
            read_media(heif(tiles, (64, 48), codec=b"jpeg", **whole))
        content = heif(tiles, (64, 48), **whole)
        for end in (60, 300, 500):
            with pytest.raises(DecodeError, match="broken HEIF"):
                read_media(content[:end])
        with pytest.raises(DecodeError, match="broken HEIF"):
            read_media(heif(tiles[:2], (64, 48), n_columns=2, size=(128, 96)))

    def test_claims_cost_nothing(self, tiles: Any) -> None:
        with pytest.raises(DecodeError, match="megapixels"):
            read_media(heif(tiles, (30_000, 30_000), n_columns=2, size=(60_000, 60_000)))
        many = heif(tiles[:1], (64, 48), n_columns=100, size=(6400, 480), n_same=999)
        with pytest.raises(DecodeError, match="broken HEIF"):
            read_media(many)


def pq(light: np.ndarray) -> np.ndarray:
    """Return the code of PQ, in 16 bits, for light in candela per square metre."""
    power = (light / 10_000) ** 0.1593017578125
    code = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    return np.round(code * 65535).astype(np.uint16)


class TestVideo:
    @pytest.mark.parametrize(
        ("aspect", "size"), [(Fraction(2), (48, 128)), (Fraction(1, 2), (96, 64))]
    )
    def test_pixels_that_are_not_square_become_so(
        self, tmp_path: Any, aspect: Fraction, size: tuple[int, int]
    ) -> None:
        mf.needs_codec("mpeg4")
        for rotation in (None, 90):
            path = tmp_path / "a.mp4"
            with mf.writing(path) as writer:
                packets = writer.video("mpeg4", n=3, rotation=rotation)
                (stream,) = writer.container.streams
                stream.codec_context.sample_aspect_ratio = aspect
                writer.mux(packets)
            frames = read_media(path).frames
            assert frames.shape[1:3] == (size if rotation is None else size[::-1])
            if rotation is None:
                assert mf.index_of(frames[2]) == 2

    def test_absurd_pixels_are_refused(self, tmp_path: Any) -> None:
        with mf.writing(tmp_path / "a.mp4") as writer:
            packets = writer.video("mpeg4", n=3)
            writer.container.streams[0].codec_context.sample_aspect_ratio = Fraction(20)
            writer.mux(packets)
        with pytest.raises(DecodeError, match="pixels .* times as wide as they are high"):
            read_media(tmp_path / "a.mp4")

    def test_a_screen_of_great_brightness_is_made_an_ordinary_one(self) -> None:
        grey = np.arange(0, 256, 5, dtype=np.uint8)
        codes = pq(100 * (grey / 255) ** 2.4)[None, :, None].repeat(3, -1)
        found = _light.to_screen(codes, _light.PQ, 9)
        assert np.abs(found[0].astype(int) - grey[:, None]).max() <= 1
        # Red of BT.709, in BT.2020's colours.
        red = pq(100 * np.array([[[0.6274, 0.0691, 0.0164]]]))
        assert np.abs(_light.to_screen(red, _light.PQ, 9).astype(int) - [255, 0, 0]).max() <= 12
        # Where the light goes up to ten times white, white makes room and order stays.
        bright = pq(np.array([0, 20, 50, 100, 203, 1000.0]))[None, :, None].repeat(3, -1)
        shades = _light.to_screen(bright, _light.PQ, 9)[0, :, 0].astype(int)
        assert (np.diff(shades) > 10).all() and shades[0] == 0 and shades[-1] == 255
        assert 170 < shades[3] < 230
        ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None].repeat(3, -1)
        shades = _light.to_screen(ramp, _light.HLG, 9)[0, :, 0].astype(int)
        assert (np.diff(shades) >= 0).all() and shades[0] == 0 and shades[-1] == 255
        assert 140 < shades[32] < 200  # half of the signal is a face

    def test_hdr_is_found_in_a_file(self, tmp_path: Any) -> None:
        mf.needs_codec("libx264")
        params = "qp=4:transfer=smpte2084:colorprim=bt2020"
        grey = np.linspace(16, 240, 64).astype(np.uint8)
        codes = pq(100 * (grey / 255) ** 2.4)[None, :, None].repeat(48, 0).repeat(3, -1)
        path = tmp_path / "a.mp4"
        with av.open(path, "w") as container:
            stream = container.add_stream("libx264", rate=5, options={"x264-params": params})
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p10le"
            frame = av.VideoFrame.from_ndarray(codes, "rgb48le").reformat(format="yuv420p10le")
            container.mux([*stream.encode(frame), *stream.encode(None)])
        (found,) = read_media(path).frames
        assert np.abs(found.astype(int) - grey[None, :, None]).mean() < 4


def test_pictures_of_one_colour_are_read_with_a_warning() -> None:
    green = saved(Image.new("RGB", (32, 32), (0, 140, 0)), "JPEG")
    for content in (png(8, 8), green, gif(5)):
        media = read_media(content)
        assert media.warnings == (
            "The pictures of '<bytes>' have one colour throughout: look whether it shows what it "
            "should.",
        )


def test_large_pictures_of_nothing_are_refused() -> None:
    with pytest.raises(DecodeError, match="claims frames of 5000x5000 pixels"):
        read_media(png(5000, 5000))
    assert read_media(png(3000, 3000)).frames.shape == (1, 3000, 3000, 3)
