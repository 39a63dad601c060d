"""How well the maps of a classifier find what the tags name: on images with masks, which are only compared with.

segstill evaluate RUN --seeds --data.args.train train
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .arithmetic import resized
from .batch import IGNORE
from .data.dataset import SegmentationDataset
from .data.transforms import shrink
from .metrics import Scores
from .models import AffinityNet, Classifier
from .seeding import SeedSpec, class_maps, mask_of_size, masks, refined
from .seeds import Sweep

BOX_SHARE = 0.5
"""A map's box is around its pixels of at least this share of its maximum."""


class Places:
    """The pointing game and boxes, per pair of an image and a class that it has."""

    def __init__(self) -> None:
        self.pairs = self.pointed = self.boxed = 0

    def update(self, maps: Tensor, truth: Tensor) -> None:
        """Count one image.

        Args:
            maps: (K + 1, H, W), background first.
            truth: (H, W) class ids.
        """
        for label in truth.unique().tolist():
            if label in (0, IGNORE) or not maps[label].any():
                continue
            inside = truth == label
            self.pairs += 1
            self.pointed += bool(inside.flatten()[maps[label].argmax()])
            self.boxed += _overlap(_box(maps[label] >= BOX_SHARE * maps[label].amax()), _box(inside)) >= 0.5

    def result(self) -> dict[str, float]:
        """Return shares of the pairs, in [0, 1].

        `pointing_game`: the maximum of the class's map is a pixel of the class.  `box_localisation`: the box around the
        map's pixels of half its maximum and that around all pixels of the class have an IoU of at least 0.5.
        """
        pairs = max(self.pairs, 1)
        return {"pointing_game": self.pointed / pairs, "box_localisation": self.boxed / pairs}


@torch.no_grad()
def evaluate_seeds(
    model: Classifier,
    tagged: SegmentationDataset,
    labelled: SegmentationDataset,
    spec: SeedSpec,
    *,
    affinity: AffinityNet | None = None,
    longest_side: int | None = None,
    short_side: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    each: Callable[[int, Tensor], None] = lambda index, mask: None,
) -> dict[str, Any]:
    """Score the seeds of a classifier; it is left in eval mode.

    Args:
        model: the classifier.
        tagged: images with tags, which say what is looked for.
        labelled: the same images by name with masks; images that only one of both has are left out.
        spec: how seeds are made.
        affinity: see `segstill.seeding.refined`.
        longest_side: images are shrunk to it, as for training; masks are scored at the size of the image all the same.
        short_side: or they are resized to it.
        progress: is told how many of how many images are done.
        each: is given the number of an image in `tagged`, and its (H, W) mask.

    Returns:
        Shares in [0, 1].  `seed_miou`: of the masks that `spec` gives, refinements included, with `seed_precision` and
        `seed_recall`, means over the classes but background (of those that masks name, and that are true somewhere),
        and `per_class_iou`.  `fixed_miou`: of the maps before
        refinement, with the background's own map (V2), or with the threshold of `spec` (V1).  `label_free_miou` and
        `oracle_miou`: with a threshold that is chosen from the maps alone, and with the best of 60, which is tuned on
        the masks that are scored; for V2, they ignore its map of the background.  Further `Places.result`, `images`
        and `seconds_per_image`.

    Raises:
        ValueError: no image is in both.
    """
    device = next(model.parameters()).device
    model.eval()
    masked = {labelled.name(index): index for index in range(len(labelled))}
    both = [(index, masked[name]) for index in range(len(tagged)) if (name := tagged.name(index)) in masked]
    if not both:
        raise ValueError(
            f"none of the {len(tagged)} tagged and the {len(labelled)} labelled images is in both lists: choose a "
            "split whose images have masks"
        )
    classes = len(tagged.classes)
    final, before = Scores(classes, boundary=False), Scores(classes, boundary=False)
    sweep, places = Sweep(classes), Places()
    seconds, scored = 0.0, 0
    for done, (index, other) in enumerate(both, start=1):
        full, truth = tagged[index][0], labelled[other][1]
        tags = tagged.tags(index)
        if tags is None or truth is None:
            continue
        began, size = time.perf_counter(), (full.shape[1], full.shape[2])
        image = shrink(full, longest_side, short_side)[None].to(device)
        views = class_maps(model, image, tags[None].to(device), spec)
        ids = mask_of_size(refined(image, views, spec, affinity)[0], size).cpu()[None]
        seconds += time.perf_counter() - began
        scored += 1
        each(index, ids[0])
        maps = resized(views.maps, size).cpu()
        final.update(ids, truth[None])
        before.update(masks(maps), truth[None])
        sweep.update(maps[0, 1:], tags, truth)
        places.update(maps[0], truth)
        progress(done, len(both))
    scores, curve = final.result(tagged.classes), sweep.result()
    confusion = final.state()[: classes**2].view(classes, classes)
    right = confusion.diagonal()[1:]
    return {
        "seed_miou": scores["miou"],
        "seed_precision": float((right / confusion.sum(0)[1:]).nanmean()),
        "seed_recall": float((right / confusion.sum(1)[1:]).nanmean()),
        "fixed_miou": before.result(tagged.classes)["miou"],
        "label_free_miou": curve.label_free().miou,
        "label_free_threshold": curve.label_free().threshold,
        "oracle_miou": curve.oracle().miou,
        "oracle_threshold": curve.oracle().threshold,
        **places.result(),
        "images": scored,
        "seconds_per_image": seconds / max(1, scored),
        "per_class_iou": scores["per_class_iou"],
    }


def _box(inside: Tensor) -> tuple[int, int, int, int]:
    rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """IoU of two boxes (top, bottom, left, right)."""
    height = min(one[1], other[1]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[2], other[2])
    both = max(height, 0) * max(width, 0)
    return both / (sum((box[1] - box[0]) * (box[3] - box[2]) for box in (one, other)) - both)
