"""Random changes of faces and of speech, on whole batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def augment_faces(pictures: Tensor, size: int, random: np.random.Generator) -> Tensor:
    """Move, scale, recolour and blur faces.

    Parameters
    ----------
    pictures : Tensor of shape (B, 3, S, S), uint8
    size : int
        Height and width of the result.
    random : numpy Generator

    Returns
    -------
    Tensor of shape (B, 3, size, size), float32, of 0 to 255
    """
    moved = _move(pictures.float(), size, random)
    moved = _recolour(moved, random)
    moved = _blur(moved, random)
    return _erase(moved, random).clamp(0, 255)


def _move(pictures: Tensor, size: int, random: np.random.Generator) -> Tensor:
    count = len(pictures)
    zoom = random.uniform(0.85, 1.2, count)
    # Faces in real frames are often small and beside the centre.
    small = random.random(count) < 0.08
    zoom[small] = random.uniform(0.5, 0.85, small.sum())
    angle = np.radians(random.normal(0, 9, count))
    stretch = np.exp(random.normal(0, 0.06, count))
    flip = np.where(random.random(count) < 0.5, -1.0, 1.0)
    shift = random.uniform(-0.12, 0.12, (count, 2)) + small[:, None] * random.uniform(
        -0.25, 0.25, (count, 2)
    )
    matrix = np.empty((count, 2, 3))
    matrix[:, 0, 0] = flip * np.cos(angle) * stretch / zoom
    matrix[:, 0, 1] = -np.sin(angle) / zoom
    matrix[:, 1, 0] = flip * np.sin(angle) / zoom
    matrix[:, 1, 1] = np.cos(angle) / stretch / zoom
    matrix[:, :, 2] = shift / zoom[:, None]
    shape = [count, 3, size, size]
    grid = functional.affine_grid(torch.from_numpy(matrix).float(), shape, align_corners=False)
    mode = ("reflection", "zeros", "border")[random.integers(3)]
    return functional.grid_sample(pictures, grid, padding_mode=mode, align_corners=False)


def _recolour(pictures: Tensor, random: np.random.Generator) -> Tensor:
    count = len(pictures)
    grey = torch.from_numpy(random.random((count, 1, 1, 1)) < 0.3)
    pictures = torch.where(grey, pictures.mean(1, keepdim=True).expand_as(pictures), pictures)
    contrast = np.exp(random.normal(0, 0.15, (count, 1, 1, 1)))
    light = random.normal(0, 15, (count, 1, 1, 1))
    tint = random.normal(0, 10, (count, 3, 1, 1)) * (random.random((count, 1, 1, 1)) < 0.3)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    changed = (pictures - mean) * torch.from_numpy(contrast).float() + mean
    return changed + torch.from_numpy(light + tint).float()


def _blur(pictures: Tensor, random: np.random.Generator) -> Tensor:
    size = pictures.shape[-1]
    chosen = torch.from_numpy(random.random(len(pictures)) < 0.1)
    if not chosen.any():
        return pictures
    smaller = int(size * random.uniform(0.35, 0.7))
    coarse = functional.interpolate(pictures[chosen], (smaller, smaller), mode="area")
    pictures[chosen] = functional.interpolate(
        coarse, (size, size), mode="bilinear", align_corners=False
    )
    return pictures


def _erase(pictures: Tensor, random: np.random.Generator) -> Tensor:
    size = pictures.shape[-1]
    for i in np.flatnonzero(random.random(len(pictures)) < 0.15):
        height, width = random.integers(size // 8, size // 3, 2)
        top, left = random.integers(0, size - height), random.integers(0, size - width)
        pictures[i, :, top : top + height, left : left + width] = float(random.uniform(0, 255))
    return pictures


def augment_sound(sounds: Tensor, rate: int, random: np.random.Generator) -> Tensor:
    """Add noise, a room or a telephone band to sounds of shape (B, n)."""
    sounds = _reverberate(sounds, rate, random)
    sounds = _limit_band(sounds, rate, random)
    chosen = torch.from_numpy(random.random((len(sounds), 1)) < 0.6)
    decibels = torch.from_numpy(random.uniform(8, 45, (len(sounds), 1))).float()
    noise = torch.from_numpy(random.standard_normal(sounds.shape)).float()
    if random.random() < 0.5:
        # Summing and leaking makes the noise darker, as most real noise is.
        spectrum = torch.fft.rfft(noise)
        noise = torch.fft.irfft(
            spectrum / torch.arange(1, spectrum.shape[-1] + 1).sqrt(), sounds.shape[1]
        )
    level = sounds.std(dim=1, keepdim=True) * 10 ** (-decibels / 20)
    noise = noise * level / noise.std(dim=1, keepdim=True)
    return sounds + noise * chosen


def mask_spectrograms(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Blank random stripes of time and of frequency (SpecAugment)."""
    size = pictures.shape[-1]
    for i in range(len(pictures)):
        for _ in range(2):
            width = random.integers(0, size // 7)
            start = random.integers(0, size - width)
            pictures[i, start : start + width] = 0
            width = random.integers(0, size // 8)
            start = random.integers(0, size - width)
            pictures[i, :, start : start + width] = 0
    return pictures


def _reverberate(sounds: Tensor, rate: int, random: np.random.Generator) -> Tensor:
    chosen = torch.from_numpy(random.random(len(sounds)) < 0.2)
    if not chosen.any():
        return sounds
    length = int(rate * random.uniform(0.1, 0.5))
    fall = np.exp(-6.9 * np.arange(length) / length)
    room = torch.from_numpy(random.standard_normal(length) * fall * random.uniform(0.03, 0.2))
    room[0] = 1.0
    total = sounds.shape[1] + length
    spectra = torch.fft.rfft(sounds[chosen], total) * torch.fft.rfft(room.float(), total)
    sounds[chosen] = torch.fft.irfft(spectra, total)[:, : sounds.shape[1]]
    return sounds


def _limit_band(sounds: Tensor, rate: int, random: np.random.Generator) -> Tensor:
    chosen = torch.from_numpy(random.random(len(sounds)) < 0.15)
    if not chosen.any():
        return sounds
    spectra = torch.fft.rfft(sounds[chosen])
    frequencies = torch.linspace(0, rate / 2, spectra.shape[-1])
    inside = (frequencies > 300) & (frequencies < random.uniform(3000, 5500))
    sounds[chosen] = torch.fft.irfft(spectra * (0.01 + 0.99 * inside), sounds.shape[1])
    return sounds
