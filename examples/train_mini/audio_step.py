"""The audio tower: its trunk on acted speech, by a linear head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from augment import augment_sound, mask_spectrograms, warp_spectrograms
from data import Labelled, emodb, ravdess, speaker_part
from settings import ARCHITECTURE, CLASSES, IMAGE_SIZE, PREPROCESS, SEED
from tools import cached, root_balanced, seed_everything
from torch import Tensor
from torchaudio.functional import resample
from tower_trainer import TrunkTrainer, mixed, one_hot, recalls, train_trunk

from merclip.network import build_towers
from merclip.preprocess.audio import log_mel, resize, sound_to_tensor, standardize

N_STEPS = 1800
RATE = 2e-3
BATCH = 64
SPEEDS = (0.87, 0.93, 1.0, 1.07, 1.15)
MIXUP_SHARE, MIXUP = 0.5, 0.4


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the tower and its head, of all speakers but the test ones."""
    return train_on(("train", "validation"), SEED + 2, "audio", data, run_folder)


def run_check(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the same without the validation speakers, on whom it can be measured."""
    return train_on(("train",), SEED + 3, "audio_check", data, run_folder)


def train_on(
    parts: tuple[str, ...], seed: int, name: str, data: Path, run_folder: Path
) -> dict[str, Tensor]:
    """Train a tower on some parts of the speakers."""
    seed_everything(seed)
    speech = voices(data, run_folder)
    training = speech.where(np.any([speaker_part(speech, part) for part in parts], axis=0))
    validation = speech.where(speaker_part(speech, "validation"))
    variants = [[change_speed(sound, speed) for speed in SPEEDS] for sound in training.samples]
    average = train_trunk(
        TrunkTrainer(build_towers(ARCHITECTURE).visual),
        lambda step: draw_batch(variants, training.classes, (seed, step)),
        N_STEPS,
        RATE,
        name,
        run_folder / f"{name}.state",
        lambda module: report(module, validation, name),
    )
    return average.state_dict()


def voices(data: Path, run_folder: Path) -> Labelled:
    """Return all acted speech."""
    return cached(run_folder / "speech.pt", lambda: ravdess(data) + emodb(data))


def draw_batch(
    variants: list[list[np.ndarray]], classes: np.ndarray, seed: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return augmented pictures of a step and their targets."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(variants), BATCH, p=root_balanced(classes))
    sounds = [variants[i][random.integers(len(SPEEDS))] for i in chosen]
    pictures, targets = draw_pictures(sounds, random)[:, None], one_hot(classes[chosen])
    if random.random() < MIXUP_SHARE:
        return mixed(pictures, targets, MIXUP, random)
    return pictures, targets


def change_speed(sound: np.ndarray, speed: float) -> np.ndarray:
    """Play faster or slower, with pitch."""
    if speed == 1.0:
        return sound
    rate = PREPROCESS.audio.rate
    return resample(torch.from_numpy(sound), round(rate * speed / 100) * 100, rate).numpy()


def draw_pictures(sounds: list[np.ndarray], random: np.random.Generator) -> Tensor:
    """Cut a random segment of each sound and draw it as the package does."""
    length = PREPROCESS.audio.segment_samples
    segments = torch.stack([cut(sound, length, random) for sound in sounds])
    segments = augment_sound(segments, PREPROCESS.audio.rate, random)
    spectrograms = standardize(log_mel(segments, PREPROCESS.audio), PREPROCESS.audio)
    pictures = warp_spectrograms(resize(spectrograms, IMAGE_SIZE), random)
    return mask_spectrograms(pictures, random)


def cut(sound: np.ndarray, length: int, random: np.random.Generator) -> Tensor:
    """Cut a segment at random; it may begin or, like a clip's last one, end in silence."""
    if random.random() < 0.2:
        sound = np.concatenate([np.zeros(random.integers(0, length // 3), np.float32), sound])
    latest = len(sound) - length // 2 if random.random() < 0.3 else len(sound) - length
    start = int(random.integers(0, max(1, latest)))
    segment = np.zeros(length, dtype=np.float32)
    part = sound[start : start + length]
    segment[: len(part)] = part
    return torch.from_numpy(segment)


def segments_of(sound: np.ndarray) -> Tensor:
    """Return a clip's spectrograms as the package makes them: shape (n, 1, S, S)."""
    return sound_to_tensor(sound, IMAGE_SIZE, PREPROCESS.audio)[:, None]


@torch.no_grad()
def report(trainer: TrunkTrainer, speech: Labelled, name: str) -> None:
    """Print accuracies of the linear head on validation speakers."""
    present = np.unique(speech.classes)
    means = [trainer.eval()(segments_of(sound)).softmax(1).mean(0) for sound in speech.samples]
    guesses = present[torch.stack(means)[:, present].argmax(1).numpy()]
    accuracy, balanced = recalls(guesses, speech.classes)
    each = {CLASSES[c]: f"{(guesses == c)[speech.classes == c].mean():.2f}" for c in present}
    print(f"[{name}] {accuracy:.3f}, balanced {balanced:.3f}, recalls {each}", flush=True)
