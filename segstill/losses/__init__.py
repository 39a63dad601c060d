"""The losses, by name: each is a pure function for anyone's loop, and a thin class for ours."""

from .attnfd import AttnFD, attnfd
from .cbam import CBAM, parameter_free_attention, parameter_free_attention_map
from .cross_entropy import CrossEntropy, cross_entropy
from .features import FeatureLoss
from .fitnet import FitNet, fitnet
from .icsd import ICSD, icsd, inter_class_similarity
from .logits import LogitLoss
from .loss import Channels, Loss, Variant, in_float32, mean_over_valid
from .pixel_kd import PixelKD, pixel_kd

LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "pixel_kd": PixelKD,
    "icsd": ICSD,
    "attnfd": AttnFD,
    "fitnet": FitNet,
}
"""Name in recipes -> loss."""

__all__ = [
    "CBAM",
    "ICSD",
    "LOSSES",
    "AttnFD",
    "Channels",
    "CrossEntropy",
    "FeatureLoss",
    "FitNet",
    "LogitLoss",
    "Loss",
    "PixelKD",
    "Variant",
    "attnfd",
    "cross_entropy",
    "fitnet",
    "icsd",
    "in_float32",
    "inter_class_similarity",
    "mean_over_valid",
    "parameter_free_attention",
    "parameter_free_attention_map",
    "pixel_kd",
]
