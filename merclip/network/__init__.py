"""MER-CLIP: configuration, encoders, decoder, label encoder, checkpoint files."""

from merclip.network.backbone import Towers, architecture, build_towers
from merclip.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from merclip.network.config import DecoderConfig, NetworkConfig
from merclip.network.model import MERCLIP

__all__ = [
    "MERCLIP",
    "Checkpoint",
    "DecoderConfig",
    "NetworkConfig",
    "Towers",
    "architecture",
    "build_towers",
    "load_checkpoint",
    "save_checkpoint",
]
