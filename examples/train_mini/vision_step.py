"""Step 2: the vision tower, on faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from augment import augment_faces
from data import Labelled, facial_expressions, fer2013, split_validation
from label_texts import LabelBank
from settings import ARCHITECTURE, CLASSES, IMAGE_SIZE, PREPROCESS, SEED
from spaces import label_encoder
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
from tower_trainer import TowerTrainer, tower_loss, unit_embeddings

from merclip.network import build_towers
from merclip.preprocess.vision import frames_to_tensor, normalize_frames

PHASES = ((64, 1000), (96, 220))
"""Picture size and number of steps: most of the learning is done on small pictures."""
MORE_PHASES, LAST_PHASES = ((96, 1000),), ((96, 1450),)
RATE, MORE_RATE = 2.5e-3, 1.5e-3
BATCH, MORE_BATCH, LAST_BATCH = 128, 64, 96
PHOTO_SHARE = 0.16
VALIDATION_SHARE = 0.04


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the trained image tower."""
    seed_everything(SEED + 1)
    training, validation = faces(data, run_folder)
    bank = LabelBank(label_encoder(run_folder), SEED)
    tower = build_towers(ARCHITECTURE).visual
    average = train(TowerTrainer(tower, len(CLASSES)), training, bank, PHASES, RATE, BATCH)
    report(average.tower, validation, bank)
    return average.tower.state_dict()


def run_more(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the image tower after a second, warm start."""
    return go_on(data, run_folder, "vision.pt", SEED + 11, MORE_PHASES, MORE_BATCH)


def run_last(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the image tower after a third, warm start."""
    return go_on(data, run_folder, "vision_more.pt", SEED + 21, LAST_PHASES, LAST_BATCH)


def go_on(
    data: Path,
    run_folder: Path,
    name: str,
    seed: int,
    phases: tuple[tuple[int, int], ...],
    batch: int,
) -> dict[str, Tensor]:
    """Train on from a file of the run folder, with new label wordings."""
    seed_everything(seed)
    training, validation = faces(data, run_folder)
    bank = LabelBank(label_encoder(run_folder), seed)
    tower = build_towers(ARCHITECTURE).visual
    tower.load_state_dict(torch.load(run_folder / name))
    trainer = TowerTrainer(tower, len(CLASSES))
    average = train(trainer, training, bank, phases, MORE_RATE, batch)
    report(average.tower, validation, bank)
    return average.tower.state_dict()


def faces(data: Path, run_folder: Path) -> tuple[Labelled, Labelled]:
    """Return training and validation faces, preprocessed as at inference."""
    return cached(run_folder / "faces.pt", lambda: prepare(data))


def prepare(data: Path) -> tuple[Labelled, Labelled]:
    """Read and resize the training faces."""
    parts = fer2013(data, "train") + facial_expressions(data, "train")
    parts.samples = resized(parts.samples)
    return split_validation(parts, VALIDATION_SHARE, SEED)


def resized(pictures: list[np.ndarray]) -> list[Tensor]:
    """Return pictures of shape (3, S, S), uint8, as the package makes them."""
    return [
        frames_to_tensor(np.array(picture)[None], IMAGE_SIZE, PREPROCESS.vision)[0]
        for picture in pictures
    ]


def train(
    trainer: TowerTrainer,
    faces: Labelled,
    bank: LabelBank,
    phases: tuple[tuple[int, int], ...],
    rate: float,
    batch: int,
) -> TowerTrainer:
    """Train on augmented faces; return the average of the weights."""
    random = np.random.default_rng(SEED + len(phases))
    weights = sampling_weights(faces)
    n_steps = sum(steps for _, steps in phases)
    optimizer = adamw([trainer], rate, 0.05)
    average = WeightAverage(trainer, 0.998)
    progress = Progress("vision", n_steps)
    present = np.unique(faces.classes)
    sizes = [size for size, steps in phases for _ in range(steps)]
    for step, size in enumerate(sizes):
        set_rate(optimizer, rate, step, n_steps)
        chosen = random.choice(len(faces), batch, p=weights)
        pictures = torch.stack([faces.samples[i] for i in chosen])
        pictures = augment_faces(pictures, size, random)
        pictures = normalize_frames(pictures, PREPROCESS.vision, torch.float32)
        targets = torch.from_numpy(faces.classes[chosen])
        loss, accuracy = tower_loss(trainer, pictures, targets, bank, present)
        take_step(optimizer, loss)
        average.update(trainer)
        progress(step + 1, loss=loss.item(), accuracy=accuracy)
    return average.module


def sampling_weights(faces: Labelled) -> np.ndarray:
    """Balance classes by the root of their counts, and the two data sets."""
    weights = np.zeros(len(faces))
    for group, share in (("fer", 1 - PHOTO_SHARE), ("photo", PHOTO_SHARE)):
        inside = faces.groups == group
        weights[inside] = share * root_balanced(faces.classes[inside])
    return weights / weights.sum()


@torch.no_grad()
def embed_faces(tower: nn.Module, pictures: list[Tensor]) -> Tensor:
    """Return the tower's embeddings of preprocessed pictures."""
    found = []
    for start in range(0, len(pictures), 64):
        batch = torch.stack(pictures[start : start + 64])
        found.append(tower(normalize_frames(batch, PREPROCESS.vision, torch.float32)))
    return torch.cat(found)


def report(tower: nn.Module, faces: Labelled, bank: LabelBank) -> None:
    """Print accuracies on validation faces, with words as labels."""
    names = [CLASSES[i] for i in np.unique(faces.classes)]
    vectors = unit_embeddings(embed_faces(tower.eval(), faces.samples))
    guesses = np.unique(faces.classes)[(vectors @ bank.words(names).T).argmax(1).numpy()]
    for group in np.unique(faces.groups):
        inside = faces.groups == group
        right = (guesses == faces.classes)[inside]
        recalls = [
            right[faces.classes[inside] == c].mean() for c in np.unique(faces.classes[inside])
        ]
        print(f"[vision] {group}: {right.mean():.3f}, balanced {np.mean(recalls):.3f}", flush=True)
