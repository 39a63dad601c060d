"""What networks on the four stages of an encoder share: any encoder, any size, and nothing from beyond the image."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import filled
from .arguments import known
from .classifier import cells_inside
from .encoders import dilated_encoder, download, encoder_weights
from .swin import Swin, swin


class Stages(nn.Module):
    """An encoder whose four stages are read.

    Args:
        encoder: a `Swin`, or a pyramid of segmentation_models_pytorch.
    """

    def __init__(self, encoder: Any):
        super().__init__()
        self.encoder = encoder
        self.channels, self.strides = described(encoder)
        # Pixels by which the image is moved right and down for an encoder whose cells are centred on the first of the
        # pixels that they stand for, so that its maps do not lie half a cell off.
        self.offset = self.strides[-1] // 2 if _cornered(encoder) else 0
        self.batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())

    def read(self, image: Tensor, valid: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Return the four maps (N, C, h, w), zero outside the image, and which cells (N or 1, h, w) lie inside it.

        Args:
            image: (N, 3, H, W), normalised; H and W are multiples of the last stride.
            valid: (N or 1, H, W) bool, the pixels that are real; None: all.
        """
        real = torch.ones_like(image[:1, 0], dtype=torch.bool) if valid is None else valid
        cells = [cells_inside(real, stride) for stride in self.strides]
        if isinstance(self.encoder, Swin):
            return self.encoder(image, None if valid is None else cells), cells
        return [filled(map, inside) for map, inside in zip(self._pyramid(image), cells, strict=True)], cells

    def normalised(self, map: Tensor, stage: int, cells: Tensor) -> Tensor:
        """Layer-normalise the map of a stage (0 is the first) that no batch normalisation has scaled; zero outside."""
        if self.batch_norm:
            return filled(map, cells)
        rows = map.permute(0, 2, 3, 1)
        last = isinstance(self.encoder, Swin) and stage == len(self.strides) - 1
        rows = self.encoder.norm(rows) if last else F.layer_norm(rows, rows.shape[-1:])
        return filled(rows.permute(0, 3, 1, 2), cells)

    def _pyramid(self, image: Tensor) -> list[Tensor]:
        """Return the maps of the encoder, one cell for every stride of the image."""
        maps = self.encoder(F.pad(image, (self.offset, 0, self.offset, 0)))[-len(self.strides) :]
        # What lies in the margin goes, so that cell 0 begins where the image does.
        margins = [math.ceil(self.offset / stride) for stride in self.strides]
        return [map[:, :, margin:, margin:] for map, margin in zip(maps, margins, strict=True)]


def described(encoder: Any) -> tuple[list[int], list[int]]:
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


def staged_encoder(
    name: str, model: Callable[..., Any], output_stride: int | None, pretrained: str | None, args: dict[str, Any]
) -> Any:
    """Build an encoder with features at four strides.

    Args:
        name: a Swin of timm ("tu-swin_..."), or any name of segmentation_models_pytorch, or "tu-" and a name of timm.
        model: whose arguments are suggested where nobody takes one.
        output_stride: 8, 16 or 32, of the deepest feature of an encoder that can be dilated; None takes it as it is.
        pretrained: "imagenet" downloads the public weights.
        args: further arguments of timm's encoder.

    Raises:
        ValueError: an unknown encoder or argument, or one without features at four strides.
        ConnectionError: the public weights cannot be downloaded.
    """
    if name.startswith("tu-swin_"):
        if output_stride not in (None, 32):
            raise ValueError(
                f"output_stride is {output_stride}, but {name} cannot be dilated, expected None: give larger images, "
                "or a smaller patch_size"
            )
        return swin(name, pretrained=pretrained, **args)
    if args and not name.startswith("tu-"):
        known(f"argument of {model.__name__}", next(iter(args)), inspect.signature(model).parameters)
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
