"""The vision tower's projection: from what the trunk sees to the label encoder's space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from augment import augment_faces
from data import Labelled
from label_texts import LabelBank, embed, validation_sentences
from settings import CLASSES, IMAGE_SIZE, SEED
from spaces import label_encoder, vision_tower
from tools import Progress, adamw, cached, seed_everything, set_rate, take_step
from torch import Tensor, nn
from torch.nn import functional
from tower_trainer import features_of, recalls, unit_embeddings, weigh_channels
from vision_step import normalized, sampling_weights, some_faces

from merclip.network.residual import ResidualTower

N_STEPS = 3000
BATCH = 384
RATE = 1e-3
FACE_VERSIONS = 3
HARD_SHARE = 0.3
"""Share of the true class in the targets; the rest is what the trunk's own head says."""
FEATURE_NOISE = 0.1

Features = list[list[Tensor]]
"""For each version of the data, each sample's states of the trunks: shape (n, width)."""


class TrainedTrunks(nn.Module):
    """A tower whose trunks are trained, with their linear heads."""

    def __init__(self, tower: ResidualTower, states: list[dict[str, Tensor]]) -> None:
        super().__init__()
        self.tower = tower
        self.heads = nn.ModuleList()
        for trunk, state in zip(tower.trunks, states, strict=True):
            trunk.load_state_dict(part_of(state, "tower.trunks.0."))
            weight, bias = state["head.1.weight"], state["head.1.bias"]
            head = nn.Linear(weight.shape[1], len(weight))
            head.load_state_dict({"weight": weight, "bias": bias})
            self.heads.append(head)
        self.eval()

    @torch.no_grad()
    def said(self, states: Tensor) -> Tensor:
        """Return the mean of what the heads say of states (n, width): probabilities."""
        parts = states.chunk(len(self.heads), dim=1)
        said = [head(part).softmax(1) for head, part in zip(self.heads, parts, strict=True)]
        return torch.stack(said).mean(0)


def part_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a part of a module, by their names within it."""
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the vision tower, its projection fitted."""
    seed_everything(SEED + 5)
    bank = LabelBank(label_encoder(run_folder), SEED)
    trained = TrainedTrunks(vision_tower(), [torch.load(run_folder / "vision.pt")])
    training, validation = some_faces(data, run_folder)
    features = cached(
        run_folder / "features_vision.pt", lambda: face_features(trained.tower, training)
    )
    weights = sampling_weights(training)
    align(trained, features, training.classes, weights, bank, HARD_SHARE)
    views = [features_of(trained.tower, view) for view in both_views(validation)]
    own = list(torch.stack(views, dim=1))
    for group in np.unique(validation.groups):
        kept = np.flatnonzero(validation.groups == group)
        part = validation.where(validation.groups == group)
        report(f"vision {group}", trained, [own[i] for i in kept], part.classes, bank)
    weigh_channels(trained.tower)
    return trained.tower.state_dict()


def both_views(part: Labelled) -> tuple[Tensor, Tensor]:
    """Return faces as the tower takes them, unchanged and mirrored."""
    pictures = normalized(torch.stack(part.samples))
    return pictures, pictures.flip(-1)


def face_features(tower: ResidualTower, training: Labelled) -> Features:
    """Return the trunk's states of faces: unchanged, mirrored, then augmented."""
    random = np.random.default_rng(SEED)
    pictures = torch.stack(training.samples)
    versions = [features_of(tower, view) for view in both_views(training)]
    for _ in range(FACE_VERSIONS - len(versions)):
        changed = [augment_faces(p, IMAGE_SIZE, random) for p in pictures.split(256)]
        versions.append(features_of(tower, normalized(torch.cat(changed))))
    return [list(version.half().split(1)) for version in versions]


def align(
    trained: TrainedTrunks,
    features: Features,
    classes: np.ndarray,
    weights: np.ndarray,
    bank: LabelBank,
    hard_share: float,
) -> None:
    """Train the projection alone, on cosines to random wordings of the classes."""
    random = np.random.default_rng(SEED)
    states, numbers, weights = flat(features, classes, weights)
    targets = soft_targets(trained, states, numbers, hard_share)
    projection, spread = trained.tower.projection, states.std()
    log_scale = nn.Parameter(torch.tensor(3.0))
    holder = nn.ParameterList([log_scale])
    optimizer = adamw([projection, holder], RATE, 0.02)
    progress = Progress("alignment", N_STEPS)
    present = np.unique(classes)
    projection.train()
    for step in range(N_STEPS):
        set_rate(optimizer, RATE, step, N_STEPS)
        chosen = random.choice(len(states), BATCH, p=weights)
        kept = some_of(present, random)
        wanted = targets[chosen][:, kept]
        inside = wanted.sum(1) > 0.5
        wanted = wanted[inside] / wanted[inside].sum(1, keepdim=True)
        rows = states[chosen][inside]
        rows = rows + FEATURE_NOISE * spread * torch.randn_like(rows)
        labels = bank.draw([CLASSES[i] for i in kept])
        cosines = functional.normalize(projection(rows), dim=-1) @ labels.T
        loss = functional.cross_entropy(log_scale.clamp(max=4.0).exp() * cosines, wanted)
        take_step(optimizer, loss)
        progress(step + 1, loss=loss.item(), scale=log_scale.exp().item())
    projection.eval()


def flat(
    features: Features, classes: np.ndarray, weights: np.ndarray
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Return the states of all versions and segments, their classes and weights."""
    rows = [row for version in features for row in version]
    counts = [len(row) for row in rows]
    times = len(features)
    shares = np.repeat(np.tile(weights, times) / np.maximum(counts, 1), counts)
    return (
        torch.cat(rows).float(),
        np.repeat(np.tile(classes, times), counts),
        shares / shares.sum(),
    )


@torch.no_grad()
def soft_targets(
    trained: TrainedTrunks, states: Tensor, numbers: np.ndarray, hard_share: float
) -> Tensor:
    """Return the true class, mixed with what the trunks' own heads say."""
    true = functional.one_hot(torch.from_numpy(numbers), len(CLASSES)).float()
    return hard_share * true + (1 - hard_share) * trained.said(states)


def some_of(present: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return all classes in half of the cases, else some of them."""
    if random.random() < 0.5:
        return present
    count = int(random.integers(2, len(present)))
    return np.sort(random.choice(present, count, replace=False))


@torch.no_grad()
def report(
    name: str, trained: TrainedTrunks, states: list[Tensor], classes: np.ndarray, bank: LabelBank
) -> None:
    """Print accuracies of the heads, of words, and of validation descriptions as labels."""
    present = np.unique(classes)
    head = torch.stack([trained.said(row).mean(0) for row in states])[:, present]
    means = [unit_embeddings(trained.tower.projection(row)).mean(0) for row in states]
    vectors = torch.stack(means)
    texts, numbers = validation_sentences()
    sentences = embed(bank.encoder, texts)
    words = bank.words([CLASSES[i] for i in present])
    found = {"head": head, "words": vectors @ words.T}
    for label, count in (("one description", 1), ("four averaged", 4)):
        described = [sentences[numbers == i][:count].mean(0) for i in present]
        found[label] = vectors @ unit_embeddings(torch.stack(described)).T
    for label, scores in found.items():
        accuracy, balanced = recalls(present[scores.argmax(1).numpy()], classes)
        print(f"[{name}] {label}: {accuracy:.3f}, balanced {balanced:.3f}", flush=True)
