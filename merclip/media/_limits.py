"""What is too much for one file: refused before it costs memory or time."""

from __future__ import annotations

from typing import Any

from merclip.errors import DecodeError

MEGA = 2**20

MAX_PIXELS = 64 * MEGA
"""Of a picture: more than any camera makes."""
MAX_VIDEO_PIXELS = 36 * MEGA
"""Of a video's frames: 8192 x 4320. A decoder may hold twenty of them."""
MAX_SHRUNK_PIXELS = 16 * MEGA
"""Of a still picture that is taken: a larger one is scaled down, by a whole number."""
MAX_DENSITY = 64
"""Pixels in a byte of a still picture that is larger: a photograph has 2 to 20."""
MAX_SCANNED_PIXELS = 64 * MAX_PIXELS
"""Of all scans of a JPEG file, each of which goes over the whole picture in a few bytes."""
MAX_ASPECT = 8
"""Of a pixel: what films are squeezed by is 2 or less."""
MAX_DECODER_BYTES = 256 * MEGA
"""Of the frames that a decoder's threads work at."""
MAX_UNCHECKED_PIXELS = 9 * MEGA
"""Of a video's frame, 3840 x 2160, however few its bytes."""
MIN_KEPT_PIXELS = 25 * MEGA
"""Twelve frames of 1920 x 1080 are kept of any file, and more by its bytes."""
KEPT_DENSITY = 256
MAX_KEPT_PIXELS = 104 * MEGA
"""Of all frames that are taken from a file, which are scaled down to it: twelve of 4K."""
MAX_PACKETS = 4 * MEGA
"""Of picture and sound: ten hours of 60 frames a second with sound."""
MIN_DECODED_PIXELS = 2**31
"""Of one pass through any file, and more by its bytes."""
DECODED_DENSITY = 2**17
"""Of pictures that stand still, each of which takes some bytes."""
MAX_DECODED_PIXELS = 2**38
"""Of one pass: more than an hour of 1920 x 1080 without a key frame."""
MAX_DECODED_SAMPLES = 2**34
"""Of one pass, of all channels: two days of stereo at 48 kHz."""
MAX_STREAMS = 64
MAX_TABLES = 256 * MEGA
"""Bytes of the tables of an MP4 file."""
MAX_TAGS = 10_000
MAX_TAG_BYTES = 64 * MEGA
"""Of all that a file says about itself, unpacked: title, cover, colour profile."""
MAX_SPOOLED = 8192 * MEGA
"""Bytes of a stream that cannot seek, and is therefore kept on disk meanwhile."""

_CUT = "cut it into parts first"


def check_size(picture: Any, name: str, n_frames: int = 1) -> None:
    """Refuse pictures (or codecs) that claim an absurd size, as one of `n_frames`."""
    limit = MAX_PIXELS if n_frames <= 1 else MAX_VIDEO_PIXELS
    check_area(int(picture.width or 0), int(picture.height or 0), name, limit)


def check_area(width: int, height: int, name: str, limit: int = MAX_PIXELS) -> None:
    """Refuse a picture, or a part of one, of more pixels than a limit."""
    if width * height > limit:
        raise DecodeError(
            f"{name!r} claims frames of {width}x{height} pixels, more than "
            f"{limit // MEGA} megapixels: scale it down first."
        )


def check_density(picture: Any, name: str, n_frames: int, n_bytes: int) -> None:
    """Refuse large frames, each coded by itself, of so few bytes that nothing is on them."""
    if int(picture.width or 0) * int(picture.height or 0) * n_frames > MAX_DENSITY * n_bytes:
        check_area(int(picture.width), int(picture.height), name, MAX_UNCHECKED_PIXELS)


def most_of_still(n_bytes: int) -> int:
    """Return how many pixels a still picture may have in a file of so many bytes."""
    return min(MAX_PIXELS, max(MAX_SHRUNK_PIXELS, MAX_DENSITY * n_bytes))


def most_kept(n_bytes: int | None) -> int:
    """Return how many pixels may be kept of a video of so many bytes."""
    if n_bytes is None:
        return MAX_KEPT_PIXELS
    return min(MAX_KEPT_PIXELS, max(MIN_KEPT_PIXELS, KEPT_DENSITY * n_bytes))


