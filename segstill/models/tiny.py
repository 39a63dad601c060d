"""A small convolutional encoder-decoder, for the demo and for tests: it learns in seconds on a CPU."""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..taps import Tap
from .arguments import checked, known, positive
from .publish import publish_taps
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter


@checked
def tiny(
    classes: int,
    *,
    width: int = 16,
    depth: int = 3,
    norm: Literal["batch", "group"] = "batch",
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Segmenter:
    """Build the small network.

    Taps: "stage1" to "stageDEPTH" (strides 4, 8, ...), "encoder" (the last of them) and "decoder", and all of them
    with "_pre", as they were before their activation.

    Args:
        classes: K.
        width: channels at stride 2; every stage has twice as many as the one before it.
        depth: stages after the stem.
        norm: "group" makes an image's scores independent of the other images of its batch.
        pretrained: must be None; there are no public weights.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].

    Raises:
        ValueError: an unknown argument or norm, a size below 1, or public weights asked for.
    """
    positive(classes=classes, width=width, depth=depth)
    known("norm", norm, ["batch", "group"])
    if pretrained is not None:
        raise ValueError(f"pretrained is {pretrained!r}, but tiny has no public weights; expected None")
    net = Tiny(classes, width, depth, norm)
    taps = {f"stage{stage}": Tap("encoder", index=stage) for stage in range(1, depth + 1)}
    taps |= {"encoder": Tap("encoder", index=depth), "decoder": Tap("decoder")}
    stride = 2 ** (depth + 1)
    image = torch.zeros(1, 3, 2 * stride, 2 * stride, device=net.classifier.weight.device)
    taps = publish_taps(net, taps, image)
    return Segmenter(net, classes=classes, taps=taps, mean=mean, std=std, stride=stride, encoder="encoder")


class Tiny(nn.Module):
    """Encoder, decoder, classifier; maps a normalised image (N, 3, H, W) to scores (N, K, H/2, W/2)."""

    def __init__(self, classes: int, width: int, depth: int, norm: str):
        super().__init__()
        channels = [width * 2**stage for stage in range(depth + 1)]
        self.encoder = TinyEncoder(channels, norm)
        self.decoder = TinyDecoder(channels, norm)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores at half the size of the image."""
        return self.classifier(self.decoder(self.encoder(image)))


class TinyEncoder(nn.Module):
    """A stem and stages; each halves the map."""

    def __init__(self, channels: list[int], norm: str):
        super().__init__()
        self.stem = _block(3, channels[0], norm, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_block(fine, coarse, norm, stride=2), _block(coarse, coarse, norm))
            for fine, coarse in pairwise(channels)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at strides 2, 4, 8, ..."""
        features = [self.stem(image)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class TinyDecoder(nn.Module):
    """Goes back from the coarsest feature to stride 2, joining the encoder's feature of each stride."""

    def __init__(self, channels: list[int], norm: str):
        super().__init__()
        self.stages = nn.ModuleList(_block(fine + coarse, fine, norm) for fine, coarse in pairwise(channels))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map the encoder's features to (N, width, H/2, W/2)."""
        joined = features[-1]
        for stage, skip in zip(reversed(self.stages), reversed(features[:-1]), strict=True):
            joined = F.interpolate(joined, size=skip.shape[2:], mode="bilinear", align_corners=False)
            joined = stage(torch.cat([joined, skip], dim=1))
        return joined


def _block(in_channels: int, out_channels: int, norm: str, stride: int = 1) -> nn.Sequential:
    groups = next(count for count in (8, 4, 2, 1) if out_channels % count == 0)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels) if norm == "batch" else nn.GroupNorm(groups, out_channels),
        nn.ReLU(),
    )
