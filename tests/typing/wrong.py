"""Mistakes that a type checker finds; a comment names mypy's code for each. Never run."""

from __future__ import annotations

import numpy as np

from merclip import Audio, Clip, EmotionClassifier, Prediction, Video

EmotionClassifier(labels=3)  # -> arg-type
EmotionClassifier(labels="happy")  # -> arg-type
EmotionClassifier(["happy", "sad"], tune="heads")  # -> arg-type
EmotionClassifier(["happy", "sad"], epochs="ten")  # -> arg-type
EmotionClassifier(["happy", "sad"], lables=["x"])  # -> call-arg
clf = EmotionClassifier(["happy", "sad"])
clf(3)  # -> call-overload
clf(text=3)  # -> call-overload
clf(text="hi", labels="happy")  # -> call-overload
clf(audio=np.zeros(16000), text="hi", label=["x", "y"])  # -> call-overload
clf.predict(text=b"hi")  # -> arg-type
clf.predict(labels="happy", text="hi")  # -> arg-type
clf.fit([{"text": "hi"}], "happy")  # -> arg-type
clf.with_labels(None)  # -> arg-type
one: list[Prediction] = clf("a.mp4")  # -> assignment
many: Prediction = clf(["a.mp4"])  # -> assignment
print(clf("a.mp4").lable)  # -> attr-defined
clf("a.mp4").label.upper()  # -> union-attr
Clip(video=3)  # -> arg-type
Clip(text=b"hi")  # -> arg-type
Audio(np.zeros(16000))  # -> call-arg
Video("a.mp4")  # -> call-arg
EmotionClassifier.from_pretrained("mini", revision=1)  # -> arg-type
