"""Networks by name, all behind one interface: `Segmenter`."""

from collections.abc import Callable

from .deeplab import deeplabv3plus
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter
from .tiny import tiny
from .weights import WeightReport, load_weights
from .zoo import smp

# Called as MODELS[name](classes, mean=..., std=..., pretrained=None or "imagenet", **args).
MODELS: dict[str, Callable[..., Segmenter]] = {
    "deeplabv3plus": deeplabv3plus,
    "smp": smp,
    "tiny": tiny,
}

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MODELS",
    "Segmenter",
    "WeightReport",
    "deeplabv3plus",
    "load_weights",
    "smp",
    "tiny",
]
