"""A clip to the tensors that the encoders take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from merclip._shown import shown
from merclip.errors import (
    DecodeWarning,
    MerclipWarning,
    ModalityWarning,
    NoModalityError,
    TextTooLongWarning,
)
from merclip.inputs import with_media
from merclip.media import Media, read_audio_array, read_media, read_video_array
from merclip.preprocess.audio import sound_to_tensor
from merclip.preprocess.config import PreprocessConfig
from merclip.preprocess.faces import FaceFinder
from merclip.preprocess.features import MODALITIES
from merclip.preprocess.text import tokenize
from merclip.preprocess.vision import frames_to_tensor
from merclip.types import Audio, ByteArray, Clip, FloatArray, Region, Video

FrameChoice: TypeAlias = Literal["exact", "fast"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One clip as tensors; a part that it lacks is None.

    Parameters
    ----------
    tokens : Tensor of shape (n_tokens,), int64
    frames : Tensor of shape (n_frames, 3, S, S), uint8
    segments : Tensor of shape (n_segments, height, width), float32
        Or (n_segments, 3, height, width), with pitch in the second channel.
    warnings : tuple of MerclipWarning
        What of the clip could not be used.
    faces : int or None
        In how many frames the speaker's face was found; 0 where whole frames
        were taken instead; None where no face was looked for.
    """

    tokens: Tensor | None = None
    frames: Tensor | None = None
    segments: Tensor | None = None
    warnings: tuple[MerclipWarning, ...] = ()
    faces: int | None = None

    def parts(self) -> dict[str, Tensor]:
        """Return the parts that are there, by modality letter."""
        named = {"L": self.tokens, "V": self.frames, "A": self.segments}
        return {letter: part for letter, part in named.items() if part is not None}


