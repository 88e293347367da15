"""Time one 5-second 720p clip with sound and text, stage by stage. Run by hand.

    python tests/benchmarks/clip_latency.py [--rounds N] [CLIP ...]

Without CLIP, two are made: the drawn face of examples/happy.mp4 on moving ground, and
the ground alone. Stages take turns; each figure is a median over the rounds. CPU
seconds are those of all threads, and "ratio" compares them with decoding all frames.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

# Threads that wait for work must not count as work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import av  # noqa: E402
import numpy as np  # noqa: E402

from merclip import EmotionClassifier  # noqa: E402
from merclip.media import read_media  # noqa: E402
from merclip.preprocess import FaceFinder  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "happy.mp4"
TEXT = "I can't believe you did that!"
WIDTH, HEIGHT, SIDE = 1280, 720, 400
SECONDS, FPS, RATE = 5, 25, 44100


def main() -> None:
    """Print a Markdown table for each clip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP")
    arguments = parser.parse_args()
    classifier, load = timed(lambda: EmotionClassifier.from_pretrained("mini"))
    print(f"loading, after imports: {load[0]:.2f} s, CPU {load[1]:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.clips or made_clips(Path(folder)):
            show(path, classifier, arguments.rounds)


def show(path: Path, classifier: EmotionClassifier, rounds: int) -> None:
    """Time the stages of one clip in turns, and print their medians."""
    finder = FaceFinder()
    frames = read_media(path, want_sound=False).frames
    labels = ["happy", "sad", "angry", "neutral"]
    stages: dict[str, Callable[[], object]] = {
        "decode all frames": lambda: decode(path),
        "read frames and sound": lambda: read_media(path),
        "find and crop faces": lambda: finder.crops(frames),
        "whole prediction": lambda: classifier(video=path, text=TEXT, labels=labels),
    }
    for stage in stages.values():
        stage()
    times = np.array([[timed(stage)[1] for stage in stages.values()] for _ in range(rounds)])
    medians = dict(zip(stages, np.median(times, axis=0), strict=True))
    everything, reading, finding = (medians[name] for name in list(stages)[:0:-1])
    medians["the rest: tensors, towers, fusion"] = everything - reading - finding
    found = finder.crops(frames)[1]
    print(f"\n{path.name}: a face in {found} of {len(frames)} frames\n")
    print("| stage | wall s | CPU s | ratio |\n|---|---|---|---|")
    for name, (wall, cpu) in medians.items():
        print(f"| {name} | {wall:.3f} | {cpu:.3f} | {cpu / medians['decode all frames'][1]:.2f} |")


def timed(work: Callable[[], object]) -> tuple[object, tuple[float, float]]:
    """Return what `work` gives, and its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - wall, time.process_time() - cpu)


def decode(path: Path) -> int:
    """Decode every frame, and do nothing with it."""
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def made_clips(folder: Path) -> list[Path]:
    """Write a clip with a face and one without."""
    face = read_media(EXAMPLE, n_frames=SECONDS * FPS, want_sound=False).frames
    return [written(folder / "face.mp4", face), written(folder / "no-face.mp4", None)]


def written(path: Path, faces: np.ndarray | None) -> Path:
    """Write noisy moving ground, a face before it if given, and a tone."""
    random = np.random.default_rng(0)
    with av.open(path, "w") as container:
        pictures = container.add_stream("libx264", FPS, options={"preset": "veryfast"})
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", RATE)
        for i in range(SECONDS * FPS):
            frame = av.VideoFrame.from_ndarray(picture(i, faces, random), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for begin in range(0, SECONDS * RATE, 1024):
            wave = 0.3 * np.sin(2 * np.pi * 220 * np.arange(begin, begin + 1024) / RATE)
            samples = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = RATE, begin
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def picture(i: int, faces: np.ndarray | None, random: np.random.Generator) -> np.ndarray:
    """Return frame `i`: ground that moves, noise, and a face in the middle."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ground = 110 + 50 * np.sin((x + 4 * i) / 61) + 40 * np.cos((y - 2 * i) / 47)
    frame = np.repeat(ground[..., None], 3, axis=2)
    if faces is not None:
        side = min(faces.shape[1:3])
        left = (faces.shape[2] - side) // 2
        step = (np.arange(SIDE) * side) // SIDE
        face = faces[i % len(faces), :, left : left + side][step][:, step]
        frame[160 : 160 + SIDE, 440 : 440 + SIDE] = face
    frame += random.normal(0, 4, (HEIGHT, WIDTH, 1))
    return frame.clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
