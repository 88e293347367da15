"""Measure the checkpoint on faces, speakers and sentences that no step has seen.

    python examples/train_mini/evaluate.py --data ../shared/data --out numbers.json

Everything is zero-shot by label texts and goes through the whole network.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import data as sources  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from data import Labelled, speaker_part  # noqa: E402
from fusion_data import encode_pictures, encode_texts  # noqa: E402
from label_texts import embed, held_out_sentences  # noqa: E402
from settings import CLASSES, DEFAULT_LABELS, EKMAN  # noqa: E402
from sklearn.metrics import accuracy_score, f1_score, recall_score  # noqa: E402
from torch import Tensor  # noqa: E402

from merclip.network import MERCLIP, load_checkpoint  # noqa: E402
from merclip.preprocess import ClipFeatures, pad_features  # noqa: E402
from merclip.preprocess.audio import sound_to_tensor  # noqa: E402
from merclip.preprocess.vision import frames_to_tensor  # noqa: E402

WEIGHTS = Path(__file__).parents[2] / "merclip" / "weights" / "mini"
PHOTO_LABELS = (*EKMAN, "contempt")
N_CLIPS = 2100
COMBINATIONS = ("L", "V", "A", "LV", "LA", "VA", "LVA")
SEED = 7


def main() -> None:
    """Measure, print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--card", action="store_true", help="put the table into the model card")
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.weights)
    parts = encode_parts(checkpoint, arguments.data)
    numbers = {"single": measure_parts(checkpoint.network, parts)}
    numbers["combined"] = measure_combined(checkpoint.network, parts)
    shown = table(numbers)
    print(shown)
    if arguments.card:
        put_into_card(arguments.weights / "README.md", shown)
    if arguments.out:
        arguments.out.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def encode_parts(checkpoint, data: Path) -> dict:
    """Return for each held-out part its clips' features, classes and labels."""
    network, size = checkpoint.network, checkpoint.network.config.image_size

    def faces(part: Labelled) -> list[Tensor]:
        pictures = [
            frames_to_tensor(np.array(picture)[None], size, checkpoint.preprocess.vision)
            for picture in part.samples
        ]
        return encode_pictures(network, "V", pictures)

    def speech(part: Labelled) -> list[Tensor]:
        pictures = [sound_to_tensor(s, size, checkpoint.preprocess.audio) for s in part.samples]
        return encode_pictures(network, "A", pictures)

    def texts(part: Labelled) -> list[Tensor]:
        return [sequence.float() for sequence in encode_texts(network, part.samples)]

    voices = sources.ravdess(data)
    plan = {
        "FER2013 dev": ("V", faces, sources.fer2013(data, "dev"), EKMAN),
        "facial_expressions dev": (
            "V",
            faces,
            sources.facial_expressions(data, "dev"),
            PHOTO_LABELS,
        ),
        "RAVDESS actors 17-20": (
            "A",
            speech,
            voices.where(speaker_part(voices, "test")),
            DEFAULT_LABELS,
        ),
        "GoEmotions dev": ("L", texts, sources.goemotions(data, "dev"), EKMAN),
        "MELD dev text": ("L", texts, sources.meld(data, "dev"), EKMAN),
    }
    return {
        name: (letter, encode(part), part.classes, labels)
        for name, (letter, encode, part, labels) in plan.items()
    }


def measure_parts(network: MERCLIP, parts: dict) -> dict:
    """Measure each part, with words and with unseen sentences as labels."""
    found = {}
    for name, (letter, sequences, classes, labels) in parts.items():
        clips = [ClipFeatures({letter: sequence}) for sequence in sequences]
        fused = fuse(network, clips)
        found[name] = {
            kind: scores(network, fused, classes, labels, texts)
            for kind, texts in (("words", labels), ("sentences", held_out_sentences(labels)))
        }
        found[name]["n"] = len(clips)
        found[name]["n_labels"] = len(labels)
        found[name]["majority"] = float(np.bincount(classes).max() / len(classes))
    return found


@torch.no_grad()
def fuse(network: MERCLIP, clips: Sequence[ClipFeatures]) -> Tensor:
    """Return fused embeddings of many clips."""
    found = [network.fuse(pad_features(clips[i : i + 256])) for i in range(0, len(clips), 256)]
    return torch.cat(found)


