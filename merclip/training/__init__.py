"""Training: the loop, its sources of batches, callbacks and presets."""

from merclip.training.callbacks import Callback, EarlyStopping
from merclip.training.dialogues import DialogueSettings
from merclip.training.loop import Trainer, TrainingData
from merclip.training.plan import PRESETS, LearningRates, TrainingPlan, learning_rates
from merclip.training.sources import FeatureSource, SampleSource
from merclip.training.split import class_weights, hold_out
from merclip.training.vega import (
    OutputWeights,
    Temperatures,
    VegaObjective,
    released_class_weights,
    vega_loss,
    vega_terms,
)

__all__ = [
    "PRESETS",
    "Callback",
    "DialogueSettings",
    "EarlyStopping",
    "FeatureSource",
    "LearningRates",
    "OutputWeights",
    "SampleSource",
    "Temperatures",
    "Trainer",
    "TrainingData",
    "TrainingPlan",
    "VegaObjective",
    "class_weights",
    "hold_out",
    "learning_rates",
    "released_class_weights",
    "vega_loss",
    "vega_terms",
]
