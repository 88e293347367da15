"""Time one clip through ViT-B/32, by PyTorch and by OpenVINO: CPU seconds, in turns.

OMP_NUM_THREADS=1 python tests/benchmarks/backends.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from merclip import EmotionClassifier

CLIP = {
    "video": Path(__file__).parents[2] / "examples" / "happy.mp4",
    "text": "I can't believe you did that!",
}
WAYS: dict[str, dict[str, Any]] = {
    "torch, float32": {"dtype": "float32"},
    "torch, auto": {},
    "openvino, float32": {"dtype": "float32", "backend": "openvino"},
    "openvino, auto": {"backend": "openvino"},
}


def main(rounds: int) -> None:
    """Print a line for each way."""
    made = {name: _classifier(**parameters) for name, parameters in WAYS.items()}
    begun = {name: _seconds(clf) - _seconds(clf) for name, clf in made.items()}
    taken: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, clf in made.items():
            taken[name].append(_seconds(clf))
    first = taken["torch, float32"]
    for name, clf in made.items():
        ratio = statistics.median(one / two for one, two in zip(taken[name], first, strict=True))
        check = clf.check_precision()
        print(
            f"{name:18}  {statistics.median(taken[name]):.2f} s  ratio {ratio:.2f}  "
            f"more at first use {begun[name]:.1f} s  least cosine {check.cosine:.6f}"
        )


def _classifier(**parameters: Any) -> EmotionClassifier:
    model = {"model": "ViT-B-32", "pretrained": "random", "random_state": 0}
    clf = EmotionClassifier(["happy", "sad", "angry"], **model, **parameters)
    clf.network_.fusion_trained = True
    return clf


def _seconds(clf: EmotionClassifier) -> float:
    begun = time.process_time()
    clf.predict(CLIP)
    return time.process_time() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
