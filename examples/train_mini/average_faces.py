"""Average faces: typical pictures, which a network without trained fusion compares clips with.

    python examples/train_mini/average_faces.py --data ../shared/data

writes `merclip/weights/average_faces.npy`: of each of seven expressions the mean of its
faces in FER2013's training part, and their mirror images, 48 x 48 pixels of grey.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from data import fer2013
from settings import CLASSES

EXPRESSIONS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
OUT = Path(__file__).parents[2] / "merclip" / "weights" / "average_faces.npy"


def average(faces: np.ndarray) -> np.ndarray:
    """Return the mean of faces of shape (n, 48, 48, 3), and of them mirrored: (48, 48) uint8."""
    mean = faces.mean(axis=(0, 3))
    return ((mean + mean[:, ::-1]) / 2).round().astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    found = fer2013(parser.parse_args().data, "train")
    samples = np.stack(found.samples)
    numbers = [CLASSES.index(name) for name in EXPRESSIONS]
    np.save(OUT, np.stack([average(samples[found.classes == number]) for number in numbers]))