def check_scans(n_pixels: int, name: str) -> None:
    """Refuse pictures that would have to be gone over again and again."""
    if n_pixels > MAX_SCANNED_PIXELS:
        raise DecodeError(
            f"{name!r} is a JPEG file that goes over its picture far too often: save it anew."
        )


def check_aspect(aspect: float, name: str) -> None:
    """Refuse videos whose pixels are far from square."""
    if not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        raise DecodeError(
            f"{name!r} claims pixels {aspect:.4g} times as wide as they are high, and from "
            f"1/{MAX_ASPECT} to {MAX_ASPECT} can be right: correct its sample aspect ratio."
        )


def check_packing(is_packed: bool, name: str) -> None:
    """Refuse files whose packets were compressed once more, which gains nothing but bombs."""
    if is_packed:
        raise DecodeError(
            f"{name!r} is a Matroska file whose pictures or sound are compressed once more by "
            "the container: write it without compression of its tracks."
        )


def check_packets(n_packets: int, name: str) -> None:
    """Refuse files of more packets than anyone films."""
    if n_packets > MAX_PACKETS:
        raise DecodeError(
            f"{name!r} claims at least {n_packets} frames or packets of sound, more than the "
            f"{MAX_PACKETS} that are read: {_CUT}."
        )


def check_tables(n_bytes: int, name: str) -> None:
    """Refuse headers that would have to be read whole."""
    if n_bytes > MAX_TABLES:
        raise DecodeError(
            f"{name!r} claims a header of {n_bytes} bytes, more than "
            f"{MAX_TABLES // MEGA} MiB: check the file."
        )


def check_tags(n_tags: int, name: str) -> None:
    """Refuse files that say more of themselves than anyone writes."""
    if n_tags > MAX_TAGS:
        raise DecodeError(
            f"{name!r} has {n_tags} or more tags, more than {MAX_TAGS}: remove them first."
        )


def check_tag_bytes(n_bytes: int, name: str) -> None:
    """Refuse tags that would have to be held whole."""
    if n_bytes > MAX_TAG_BYTES:
        raise DecodeError(
            f"{name!r} has tags of more than {MAX_TAG_BYTES // MEGA} MiB: remove them first."
        )


def check_spooled(n_bytes: int, name: str) -> None:
    """Refuse streams that may never end."""
    if n_bytes > MAX_SPOOLED:
        raise DecodeError(
            f"{name!r} gives more than {MAX_SPOOLED // MEGA} MiB, and cannot be read from the "
            "middle: give a file on disk."
        )


class Work:
    """Counts what one pass through a stream has cost so far.

    Parameters
    ----------
    name : str
        Of the file.
    n_bytes : int
        Of the stream.
    """

    def __init__(self, name: str, n_bytes: int) -> None:
        self._name = name
        by_bytes = max(MIN_DECODED_PIXELS, DECODED_DENSITY * n_bytes)
        self._most_pixels = min(MAX_DECODED_PIXELS, by_bytes)
        self._n_pixels = self._n_samples = 0

    def add_packet(self, packet: Any) -> None:
        """Count a packet of pictures, before it is decoded: it may give no frame at all."""
        codec = packet.stream.codec_context
        if codec.type != "video":
            return
        self._n_pixels += int(codec.width or 0) * int(codec.height or 0)
        if self._n_pixels > self._most_pixels:
            raise DecodeError(
                f"{self._name!r} needs more than {self._most_pixels // MEGA} megapixels to be "
                f"decoded one after another: {_CUT}, or encode it with more key frames."
            )

    def add_frame(self, frame: Any) -> None:
        """Count a frame of sound."""
        self._n_samples += getattr(frame, "samples", 0) * _n_channels(frame)
        if self._n_samples > MAX_DECODED_SAMPLES:
            raise DecodeError(
                f"The sound of {self._name!r} has more than {MAX_DECODED_SAMPLES // MEGA} million "
                f"samples: {_CUT}."
            )


def _n_channels(frame: Any) -> int:
    layout = getattr(frame, "layout", None)
    return 0 if layout is None else int(layout.nb_channels)
