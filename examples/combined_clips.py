r"""Write clips of a comment, a face and a voice of one emotion, for the paper's ablations.

    python examples/combined_clips.py --data ../shared/data --out CLIPS
    merclip reproduce ablation-modality --csv CLIPS/clips.csv --split-column part \
        --model mini --tune head

Comments come from GoEmotions, faces from FER2013, voices from RAVDESS. What is tested
comes from their development parts and from actors 17 to 20, what is chosen on from
actors 15 and 16. Such clips are easier than real ones: their three parts come from
different people, and never disagree.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import tarfile
from collections import defaultdict
from pathlib import Path

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
PARTS = {"train": 60, "valid": 20, "test": 40}
"""Clips of each emotion."""

SPOKEN = {"fearful": "fear", "surprised": "surprise"}
WRITTEN = {
    "anger annoyance disapproval": "angry",
    "disgust": "disgust",
    "fear nervousness": "fear",
    "admiration amusement approval caring desire excitement gratitude joy love optimism pride "
    "relief": "happy",
    "neutral": "neutral",
    "disappointment embarrassment grief remorse sadness": "sad",
    "confusion curiosity realization surprise": "surprise",
}
"""GoEmotions to Ekman's emotions, as the authors of GoEmotions map them."""

Pool = dict[tuple[str, str], list[str]]
"""Texts, or names of files, of each part and emotion."""


def main() -> None:
    """Read the command line and write ``clips.csv`` with its files."""
    parser = argparse.ArgumentParser(description="Clips of a comment, a face and a voice.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    choice = random.Random(given.seed)
    pools = {
        "video": faces(given.data, choice),
        "audio": voices(given.data, choice),
        "text": comments(given.data, choice),
    }
    rows = combined(pools)
    for archive, column in (("fer2013_faces.tar", "video"), ("ravdess_speech.tar", "audio")):
        unpack(given.data / archive, {row[column] for row in rows}, given.out)
    with open(given.out / "clips.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["video", "audio", "text", "label", "part"])
        table.writeheader()
        table.writerows(rows)
    print(f"{len(rows)} clips in {given.out / 'clips.csv'}")


def combined(pools: dict[str, Pool]) -> list[dict[str, str]]:
    """Return rows; where a pool has too few, its samples come again beside others."""
    rows = []
    for part, count in PARTS.items():
        for emotion in EMOTIONS:
            for index in range(count):
                row = {"label": emotion, "part": part}
                for column, pool in pools.items():
                    samples = pool[part, emotion]
                    row[column] = samples[index % len(samples)]
                rows.append(row)
    return rows


def faces(data: Path, choice: random.Random) -> Pool:
    """Return names of pictures."""
    pool: Pool = defaultdict(list)
    for row in labels_in(data / "fer2013_faces.tar"):
        pool["test" if row["split"] == "dev" else "train", row["emotion"]].append(row["file"])
    return with_valid(pool, choice)


def voices(data: Path, choice: random.Random) -> Pool:
    """Return names of recordings."""
    pool: Pool = defaultdict(list)
    for row in labels_in(data / "ravdess_speech.tar"):
        actor, emotion = int(row["actor"]), SPOKEN.get(row["emotion"], row["emotion"])
        part = "test" if actor >= 17 else "valid" if actor >= 15 else "train"
        pool[part, emotion].append(row["file"])
    return shuffled(pool, choice)


def comments(data: Path, choice: random.Random) -> Pool:
    """Return comments that have one of Ekman's emotions."""
    known = {name: emotion for names, emotion in WRITTEN.items() for name in names.split()}
    pool: Pool = defaultdict(list)
    for split, part in (("train", "train"), ("dev", "test")):
        with open(data / "text" / f"goemotions_{split}.csv", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found = {known[name] for name in row["emotions"].split("|")}
                if len(found) == 1:
                    pool[part, found.pop()].append(row["text"])
    return with_valid(pool, choice)


def with_valid(pool: Pool, choice: random.Random) -> Pool:
    """Take some of what is learned from to choose on."""
    pool = shuffled(pool, choice)
    for emotion in EMOTIONS:
        samples = pool["train", emotion]
        pool["valid", emotion] = samples[: PARTS["valid"]]
        pool["train", emotion] = samples[PARTS["valid"] :]
    return pool


def shuffled(pool: Pool, choice: random.Random) -> Pool:
    """Return the samples of each part and emotion in random order."""
    return {key: choice.sample(sorted(samples), len(samples)) for key, samples in pool.items()}


def labels_in(archive: Path) -> list[dict[str, str]]:
    """Return the rows of an archive's table of labels."""
    with tarfile.open(archive) as files:
        text = files.extractfile("labels.csv").read().decode("utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def unpack(archive: Path, names: set[str], out: Path) -> None:
    """Write some files of an archive."""
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as files:
        for member in files:
            if member.name in names:
                (out / member.name).write_bytes(files.extractfile(member).read())


if __name__ == "__main__":
    main()
