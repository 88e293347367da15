"""Scales on validation parts, then the checkpoint's files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
import torch
from fusion_data import Pools, compose, encode_pools
from fusion_step import assemble
from label_texts import LabelBank
from settings import CLASSES, DEFAULT_LABELS, PREPROCESS, SEED
from torch import Tensor
from torch.nn import functional

from merclip.network import MERCLIP, Checkpoint, load_checkpoint, save_checkpoint
from merclip.network.checkpoint import TOKEN_TABLES, reference_logits
from merclip.network.evidence import Evidence
from merclip.preprocess import pad_features

N_CLIPS = 6000
EIGHT_BITS = (*TOKEN_TABLES, "encoders.A.tower.encoder.*")
"""What is stored in 8 bits with a scale for each row: the token table, and Whisper's encoder."""
CARD = Path(__file__).parent / "model_card.md"
TOLERANCE = 1e-3


def run(data: Path, run_folder: Path, out: Path) -> None:
    """Calibrate the network and write the checkpoint to `out`."""
    network = assemble(data, run_folder)
    state = torch.load(run_folder / "fusion.pt")
    unexpected = network.load_state_dict(state, strict=False).unexpected_keys
    assert not unexpected, unexpected
    evidence = torch.load(run_folder / "evidence.pt")
    pools = encode_pools(network, data, run_folder, "validation")
    cosines, targets = validation_cosines(network, pools)
    calibrate(network, cosines, targets)
    cast(Evidence, network.evidence).load_state_dict(evidence)
    save(network, out)


@torch.no_grad()
def validation_cosines(network: MERCLIP, pools: Pools) -> tuple[Tensor, Tensor]:
    """Return cosines of validation clips to the default labels, and their classes.

    Of one modality each: parts put together at random agree more than those of real clips,
    and would make all answers too sure.
    """
    random = np.random.default_rng(SEED + 5)
    composed = (compose(pools, random, conflicts=0.0) for _ in range(N_CLIPS))
    made = [clip for clip in composed if len(clip[0].sequences) == 1]
    targets = torch.tensor([number for _, number, _ in made])
    clips = [clip for clip, _, _ in made]
    fused = torch.cat(
        [network.fuse(pad_features(clips[i : i + 256])) for i in range(0, len(clips), 256)]
    )
    labels = LabelBank(network.label_encoder, SEED).words(CLASSES)
    known = targets < len(DEFAULT_LABELS)
    cosines = fused[known] @ labels[: len(DEFAULT_LABELS)].T
    return cosines.clone(), targets[known].clone()


def calibrate(network: MERCLIP, cosines: Tensor, targets: Tensor) -> None:
    """Fit the three scales on validation clips, with words as labels."""
    before = network.scales.softmax.exp().item()
    log_scale = torch.tensor(math.log(before), requires_grad=True)
    minimise([log_scale], lambda: functional.cross_entropy(cosines * log_scale.exp(), targets))
    slope = torch.tensor(math.log(10.0), requires_grad=True)
    bias = torch.tensor(-5.0, requires_grad=True)
    wanted = functional.one_hot(targets, cosines.shape[1]).float()
    minimise(
        [slope, bias],
        lambda: functional.binary_cross_entropy_with_logits(cosines * slope.exp() + bias, wanted),
    )
    with torch.no_grad():
        network.scales.softmax.copy_(log_scale.clamp(max=math.log(100.0)))
        network.scales.sigmoid.copy_(slope.clamp(max=math.log(100.0)))
        network.scales.sigmoid_bias.copy_(bias)
    accuracy = (cosines.argmax(1) == targets).float().mean().item()
    print(
        f"[calibration] accuracy {accuracy:.3f}, scale {before:.1f} -> {log_scale.exp():.1f}, "
        f"sigmoid scale {slope.exp():.1f}, bias {bias:.2f}",
        flush=True,
    )


def minimise(parameters: list[Tensor], loss) -> None:
    """Minimise a smooth function of a few numbers."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def save(network: MERCLIP, out: Path) -> None:
    """Write the checkpoint in fp16 and check that it loads to the same logits."""
    classifier = {
        "labels": [[name, [name]] for name in DEFAULT_LABELS],
        "prompt": ["{}"],
        "multi_label": False,
        "threshold": None,
        "calibration": {"temperature": 1.0, "labels": sorted(DEFAULT_LABELS)},
    }
    checkpoint = Checkpoint(network.eval(), PREPROCESS, classifier, encoders_trained=True)
    card = CARD.read_text(encoding="utf-8")
    save_checkpoint(checkpoint, out, card, dtype=torch.float16, eight_bits=EIGHT_BITS)
    loaded = load_checkpoint(out)
    wanted = torch.tensor(reference_logits(network, PREPROCESS))
    found = torch.tensor(reference_logits(loaded.network, loaded.preprocess))
    assert torch.allclose(wanted, found, atol=TOLERANCE), (wanted, found)
    size = (out / "model.safetensors").stat().st_size / 1e6
    print(f"[calibration] wrote {out}: {size:.1f} MB, reference logits {found.tolist()}")
    written = out / "README.md"
    count = f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f}"
    filled = card.replace("{size}", count)
    written.write_text(filled.replace("{megabytes}", f"{size:.1f}"), encoding="utf-8")
