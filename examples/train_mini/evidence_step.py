"""What shows nothing: linear tests of embeddings for a voice, a face, known words; and means.

The tests are fitted on what training showed and on sounds and pictures without any voice or
face (`nothing.py`); the means are those that `EmotionClassifier.adapt` compares clips with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from alignment_step import both_views
from data import Labelled
from fusion_data import Pools, encode_pools
from fusion_step import assemble
from nothing import babble, pictures, sounds
from settings import IMAGE_SIZE, PREPROCESS, SEED
from speech import clips, may_learn, pooled, voices, whisper_tower
from tools import cached
from torch import Tensor
from torch.nn import functional
from vision_step import luminance

from merclip.network import MERCLIP
from merclip.network.evidence import Evidence, clip_mean

N_SOUNDS, N_BABBLE, N_PICTURES = 560, 60, 900
PENALTY = 1e-3
LEAST_KNOWN = 0.5
"""Of the letters of a text, that are in words which training has met."""
SURER = 0.3
"""Falsely doubted are at most so many percent of what does show something."""


def run(data: Path, run_folder: Path) -> dict[str, Tensor]:
    """Return the state of the network's tests and means."""
    network = assemble(data, run_folder)
    evidence = Evidence(network.config.width, network.config.fusion)
    pools = encode_pools(network, data, run_folder, "train")
    with torch.no_grad():
        for letter in evidence.tests:
            evidence.centers[letter].copy_(mean_of(pools, letter))
        voice = voices(data, run_folder)
        voice = voice.where(may_learn(voice))
        heard = network.encoders["A"].tower.projection(voice.states)
        silent = cached(run_folder / "silent.pt", lambda: silent_states(data))
        fit(evidence, "A", heard, network.encoders["A"].tower.projection(silent))
        seen = torch.stack([row for row in samples(pools, "V")])
        fit(evidence, "V", seen, faceless_embeddings(network))
        evidence.least_known.fill_(LEAST_KNOWN)
    return evidence.state_dict()


def samples(pools: Pools, letter: str) -> list[Tensor]:
    """Return the mean embedding of each sample, as it is."""
    by_class = pools.by_letter[letter].values()
    return [clip_mean(letter, versions[0]) for some in by_class for versions in some]


def mean_of(pools: Pools, letter: str) -> Tensor:
    """Return a modality's mean embedding, each class weighing alike."""
    found = [
        torch.stack([clip_mean(letter, versions[0]) for versions in some]).mean(0)
        for some in pools.by_letter[letter].values()
        if some
    ]
    return torch.stack(found).mean(0)


def silent_states(data: Path) -> Tensor:
    """Return Whisper's states of sounds in which nobody can be understood."""
    random = np.random.default_rng(SEED + 30)
    spoken = [sound for _, sound in clips("emodb", data)][:100]
    made = sounds(N_SOUNDS, SEED + 31)
    made += [babble(spoken, random, 3 * PREPROCESS.audio.rate) for _ in range(N_BABBLE)]
    tower = whisper_tower(data)
    return torch.stack([pooled(tower, sound.astype(np.float32)) for sound in made])


def faceless_embeddings(network: MERCLIP) -> Tensor:
    """Return embeddings of pictures without a face."""
    made = pictures(N_PICTURES, IMAGE_SIZE, SEED + 32)
    grey = Labelled([luminance(picture) for picture in made], np.zeros(len(made), int), None)
    tower = network.encoders["V"].tower.eval()
    views = [view.expand(-1, 3, -1, -1) for view in both_views(grey)]
    return sum(torch.cat([tower(part) for part in view.split(128)]) for view in views) / 2


def fit(evidence: Evidence, letter: str, shown: Tensor, nothing: Tensor) -> None:
    """Fit one test; a share of what shows nothing is kept to tell how well it works."""
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(len(nothing)))
    learned, kept = nothing[order[len(order) // 4 :]], nothing[order[: len(order) // 4]]
    weight, bias = separate(shown.float(), learned.float())
    scores = shown @ weight + bias
    # What shows something must pass, all but a few.
    bias = bias - min(0.0, float(scores.quantile(SURER / 100)))
    evidence.tests[letter].weight.copy_(weight[None])
    evidence.tests[letter].bias.fill_(bias)
    passed = [float((rows @ weight + bias > 0).float().mean()) for rows in (shown, kept)]
    print(
        f"[evidence] {letter}: passes {passed[0]:.4f} of what shows something, "
        f"{passed[1]:.4f} of what does not",
        flush=True,
    )


def separate(shown: Tensor, nothing: Tensor) -> tuple[Tensor, float]:
    """Return weight and bias of a logistic regression; both sides weigh alike."""
    rows = torch.cat([shown, nothing])
    mean, deviation = rows.mean(0), rows.std(0) + 1e-6
    rows = (rows - mean) / deviation
    wanted = torch.cat([torch.ones(len(shown)), torch.zeros(len(nothing))])
    share = torch.where(wanted > 0, 0.5 / len(shown), 0.5 / len(nothing))
    weight, bias = torch.zeros(rows.shape[1]), torch.zeros(())
    with torch.enable_grad():
        weight.requires_grad_(), bias.requires_grad_()
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            logits = rows @ weight + bias
            loss = functional.binary_cross_entropy_with_logits(
                logits, wanted, share, reduction="sum"
            )
            loss = loss + PENALTY * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    weight = weight.detach() / deviation
    return weight, float(bias.detach() - weight @ mean)
