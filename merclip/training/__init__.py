"""Training: the loop, its sources of batches, callbacks and presets."""

from merclip.training.callbacks import Callback, EarlyStopping
from merclip.training.loop import Trainer, TrainingData
from merclip.training.plan import PRESETS, LearningRates, TrainingPlan, learning_rates
from merclip.training.sources import FeatureSource, SampleSource
from merclip.training.split import class_weights, hold_out

__all__ = [
    "PRESETS",
    "Callback",
    "EarlyStopping",
    "FeatureSource",
    "LearningRates",
    "SampleSource",
    "Trainer",
    "TrainingData",
    "TrainingPlan",
    "class_weights",
    "hold_out",
    "learning_rates",
]
