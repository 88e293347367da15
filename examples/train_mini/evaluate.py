"""Measure mini on everything that `held_out.py` wrote, and fill its card.

    python examples/train_mini/evaluate.py --held-out HELD_OUT --out RESULTS [--card]

Each row of the tables is what `merclip evaluate HELD_OUT/NAME.csv` prints too;
here clips are encoded once for all wordings of the labels.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
from settings import DEFAULT_LABELS, EKMAN  # noqa: E402

from merclip import EmotionClassifier  # noqa: E402
from merclip.evaluation import k_shot, zero_shot  # noqa: E402
from merclip.evaluation.tables import table  # noqa: E402

PROJECT = Path(__file__).parents[2]
PAGES = (PROJECT / "merclip" / "weights" / "mini" / "README.md", PROJECT / "docs" / "accuracy.md")
PICTURES = PROJECT / "docs" / "pictures"
DESCRIPTIONS = json.loads(
    (Path(__file__).parent / "held_out_texts.json").read_text(encoding="utf-8")
)
"""Eight descriptions of each class that no training step has seen."""
ZERO_SHOT = {
    "fer2013": EKMAN,
    "photographs": (*EKMAN, "contempt"),
    "raf": EKMAN,
    "ravdess": DEFAULT_LABELS,
    "goemotions": EKMAN,
    "meld": EKMAN,
    "dailydialog": EKMAN,
    "semeval2018": EKMAN,
    "brighter": tuple(label for label in EKMAN if label != "disgust"),
    "situations": EKMAN,
}
K_SHOT = {
    "emodb": ("angry", "bored", "disgust", "fearful", "happy", "neutral", "sad"),
    "intensity": ("normal", "strong"),
    "mosi": ("negative", "positive"),
    "goemotions_fine": None,
    "goemotions": EKMAN,
    "meld": EKMAN,
    "ravdess": DEFAULT_LABELS,
    "fer2013": EKMAN,
}
FEWER = {"ravdess": (4,)}
"""Parts with too few examples of a class for 16 of them and a test."""
SHOTS, SEEDS = (4, 16), (0, 1, 2, 3, 4)
COMBINATIONS = ("L", "V", "A", "LV", "LA", "VA", "LVA")
COLUMNS = {"L": "text", "V": "video", "A": "audio"}


def main() -> None:
    """Measure, print tables, write numbers and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=("zero-shot", "classes", "combined", "k-shot"))
    parser.add_argument("--card", action="store_true", help="fill mini's card and docs/accuracy.md")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    classifier = EmotionClassifier(model=arguments.model, batch_size=32)
    parts = {
        "zero-shot": lambda: measure_words(classifier, arguments.held_out, arguments.out),
        "classes": lambda: classes_table(arguments.out),
        "combined": lambda: measure_combined(classifier, arguments.held_out),
        "k-shot": lambda: measure_few(classifier, arguments.held_out, arguments.out),
    }
    for name in [arguments.only] if arguments.only else parts:
        rows = parts[name]()
        print(f"\n{name}\n\n{table(rows)}")
        if arguments.card:
            for page in PAGES:
                fill(page, name, table(rows))
    if arguments.card:
        PICTURES.mkdir(exist_ok=True)
        shown = PAGES[-1].read_text(encoding="utf-8")
        for picture in arguments.out.glob("*_c*.png"):
            if f"mini_{picture.name}" in shown:
                shutil.copy(picture, PICTURES / f"mini_{picture.name}")


