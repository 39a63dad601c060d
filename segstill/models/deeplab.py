"""DeepLabV3+ (Chen et al., ECCV 2018, arXiv 1802.02611) as AttnFD and AICSD use it, on any encoder.

ASPP and decoder have standard, not separable, convolutions, as in both papers' networks.

Differs from the papers' published networks: their ResNet blocks apply each ReLU at the input of the next block, which
is the same function; here the pre-activation taps read the same features.  Their MobileNetV2 pads before the 1x1
expansion, so that the border of the expanded map is not zero; here the border is zero, as in every other MobileNetV2.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..taps import Tap
from .arguments import checked, positive
from .encoders import any_size, dilated_encoder
from .pooling import explain_single_images
from .publish import publish_taps
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter

_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}


@checked
def deeplabv3plus(
    classes: int,
    *,
    encoder: str = "resnet18",
    output_stride: int = 16,
    channels: int = 256,
    low_level_channels: int = 48,
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Segmenter:
    """Build a DeepLabV3+.

    Taps: "stage1" to "stage4" of the encoder (strides 4, 8, 16, 32, at most `output_stride`), "encoder" (the last of
    them), "aspp" and "decoder" (each before its dropout), and all of them with "_pre", as they were before their
    activation.

    A training batch must hold at least 2 images per process: the batch normalisation after image pooling sees one
    value per image and channel.

    Args:
        classes: K.
        encoder: a name of segmentation_models_pytorch, or "tu-" and a name of timm.
        output_stride: 8 or 16, of the encoder's last feature.
        channels: of the ASPP and the decoder.
        low_level_channels: to which the stage-1 feature is reduced in the decoder.
        pretrained: "imagenet" downloads the public weights of the encoder.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].

    Raises:
        ValueError: an unknown encoder or argument, or a size out of range.
        ConnectionError: the public weights cannot be downloaded.
    """
    positive(classes=classes, channels=channels, low_level_channels=low_level_channels)
    if output_stride not in _RATES:
        raise ValueError(f"output_stride is {output_stride!r}, expected one of {sorted(_RATES)}")
    backbone = dilated_encoder(encoder, output_stride=output_stride, pretrained=pretrained)
    net = DeepLabV3Plus(backbone, classes, _RATES[output_stride], channels, low_level_channels)
    explain_single_images(net)
    taps = {f"stage{stage}": Tap("encoder", index=stage + 1) for stage in (1, 2, 3, 4)}
    taps |= {"encoder": taps["stage4"], "aspp": Tap("aspp"), "decoder": Tap("decoder")}
    image = torch.zeros(1, 3, 64, 64, device=net.classifier.weight.device)
    return Segmenter(
        net,
        classes=classes,
        taps=publish_taps(net, taps, image),
        mean=mean,
        std=std,
        # Where the network takes every size, 513 x 513 gives 33 x 33 maps as in the papers; padding would give 33 x 33
        # too, but with a border that is no image.
        stride=1 if any_size(encoder) else output_stride,
        encoder="encoder",
    )


class DeepLabV3Plus(nn.Module):
    """Encoder, ASPP, decoder, classifier; maps a normalised image (N, 3, H, W) to scores (N, K, H, W)."""

    def __init__(self, encoder: Any, classes: int, rates: tuple[int, ...], channels: int, low_level_channels: int):
        super().__init__()
        self.encoder = encoder
        self.aspp = ASPP(encoder.out_channels[-1], channels, rates)
        self.decoder = Decoder(encoder.out_channels[2], low_level_channels, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)
        for part in (self.aspp, self.decoder, self.classifier):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores at the size of the image."""
        features = self.encoder(image)
        scores = self.classifier(self.decoder(features[2], self.aspp(features[-1])))
        return _resize(scores, image)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1, three dilated 3x3 and image pooling, side by side, then 1x1."""

    def __init__(self, in_channels: int, channels: int, rates: tuple[int, ...]):
        super().__init__()
        self.branches = nn.ModuleList([_block(in_channels, channels, 1)])
        self.branches.extend(_block(in_channels, channels, 3, dilation=rate) for rate in rates)
        self.pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_block(in_channels, channels, 1))
        self.project = _block((len(rates) + 2) * channels, channels, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, deep: Tensor) -> Tensor:
        """Map the encoder's last feature (N, C, h, w) to (N, channels, h, w)."""
        # Bilinear resizing of a single pixel is a copy of it.
        pooled = self.pooling(deep).expand(-1, -1, *deep.shape[2:])
        joined = torch.cat([*(branch(deep) for branch in self.branches), pooled], dim=1)
        return self.dropout(self.project(joined))


class Decoder(nn.Module):
    """Joins the ASPP's feature with the encoder's at stride 4."""

    def __init__(self, in_channels: int, low_level_channels: int, channels: int):
        super().__init__()
        self.reduce = _block(in_channels, low_level_channels, 1)
        self.join = _block(low_level_channels + channels, channels, 3)
        self.join_dropout = nn.Dropout(0.5)
        self.refine = _block(channels, channels, 3)
        self.refine_dropout = nn.Dropout(0.1)

    def forward(self, low_level: Tensor, deep: Tensor) -> Tensor:
        """Map (N, C, h4, w4) of stage 1 and (N, channels, h, w) of the ASPP to (N, channels, h4, w4)."""
        joined = torch.cat([_resize(deep, low_level), self.reduce(low_level)], dim=1)
        return self.refine_dropout(self.refine(self.join_dropout(self.join(joined))))


def _block(in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def _resize(map: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(map, size=like.shape[2:], mode="bilinear", align_corners=True)
