"""What earlier steps left: the frozen label encoder, and the trained image towers."""

from __future__ import annotations

from pathlib import Path

import torch
from settings import ARCHITECTURE, EMBED_DIM
from torch import Tensor

from merclip.network import Towers, build_towers
from merclip.network.encoders import TextEncoder
from merclip.network.residual import ResidualTower, build_residual


def label_encoder(run_folder: Path) -> TextEncoder:
    """Return the trained text tower as an encoder, frozen."""
    tower = build_towers(ARCHITECTURE).text
    tower.load_state_dict(torch.load(run_folder / "text.pt"))
    return TextEncoder(tower).eval().requires_grad_(False)


def trained_towers(run_folder: Path) -> Towers:
    """Return untrained image towers and the trained text tower."""
    towers = build_towers(ARCHITECTURE)
    towers.text.load_state_dict(torch.load(run_folder / "text.pt"))
    return towers


def vision_tower() -> ResidualTower:
    """Return a new vision tower."""
    return build_residual(EMBED_DIM, ARCHITECTURE["vision_cfg"])


def aligned_tower(state: dict[str, Tensor]) -> ResidualTower:
    """Return the vision tower with the weights of a state, to evaluate."""
    tower = vision_tower()
    tower.load_state_dict(state)
    return tower.eval()
