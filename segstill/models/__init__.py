"""Networks by name, all behind one interface: `Segmenter`."""

from collections.abc import Callable

from .affinity import AffinityNet, affinity
from .classifier import Classifier, Looked
from .deeplab import deeplabv3plus
from .deeplabv3_mobilenet import deeplabv3_mobilenet
from .guest import Guest, match_classes
from .maps import Found
from .probing import Probe, probe, probe_model, tap_at
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter
from .swtformer import swtformer
from .timm import timm
from .tiny import tiny
from .torchvision import torchvision
from .transformers import class_names, transformers
from .user import user
from .weights import WeightReport, load_weights
from .zoo import smp

# Called as MODELS[name](classes, mean=..., std=..., pretrained=None or "imagenet", **args).
MODELS: dict[str, Callable[..., Segmenter]] = {
    "affinity": affinity,
    "deeplabv3_mobilenet": deeplabv3_mobilenet,
    "deeplabv3plus": deeplabv3plus,
    "smp": smp,
    "swtformer": swtformer,
    "timm": timm,
    "tiny": tiny,
    "torchvision": torchvision,
    "transformers": transformers,
    "user": user,
}
CLASSIFIERS = {"swtformer"}
"""Models that answer with tags instead of masks."""
AFFINITIES = {"affinity"}
"""Models that answer with features whose distances are affinities."""
CLASS_NAMES: dict[str, Callable[..., tuple[str, ...]]] = {"transformers": class_names}
"""Models that bring weights and class names; called with the model's arguments, returns () where they bring none."""

__all__ = [
    "AFFINITIES",
    "CLASSIFIERS",
    "CLASS_NAMES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MODELS",
    "AffinityNet",
    "Classifier",
    "Found",
    "Guest",
    "Looked",
    "Probe",
    "Segmenter",
    "WeightReport",
    "affinity",
    "class_names",
    "deeplabv3_mobilenet",
    "deeplabv3plus",
    "load_weights",
    "match_classes",
    "probe",
    "probe_model",
    "smp",
    "swtformer",
    "tap_at",
    "timm",
    "tiny",
    "torchvision",
    "transformers",
    "user",
]
