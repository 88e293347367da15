"""Labelled clips from the folders in which data sets are given out.

Nothing is downloaded, and nothing is decoded before a clip is used.
"""

from __future__ import annotations

from merclip.datasets._dataset import Dataset, Turn
from merclip.datasets._report import Finding, LoadReport
from merclip.datasets.cremad import load_cremad
from merclip.datasets.iemocap import load_iemocap
from merclip.datasets.meld import load_meld
from merclip.datasets.mosei import load_mosei
from merclip.datasets.mosi import load_mosi
from merclip.datasets.own import load_clips
from merclip.datasets.ravdess import load_ravdess
from merclip.datasets.vega_anchors import load_vega_anchors
from merclip.datasets.vega_features import VegaFeatures, load_vega_features

__all__ = [
    "Dataset",
    "Finding",
    "LoadReport",
    "Turn",
    "VegaFeatures",
    "load_clips",
    "load_cremad",
    "load_iemocap",
    "load_meld",
    "load_mosei",
    "load_mosi",
    "load_ravdess",
    "load_vega_anchors",
    "load_vega_features",
]
