"""Sound to log-mel pictures for the image tower (MER-CLIP, section 3.3)."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from merclip.media import choose_blocks
from merclip.preprocess.config import AudioConfig
from merclip.preprocess.pitch import pitch_pictures
from merclip.types import FloatArray

PITCH_CONTRAST = 4.0
"""Gives pictures of pitch about the range of standardised mel pictures."""
TRIM_MARGIN = 0.15
"""Seconds that are kept before and after what is loud."""
SILENCE = 1e-4
"""Peak amplitude under which a segment counts as silent (ours: -80 dB)."""


def sound_to_tensor(sound: FloatArray, image_size: int, config: AudioConfig) -> Tensor:
    """Cut sound into segments and draw each as a log-mel picture.

    Parameters
    ----------
    sound : ndarray of shape (n,), float32
        Mono sound at ``config.rate``.
    image_size : int
        Height and width of the pictures, unless ``config.size`` gives them.
    config : AudioConfig

    Returns
    -------
    Tensor of shape (n_segments, height, width), float32
        Rows are time, columns are mel bands; with ``config.pitch`` of shape
        (n_segments, 3, height, width). Without ``config.stretch`` there is one row for
        each hop. Silent segments are left out, so there may be none.
    """
    heard = trim(torch.from_numpy(sound), config)
    segments = loud_segments(cut_segments(heard, config), config)
    return draw_segments(segments, image_size, config)


def trim(sound: Tensor, config: AudioConfig) -> Tensor:
    """Cut off what lies before the first and after the last loud moment, with a margin."""
    if config.trim_db is None:
        return sound
    hop = config.rate // 100
    if len(sound) < 2 * hop:
        return sound
    power = sound[: len(sound) // hop * hop].view(-1, hop).square().mean(1)
    loud = (power >= power.max() * 10 ** (-config.trim_db / 10)).nonzero()[:, 0]
    margin = round(TRIM_MARGIN * config.rate)
    first, last = int(loud[0]) * hop, (int(loud[-1]) + 1) * hop
    return sound[max(0, first - margin) : last + margin]


def draw_segments(segments: Tensor, image_size: int, config: AudioConfig) -> Tensor:
    """Draw segments of shape (n, n_samples) as `sound_to_tensor` does."""
    size = config.size or (image_size, image_size)
    if not len(segments):
        shape = (*((3,) if config.pitch else ()), *size) if config.stretch else (0, config.n_mels)
        return torch.zeros(0, *shape)
    if not config.stretch:
        n_times = segments.shape[1] // config.hop_length  # as in Whisper, without the last one
        return standardize(log_mel(segments, config), config)[:, :n_times]
    mel = resize(standardize(log_mel(segments, config), config), size)
    if not config.pitch:
        return mel
    pitch = PITCH_CONTRAST * resize(pitch_pictures(segments, config), size)
    return torch.stack([mel, pitch, mel], dim=1)


def cut_segments(sound: Tensor, config: AudioConfig) -> Tensor:
    """Return (n_segments, segment_samples): zero-padded, evenly thinned."""
    if config.overlap:
        return _overlapping_segments(sound, config)
    length = config.segment_samples
    count = max(1, math.ceil(len(sound) / length))
    tail = len(sound) - (count - 1) * length
    if count > 1 and tail < config.min_tail * config.rate:
        count -= 1
    padded = functional.pad(sound[: count * length], (0, max(0, count * length - len(sound))))
    return padded.view(count, length)[choose_blocks(count, config.n_segments)]


def loud_segments(segments: Tensor, config: AudioConfig) -> Tensor:
    """Leave out segments that are silent, or much quieter than the loudest one."""
    segments = segments[segments.abs().amax(dim=1) > SILENCE]
    if config.quiet_db is None or not len(segments):
        return segments
    power = segments.square().mean(dim=1)
    return segments[power >= power.max() * 10 ** (-config.quiet_db / 10)]


def log_mel(segments: Tensor, config: AudioConfig) -> Tensor:
    """Return spectrograms in dB of shape (n_segments, n_times, n_mels)."""
    power = _mel_transform(config)(segments).clamp_min(1e-10)
    decibels = 10 * torch.log10(power)
    floor = decibels.amax(dim=(1, 2), keepdim=True) - config.top_db
    return torch.maximum(decibels, floor).transpose(1, 2)


def standardize(spectrograms: Tensor, config: AudioConfig) -> Tensor:
    """Set mean 0 and standard deviation 1, over each segment or the clip; or as Whisper does."""
    if config.standardize == "whisper":
        return spectrograms / 40 + 1
    axes = (0, 1, 2) if config.standardize == "clip" else (1, 2)
    mean = spectrograms.mean(dim=axes, keepdim=True)
    std = spectrograms.std(dim=axes, keepdim=True, correction=0)
    return (spectrograms - mean) / std.clamp_min(1e-5)


def resize(spectrograms: Tensor, size: tuple[int, int]) -> Tensor:
    """Stretch time and mel axes to the tower's input (ours: bilinear)."""
    return functional.interpolate(
        spectrograms[:, None], size=size, mode="bilinear", align_corners=False
    )[:, 0]


def _overlapping_segments(sound: Tensor, config: AudioConfig) -> Tensor:
    length = config.segment_samples
    rest = max(0, len(sound) - length)
    wanted = 1 + math.ceil(rest / (length * (1 - config.overlap)))
    starts = torch.linspace(0, rest, min(wanted, config.n_segments)).round().long().tolist()
    least = length if config.stretch else round(config.min_tail * config.rate)
    padded = functional.pad(sound, (0, max(0, least - len(sound))))
    return torch.stack([padded[start : start + length] for start in starts])


@functools.lru_cache(maxsize=8)
def _mel_transform(config: AudioConfig) -> nn.Module:
    from torchaudio.transforms import MelSpectrogram

    transform: nn.Module = MelSpectrogram(
        sample_rate=config.rate,
        n_fft=config.n_fft,
        win_length=config.win_length,
        hop_length=config.hop_length,
        f_min=config.f_min,
        f_max=config.f_max,
        n_mels=config.n_mels,
        mel_scale=config.mel_scale,
        norm="slaney" if config.mel_scale == "slaney" else None,
    )
    return transform
