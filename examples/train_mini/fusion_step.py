"""Decoder, query contexts and scale, on synthetic clips of frozen encoders' outputs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from fusion_data import (
    CONFLICTS,
    Pools,
    TextSet,
    compose,
    encode_pools,
    encode_text_sets,
    overconfidence,
)
from label_texts import LabelBank
from settings import CLASSES, NETWORK, SEED
from spaces import trained_towers
from tools import Progress, adamw, cached, seed_everything, set_rate, take_step
from torch import Tensor, nn
from torch.nn import functional

from merclip.network import MERCLIP
from merclip.preprocess import ClipFeatures, pad_features

N_STEPS = 1800
BATCH = 160
RATE = 1e-3
TEXT_SET_SHARE = 0.15
"""Share of steps on texts with other labels: they teach labels beyond the classes."""
NEAR_LABELS = 0.1
KEEP_TEXTS = 1.0
"""Weight of the penalty for moving clips of text alone from where their encoder has them."""
LABEL_SMOOTHING = 0.03


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of decoder, query contexts and scales."""
    seed_everything(SEED + 7)
    network = assemble(run_folder)
    pools = encode_pools(network, data, run_folder, "train")
    validation = encode_pools(network, data, run_folder, "validation")
    sets = cached(run_folder / "pool_sets.pt", lambda: encode_text_sets(network, data))
    bank = LabelBank(network.label_encoder, SEED)
    pools.misleading = overconfidence(pools, validation, bank.words(CLASSES))
    train(network, pools, sets, bank)
    return head_state(network)


def assemble(run_folder: Path) -> MERCLIP:
    """Return the network with all trained encoders and a new decoder."""
    network = MERCLIP(NETWORK, trained_towers(run_folder), fusion_trained=True)
    aligned = torch.load(run_folder / "alignment.pt")
    for letter, name in (("V", "vision"), ("A", "audio")):
        network.encoders[letter].tower.load_state_dict(aligned[name])
    language = network.encoders["L"].tower
    missing = language.load_state_dict(torch.load(run_folder / "language.pt"), strict=False)
    assert missing.missing_keys == ["token_embedding.weight"] and not missing.unexpected_keys
    with torch.no_grad():
        network.scales.softmax.fill_(math.log(20.0))
    return network.eval()


def head_state(network: MERCLIP) -> dict[str, Tensor]:
    """Return all tensors that are no encoder's."""
    state = network.state_dict()
    return {k: v for k, v in state.items() if not k.startswith(("encoders.", "label_encoder."))}


def train(network: MERCLIP, pools: Pools, sets: list[TextSet], bank: LabelBank) -> None:
    """Train the head; the encoders stay in evaluation mode."""
    random = np.random.default_rng(SEED)
    head = nn.ModuleList([network.decoder, network.query_prompt, network.scales])
    optimizer = adamw([head], RATE, 0.02)
    progress = Progress("fusion", N_STEPS, every=60.0)
    network.decoder.train()
    for step in range(N_STEPS):
        set_rate(optimizer, RATE, step, N_STEPS)
        if random.random() < TEXT_SET_SHARE:
            clips, targets, labels = text_batch(sets[random.integers(len(sets))], bank, random)
        else:
            clips, targets, labels = batch(pools, bank, random)
        fused = network.fuse(pad_features(clips))
        logits = network.logits(fused, labels, multi_label=False)
        loss = functional.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING)
        near = 1 - (targets @ labels * fused).sum(-1).mean()
        kept = leaving_texts(clips, fused)
        take_step(optimizer, loss + NEAR_LABELS * near + KEEP_TEXTS * kept)
        accuracy = (logits.argmax(1) == targets.argmax(1)).float().mean().item()
        scale = network.scales.softmax.exp().item()
        progress(step + 1, loss=loss.item(), accuracy=accuracy, scale=scale)
    network.decoder.eval()


def leaving_texts(clips: list[ClipFeatures], fused: Tensor) -> Tensor:
    """Return how far clips of text alone are from their own end token."""
    alone = [i for i, clip in enumerate(clips) if set(clip.sequences) == {"L"}]
    if not alone:
        return fused.new_zeros(())
    ends = torch.stack([clips[i].sequences["L"][-1] for i in alone])
    return 1 - functional.cosine_similarity(fused[alone], ends).mean()


def batch(
    pools: Pools, bank: LabelBank, random: np.random.Generator
) -> tuple[list[ClipFeatures], Tensor, Tensor]:
    """Return clips, targets and label embeddings of a random set of classes."""
    made = [compose(pools, random, CONFLICTS) for _ in range(BATCH)]
    targets = np.stack([target for _, target in made])
    if random.random() < 0.5:
        kept = np.ones(len(CLASSES), dtype=bool)
        kept[-1] = random.random() < 0.3
    else:
        kept = random.permutation(len(CLASSES)) < random.integers(2, len(CLASSES))
    inside = targets[:, kept].sum(1) > 0.5
    targets = targets[inside][:, kept]
    targets /= targets.sum(1, keepdims=True)
    clips = [clip for (clip, _), keep in zip(made, inside, strict=True) if keep]
    names = [name for name, keep in zip(CLASSES, kept, strict=True) if keep]
    return clips, torch.from_numpy(targets).float(), bank.draw(names)


def text_batch(
    texts: TextSet, bank: LabelBank, random: np.random.Generator
) -> tuple[list[ClipFeatures], Tensor, Tensor]:
    """Return texts with labels of their own."""
    chosen = random.integers(0, len(texts.sequences), BATCH // 2)
    clips = [ClipFeatures({"L": texts.sequences[i].float()}) for i in chosen]
    numbers = torch.from_numpy(texts.numbers[chosen])
    targets = functional.one_hot(numbers, len(texts.names)).float()
    return clips, targets, bank.draw(texts.names)
