"""Write the held-out parts of the data as CSV files with media beside them.

    python examples/train_mini/held_out.py --data ../shared/data --out HELD_OUT

`merclip evaluate HELD_OUT/fer2013.csv` and so on then measure any model on them.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from data import (
    EKMAN_OF,
    class_name,
    clean_text,
    table_rows,
)
from settings import CLASSES, EKMAN
from speech import TEST_ACTORS

N_COMBINED = 150
"""Combined clips of each emotion."""
SEED = 7
FURTHER = ("dailydialog", "semeval2018", "brighter")
"""Sets of more_emotion_texts.csv with a part for measuring."""
SITUATIONS = Path(__file__).parent / "held_out_situations.json"
"""Situations that were written together with those for training, and kept apart."""


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    write_held_out(arguments.data, arguments.out)


def write_held_out(data: Path, out: Path) -> None:
    """Write all held-out parts to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    faces = archive(data / "fer2013_faces.tar", out / "fer2013", is_dev)
    photographs = archive(data / "facial_expressions.tar", out / "photographs", is_dev)
    wild = archive(data / "rafdb_faces.tar", out / "raf", is_dev)
    voices = archive(data / "ravdess_speech.tar", out / "ravdess", is_test_actor)
    comments = list(goemotions_rows(data, fine=False))
    lines = list(meld_rows(data))
    for name, rows in (("fer2013", faces), ("photographs", photographs), ("raf", wild)):
        write(out / f"{name}.csv", [{"video": r["path"], "label": r["class"]} for r in rows])
    write(out / "ravdess.csv", [voice_row(row) for row in voices])
    write(out / "goemotions.csv", comments)
    write(out / "meld.csv", lines)
    for name in FURTHER:
        write(out / f"{name}.csv", further_rows(data, name))
    write(out / "situations.csv", situation_rows())
    write(out / "combined.csv", combined_rows(comments, faces, voices))
    write_new_tasks(data, out)


def write_new_tasks(data: Path, out: Path) -> None:
    """Write parts whose labels the model was not trained for: they are for few-shot learning."""
    write(out / "goemotions_fine.csv", goemotions_rows(data, fine=True))
    write(out / "mosi.csv", mosi_rows(data))
    german = archive(data / "emodb_speech.tar", out / "emodb", lambda row: True)
    write(out / "emodb.csv", [{**voice_row(row), "group": row["speaker"]} for row in german])
    strong = archive(data / "ravdess_speech.tar", out / "ravdess", has_intensity)
    write(out / "intensity.csv", [{**voice_row(row), "label": row["intensity"]} for row in strong])


def archive(path: Path, folder: Path, wanted) -> list[dict]:
    """Unpack the wanted members of a data set; return its rows with their path and class."""
    found = []
    with tarfile.open(path) as members:
        contents = {m.name: members.extractfile(m).read() for m in members if m.isfile()}
    for row in csv.DictReader(io.StringIO(contents["labels.csv"].decode("utf-8"))):
        if not wanted(row):
            continue
        place = folder / row["file"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(contents[row["file"]])
        relative = place.relative_to(folder.parent).as_posix()
        found.append({**row, "path": relative, "class": class_name(row["emotion"])})
    return found


def is_dev(row: dict) -> bool:
    """Return whether a face belongs to the held-out part."""
    return row["split"] == "dev"


def is_test_actor(row: dict) -> bool:
    """Return whether a voice belongs to the held-out part."""
    return row["actor"] in TEST_ACTORS


def has_intensity(row: dict) -> bool:
    """Return whether a voice was spoken in normal and in strong intensity: neutral was not."""
    return row["emotion"] != "neutral"


def voice_row(row: dict) -> dict:
    """Return a row of speech with its speaker as group."""
    return {"audio": row["path"], "label": row["class"], "group": row.get("actor", "")}


def goemotions_rows(data: Path, fine: bool) -> Iterable[dict]:
    """Yield comments with one of Ekman's emotions, or with one of the 28 fine labels."""
    mapped = {name: ekman for ekman, names in EKMAN_OF.items() for name in names.split()}
    for row in table_rows(data / "text" / "goemotions_dev.csv"):
        names = row["emotions"].split("|")
        labels = set(names) if fine else {mapped[name] for name in names}
        if len(labels) == 1:
            (label,) = labels
            yield {"text": row["text"], "label": label if fine else class_name(label)}


def meld_rows(data: Path) -> Iterable[dict]:
    """Yield utterances, of which only the text is at hand."""
    for row in table_rows(data / "text" / "meld_dev_sent_emo.csv"):
        yield {"text": clean_text(row["Utterance"]), "label": class_name(row["Emotion"])}


def further_rows(data: Path, name: str) -> Iterable[dict]:
    """Yield texts of a further corpus whose labels all mean the same class."""
    for row in table_rows(data / "text" / "more_emotion_texts.csv"):
        labels = {class_name(label) for label in row["emotions"].split("|")}
        if (row["set"], row["split"]) == (name, "dev") and len(labels) == 1 and labels < {*CLASSES}:
            yield {"text": row["text"], "label": labels.pop()}


def situation_rows() -> Iterable[dict]:
    """Yield situations in which people felt an emotion."""
    for label, texts in json.loads(SITUATIONS.read_text(encoding="utf-8")).items():
        yield from ({"text": text, "label": label} for text in texts)


def mosi_rows(data: Path) -> Iterable[dict]:
    """Yield validation sentences that are clearly positive or negative."""
    for row in table_rows(data / "text" / "mosi_label.csv"):
        value = float(row["label"])
        if row["mode"] == "valid" and value:
            yield {"text": row["text"], "label": "positive" if value > 0 else "negative"}


def combined_rows(comments: list[dict], faces: list[dict], voices: list[dict]) -> Iterable[dict]:
    """Yield clips of a face, a voice and a comment that show the same emotion."""
    random = np.random.default_rng(SEED)
    for label in EKMAN:
        texts = [row["text"] for row in comments if row["label"] == label]
        pictures = [row["path"] for row in faces if row["class"] == label]
        sounds = [row["path"] for row in voices if row["class"] == label]
        for _ in range(N_COMBINED):
            yield {
                "video": random.choice(pictures),
                "audio": random.choice(sounds),
                "text": random.choice(texts),
                "label": label,
            }


def write(path: Path, rows: Iterable[dict]) -> None:
    """Write rows as CSV."""
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main()
