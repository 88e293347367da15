"""Measure what face="auto" gains: photographs of faces, pasted into wide frames.

    python examples/train_mini/measure_faces.py --data DATA [--model NAME] [--per-class N]

Each dev photograph of facial_expressions is put at a random place of a frame of
1280 x 720, over a frame of DATA/clips/nasa_13013.mp4 or else a smooth texture,
and classified by words, once over the whole frame and once over the face found.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
from data import facial_expressions  # noqa: E402
from PIL import Image  # noqa: E402
from settings import CLASSES, EKMAN  # noqa: E402

from merclip import EmotionClassifier, Video  # noqa: E402
from merclip.media import read_media  # noqa: E402
from merclip.preprocess import FaceFinder  # noqa: E402

SEED = 11
LABELS = (*EKMAN, "contempt")
HEIGHTS = (120, 200, 350)
WIDTH, HEIGHT = 1280, 720
N_FRAMES = 3
"""Frames in which the face stands still, as three moments of a clip."""


def main() -> None:
    """Print a Markdown table, and the time that finding takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--per-class", type=int, default=40)
    arguments = parser.parse_args()
    random = np.random.default_rng(SEED)
    pictures, y = balanced(arguments.data, arguments.per_class, random)
    grounds = backgrounds(arguments.data / "clips" / "nasa_13013.mp4", random)
    finding = EmotionClassifier(LABELS, model=arguments.model, face="auto")
    whole = finding.with_labels(LABELS).set_params(face="never")
    print(f"{len(y)} photographs, {len(set(y))} classes, seed {SEED}\n")
    print("| pictures | face | accuracy | balanced accuracy | face found |\n|---|---|---|---|---|")
    tight = [Video(picture[None], fps=1) for picture in pictures]
    show("photographs", "never", whole, tight, y)
    show("photographs", "auto", finding, tight, y)
    for height in HEIGHTS:
        clips = [pasted(p, height, grounds, random) for p in pictures]
        show(f"{height} pixels of 720", "never", whole, clips, y)
        show(f"{height} pixels of 720", "auto", finding, clips, y)
    print_times(clips)


def balanced(
    data: Path, per_class: int, random: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return up to so many dev photographs of each class, and their labels."""
    faces = facial_expressions(data, "dev")
    kept = [
        random.permutation(np.flatnonzero(faces.classes == number))[:per_class]
        for number in np.unique(faces.classes)
    ]
    chosen = faces.where(np.isin(np.arange(len(faces)), np.concatenate(kept)))
    return chosen.samples, np.array(CLASSES)[chosen.classes]


def backgrounds(path: Path, random: np.random.Generator) -> list[np.ndarray]:
    """Return frames of a clip without faces, or smooth random textures."""
    if not path.exists():
        coarse = random.integers(0, 256, (12, 9, 16, 3), dtype=np.uint8)
        return [resized(picture, WIDTH, HEIGHT) for picture in coarse]
    media = read_media(path, n_frames=12, want_video=True, want_sound=False, **READING)
    return [resized(frame, WIDTH, HEIGHT) for frame in media.frames]


READING = {
    "start": 0.0,
    "end": None,
    "rate": 16000,
    "sound_block": 2.0,
    "max_sound_blocks": 1,
}


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture of that size."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def pasted(
    picture: np.ndarray, height: int, grounds: list[np.ndarray], random: np.random.Generator
) -> Video:
    """Return a clip in which the face is that high, at a random place."""
    frame = grounds[random.integers(len(grounds))].copy()
    width = round(picture.shape[1] * height / picture.shape[0])
    top, left = random.integers(HEIGHT - height + 1), random.integers(WIDTH - width + 1)
    frame[top : top + height, left : left + width] = resized(picture, width, height)
    return Video(np.broadcast_to(frame, (N_FRAMES, *frame.shape)), fps=1)


def show(
    name: str, face: str, classifier: EmotionClassifier, clips: list[Video], y: np.ndarray
) -> None:
    """Print one line of the table."""
    found = list(classifier.predict_iter({"video": clip} for clip in clips))
    right = np.array([prediction.label for prediction in found]) == y
    balanced_accuracy = np.mean([right[y == label].mean() for label in np.unique(y)])
    share = np.mean([bool(prediction.faces) for prediction in found])
    shown = "" if face == "never" else f"{share:.3f}"
    print(
        f"| {name} | {face} | {right.mean():.3f} | {balanced_accuracy:.3f} | {shown} |", flush=True
    )


def print_times(clips: list[Video], n_clips: int = 10) -> None:
    """Print the processor time of finding a face in twelve frames."""
    finder = FaceFinder()
    times = []
    for clip in clips[:n_clips]:
        frames = np.repeat(clip.frames[:1], 12, axis=0)
        start = time.process_time()
        finder.boxes(frames)
        times.append(time.process_time() - start)
    milliseconds = 1000 * float(np.median(times))
    print(f"\n12 frames of 720p: {milliseconds:.0f} ms, {milliseconds / 12:.1f} ms a frame")


if __name__ == "__main__":
    main()
