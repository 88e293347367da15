"""The data sets as arrays, with labels numbered as in `settings.CLASSES`."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from settings import CLASSES, LICENCE
from torch import Tensor

SAME_CLASS = {
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "joy": "happy",
    "excited": "happy",
    "love": "happy",
    "optimism": "happy",
    "sadness": "sad",
    "pessimism": "sad",
    "surprise": "surprised",
}
TEXT_SETS = {"free": ("goemotions", "xed", "brighter")}
TEXT_SETS["research"] = (*TEXT_SETS["free"], "meld", "dailydialog", "semeval2018")
"""Sets of texts: those that may be used commercially, and all."""
EKMAN_OF = {
    "anger": "anger annoyance disapproval",
    "disgust": "disgust",
    "fear": "fear nervousness",
    "joy": "admiration amusement approval caring desire excitement gratitude joy love optimism "
    "pride relief",
    "sadness": "disappointment embarrassment grief remorse sadness",
    "surprise": "confusion curiosity realization surprise",
    "neutral": "neutral",
}
"""GoEmotions to Ekman's emotions, as the authors of GoEmotions map them."""

VOTES_SHARE = 0.5
"""How much the votes of FER+ count beside FER2013's own label, by which it is scored."""
LEFT_OUT = "bored"
"""A class of EmoDB that no step sees: it measures few-shot learning of a new class."""


@dataclass
class Labelled:
    """Samples with class numbers, and a group (speaker or data set) for each."""

    samples: list
    classes: np.ndarray
    groups: np.ndarray
    votes: np.ndarray | None = None
    """How sure people are of each class, of shape (n, n_classes); None if they were not asked."""

    def where(self, mask: np.ndarray) -> Labelled:
        """Return the samples for which `mask` is true."""
        kept = np.flatnonzero(mask)
        votes = None if self.votes is None else self.votes[kept]
        samples = [self.samples[i] for i in kept]
        return Labelled(samples, self.classes[kept], self.groups[kept], votes)

    def __add__(self, other: Labelled) -> Labelled:
        asked = self.votes is not None or other.votes is not None
        return Labelled(
            self.samples + other.samples,
            np.concatenate([self.classes, other.classes]),
            np.concatenate([self.groups, other.groups]),
            np.concatenate([self.targets(), other.targets()]) if asked else None,
        )

    def targets(self) -> np.ndarray:
        """Return the votes, or the classes as rows of probabilities."""
        if self.votes is not None:
            return self.votes
        return np.eye(len(CLASSES), dtype=np.float32)[self.classes]

    def __len__(self) -> int:
        return len(self.samples)


def class_number(name: str) -> int:
    """Return the number of a class under any data set's name for it."""
    return CLASSES.index(class_name(name))


def class_name(name: str) -> str:
    """Return our name of a class that a data set may call otherwise."""
    return SAME_CLASS.get(name, name)


def face_sets(data: Path, split: str, licence: str = "research") -> Labelled:
    """All labelled faces that a licence allows ("free" or "research")."""
    found = fer2013(data, split) + facial_expressions(data, split)
    if licence == "free":
        return found
    return found + rafdb(data, split)


def fer2013(data: Path, split: str) -> Labelled:
    """Faces of FER2013: RGB arrays of 48 x 48 pixels, with the votes of FER+ half believed."""
    found = _faces(data / "fer2013_faces.tar", split, "fer")
    votes = ferplus_votes(data)
    targets = found.targets()
    for i, file in enumerate(_files(data / "fer2013_faces.tar", split)):
        if file in votes:
            targets[i] = VOTES_SHARE * votes[file] + (1 - VOTES_SHARE) * targets[i]
    found.votes = targets
    return found


def ferplus_votes(data: Path) -> dict[str, np.ndarray]:
    """Return, by the file of a face, the shares of ten people who saw each class in it."""
    found = {}
    for row in table_rows(data / "ferplus_votes.csv"):
        shares = np.zeros(len(CLASSES), dtype=np.float32)
        for name, count in row.items():
            if name not in ("file", "unknown", "not_face"):
                shares[class_number(name)] = int(count)
        if shares.sum() > 0:
            found[row["file"]] = shares / shares.sum()
    return found


def rafdb(data: Path, split: str) -> Labelled:
    """Faces of RAF-DB, in colour and in the wild: RGB arrays of 100 x 100 pixels."""
    return _faces(data / "rafdb_faces.tar", split, "raf")


def facial_expressions(data: Path, split: str) -> Labelled:
    """Photographed faces of muxspace/facial_expressions: RGB arrays."""
    return _faces(data / "facial_expressions.tar", split, "photo")


