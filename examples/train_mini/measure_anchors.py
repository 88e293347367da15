"""Measure pictures as labels: FER2013 and photographs, by words, by pictures, and by both.

    python examples/train_mini/measure_anchors.py --data DATA [--part dev] [--only TABLE]

Exemplars are drawn from train, for each seed others. `--part validation` measures on what
the vision tower's training kept aside of train (`vision_step.py`): choices are made there,
and `--part dev` shows what they are worth. The second table fits on a few hundred pictures
of FER2013's train part, and leaves parts of VEGA's objective out.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
from data import Labelled, facial_expressions, fer2013, split_validation  # noqa: E402
from settings import CLASSES, EKMAN, SEED  # noqa: E402
from vision_step import VALIDATION_SHARE  # noqa: E402

from merclip import EmotionClassifier, Features, Video  # noqa: E402
from merclip.evaluation.metrics import expected_calibration_error  # noqa: E402
from merclip.training import VegaObjective  # noqa: E402

COUNTS = (35, 16, 4, 1)
SEEDS = (0, 1, 2)
LABELS = {"fer": EKMAN, "photo": (*EKMAN, "contempt")}
TITLES = {"fer": "FER2013", "photo": "photographs"}
FIT_ANCHORS, FIT_CLIPS, FIT_EPOCHS = 35, 50, 20
"""Of each class, apart from each other."""
_EVEN, _VEGA = VegaObjective.of("even"), VegaObjective.of("vega-detached")
ABLATION = {
    "labels alone": "label",
    "even": _EVEN,
    "even, without anchors": replace(_EVEN, anchor_loss=0.0, anchor_distillation=0.0),
    "even, without sampling": replace(_EVEN, sampling=0.0),
    "even, without distillation": replace(_EVEN, label_distillation=0.0, anchor_distillation=0.0),
    "vega-detached": _VEGA,
    "vega-detached, without anchors": replace(_VEGA, anchor_loss=0.0, anchor_distillation=0.0),
    "vega-detached, without sampling": replace(_VEGA, sampling=0.0),
    "vega-detached, without distillation": replace(
        _VEGA, label_distillation=0.0, anchor_distillation=0.0
    ),
}


def main() -> None:
    """Print tables in Markdown, and the time that they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--part", choices=("dev", "validation"), default="dev")
    parser.add_argument("--only", choices=("zero-shot", "fit"))
    arguments = parser.parse_args()
    train, tested = parts(arguments.data, arguments.part)
    if arguments.only != "fit":
        for group in LABELS:
            print_zero_shot(arguments.model, group, of(train, group), of(tested, group))
    if arguments.only != "zero-shot":
        print_fits(arguments.model, of(train, "fer"), of(tested, "fer"))
    print(f"\n{time.process_time():.0f} seconds of one core")


def parts(data: Path, part: str) -> tuple[Labelled, Labelled]:
    """Return the faces that exemplars come from, and those that are measured on."""
    train = fer2013(data, "train") + facial_expressions(data, "train")
    train, validation = split_validation(train, VALIDATION_SHARE, SEED)
    if part == "validation":
        return train, validation
    return train, fer2013(data, "dev") + facial_expressions(data, "dev")


def of(faces: Labelled, group: str) -> Labelled:
    """Return the faces of one data set, of the classes that are measured."""
    known = [CLASSES.index(label) for label in LABELS[group]]
    return faces.where((faces.groups == group) & np.isin(faces.classes, known))


def print_zero_shot(model: str, group: str, train: Labelled, tested: Labelled) -> None:
    """Print what exemplars are worth without any training."""
    labels = list(LABELS[group])
    words = EmotionClassifier(labels, model=model, batch_size=64)
    features, y = encoded(words, tested), names(tested)
    print(f"\n{TITLES[group]}, {len(y)} pictures, {len(labels)} labels, seeds {SEEDS}\n")
    print("| compared with | pictures a label | accuracy | balanced | NLL | ECE |")
    print("|---|---|---|---|---|---|")
    print_row("words", "-", [measures(words, features, y)])
    for count in COUNTS:
        found: dict[str, list[list[float]]] = {"anchors": [], "both": []}
        for seed in SEEDS:
            anchors, _ = drawn(train, labels, seed, count)
            for source, rows in found.items():
                classifier = EmotionClassifier(
                    labels, model=model, anchors=anchors, predict_from=source
                )
                rows.append(measures(classifier, features, y))
        for source, rows in found.items():
            print_row({"anchors": "pictures"}.get(source, source), str(count), rows)


