"""Types for annotations: what merclip's functions take.

They are names for type checkers, and never needed to call anything. A lone string is
neither `LabelsLike` nor `ClipsLike`: it would be a sequence of letters.

>>> from merclip.typing import LabelsLike, VideoLike
>>> def moods(video: VideoLike, labels: LabelsLike) -> list[str]: ...
"""

from __future__ import annotations

from merclip.labels import Label, LabelsLike, TargetsLike, Texts
from merclip.types import AudioLike, ClipLike, ClipsLike, Listed, VideoLike

__all__ = [
    "AudioLike",
    "ClipLike",
    "ClipsLike",
    "Label",
    "LabelsLike",
    "Listed",
    "TargetsLike",
    "Texts",
    "VideoLike",
]