def goemotions(data: Path, split: str) -> Labelled:
    """Comments whose labels all map to one of Ekman's emotions or neutral."""
    mapped = {fine: ekman for ekman, names in EKMAN_OF.items() for fine in names.split()}
    texts, classes = [], []
    for row in table_rows(data / "text" / f"goemotions_{split}.csv"):
        found = {mapped[name] for name in row["emotions"].split("|")}
        if len(found) == 1:
            texts.append(row["text"])
            classes.append(class_number(found.pop()))
    return Labelled(texts, np.array(classes), np.full(len(texts), "goemotions"))


def goemotions_fine(data: Path, split: str) -> tuple[list[str], np.ndarray, list[str]]:
    """Comments with exactly one of GoEmotions' 28 labels: texts, numbers, names."""
    rows = [
        r for r in table_rows(data / "text" / f"goemotions_{split}.csv") if "|" not in r["emotions"]
    ]
    names = sorted({row["emotions"] for row in rows})
    numbers = np.array([names.index(row["emotions"]) for row in rows])
    return [row["text"] for row in rows], numbers, names


def meld(data: Path, split: str) -> Labelled:
    """Utterances of MELD with its seven emotions."""
    rows = list(table_rows(data / "text" / f"meld_{split}_sent_emo.csv"))
    texts = [clean_text(row["Utterance"]) for row in rows]
    classes = np.array([class_number(row["Emotion"]) for row in rows])
    return Labelled(texts, classes, np.full(len(texts), "meld"))


def text_sets() -> tuple[str, ...]:
    """Return the names of the sets of texts that may be used under the licence that is wanted."""
    return TEXT_SETS[LICENCE]


def emotion_texts(data: Path, name: str, split: str) -> tuple[list[str], Tensor, tuple[str, ...]]:
    """Texts of one of the sets in more_emotion_texts.csv, without those of no known class.

    Returns
    -------
    texts : list of str
    shares : Tensor of shape (n, n_names)
        A text of several emotions shows each of them as much.
    names : tuple of str
        The classes that the set knows: of one without "neutral", every text shows an emotion.
    """
    found = {}
    for row in table_rows(data / "text" / "more_emotion_texts.csv"):
        if row["set"] == name:
            known = {class_name(label) for label in row["emotions"].split("|")} & set(CLASSES)
            if known and row["split"] == split:
                found[row["text"]] = known
    names = tuple(c for c in CLASSES if any(c in known for known in found.values()))
    shares = torch.tensor([[float(c in known) for c in names] for known in found.values()])
    return list(found), shares / shares.sum(1, keepdim=True), names


def training_sentences(data: Path) -> list[str]:
    """All training sentences, labelled or not, of GoEmotions, MELD and MOSI."""
    texts = [row["text"] for row in table_rows(data / "text" / "goemotions_train.csv")]
    if LICENCE == "free":
        return texts
    texts += meld(data, "train").samples
    rows = table_rows(data / "text" / "mosi_label.csv")
    return texts + [row["text"] for row in rows if row["mode"] == "train"]


def split_validation(faces: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Split training samples at random into a larger and a smaller part."""
    chosen = np.random.default_rng(seed).random(len(faces)) < share
    return faces.where(~chosen), faces.where(chosen)


def clean_text(text: str) -> str:
    """Mend quotes in MELD's utterances."""
    # MELD's files hold Windows quotes that were decoded as control characters.
    for wrong, right in (("\x92", "'"), ("\x91", "'"), ("\x93", '"'), ("\x94", '"')):
        text = text.replace(wrong, right)
    return text


def table_rows(path: Path) -> list[dict[str, str]]:
    """Return a CSV file's rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _faces(path: Path, split: str, group: str) -> Labelled:
    pictures, classes = [], []
    for row, content in members(path):
        if row["split"] == split:
            pictures.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
            classes.append(class_number(row["emotion"]))
    return Labelled(pictures, np.array(classes), np.full(len(pictures), group))


def _files(path: Path, split: str) -> list[str]:
    return [row["file"] for row, _ in members(path) if row["split"] == split]


def members(path: Path) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield the rows of an archive's labels.csv, and the file of each."""
    with tarfile.open(path) as archive:
        contents = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}
    labels = contents.pop("labels.csv").decode("utf-8")
    for row in csv.DictReader(io.StringIO(labels)):
        yield row, contents[row["file"]]


def decode(content: bytes) -> np.ndarray:
    """Return a sound at 16 kHz, mono."""
    with av.open(io.BytesIO(content)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=16000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)
