"""Augments image and mask together: random scale, crop, flip and colour, all drawn from torch's global generator."""

from dataclasses import dataclass

import torch
from torch import Tensor
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

    def __post_init__(self) -> None:
        if len(self.crop) != 2 or min(self.crop) < 1:
            raise ValueError(f"crop is {self.crop}: pass a height and a width of at least 1 pixel as --data.crop")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {self.scale}: pass a low and a high factor above 0 as --data.scale")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is {self.flip}: pass a probability from 0 to 1 as --data.flip")
        if self.photometric < 0:
            raise ValueError(f"photometric is {self.photometric}: pass 0 (none) or more as --data.photometric")
        check_longest_side(self.longest_side)

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Augment one sample.

        Args:
            image: (3, H, W) uint8.
            mask: (H, W) uint8.

        Returns:
            (3, h, w) uint8 and (h, w) uint8 for a crop of h x w; padding is `FILL` and 255.
        """
        size = _shrunk(image, self.longest_side)
        image, mask = _resize(image, size), _resize_mask(mask, size)
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        cut = [min(side, max(1, round(crop / factor))) for side, crop in zip(size, self.crop, strict=True)]
        top, left = (_randint(side - part) for side, part in zip(size, cut, strict=True))
        image, mask = (part[..., top : top + cut[0], left : left + cut[1]] for part in (image, mask))
        size = [min(crop, max(1, round(part * factor))) for part, crop in zip(cut, self.crop, strict=True)]
        image, mask = _resize(image, size), _resize_mask(mask, size)
        if torch.rand(()).item() < self.flip:
            image, mask = F.horizontal_flip(image), F.horizontal_flip(mask)
        if self.photometric:
            image = _recolour(image, self.photometric)
        rows, columns = (crop - side for crop, side in zip(self.crop, size, strict=True))
        if not rows and not columns:
            return image, mask
        top, left = _randint(rows), _randint(columns)
        padding = [left, top, columns - left, rows - top]
        return F.pad(image, padding, fill=list(FILL)), F.pad(mask[None], padding, fill=[IGNORE])[0]


def augmentation(spec: DataSpec) -> Augment:
    """Return the augmentation that a recipe asks for; raises ValueError where a value is out of range."""
    return Augment(
        crop=spec.crop,
        scale=spec.scale,
        flip=spec.flip,
        photometric=spec.photometric,
        longest_side=spec.longest_side,
    )


def shrink(image: Tensor, longest_side: int | None) -> Tensor:
    """Shrink (3, H, W) uint8 so that no side is longer than `longest_side`; never enlarges."""
    return _resize(image, _shrunk(image, longest_side))


def check_longest_side(longest_side: int | None) -> None:
    """Raise ValueError unless `longest_side` is None or at least 1."""
    if longest_side is not None and longest_side < 1:
        raise ValueError(
            f"longest_side is {longest_side}: pass 1 pixel or more as --data.longest-side, or leave it out"
        )


def _shrunk(image: Tensor, longest_side: int | None) -> list[int]:
    sides = list(image.shape[1:])
    if longest_side is None or max(sides) <= longest_side:
        return sides
    return [max(1, round(side * longest_side / max(sides))) for side in sides]


def _resize(image: Tensor, size: list[int]) -> Tensor:
    if list(image.shape[-2:]) == size:
        return image
    return F.resize(image, size, F.InterpolationMode.BILINEAR, antialias=True)


def _resize_mask(mask: Tensor, size: list[int]) -> Tensor:
    return F.resize(mask[None], size, F.InterpolationMode.NEAREST_EXACT)[0]


def _randint(highest: int) -> int:
    return int(torch.randint(highest + 1, ()).item())


def _recolour(image: Tensor, strength: float) -> Tensor:
    jitter = v2.ColorJitter(0.4 * strength, 0.4 * strength, 0.4 * strength, min(0.5, 0.1 * strength))
    image = jitter(image)
    if torch.rand(()).item() < min(1.0, 0.3 * strength) and min(image.shape[1:]) > 2:  # the kernel reflects 2 pixels
        image = v2.GaussianBlur(5, (0.1, 0.1 + strength))(image)
    return image
