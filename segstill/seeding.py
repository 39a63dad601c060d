"""Seed maps: what a classifier of image-level labels sees of each class, refined, and turned into masks.

Scales, mirroring and sums are those of SIPE (Chen et al., CVPR 2022, arXiv:2203.02909), which SWTformer-V2 is built on.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .arithmetic import resized
from .batch import IGNORE
from .models import AffinityNet, Classifier
from .prototypes import BACKGROUND_FACTOR, background_aware, normalised, with_background
from .recipe import Recipe, SeedSpec
from .seeds import feature_affinities, par, walk

FLOOR = 1e-5
"""Added to the maximum that a map is divided by."""


class Views(NamedTuple):
    """The maps of some images of one size, added up over scales and mirror images."""

    maps: Tensor
    """(N, K + 1, H, W) in [0, 1], background first; 0 for classes that the tags do not name."""
    fused: Tensor | None
    """(N, D, h, w) features of the first scale, for affinities; None of V1."""


def as_trained(recipe: Recipe | None, spec: SeedSpec) -> SeedSpec:
    """Return `spec` with the background factor of the recipe's losses, where it has none of its own."""
    if spec.background_factor is not None:
        return spec
    losses = [recipe.terms[name] for name in ("gsc", "ccl") if name in recipe.terms] if recipe else []
    factor = losses[0].args.get("background_factor", BACKGROUND_FACTOR) if losses else 1.0
    return replace(spec, background_factor=factor)


@torch.no_grad()
def class_maps(model: Classifier, image: Tensor, tags: Tensor, spec: SeedSpec) -> Views:
    """Return the class maps of images.

    Every view is scaled to multiples of the network's stride, so that none is padded.

    Args:
        model: a classifier in eval mode.
        image: (N, 3, H, W) uint8, or float in [0, 1].
        tags: (N, K) in {0, 1}.
        spec: scales, mirroring, background.
    """
    image = image if image.is_floating_point() else image.float() / 255
    size = (image.shape[2], image.shape[3])
    general = specific = torch.zeros((), device=image.device)
    features = None
    for scale in spec.scales:
        sides = [max(1, round(side * scale / model.stride)) * model.stride for side in size]
        view = F.interpolate(image, sides, mode="bilinear", align_corners=False, antialias=scale < 1)
        looks = [model.look(view)]
        if spec.flip:
            looks.append(model.look(view.flip(3)))
        cams = [look.cam.float() for look in looks]
        general = general + resized(_laid_over([cam.relu() for cam in cams]), size)
        if looks[0].fused is not None:
            factor = 1.0 if spec.background_factor is None else spec.background_factor
            fused = _laid_over([look.fused.float() for look in looks if look.fused is not None])
            aware = background_aware(_laid_over(cams), fused, tags, background_factor=factor)
            specific, features = specific + resized(aware.is_cam, size), fused if features is None else features
    named = tags.to(general)[:, :, None, None]
    general = normalised(general * named)
    if features is None:
        return Views(torch.cat([torch.full_like(general[:, :1], spec.threshold), general], dim=1), None)
    general = with_background(general)
    specific = normalised(specific * F.pad(named, (0, 0, 0, 0, 1, 0), value=1))
    maps = {"cam": general, "is-cam": specific, "both": (general + specific) / 2}[spec.source]
    return Views(maps, features)


def _laid_over(maps: list[Tensor]) -> Tensor:
    """Add the maps of the mirrored image, mirrored back, to those of the image."""
    return maps[0] + maps[1].flip(3) if len(maps) > 1 else maps[0]


@torch.no_grad()
def refined(image: Tensor, views: Views, spec: SeedSpec, affinity: AffinityNet | None = None) -> Tensor:
    """Return (N, K + 1, H, W) scores after the refinements; only classes that some image has are worked on.

    Args:
        image: (N, 3, H, W) uint8, or float in [0, 1].
        views: of these images.
        spec: which refinements.
        affinity: the random walk goes along its affinities; None: along the cosine of the fused features, of V2.

    Raises:
        ValueError: a random walk with neither.
    """
    maps = views.maps
    present = maps.amax(dim=(0, 2, 3)) > 0
    present[0] = True
    few = maps[:, present]
    for step in spec.refine:
        few = _by_pixels(image, few, spec) if step == "par" else _by_walk(image, few, views.fused, spec, affinity)
    return maps.new_zeros(maps.shape).index_copy_(1, present.nonzero()[:, 0], few)


def masks(scores: Tensor, band: float = 0.0) -> Tensor:
    """Return (N, H, W) uint8 class ids; 255 where the best class leads by less than `band` of the sum of all scores."""
    best = scores.topk(2, dim=1)
    ids = best.indices[:, 0].to(torch.uint8)
    lead = (best.values[:, 0] - best.values[:, 1]) / scores.sum(dim=1).clamp(min=FLOOR)
    return torch.where(lead < band, IGNORE, ids)


def _by_pixels(image: Tensor, maps: Tensor, spec: SeedSpec) -> Tensor:
    size = (maps.shape[2], maps.shape[3])
    shown = image if image.is_floating_point() else image.float() / 255
    if spec.half:
        small = [max(1, round(side / 2)) for side in size]
        shown = F.interpolate(shown, small, mode="bilinear", align_corners=False, antialias=True)
    smooth = par(shown, resized(maps, (shown.shape[2], shown.shape[3])), iterations=spec.iterations)
    return resized(smooth, size)


def _by_walk(image: Tensor, maps: Tensor, fused: Tensor | None, spec: SeedSpec, affinity: AffinityNet | None) -> Tensor:
    if affinity is not None:
        features = affinity(image).float()
        affinities = feature_affinities(features)
    elif fused is not None:
        features = fused
        affinities = feature_affinities(fused, similarity="cosine")
    else:
        raise ValueError(
            "the random walk goes along the fused features of V2, and this classifier is V1: refine by par, or give a "
            "network of affinities (segstill train *_affinity, then --affinity RUN)"
        )
    small = F.interpolate(maps, features.shape[2:], mode="bilinear", align_corners=False, antialias=True)
    spread = walk(small, affinities, beta=spec.beta, exp_times=spec.exp_times)
    highest = spread.amax(dim=(2, 3), keepdim=True)
    if fused is None:
        highest[:, 0] = 1  # the background of V1 is one score everywhere, which no walk changes
    spread = spread / (highest + FLOOR)
    return resized(spread, (maps.shape[2], maps.shape[3]))


def mask_of_size(scores: Tensor, size: tuple[int, int], band: float = 0.0) -> Tensor:
    """Return the (H, W) mask of an image of `size` from (K + 1, h, w) scores."""
    if scores.shape[1:] == size:
        return masks(scores[None], band)[0]
    present = scores.amax(dim=(1, 2)) > 0  # a photograph has millions of pixels: only the maps that it needs
    present[:2] = True
    labels = F.pad(present.nonzero()[:, 0], (0, IGNORE + 1 - int(present.sum())), value=IGNORE).to(torch.uint8)
    return labels[masks(resized(scores[None, present], size), band)[0].long()]
