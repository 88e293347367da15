"""The audio tower: its trunks on acted speech, each by a linear head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from augment import augment_sound, mask_spectrograms, trimmed
from data import Labelled, emodb, ravdess, sentences, speaker_part
from settings import ARCHITECTURE, CLASSES, IMAGE_SIZE, PREPROCESS, SEED
from spaces import audio_tower
from tools import cached, root_balanced, seed_everything
from torch import Tensor
from torchaudio.functional import resample
from tower_trainer import Batches, TrunkTrainer, mixed, one_hot, recalls, train_trunk

from merclip.preprocess.audio import draw_segments, sound_to_tensor

N_STEPS = 2000
RATE = 2e-3
BATCH = 64
SPEEDS = (0.8, 0.87, 0.93, 1.0, 1.07, 1.15, 1.25)
MIXUP_SHARE, MIXUP = 0.5, 0.4
NEW_SHARE = 0.5
"""How much of each batch is morphed speech."""
NEW_COUNT, NEW_SEED = 10, 7
"""How many morphs begin at each utterance."""
SHORT_SHARE, SHORTEST = 0.35, 1.2
"""Share of recordings that end before their segment does, and seconds that they last at least.

What comes after them is digital silence, as predicting pads short clips. Noise that fills
the whole segment does not teach that: short noisy clips were then read much worse.
"""


def run(data: Path, run_folder: Path) -> list[dict[str, Tensor]]:
    """Return the states of trunks and heads, of all speakers but the test ones."""
    return [
        trunk(number, data, run_folder) for number in range(ARCHITECTURE["audio_cfg"]["trunks"])
    ]


def run_check(data: Path, run_folder: Path) -> list[dict[str, Tensor]]:
    """Return one trunk of the training speakers alone, to be measured on new voices."""
    known = speaker_part(voices(data, run_folder), "train")
    return [train_on(known, SEED + 3, "audio_check", data, run_folder)]


def trunk(number: int, data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of one trunk and its head; each number has its own seed."""
    name = f"audio_trunk_{number}"
    known = ~speaker_part(voices(data, run_folder), "test")
    return cached(
        run_folder / f"{name}.pt",
        lambda: train_on(known, SEED + 20 + number, name, data, run_folder),
    )


def train_on(
    known: np.ndarray,
    seed: int,
    name: str,
    data: Path,
    run_folder: Path,
    new_share: float = NEW_SHARE,
    measured: np.ndarray | None = None,
    n_steps: int = N_STEPS,
) -> dict[str, Tensor]:
    """Train a trunk on some speech, with so much of morphed speech in each batch.

    `known` and `measured` mark clips to learn from and to measure on; these are the
    validation speakers' if nothing else is said.
    """
    seed_everything(seed)
    speech = voices(data, run_folder)
    training = speech.where(known)
    if measured is None:
        measured = speaker_part(speech, "validation")
    validation = speech.where(measured)
    morphs = morphed(data, run_folder, set(training.groups)) if new_share else None
    average = train_trunk(
        TrunkTrainer(audio_tower(n_trunks=1)),
        batches(training, seed, morphs, new_share),
        n_steps,
        RATE,
        name,
        run_folder / f"{name}.state",
        lambda module: report(module, validation, name),
    )
    return average.state_dict()


def voices(data: Path, run_folder: Path) -> Labelled:
    """Return all acted speech."""
    return cached(run_folder / "speech.pt", lambda: ravdess(data) + emodb(data))


def morphed(data: Path, run_folder: Path, speakers: set[str]) -> Labelled:
    """Return speech between two of some speakers, none of them of the test part."""
    morphs, others = cached(run_folder / "new_voices.pt", lambda: make_morphs(data, run_folder))
    pairs = zip(morphs.groups, others, strict=True)
    return morphs.where(np.array([set(pair) <= speakers for pair in pairs]))


def make_morphs(data: Path, run_folder: Path) -> tuple[Labelled, np.ndarray]:
    """Morph the speech of all speakers but the test ones, pair by pair."""
    from new_voices import new_voices  # needs pyworld, which no other step does

    speech = voices(data, run_folder)
    kept = ~speaker_part(speech, "test")
    return new_voices(speech.where(kept), sentences(data)[kept], NEW_COUNT, NEW_SEED)


