"""How frames, sound and text become tensors: stored in every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from merclip.errors import InputError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

T = TypeVar("T")

_NEW_OF_AUDIO = {"stretch": True, "trim_db": None}
"""Values of `AudioConfig` that its first versions did not have."""


@dataclass(frozen=True)
class VisionConfig:
    """Frames: how many, and how a picture becomes the image tower's input.

    The shorter side is resized to the tower's image size (antialiased), the
    centre is cropped, and channels are normalised, as CLIP does it.

    Parameters
    ----------
    n_frames : int
        Frames at the centres of as many equal parts of the clip (MER-CLIP: 12).
    mean, std : tuple of float
        Per channel, of values in [0, 1].
    interpolation : {"bicubic", "bilinear"}
    faces : bool
        The tower was trained on faces that fill the picture: crop frames to the
        speaker's face where one is found.
    mirror : bool
        Encode each frame as it is and mirrored, and take the mean (ours: a face
        shows the same emotion in a mirror, and two views are less chance).

    Examples
    --------
    >>> from merclip.preprocess import VisionConfig
    >>> VisionConfig(faces=True).n_frames
    12
    """

    n_frames: int = 12
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    faces: bool = False
    mirror: bool = False


@dataclass(frozen=True)
class AudioConfig:
    """Sound: cut into segments, each a log-mel picture for the image tower.

    The paper (section 3.3) gives segments of 2 s, a window of 64 ms, a hop of
    32 ms and 224 mel bands. Sample rate, resizing and normalisation are ours.

    Parameters
    ----------
    rate : int
        Hz.
    segment : float
        Seconds.
    n_segments : int
        At most this many segments, evenly spaced over the clip.
    n_fft, win_length, hop_length : int
        Samples. The paper's plain setting is ``n_fft=1024``; with the window
        zero-padded to 2048 all mel filters are linearly independent.
    n_mels : int
    f_min, f_max : float
        Hz.
    mel_scale : {"slaney", "htk"}
    top_db : float
        Floor, in dB below the loudest point of the segment.
    standardize : {"segment", "clip", "whisper"}
        Over what mean 0 and standard deviation 1 are set. "segment" removes
        loudness altogether; "clip" keeps its changes within a clip. "whisper" scales
        decibels as Whisper does, by constants.
    min_tail : float
        A last segment shorter than this (seconds) is dropped if others remain; without
        `stretch`, a shorter clip is padded to it.
    overlap : float
        0 cuts segments one after another, the last one padded with silence, as
        the paper does. Above, segments are evenly spaced from start to end and
        share at least this part of their length, in [0, 1), with the next one,
        as far as `n_segments` allows (ours).
    size : tuple of int, or None
        Height (time) and width (mel bands) of the pictures, for a network whose
        audio tower is one of its own; None takes the square of the image tower.
    pitch : bool
        Draw pictures of three channels, of which the second shows the voice's
        pitch (`merclip.preprocess.pitch`; ours). Otherwise the mel picture is
        all, in each channel, as in the paper.
    stretch : bool
        Stretch spectrograms to the tower's pictures. False keeps one row for each hop, and
        a clip that is shorter than a segment as short as it is (ours, for a Whisper tower).
    trim_db : float or None
        What lies before the first and after the last moment of at least so many dB below
        the loudest one is cut off, but for 0.15 s (ours); None keeps it.
    quiet_db : float or None
        Segments so many dB below the loudest one of the clip are left out, as
        nobody speaks in them (ours); None keeps all but silent ones.

    Examples
    --------
    >>> from merclip.preprocess import AudioConfig
    >>> AudioConfig(segment=3.0, overlap=0.5).segment_samples
    48000
    """

    rate: int = 16000
    segment: float = 2.0
    n_segments: int = 12
    n_fft: int = 2048
    win_length: int = 1024
    hop_length: int = 512
    n_mels: int = 224
    f_min: float = 0.0
    f_max: float = 8000.0
    mel_scale: Literal["slaney", "htk"] = "slaney"
    top_db: float = 80.0
    standardize: Literal["segment", "clip", "whisper"] = "segment"
    min_tail: float = 0.25
    overlap: float = 0.0
    stretch: bool = True
    trim_db: float | None = None
    quiet_db: float | None = None
    size: tuple[int, int] | None = None
    pitch: bool = False

    @classmethod
    def paper(cls) -> AudioConfig:
        """Return the paper's plain setting: FFT as long as the window.

        Returns
        -------
        AudioConfig

        Examples
        --------
        >>> from merclip.preprocess import AudioConfig
        >>> AudioConfig.paper().n_fft, AudioConfig().n_fft
        (1024, 2048)
        """
        return cls(n_fft=1024)

    @classmethod
    def whisper(cls, n_mels: int = 80) -> AudioConfig:
        """Return what a Whisper tower takes: windows of up to 6 s, as long as the sound is.

        Parameters
        ----------
        n_mels : int
            80, or 128 for Whisper large-v3.

        Returns
        -------
        AudioConfig

        Examples
        --------
        >>> from merclip.preprocess import AudioConfig
        >>> AudioConfig.whisper().segment
        6.0
        """
        return cls(
            segment=6.0,
            n_fft=400,
            win_length=400,
            hop_length=160,
            n_mels=n_mels,
            standardize="whisper",
            min_tail=0.5,
            overlap=0.5,
            stretch=False,
            trim_db=35.0,
            quiet_db=20.0,
        )

    @property
    def segment_samples(self) -> int:
        """Length of a segment in samples."""
        return round(self.segment * self.rate)


@dataclass(frozen=True)
class PreprocessConfig:
    """All of preprocessing.

    Parameters
    ----------
    image_size : int
        Height and width of the image tower's input, for frames and sound.
    context_length : int
        Tokens that the text tower takes, with start and end (CLIP: 77).
    vision : VisionConfig
    audio : AudioConfig

    Examples
    --------
    >>> from merclip import PreprocessConfig
    >>> from merclip.preprocess import AudioConfig
    >>> PreprocessConfig(audio=AudioConfig.paper()).image_size
    224
    """

    image_size: int = 224
    context_length: int = 77
    vision: VisionConfig = field(default_factory=VisionConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return nested built-in types, as stored in ``config.json``.

        Returns
        -------
        dict
        """
        values = asdict(self)
        for name, default in _NEW_OF_AUDIO.items():
            if values["audio"][name] == default:  # then older versions can read it
                del values["audio"][name]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PreprocessConfig:
        """Build from nested built-in types; unknown keys are an error.

        Parameters
        ----------
        values : mapping
            What `to_dict` gave.

        Returns
        -------
        PreprocessConfig

        Raises
        ------
        InputError
            An unknown key.
        """
        nested = dict(values)
        vision = dict(nested.get("vision", {}))
        vision.update({key: tuple(vision[key]) for key in ("mean", "std") if key in vision})
        nested["vision"] = from_mapping(VisionConfig, vision)
        audio = dict(nested.get("audio", {}))
        if audio.get("size") is not None:
            audio["size"] = tuple(audio["size"])
        nested["audio"] = from_mapping(AudioConfig, audio)
        return from_mapping(cls, nested)


def from_mapping(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a config dataclass, naming the keys that it does not know.

    Raises
    ------
    InputError
        A key is not a field of `kind`.
    """
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"{kind.__name__} has no {unknown}; it knows {known}.")
    return kind(**values)
