"""The losses, by name: each is a pure function for anyone's loop, and a thin class for ours."""

from .afdcd import AfDCD, afdcd
from .affinity import Affinity, affinity
from .at import AT, at
from .attnfd import AttnFD, attnfd
from .background import BackgroundAwareLoss
from .cbam import CBAM, parameter_free_attention, parameter_free_attention_map
from .ccl import CCL, ccl
from .cirkd import CIRKD, cirkd_minibatch
from .cirkd_memory import CIRKDMemory, cirkd_memory
from .cross_entropy import CrossEntropy, cross_entropy
from .cwd import CWD, CWDFeature, cwd, cwd_feature
from .dist import DIST, dist
from .feature_kd import FeatureKD, feature_kd
from .features import FeatureLoss
from .fitnet import FitNet, fitnet
from .gsc import GSC, gsc
from .ickd import ICKD, ickd
from .icsd import ICSD, icsd, inter_class_similarity
from .ifvd import IFVD, ifvd
from .lad import LAD, lad
from .logit_std import LogitStd, logit_std
from .logits import LogitLoss
from .loss import Channels, Loss, Variant, in_float32, mean_over_valid
from .mgd import MGD, mgd, mgd_generation
from .overhaul import Overhaul, overhaul_margin, partial_l2
from .pairwise import Pairwise, pairwise
from .pixel_kd import PixelKD, pixel_kd
from .sigmoid_kd import SigmoidKD, sigmoid_kd
from .sp import SP, sp
from .tags import Tags, tags

LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "pixel_kd": PixelKD,
    "icsd": ICSD,
    "attnfd": AttnFD,
    "fitnet": FitNet,
    "sigmoid_kd": SigmoidKD,
    "logit_std": LogitStd,
    "dist": DIST,
    "cwd": CWD,
    "cwd_feature": CWDFeature,
    "ickd": ICKD,
    "at": AT,
    "sp": SP,
    "pairwise": Pairwise,
    "ifvd": IFVD,
    "feature_kd": FeatureKD,
    "mgd": MGD,
    "afdcd": AfDCD,
    "overhaul": Overhaul,
    "cirkd_minibatch": CIRKD,
    "cirkd_memory": CIRKDMemory,
    "lad": LAD,
    "tags": Tags,
    "gsc": GSC,
    "ccl": CCL,
    "affinity": Affinity,
}
"""Name in recipes -> loss."""

__all__ = [
    "AT",
    "CBAM",
    "CCL",
    "CIRKD",
    "CWD",
    "DIST",
    "GSC",
    "ICKD",
    "ICSD",
    "IFVD",
    "LAD",
    "LOSSES",
    "MGD",
    "SP",
    "AfDCD",
    "Affinity",
    "AttnFD",
    "BackgroundAwareLoss",
    "CIRKDMemory",
    "CWDFeature",
    "Channels",
    "CrossEntropy",
    "FeatureKD",
    "FeatureLoss",
    "FitNet",
    "LogitLoss",
    "LogitStd",
    "Loss",
    "Overhaul",
    "Pairwise",
    "PixelKD",
    "SigmoidKD",
    "Tags",
    "Variant",
    "afdcd",
    "affinity",
    "at",
    "attnfd",
    "ccl",
    "cirkd_memory",
    "cirkd_minibatch",
    "cross_entropy",
    "cwd",
    "cwd_feature",
    "dist",
    "feature_kd",
    "fitnet",
    "gsc",
    "ickd",
    "icsd",
    "ifvd",
    "in_float32",
    "inter_class_similarity",
    "lad",
    "logit_std",
    "mean_over_valid",
    "mgd",
    "mgd_generation",
    "overhaul_margin",
    "pairwise",
    "parameter_free_attention",
    "parameter_free_attention_map",
    "partial_l2",
    "pixel_kd",
    "sigmoid_kd",
    "sp",
    "tags",
]
