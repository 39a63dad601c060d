"""SWTformer: classes from tags, and maps of where they are (Ahmadi and Kasaei, 2024, arXiv 2401.17828).

There is no published code; what is known of the paper, and what is inferred here, is in docs/methods.md.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..taps import Tap, feature_channels
from .arguments import positive
from .classifier import POOLINGS, Classifier, Looked, top_k
from .fusion import Fusion
from .segmenter import IMAGENET_MEAN, IMAGENET_STD
from .stages import Stages, described, staged_encoder

_STAGES = (1, 2, 3, 4)


def swtformer(
    classes: int,
    *,
    version: Literal[1, 2] = 2,
    encoder: str = "tu-swin_tiny_patch4_window7_224",
    output_stride: int | None = None,
    head_kernel: Literal[1, 3] = 3,
    pooling: Literal["gap", "gmp", "gwrp", "top_k"] = "gap",
    top_share: float = 0.1,
    stages: Sequence[int] = _STAGES,
    branches: Literal["equal", "learned"] = "equal",
    project: bool = True,
    fused_channels: Sequence[int] = (128, 128, 256, 256),
    dropout: float = 0.0,
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **args: Any,
) -> Classifier:
    """Build a SWTformer: the deepest feature, one convolution to a map per class, and the maps pooled to scores.

    Version 2 adds the features of several stages, fused (see `fusion`), on the grid of stage 3.

    Taps: "stage1" to "stage4" (strides 4, 8, 16, 32, at most `output_stride`), zero outside the image; "encoder", the
    last of them, normalised; "cam", the raw class maps; "fused" in version 2.  Stages that no batch normalisation has
    scaled (those of transformers and of ConvNeXt) are layer-normalised before they are classified or fused.

    Of the encoders only Swin keeps padding out of its attention: the others see, beyond an image, zeros (the mean
    colour), and only what they make of cells outside the image is left out.

    Args:
        classes: with background, which has no map: K + 1.
        version: 1 or 2.
        encoder: a Swin of timm ("tu-swin_..."), or any name of segmentation_models_pytorch, or "tu-" and a name of
            timm, that has features at four strides.
        output_stride: 8, 16 or 32, of the deepest feature of an encoder that can be dilated; None takes it as it is.
        head_kernel: 3 (with bias) or 1 (without), of the convolution to class maps.
        pooling: of class maps to scores: mean, maximum, rank-weighted mean or mean of the highest cells.
        top_share: share of an image's cells that `top_k` takes, in (0, 1].
        stages: those that are fused, counted from 1.
        branches: "equal" votes of the stages, or "learned" ones.
        project: a 1x1 convolution per stage; without it, the stages are fused as they are.
        fused_channels: of these convolutions, for stages 1 to 4.
        dropout: probability with which a channel is dropped before the head, in [0, 1).
        pretrained: "imagenet" downloads the public weights of the encoder.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        args: further arguments of timm's encoder: drop_path_rate, and for a Swin of another size embed_dim, depths,
            num_heads, window_size and patch_size.

    Raises:
        ValueError: fewer than 2 classes, an unknown encoder or argument, or one out of range.
        ConnectionError: the public weights cannot be downloaded.
    """
    positive(classes=classes)
    if classes < 2:
        raise ValueError(f"classes is {classes}, expected at least 2: background, and what the tags name")
    for name, given, expected in (
        ("version", version, [1, 2]),
        ("head_kernel", head_kernel, [1, 3]),
        ("pooling", pooling, [*POOLINGS]),
        ("branches", branches, ["equal", "learned"]),
        ("output_stride", output_stride, [8, 16, 32, None]),
    ):
        if given not in expected:
            raise ValueError(f"{name} is {given!r}, expected one of {expected}")
    chosen = sorted(set(stages))
    if not chosen or len(chosen) < len(stages) or not set(chosen) <= set(_STAGES):
        raise ValueError(f"stages is {stages!r}, expected some of {_STAGES}, each once")
    if len(fused_channels) != len(_STAGES):
        raise ValueError(f"fused_channels is {fused_channels!r}, expected 4 numbers of channels, one per stage")
    positive(**{f"fused_channels[{index}]": channels for index, channels in enumerate(fused_channels)})
    if not 0 < top_share <= 1:
        raise ValueError(f"top_share is {top_share!r}, expected a share of the cells in (0, 1], such as 0.1")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}, expected a probability in [0, 1), such as 0.5")
    body = staged_encoder(encoder, swtformer, output_stride, pretrained, args)
    channels, strides = described(body)
    fusion = None
    if version == 2:
        picked = [index - 1 for index in chosen]
        projected = [fused_channels[index] for index in picked] if project else None
        fusion = Fusion([channels[index] for index in picked], projected, branches)
    net = SWTformer(
        body,
        Head(channels[-1], classes - 1, head_kernel, dropout),
        pooling=partial(top_k, share=top_share) if pooling == "top_k" else POOLINGS[pooling],
        stages=[index - 1 for index in chosen],
        fusion=fusion,
    )
    taps = {name: Tap(f"published.{name}") for name in net.published} | {"cam": Tap("head")}
    model = Classifier(
        net,
        classes=classes,
        taps=taps | ({"fused": Tap("fusion")} if fusion else {}),
        mean=mean,
        std=std,
        stride=strides[-1],
        encoder="encoder",
    )
    side = strides[-1]
    try:
        feature_channels(model, model.taps, torch.zeros(1, 3, 3 * side, 4 * side, device=model.mean.device))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"encoder {encoder!r} does not give maps of strides {strides} on images of every size ({error}); "
            "choose another one, such as tu-swin_tiny_patch4_window7_224, resnet18 or mobilenet_v2"
        ) from error
    return model


class SWTformer(Stages):
    """Encoder, head, pooling, fusion; maps a normalised image whose sides are multiples of the stride to `Looked`.

    Args:
        encoder: see `Stages`.
        head: maps the deepest feature (N, C, h, w) to class maps (N, K, h, w).
        pooling: maps class maps (N, K, h, w) and cells (N, h, w) to scores (N, K).
        stages: those that `fusion` takes, counted from 0.
        fusion: None for version 1.
    """

    def __init__(
        self,
        encoder: Any,
        head: nn.Module,
        *,
        pooling: Callable[[Tensor, Tensor], Tensor],
        stages: Sequence[int],
        fusion: Fusion | None,
    ):
        super().__init__(encoder)
        self.head = head
        self.pooling = pooling
        self.stages = stages
        self.fusion = fusion
        # The encoder returns them all at once; taps are read off these.
        names = [f"stage{index}" for index in range(1, len(self.strides) + 1)]
        self.published = nn.ModuleDict({name: nn.Identity() for name in (*names, "encoder")})

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Looked:
        """Return scores and maps of `image` (N, 3, H, W), of which `valid` (N or 1, H, W) bool is real (None: all)."""
        maps, cells = self.read(image, valid)
        maps = [self.published[f"stage{index}"](map) for index, map in enumerate(maps, 1)]
        maps = [self.normalised(map, stage, cells[stage]) for stage, map in enumerate(maps)]
        deepest = self.published["encoder"](maps[-1])
        cam = self.head(deepest)
        scores = self.pooling(cam.float(), cells[-1].expand(len(image), -1, -1))
        if self.fusion is None:
            return Looked(scores, cam, None, deepest, cells[-1].expand(len(image), -1, -1))
        grid = cells[2]
        fused = self.fusion([maps[stage] for stage in self.stages], [cells[stage] for stage in self.stages], grid)
        return Looked(scores, cam, fused, deepest, grid.expand(len(image), -1, -1))


class Head(nn.Sequential):
    """Dropout of channels and one convolution: (N, C, h, w) to raw class maps (N, K, h, w)."""

    def __init__(self, channels: int, classes: int, kernel: int, dropout: float):
        # The bias of the paper's relatives: MCTformer's 3x3 convolution has one, SIPE's 1x1 has none.
        convolution = nn.Conv2d(channels, classes, kernel, padding=kernel // 2, bias=kernel > 1)
        super().__init__(nn.Dropout2d(dropout), convolution)
