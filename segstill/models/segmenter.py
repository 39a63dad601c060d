"""The one interface to every network: RGB in [0, 1] in, class scores at image resolution out."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..taps import Tap

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Segmenter(nn.Module):
    """A segmentation network with its normalisation, its stride, its classes and its taps.

    The image is normalised, scaled to the one size of networks that have one, padded at the right and at the bottom to
    that size or to a multiple of the stride, run, and the scores are brought back to the size of the image.

    Args:
        net: maps (N, 3, H, W) to scores (N, K, h, w) of any size.
        classes: K.
        taps: tap name -> where the feature is, relative to `net`.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        stride: what H and W must be multiples of.
        size: H and W of the only images that the network takes: an image is scaled until it touches this frame from
            inside, and its features cover the padding too.  None for a network that takes every multiple of the stride.
        encoder: path inside `net` of the part that is trained at the low learning rate and that pretrained weights
            fit; "" when there is none.
    """

    predicts: ClassVar[Literal["masks", "tags", "affinities"]] = "masks"
    """What `forward` returns: scores of every pixel (N, K, H, W), scores of the image (N, K - 1), without background,
    or features (N, D, h, w) whose distances say which neighbours belong together."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        classes: int,
        taps: Mapping[str, Tap | str] | None = None,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        stride: int = 1,
        size: tuple[int, int] | None = None,
        encoder: str = "",
    ):
        super().__init__()
        self.net = net
        self.classes = classes
        self.taps = {name: _below_net(tap) for name, tap in (taps or {}).items()}
        self.stride = stride
        self.size = size
        self.encoder = f"net.{encoder}" if encoder else ""
        # Not in the state dict: they belong to the recipe, and weight files from elsewhere do not have them.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, H, W) class scores of `image` (N, 3, H, W), uint8 in [0, 255] or float in [0, 1]."""
        height, width = image.shape[2:]
        image = self.normalised(image)
        if self.size:
            factor = min(self.size[0] / height, self.size[1] / width)
            sides = zip((height, width), self.size, strict=True)
            scaled = [max(1, min(round(side * factor), most)) for side, most in sides]
            if scaled != [height, width]:
                image = _resize(image, scaled, antialias=factor < 1)
            padded = list(self.size)
        else:
            scaled = [height, width]
            padded = [math.ceil(side / self.stride) * self.stride for side in scaled]
        if padded != scaled:  # with zeros, which after normalisation are the mean colour
            image = F.pad(image, (0, padded[1] - scaled[1], 0, padded[0] - scaled[0]))
        scores = self.net(image)
        if list(scores.shape[2:]) != padded:
            scores = _resize(scores, padded)
        scores = scores[:, :, : scaled[0], : scaled[1]]
        return scores if scaled == [height, width] else _resize(scores, [height, width])

    def normalised(self, image: Tensor) -> Tensor:
        """Return what the network is to see of `image`, uint8 in [0, 255] or float in [0, 1]."""
        if image.dtype == torch.uint8:
            image = image.float() / 255
        return (image - self.mean) / self.std


def _resize(image: Tensor, size: list[int], *, antialias: bool = False) -> Tensor:
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def _below_net(tap: Tap | str) -> Tap:
    tap = Tap(tap) if isinstance(tap, str) else tap
    return tap._replace(path=f"net.{tap.path}")
