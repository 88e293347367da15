"""Media in, arrays out: upright RGB frames and mono sound, read with PyAV."""

from __future__ import annotations

from merclip.media._arrays import read_audio_array, read_video_array
from merclip.media._blocks import choose_blocks
from merclip.media._pixels import frame_to_rgb
from merclip.media._read import Media, read_media
from merclip.media._scan import has_pictures

__all__ = [
    "Media",
    "choose_blocks",
    "frame_to_rgb",
    "has_pictures",
    "read_audio_array",
    "read_media",
    "read_video_array",
]
