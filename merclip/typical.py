"""Typical clips and labels, which a network compares with before its fusion is trained.

CLIP finds two texts far more alike than a text and a picture, and some labels more alike to
any text, or to any picture, than others. What a label has in common with typical clips of a
modality says nothing of a clip, and is taken off, and so is what a clip has in common with
typical labels. They are of many emotions, not of none: a label such as "neutral" would have
nothing left.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from merclip.types import Clip, Video

LABELS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
TEXTS = (
    "I am so happy, this is wonderful!",
    "We had a great time, and I laughed all evening.",
    "Thank you, you have made my day.",
    "I miss her so much that it hurts.",
    "Everything I tried has failed, and I feel alone.",
    "He cried when they told him the news.",
    "How dare you speak to me like that!",
    "I have had enough of your lies.",
    "They made me wait for hours, what an insult.",
    "Please don't leave me here, I'm frightened.",
    "What if something terrible happens to them?",
    "I heard steps behind me and could not breathe.",
    "That is revolting, take it away.",
    "The smell in there made me sick.",
    "I can't even look at what he did.",
    "What? I did not see that coming!",
    "Oh, I had no idea that you were here.",
    "She never expected to win, and she did.",
    "The meeting starts at ten o'clock.",
    "You can find the form on the website.",
    "We turned left and walked on to the station.",
)
"""Three of each kind; written for merclip."""
PICTURES = Path(__file__).parent / "weights" / "average_faces.npy"
"""The average face of each kind; `examples/train_mini/average_faces.py` makes them."""


def typical_clips(letter: str) -> list[Clip]:
    """Return typical clips of a modality, "L" or "V": as many of each kind."""
    if letter == "L":
        return [Clip(text=text) for text in TEXTS]
    frames = np.repeat(np.load(PICTURES)[..., None], 3, axis=-1)
    return [Clip(video=Video(face[None], fps=1.0)) for face in frames]
