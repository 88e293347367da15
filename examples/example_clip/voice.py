"""Speaks a phrase with a source-filter synthesiser: a glottal source through moving formants.

A phrase is a string of phonemes, spoken one after another. A vowel may carry its pitch in
semitones and its stretch: "HH AE:9:1.4 P IY:4" is "happy" with a high, long first syllable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SAMPLE_RATE = 48000
UPPER_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)  # the same for every sound
BANDWIDTHS = (70.0, 90.0, 130.0, 200.0, 280.0, 380.0, 480.0, 600.0)
UNSTEADINESS = 1.2  # no tongue holds still: this is about 4 percent of a formant


@dataclass(frozen=True)
class Phoneme:
    """One sound: its length, its formants and how loud each of the three sources is."""

    seconds: float
    formants: tuple[float, float, float]
    voicing: float = 0.0
    breath: float = 0.0
    hiss: float = 0.0
    hiss_centre: float = 5000.0


PHONEMES = {
    "AA": (Phoneme(0.12, (750, 1150, 2500), 1.0),),
    "AE": (Phoneme(0.13, (690, 1700, 2450), 1.0),),
    "AH": (Phoneme(0.08, (600, 1200, 2450), 0.9),),
    "AX": (Phoneme(0.06, (500, 1450, 2450), 0.7),),
    "EH": (Phoneme(0.10, (560, 1820, 2500), 1.0),),
    "ER": (Phoneme(0.10, (480, 1300, 1650), 0.8),),
    "IH": (Phoneme(0.08, (400, 1950, 2550), 0.9),),
    "IY": (Phoneme(0.11, (290, 2250, 2950), 0.9),),
    "UW": (Phoneme(0.13, (320, 1050, 2300), 0.9),),
    "AY": (Phoneme(0.10, (730, 1200, 2500), 1.0), Phoneme(0.07, (400, 2000, 2600), 0.8)),
    "AW": (Phoneme(0.11, (740, 1350, 2450), 1.0), Phoneme(0.08, (420, 950, 2300), 0.8)),
    "OW": (Phoneme(0.09, (540, 1050, 2400), 1.0), Phoneme(0.08, (380, 850, 2300), 0.8)),
    "M": (Phoneme(0.07, (260, 1050, 2200), 0.35),),
    "N": (Phoneme(0.06, (260, 1500, 2500), 0.35),),
    "L": (Phoneme(0.06, (360, 1050, 2700), 0.55),),
    "W": (Phoneme(0.06, (300, 650, 2200), 0.5),),
    "Y": (Phoneme(0.05, (280, 2250, 3000), 0.5),),
    "V": (Phoneme(0.05, (300, 1200, 2300), 0.4, hiss=0.08, hiss_centre=6500),),
    "Z": (Phoneme(0.07, (300, 1600, 2500), 0.3, hiss=0.35, hiss_centre=6800),),
    "F": (Phoneme(0.08, (350, 1200, 2300), hiss=0.22, hiss_centre=6500),),
    "S": (Phoneme(0.10, (350, 1600, 2500), hiss=0.60, hiss_centre=6800),),
    "HH": (Phoneme(0.06, (600, 1600, 2500), 0.05, breath=0.55),),
    "P": (
        Phoneme(0.06, (350, 900, 2300)),
        Phoneme(0.012, (400, 900, 2300), breath=0.3, hiss=0.35, hiss_centre=1200),
        Phoneme(0.03, (450, 1300, 2400), breath=0.4),
    ),
    "T": (
        Phoneme(0.05, (350, 1800, 2600)),
        Phoneme(0.014, (350, 1800, 2600), hiss=0.9, hiss_centre=4800),
        Phoneme(0.03, (400, 1800, 2600), breath=0.4, hiss=0.15, hiss_centre=4800),
    ),
    "D": (
        Phoneme(0.04, (280, 1700, 2600), 0.12),
        Phoneme(0.010, (320, 1750, 2600), 0.2, hiss=0.5, hiss_centre=4200),
    ),
    "_": (Phoneme(0.10, (500, 1500, 2500)),),
}


@dataclass(frozen=True)
class Manner:
    """How somebody speaks: what sets a happy voice apart from an angry one."""

    base_pitch: float  # hertz, at pitch 0 of the phrase
    tempo: float  # above 1 is faster
    vocal_tract: float  # factor on all formants; a smile shortens the tract
    brightness: float  # hertz above which the glottal source falls off
    open_quotient: float  # the part of a cycle with open glottis; small is tense
    jitter: float  # relative, from cycle to cycle
    breathiness: float
    attack: float  # seconds in which loudness changes
    drive: float  # overdrive, for a pressed voice
    accent: float  # decibels of loudness per semitone of pitch
    level: float  # peak of the finished sound


HAPPY = Manner(
    base_pitch=175.0,
    tempo=1.06,
    vocal_tract=1.07,
    brightness=2600.0,
    open_quotient=0.60,
    jitter=0.008,
    breathiness=0.1,
    attack=0.022,
    drive=0.8,
    accent=0.35,
    level=0.72,
)
ANGRY = Manner(
    base_pitch=150.0,
    tempo=1.04,
    vocal_tract=0.98,
    brightness=5200.0,
    open_quotient=0.42,
    jitter=0.025,
    breathiness=0.2,
    attack=0.009,
    drive=2.5,
    accent=0.8,
    level=0.95,
)


Sound = tuple[Phoneme, float, float | None]  # with its seconds and its pitch, if any


def parse_phrase(phrase: str, tempo: float) -> list[Sound]:
    """Turn a phrase into sounds: each with its length in seconds and, for some, its pitch."""
    sounds: list[Sound] = []
    for word in [*phrase.split(), "_"]:
        name, *numbers = word.split(":")
        stretch = float(numbers[1]) if len(numbers) > 1 else 1.0
        for position, phoneme in enumerate(PHONEMES[name]):
            pitch = float(numbers[0]) if numbers and position == 0 else None
            sounds.append((phoneme, phoneme.seconds * stretch / tempo, pitch))
    return sounds


def smooth(track: Array, seconds: float) -> Array:
    """Move gradually between the steps of a track, as the tongue and the lips do."""
    window = np.hanning(int(seconds * SAMPLE_RATE) + 2)
    padded = np.pad(track, len(window) // 2, mode="edge")
    size = len(padded) + len(window) - 1
    size = 1 << (size - 1).bit_length()
    product = np.fft.rfft(padded, size) * np.fft.rfft(window / window.sum(), size)
    start = 2 * (len(window) // 2)
    return np.fft.irfft(product, size)[start : start + len(track)]


def loudness(signal: Array, seconds: float) -> Array:
    """Return the root mean square of a signal around every sample."""
    return np.sqrt(np.maximum(smooth(signal**2, seconds), 0.0))


def resonate(signal: Array, centre: Array, bandwidth: float) -> Array:
    """Run a two-pole resonator with unit gain at zero frequency whose centre moves."""
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    feedback = (2.0 * radius * np.cos(2.0 * np.pi * centre / SAMPLE_RATE)).tolist()
    decay = radius * radius
    output, last, before = [], 0.0, 0.0
    for sample, weight in zip(signal.tolist(), feedback, strict=True):
        last, before = (1.0 - weight + decay) * sample + weight * last - decay * before, last
        output.append(last)
    return np.array(output)


def band_of_noise(centre: Array, random: np.random.Generator) -> Array:
    """Noise around a moving centre frequency, for hissing sounds."""
    noise = np.diff(random.standard_normal(len(centre) + 2), n=2)
    band = resonate(resonate(noise, centre, 900.0), 1.3 * centre, 1800.0)
    return band / (loudness(band, 0.02) + 1e-9)


def pitch_track(sounds: list[Sound], starts: Array, total: int) -> Array:
    """Return the melody in semitones: accents joined by smooth lines, with a slow tremor."""
    seconds = np.arange(total) / SAMPLE_RATE
    accents = [
        (start + 0.4 * length, pitch)
        for start, (_, length, pitch) in zip(starts, sounds, strict=True)
        if pitch is not None
    ]
    semitones = np.interp(seconds, *zip(*accents, strict=True))
    semitones = smooth(semitones, 0.09) + 0.2 * np.sin(2.0 * np.pi * 5.3 * seconds)
    return semitones


def glottal_pulses(pitch: Array, manner: Manner, random: np.random.Generator) -> Array:
    """Return the airflow's slope at the glottis, which opens slowly and shuts abruptly."""
    cycles = np.cumsum(pitch) / SAMPLE_RATE
    wobble = random.standard_normal(int(cycles[-1]) + 3)
    cycles = cycles + np.interp(cycles, np.arange(len(wobble)), manner.jitter * wobble)
    shimmer = 1.0 + 6.0 * manner.jitter * np.roll(wobble, 1)
    phase = cycles % 1.0 / manner.open_quotient
    slope = np.where(phase < 0.67, np.sin(np.pi * phase / 0.67), 0.0)
    closing = np.sin(0.5 * np.pi * (phase - 0.67) / 0.33)
    slope = np.where((phase >= 0.67) & (phase < 1.0), -1.9 * closing, slope)
    slope = slope * shimmer[np.clip(cycles.astype(int), 0, len(shimmer) - 1)]
    pole = np.exp(-2.0 * np.pi * manner.brightness / SAMPLE_RATE)
    output, last = [], 0.0
    for sample in slope.tolist():
        last = (1.0 - pole) * sample + pole * last
        output.append(last)
    return np.array(output)


