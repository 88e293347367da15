"""Train the audio tower again with other seeds, to see how much results vary.

    python examples/train_mini/repeat_audio.py --data ../shared/data --run RUN_DIR

RUN_DIR is that of `train.py`, after its step "alignment". Speakers 17 to 20 of
RAVDESS are classified by the tower alone: mean cosine to the eight words.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from alignment_step import align_audio  # noqa: E402
from audio_step import segments_of, train_on, voices  # noqa: E402
from data import TEST_ACTORS  # noqa: E402
from fusion_data import colours, tower_of  # noqa: E402
from label_texts import LabelBank  # noqa: E402
from settings import DEFAULT_LABELS, SEED  # noqa: E402
from spaces import label_encoder  # noqa: E402
from tools import cached  # noqa: E402
from torch import Tensor  # noqa: E402
from tower_trainer import recalls, unit_embeddings  # noqa: E402


def main() -> None:
    """Train, align and measure for each further seed, then print mean and deviation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    arguments = parser.parse_args()
    bank = LabelBank(label_encoder(arguments.run), SEED)
    states = [
        another(f"audio_{seed}", seed, arguments.data, arguments.run, bank)
        for seed in arguments.seeds
    ]
    states.insert(0, torch.load(arguments.run / "alignment.pt")["audio"])
    found = np.array([measure(state, arguments.data, arguments.run, bank) for state in states])
    for name, values in (("accuracy", found[:, 0]), ("balanced accuracy", found[:, 1])):
        each = ", ".join(f"{value:.3f}" for value in values)
        print(f"{name}: {each}; mean {values.mean():.3f} ± {values.std(ddof=1):.3f}")


def another(
    name: str, seed: int, data: Path, run_folder: Path, bank: LabelBank
) -> dict[str, Tensor]:
    """Return the state of a tower trained with another seed."""
    parts = ("train", "validation")
    cached(
        run_folder / f"{name}.pt",
        lambda: train_on(parts, SEED + 100 * seed, name, data, run_folder),
    )
    return cached(
        run_folder / f"{name}_aligned.pt", lambda: align_audio(name, data, run_folder, bank)
    )


@torch.no_grad()
def measure(
    state: dict[str, Tensor], data: Path, run_folder: Path, bank: LabelBank
) -> tuple[float, float]:
    """Return accuracy and balanced accuracy on the test speakers."""
    speech = voices(data, run_folder)
    test = speech.where(np.isin(speech.groups, [f"ravdess-{actor}" for actor in TEST_ACTORS]))
    tower = tower_of(state)
    means = [unit_embeddings(tower(colours(segments_of(sound)))).mean(0) for sound in test.samples]
    guesses = (torch.stack(means) @ bank.words(DEFAULT_LABELS).T).argmax(1).numpy()
    return recalls(guesses, test.classes)


if __name__ == "__main__":
    main()
