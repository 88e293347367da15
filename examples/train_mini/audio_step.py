"""Step 3: the audio tower, on acted speech; it starts from the vision tower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from augment import augment_sound, mask_spectrograms
from data import Labelled, emodb, ravdess, speaker_part
from label_texts import LabelBank
from settings import CLASSES, IMAGE_SIZE, PREPROCESS, SEED
from spaces import label_encoder, trained_towers
from tools import (
    Progress,
    WeightAverage,
    adamw,
    cached,
    root_balanced,
    seed_everything,
    set_rate,
    take_step,
)
from torch import Tensor, nn
from torchaudio.functional import resample
from tower_trainer import TowerTrainer, tower_loss, unit_embeddings

from merclip.preprocess.audio import log_mel, resize, sound_to_tensor, standardize

N_STEPS, MORE_STEPS = 700, 240
RATE, MORE_RATE = 1.5e-3, 1e-3
BATCH = 64
SPEEDS = (0.87, 0.93, 1.0, 1.07, 1.15)
MIXUP = 0.5


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the trained audio tower."""
    seed_everything(SEED + 2)
    tower = trained_towers(run_folder).visual
    return train_and_report(tower, data, run_folder, N_STEPS, RATE)


def run_more(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the audio tower after a second, warm start."""
    seed_everything(SEED + 12)
    tower = trained_towers(run_folder).visual
    tower.load_state_dict(torch.load(run_folder / "audio.pt"))
    return train_and_report(tower, data, run_folder, MORE_STEPS, MORE_RATE)


def train_and_report(
    tower: nn.Module, data: Path, run_folder: Path, n_steps: int, rate: float
) -> dict[str, Tensor]:
    """Train on the training speakers and print results on the validation speakers."""
    speech = cached(run_folder / "speech.pt", lambda: ravdess(data) + emodb(data))
    training = speech.where(speaker_part(speech, "train"))
    bank = LabelBank(label_encoder(run_folder), SEED)
    average = train(TowerTrainer(tower, len(CLASSES)), training, bank, n_steps, rate)
    report(average.tower, speech.where(speaker_part(speech, "validation")), bank)
    return average.tower.state_dict()


def train(
    trainer: TowerTrainer, speech: Labelled, bank: LabelBank, n_steps: int, rate: float
) -> TowerTrainer:
    """Train on augmented segments; return the average of the weights."""
    random = np.random.default_rng(SEED + n_steps)
    variants = [[change_speed(sound, speed) for speed in SPEEDS] for sound in speech.samples]
    weights = root_balanced(speech.classes)
    optimizer = adamw([trainer], rate, 0.05)
    average = WeightAverage(trainer, 0.997)
    progress = Progress("audio", n_steps)
    present = np.unique(speech.classes)
    for step in range(n_steps):
        set_rate(optimizer, rate, step, n_steps)
        chosen = random.choice(len(speech), BATCH, p=weights)
        sounds = [variants[i][random.integers(len(SPEEDS))] for i in chosen]
        pictures = draw_pictures(sounds, random)
        targets = torch.from_numpy(speech.classes[chosen])
        pictures, mixed = mix(pictures, targets, random)
        expanded = pictures[:, None].expand(-1, 3, -1, -1)
        loss, accuracy = tower_loss(trainer, expanded, targets, bank, present, mixed)
        take_step(optimizer, loss)
        average.update(trainer)
        progress(step + 1, loss=loss.item(), accuracy=accuracy)
    return average.module


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
    return mask_spectrograms(resize(spectrograms, IMAGE_SIZE), random)


def cut(sound: np.ndarray, length: int, random: np.random.Generator) -> Tensor:
    """Cut a segment at random; like a clip's last one it may end in silence."""
    latest = max(1, len(sound) - length // 2)
    if random.random() < 0.6:
        latest = max(1, len(sound) - length)
    start = int(random.integers(0, latest))
    segment = np.zeros(length, dtype=np.float32)
    part = sound[start : start + length]
    segment[: len(part)] = part
    return torch.from_numpy(segment)


def mix(
    pictures: Tensor, targets: Tensor, random: np.random.Generator
) -> tuple[Tensor, tuple[Tensor, float] | None]:
    """Blend half of the batches with themselves in another order (mixup)."""
    if random.random() > MIXUP:
        return pictures, None
    share = float(random.beta(0.4, 0.4))
    order = torch.from_numpy(random.permutation(len(pictures)))
    return share * pictures + (1 - share) * pictures[order], (targets[order], share)


@torch.no_grad()
def embed_sound(tower: nn.Module, sound: np.ndarray) -> Tensor:
    """Return the tower's embeddings of a clip's segments."""
    pictures = sound_to_tensor(sound, IMAGE_SIZE, PREPROCESS.audio)
    return tower(pictures[:, None].expand(-1, 3, -1, -1))


def report(tower: nn.Module, speech: Labelled, bank: LabelBank) -> None:
    """Print the accuracy on validation speakers, with words as labels."""
    present = np.unique(speech.classes)
    labels = bank.words([CLASSES[i] for i in present])
    tower.eval()
    means = [unit_embeddings(embed_sound(tower, sound)).mean(0) for sound in speech.samples]
    right = present[(torch.stack(means) @ labels.T).argmax(1).numpy()] == speech.classes
    recalls = {CLASSES[c]: round(float(right[speech.classes == c].mean()), 2) for c in present}
    print(f"[audio] {right.mean():.3f}, recalls {recalls}", flush=True)
