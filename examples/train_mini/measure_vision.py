"""Measure a vision tower by itself on the held-out faces: cosines to words and descriptions.

    python examples/train_mini/measure_vision.py --data DATA --run RUN_DIR [--tower CHECKPOINT]

The tower is RUN_DIR/aligned_vision.pt, or that of a finished checkpoint; the label encoder
is RUN_DIR/text.pt. Cosines are scaled as fits the validation faces of RUN_DIR/faces.pt best.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from alignment_step import both_views  # noqa: E402
from data import Labelled, facial_expressions, fer2013, rafdb  # noqa: E402
from evaluate import DESCRIPTIONS  # noqa: E402
from label_texts import LabelBank, embed  # noqa: E402
from settings import CLASSES, EKMAN, SEED  # noqa: E402
from spaces import aligned_tower, label_encoder  # noqa: E402
from tools import cached  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402
from tower_trainer import recalls, three_channels, unit_embeddings  # noqa: E402
from vision_step import faces, luminance  # noqa: E402

from merclip.evaluation.metrics import expected_calibration_error  # noqa: E402
from merclip.network import load_checkpoint  # noqa: E402
from merclip.network.residual import ResidualTower  # noqa: E402

NEUTRAL = CLASSES.index("neutral")
PARTS = {
    "fer2013": (fer2013, EKMAN),
    "photographs": (facial_expressions, (*EKMAN, "contempt")),
    "raf": (rafdb, EKMAN),
}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--tower", type=Path)
    arguments = parser.parse_args()
    data = arguments.data
    if arguments.tower:
        state = load_checkpoint(arguments.tower).network.encoders["V"].tower.state_dict()
    else:
        state = torch.load(arguments.run / "aligned_vision.pt")
    tower = aligned_tower("V", state)
    bank = LabelBank(label_encoder(arguments.run), SEED)
    described = {name: embed(bank.encoder, texts) for name, texts in DESCRIPTIONS.items()}
    validation = faces(data, arguments.run)[1]
    known = np.unique(validation.classes)
    cosines = embedded(tower, validation) @ bank.words([CLASSES[i] for i in known]).T
    targets = torch.from_numpy(np.searchsorted(known, validation.classes))
    scale = min(range(2, 100), key=lambda s: functional.cross_entropy(s * cosines, targets).item())
    print(f"scale {scale}\n\n| part | accuracy | balanced | ECE | neutral said, is |", end="")
    print(" four descriptions | one description |\n|---|---|---|---|---|---|---|")
    for name, (read, labels) in PARTS.items():
        part = cached(arguments.run / f"dev_{name}.pt", lambda r=read: small(r(data, "dev")))
        show(name, part, embedded(tower, part), labels, bank, described, scale)


def small(part: Labelled) -> Labelled:
    """Return faces as the tower takes them."""
    part.samples = [luminance(picture) for picture in part.samples]
    return part


@torch.no_grad()
def embedded(tower: ResidualTower, part: Labelled) -> Tensor:
    """Return embeddings of norm 1, of a face and its mirror image together."""
    views = [
        torch.cat([tower(three_channels(rows)) for rows in view.split(128)])
        for view in both_views(part)
    ]
    return unit_embeddings(views[0] + views[1])


def show(
    name: str,
    part: Labelled,
    states: Tensor,
    labels: tuple[str, ...],
    bank: LabelBank,
    described: dict[str, Tensor],
    scale: int,
) -> None:
    """Print a line of the table."""
    numbers = np.array([CLASSES.index(label) for label in labels])

    def said(vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
        shares = (scale * states @ vectors.T).softmax(1).numpy()
        return numbers[shares.argmax(1)], shares

    def with_texts(first: int, count: int) -> float:
        rows = [described[label][first : first + count].mean(0) for label in labels]
        return recalls(said(unit_embeddings(torch.stack(rows)))[0], part.classes)[0]

    guesses, shares = said(bank.words(labels))
    accuracy, balanced = recalls(guesses, part.classes)
    columns = np.array([list(numbers).index(number) for number in part.classes])
    error = expected_calibration_error(columns, shares)
    four = np.mean([with_texts(first, 4) for first in (0, 4)])
    ones = [with_texts(i, 1) for i in range(8)]
    neutral = [(found == NEUTRAL).mean() for found in (guesses, part.classes)]
    print(
        f"| {name} | {accuracy:.3f} | {balanced:.3f} | {error:.3f} "
        f"| {neutral[0]:.2f}, {neutral[1]:.2f} | {four:.3f} "
        f"| {np.mean(ones):.3f} (lowest {min(ones):.3f}) |",
        flush=True,
    )


if __name__ == "__main__":
    main()
