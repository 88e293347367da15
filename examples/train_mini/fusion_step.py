"""Decoder, query contexts and scale, on synthetic clips of frozen encoders' outputs.

The decoder learns to answer as all encoders of a clip do together: for a clip of one
modality as its encoder alone, for several as their calibrated product, in conflicts too.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from experts import Experts, fit_experts, own_embedding
from fusion_data import (
    CALM,
    CONFLICTS,
    Pools,
    TextSet,
    compose,
    encode_pools,
    encode_text_sets,
)
from label_texts import LabelBank
from settings import CLASSES, DEFAULT_LABELS, NETWORK, SEED
from spaces import trained_towers
from speech import whisper_tower
from tools import Progress, adamw, cached, seed_everything, set_rate, take_step
from torch import Tensor, nn
from torch.nn import functional
from tower_trainer import recalls

from merclip.network import MERCLIP
from merclip.preprocess import ClipFeatures, pad_features

N_STEPS = 1800
BATCH = 160
RATE = 1e-3
TEXT_SET_SHARE = 0.15
"""Share of steps on texts with other labels: they teach labels beyond the classes."""
NEAR_LABELS = 0.1
KEEP_ALONE = {"L": 1.0, "V": 0.3, "A": 0.3}
"""Weights of the penalty for moving clips of one modality from where their encoder has them."""
HARD_SHARE = {1: 0.1, 2: 0.3, 3: 0.3}
"""Share of the class itself in the targets, by modalities; the rest is what the encoders say."""
FINE_HARD_SHARE = 0.4


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of decoder, query contexts and scales."""
    seed_everything(SEED + 7)
    network = assemble(data, run_folder)
    pools = encode_pools(network, data, run_folder, "train")
    validation = encode_pools(network, data, run_folder, "validation")
    sets = cached(run_folder / "pool_sets.pt", lambda: encode_text_sets(network, data))
    bank = LabelBank(network.label_encoder, SEED)
    experts = fit_experts(validation, bank.words(CLASSES))
    train(network, pools, sets, bank, experts)
    report(network, validation, bank, experts)
    return head_state(network)


def assemble(data: Path, run_folder: Path) -> MERCLIP:
    """Return the network with all trained encoders and a new decoder."""
    network = MERCLIP(NETWORK, trained_towers(run_folder), fusion_trained=True)
    network.encoders["V"].tower.load_state_dict(torch.load(run_folder / "alignment.pt"))
    voice = network.encoders["A"].tower
    voice.encoder.load_state_dict(whisper_tower(data).encoder.state_dict())
    voice.projection.load_state_dict(torch.load(run_folder / "voice.pt"))
    language = network.encoders["L"].tower
    missing = language.load_state_dict(torch.load(run_folder / "language.pt"), strict=False)
    assert missing.missing_keys == ["token_embedding.table.weight"], missing
    assert not missing.unexpected_keys, missing
    with torch.no_grad():
        network.scales.softmax.fill_(math.log(20.0))
    return network.eval()


def head_state(network: MERCLIP) -> dict[str, Tensor]:
    """Return all tensors that are no encoder's."""
    state = network.state_dict()
    others = ("encoders.", "label_encoder.", "evidence.")
    return {k: v for k, v in state.items() if not k.startswith(others)}


def train(
    network: MERCLIP,
    pools: Pools,
    sets: list[TextSet],
    bank: LabelBank,
    experts: Experts,
    n_steps: int = N_STEPS,
) -> None:
    """Train the head; the encoders stay in evaluation mode."""
    random = np.random.default_rng(SEED)
    head = nn.ModuleList([network.decoder, network.query_prompt, network.scales])
    optimizer = adamw([head], RATE, 0.02)
    progress = Progress("fusion", n_steps, every=60.0)
    network.decoder.train()
    for step in range(n_steps):
        set_rate(optimizer, RATE, step, n_steps)
        if sets and random.random() < TEXT_SET_SHARE:
            texts = sets[random.integers(len(sets))]
            clips, targets, labels = text_batch(texts, bank, experts.scales["L"], random)
        else:
            clips, targets, labels = batch(pools, bank, experts, random)
        fused = network.fuse(pad_features(clips))
        logits = network.logits(fused, labels, multi_label=False)
        loss = functional.cross_entropy(logits, targets)
        near = 1 - (targets @ labels * fused).sum(-1).mean()
        take_step(optimizer, loss + NEAR_LABELS * near + leaving(clips, fused))
        accuracy = (logits.argmax(1) == targets.argmax(1)).float().mean().item()
        scale = network.scales.softmax.exp().item()
        progress(step + 1, loss=loss.item(), accuracy=accuracy, scale=scale)
    network.decoder.eval()