def through_vocal_tract(
    sound: Array, formants: Array, scale: float, random: np.random.Generator
) -> Array:
    """Filter the source with three moving and five fixed formants, and lets it out."""
    total = len(sound)
    for index, bandwidth in enumerate(BANDWIDTHS):
        target = formants[:, index] if index < 3 else np.full(total, UPPER_FORMANTS[index - 3])
        unsteadiness = 1.0 + UNSTEADINESS * smooth(random.standard_normal(total), 0.03)
        sound = resonate(sound, scale * unsteadiness * smooth(target, 0.045), bandwidth)
    return np.diff(sound, prepend=0.0)  # sound leaves the lips as the slope of the flow


def press(sound: Array, drive: float) -> Array:
    """Evens out the loudness of open and closed vowels, then overdrives a little."""
    level = loudness(sound, 0.08)
    sound = sound / (level + 0.05 * np.max(level)) ** 0.4
    sound = sound / np.max(np.abs(sound))
    return np.tanh(drive * sound) / np.tanh(drive)


def in_a_room(signal: Array, random: np.random.Generator) -> Array:
    """Add the faint echo and the noise floor of a small room."""
    seconds = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    echo = 0.012 * random.standard_normal(len(seconds)) * np.exp(-seconds / 0.045)
    echo[: int(0.004 * SAMPLE_RATE)] = 0.0
    echo[0] = 1.0
    size = 1 << (len(signal) + len(echo)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(echo, size), size)[: len(signal)]
    return wet + 0.0012 * np.max(np.abs(wet)) * random.standard_normal(len(signal))


