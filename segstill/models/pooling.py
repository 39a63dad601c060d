"""A readable error where image pooling meets a training batch of one image."""

from typing import Any

from torch import Tensor, nn


def explain_single_images(net: nn.Module) -> None:
    """Make every global pooling that is followed by batch normalisation refuse a training batch of one, and say why.

    The normalisation sees one value per image and channel there, so that it has nothing to normalise with: torch
    refuses too, without naming a remedy.  Synchronised batch normalisation counts the images of all processes and is
    left alone.
    """
    for module in net.modules():
        first = next(module.children(), None)
        if isinstance(first, nn.AdaptiveAvgPool2d) and first.output_size in (1, (1, 1)):
            refuse_single_images(module)


def refuse_single_images(block: nn.Module) -> None:
    """Make a block that holds batch normalisation after image pooling refuse a training batch of one, and say why."""
    block.register_forward_pre_hook(_refuse_single_image)


def _refuse_single_image(block: nn.Module, given: tuple[Any, ...]) -> None:
    image: Tensor = given[0]
    if image.shape[0] > 1:
        return
    if any(isinstance(module, nn.BatchNorm2d) and module.training for module in block.modules()):
        raise ValueError(
            "given a training batch of 1 image, expected at least 2 per process: the batch normalisation after image "
            "pooling sees a single value per channel; use a larger batch size and drop the last, incomplete batch, "
            "or put the model in eval mode"
        )
