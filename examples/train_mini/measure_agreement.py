"""Measure how independent the modalities of one clip are, where people are in two minds.

    python examples/train_mini/measure_agreement.py --data DATA --run RUN_DIR

Parts put together at random are independent given the emotion, and make their product look
right. In a person they are not: who is half sad and half angry looks and writes so. Here a
face of which FER+'s ten people saw two emotions stands beside a comment that was given the
same two, neither of them learned with these labels, and the emotion is one of the two, as
often as people said so; clear faces stand beside clear comments. What is fitted is the
`DEPENDENCE` of `experts.py`, by the likelihood of the emotion. Not shown: voices, of which
nobody asked ten people, and what is wrong in the same way for another cause (a person who
always looks sad).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from alignment_step import both_views  # noqa: E402
from data import EKMAN_OF, class_number, table_rows  # noqa: E402
from experts import fit_experts, own_embedding  # noqa: E402
from fusion_data import encode_pools, encode_texts  # noqa: E402
from fusion_step import assemble  # noqa: E402
from label_texts import LabelBank  # noqa: E402
from language_step import labelled_texts  # noqa: E402
from settings import CLASSES, EKMAN, SEED  # noqa: E402
from torch import Tensor  # noqa: E402
from vision_step import faces  # noqa: E402

GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
N_CLIPS = 6000
IN_TWO_MINDS = 0.3
"""Share of clips that show two emotions: so many faces of FER+ have no majority of eight."""
NUMBERS = [CLASSES.index(name) for name in EKMAN]


def main() -> None:
    """Print likelihoods by dependence, for clear clips, for those in two minds, and for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    arguments = parser.parse_args()
    network = assemble(arguments.data, arguments.run)
    words = LabelBank(network.label_encoder, SEED).words(CLASSES)
    experts = fit_experts(encode_pools(network, arguments.data, arguments.run, "validation"), words)
    seen, votes = rated_faces(network, arguments.data, arguments.run)
    clear, mixed, pairs = rated_texts(network, arguments.data)
    logs = {
        "V": log_likelihoods(experts, "V", seen, words),
        "clear": {c: log_likelihoods(experts, "L", rows, words) for c, rows in clear.items()},
        "mixed": log_likelihoods(experts, "L", mixed, words),
    }
    for name, share in (("clear", 0.0), ("in two minds", 1.0), ("all", IN_TWO_MINDS)):
        parts, truth = draw_clips(logs, votes, pairs, share)
        costs = [cost(parts, truth, dependence) for dependence in GRID]
        shown = " ".join(f"{d:.1f}:{c:.3f}" for d, c in zip(GRID, costs, strict=True))
        print(f"{name}: {shown}; least at {GRID[int(np.argmin(costs))]}", flush=True)


@torch.no_grad()
def rated_faces(network, data: Path, run_folder: Path) -> tuple[Tensor, np.ndarray]:
    """Return embeddings of validation faces, and what ten people saw in each."""
    _, validation = faces(data, run_folder)
    validation = validation.where(validation.groups == "fer")
    tower = network.encoders["V"].tower.eval()
    views = [view.expand(-1, 3, -1, -1) for view in both_views(validation)]
    rows = sum(torch.cat([tower(part) for part in view.split(128)]) for view in views) / 2
    return torch.nn.functional.normalize(rows, dim=-1), validation.targets()[:, NUMBERS]


def rated_texts(network, data: Path) -> tuple[dict[int, Tensor], Tensor, np.ndarray]:
    """Return comments of one emotion that were kept back, and of two, which nobody learned."""
    mapped = {fine: ekman for ekman, names in EKMAN_OF.items() for fine in names.split()}
    kept = labelled_texts(data)[1]
    texts, pairs = [], []
    for row in table_rows(data / "text" / "goemotions_train.csv"):
        found = {class_number(mapped[name]) for name in row["emotions"].split("|")}
        if len(found) == 2 and found <= set(NUMBERS):
            texts.append(row["text"])
            pairs.append(sorted(NUMBERS.index(number) for number in found))

    def ends(some: list[str]) -> Tensor:
        return torch.stack([own_embedding("L", row) for row in encode_texts(network, some)])

    inside = kept.groups == "goemotions"
    clear = {
        place: ends([kept.samples[i] for i in np.flatnonzero(inside & (kept.classes == number))])
        for place, number in enumerate(NUMBERS)
    }
    return clear, ends(texts[:4000]), np.array(pairs[:4000])


def log_likelihoods(experts, letter: str, rows: Tensor, words: Tensor) -> Tensor:
    """Return what a modality says of each class, less how frequent that is: shape (n, k)."""
    scores = experts.scales[letter] * rows @ words.T - experts.biases[letter]
    return scores[:, NUMBERS].log_softmax(1) - experts.priors[letter][NUMBERS]


def draw_clips(
    logs: dict, votes: np.ndarray, pairs: np.ndarray, share: float
) -> tuple[Tensor, np.ndarray]:
    """Return clips as log-likelihoods of face and comment, shape (n, 2, k), and their emotion."""
    random = np.random.default_rng(SEED)
    order = np.argsort(-votes, axis=1)
    best, second = (np.take_along_axis(votes, order[:, [i]], 1)[:, 0] for i in (0, 1))
    sure, torn = np.flatnonzero(best > 0.85), np.flatnonzero((best < 0.75) & (second > 0.2))
    by_pair = {}
    for i in torn:
        by_pair.setdefault(tuple(sorted(order[i, :2])), []).append(i)
    of_pair = {pair: np.flatnonzero((pairs == pair).all(1)) for pair in by_pair}
    usable = [i for pair, rows in by_pair.items() if len(of_pair[pair]) for i in rows]
    parts, truth = [], []
    while len(parts) < N_CLIPS:
        if random.random() < share:
            face = random.choice(usable)
            one, two = sorted(order[face, :2])
            text = logs["mixed"][random.choice(of_pair[one, two])]
            # Half by the face's votes, half by the comment, which has both.
            first = 0.5 * votes[face, one] / (votes[face, one] + votes[face, two]) + 0.25
            truth.append(one if random.random() < first else two)
        else:
            face = random.choice(sure)
            truth.append(order[face, 0])
            known = logs["clear"][truth[-1]]
            text = known[random.integers(len(known))]
        parts.append(torch.stack([logs["V"][face], text]))
    return torch.stack(parts), np.array(truth)


def cost(parts: Tensor, truth: np.ndarray, dependence: float) -> float:
    """Return the mean negative log likelihood of the emotions."""
    joined = (parts.sum(1) / (1 + dependence)).log_softmax(1)
    return -float(joined[torch.arange(len(truth)), torch.from_numpy(truth)].mean())


if __name__ == "__main__":
    main()