def speak(phrase: str, manner: Manner, seconds: float, seed: int = 11) -> NDArray[np.float32]:
    """Speaks a phrase and returns exactly that many seconds of sound between -1 and 1."""
    random = np.random.default_rng(seed)
    sounds = parse_phrase(phrase, manner.tempo)
    total = int(seconds * SAMPLE_RATE)
    ends = np.cumsum([length for _, length, _ in sounds])
    if ends[-1] > seconds:
        raise ValueError(f"the phrase takes {ends[-1]:.2f} seconds, more than {seconds}")
    place = np.searchsorted(ends, np.arange(total) / SAMPLE_RATE, side="right")
    place = np.minimum(place, len(sounds) - 1)

    def track(name: str) -> Array:
        return np.array([getattr(phoneme, name) for phoneme, _, _ in sounds], float)[place]

    formants = np.array([phoneme.formants for phoneme, _, _ in sounds], float)[place]
    semitones = pitch_track(sounds, np.concatenate([[0.0], ends[:-1]]), total)
    accent = 10.0 ** (manner.accent * (semitones - 4.0) / 20.0)
    voicing = smooth(track("voicing"), manner.attack) * accent
    breath = smooth(track("breath"), 0.015) + manner.breathiness * voicing
    pulses = glottal_pulses(manner.base_pitch * 2.0 ** (semitones / 12.0), manner, random)
    sound = voicing * pulses + 0.25 * breath * random.standard_normal(total)
    sound = through_vocal_tract(sound, formants, manner.vocal_tract, random)
    sound = press(sound, manner.drive)
    hiss = band_of_noise(smooth(track("hiss_centre"), 0.01), random)
    sound += 0.09 * smooth(track("hiss"), 0.012) * hiss
    sound = in_a_room(sound, random)
    return (manner.level * sound / np.max(np.abs(sound))).astype(np.float32)


def loudness_per_frame(sound: NDArray[np.float32], frame_rate: int) -> Array:
    """How loud the low, voiced part of the sound is at every video frame, from 0 to 1."""
    low = smooth(sound.astype(float), 0.0012)
    level = loudness(low, 0.06)
    centres = ((np.arange(len(sound) * frame_rate // SAMPLE_RATE) + 0.5) / frame_rate) * SAMPLE_RATE
    level = level[centres.astype(int)]
    return np.clip(level / np.quantile(level, 0.95), 0.0, 1.0)
