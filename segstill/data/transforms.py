"""Augments image and mask together with torchvision.transforms.v2, drawn from torch's global generator."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from ..batch import IGNORE
from ..recipe import DataSpec

FILL = (124, 116, 104)
"""Colour of the padding: the mean of ImageNet, which becomes about zero in the normalisation of most networks."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random scale, crop, flip and colour.

    The crop is cut out before it is scaled, which gives the same pictures as the other order for less work.  The image
    is scaled bilinearly with antialiasing; the mask takes the nearest pixel by centres, so that both stay aligned (the
    plain "nearest" of torch is off by up to half a pixel).

    Raises:
        ValueError: an argument is out of range.
    """

    crop: tuple[int, int]
    """Height and width of the result; what the image does not fill is padded, at a random place."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest factor, uniformly drawn."""
    flip: float = 0.0
    """Probability of a horizontal flip."""
    photometric: float = 0.0
    """Strength of the colour jitter and blur; 0 is none, 1 is strong."""
    longest_side: int | None = None
    """Larger images are shrunk to this first."""
    short_side: int | None = None
    """Or all images are enlarged or shrunk to this first."""

    def __post_init__(self) -> None:
        if len(self.crop) != 2 or min(self.crop) < 1:
            raise ValueError(f"crop is {self.crop}: pass a height and a width of at least 1 pixel as --data.crop")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {self.scale}: pass a low and a high factor above 0 as --data.scale")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is {self.flip}: pass a probability from 0 to 1 as --data.flip")
        if self.photometric < 0:
            raise ValueError(f"photometric is {self.photometric}: pass 0 (none) or more as --data.photometric")
        check_sides(self.longest_side, self.short_side)

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Augment one sample.

        Args:
            image: (3, H, W) uint8.
            mask: (H, W) uint8.

        Returns:
            (3, h, w) uint8 and (h, w) uint8 for a crop of h x w; padding is `FILL` and 255.
        """
        drawn, label = self._together(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return drawn.as_subclass(Tensor), label.as_subclass(Tensor)

    @cached_property
    def _together(self) -> v2.Transform:
        steps = [ScaledCrop(self), v2.RandomHorizontalFlip(self.flip)]
        if strength := self.photometric:
            steps.append(v2.ColorJitter(0.4 * strength, 0.4 * strength, 0.4 * strength, min(0.5, 0.1 * strength)))
            steps.append(v2.RandomApply([Blur(5, (0.1, 0.1 + strength))], min(1.0, 0.3 * strength)))
        return v2.Compose([*steps, PadTo(self.crop)])


class ScaledCrop(v2.Transform):
    """Cut a random part out that fills the crop once it is scaled, and scale it; smaller images stay whole."""

    def __init__(self, augment: Augment):
        super().__init__()
        self.augment = augment

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor and the place."""
        size, crop = _shrunk(F.get_size(flat_inputs[0]), self.augment.longest_side), self.augment.crop
        low, high = self.augment.scale
        factor = low + (high - low) * torch.rand(()).item()
        if self.augment.short_side is not None:
            factor *= self.augment.short_side / min(size)  # at once, so that pixels are interpolated only once
        cut = [min(side, max(1, round(whole / factor))) for side, whole in zip(size, crop, strict=True)]
        top, left = (_randint(side - part) for side, part in zip(size, cut, strict=True))
        scaled = [min(whole, max(1, round(part * factor))) for part, whole in zip(cut, crop, strict=True)]
        return {"size": size, "cut": (top, left, *cut), "scaled": scaled}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Shrink, cut and scale an image or a mask."""
        return _resize(F.crop(_resize(inpt, params["size"]), *params["cut"]), params["scaled"])


class Blur(v2.GaussianBlur):
    """Gaussian blur that leaves images alone which are too small for its kernel (it reflects 2 pixels)."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Blur an image; masks stay as they are."""
        return super().transform(inpt, params) if min(F.get_size(inpt)) > 2 else inpt


class PadTo(v2.Transform):
    """Pad to a size, with the image at a random place."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the place."""
        rows, columns = (whole - side for whole, side in zip(self.size, F.get_size(flat_inputs[0]), strict=True))
        top, left = (_randint(rows), _randint(columns)) if rows or columns else (0, 0)
        return {"padding": [left, top, columns - left, rows - top]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Pad an image with `FILL`, a mask with 255."""
        fill: Any = IGNORE if isinstance(inpt, tv_tensors.Mask) else list(FILL)
        return F.pad(inpt, params["padding"], fill=fill)


def augmentation(spec: DataSpec) -> Augment:
    """Return the augmentation that a recipe asks for; raises ValueError where a value is out of range."""
    return Augment(
        crop=spec.crop,
        scale=spec.scale,
        flip=spec.flip,
        photometric=spec.photometric,
        longest_side=spec.longest_side,
        short_side=spec.short_side,
    )


def shrink(image: Tensor, longest_side: int | None, short_side: int | None = None) -> Tensor:
    """Resize (3, H, W) uint8 for prediction.

    Args:
        image: the image.
        longest_side: shrink it until no side is longer; never enlarges.
        short_side: or enlarge or shrink it until its short side is this.
    """
    height, width = image.shape[1:]
    if short_side is None:
        return _resize(image, _shrunk([height, width], longest_side))
    return _resize(image, [max(1, round(side * short_side / min(height, width))) for side in (height, width)])


def check_sides(longest_side: int | None, short_side: int | None) -> None:
    """Raise ValueError unless at most one of them is given, and is at least 1."""
    for name, side in (("longest_side", longest_side), ("short_side", short_side)):
        if side is not None and side < 1:
            flag = f"--data.{name.replace('_', '-')}"
            raise ValueError(f"{name} is {side}: pass 1 pixel or more as {flag}, or leave it out")
    if longest_side is not None and short_side is not None:
        raise ValueError(
            f"longest_side is {longest_side} and short_side {short_side}: pass one of --data.longest-side and"
            " --data.short-side"
        )


def _shrunk(sides: list[int], longest_side: int | None) -> list[int]:
    if longest_side is None or max(sides) <= longest_side:
        return sides
    return [max(1, round(side * longest_side / max(sides))) for side in sides]


def _resize(inpt: Tensor, size: list[int]) -> Tensor:
    """Resize an image (3, H, W), or a mask (H, W) that is marked as one."""
    if list(inpt.shape[-2:]) == size:
        return inpt
    if not isinstance(inpt, tv_tensors.Mask):
        return F.resize(inpt, size, F.InterpolationMode.BILINEAR, antialias=True)
    plain = inpt.as_subclass(Tensor)[None]  # torchvision's own kernel for masks takes the plain "nearest"
    return tv_tensors.Mask(F.resize(plain, size, F.InterpolationMode.NEAREST_EXACT)[0])


def _randint(highest: int) -> int:
    return int(torch.randint(highest + 1, ()).item())
