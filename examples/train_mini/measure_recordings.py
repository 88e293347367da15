"""Measure how voices are read that were recorded otherwise than in a quiet studio.

    python examples/train_mini/measure_recordings.py --data DATA [--model NAME]

RAVDESS's actors 17 to 20, whom no step of training heard: as they are, cut to the speech
alone, in noise, in a room, through a telephone; the whole network, words as labels.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from data import class_number  # noqa: E402
from settings import CLASSES, DEFAULT_LABELS, PREPROCESS  # noqa: E402
from speech import TEST_ACTORS, clips  # noqa: E402
from tower_trainer import recalls  # noqa: E402

from merclip import Audio, EmotionClassifier  # noqa: E402
from merclip.preprocess.audio import trim  # noqa: E402

RATE, SEED = PREPROCESS.audio.rate, 5
LONGEST = 8 * RATE
"""Samples of noise that are drawn, of which a sound takes as many as it has."""
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    test = [pair for pair in clips("ravdess", arguments.data) if pair[0]["actor"] in TEST_ACTORS]
    sounds = [sound for _, sound in test]
    classes = np.array([class_number(row["emotion"]) for row, _ in test])
    classifier = EmotionClassifier(list(DEFAULT_LABELS), model=arguments.model, batch_size=32)
    print(f"{len(sounds)} clips, {len(DEFAULT_LABELS)} classes, seed {SEED}\n")
    print("| recording | accuracy | balanced accuracy | most frequent answer, its share |")
    print("|---|---|---|---|")
    for name, change in CHANGES.items():
        random = np.random.default_rng(SEED)
        heard = [Audio(change(sound, random), rate=RATE) for sound in sounds]
        answers = np.array([CLASSES.index(label) for label in classifier.predict(audio=heard)])
        accuracy, balanced = recalls(answers, classes)
        counts = np.bincount(answers)
        most, share = CLASSES[counts.argmax()], counts.max() / len(answers)
        print(f"| {name} | {accuracy:.3f} | {balanced:.3f} | {most}, {share:.2f} |", flush=True)


def as_recorded(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the sound, with the silence around it."""
    return sound


def speech_alone(sound: np.ndarray, random: np.random.Generator | None = None) -> np.ndarray:
    """Return the sound without the silence around it: two seconds, or a little more."""
    return trim(torch.from_numpy(sound), PREPROCESS.audio).numpy()


def noisy(sound: np.ndarray, random: np.random.Generator, decibels: float) -> np.ndarray:
    """Add pink noise, so many decibels below the speech, from the first sample to the last."""
    spectrum = np.fft.rfft(random.standard_normal(LONGEST))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)))[: len(sound)]
    level = np.sqrt((speech_alone(sound) ** 2).mean() / (noise**2).mean())
    return (sound + noise * level * 10 ** (-decibels / 20)).astype(np.float32)


def short_and_noisy(sound: np.ndarray, random: np.random.Generator, decibels: float) -> np.ndarray:
    """Add noise to the speech alone."""
    return noisy(speech_alone(sound), random, decibels)


def in_a_room(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add the echo of a room, 60 dB down after 0.4 s, and about as loud as the voice."""
    length = int(0.4 * RATE)
    echo = random.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    echo /= np.linalg.norm(echo)
    echo[0] = 1.0
    total = len(sound) + length
    spectrum = np.fft.rfft(sound, total) * np.fft.rfft(echo, total)
    return np.fft.irfft(spectrum, total)[: len(sound)].astype(np.float32)


def by_telephone(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Keep 300 to 3,400 Hz alone."""
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(frequencies < 300) | (frequencies > 3400)] *= 0.003
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


CHANGES: dict[str, Change] = {
    "as recorded": as_recorded,
    "noise 15 dB below": partial(noisy, decibels=15),
    "noise 5 dB below": partial(noisy, decibels=5),
    "the speech alone": speech_alone,
    "the speech alone, noise 15 dB below": partial(short_and_noisy, decibels=15),
    "the speech alone, noise 5 dB below": partial(short_and_noisy, decibels=5),
    "in a room": in_a_room,
    "by telephone": by_telephone,
}


if __name__ == "__main__":
    main()
