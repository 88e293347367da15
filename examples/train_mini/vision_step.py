"""The vision tower: its trunk on faces, by a linear head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from augment import augment_faces
from data import Labelled, facial_expressions, fer2013, split_validation
from settings import IMAGE_SIZE, PREPROCESS, SEED
from spaces import vision_tower
from tools import cached, root_balanced, seed_everything
from torch import Tensor
from tower_trainer import (
    LUMINANCE,
    TrunkTrainer,
    mixed,
    one_hot,
    recalls,
    train_trunk,
)

from merclip.preprocess.vision import frames_to_tensor

N_STEPS = 8600
RATE = 3e-3
BATCH = 128
MIXUP_SHARE, MIXUP = 0.4, 0.3
PHOTO_SHARE = 0.16
VALIDATION_SHARE = 0.04


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the tower and its head after training on faces."""
    seed_everything(SEED + 1)
    training, validation = faces(data, run_folder)
    trainer = TrunkTrainer(vision_tower())
    weights = sampling_weights(training)
    average = train_trunk(
        trainer,
        lambda step: draw_batch(training, weights, step),
        N_STEPS,
        RATE,
        "vision",
        run_folder / "vision.state",
        lambda module: report(module, validation),
    )
    return average.state_dict()


def faces(data: Path, run_folder: Path) -> tuple[Labelled, Labelled]:
    """Return training and validation faces: luminance of shape (1, S, S), uint8."""
    return cached(run_folder / "faces.pt", lambda: prepare(data))


def prepare(data: Path) -> tuple[Labelled, Labelled]:
    """Read and resize the training faces."""
    parts = fer2013(data, "train") + facial_expressions(data, "train")
    parts.samples = [luminance(picture) for picture in parts.samples]
    return split_validation(parts, VALIDATION_SHARE, SEED)


def luminance(picture: np.ndarray) -> Tensor:
    """Return a picture as the package resizes it, in grey: shape (1, S, S), uint8."""
    colours = frames_to_tensor(np.array(picture)[None], IMAGE_SIZE, PREPROCESS.vision)[0].float()
    grey = (colours * torch.tensor(LUMINANCE).reshape(3, 1, 1)).sum(0, keepdim=True)
    return grey.round().to(torch.uint8)


def draw_batch(faces: Labelled, weights: np.ndarray, step: int) -> tuple[Tensor, Tensor]:
    """Return augmented pictures of a step and their targets."""
    random = np.random.default_rng((SEED, 1, step))
    chosen = random.choice(len(faces), BATCH, p=weights)
    pictures = torch.stack([faces.samples[i] for i in chosen])
    pictures = normalized(augment_faces(pictures, IMAGE_SIZE, random))
    targets = one_hot(faces.classes[chosen])
    if random.random() < MIXUP_SHARE:
        return mixed(pictures, targets, MIXUP, random)
    return pictures, targets


def normalized(pictures: Tensor) -> Tensor:
    """Normalise grey pictures of 0 to 255 as the package does with each channel."""
    return (pictures.float() / 255 - PREPROCESS.vision.mean[0]) / PREPROCESS.vision.std[0]


def sampling_weights(faces: Labelled) -> np.ndarray:
    """Balance classes by the root of their counts, and the two data sets."""
    weights = np.zeros(len(faces))
    for group, share in (("fer", 1 - PHOTO_SHARE), ("photo", PHOTO_SHARE)):
        inside = faces.groups == group
        weights[inside] = share * root_balanced(faces.classes[inside])
    return weights / weights.sum()


@torch.no_grad()
def report(trainer: TrunkTrainer, faces: Labelled) -> None:
    """Print accuracies of the linear head on validation faces."""
    pictures = normalized(torch.stack(faces.samples))
    logits = torch.cat([trainer.eval()(part) for part in pictures.split(128)])
    for group in np.unique(faces.groups):
        inside = np.flatnonzero(faces.groups == group)
        known = np.unique(faces.classes[inside])
        guesses = known[logits[inside][:, known].argmax(1).numpy()]
        accuracy, balanced = recalls(guesses, faces.classes[inside])
        print(f"[vision] {group}: {accuracy:.3f}, balanced {balanced:.3f}", flush=True)
