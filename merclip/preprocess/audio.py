"""Sound to log-mel pictures for the image tower (MER-CLIP, section 3.3)."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from merclip.media import choose_blocks
from merclip.preprocess.config import AudioConfig
from merclip.types import FloatArray

SILENCE = 1e-4
"""Peak amplitude under which a segment counts as silent (ours: -80 dB)."""


def sound_to_tensor(sound: FloatArray, image_size: int, config: AudioConfig) -> Tensor:
    """Cut sound into segments and draw each as a square log-mel picture.

    Parameters
    ----------
    sound : ndarray of shape (n,), float32
        Mono sound at ``config.rate``.
    image_size : int
    config : AudioConfig

    Returns
    -------
    Tensor of shape (n_segments, image_size, image_size), float32
        Rows are time, columns are mel bands. Silent segments are left out, so
        there may be none.
    """
    segments = cut_segments(torch.from_numpy(sound), config)
    segments = segments[segments.abs().amax(dim=1) > SILENCE]
    if not len(segments):
        return torch.zeros(0, image_size, image_size)
    spectrograms = standardize(log_mel(segments, config), config)
    return resize(spectrograms, image_size)


def cut_segments(sound: Tensor, config: AudioConfig) -> Tensor:
    """Return (n_segments, segment_samples): zero-padded, evenly thinned."""
    length = config.segment_samples
    count = max(1, math.ceil(len(sound) / length))
    tail = len(sound) - (count - 1) * length
    if count > 1 and tail < config.min_tail * config.rate:
        count -= 1
    padded = functional.pad(sound[: count * length], (0, max(0, count * length - len(sound))))
    return padded.view(count, length)[choose_blocks(count, config.n_segments)]


def log_mel(segments: Tensor, config: AudioConfig) -> Tensor:
    """Return spectrograms in dB of shape (n_segments, n_times, n_mels)."""
    power = _mel_transform(config)(segments).clamp_min(1e-10)
    decibels = 10 * torch.log10(power)
    floor = decibels.amax(dim=(1, 2), keepdim=True) - config.top_db
    return torch.maximum(decibels, floor).transpose(1, 2)


def standardize(spectrograms: Tensor, config: AudioConfig) -> Tensor:
    """Set mean 0 and standard deviation 1, over each segment or the clip."""
    axes = (0, 1, 2) if config.standardize == "clip" else (1, 2)
    mean = spectrograms.mean(dim=axes, keepdim=True)
    std = spectrograms.std(dim=axes, keepdim=True, correction=0)
    return (spectrograms - mean) / std.clamp_min(1e-5)


def resize(spectrograms: Tensor, image_size: int) -> Tensor:
    """Stretch time and mel axes to the tower's square input (ours: bilinear)."""
    return functional.interpolate(
        spectrograms[:, None], size=(image_size, image_size), mode="bilinear", align_corners=False
    )[:, 0]


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
