"""Train the embedded checkpoint "mini" from start to end.

    python examples/train_mini/train.py --data ../shared/data --run RUN_DIR --out OUT_DIR

A finished step leaves its file in RUN_DIR and is skipped the next time.
"""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

# Waiting threads that spin would starve the other processes of a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tools import cached  # noqa: E402


def main() -> None:
    """Run the steps that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=STEPS, nargs="+", default=STEPS)
    parser.add_argument(
        "--licence",
        choices=("free", "research"),
        default="research",
        help="free: only data that may be used commercially; give each its own RUN_DIR",
    )
    arguments = parser.parse_args()
    os.environ["MERCLIP_LICENCE"] = arguments.licence
    arguments.run.mkdir(parents=True, exist_ok=True)
    for step in STEPS:
        if step in arguments.only:
            run_step(step, arguments)


STEPS = (
    "text_start",
    "text",
    "vision",
    "voice_check",
    "voice",
    "tutor",
    "language_start",
    "language",
    "alignment",
    "fusion",
    "evidence",
    "calibration",
)
FUNCTIONS = {
    "text_start": ("text_step", "run"),
    "text": ("text_step", "run_more"),
    "voice_check": ("voice_step", "run_check"),
    "language_start": ("language_step", "run"),
    "language": ("more_language_step", "run"),
}
"""Steps whose function is not `run` of the module of their name."""


def run_step(step: str, arguments: argparse.Namespace) -> None:
    """Run one step unless its file exists."""
    module, function = FUNCTIONS.get(step, (f"{step}_step", "run"))
    run = getattr(importlib.import_module(module), function)
    if step == "calibration":
        run(arguments.data, arguments.run, arguments.out)
        return
    cached(arguments.run / f"{step}.pt", lambda: run(arguments.data, arguments.run))


if __name__ == "__main__":
    main()
