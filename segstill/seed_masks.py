"""Seeds as files: the classifier that makes them, their contact sheet, and their scores where there are true masks."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from .batch import IGNORE
from .build import Saved, load
from .checkpoint import write
from .data.dataset import SegmentationDataset
from .data.pictures import read_mask
from .evaluate import find_devices
from .metrics import Scores
from .models import AffinityNet, Classifier
from .recipe import SeedSpec
from .report.sheet import contact_sheet


def load_classifier(path: Path) -> tuple[Saved, Classifier]:
    """Load a classifier: of a run its last checkpoint, because its best is the best at telling tags, not places."""
    saved = load(path / "last.safetensors" if (path / "last.safetensors").is_file() else path)
    if not isinstance(saved.model, Classifier):
        raise ValueError(
            f"{saved.file} holds a network that predicts masks, expected a classifier of image-level labels: train one "
            "(segstill train voc_weak_v2), or score this one without --seeds"
        )
    return saved, saved.model


def load_affinity(path: Path | None, spec: SeedSpec) -> AffinityNet | None:
    """Load a network of affinities for the random walk of `spec`; None where none is given."""
    if path is None:
        return None
    saved = load(path)
    if not isinstance(saved.model, AffinityNet):
        raise ValueError(
            f"{saved.file} holds a network that predicts {saved.model.predicts}, expected one of affinities: train one "
            "(segstill train voc_small_affinity)"
        )
    if "random-walk" not in spec.refine:
        raise ValueError(f"--affinity {path} is for the random walk: add --refine random-walk, or leave it out")
    return saved.model.to(find_devices().device)


def same_classes(saved: Saved, classes: tuple[str, ...]) -> None:
    """Raise ValueError unless the data has the classes that the classifier was trained on."""
    if saved.classes != classes:
        only = sorted(set(saved.classes) ^ set(classes))
        raise ValueError(
            f"the classifier {saved.file} knows {len(saved.classes)} classes, the data {len(classes)}, and "
            f"{only or 'their order'} differ: give the data that it was trained on"
        )


def write_sheet(dataset: SegmentationDataset, folder: Path, count: int) -> None:
    """Draw masks over `count` images spread over the data set, as overlays.jpg beside the masks."""
    made = [index for index in range(len(dataset)) if (folder / f"{dataset.name(index)}.png").is_file()]
    chosen = [made[place * len(made) // min(count, len(made))] for place in range(min(count, len(made)))]
    if not chosen:
        return
    images = [dataset[index][0].permute(1, 2, 0).numpy() for index in chosen]
    names = [dataset.name(index) for index in chosen]
    masks = [read_mask(folder / f"{name}.png", dataset.classes).numpy() for name in names]
    write(folder / "overlays.jpg", contact_sheet(images, masks, names, dataset.palette))


def score_masks(folder: Path, truth: SegmentationDataset, but: Collection[str] = ()) -> dict[str, Any]:
    """Score a folder of masks on those of its images that have true ones.

    Args:
        folder: holds `<name>.png`.
        truth: images with true masks.
        but: names of images to leave out.

    Returns:
        As `Scores.result`, and the share of `open_pixels` and the number of `images`.

    Raises:
        ValueError: no image has both.
    """
    scores = Scores(len(truth.classes), boundary=False)
    images, pixels, open_pixels = 0, 0, 0
    for index in range(len(truth)):
        file = folder / f"{truth.name(index)}.png"
        if truth.name(index) in but or not file.is_file():
            continue
        mask = truth[index][1]
        made = read_mask(file, truth.classes)
        if mask is None:
            continue
        # What a mask leaves open is wrong in no class: it is compared where it says something.
        mask = torch.where(made == IGNORE, IGNORE, mask)
        scores.update(made[None], mask[None])
        images, pixels = images + 1, pixels + made.numel()
        open_pixels += int((made == IGNORE).sum())
    if not images:
        raise ValueError(
            f"none of the {len(truth)} images with true masks has one in {folder}: choose the list that they were made "
            "for (--data.args.train LIST)"
        )
    return {**scores.result(truth.classes), "open_pixels": open_pixels / pixels, "images": images}
