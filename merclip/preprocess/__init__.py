"""Frames, sound and text to tensors, and batches of what the encoders make of them."""

from merclip.preprocess.config import AudioConfig, PreprocessConfig, VisionConfig
from merclip.preprocess.faces import FaceFinder
from merclip.preprocess.features import (
    MODALITIES,
    ClipFeatures,
    FeatureBatch,
    Features,
    pad_features,
)
from merclip.preprocess.sample import Preprocessor, Sample

__all__ = [
    "MODALITIES",
    "AudioConfig",
    "ClipFeatures",
    "FaceFinder",
    "FeatureBatch",
    "Features",
    "PreprocessConfig",
    "Preprocessor",
    "Sample",
    "VisionConfig",
    "pad_features",
]
