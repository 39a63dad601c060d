"""Seed maps: class maps refined, spread and cut into masks, with pure functions for anyone's loop."""

from ..stencil import pair_offsets
from .affinities import boundary_affinities, feature_affinities
from .otsu import THRESHOLDS, Otsu, label_free_threshold
from .par import par
from .random_walk import random_walk, walk
from .threshold import AtThreshold, Sweep, SweepResult, threshold_sweep

__all__ = [
    "THRESHOLDS",
    "AtThreshold",
    "Otsu",
    "Sweep",
    "SweepResult",
    "boundary_affinities",
    "feature_affinities",
    "label_free_threshold",
    "pair_offsets",
    "par",
    "random_walk",
    "threshold_sweep",
    "walk",
]
