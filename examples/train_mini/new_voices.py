"""Voices that nobody has: two speakers' utterances of one sentence, with one emotion, morphed.

The data have few speakers. WORLD (Morise et al., 2016) takes speech apart into pitch,
spectral envelope and noise; here two speakers' parts are aligned in time, blended, and put
together again, with another length of the vocal tract and another mean pitch. What the
emotion does to a voice stays, whose voice it is changes. `measure_voices.py` and
docs/accuracy.md say what it brings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyworld
from augment import trimmed
from data import Labelled
from settings import PREPROCESS
from tools import Progress

RATE = PREPROCESS.audio.rate
PERIOD = 5.0
"""Milliseconds from one analysed frame to the next."""
N_CEPSTRA = 60
BLEND = (0.2, 0.8)
"""Share of the second speaker."""
TRACT, PITCH, TEMPO = 0.08, 0.12, 0.1
"""Standard deviations of the logarithms of vocal tract length, mean pitch and tempo."""


@dataclass
class Parts:
    """What WORLD finds in an utterance, per frame of 5 ms.

    Parameters
    ----------
    pitch : array of shape (n,)
        Hz; 0 where unvoiced.
    cepstra : array of shape (n, 60)
        The logarithm of the spectral envelope.
    noise : array of shape (n, n_bands)
        Aperiodicity in decibels.
    """

    pitch: np.ndarray
    cepstra: np.ndarray
    noise: np.ndarray

    def at(self, times: np.ndarray) -> Parts:
        """Return the frames at fractional positions; pitch is that of the nearest frame."""
        below = np.clip(times.astype(int), 0, len(self.pitch) - 1)
        above = np.minimum(below + 1, len(self.pitch) - 1)
        share = (times - below)[:, None]
        return Parts(
            self.pitch[np.where(share[:, 0] < 0.5, below, above)],
            (1 - share) * self.cepstra[below] + share * self.cepstra[above],
            (1 - share) * self.noise[below] + share * self.noise[above],
        )


def analyse(sound: np.ndarray) -> Parts:
    """Take speech apart, without the silence before and after it."""
    samples = trimmed(sound, RATE).astype(np.float64)
    # WORLD divides by zero in digital silence.
    samples = samples + 1e-5 * np.random.default_rng(0).standard_normal(len(samples))
    pitch, times = pyworld.harvest(samples, RATE, 60.0, 700.0, PERIOD)
    envelope = pyworld.cheaptrick(samples, pitch, times, RATE)
    noise = pyworld.d4c(samples, pitch, times, RATE)
    return Parts(
        pitch.astype(np.float32),
        pyworld.code_spectral_envelope(envelope, RATE, N_CEPSTRA).astype(np.float32),
        pyworld.code_aperiodicity(noise, RATE).astype(np.float32),
    )


def aligned(one: Parts, other: Parts) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of two utterances that belong together (dynamic time warping)."""
    cost = _distances(_shape(one), _shape(other))
    total = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    total[0, 0] = 0.0
    # Along anti-diagonals all entries depend on earlier ones alone.
    for diagonal in range(2, sum(cost.shape) + 1):
        i = np.arange(max(1, diagonal - cost.shape[1]), min(cost.shape[0], diagonal - 1) + 1)
        j = diagonal - i
        steps = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        total[i, j] = cost[i - 1, j - 1] + steps.min(0)
    path, i, j = [], *cost.shape
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        step = np.argmin([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        i, j = i - (step != 2), j - (step != 1)
    first, second = np.array(path[::-1]).T
    return first, second


def _shape(parts: Parts) -> np.ndarray:
    """Return what aligns two voices: the coarse envelope, loudness and voicing."""
    cepstra = parts.cepstra[::2, :16]
    normal = (cepstra - cepstra.mean(0)) / (cepstra.std(0) + 1e-6)
    weights = np.r_[2.0, np.ones(15)]
    return np.c_[normal * weights, 2.0 * (parts.pitch[::2] > 0)]


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0.0))