class Preprocessor:
    """Turn clips into samples.

    Parameters
    ----------
    config : PreprocessConfig
    modalities : str
        Letters of the modalities to read: those of the network's fusion order.
    use_video_audio : bool
        Whether a video brings its own sound when no `audio` is given.
    finder : FaceFinder, optional
        Crops frames to the speaker's face.
    frames : {"exact", "fast"}
        "fast" may take a key frame in place of one that is near, as `read_media` says.
    """

    def __init__(
        self,
        config: PreprocessConfig,
        modalities: str = "LVA",
        use_video_audio: bool = True,
        finder: FaceFinder | None = None,
        frames: FrameChoice = "exact",
    ) -> None:
        self.config = config
        self.modalities = modalities
        self.use_video_audio = use_video_audio
        self.finder = finder
        self.frames = frames

    def to_dict(self) -> dict[str, Any]:
        """Return all that a sample depends on besides its clip, as built-in types."""
        return {
            "config": self.config.to_dict(),
            "modalities": "".join(sorted(self.modalities)),
            "use_video_audio": self.use_video_audio,
            "faces": self.finder is not None,
            "frames": self.frames,
        }

    def __call__(self, clip: Clip) -> Sample:
        """Read and convert one clip.

        Raises
        ------
        MerclipError
            The clip's media cannot be read, or it has nothing that the network
            takes; see `merclip.errors`.
        """
        clip = with_media(clip)
        warnings: list[MerclipWarning] = []
        self._check_modalities(clip, warnings)
        frames, sound = self._read(clip, warnings)
        pictures, faces = self._frames(frames, clip.region)
        sample = Sample(
            tokens=self._tokens(clip, warnings),
            frames=pictures,
            segments=self._segments(sound, warnings),
            warnings=tuple(warnings),
            faces=faces,
        )
        if not sample.parts():
            reasons = " ".join(map(str, warnings))
            raise NoModalityError(f"Nothing of the clip can be used. {reasons}".strip())
        return sample

    def _check_modalities(self, clip: Clip, warnings: list[MerclipWarning]) -> None:
        letters = {name: letter for letter, name in MODALITIES.items()}
        taken = [name for name in clip.modalities if letters[name] in self.modalities]
        unused = [name for name in clip.modalities if name not in taken]
        if clip.video is not None and self.use_video_audio and "A" in self.modalities:
            unused = [name for name in unused if name != "video"]
            taken.append("audio")
        if not taken:
            raise NoModalityError(
                f"The clip has {' and '.join(clip.modalities)}, which this model does not take."
            )
        for name in unused:
            warnings.append(ModalityWarning(f"This model does not take {name}; it was left out."))

    def _read(
        self, clip: Clip, warnings: list[MerclipWarning]
    ) -> tuple[ByteArray | None, FloatArray | None]:
        frames, sound = None, None
        if clip.video is not None:
            frames, sound = self._read_video(clip, warnings)
        if clip.audio is not None and "A" in self.modalities:
            sound = self._read_audio(clip, warnings)
        return frames, sound

    def _read_video(
        self, clip: Clip, warnings: list[MerclipWarning]
    ) -> tuple[ByteArray | None, FloatArray | None]:
        if isinstance(clip.video, Video):
            if "V" not in self.modalities:
                return None, None
            n_frames = self.config.vision.n_frames
            frames, _ = read_video_array(
                clip.video, start=clip.start, end=clip.end, n_frames=n_frames
            )
            return frames, None
        own_sound = self.use_video_audio and clip.audio is None and "A" in self.modalities
        if "V" not in self.modalities and not own_sound:
            return None, None
        media = self._read_media(clip.video, clip, video="V" in self.modalities, sound=own_sound)
        warnings.extend(map(DecodeWarning, media.warnings))
        return media.frames, media.sound

    def _read_audio(self, clip: Clip, warnings: list[MerclipWarning]) -> FloatArray | None:
        if isinstance(clip.audio, Audio):
            rate = self.config.audio.rate
            return read_audio_array(clip.audio, start=clip.start, end=clip.end, rate=rate)
        media = self._read_media(clip.audio, clip, video=False, sound=True)
        warnings.extend(map(DecodeWarning, media.warnings))
        return media.sound

    def _read_media(self, source: Any, clip: Clip, *, video: bool, sound: bool) -> Media:
        return read_media(
            source,
            start=clip.start,
            end=clip.end,
            n_frames=self.config.vision.n_frames,
            rate=self.config.audio.rate,
            want_video=video,
            want_sound=sound,
            sound_block=self.config.audio.segment,
            max_sound_blocks=self.config.audio.n_segments,
            fast=self.frames == "fast",
        )

    def _frames(
        self, frames: ByteArray | None, region: Region | None
    ) -> tuple[Tensor | None, int | None]:
        if frames is None or not len(frames):
            return None, None
        if region is not None:
            frames = _cut(frames, region)
        size, vision = self.config.image_size, self.config.vision
        if self.finder is None:
            return frames_to_tensor(frames, size, vision), None
        crops, faces = self.finder.crops(frames)
        return torch.cat([frames_to_tensor(crop[None], size, vision) for crop in crops]), faces

    def _segments(self, sound: FloatArray | None, warnings: list[MerclipWarning]) -> Tensor | None:
        if sound is None:
            return None
        if len(sound):
            segments = sound_to_tensor(sound, self.config.image_size, self.config.audio)
            if len(segments):
                return segments
        warnings.append(ModalityWarning("The sound is silent and was left out."))
        return None

    def _tokens(self, clip: Clip, warnings: list[MerclipWarning]) -> Tensor | None:
        if clip.text is None or "L" not in self.modalities or not clip.text.strip():
            return None
        tokens = tokenize(clip.text, self.config.context_length)
        if tokens.lost:
            message = f"The text is too long; this part was left out: {shown(tokens.lost)}."
            warnings.append(TextTooLongWarning(message))
        return tokens.ids


def _cut(frames: ByteArray, region: Region) -> ByteArray:
    """Return a part of the picture, at least one pixel wide and high."""
    height, width = frames.shape[1:3]
    left, right = _pixels(region[0], region[2], width)
    top, bottom = _pixels(region[1], region[3], height)
    return np.ascontiguousarray(frames[:, top:bottom, left:right])


def _pixels(begin: float, end: float, size: int) -> tuple[int, int]:
    first = min(round(begin * size), size - 1)
    return first, max(round(end * size), first + 1)
