"""Seed maps: what a classifier of image-level labels sees of each class, refined and written as masks.

    segstill seeds RUN --out masks --refine par

Scales, mirroring and sums are those of SIPE (Chen et al., CVPR 2022, arXiv:2203.02909), which SWTformer-V2 is built on.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .batch import IGNORE
from .checkpoint import save_tensors, write
from .data.dataset import SegmentationDataset
from .data.evaluation import by_size
from .data.pictures import FileError, png
from .data.transforms import shrink
from .models import AffinityNet, Classifier
from .prototypes import background_aware, normalised, with_background
from .recipe import SeedSpec
from .run import interruption
from .seeds import feature_affinities, par, walk

FLOOR = 1e-5
"""Added to the maximum that a map is divided by."""


class Views(NamedTuple):
    """The maps of some images of one size, added up over scales and mirror images."""

    maps: Tensor
    """(N, K + 1, H, W) in [0, 1], background first; 0 for classes that the tags do not name."""
    fused: Tensor | None
    """(N, D, h, w) features of the first scale, for affinities; None of V1."""


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
        general = general + _enlarged(_laid_over([cam.relu() for cam in cams]), size)
        if looks[0].fused is not None:
            fused = _laid_over([look.fused.float() for look in looks if look.fused is not None])
            aware = background_aware(_laid_over(cams), fused, tags, background_factor=spec.background_factor)
            specific, features = specific + _enlarged(aware.is_cam, size), fused if features is None else features
    named = tags.to(general)[:, :, None, None]
    general = normalised(general * named)
    if features is None:
        return Views(torch.cat([torch.full_like(general[:, :1], spec.threshold), general], dim=1), None)
    general = with_background(general)
    specific = normalised(specific * F.pad(named, (0, 0, 0, 0, 1, 0), value=1))
    maps = {"cam": general, "is-cam": specific, "both": (general + specific) / 2}[spec.source]
    return Views(maps, features)


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


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
    smooth = par(shown, _enlarged(maps, (shown.shape[2], shown.shape[3])), iterations=spec.iterations)
    return _enlarged(smooth, size)


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
    return _enlarged(spread, (maps.shape[2], maps.shape[3]))


@dataclass
class Written:
    """What a job wrote and what it left out."""

    masks: int = 0
    there_already: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def write_seeds(
    model: Classifier,
    dataset: SegmentationDataset,
    out: Path,
    spec: SeedSpec,
    *,
    affinity: AffinityNet | None = None,
    about: dict[str, Any] | None = None,
    batch: int = 8,
    soft: bool = False,
    longest_side: int | None = None,
    short_side: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write a palette PNG per image into `out`, and seeds.json, which says how they were made.

    What is there already is not made again.  A file that cannot be read is left out and listed; the others go on.

    Args:
        model: a classifier; it is moved nowhere and left in eval mode.
        dataset: images with tags; no mask is read.
        out: the folder.
        spec: how.
        affinity: see `refined`.
        about: goes into seeds.json.
        batch: images of one size that are looked at together.
        soft: write the scores too, as fp16 safetensors, of the size that was looked at.
        longest_side: images are shrunk to it, as for training; masks have the size of the image all the same.
        short_side: or they are resized to it.
        progress: is told how many of how many are done.

    Raises:
        ValueError: `out` holds masks that were made in another way.
        KeyboardInterrupt: interrupted; the same call continues.
    """
    # As it will be read back: tuples become lists.
    made = json.loads(json.dumps({"classes": dataset.classes, **asdict(spec), **(about or {})}))
    _same_way(out, made)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "seeds.json", json.dumps(made, indent=2))
    written = Written()
    device = next(model.parameters()).device
    model.eval()
    began = time.perf_counter()
    with interruption() as interrupted:
        for found, full in by_size(_unmade(dataset, out, soft, written), batch):
            indices, size = [index for index, _ in found], (full.shape[2], full.shape[3])
            image = torch.stack([shrink(each, longest_side, short_side) for each in full]).to(device)
            tags = torch.stack([tags for _, tags in found]).to(device)
            scores = refined(image, class_maps(model, image, tags, spec), spec, affinity)
            for place, index in enumerate(indices):
                name = dataset.name(index)
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                if soft:
                    save_tensors(out / f"{name}.safetensors", {"maps": scores[place].half().cpu()})
                ids = _of_size(scores[place], size, spec.band).cpu()
                write(out / f"{name}.png", png(ids, dataset.palette))
            written.masks += len(indices)
            progress(written.masks + written.there_already + len(written.left_out), len(dataset))
            if interrupted.is_set():
                raise KeyboardInterrupt(f"stopped after {written.masks} masks: the same command continues")
    written.seconds = time.perf_counter() - began
    write(out / "seeds.json", json.dumps(made | {"left_out": written.left_out}, indent=2))
    return written


def _of_size(scores: Tensor, size: tuple[int, int], band: float) -> Tensor:
    """Return the (H, W) mask of an image of `size` from (K + 1, h, w) scores."""
    if scores.shape[1:] == size:
        return masks(scores[None], band)[0]
    present = scores.amax(dim=(1, 2)) > 0  # a photograph has millions of pixels: only the maps that it needs
    present[:2] = True
    labels = F.pad(present.nonzero()[:, 0], (0, IGNORE + 1 - int(present.sum())), value=IGNORE).to(torch.uint8)
    return labels[masks(_enlarged(scores[None, present], size), band)[0].long()]


def _same_way(out: Path, made: dict[str, Any]) -> None:
    file = out / "seeds.json"
    if not file.is_file():
        if out.is_dir() and any(out.glob("*.png")):
            raise ValueError(f"{out} holds pictures and no seeds.json: choose an empty folder with --out")
        return
    # Folders of earlier versions do not name what they had no choice about.
    before = json.loads(json.dumps(asdict(SeedSpec()))) | json.loads(file.read_text())
    if other := [name for name in made if before.get(name) != made[name]]:
        told = "; ".join(f"{name}: {before.get(name)} there, {made[name]} now" for name in other)
        raise ValueError(f"{out} holds masks that were made in another way ({told}): choose another --out")


def _unmade(
    dataset: SegmentationDataset, out: Path, soft: bool, written: Written
) -> Iterator[tuple[tuple[int, Tensor], Tensor]]:
    """Yield the number and the tags, and the image, of each that has no mask yet."""
    for index in range(len(dataset)):
        name = dataset.name(index)
        if (out / f"{name}.png").is_file() and (not soft or (out / f"{name}.safetensors").is_file()):
            written.there_already += 1
            continue
        try:
            image, tags = dataset[index][0], dataset.tags(index)
        except (FileError, OSError) as error:
            written.left_out[name] = str(error)
            continue
        if tags is None:
            written.left_out[name] = "has no tags: nothing says what to look for in it"
            continue
        yield (index, tags), image