@torch.no_grad()
def scores(
    network: MERCLIP,
    fused: Tensor,
    classes: np.ndarray,
    labels: Sequence[str],
    texts: Sequence[str],
) -> dict:
    """Return accuracy, balanced accuracy, F1 and the recall of each class."""
    logits = network.logits(fused, embed(network.label_encoder, texts), multi_label=False)
    numbers = np.array([CLASSES.index(name) for name in labels])
    guesses = numbers[logits.argmax(1).numpy()]
    present = np.unique(classes)
    recalls = recall_score(classes, guesses, labels=present, average=None, zero_division=0)
    probabilities = logits.softmax(1).max(1).values.numpy()
    return {
        "accuracy": float(accuracy_score(classes, guesses)),
        "balanced": float(recalls.mean()),
        "macro_f1": float(
            f1_score(classes, guesses, labels=present, average="macro", zero_division=0)
        ),
        "weighted_f1": float(f1_score(classes, guesses, average="weighted", zero_division=0)),
        "mean_confidence": float(probabilities.mean()),
        "recall": {CLASSES[c]: float(r) for c, r in zip(present, recalls, strict=True)},
    }


def measure_combined(network: MERCLIP, parts: dict) -> dict:
    """Measure clips made of held-out samples of one emotion, by modalities present."""
    random = np.random.default_rng(SEED)
    origins = {"L": "GoEmotions dev", "V": "FER2013 dev", "A": "RAVDESS actors 17-20"}
    classes = np.array([CLASSES.index(name) for name in EKMAN]).repeat(N_CLIPS // len(EKMAN))
    drawn = {letter: draw(parts[name], classes, random) for letter, name in origins.items()}
    found = {}
    for letters in COMBINATIONS:
        clips = [
            ClipFeatures({letter: drawn[letter][i] for letter in letters})
            for i in range(len(classes))
        ]
        fused = fuse(network, clips)
        found[letters] = {
            "words": scores(network, fused, classes, EKMAN, EKMAN),
            "sentences": scores(network, fused, classes, EKMAN, held_out_sentences(EKMAN)),
        }
    return found


def draw(part: tuple, classes: np.ndarray, random: np.random.Generator) -> list[Tensor]:
    """Return one random sample of the part for each wanted class."""
    _, sequences, known, _ = part
    return [sequences[random.choice(np.flatnonzero(known == number))] for number in classes]


def put_into_card(card: Path, shown: str) -> None:
    """Replace what stands between the card's two marks."""
    start, rest = card.read_text(encoding="utf-8").split("<!-- numbers -->")
    end = rest.split("<!-- /numbers -->")[1]
    text = f"{start}<!-- numbers -->\n{shown}\n<!-- /numbers -->{end}"
    card.write_text(text, encoding="utf-8")


def table(numbers: dict) -> str:
    """Return the numbers as Markdown."""
    lines = [
        "| held-out part | n | labels | majority | accuracy | balanced | macro F1 | weighted F1 "
        "| sentences: accuracy | sentences: balanced |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, part in numbers["single"].items():
        words, sentences = part["words"], part["sentences"]
        shown = [part["majority"], words["accuracy"], words["balanced"], words["macro_f1"]]
        shown += [words["weighted_f1"], sentences["accuracy"], sentences["balanced"]]
        cells = " | ".join(f"{value:.3f}" for value in shown)
        lines.append(f"| {name} | {part['n']} | {part['n_labels']} | {cells} |")
    lines += ["", "| part | recall of each class (words as labels) |", "|---|---|"]
    for name, part in numbers["single"].items():
        recalls = ", ".join(f"{k} {v:.2f}" for k, v in part["words"]["recall"].items())
        lines.append(f"| {name} | {recalls} |")
    lines += ["", "| modalities | words: accuracy | sentences: accuracy |", "|---|---|---|"]
    for letters, part in numbers["combined"].items():
        pair = (part["words"]["accuracy"], part["sentences"]["accuracy"])
        lines.append(f"| {letters} | {pair[0]:.3f} | {pair[1]:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
