"""Encoders of segmentation_models_pytorch and timm: their names, their public weights, their dilation."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from .arguments import known

# smp and timm take seconds to import, so they are imported where they are first needed.

R = TypeVar("R")

# Output stride -> ResNet stage -> dilation.
_RESNET = {16: {"layer4": 2}, 8: {"layer3": 2, "layer4": 4}}
_MULTI_GRID = (1, 2, 4)
# Output stride -> (first, end, dilation) of MobileNetV2 blocks.  A group whose stride is removed still sees the map
# at the dilation of the group before it; only the next group has twice that.
_MOBILENET_V2 = {16: ((14, 17, 1), (17, 18, 2)), 8: ((7, 11, 1), (11, 14, 2), (14, 17, 2), (17, 18, 4))}


def encoder_weights(encoder: str, pretrained: str | None) -> str | bool | None:
    """Check an encoder's name, and return what smp must be given as its weights.

    Args:
        encoder: a name of smp ("resnet18"), or "tu-" and a name of timm ("tu-mobilenetv2_035").
        pretrained: "imagenet" for the public weights of the encoder, None for random ones.

    Raises:
        ValueError: an unknown encoder, or one that has no such weights.
    """
    import timm
    from segmentation_models_pytorch.encoders import encoders

    if encoder.startswith("tu-"):
        if not timm.is_model(encoder[3:]):
            known("encoder", encoder, [f"tu-{name}" for name in timm.list_models()])
        available = ["imagenet"] if timm.models.is_model_pretrained(encoder[3:]) else []
        weights: str | bool = True  # smp's way to say: the ones that the name stands for
    else:
        known("encoder", encoder, [*encoders, *(f"tu-{name}" for name in timm.list_models())])
        available = list(encoders[encoder]["pretrained_settings"])
        weights = pretrained or ""
    if pretrained is None:
        return None
    if pretrained not in available:
        raise ValueError(
            f"encoder {encoder!r} has no public weights {pretrained!r}, expected "
            + (f"one of {available} or None" if available else "None")
            + "; choose another encoder, or give a file of weights"
        )
    return weights


def download(build: Callable[[], R], encoder: str, pretrained: str | None) -> R:
    """Call `build`, which may download the weights of an encoder.

    Raises:
        ConnectionError: the download failed.
    """
    try:
        return build()
    except OSError as error:
        if pretrained is None:
            raise
        raise ConnectionError(
            f"could not download the {pretrained!r} weights of encoder {encoder!r}; "
            "check the connection, or give a file of weights"
        ) from error


def dilated_encoder(name: str, *, output_stride: int, pretrained: str | None = None, **args: Any) -> Any:
    """Build an encoder whose last feature has `output_stride` (8 or 16).

    ResNets and MobileNetV2 are dilated as the papers do it: bottleneck ResNets have multi-grid dilation 1, 2, 4 times
    that of the stage in stage 4, and MobileNetV2 ends with its 320-channel block.  Other encoders are dilated by smp
    or timm; `args` are further arguments of timm's.

    Raises:
        ValueError: an unknown encoder, one without such weights, or one that cannot be dilated.
    """
    from segmentation_models_pytorch.encoders import get_encoder
    from segmentation_models_pytorch.encoders.mobilenet import MobileNetV2Encoder
    from segmentation_models_pytorch.encoders.resnet import ResNetEncoder

    weights = encoder_weights(name, pretrained)
    kind = None if name.startswith("tu-") else _class_of(name)
    own = kind in (ResNetEncoder, MobileNetV2Encoder)

    def build() -> Any:
        return get_encoder(name, weights=weights, output_stride=32 if own else output_stride, **args)

    try:
        encoder: Any = download(build, name, pretrained)
    except (ValueError, TypeError, NotImplementedError, AssertionError) as error:
        reason = str(error) or "it is not made for dilation"
        raise ValueError(
            f"encoder {name!r} cannot have output stride {output_stride} ({reason}); choose another encoder, "
            "or the model 'smp' with an architecture that needs no dilation, such as Unet"
        ) from error
    if kind is ResNetEncoder:
        for stage, dilation in _RESNET[output_stride].items():
            blocks = list(getattr(encoder, stage))
            bottleneck = hasattr(blocks[0], "conv3")
            grid = _MULTI_GRID if bottleneck and stage == "layer4" else [1] * len(blocks)
            for block, factor in zip(blocks, grid, strict=True):
                dilate(block, dilation * factor)
    elif kind is MobileNetV2Encoder:
        encoder.features = encoder.features[:18]
        encoder._out_indexes[-1] = 17
        encoder._out_channels[-1] = 320
        for first, end, dilation in _MOBILENET_V2[output_stride]:
            dilate(encoder.features[first:end], dilation)
    encoder._output_stride = output_stride
    return encoder


def any_size(name: str) -> bool:
    """Whether an encoder takes images of every size, each stride-2 step giving half of it rounded up."""
    from segmentation_models_pytorch.encoders.mobilenet import MobileNetV2Encoder
    from segmentation_models_pytorch.encoders.resnet import ResNetEncoder

    return not name.startswith("tu-") and _class_of(name) in (ResNetEncoder, MobileNetV2Encoder)


def _class_of(name: str) -> Any:
    from segmentation_models_pytorch.encoders import encoders

    return encoders[name]["encoder"]


def dilate(part: nn.Module, dilation: int) -> None:
    """Take the strides out of `part`, and dilate its convolutions that look further than one pixel."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size != (1, 1):
                module.dilation = (dilation, dilation)
                module.padding = (dilation * (module.kernel_size[0] // 2), dilation * (module.kernel_size[1] // 2))
