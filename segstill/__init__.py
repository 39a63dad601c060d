"""segstill makes small semantic-segmentation networks good, and ships them.

The parts that work in anybody's own loop:

    from segstill import Segmenter, TermSpec, build_learner
    from segstill.losses import attnfd, icsd, pixel_kd
"""

import os
from importlib.metadata import version

# How long threads spin before they sleep.  The default (about a millisecond) takes the cores from the processes that
# read images: measured on two busy cores, five times slower; this is as fast as the default on idle ones.  OpenMP reads
# it once, so it must come before torch.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

from .batch import IGNORE, Batch
from .build import build_learner, build_model, load
from .learner import Learner, Term
from .models.segmenter import Segmenter
from .recipe import DataSpec, ModelSpec, Recipe, TermSpec
from .taps import Tap, Tapped

__version__ = version("segstill")

__all__ = [
    "IGNORE",
    "Batch",
    "DataSpec",
    "Learner",
    "ModelSpec",
    "Recipe",
    "Segmenter",
    "Tap",
    "Tapped",
    "Term",
    "TermSpec",
    "__version__",
    "build_learner",
    "build_model",
    "load",
]
