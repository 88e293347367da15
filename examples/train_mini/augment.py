"""Random changes of faces and of speech, on whole batches."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def augment_faces(pictures: Tensor, size: int, random: np.random.Generator) -> Tensor:
    """Move, turn, cut, relight, cover, blur and compress faces.

    Parameters
    ----------
    pictures : Tensor of shape (B, 1, S, S), uint8
    size : int
        Height and width of the result.
    random : numpy Generator

    Returns
    -------
    Tensor of shape (B, 1, size, size), float32, of 0 to 255
    """
    moved = _move(pictures.float(), size, random)
    moved = _cover(moved, random)
    moved = _relight(moved, random)
    moved = _blur(moved, random)
    moved = _erase(moved, random).clamp(0, 255)
    return _compress(moved, random)


def scramble(pictures: Tensor, random: np.random.Generator, block: int = 16) -> Tensor:
    """Return pictures (B, 1, S, S) cut into blocks and laid together otherwise: no faces."""
    count, _, size, _ = pictures.shape
    across = size // block
    blocks = pictures.reshape(count, across, block, across, block).transpose(2, 3)
    blocks = blocks.reshape(count, across * across, block, block)
    order = torch.from_numpy(random.permuted(np.tile(np.arange(across**2), (count, 1)), axis=1))
    mixed = blocks[torch.arange(count)[:, None], order].reshape(count, across, across, block, block)
    return mixed.transpose(2, 3).reshape(count, 1, size, size)


def _move(pictures: Tensor, size: int, random: np.random.Generator) -> Tensor:
    count = len(pictures)
    zoom = random.uniform(0.82, 1.22, count)
    # Faces in real frames are often small and beside the centre.
    small = random.random(count) < 0.06
    zoom[small] = random.uniform(0.45, 0.82, small.sum())
    angle = np.radians(random.normal(0, 10, count))
    stretch = np.exp(random.normal(0, 0.07, count))
    flip = np.where(random.random(count) < 0.5, -1.0, 1.0)
    shift = random.uniform(-0.13, 0.13, (count, 2))
    shift += small[:, None] * random.uniform(-0.3, 0.3, (count, 2))
    # A part of the face lies beyond the picture.
    cut = random.random(count) < 0.08
    shift += cut[:, None] * random.uniform(-0.45, 0.45, (count, 2))
    matrix = np.zeros((count, 3, 3))
    matrix[:, 0, 0] = flip * np.cos(angle) * stretch / zoom
    matrix[:, 0, 1] = -np.sin(angle) / zoom
    matrix[:, 1, 0] = flip * np.sin(angle) / zoom
    matrix[:, 1, 1] = np.cos(angle) / stretch / zoom
    matrix[:, :2, 2] = shift / zoom[:, None]
    # A head that turns or nods shows one side smaller than the other.
    turned = (random.random(count) < 0.5)[:, None]
    matrix[:, 2, :2] = turned * random.normal(0, 0.1, (count, 2)).clip(-0.3, 0.3)
    matrix[:, 2, 2] = 1.0
    line = (torch.arange(size) + 0.5) * 2 / size - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).reshape(-1, 3)
    moved = places @ torch.from_numpy(matrix).float().transpose(1, 2)
    grid = (moved[..., :2] / moved[..., 2:]).reshape(count, size, size, 2)
    mode = ("reflection", "zeros", "border", "border")[random.integers(4)]
    return functional.grid_sample(pictures, grid, padding_mode=mode, align_corners=False)


def _cover(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Hide the mouth, the eyes, the forehead or a side: masks, glasses, hats, hair and hands."""
    size = pictures.shape[-1]
    for i in np.flatnonzero(random.random(len(pictures)) < 0.12):
        top, bottom, left, right = 0.0, 1.0, 0.0, 1.0
        kind = random.choice(4, p=(0.4, 0.3, 0.1, 0.2))
        if kind == 0:
            top = random.uniform(0.45, 0.65)
        elif kind == 1:
            top, bottom = random.uniform(0.15, 0.3), random.uniform(0.38, 0.5)
        elif kind == 2:
            bottom = random.uniform(0.2, 0.4)
        elif random.random() < 0.5:
            left = random.uniform(0.5, 0.75)
        else:
            right = random.uniform(0.25, 0.5)
        rows = slice(round(top * size), round(bottom * size))
        columns = slice(round(left * size), round(right * size))
        part = pictures[i, :, rows, columns]
        tone = random.uniform(0, 255) + random.uniform(0, 12) * torch.randn_like(part)
        part.lerp_(tone, float(random.uniform(0.7, 1.0)))
    return pictures


def _relight(pictures: Tensor, random: np.random.Generator) -> Tensor:
    count = (len(pictures), 1, 1, 1)
    gamma = np.exp(random.normal(0, 0.22, count))
    contrast = np.exp(random.normal(0, 0.2, count))
    light = random.normal(0, 20, count)
    curved = 255 * (pictures / 255).clamp(0, 1) ** torch.from_numpy(gamma).float()
    mean = curved.mean((1, 2, 3), keepdim=True)
    changed = (curved - mean) * torch.from_numpy(contrast).float() + mean
    changed = changed * _slope(pictures, random) + torch.from_numpy(light).float()
    noisy = torch.from_numpy((random.random(count) < 0.12) * random.uniform(2, 14, count)).float()
    return changed + noisy * torch.randn_like(changed)


