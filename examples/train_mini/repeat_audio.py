"""Train the audio tower again with other seeds, to see how much results vary.

    python examples/train_mini/repeat_audio.py --data ../shared/data --run RUN_DIR --towers 3

RUN_DIR is that of `train.py`; its trunks are the first tower. Speakers 17 to 20 of
RAVDESS are classified by the trunks' linear heads, before any projection or fusion:
each trunk alone, and the trunks of each tower together.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from alignment_step import TrainedTrunks  # noqa: E402
from audio_step import segments_of, trunk, voices  # noqa: E402
from data import speaker_part  # noqa: E402
from settings import ARCHITECTURE, CLASSES, DEFAULT_LABELS  # noqa: E402
from spaces import audio_tower  # noqa: E402
from torch import Tensor  # noqa: E402
from tower_trainer import features_of, recalls  # noqa: E402


def main() -> None:
    """Train what is not there yet, measure, and print means and deviations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--towers", type=int, default=3)
    arguments = parser.parse_args()
    count = ARCHITECTURE["audio_cfg"]["trunks"]
    speech = voices(arguments.data, arguments.run)
    test = speech.where(speaker_part(speech, "test"))
    pictures = [segments_of(sound) for sound in test.samples]
    said = [
        answers(trunk(number, arguments.data, arguments.run), pictures)
        for number in range(arguments.towers * count)
    ]
    together = [torch.stack(said[i : i + count]).mean(0) for i in range(0, len(said), count)]
    for name, parts in (("one trunk", said), (f"{count} trunks", together)):
        found = np.array([recalls(part.argmax(1).numpy(), test.classes) for part in parts])
        for measure, values in (("accuracy", found[:, 0]), ("balanced accuracy", found[:, 1])):
            each = ", ".join(f"{value:.3f}" for value in values)
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            print(f"{name}, {measure}: {each}; mean {values.mean():.3f}{spread}")


@torch.no_grad()
def answers(state: dict[str, Tensor], pictures: list[Tensor]) -> Tensor:
    """Return what a trunk's head says of clips, of RAVDESS's eight classes: shape (n, 8)."""
    trained = TrainedTrunks(audio_tower(1), [state])
    means = [trained.said(features_of(trained.tower, part)).mean(0) for part in pictures]
    return torch.stack(means)[:, [CLASSES.index(name) for name in DEFAULT_LABELS]]


if __name__ == "__main__":
    main()
