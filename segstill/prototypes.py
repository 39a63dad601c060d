"""The background-aware block: an image's own prototypes, background included, turn class maps into sharper ones.

Chen et al., Self-supervised Image-specific Prototype Exploration (SIPE), CVPR 2022 (arXiv:2203.02909).  That
SWTformer-V2 (Ahmadi and Kasaei, 2024, arXiv:2401.17828) does the same is inferred: no text of it at hand says how its
mechanism works.  Per image, with the class maps cam_c of the foreground classes c = 1..K, the fused features E, and
features s that say what is alike (E too, unless others are given):

    M_c = ReLU(cam_c) / (max_x ReLU(cam_c(x)) + 1e-5)        M_0 = 1 - max over c of M_c
    R(x, y) = ReLU(cos(s(x), s(y)))
    IoU_c(x) = I / (sum_y R(x, y) + sum_y M_c(y) - I)        I = sum_y R(x, y) M_c(y);  IoU_0 times a factor
    seed(x) = argmax_c IoU_c(x)                              a constant: no gradient
    p_c = mean over x of E(x) [seed(x) = c]                  prototypes
    A_c(x) = ReLU(cos(E(x), p_c))                            the image-specific class activation map, IS-CAM

All of it is matrix products: nothing is larger than the similarities of the cells of an image, (N, h * w, h * w).

Differs from the published code ("published" reproduces it): there cells outside the image are left out of M and of the
seeds only.  They count in the maximum of a class, in the sums over R, and A is not 0 there.  And there, classes that
the image does not have take part in M_0, and when masks are made in M (see `Untagged`).
"""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from .arithmetic import filled, in_float32, unit_length, valid_cells

Untagged = Literal["absent", "masked", "present"]
"""What the maps of classes that an image does not have do.

"absent": nothing.  "masked": they are 0 in M, yet background is what no class claims, these included, as SIPE trains.
"present": they stay in M, and a cell that one of them wins has no seed, as SIPE infers.  Every map is scaled to the
maximum 1, so that a weak one of an absent class can silence background.
"""
BACKGROUND_FACTOR = 0.5
"""Of SIPE."""
LEAST_MAXIMUM = 1e-5
"""Added to the maximum that a map is divided by: keeps a map without any response at 0."""


class BackgroundAware(NamedTuple):
    """What the block makes of a batch.  N images, K classes and background, which comes first, D channels."""

    maps: Tensor
    """(N, K + 1, h, w) in [0, 1]: M, the classifier's maps on the grid of the fused features."""
    seeds: Tensor
    """(N, K + 1, h, w) in {0, 1}, at most one 1 per cell; a constant.  A tagged class may have none."""
    prototypes: Tensor
    """(N, K + 1, D): sums over seeds divided by h * w, as only their direction matters; 0 without a seed."""
    is_cam: Tensor
    """(N, K + 1, h, w) in [0, 1]: A; 0 for a class without a seed."""


@in_float32
def background_aware(
    cam: Tensor,
    fused: Tensor,
    tags: Tensor,
    *,
    semantic: Tensor | None = None,
    valid: Tensor | None = None,
    background_factor: float = BACKGROUND_FACTOR,
    untagged: Untagged = "absent",
    variant: Literal["paper", "published"] = "paper",
) -> BackgroundAware:
    """Find seeds, prototypes and IS-CAM of every image.

    Gradients reach `cam` through `maps`, and `fused` through `prototypes` and `is_cam`.

    Args:
        cam: (N, K, ., .) raw class maps, brought to the grid of `fused` bilinearly (align_corners true) as M.
        fused: (N, D, h, w).
        tags: (N, K); class c + 1 is in an image whose column c is above 0.  Background is in every image.
        semantic: (N, C, ., .) what R compares; a constant, brought to the grid bilinearly (align_corners false).  None:
            `fused`.
        valid: (N, H, W) bool at any resolution, over the area that the maps cover: padding included.  A cell counts
            with the pixel nearest to its centre; the others have exactly no influence and get no seed.  None: all.
        background_factor: multiplies the IoU of background; lower gives it fewer seeds.
        untagged: see `Untagged`.
        variant: "published" lets cells that are not valid vote on seeds.

    Raises:
        ValueError: shapes that do not belong together, a factor of 0 or less, or an unknown variant.
    """
    semantic = fused if semantic is None else semantic
    _check(cam, fused, tags, semantic, valid, variant)
    if untagged not in get_args(Untagged):
        raise ValueError(f"untagged is {untagged!r}, expected one of {list(get_args(Untagged))}")
    check_background_factor(background_factor)
    cells = valid_cells(valid, fused)
    if untagged == "absent":
        cam = cam.masked_fill((tags <= 0)[:, :, None, None], 0)
    voting = valid if variant == "paper" else None
    cam, fused = (_without(given, voting) for given in (cam, fused))
    maps = _resized(with_background(normalised(cam)), fused, align_corners=True)
    tagged = F.pad(tags > 0, (1, 0), value=True)[:, :, None, None]
    maps = filled(maps if untagged == "present" else maps.masked_fill(~tagged, 0), cells)
    with torch.no_grad():
        semantic = _resized(_without(semantic, voting), fused, align_corners=False)
        iou = soft_iou(maps, _without(semantic, voting))  # once more: cells outside see their neighbours inside
        iou[:, 0] *= background_factor
        classes = torch.arange(maps.shape[1], device=maps.device).view(1, -1, 1, 1)
        seeds = filled((iou.argmax(dim=1, keepdim=True) == classes) & tagged, cells).to(fused.dtype)
    found = prototypes(fused, seeds)
    return BackgroundAware(maps, seeds, found, cosine_maps(fused, found))


