"""The vision tower: its trunk on faces, by a linear head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from augment import augment_faces, scramble
from data import Labelled, face_sets, split_validation
from settings import IMAGE_SIZE, PREPROCESS, SEED
from spaces import vision_tower
from tools import cached, root_balanced, seed_everything
from torch import Tensor, nn
from tower_trainer import (
    LUMINANCE,
    TrunkTrainer,
    mixed,
    recalls,
    train_trunk,
)

from merclip.preprocess.vision import frames_to_tensor

N_STEPS, RATE, BATCH = 17000, 2e-3, 64
WARM_STEPS, WARM_RATE = 1250, 1e-3
"""Of a trunk that starts from an earlier one's weights."""
MIXUP_SHARE, MIXUP = 0.3, 0.3
SHARES = {"fer": 0.48, "photo": 0.16, "raf": 0.36}
"""Of each data set in what is shown, as far as the licence allows it."""
NO_FACE_SHARE = 0.03
VALIDATION_SHARE = 0.04
FACES_PER_CLASS = 700
"""Of each data set at most, for the steps after the trunk: they encode each several times."""


def run(data: Path, run_folder: Path, licence: str = "research") -> dict[str, Tensor]:
    """Return the state of the tower and its head after training on faces.

    It starts from the tower in `vision_start.pt` if the run's folder has one.
    """
    seed_everything(SEED + 1)
    training, validation = faces(data, run_folder, licence)
    trainer = TrunkTrainer(vision_tower())
    start = run_folder / "vision_start.pt"
    if start.exists():
        trainer.tower.load_state_dict(torch.load(start))
        # A new head must not teach an old trunk before it knows anything itself.
        nn.init.zeros_(trainer.head[1].weight)
        # Edges are the same in new faces, and a third of the time goes into learning them.
        trainer.tower.trunks[0].stem.requires_grad_(False)
        trainer.tower.trunks[0].stages[0].requires_grad_(False)
    weights = sampling_weights(training)
    average = train_trunk(
        trainer,
        lambda step: draw_batch(training, weights, step),
        WARM_STEPS if start.exists() else N_STEPS,
        WARM_RATE if start.exists() else RATE,
        "vision",
        run_folder / "vision.state",
        lambda module: report(module, validation),
    )
    return average.state_dict()


def faces(data: Path, run_folder: Path, licence: str = "research") -> tuple[Labelled, Labelled]:
    """Return training and validation faces: luminance of shape (1, S, S), uint8."""
    return cached(run_folder / "faces.pt", lambda: prepare(data, licence))


def some_faces(data: Path, run_folder: Path) -> tuple[Labelled, Labelled]:
    """Return training faces, some of each class and data set, and all validation faces."""
    training, validation = faces(data, run_folder)
    random = np.random.default_rng(SEED)
    kept = np.zeros(len(training), dtype=bool)
    for group in np.unique(training.groups):
        for number in np.unique(training.classes):
            inside = np.flatnonzero((training.groups == group) & (training.classes == number))
            kept[random.permutation(inside)[:FACES_PER_CLASS]] = True
    return training.where(kept), validation


def prepare(data: Path, licence: str) -> tuple[Labelled, Labelled]:
    """Read and resize the training faces."""
    parts = face_sets(data, "train", licence)
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
    pictures = augment_faces(torch.stack([faces.samples[i] for i in chosen]), IMAGE_SIZE, random)
    targets = torch.from_numpy(faces.targets()[chosen])
    # What is no face tells nothing: the answer is how frequent classes are.
    none = torch.from_numpy(random.random(BATCH) < NO_FACE_SHARE)
    pictures[none] = scramble(pictures[none], random)
    targets[none] = targets.mean(0)
    pictures = normalized(pictures)
    if random.random() < MIXUP_SHARE:
        return mixed(pictures, targets, MIXUP, random)
    return pictures, targets


def normalized(pictures: Tensor) -> Tensor:
    """Normalise grey pictures of 0 to 255 as the package does with each channel."""
    return (pictures.float() / 255 - PREPROCESS.vision.mean[0]) / PREPROCESS.vision.std[0]


def sampling_weights(faces: Labelled) -> np.ndarray:
    """Balance classes by the root of their counts, and the data sets."""
    weights = np.zeros(len(faces))
    for group in np.unique(faces.groups):
        inside = faces.groups == group
        weights[inside] = SHARES[group] * root_balanced(faces.classes[inside])
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