def read(folder: Path, name: str, columns: str = "LVA") -> tuple[list[dict], list[str], list[str]]:
    """Return the clips, labels and groups of a part."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [COLUMNS[letter] for letter in columns if COLUMNS[letter] in rows[0]]
    clips = [
        {key: row[key] if key == "text" else str(folder / row[key]) for key in kept} for row in rows
    ]
    return clips, [row["label"] for row in rows], [row.get("group", "") for row in rows]


def measure_words(classifier: EmotionClassifier, folder: Path, out: Path) -> list[list[str]]:
    """Measure each part with words, and with unseen descriptions, as labels."""
    rows = [
        ["part", "clips", "majority", "accuracy", "balanced", "macro F1", "weighted F1", "ECE"]
        + ["four descriptions", "one description"]
    ]
    for name, labels in ZERO_SHOT.items():
        clips, y, _ = read(folder, name)
        features = classifier.encode(clips)
        report = zero_shot(classifier, features, y, labels=list(labels))
        (out / f"{name}.json").write_text(report.to_json(), encoding="utf-8")
        report.plot_confusion(out / f"{name}_confusion.png")
        report.plot_calibration(out / f"{name}_calibration.png")
        found = report.metrics
        four = [
            described(classifier, features, y, labels, [s, s + 1, s + 2, s + 3]) for s in (0, 4)
        ]
        one = [described(classifier, features, y, labels, [i]) for i in range(8)]
        majority = max(y.count(label) for label in set(y)) / len(y)
        chosen = ["accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"]
        chosen.append("expected_calibration_error")
        rows.append(
            [name, str(len(y)), f"{majority:.3f}", *(f"{found[key]:.3f}" for key in chosen)]
            + [mean_of(four), mean_of(one)]
        )
        print(rows[-1], flush=True)
    return rows


def classes_table(out: Path) -> list[list[str]]:
    """Return recall and F1 of each class, from the reports that `measure_words` wrote."""
    reports = {
        name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in ZERO_SHOT
    }
    found = {
        (row["name"], name): f"{row['recall']:.2f}, {row['f1']:.2f}"
        for name, report in reports.items()
        for row in report["conditions"][0]["per_class"]
    }
    labels = (*DEFAULT_LABELS, "contempt")
    rows = [[label, *(found.get((label, name), "-") for name in ZERO_SHOT)] for label in labels]
    return [["class", *ZERO_SHOT], *rows]


def described(
    classifier: EmotionClassifier,
    features,
    y: list[str],
    labels: tuple[str, ...],
    which: Sequence[int],
) -> float:
    """Return the accuracy with some of the descriptions, averaged, as labels."""
    texts = {label: [DESCRIPTIONS[label][i] for i in which] for label in labels}
    return zero_shot(classifier, features, y, labels=texts).metrics["accuracy"]


def measure_combined(classifier: EmotionClassifier, folder: Path) -> list[list[str]]:
    """Measure clips made of a face, a voice and a text, by modalities present."""
    rows = [["modalities", "accuracy", "balanced", "ECE"]]
    for letters in COMBINATIONS:
        clips, y, _ = read(folder, "combined", letters)
        found = zero_shot(classifier, clips, y, labels=list(EKMAN)).metrics
        keys = ("accuracy", "balanced_accuracy", "expected_calibration_error")
        rows.append([letters, *(f"{found[key]:.3f}" for key in keys)])
        print(rows[-1], flush=True)
    return rows


def measure_few(classifier: EmotionClassifier, folder: Path, out: Path) -> list[list[str]]:
    """Measure what a few examples of each class bring."""
    rows = [["part", "labels", "zero-shot", *(f"{count} a class" for count in SHOTS)]]
    rows[0] += ["accuracy", "NLL", "ECE"]
    for name, labels in K_SHOT.items():
        clips, y, groups = read(folder, name)
        labels = labels or frequent(y)
        kept = [i for i, label in enumerate(y) if label in labels]
        clips, y, groups = ([part[i] for i in kept] for part in (clips, y, groups))
        report = k_shot(
            classifier,
            clips,
            y,
            labels=list(labels),
            shots=FEWER.get(name, SHOTS),
            seeds=SEEDS,
            groups=groups if any(groups) else None,
        )
        (out / f"{name}_k_shot.json").write_text(report.to_json(), encoding="utf-8")
        found = {condition.name: condition for condition in report.conditions}
        conditions = ["zero-shot", *(f"{count}-shot" for count in SHOTS)]
        rows.append([name, str(len(labels)), *(spread(found.get(c)) for c in conditions)])
        both = report.conditions[0], report.conditions[-1]
        for key in ("accuracy", "negative_log_likelihood", "expected_calibration_error"):
            rows[-1].append(" to ".join(f"{condition.mean[key]:.3f}" for condition in both))
        print(rows[-1], flush=True)
    return rows


def frequent(y: list[str], at_least: int = 40) -> tuple[str, ...]:
    """Return the labels that have enough clips to learn from and to test on."""
    return tuple(sorted(label for label in set(y) if y.count(label) >= at_least))


def spread(condition) -> str:
    """Return mean and deviation of balanced accuracy; a dash where there is none."""
    if condition is None:
        return "-"
    std = condition.std["balanced_accuracy"] or 0.0
    return f"{condition.mean['balanced_accuracy']:.3f} ± {std:.3f}"


def mean_of(values: list[float]) -> str:
    """Return the mean of some accuracies, and the lowest."""
    return f"{np.mean(values):.3f} (lowest {min(values):.3f})"


def fill(page: Path, name: str, shown: str) -> None:
    """Replace what stands between the page's marks of that name, if it has any."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in (text := page.read_text(encoding="utf-8")):
        return
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    page.write_text(f"{head}{begin}\n\n{shown}\n\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