@in_float32
def normalised(maps: Tensor) -> Tensor:
    """Return ReLU of (N, C, h, w), each map divided by its spatial maximum + 1e-5: in [0, 1], all 0 stays 0."""
    maps = maps.relu()
    return maps / (maps.amax(dim=(2, 3), keepdim=True) + LEAST_MAXIMUM)


def with_background(maps: Tensor) -> Tensor:
    """Put the map of background, which is what no class claims, before maps (N, C, h, w) in [0, 1]."""
    return torch.cat([1 - maps.amax(dim=1, keepdim=True), maps], dim=1)


@in_float32
def soft_iou(maps: Tensor, semantic: Tensor) -> Tensor:
    """Soft intersection over union of every map with the places that look like a cell.

    Args:
        maps: (N, C, h, w) >= 0.
        semantic: (N, D, h, w), compared by ReLU of the cosine.

    Returns:
        (N, C, h, w) in [0, 1] for maps in [0, 1]; 0 where map and feature are both 0.
    """
    directions, shares = unit_length(semantic, dim=1).flatten(2), maps.flatten(2)
    alike = torch.bmm(directions.mT, directions).relu_()
    both = torch.bmm(shares, alike)  # R is symmetric
    either = alike.sum(dim=1, keepdim=True) + shares.sum(dim=2, keepdim=True) - both
    return (both / torch.where(either > 0, either, 1)).view_as(maps)


@in_float32
def prototypes(features: Tensor, seeds: Tensor) -> Tensor:
    """Sum features (N, D, h, w) over the seeds (N, C, h, w) of every class, divided by h * w: (N, C, D)."""
    return torch.bmm(seeds.flatten(2), features.flatten(2).mT) / seeds[0, 0].numel()


@in_float32
def cosine_maps(features: Tensor, vectors: Tensor) -> Tensor:
    """Return ReLU of the cosine of features (N, D, h, w) with vectors (N, C, D): (N, C, h, w) in [0, 1].

    A zero vector gives 0 and finite gradients.
    """
    cosine = torch.bmm(unit_length(vectors, dim=2), unit_length(features, dim=1).flatten(2))
    return cosine.relu().clamp(max=1).unflatten(2, features.shape[2:])


def check_background_factor(factor: float) -> None:
    """Raise ValueError unless the factor is above 0."""
    if not factor > 0:
        raise ValueError(f"background_factor is {factor}, expected a number above 0: 0.5 is SIPE's, 1 favours no class")


def _without(maps: Tensor, valid: Tensor | None) -> Tensor:
    """The maps, 0 at cells that are not in `valid`."""
    return filled(maps, valid_cells(valid, maps))


def _resized(maps: Tensor, like: Tensor, *, align_corners: bool) -> Tensor:
    if maps.shape[2:] == like.shape[2:]:
        return maps
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=align_corners)


def _check(cam: Tensor, fused: Tensor, tags: Tensor, semantic: Tensor, valid: Tensor | None, variant: str) -> None:
    images = len(fused)
    if variant not in ("paper", "published"):
        raise ValueError(f"variant is {variant!r}, expected 'paper' or 'published'")
    if any(maps.ndim != 4 or len(maps) != images for maps in (cam, fused, semantic)):
        raise ValueError(
            f"cam is {tuple(cam.shape)}, fused {tuple(fused.shape)} and semantic {tuple(semantic.shape)}, expected "
            "(N, C, h, w) with the same N: features of the same images"
        )
    if tags.shape != cam.shape[:2]:
        raise ValueError(
            f"tags are {tuple(tags.shape)} and cam has {cam.shape[1]} maps for {images} images, expected "
            f"{tuple(cam.shape[:2])}: one column per class without background"
        )
    if valid is not None and (valid.dtype != torch.bool or valid.ndim != 3 or len(valid) != images):
        raise ValueError(f"valid is {valid.dtype} {tuple(valid.shape)}, expected bool ({images}, H, W)")
