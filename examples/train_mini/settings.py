"""What the mini checkpoint is: architecture, preprocessing, classes, seeds."""

from __future__ import annotations

from merclip.network import DecoderConfig, NetworkConfig, architecture
from merclip.preprocess import AudioConfig, PreprocessConfig

SEED = 20261120
EMBED_DIM = 256
TEXT_WIDTH = 192
IMAGE_SIZE = 96

ARCHITECTURE = architecture(
    {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "layers": [2, 2, 2, 2],
            "width": 24,
            "head_width": 96,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": TEXT_WIDTH,
            "heads": 3,
            "layers": 3,
        },
    }
)

NETWORK = NetworkConfig(
    ARCHITECTURE,
    fusion="LVA",
    share_token_table=True,
    n_label_contexts=0,
    n_query_contexts=8,
    decoder=DecoderConfig(heads=4, mlp_ratio=2.0),
)

PREPROCESS = PreprocessConfig(image_size=IMAGE_SIZE, audio=AudioConfig())

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
