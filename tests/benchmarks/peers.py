"""The same work as people write it by hand: two scripts that merclip is compared with.

Both read every frame with OpenCV and keep twelve, draw log-mel pictures of the sound with
torchaudio, embed frames, pictures of sound and the text with CLIP, and compare the mean
of each modality with the labels. Weights are random, and have no say in the time.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

N_FRAMES, N_SEGMENTS = 12, 12
RATE, SEGMENT = 16000, 32000


class FrameByFrame:
    """(a) Hugging Face's CLIPModel, one picture after another.

    Each call gets a picture and all prompts, which are encoded again every time.

    Parameters
    ----------
    labels : sequence of str
    padding : {"max_length", True}
        Of prompts: to CLIP's 77 tokens, as CLIP was trained and open_clip does always,
        or to the longest prompt, as in the model card's example.
    """

    def __init__(self, labels: Sequence[str], padding: bool | str = "max_length") -> None:
        from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

        self.labels, self.padding = list(labels), padding
        model: Any = CLIPModel(CLIPConfig())
        processor: Any = CLIPProcessor
        self.model = model.eval()
        self.processor = processor(CLIPImageProcessor(), _hugging_face_tokenizer())

    @torch.no_grad()
    def __call__(self, path: Path, text: str | None = None, sound: bool = True) -> Tensor:
        """Return probabilities of shape (n_labels,)."""
        pictures = read_frames(path)
        found = [self._mean([self._picture(Image.fromarray(frame)) for frame in pictures])]
        if sound:
            found.append(self._mean([self._picture(mel) for mel in mel_pictures(path)]))
        if text is not None:
            found.append(self._text(text))
        return self._mean(found)

    def _picture(self, picture: Image.Image) -> Tensor:
        inputs = self.processor(
            text=self.labels, images=picture, return_tensors="pt", padding=self.padding
        )
        logits: Tensor = self.model(**inputs).logits_per_image
        return logits.softmax(dim=-1)[0]

    def _text(self, text: str) -> Tensor:
        inputs = self.processor(
            text=[text, *self.labels], return_tensors="pt", padding=self.padding
        )
        states = self.model.text_model(**inputs).pooler_output
        embedded = functional.normalize(self.model.text_projection(states), dim=-1)
        logits: Tensor = self.model.logit_scale.exp() * embedded[0] @ embedded[1:].T
        return logits.softmax(dim=-1)

    @staticmethod
    def _mean(parts: list[Tensor]) -> Tensor:
        return torch.stack(parts).mean(dim=0)


class HandBatched:
    """(b) open_clip in float32, all pictures of a clip in one batch, prompts once a clip.

    Parameters
    ----------
    labels : sequence of str
    """

    def __init__(self, labels: Sequence[str]) -> None:
        import open_clip

        self.labels = list(labels)
        self.model, _, self.preprocess = open_clip.create_model_and_transforms("ViT-B-32")
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32")

    @torch.no_grad()
    def __call__(self, path: Path, text: str | None = None, sound: bool = True) -> Tensor:
        """Return probabilities of shape (n_labels,)."""
        means = [self._pictures([Image.fromarray(frame) for frame in read_frames(path)])]
        if sound:
            means.append(self._pictures(mel_pictures(path)))
        texts = self.labels if text is None else [*self.labels, text]
        embedded = self.model.encode_text(self.tokenizer(texts), normalize=True)
        means += list(embedded[len(self.labels) :])
        fused = functional.normalize(torch.stack(means).mean(dim=0), dim=-1)
        logits: Tensor = self.model.logit_scale.exp() * fused @ embedded[: len(self.labels)].T
        return logits.softmax(dim=-1)

    def _pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        batch = torch.stack([self.preprocess(picture) for picture in pictures])
        embedded = self.model.encode_image(batch, normalize=True)
        return functional.normalize(embedded.mean(dim=0), dim=-1)


def read_frames(path: Path) -> list[Any]:
    """Read every frame with OpenCV, and keep those at the centres of twelve equal parts."""
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = {int((i + 0.5) * count / N_FRAMES) for i in range(N_FRAMES)}
    kept, index = [], 0
    while True:
        read, frame = capture.read()
        if not read:
            break
        if index in wanted:
            kept.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        index += 1
    capture.release()
    return kept


def mel_pictures(path: Path) -> list[Image.Image]:
    """Draw each two seconds of sound as a grey picture, twelve at most."""
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    mel = MelSpectrogram(RATE, n_fft=2048, win_length=1024, hop_length=512, n_mels=224)
    sound = torch.from_numpy(read_sound(path))
    segments = sound[: len(sound) // SEGMENT * SEGMENT].view(-1, SEGMENT)
    tail = sound[len(segments) * SEGMENT :]
    if len(tail) > RATE // 4:
        segments = torch.cat([segments, functional.pad(tail, (0, SEGMENT - len(tail)))[None]])
    chosen = np.linspace(0, len(segments) - 1, min(N_SEGMENTS, len(segments))).round()
    drawn = AmplitudeToDB(top_db=80)(mel(segments[chosen.astype(int)]))
    grey = (drawn - drawn.amin()) / (drawn.amax() - drawn.amin()) * 255
    return [Image.fromarray(part).convert("RGB") for part in grey.byte().numpy()]


def read_sound(path: Path) -> Any:
    """Return all of the sound, mono at 16 kHz."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
    with av.open(path) as container:
        blocks = [
            part.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
        blocks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(blocks)


def _hugging_face_tokenizer() -> Any:
    """Build CLIP's tokenizer from the vocabulary that open_clip brings: no network."""
    from open_clip.tokenizer import SimpleTokenizer, default_bpe
    from transformers import CLIPTokenizer

    renamed = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {
        renamed.get(token, token): number for token, number in SimpleTokenizer().encoder.items()
    }
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    merges: Any = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
