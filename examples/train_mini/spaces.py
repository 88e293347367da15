"""The frozen label encoder, as the first step left it."""

from __future__ import annotations

from pathlib import Path

import torch
from settings import ARCHITECTURE

from merclip.network import Towers, build_towers
from merclip.network.encoders import TextEncoder


def label_encoder(run_folder: Path) -> TextEncoder:
    """Return the trained text tower as an encoder, frozen."""
    tower = build_towers(ARCHITECTURE).text
    tower.load_state_dict(torch.load(run_folder / "text.pt"))
    return TextEncoder(tower).eval().requires_grad_(False)


def trained_towers(run_folder: Path) -> Towers:
    """Return an untrained image tower and the trained text tower."""
    towers = build_towers(ARCHITECTURE)
    towers.text.load_state_dict(torch.load(run_folder / "text.pt"))
    return towers
