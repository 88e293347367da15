"""Measure what morphed voices bring, on speakers that a trunk does not know.

    python examples/train_mini/measure_voices.py --data ../shared/data --run RUN_DIR

trains a trunk of the audio tower without and with them (`--shares`, of a batch), for each
of three groups of speakers, and prints accuracies as it goes: 20 minutes on one
core for the voices, then about 12 a trunk. None of the test speakers is touched. It
needs `pip install pyworld "setuptools<80"`.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
from audio_step import N_STEPS, NEW_SHARE, train_on, voices  # noqa: E402
from data import VALIDATION_ACTORS, VALIDATION_SPEAKERS, speaker_part  # noqa: E402
from settings import SEED  # noqa: E402
from tools import cached  # noqa: E402

FOLDS = {
    "A": (VALIDATION_ACTORS, VALIDATION_SPEAKERS),
    "B": (("1", "2", "3", "4"), ("03", "08", "09")),
    "German": ((), ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")),
}
"""Actors of RAVDESS and speakers of EmoDB to measure on; "German" is all of EmoDB."""


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--folds", nargs="+", choices=FOLDS, default=list(FOLDS))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, NEW_SHARE])
    parser.add_argument("--steps", type=int, default=N_STEPS)
    arguments = parser.parse_args()
    speech = voices(arguments.data, arguments.run)
    test = speaker_part(speech, "test")
    for fold in arguments.folds:
        actors, speakers = FOLDS[fold]
        groups = [f"ravdess-{actor}" for actor in actors]
        groups += [f"emodb-{speaker}" for speaker in speakers]
        measured = np.isin(speech.groups, groups)
        for share in arguments.shares:
            name = f"voices_{fold}_{share}_{arguments.steps}"
            train = partial(
                train_on,
                ~measured & ~test,
                SEED + 3,
                name,
                arguments.data,
                arguments.run,
                share,
                measured,
                arguments.steps,
            )
            cached(arguments.run / f"{name}.pt", train)


if __name__ == "__main__":
    main()