def print_fits(model: str, train: Labelled, tested: Labelled) -> None:
    """Print what parts of VEGA's objective are worth after a fit."""
    labels = list(LABELS["fer"])
    base = EmotionClassifier(labels, model=model, batch_size=64)
    features, y = encoded(base, tested), names(tested)
    learned = []
    for seed in SEEDS:
        anchors, rest = drawn(train, labels, seed, FIT_ANCHORS, FIT_CLIPS)
        learned.append((seed, anchors, encoded(base, rest), names(rest)))
    print(
        f"\nFER2013, {len(y)} pictures, after a fit on {FIT_CLIPS} of each class beside "
        f"{FIT_ANCHORS} exemplars, {FIT_EPOCHS} epochs, tune='head', seeds {SEEDS}\n"
    )
    print("| objective | predict_from | accuracy | balanced | NLL | ECE |")
    print("|---|---|---|---|---|---|")
    for name, objective in ABLATION.items():
        found: dict[str, list[list[float]]] = {"labels": [], "anchors": [], "both": []}
        for seed, anchors, clips, targets in learned:
            classifier = EmotionClassifier(
                labels,
                model=model,
                anchors=anchors,
                predict_from="both",
                objective=objective,
                epochs=FIT_EPOCHS,
                random_state=seed,
            ).fit(clips, targets)
            for source, rows in found.items():
                rows.append(measures(classifier.set_params(predict_from=source), features, y))
        for source, rows in found.items():
            print_row(name, source, rows)


def drawn(
    train: Labelled, labels: list[str], seed: int, n_anchors: int, n_clips: int = 0
) -> tuple[dict[str, list[np.ndarray]], Labelled]:
    """Return exemplars of each label, and other faces to learn from."""
    random = np.random.default_rng(seed)
    anchors, kept = {}, []
    for label in labels:
        found = random.permutation(np.flatnonzero(train.classes == CLASSES.index(label)))
        anchors[label] = [train.samples[i] for i in found[:n_anchors]]
        kept += found[n_anchors : n_anchors + n_clips].tolist()
    return anchors, train.where(np.isin(np.arange(len(train)), kept))


def encoded(classifier: EmotionClassifier, faces: Labelled) -> Features:
    """Encode pictures once."""
    return classifier.encode([{"video": Video(picture, fps=1)} for picture in faces.samples])


def names(faces: Labelled) -> np.ndarray:
    """Return the label of each face."""
    return np.array(CLASSES)[faces.classes]


def measures(classifier: EmotionClassifier, features: Features, y: np.ndarray) -> list[float]:
    """Return accuracy, balanced accuracy, negative log likelihood and calibration error."""
    probability = classifier.predict_proba(features)
    truth = np.searchsorted(classifier.classes_, y)
    found = probability.argmax(axis=1)
    recalls = [(found[truth == c] == c).mean() for c in np.unique(truth)]
    likelihood = probability[np.arange(len(truth)), truth]
    error = expected_calibration_error(truth, probability)
    return [(found == truth).mean(), np.mean(recalls), -np.log(likelihood).mean(), error]


def print_row(first: str, second: str, rows: list[list[float]]) -> None:
    """Print the mean over seeds, and the deviation where there are several."""
    mean, deviation = np.mean(rows, axis=0), np.std(rows, axis=0)
    many = len(rows) > 1
    cells = [
        f"{value:.3f}" + (f" ± {spread:.3f}" if many else "")
        for value, spread in zip(mean, deviation, strict=True)
    ]
    print(f"| {first} | {second} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