def _slope(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Return factors of a light from one side, for some of the pictures."""
    count, size = len(pictures), pictures.shape[-1]
    strength = (random.random(count) < 0.35) * random.uniform(0, 0.6, count)
    angle = random.uniform(0, 2 * np.pi, count)
    line = torch.linspace(-1, 1, size)
    across = torch.from_numpy(strength * np.cos(angle)).float()[:, None] * line
    down = torch.from_numpy(strength * np.sin(angle)).float()[:, None] * line
    return (1 + across[:, None, None, :] + down[:, None, :, None]).clamp(0.2, 1.8)


def _blur(pictures: Tensor, random: np.random.Generator) -> Tensor:
    size = pictures.shape[-1]
    chosen = torch.from_numpy(random.random(len(pictures)) < 0.18)
    if not chosen.any():
        return pictures
    smaller = int(size * random.uniform(0.3, 0.75))
    coarse = functional.interpolate(pictures[chosen], (smaller, smaller), mode="area")
    pictures[chosen] = functional.interpolate(
        coarse, (size, size), mode="bilinear", align_corners=False
    )
    return pictures


def _erase(pictures: Tensor, random: np.random.Generator) -> Tensor:
    size = pictures.shape[-1]
    for i in np.flatnonzero(random.random(len(pictures)) < 0.2):
        height, width = random.integers(size // 8, size // 2.5, 2)
        top, left = random.integers(0, size - height), random.integers(0, size - width)
        pictures[i, :, top : top + height, left : left + width] = float(random.uniform(0, 255))
    return pictures


def _compress(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Pass some pictures through JPEG."""
    for i in np.flatnonzero(random.random(len(pictures)) < 0.15):
        written = io.BytesIO()
        picture = Image.fromarray(pictures[i, 0].round().to(torch.uint8).numpy())
        picture.save(written, "JPEG", quality=int(random.integers(12, 60)))
        pictures[i, 0] = torch.from_numpy(np.array(Image.open(written))).float()
    return pictures


def augment_sound(sounds: Tensor, rate: int, random: np.random.Generator) -> Tensor:
    """Add other voices, a microphone, a room, a telephone band or noise to sounds (B, n)."""
    sounds = _add_voices(sounds, random)
    sounds = _colour(sounds, rate, random)
    sounds = _reverberate(sounds, rate, random)
    sounds = _limit_band(sounds, rate, random)
    return _add_noise(sounds, random)


def _add_voices(sounds: Tensor, random: np.random.Generator) -> Tensor:
    chosen = np.flatnonzero(random.random(len(sounds)) < 0.12)
    others = sounds[random.integers(len(sounds), size=len(chosen))].flip(1)
    sounds[chosen] += _at_level(others, sounds[chosen], random.uniform(8, 25, len(chosen)))
    return sounds


def _add_noise(sounds: Tensor, random: np.random.Generator) -> Tensor:
    chosen = np.flatnonzero(random.random(len(sounds)) < 0.6)
    if not len(chosen):
        return sounds
    noise = random.standard_normal((len(chosen), sounds.shape[1]), dtype=np.float32)
    spectrum = torch.fft.rfft(torch.from_numpy(noise))
    # White, or darker, as most real noise is.
    power = random.choice([0.0, 0.5, 1.0])
    darker = spectrum / torch.arange(1, spectrum.shape[1] + 1) ** power
    noise = torch.fft.irfft(darker, sounds.shape[1])
    sounds[chosen] += _at_level(noise, sounds[chosen], random.uniform(3, 40, len(chosen)))
    return sounds


def _colour(sounds: Tensor, rate: int, random: np.random.Generator) -> Tensor:
    """Make some frequencies louder and others quieter, as microphones do."""
    chosen = torch.from_numpy(random.random(len(sounds)) < 0.4)
    if not chosen.any():
        return sounds
    spectra = torch.fft.rfft(sounds[chosen])
    decibels = torch.from_numpy(random.normal(0, 5, (len(spectra), 1, 6))).float()
    frequencies = torch.linspace(0, rate / 2, spectra.shape[-1])
    places = (torch.log2(frequencies.clamp_min(60.0) / 60.0) / np.log2(rate / 2 / 60.0)) * 2 - 1
    grid = torch.stack([places, torch.zeros_like(places)], dim=-1).expand(len(spectra), 1, -1, -1)
    curve = functional.grid_sample(decibels[:, None], grid, align_corners=True)[:, 0, 0]
    sounds[chosen] = torch.fft.irfft(spectra * 10 ** (curve / 20), sounds.shape[1])
    return sounds


def _at_level(added: Tensor, sounds: Tensor, decibels: np.ndarray) -> Tensor:
    """Scale what is added to so many decibels below the sounds."""
    level = sounds.norm(dim=1) / added.norm(dim=1).clamp_min(1e-6)
    return added * (level * torch.from_numpy(10 ** (-decibels / 20)).float())[:, None]


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
