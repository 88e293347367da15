"""Sounds and pictures that show no emotion: what a network must not be sure of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RATE = 16000

Sound = np.ndarray
Draw = Callable[[np.random.Generator, int], np.ndarray]


def sounds(count: int, seed: int) -> list[Sound]:
    """Return sounds without a voice, of one to six seconds, of every kind in turn."""
    random = np.random.default_rng(seed)
    kinds = list(SOUNDS.values())
    found = []
    for number in range(count):
        length = int(random.uniform(1.0, 6.0) * RATE)
        sound = kinds[number % len(kinds)](random, length)
        peak = np.abs(sound).max() or 1.0
        found.append((sound / peak * 10 ** random.uniform(-1.8, 0)).astype(np.float32))
    return found


def noise(random: np.random.Generator, length: int) -> Sound:
    """Draw noise, from white to darker than brown."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    power = random.uniform(0, 1.4)
    return np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** power, length)


def band_noise(random: np.random.Generator, length: int) -> Sound:
    """Draw noise of one band, louder and quieter, as wind and traffic are."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    frequencies = np.fft.rfftfreq(length, 1 / RATE)
    middle = 10 ** random.uniform(2, 3.7)
    spectrum *= np.exp(
        -(np.log2(np.maximum(frequencies, 1) / middle) ** 2) / random.uniform(0.1, 2)
    )
    return np.fft.irfft(spectrum, length) * _slow(random, length)


def hum(random: np.random.Generator, length: int) -> Sound:
    """Draw mains, engines, fans: a low tone with overtones, and a little noise."""
    base = random.choice([50.0, 60.0, 100.0, 120.0, random.uniform(30, 400)])
    time = np.arange(length) / RATE
    tones = sum(
        random.exponential(1.0) / n * np.sin(2 * np.pi * base * n * time + random.uniform(0, 6))
        for n in range(1, int(random.integers(2, 12)))
    )
    return tones + noise(random, length) * random.uniform(0, 30)


def tone(random: np.random.Generator, length: int) -> Sound:
    """Draw a steady, gliding or interrupted tone, as of instruments and alarms."""
    time = np.arange(length) / RATE
    start, end = 10 ** random.uniform(2, 3.5, 2)
    pitch = np.linspace(start, end if random.random() < 0.5 else start, length)
    wave = np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    if random.random() < 0.4:
        wave *= np.sin(2 * np.pi * random.uniform(0.5, 6) * time) > 0
    return wave + noise(random, length) * random.uniform(0, 10)


def music(random: np.random.Generator, length: int) -> Sound:
    """Draw chords and a tune over a beat, of overtones that fade."""
    total = np.zeros(length)
    beat = int(RATE * random.uniform(0.15, 0.6))
    scale = 110 * 2 ** (random.integers(0, 24) / 12) * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11]) / 12)
    fade, n_overtones = random.uniform(1, 8), int(random.integers(1, 9))
    drums = random.random() < 0.6
    for start in range(0, length, beat):
        room = min(length - start, 4 * beat)
        time = np.arange(room) / RATE
        for pitch in random.choice(scale, int(random.integers(1, 4)), replace=False):
            octave = 2.0 ** random.integers(-1, 3)
            for n in range(1, n_overtones + 1):
                total[start : start + room] += (
                    np.sin(2 * np.pi * pitch * octave * n * time) * np.exp(-fade * time) / n**1.2
                )
        if drums:
            hit = random.standard_normal(room) * np.exp(-40 * time)
            total[start : start + room] += 2 * hit * random.random()
    return total


def clicks(random: np.random.Generator, length: int) -> Sound:
    """Draw knocks, typing, applause: short hits at random times."""
    total = np.zeros(length)
    for start in random.integers(0, length, int(random.integers(3, 400))):
        room = min(length - start, 1600)
        decay = np.exp(-np.arange(room) / random.uniform(20, 300))
        total[start : start + room] += random.standard_normal(room) * decay * random.random()
    return total + noise(random, length) * random.uniform(0, 3)


def hiss(random: np.random.Generator, length: int) -> Sound:
    """Draw an empty room: faint, nearly white."""
    return noise(random, length) * 1e-3 + random.standard_normal(length) * 1e-3


def _slow(random: np.random.Generator, length: int) -> np.ndarray:
    """Return a loudness that changes within seconds."""
    places = np.linspace(0, length, max(3, length // RATE * 3))
    return np.interp(np.arange(length), places, random.uniform(0.1, 1, len(places)))


SOUNDS: dict[str, Draw] = {
    "noise": noise,
    "band noise": band_noise,
    "hum": hum,
    "tone": tone,
    "music": music,
    "clicks": clicks,
    "hiss": hiss,
}


def babble(voices: list[Sound], random: np.random.Generator, length: int) -> Sound:
    """Return many voices at once, of which none is understood."""
    total = np.zeros(length)
    for number in random.choice(len(voices), int(random.integers(8, 20)), replace=False):
        sound = voices[number][::-1] if random.random() < 0.5 else voices[number]
        total += np.resize(sound / (np.abs(sound).max() + 1e-6), length)
    return total


def pictures(count: int, size: int, seed: int) -> np.ndarray:
    """Return pictures without a face: (count, size, size, 3), uint8, of every kind in turn."""
    random = np.random.default_rng(seed)
    kinds = (_plain, _gradient, _speckled, _shapes, _texture, _screen)
    made = [kinds[number % len(kinds)](random, size) for number in range(count)]
    return np.stack(made).clip(0, 255).astype(np.uint8)


def _plain(random: np.random.Generator, size: int) -> np.ndarray:
    level = random.choice([0.0, 255.0, random.uniform(0, 255)])
    grain = random.normal(0, random.choice([0, 2]), (size, size, 3))
    return level + grain


def _gradient(random: np.random.Generator, size: int) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
    angle = random.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x + np.sin(angle) * y
    colours = random.uniform(0, 255, (2, 3))
    share = (slope[..., None] + 1.5) / 3
    return colours[0] * share + colours[1] * (1 - share)


def _speckled(random: np.random.Generator, size: int) -> np.ndarray:
    small = int(random.choice([size, size // 2, size // 4, size // 8]))
    grid = random.uniform(0, 255, (small, small, 3))
    return np.kron(grid, np.ones((size // small + 1, size // small + 1, 1)))[:size, :size]


def _shapes(random: np.random.Generator, size: int) -> np.ndarray:
    picture = _gradient(random, size)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    for _ in range(int(random.integers(2, 12))):
        colour = random.uniform(0, 255, 3)
        left, top = random.uniform(-0.2, 1, 2) * size
        width, height = random.uniform(0.05, 0.7, 2) * size
        inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        if random.random() < 0.3:
            inside = ((x - left) / width) ** 2 + ((y - top) / height) ** 2 < 1
        picture[inside] = colour
    return picture


def _texture(random: np.random.Generator, size: int) -> np.ndarray:
    spectrum = np.fft.fft2(random.standard_normal((size, size, 3)), axes=(0, 1))
    far = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    soft = np.fft.ifft2(
        spectrum / np.maximum(far, 1 / size)[..., None] ** random.uniform(0.5, 2), axes=(0, 1)
    ).real
    soft = (soft - soft.mean()) / (soft.std() + 1e-9)
    if random.random() < 0.5:
        soft = np.repeat(soft[..., :1], 3, axis=2)
    return 128 + soft * random.uniform(10, 70)


def _screen(random: np.random.Generator, size: int) -> np.ndarray:
    picture = np.full((size, size, 3), random.choice([20.0, 240.0]))
    for top in range(2, size - 3, int(random.integers(4, 9))):
        for left in range(2, int(size * random.uniform(0.3, 1)), 2):
            if random.random() < 0.7:
                picture[top : top + 2, left : left + 2] = 255 - picture[0, 0]
    return picture
