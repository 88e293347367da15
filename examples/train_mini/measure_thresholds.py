"""Micro F1 of several labels at once, zero-shot, at several thresholds.

    python examples/train_mini/measure_thresholds.py --data ../shared/data [--model mini]

prints a table in Markdown: comments of GoEmotions `dev` under their own 27 labels and neutral,
and mapped to Ekman's, with one label each and with all; film subtitles (xed), tweets (semeval)
and short texts (brighter) with several labels; utterances of MELD `dev` with one. The last
columns are the best threshold of all, what it reaches, and what one that is tuned on 40 of the
texts, as ``fit`` with ``tune="none"`` does, reaches on the others: the mean of 40 draws.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from data import EKMAN_OF

from merclip import EmotionClassifier
from merclip.labels import encode_label_sets
from merclip.scoring import best_threshold

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.5)
MOST = 2500
FEW, N_DRAWS = 40, 40
EKMAN = {fine: ekman for ekman, names in EKMAN_OF.items() for fine in names.split()}

Texts = dict[str, set[str]]


def parts(data: Path) -> dict[str, Texts]:
    """Return texts of each part, and the labels of each."""
    folder = data / "text"
    comments = _read(folder / "goemotions_dev.csv", "text", "emotions")
    mapped = {text: {EKMAN[name] for name in names} for text, names in comments.items()}
    found = {
        "GoEmotions, 28 labels": comments,
        "GoEmotions, Ekman's": mapped,
        "GoEmotions, one label": {t: names for t, names in mapped.items() if len(names) == 1},
        "MELD, one label": _read(folder / "meld_dev_sent_emo.csv", "Utterance", "Emotion"),
    }
    others = {"xed": "xed", "semeval2018": "SemEval 2018", "brighter": "BRIGHTER"}
    for name, title in others.items():
        found[title] = _read(folder / "more_emotion_texts.csv", "text", "emotions", name)
    return found


def _read(path: Path, text: str, labels: str, part: str | None = None) -> Texts:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if part in (None, row.get("set"))]
    np.random.default_rng(0).shuffle(rows)
    return {row[text]: set(row[labels].split("|")) - {""} for row in rows[:MOST]}


def micro_f1(truth: np.ndarray, held: np.ndarray) -> float:
    """Return micro F1 of two matrices of bool."""
    return float(2 * (truth & held).sum() / (truth.sum() + held.sum()))


def tuned_on_few(truth: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean micro F1 of the rest at thresholds that were tuned on a few rows."""
    random, scores = np.random.default_rng(0), []
    for _ in range(N_DRAWS):
        rows = random.permutation(len(truth))
        few, rest = rows[:FEW], rows[FEW:]
        threshold = best_threshold(probability[few], truth[few])
        scores.append(micro_f1(truth[rest], probability[rest] >= threshold))
    return float(np.mean(scores))


def row(classifier: EmotionClassifier, name: str, texts: Texts) -> list[str]:
    """Return the cells of one part."""
    labels = sorted(set().union(*texts.values()))
    clf = classifier.with_labels(labels)
    probability = clf.predict_proba(text=list(texts))
    truth = encode_label_sets(list(texts.values()), clf.classes_).astype(bool)
    scores = [micro_f1(truth, probability >= threshold) for threshold in THRESHOLDS]
    grid = np.arange(1, 100) / 100
    every = [micro_f1(truth, probability >= threshold) for threshold in grid]
    sizes = [len(texts), len(labels), f"{truth.sum(axis=1).mean():.2f}"]
    best = [f"{grid[int(np.argmax(every))]:.2f}", f"{max(every):.2f}"]
    best.append(f"{tuned_on_few(truth, probability):.2f}")
    return [name, *map(str, sizes), *(f"{score:.2f}" for score in scores), *best]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    classifier = EmotionClassifier(["a", "b"], model=arguments.model, multi_label=True)
    head = [
        "part",
        "texts",
        "labels",
        "each",
        *map(str, THRESHOLDS),
        "best at",
        "reaches",
        "40 clips",
    ]
    print("|", " | ".join(head), "|\n| --- |", " | ".join("---:" for _ in head[1:]), "|")
    for name, texts in parts(arguments.data).items():
        print("|", " | ".join(row(classifier, name, texts)), "|", flush=True)


if __name__ == "__main__":
    main()
