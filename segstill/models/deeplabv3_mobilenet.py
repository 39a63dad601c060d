"""DeepLabV3 on MobileNetV2 at output stride 16, as published for mobile devices: one 1x1 branch beside image pooling.

Sandler et al., MobileNetV2, CVPR 2018 (arXiv 1801.04381), section 6.3.  Layer names are those of the converted VOC
weights, so that such a file fills the network completely; they were trained on images of 513 x 513 in [-1, 1], which is
mean = std = 0.5, and lose several points of mIoU at another size: give them `size=513`.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..taps import Tap
from .arguments import checked, positive
from .encoders import dilate
from .pooling import refuse_single_images
from .publish import publish_taps
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter

_STAGES = (3, 6, 13, 17)
"""The last block of strides 4, 8, 16, and of the dilated stage that has stride 16 too."""


@checked
def deeplabv3_mobilenet(
    classes: int,
    *,
    width: float = 1.0,
    channels: int = 256,
    size: int | None = None,
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Segmenter:
    """Build a DeepLabV3 on MobileNetV2.

    Taps: "stage1" to "stage4" (strides 4, 8, 16, 16), "encoder" (the last of them), "aspp" and "decoder" (both are what
    the classifier is given), and all of them with "_pre", as they were before their activation.

    A training batch must hold at least 2 images per process: the batch normalisation after image pooling sees one
    value per image and channel.

    Args:
        classes: K.
        width: factor on the encoder's channels; there are VOC weights of 1.0 and of 0.5.
        channels: of the two branches and of what joins them.
        size: side of the squares that the network sees (see `Segmenter`); None takes images as they come.
        pretrained: must be None; give a file of weights.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].

    Raises:
        ValueError: an unknown argument, a size out of range, or public weights asked for.
    """
    positive(classes=classes, channels=channels, size=1 if size is None else size)
    if not width > 0:
        raise ValueError(f"width is {width}, expected a factor above 0, such as 1.0 or 0.5")
    if pretrained is not None:
        raise ValueError(
            f"pretrained is {pretrained!r}, but deeplabv3_mobilenet downloads nothing; expected None: "
            "give a file of weights (--student.weights FILE)"
        )
    net = DeepLabV3(width, channels, classes)
    taps = {f"stage{stage}": Tap(f"backbone.features.{block}") for stage, block in enumerate(_STAGES, 1)}
    taps |= {"encoder": taps["stage4"], "aspp": Tap("project"), "decoder": Tap("logits", read="input")}
    return Segmenter(
        net,
        classes=classes,
        taps=publish_taps(net, taps, torch.zeros(1, 3, 64, 64, device=net.logits.weight.device)),
        mean=mean,
        std=std,
        size=None if size is None else (size, size),
        encoder="backbone",
    )


class DeepLabV3(nn.Module):
    """Encoder, two branches, classifier; maps a normalised image (N, 3, H, W) to scores (N, K, H, W)."""

    def __init__(self, width: float, channels: int, classes: int):
        super().__init__()
        from torchvision.models import mobilenet_v2  # takes a second

        # 24 x 0.5 are 12 channels in the published half-width network; torchvision would round them up to 16.
        backbone = mobilenet_v2(weights=None, width_mult=width, round_nearest=4)
        features = backbone.features[:18]
        dilate(features[14:15], 1)
        dilate(features[15:], 2)
        self.backbone = nn.Sequential(OrderedDict(features=features))
        deepest = [module for module in features.modules() if isinstance(module, nn.Conv2d)][-1].out_channels
        self.aspp = _block(deepest, channels)
        self.pool = _block(deepest, channels)
        self.project = _block(2 * channels, channels)
        self.logits = nn.Conv2d(channels, classes, 1)
        refuse_single_images(self.pool)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores at the size of the image."""
        deep = self.backbone(image)
        pooled = self.pool(deep.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *deep.shape[2:])
        scores = self.logits(self.project(torch.cat([pooled, self.aspp(deep)], dim=1)))
        return F.interpolate(scores, size=image.shape[2:], mode="bilinear", align_corners=True)


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())
