"""Networks that answer with tags: one score per image and class, pooled from maps that say where each class is."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arithmetic import filled
from .segmenter import Segmenter


class Looked(NamedTuple):
    """What a classifier sees in a batch.  The maps cover the padded images (see `Classifier.padded_size`)."""

    scores: Tensor
    """(N, K) class scores (logits) of the foreground classes."""
    cam: Tensor
    """(N, K, h, w) raw class maps, of which the scores are the pooled values."""
    fused: Tensor | None
    """(N, D, h', w') fused features, zero outside the image; None where the network has none."""
    encoder: Tensor
    """(N, C, h, w) deepest feature, normalised, zero outside the image."""
    cells: Tensor
    """(N, h', w') bool: the cells of the fused feature that lie inside the image; those of `cam` without one."""


class Classifier(Segmenter):
    """A network whose scores are tags: K foreground classes, without background, which every image has.

    The image is normalised, set to zero where it is not valid, padded with zeros at the right and at the bottom to a
    multiple of the stride, and run.

    Args:
        net: maps a normalised image (N, 3, H, W) and the pixels that are real, (N or 1, H, W) bool or None for all of
            them, to `Looked`.
        classes: with background, as in the class list: K + 1.
        others: those of `Segmenter`, without `size`.
    """

    predicts = "tags"

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (N, K) scores of `image` (N, 3, H, W), uint8 in [0, 255] or float in [0, 1].

        Args:
            image: (N, 3, H, W).
            valid: (N, H, W) bool, the real pixels of padded images; the others may hold anything.

        Raises:
            ValueError: `valid` has another shape.
        """
        return self.look(image, valid).scores

    def look(self, image: Tensor, valid: Tensor | None = None) -> Looked:
        """Return scores and maps; takes what `forward` takes."""
        size = image.shape[2:]
        if valid is not None and valid.shape != (len(image), *size):
            raise ValueError(
                f"valid has shape {tuple(valid.shape)} and the image {tuple(image.shape)}, expected "
                f"{(len(image), *size)}: one value per pixel"
            )
        image = self.normalised(image)
        rows, columns = (new - old for new, old in zip(self.padded_size(*size), size, strict=True))
        if valid is not None:
            image = filled(image, valid.bool())
        elif rows or columns:
            valid = torch.ones(1, *size, dtype=torch.bool, device=image.device)
        if valid is not None:
            valid = F.pad(valid.float(), (0, columns, 0, rows)) > 0
        return self.net(F.pad(image, (0, columns, 0, rows)), valid)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that the maps of an image of this size cover."""
        return math.ceil(height / self.stride) * self.stride, math.ceil(width / self.stride) * self.stride


def cells_inside(valid: Tensor, stride: int) -> Tensor:
    """Return (N, h, w) bool: the cells of `stride` pixels that hold at least one of the valid pixels (N, H, W)."""
    return F.max_pool2d(valid[:, None].float(), stride, ceil_mode=True)[:, 0] > 0


def gap(cam: Tensor, cells: Tensor) -> Tensor:
    """Return (N, K): the mean of class maps (N, K, h, w) over `cells` (N, h, w) bool; 0 for an image without any.

    Global average pooling (Zhou et al., CVPR 2016, arXiv 1512.04150).
    """
    return filled(cam, cells).sum(dim=(2, 3)) / cells.sum(dim=(1, 2)).clamp(min=1)[:, None]


def gmp(cam: Tensor, cells: Tensor) -> Tensor:
    """Return (N, K): the maximum over the cells, as `gap` takes them."""
    highest = filled(cam, cells, -torch.inf).amax(dim=(2, 3))
    return torch.where(cells.flatten(1).any(dim=1)[:, None], highest, 0.0)


def gwrp(cam: Tensor, cells: Tensor, *, decay: float = 0.996) -> Tensor:
    """Return (N, K): the mean over the cells, as `gap` takes them, where the cell of rank r weighs decay^r.

    Global weighted rank pooling (Kolesnikov and Lampert, ECCV 2016, arXiv 1603.06098).
    """
    ranked, inside = _ranked(cam, cells)
    weights = inside * decay ** torch.arange(ranked.shape[2], device=cam.device)
    return (ranked * weights).sum(dim=2) / weights.sum(dim=2).clamp(min=1)


def top_k(cam: Tensor, cells: Tensor, *, share: float = 0.1) -> Tensor:
    """Return (N, K): the mean over the highest cells, `share` of those inside the image and at least one."""
    ranked, inside = _ranked(cam, cells)
    count = (inside.sum(dim=2, keepdim=True) * share).ceil().clamp(min=1)
    best = torch.arange(ranked.shape[2], device=cam.device) < count
    return torch.where(best, ranked, 0.0).sum(dim=2) / count[:, :, 0]


def _ranked(cam: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, K, cells) values from high to low, 0 after the last that is inside, and (N, 1, cells) which are."""
    values = filled(cam, cells, -torch.inf).flatten(2).sort(dim=2, descending=True).values
    inside = cells.flatten(1).sort(dim=1, descending=True).values[:, None]
    return torch.where(inside, values, 0.0), inside


POOLINGS: dict[str, Callable[..., Tensor]] = {"gap": gap, "gmp": gmp, "gwrp": gwrp, "top_k": top_k}
