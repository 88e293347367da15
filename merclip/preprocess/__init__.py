"""Frames, sound and text to tensors, and batches of what the encoders make of them."""

from merclip.preprocess.cache import Encoded, FeatureCache, Place, Reader, weights_digest
from merclip.preprocess.config import AudioConfig, PreprocessConfig, VisionConfig
from merclip.preprocess.faces import FaceFinder
from merclip.preprocess.features import (
    MODALITIES,
    ClipFeatures,
    FeatureBatch,
    Features,
    pad_features,
)
from merclip.preprocess.sample import FrameChoice, Preprocessor, Sample

__all__ = [
    "MODALITIES",
    "AudioConfig",
    "ClipFeatures",
    "Encoded",
    "FaceFinder",
    "FeatureBatch",
    "FeatureCache",
    "Features",
    "FrameChoice",
    "Place",
    "PreprocessConfig",
    "Preprocessor",
    "Reader",
    "Sample",
    "VisionConfig",
    "pad_features",
    "weights_digest",
]
