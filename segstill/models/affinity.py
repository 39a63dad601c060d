"""AffinityNet: features whose distance says whether neighbouring cells show the same class.

Ahn and Kwak, Learning Pixel-Level Semantic Affinity with Image-Level Supervision, CVPR 2018 (arXiv:1803.10464).  Every
stage is projected by a 1x1 convolution, brought to one grid, joined, and mixed by another one, each with an ELU.

Differs from the paper: any encoder with four stages in the place of ResNet-38; the encoder of the classifier that made
the seeds is kept as it is, unless `frozen` is off.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import filled
from ..taps import Tap
from .arguments import positive
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter
from .stages import Stages, staged_encoder

_STAGES = (2, 3, 4)
_GRID = 1
"""The stage, counted from 0, whose grid the features have: stride 8, of most encoders."""


def affinity(
    classes: int,
    *,
    encoder: str = "tu-swin_tiny_patch4_window7_224",
    output_stride: int | None = None,
    stages: Sequence[int] = _STAGES,
    channels: Sequence[int] = (64, 128, 256),
    frozen: bool = True,
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **args: Any,
) -> "AffinityNet":
    """Build an AffinityNet.

    Tap: "affinity", the features (N, D, h, w) on the grid of stage 2, which cover the padded image.

    Args:
        classes: of the masks; nothing depends on them.
        encoder: as for `swtformer`; a file of a classifier's weights fills it.
        output_stride: as for `swtformer`.
        stages: those that are read, counted from 1.
        channels: to which each of them is projected; their sum is D.
        frozen: leave the encoder, its batch normalisation included, as the weights have it.
        pretrained: "imagenet" downloads the public weights of the encoder.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        args: further arguments of timm's encoder.

    Raises:
        ValueError: an unknown encoder or argument, or one out of range.
        ConnectionError: the public weights cannot be downloaded.
    """
    positive(classes=classes)
    if not stages or not set(stages) <= {1, 2, 3, 4} or len(set(stages)) < len(stages):
        raise ValueError(f"stages is {stages!r}, expected some of (1, 2, 3, 4), each once")
    if len(channels) != len(stages):
        raise ValueError(
            f"channels is {channels!r}, expected {len(stages)} numbers, one for each of the stages {stages!r}"
        )
    positive(**{f"channels[{index}]": count for index, count in enumerate(channels)})
    body = staged_encoder(encoder, affinity, output_stride, pretrained, args)
    net = Projected(body, [stage - 1 for stage in stages], channels, frozen=frozen)
    taps = {"affinity": Tap("mix")}
    return AffinityNet(net, classes=classes, taps=taps, mean=mean, std=std, encoder="encoder")


class AffinityNet(Segmenter):
    """A network that answers with features: `segstill.seeds.feature_affinities` of them are its affinities.

    Args:
        net: `Projected`.
        others: those of `Segmenter`, without `size` and `stride`.
    """

    predicts = "affinities"

    def __init__(self, net: "Projected", **others: Any):
        super().__init__(net, stride=net.strides[-1], **others)
        self.cell = net.strides[_GRID]

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, D, h, w) features of the cells of `image` (N, 3, H, W), uint8 or float in [0, 1]."""
        size = (image.shape[2], image.shape[3])
        rows, columns = (math.ceil(side / self.stride) * self.stride - side for side in size)
        inside = torch.ones(1, *size, dtype=torch.bool, device=image.device)
        valid = F.pad(inside, (0, columns, 0, rows)) if rows or columns else None
        features = self.net(F.pad(self.normalised(image), (0, columns, 0, rows)), valid)
        cell = self.cell
        return features[:, :, : math.ceil(size[0] / cell), : math.ceil(size[1] / cell)]


class Projected(Stages):
    """Stages of an encoder, each projected, joined on one grid, and mixed.

    Args:
        encoder: see `Stages`.
        stages: those that are read, counted from 0.
        projected: channels of each.
        frozen: train only what follows the encoder.
    """

    def __init__(self, encoder: Any, stages: Sequence[int], projected: Sequence[int], *, frozen: bool):
        super().__init__(encoder)
        self.stages = stages
        self.frozen = frozen
        self.sides = nn.ModuleList(
            nn.Conv2d(self.channels[stage], count, 1, bias=False)
            for stage, count in zip(stages, projected, strict=True)
        )
        self.mix = nn.Sequential(nn.Conv2d(sum(projected), sum(projected), 1, bias=False), nn.ELU())
        if frozen:
            self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> "Projected":
        """Set the mode of all but a frozen encoder, whose statistics do not move."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (N, D, h, w) of `image` (N, 3, H, W), of which `valid` (N or 1, H, W) bool is real (None: all)."""
        maps, cells = self.read(image, valid)
        grid = maps[_GRID].shape[2:]
        joined = []
        for stage, side in zip(self.stages, self.sides, strict=True):
            feature = F.elu(side(self.normalised(maps[stage], stage, cells[stage])))
            joined.append(F.interpolate(filled(feature, cells[stage]), grid, mode="bilinear", align_corners=False))
        return self.mix(torch.cat(joined, dim=1))
