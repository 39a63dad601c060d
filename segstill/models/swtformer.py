"""SWTformer: classes from tags, and maps of where they are (Ahmadi and Kasaei, 2024, arXiv 2401.17828).

There is no published code; what is known of the paper, and what is inferred here, is in docs/methods.md.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import filled
from ..taps import Tap, feature_channels
from .arguments import known, positive
from .classifier import POOLINGS, Classifier, Looked, cells_inside, top_k
from .encoders import dilated_encoder, download, encoder_weights
from .fusion import Fusion
from .segmenter import IMAGENET_MEAN, IMAGENET_STD
from .swin import Swin, swin

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
    body = _encoder(encoder, output_stride, pretrained, args)
    channels, strides = _described(body)
    fusion = None
    if version == 2:
        picked = [index - 1 for index in chosen]
        projected = [fused_channels[index] for index in picked] if project else None
        fusion = Fusion([channels[index] for index in picked], projected, branches)
    net = SWTformer(
        body,
        Head(channels[-1], classes - 1, head_kernel, dropout),
        strides,
        offset=strides[-1] // 2 if _cornered(body) else 0,
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


class SWTformer(nn.Module):
    """Encoder, head, pooling, fusion; maps a normalised image whose sides are multiples of the stride to `Looked`.

    Args:
        encoder: a `Swin`, or a pyramid of segmentation_models_pytorch.
        head: maps the deepest feature (N, C, h, w) to class maps (N, K, h, w).
        strides: of the four stages.
        offset: pixels by which the image is moved right and down for an encoder whose cells are centred on the first
            of the pixels that they stand for, so that its maps do not lie half a cell off.
        pooling: maps class maps (N, K, h, w) and cells (N, h, w) to scores (N, K).
        stages: those that `fusion` takes, counted from 0.
        fusion: None for version 1.
    """

    def __init__(
        self,
        encoder: Any,
        head: nn.Module,
        strides: Sequence[int],
        *,
        offset: int,
        pooling: Callable[[Tensor, Tensor], Tensor],
        stages: Sequence[int],
        fusion: Fusion | None,
    ):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.strides = strides
        self.offset = offset
        self.pooling = pooling
        self.stages = stages
        self.fusion = fusion
        self.batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())
        # The encoder returns them all at once; taps are read off these.
        names = [f"stage{index}" for index in range(1, len(strides) + 1)]
        self.published = nn.ModuleDict({name: nn.Identity() for name in (*names, "encoder")})

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Looked:
        """Return scores and maps of `image` (N, 3, H, W), of which `valid` (N or 1, H, W) bool is real (None: all)."""
        real = torch.ones_like(image[:1, 0], dtype=torch.bool) if valid is None else valid
        cells = [cells_inside(real, stride) for stride in self.strides]
        if isinstance(self.encoder, Swin):
            maps = self.encoder(image, None if valid is None else cells)
        else:
            maps = [filled(map, inside) for map, inside in zip(self._pyramid(image), cells, strict=True)]
        maps = [self.published[f"stage{index}"](map) for index, map in enumerate(maps, 1)]
        maps = [filled(self._normalise(map, stage), cells[stage]) for stage, map in enumerate(maps)]
        deepest = self.published["encoder"](maps[-1])
        cam = self.head(deepest)
        scores = self.pooling(cam.float(), cells[-1].expand(len(image), -1, -1))
        if self.fusion is None:
            return Looked(scores, cam, None, deepest, cells[-1].expand(len(image), -1, -1))
        grid = cells[2]
        fused = self.fusion([maps[stage] for stage in self.stages], [cells[stage] for stage in self.stages], grid)
        return Looked(scores, cam, fused, deepest, grid.expand(len(image), -1, -1))

    def _pyramid(self, image: Tensor) -> list[Tensor]:
        """Return the maps of the encoder, one cell for every stride of the image."""
        maps = self.encoder(F.pad(image, (self.offset, 0, self.offset, 0)))[-len(self.strides) :]
        # What lies in the margin goes, so that cell 0 begins where the image does.
        margins = [math.ceil(self.offset / stride) for stride in self.strides]
        return [map[:, :, margin:, margin:] for map, margin in zip(maps, margins, strict=True)]

    def _normalise(self, map: Tensor, stage: int) -> Tensor:
        if self.batch_norm:
            return map
        rows = map.permute(0, 2, 3, 1)
        last = isinstance(self.encoder, Swin) and stage == len(self.strides) - 1
        return (self.encoder.norm(rows) if last else F.layer_norm(rows, rows.shape[-1:])).permute(0, 3, 1, 2)


class Head(nn.Sequential):
    """Dropout of channels and one convolution: (N, C, h, w) to raw class maps (N, K, h, w)."""

    def __init__(self, channels: int, classes: int, kernel: int, dropout: float):
        # The bias of the paper's relatives: MCTformer's 3x3 convolution has one, SIPE's 1x1 has none.
        convolution = nn.Conv2d(channels, classes, kernel, padding=kernel // 2, bias=kernel > 1)
        super().__init__(nn.Dropout2d(dropout), convolution)


def _described(encoder: Any) -> tuple[list[int], list[int]]:
    """Return the channels and the strides of an encoder's four stages."""
    if isinstance(encoder, Swin):
        return encoder.channels, encoder.strides
    return list(encoder.out_channels[-4:]), [min(stride, encoder.output_stride) for stride in (4, 8, 16, 32)]


def _cornered(encoder: nn.Module) -> bool:
    """Whether every step of an encoder is centred on the first of the pixels that a cell stands for, not amid them.

    An odd kernel that is padded alike on both sides is; one as large as its stride (patches) is not.
    """
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    sides = [
        (_side(module.kernel_size), _side(module.padding))
        for module in encoder.modules()
        if isinstance(module, kinds) and _side(module.stride) > 1
    ]
    return bool(sides) and all(kernel == 2 * padding + 1 for kernel, padding in sides)


def _side(value: Any) -> int:
    return value if isinstance(value, int) else value[0]


def _encoder(name: str, output_stride: int | None, pretrained: str | None, args: dict[str, Any]) -> Any:
    if name.startswith("tu-swin_"):
        if output_stride not in (None, 32):
            raise ValueError(
                f"output_stride is {output_stride}, but {name} cannot be dilated, expected None: give larger images, "
                "or a smaller patch_size"
            )
        return swin(name, pretrained=pretrained, **args)
    if args and not name.startswith("tu-"):
        known("argument of swtformer", next(iter(args)), inspect.signature(swtformer).parameters)
    weights = encoder_weights(name, pretrained)
    if output_stride in (8, 16):
        return dilated_encoder(name, output_stride=output_stride, pretrained=pretrained, **args)
    from segmentation_models_pytorch.encoders import get_encoder  # takes seconds

    try:
        body: Any = download(lambda: get_encoder(name, weights=weights, **args), name, pretrained)
    except (TypeError, ValueError, KeyError, RuntimeError, NotImplementedError, AssertionError) as error:
        raise ValueError(
            f"encoder {name!r} with {args} cannot be built: {error or type(error).__name__}; "
            "choose one that has features at strides 4, 8, 16 and 32"
        ) from error
    if len(body.out_channels) < 6 or 0 in body.out_channels[-4:]:
        raise ValueError(
            f"encoder {name!r} has features of {body.out_channels} channels at strides 1, 2, 4, ..., expected some at "
            "4, 8, 16 and 32: choose another one"
        )
    return body