def morph(one: Parts, other: Parts, random: np.random.Generator) -> np.ndarray:
    """Return speech between two utterances, at random, as samples at 16 kHz."""
    first, second = aligned(one, other)
    share = random.uniform(*BLEND)
    # Positions along the path, at a tempo between both.
    places = 2 * ((1 - share) * first + share * second)
    tempo = np.exp(random.normal(0, TEMPO))
    ticks = np.arange(0, places[-1], tempo)
    left = one.at(2.0 * np.interp(ticks, places, first))
    right = other.at(2.0 * np.interp(ticks, places, second))
    return synthesise(blended(left, right, share), random)


def blended(left: Parts, right: Parts, share: float) -> Parts:
    """Return frames between two voices."""
    both = (left.pitch > 0) & (right.pitch > 0)
    between = np.exp(
        (1 - share) * np.log(np.maximum(left.pitch, 1)) + share * np.log(np.maximum(right.pitch, 1))
    )
    # Where one alone is voiced, the nearer speaker decides, at the blend's level of pitch.
    levels = [np.log(p.pitch[both]).mean() if both.any() else 0.0 for p in (left, right)]
    nearer, own = (left, 0) if share < 0.5 else (right, 1)
    middle = (1 - share) * levels[0] + share * levels[1]
    moved = nearer.pitch * np.exp(middle - levels[own])
    return Parts(
        np.where(both, between, moved),
        (1 - share) * left.cepstra + share * right.cepstra,
        (1 - share) * left.noise + share * right.noise,
    )


def synthesise(parts: Parts, random: np.random.Generator) -> np.ndarray:
    """Put speech together again, by a speaker of another size."""
    size = pyworld.get_cheaptrick_fft_size(RATE)
    envelope = pyworld.decode_spectral_envelope(_doubles(parts.cepstra), RATE, size)
    tract = np.exp(random.normal(0, TRACT))
    envelope = _stretched(envelope, tract)
    pitch = _doubles(parts.pitch * np.exp(random.normal(0, PITCH)))
    noise = pyworld.decode_aperiodicity(_doubles(parts.noise), RATE, size)
    return pyworld.synthesize(pitch, envelope, noise, RATE, PERIOD).astype(np.float32)


def _stretched(envelope: np.ndarray, factor: float) -> np.ndarray:
    bins = np.minimum(np.arange(envelope.shape[1]) / factor, envelope.shape[1] - 1)
    below = np.minimum(bins.astype(int), envelope.shape[1] - 2)
    share = bins - below
    return np.ascontiguousarray((1 - share) * envelope[:, below] + share * envelope[:, below + 1])


def _doubles(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float64)


def partners(speech: Labelled, sentences: np.ndarray) -> list[np.ndarray]:
    """Return for each utterance those of other speakers: the same sentence and emotion."""
    keys = np.char.add(np.char.add(sentences.astype(str), "/"), speech.classes.astype(str))
    return [
        np.flatnonzero((keys == keys[i]) & (speech.groups != speech.groups[i]))
        for i in range(len(speech))
    ]


def new_voices(
    speech: Labelled, sentences: np.ndarray, count: int, seed: int
) -> tuple[Labelled, np.ndarray]:
    """Return morphed speech: `count` for each utterance that has partners.

    Returns
    -------
    morphs : Labelled
        Sounds in fp16, grouped by the first speaker.
    others : array
        The second speakers.
    """
    progress = Progress("new voices", len(speech))
    parts = []
    for number, sound in enumerate(speech.samples):
        parts.append(analyse(sound))
        progress(number + 1)
    progress = Progress("morphs", len(speech))
    sounds, firsts, seconds = [], [], []
    for number, found in enumerate(partners(speech, sentences)):
        chosen = np.random.default_rng((seed, number)).permutation(found)[:count]
        for other in chosen.tolist():
            random = np.random.default_rng((seed, number, other))
            sounds.append(morph(parts[number], parts[other], random).astype(np.float16))
            firsts.append(number)
            seconds.append(other)
        progress(number + 1)
    return Labelled(sounds, speech.classes[firsts], speech.groups[firsts]), speech.groups[seconds]
