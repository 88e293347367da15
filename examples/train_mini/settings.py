"""What the mini checkpoint is: architecture, preprocessing, classes, seeds."""

from __future__ import annotations

import os

from merclip.network import DecoderConfig, NetworkConfig, architecture
from merclip.preprocess import AudioConfig, PreprocessConfig, VisionConfig

SEED = 20261124
LICENCE = os.environ.get("MERCLIP_LICENCE", "research")
"""Which data sets may be used: "free" or "research", as `train.py --licence` sets it."""
EMBED_DIM = 256
TEXT_WIDTH = 256
IMAGE_SIZE = 64

ARCHITECTURE = architecture(
    {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "tower": "residual",
            "image_size": IMAGE_SIZE,
            "widths": [32, 64, 128, 256],
            "blocks": 2,
            "hidden": 512,
        },
        "audio_cfg": {
            "tower": "whisper",
            "width": 512,
            "heads": 8,
            "blocks": 3,
            "read": [2, 3],
            "pool": "moments",
            "n_mels": 80,
            "n_positions": 300,
            "frozen": True,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": TEXT_WIDTH,
            "heads": 4,
            "layers": 3,
        },
    }
)

NETWORK = NetworkConfig(
    ARCHITECTURE,
    fusion="LVA",
    share_token_table=True,
    token_rank=16,
    n_label_contexts=0,
    n_query_contexts=8,
    decoder=DecoderConfig(heads=4, mlp_ratio=2.0),
    evidence=True,
)

PREPROCESS = PreprocessConfig(
    image_size=IMAGE_SIZE,
    vision=VisionConfig(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), faces=True, mirror=True),
    audio=AudioConfig.whisper(),
)
"""One mean for all channels of frames: the tower sees luminance alone."""

CLASSES = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgust",
    "surprised",
    "contempt",
)
"""All classes of the training data; a class's position here is its number."""

DEFAULT_LABELS = CLASSES[:8]
EKMAN = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
