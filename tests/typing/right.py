"""What users write; `reveal` comments say what type checkers see. Never run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from typing_extensions import reveal_type

import merclip
from merclip import Audio, Clip, Clips, EmotionClassifier, Features, Prediction, Video, errors
from merclip.datasets import load_clips
from merclip.typing import ClipsLike, Label, LabelsLike, VideoLike

clf = EmotionClassifier(labels=["happy", "sad"], random_state=0)
frames = np.zeros((4, 32, 32, 3), dtype=np.uint8)
sound = np.zeros(16000, dtype=np.float32)
paths = [Path("a.mp4"), Path("b.mp4")]
rows = [{"video": "a.mp4", "text": "hi"}, {"video": "b.mp4", "text": "oh"}]
table = pd.DataFrame({"text": ["hi", "oh"], "label": ["happy", "sad"]})
clips = Clips(Clip(text=text) for text in ("hi", "oh"))

# One clip has one answer.
reveal_type(clf("a.mp4"))  # -> Prediction
reveal_type(clf(Path("a.mp4")))  # -> Prediction
reveal_type(clf(io.BytesIO(b"...")))  # -> Prediction
reveal_type(clf(frames))  # -> Prediction
reveal_type(clf(torch.zeros(4, 32, 32, 3)))  # -> Prediction
reveal_type(clf(Video(frames, fps=25), audio=(sound, 16000)))  # -> Prediction
reveal_type(clf(Clip("a.mp4", start=1.5)))  # -> Prediction
reveal_type(clf({"video": "a.mp4", "text": "hi"}))  # -> Prediction
reveal_type(clf(video="a.mp4", text="hi"))  # -> Prediction
reveal_type(clf(audio=Audio(sound, rate=16000), labels=["calm", "tense"]))  # -> Prediction
reveal_type(clf(text="hi", labels={"joy": "delight", "rage": ["fury", "anger"]}))  # -> Prediction

# Many have a list.
reveal_type(clf(["a.mp4", "b.mp4"]))  # -> list[Prediction]
reveal_type(clf(paths))  # -> list[Prediction]
reveal_type(clf(rows))  # -> list[Prediction]
reveal_type(clf([Clip(text="hi"), {"text": "oh"}]))  # -> list[Prediction]
reveal_type(clf(clips))  # -> list[Prediction]
reveal_type(clf(clips[:1]))  # -> list[Prediction]
reveal_type(clf(table, labels=["calm", "tense"]))  # -> list[Prediction]
reveal_type(clf(clf.encode(clips)))  # -> list[Prediction]
reveal_type(clf(np.array(["a.mp4", "b.mp4"], dtype=np.str_)))  # -> list[Prediction]
reveal_type(clf(video=paths, text=["hi", None]))  # -> list[Prediction]
reveal_type(clf(text=["hi", "oh"]))  # -> list[Prediction]
reveal_type(clf(["a.mp4", "b.mp4"], audio=[(sound, 16000), None]))  # -> list[Prediction]
reveal_type(list(clf.predict_iter({"video": path} for path in paths)))  # -> list[Prediction]

# A prediction maps labels to scores.
answer: Prediction = clf(text="hi")
reveal_type(answer["happy"])  # -> float
reveal_type(answer.label)  # -> str | int | None
reveal_type(answer.top(1))  # -> list[tuple[str | int, float]]
reveal_type(answer.modalities_used)  # -> tuple[str, ...]
reveal_type(answer.error)  # -> str | None
scores: dict[Label, float] = dict(answer)

# Arrays.
reveal_type(clf.predict_proba(text="hi"))  # -> ndarray[Any, dtype[float64]]
reveal_type(clf.decision_function(text="hi"))  # -> ndarray[Any, dtype[floating[_32Bit]]]
labels: np.ndarray[Any, Any] = clf.predict("a.mp4", "a.wav", "hi")
reveal_type(clf.predict_frame(rows))  # -> DataFrame
reveal_type(clf.score(table))  # -> float

# Learning, and what it gives.
reveal_type(clf.fit(table))  # -> EmotionClassifier
reveal_type(clf.fit(rows, ["happy", "sad"], groups=["x", "y"]))  # -> EmotionClassifier
reveal_type(clf.fit(clips, table["label"], sample_weight=[1.0, 2.0]))  # -> EmotionClassifier
reveal_type(clf.fit(clips, np.array(["happy", "sad"])))  # -> EmotionClassifier
reveal_type(clf.partial_fit(rows, ["happy", "sad"]))  # -> EmotionClassifier
data = load_clips("clips.csv", group="speaker")
reveal_type(clf.fit(data).score(data))  # -> float
reveal_type(clf.predict_proba({"bytes": b"...", "path": None}))  # -> ndarray[Any, dtype[float64]]
reveal_type(clf.evaluate(rows, ["happy", "sad"]).metrics)  # -> dict[str, float]
reveal_type(clf.encode(rows))  # -> Features
reveal_type(clf.to("cpu"))  # -> EmotionClassifier
reveal_type(clf.with_labels(("calm", "tense")))  # -> EmotionClassifier
reveal_type(clf.set_params(abstain=0.4))  # -> EmotionClassifier
reveal_type(clf.get_params())  # -> dict[str, Any]
reveal_type(clf.device_)  # -> device
EmotionClassifier({0: "neutral", 1: "happy"}, class_weight={0: 2.0, 1: 1.0})
EmotionClassifier({"happy", "sad"}, lr="paper", validation=0.2, face="never")


class Mine(EmotionClassifier):
    """A subclass stays one."""


reveal_type(Mine.from_pretrained("mini", local_files_only=True))  # -> Mine
reveal_type(EmotionClassifier.from_pretrained(Path("my-model")))  # -> EmotionClassifier
reveal_type(clf.save_pretrained("my-model"))  # -> Path


# Aliases for functions of one's own, and names that are imported late.
def ask(video: VideoLike, labels: LabelsLike) -> Prediction:
    """Take what a call takes."""
    return clf(video, labels=labels)


def ask_all(batch: ClipsLike) -> list[Prediction]:
    """Take what a call takes for a batch."""
    return [answer for answer in clf(batch) if answer.error is None] if batch else []


def features() -> Features:
    """Use names of the package."""
    try:
        return merclip.EmotionClassifier(["calm", "tense"]).encode(rows)
    except (errors.MediaNotFoundError, merclip.errors.DecodeError) as error:
        raise SystemExit(str(error)) from error