def leaving(clips: list[ClipFeatures], fused: Tensor) -> Tensor:
    """Return how far clips of one modality are from its own embedding, weighted."""
    total = fused.new_zeros(())
    for letter, weight in KEEP_ALONE.items():
        alone = [i for i, clip in enumerate(clips) if set(clip.sequences) == {letter}]
        if alone:
            own = torch.stack([own_embedding(letter, clips[i].sequences[letter]) for i in alone])
            total = total + weight * (1 - (fused[alone] * own).sum(-1).mean())
    return total


def batch(
    pools: Pools, bank: LabelBank, experts: Experts, random: np.random.Generator
) -> tuple[list[ClipFeatures], Tensor, Tensor]:
    """Return clips, targets and label embeddings of a random set of classes."""
    if random.random() < 0.5:
        kept = np.ones(len(CLASSES), dtype=bool)
        kept[-1] = random.random() < 0.3
    else:
        kept = random.permutation(len(CLASSES)) < random.integers(2, len(CLASSES))
    numbers = np.flatnonzero(kept).tolist()
    made = [compose(pools, random, CONFLICTS) for _ in range(BATCH)]
    made = [clip for clip in made if kept[clip[1]]]
    labels = bank.draw([CLASSES[number] for number in numbers])
    clips = [clip for clip, _, _ in made]
    said = experts.targets(clips, labels, numbers)
    true = functional.one_hot(
        torch.tensor([numbers.index(number) for _, number, _ in made]), len(numbers)
    ).float()
    hard = torch.tensor([hard_share(*clip) for clip in made])[:, None]
    return clips, hard * true + (1 - hard) * said, labels


def hard_share(clip: ClipFeatures, number: int, agree: bool) -> float:
    """Return how much a clip's class itself counts beside what its encoders say."""
    if number == CALM and len(clip.sequences) > 1:
        return 0.7
    return HARD_SHARE[len(clip.sequences)] if agree else 0.0


def text_batch(
    texts: TextSet, bank: LabelBank, scale: float, random: np.random.Generator
) -> tuple[list[ClipFeatures], Tensor, Tensor]:
    """Return texts with labels of their own."""
    chosen = random.integers(0, len(texts.sequences), BATCH // 2)
    clips = [ClipFeatures({"L": texts.sequences[i].float()}) for i in chosen]
    numbers = torch.from_numpy(texts.numbers[chosen])
    labels = bank.draw(texts.names)
    ends = torch.stack([own_embedding("L", clip.sequences["L"]) for clip in clips])
    said = (scale * ends @ labels.T).softmax(1)
    true = functional.one_hot(numbers, len(texts.names)).float()
    return clips, FINE_HARD_SHARE * true + (1 - FINE_HARD_SHARE) * said, labels


@torch.no_grad()
def report(network: MERCLIP, validation: Pools, bank: LabelBank, experts: Experts) -> None:
    """Print accuracies on validation clips: of the network, and of the encoders' product."""
    random = np.random.default_rng(SEED + 9)
    made = [compose(validation, random, conflicts=0.0) for _ in range(4000)]
    made = [clip for clip in made if CLASSES[clip[1]] in DEFAULT_LABELS]
    clips, truth = [clip for clip, _, _ in made], np.array([number for _, number, _ in made])
    labels, numbers = bank.words(DEFAULT_LABELS), list(range(len(DEFAULT_LABELS)))
    parts = [clips[i : i + 256] for i in range(0, len(clips), 256)]
    fused = torch.cat([network.fuse(pad_features(part)) for part in parts]) @ labels.T
    said = experts.targets(clips, labels, numbers)
    kinds = np.array(["".join(sorted(clip.sequences)) for clip in clips])
    for kind in ("L", "V", "A", "LV", "AL", "AV", "ALV"):
        inside = kinds == kind
        both = [
            recalls(scores.argmax(1).numpy()[inside], truth[inside]) for scores in (fused, said)
        ]
        shown = ", ".join(f"{accuracy:.3f} ({balanced:.3f})" for accuracy, balanced in both)
        print(f"[fusion] {kind}: network, encoders: {shown}", flush=True)
