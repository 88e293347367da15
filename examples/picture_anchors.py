"""Classify clips by pictures of faces, without a word about the labels.

    python examples/picture_anchors.py FACES CLIP...

FACES holds one folder for each label (FACES/happy/1.jpg), or photographs whose names
begin with their label (FACES/happy_1.jpg, FACES/angry-anna.png).
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

from merclip import EmotionClassifier

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def main() -> None:
    """Print the label of each clip, and all scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("clips", nargs="+")
    arguments = parser.parse_args()
    anchors = anchors_in(arguments.faces)
    for label, pictures in anchors.items():
        print(f"{label}: {len(pictures)} pictures")
    classifier = EmotionClassifier(anchors=anchors, on_error="skip")
    for answer in classifier.predict_iter({"video": clip} for clip in arguments.clips):
        scores = ", ".join(f"{label} {score:.2f}" for label, score in answer.top(len(answer)))
        print(f"{answer.id}: {scores}")


def anchors_in(faces: Path) -> dict[str, list[Path]]:
    """Return the pictures of each label."""
    found = defaultdict(list)
    for path in sorted(faces.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            named = path.parent.name if path.parent != faces else first_word(path.stem)
            found[named].append(path)
    return dict(found)


def first_word(stem: str) -> str:
    """Return what stands before the first digit, space, dash or underscore."""
    return re.split(r"[\d\s_-]", stem)[0]


if __name__ == "__main__":
    main()
