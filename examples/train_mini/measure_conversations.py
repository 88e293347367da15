"""Measure the conversation model on MELD's dialogues, with mini's text features.

    python examples/train_mini/measure_conversations.py ../shared/data/text --cache /tmp/meld.pt

Each configuration is trained with three seeds on MELD's training dialogues, a tenth of which
chooses the epoch; the official dev dialogues are only measured. One line of JSON for each
training, then a table of means.

``--features language`` are embeddings of mini's language encoder, which learned from the texts of
MELD's training dialogues: their labels are in those features, and a tenth of them that is
held out looks far easier than dev does. ``--features label`` are those of mini's frozen
label encoder, which learned from no labels of MELD.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tools import cached

from merclip import ConversationClassifier, Dialogue, EmotionClassifier
from merclip.datasets import Dataset, load_meld
from merclip.preprocess import pad_features
from merclip.preprocess.text import tokenize
from merclip.training import DialogueSettings, VegaObjective

PARTS = {"train": "meld_train_sent_emo.csv", "dev": "meld_dev_sent_emo.csv"}
WORDS = {
    "neutral": "Someone calm, without any emotion.",
    "surprise": "Someone surprised, who did not expect this.",
    "fear": "Someone afraid and worried.",
    "sadness": "Someone sad and hurt.",
    "joy": "Someone happy, full of joy.",
    "disgust": "Someone disgusted.",
    "anger": "Someone angry and annoyed.",
}
EVEN = VegaObjective.of("even")
CONFIGURATIONS = {
    "context": {},
    "no context": {"context": False},
    "causal": {"causal": True},
    "anchors": {"anchors": "labels"},
    "anchors, no sampling": {"anchors": "labels", "objective": replace(EVEN, sampling=0.0)},
    "anchors, no distillation": {
        "anchors": "labels",
        "objective": replace(EVEN, label_distillation=0.0, anchor_distillation=0.0),
    },
}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with " + " and ".join(PARTS.values()))
    parser.add_argument("--cache", type=Path, required=True, help="file for embeddings")
    parser.add_argument("--features", choices=["language", "label", "both"], default="language")
    parser.add_argument("--only", nargs="+", choices=list(CONFIGURATIONS), default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--time", action="store_true", help="measure times in place of accuracy")
    arguments = parser.parse_args()
    meld = load(arguments.folder)
    embeddings = cached(arguments.cache, lambda: embed(meld))
    kinds = ["language", "label"] if arguments.features == "both" else [arguments.features]
    rows = np.concatenate([embeddings[kind] for kind in kinds], axis=1)
    train, dev = (list(dialogues(meld, rows, part)) for part in ("train", "valid"))
    print(f"{len(train):,} training dialogues, {len(dev):,} of dev; {arguments.features} features")
    if arguments.time:
        measure_time(train)
        return
    for name in arguments.only or CONFIGURATIONS:
        found = [measure(name, seed, train, dev) for seed in arguments.seeds]
        scores = {key: [row[key] for row in found] for key in ("held_out", "dev", "dev_accuracy")}
        shown = ", ".join(f"{k} {np.mean(v):.4f} ± {np.std(v):.4f}" for k, v in scores.items())
        print(f"{name}: {shown}", flush=True)


def load(folder: Path) -> Dataset:
    """Return MELD from its csv files, which bear another name here."""
    with tempfile.TemporaryDirectory() as made:
        for part, name in PARTS.items():
            (Path(made) / f"{part}_sent_emo.csv").symlink_to((folder / name).resolve())
        return load_meld(made, modalities=["text"])


def embed(meld: Dataset) -> dict[str, np.ndarray]:
    """Return mini's embeddings of every utterance."""
    clf = EmotionClassifier(["a", "b"], batch_size=64)
    network = clf.network_
    language, label = [], []
    with torch.inference_mode():
        for start in range(0, len(meld), 256):
            clips = meld.clips[start : start + 256]
            batch = pad_features(list(clf.encode(clips)), network.device)
            language.append(network.global_embeddings(batch)["L"].cpu().numpy())
            ids = [tokenize(clip.text, network.max_label_tokens).ids for clip in clips]
            label.append(network.encode_labels(ids).cpu().numpy())
    return {"language": np.concatenate(language), "label": np.concatenate(label)}


def dialogues(meld: Dataset, rows: np.ndarray, part: str) -> Iterator[Dialogue]:
    """Yield the dialogues of a part, of features in place of texts."""
    places = {clip.id: row for row, clip in enumerate(meld.clips)}
    for talk in meld.split(part).dialogues():
        features = {"text": rows[[places[name] for name in talk.ids]]}
        yield Dialogue(features, talk.speakers, talk.labels, name=talk.name)


def measure(name: str, seed: int, train: list[Dialogue], dev: list[Dialogue]) -> dict:
    """Train one configuration with one seed, and return its scores."""
    chosen = dict(CONFIGURATIONS[name])
    settings = DialogueSettings.of("practical")
    settings = replace(settings, objective=chosen.pop("objective", settings.objective))
    start = time.process_time()
    clf = ConversationClassifier(WORDS, settings=settings, random_state=seed, **chosen).fit(train)
    report = clf.evaluate(dev)
    found = {
        "configuration": name,
        "seed": seed,
        "epochs": len(clf.history_),
        "held_out": max(line["val_score"] for line in clf.history_),
        "dev": report.metrics["weighted_f1"],
        "dev_accuracy": report.metrics["accuracy"],
        "cpu_seconds": round(time.process_time() - start, 1),
        "curve": [(round(x["loss"], 3), round(x["val_score"], 4)) for x in clf.history_],
    }
    print(json.dumps(found), flush=True)
    return found


def measure_time(train: list[Dialogue]) -> None:
    """Print the seconds of an epoch, and of a dialogue of 30 utterances."""
    talk = Dialogue({"text": np.random.default_rng(0).normal(size=(30, 256))}, ["a", "b"] * 15)
    for name in ("practical", "vega"):
        settings = replace(DialogueSettings.of(name), epochs=1)
        clf = ConversationClassifier(WORDS, settings=settings, validation=0)
        used = used_by(lambda clf=clf: clf.fit(train), 1)
        print(f"{name}: epoch of {len(train):,} dialogues, text alone: {used[0]:.2f} CPU s")
        three = {modality: np.ones((30, 256)) for modality in ("text", "audio", "video")}
        small = Dialogue(three, ["a", "b"] * 15, list(WORDS)[:2] * 15)
        for what, example in (("text alone", talk), ("three modalities", small)):
            if example is small:
                clf = ConversationClassifier(WORDS, settings=settings, validation=0).fit(
                    [small] * 2
                )
            clf.predict(example)
            used = used_by(lambda clf=clf, example=example: clf.predict(example), 20)
            print(f"{name}: 30 utterances, {what}: {1000 * np.median(used):.1f} CPU ms")


def used_by(call, times: int) -> list[float]:
    """Return the CPU seconds of each of several calls."""
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return found


if __name__ == "__main__":
    main()
