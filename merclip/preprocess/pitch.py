"""Sound to pictures of its pitch: where in time which fundamental is how strong."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from merclip.preprocess.config import AudioConfig

LOWEST, PER_OCTAVE, N_PITCHES = 60.0, 24, 80
"""Hz, and quarter tones from there on: up to 588 Hz."""

_LEAST_ENERGY = 1e-6
_QUIET_DB, _LOUD_DB = -45.0, -20.0  # below the loudest window: where pitch fades out


def pitch_pictures(segments: Tensor, config: AudioConfig) -> Tensor:
    """Draw how periodic sound is, at each time and each pitch.

    A mel picture of some dozen bands shows a voice's harmonics as a blur, and how
    a voice rises and falls says much of an emotion. This is the autocorrelation
    of the sound in windows like those of the mel picture, whitened by half (the
    root of the power spectrum) so that vowels matter less, at lags of quarter
    tones; it fades out where the sound is quiet. The choice is ours.

    Parameters
    ----------
    segments : Tensor of shape (n, n_samples), float32
        Mono sound at ``config.rate``.
    config : AudioConfig

    Returns
    -------
    Tensor of shape (n, n_times, 80), float32
        From 0 (no such pitch) to 1 (perfectly periodic).
    """
    # Half of the rate is enough for voices, and takes half of the time.
    halved = functional.avg_pool1d(segments, 2)
    length, hop = config.win_length // 2, config.hop_length // 2
    windows = functional.pad(halved, (length // 2, length // 2)).unfold(1, length, hop)
    windows = (windows - windows.mean(-1, keepdim=True)) * torch.hann_window(length)
    correlation = torch.fft.irfft(torch.fft.rfft(windows, 2 * length).abs())
    correlation = correlation / correlation[..., :1].clamp_min(1e-9)
    below, share = _lags(config.rate // 2, length)
    strength = correlation[..., below] * (1 - share) + correlation[..., below + 1] * share
    pictures: Tensor = strength.clamp_min(0) * _loudness(windows)
    return pictures


def _loudness(windows: Tensor) -> Tensor:
    """Return from 0 (quiet beside the loudest window) to 1 for each window."""
    energy = windows.square().sum(-1)
    relative = energy / energy.amax(1, keepdim=True).clamp_min(1e-12)
    decibels = 10 * torch.log10(relative.clamp_min(_LEAST_ENERGY))
    return ((decibels - _QUIET_DB) / (_LOUD_DB - _QUIET_DB)).clamp(0, 1)[..., None]


@functools.lru_cache(maxsize=8)
def _lags(rate: int, length: int) -> tuple[Tensor, Tensor]:
    """Return the whole lag below each pitch's own, and the share of the one above it."""
    pitches = LOWEST * 2 ** (torch.arange(N_PITCHES) / PER_OCTAVE)
    lags = (rate / pitches).clamp(max=length - 2)
    below = lags.floor().long()
    return below, lags - below