def batches(speech: Labelled, seed: int, morphs: Labelled | None, new_share: float) -> Batches:
    """Return what makes a step's augmented pictures and their targets."""
    variants = [[change_speed(sound, speed) for speed in SPEEDS] for sound in speech.samples]
    n_new = round(BATCH * new_share)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng((seed, step))
        chosen = random.choice(len(variants), BATCH - n_new, p=root_balanced(speech.classes))
        sounds = [variants[i][random.integers(len(SPEEDS))] for i in chosen]
        classes = speech.classes[chosen]
        if morphs is not None:
            new = random.choice(len(morphs), n_new, p=root_balanced(morphs.classes))
            sounds += [morphs.samples[i].astype(np.float32) for i in new]
            order = random.permutation(BATCH)
            sounds = [sounds[i] for i in order]
            classes = np.concatenate([classes, morphs.classes[new]])[order]
        pictures, targets = draw_pictures(sounds, random), one_hot(classes)
        if random.random() < MIXUP_SHARE:
            return mixed(pictures, targets, MIXUP, random)
        return pictures, targets

    return draw


def change_speed(sound: np.ndarray, speed: float) -> np.ndarray:
    """Play faster or slower, with pitch."""
    if speed == 1.0:
        return sound
    rate = PREPROCESS.audio.rate
    return resample(torch.from_numpy(sound), round(rate * speed / 100) * 100, rate).numpy()


def draw_pictures(sounds: list[np.ndarray], random: np.random.Generator) -> Tensor:
    """Cut a random segment of each sound and draw it as the package does."""
    length = PREPROCESS.audio.segment_samples
    parts, ends = zip(*(cut(sound, length, random) for sound in sounds), strict=True)
    segments = augment_sound(torch.stack(parts), PREPROCESS.audio.rate, random)
    segments *= torch.arange(length) < torch.tensor(ends)[:, None]
    return mask_spectrograms(draw_segments(segments, IMAGE_SIZE, PREPROCESS.audio), random)


def cut(sound: np.ndarray, length: int, random: np.random.Generator) -> tuple[Tensor, int]:
    """Cut a segment at random; return it, and where its recording ends."""
    if random.random() < SHORT_SHARE:
        return cut_short(sound, length, random)
    if random.random() < 0.2:
        sound = np.concatenate([np.zeros(random.integers(0, length // 3), np.float32), sound])
    latest = len(sound) - length // 2 if random.random() < 0.3 else len(sound) - length
    start = int(random.integers(0, max(1, latest)))
    part = sound[start : start + length]
    room = length - len(part)
    before = int(random.integers(0, room + 1)) if random.random() < 0.5 else 0
    return torch.from_numpy(np.pad(part, (before, room - before))), length


def cut_short(sound: np.ndarray, length: int, random: np.random.Generator) -> tuple[Tensor, int]:
    """Cut a recording of speech that is shorter than a segment."""
    rate = PREPROCESS.audio.rate
    speech = trimmed(sound, rate)
    wanted = min(len(speech), int(random.uniform(SHORTEST * rate, length)))
    start = int(random.integers(0, len(speech) - wanted + 1))
    part = speech[start : start + wanted]
    return torch.from_numpy(np.pad(part, (0, length - wanted))), wanted


def segments_of(sound: np.ndarray) -> Tensor:
    """Return a clip's pictures as the package makes them: shape (n, 3, height, width)."""
    return sound_to_tensor(sound, IMAGE_SIZE, PREPROCESS.audio)


@torch.no_grad()
def report(trainer: TrunkTrainer, speech: Labelled, name: str) -> None:
    """Print accuracies of the linear head on validation speakers, each corpus by itself."""
    trainer.eval()
    said = torch.stack([trainer(segments_of(s)).softmax(1).mean(0) for s in speech.samples])
    corpora = np.char.partition(speech.groups, "-")[:, 0]
    for corpus in np.unique(corpora):
        inside = corpora == corpus
        classes = speech.classes[inside]
        present = np.unique(classes)
        guesses = present[said[inside][:, present].argmax(1).numpy()]
        accuracy, balanced = recalls(guesses, classes)
        each = {CLASSES[c]: f"{(guesses == c)[classes == c].mean():.2f}" for c in present}
        print(f"[{name}] {corpus} {accuracy:.3f}, balanced {balanced:.3f}, {each}", flush=True)
