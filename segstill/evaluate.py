"""Score a network on a data set: every image once, at the label's full resolution, one confusion matrix for the set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from .data import evaluation_loader, open_dataset, tag_loader
from .data.dataset import SegmentationDataset
from .metrics import Scores, average_precision
from .recipe import DataSpec


def find_devices() -> Accelerator:
    """Return what torchrun or accelerate started this process with, else the best device there is."""
    return Accelerator(cpu=not torch.accelerator.is_available())  # without the hint it overlooks processes on CPUs


@torch.no_grad()
def predict(
    model: nn.Module,
    image: Tensor,
    size: tuple[int, int],
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Tensor:
    """Return class scores at a given size: logits, or mean probabilities when there are several views of the image.

    Args:
        model: maps images to logits; used in the mode it is in.
        image: (N, 3, h, w), uint8 or float in [0, 1].
        size: H and W of the result.
        scales: factors by which the image is enlarged; their probabilities are averaged.
        flip: average with the mirrored image too.

    Returns:
        (N, K, H, W).
    """
    if tuple(scales) == (1.0,) and not flip:
        return _resize(model(image).float(), size)
    total = torch.zeros(())
    for scale in scales:
        view = image if image.is_floating_point() else image.float() / 255
        if scale != 1:
            view = _resize(view, (round(image.shape[2] * scale), round(image.shape[3] * scale)))
        for mirrored in (False, True) if flip else (False,):
            logits = model(view.flip(3) if mirrored else view).float()
            probabilities = _resize(logits.flip(3) if mirrored else logits, size).softmax(1)
            total = total.to(probabilities) + probabilities
    return total / (len(scales) * (2 if flip else 1))


def evaluate(
    student: nn.Module,
    dataset: SegmentationDataset,
    *,
    longest_side: int | None = None,
    short_side: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    teacher: nn.Module | None = None,
    boundary: bool = True,
    workers: int = 0,
    accelerator: Accelerator | None = None,
    each: Callable[[int, Tensor], None] | None = None,
) -> dict[str, Any]:
    """Score a network; it is left in eval mode.

    Args:
        student: maps images to logits.
        dataset: images with masks.
        longest_side: images are shrunk to it before they are predicted; predictions are resized to the label again.
        short_side: or images are resized to it, up or down.
        scales: as for `predict`.
        flip: as for `predict`.
        teacher: adds `teacher_agreement`, the share of labelled pixels where both predict the same class.
        boundary: adds `boundary_f1`, which costs more than all other scores together; not where masks are `rimmed`.
        workers: processes that read images.
        accelerator: spreads the images over its processes; all get the scores of the whole set.
        each: is told of every image of this process: its number, and its confusion matrix (K, K) as `Scores` counts it.

    Returns:
        Fractions in [0, 1]; see `Scores.result`.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(
            f"scales are {tuple(scales)}, expected factors above 0: pass for example --scales 0.75 1.0 1.25"
        )
    accelerator = accelerator or find_devices()
    device = accelerator.device
    for model in (student, teacher) if teacher else (student,):
        model.eval().to(device)
    scores = Scores(len(dataset.classes), boundary=boundary and not dataset.rimmed)
    loader = evaluation_loader(
        dataset,
        longest_side=longest_side,
        short_side=short_side,
        workers=workers,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    for sample in loader:
        image, mask = sample["image"].to(device), sample["mask"].to(device)
        size = (mask.shape[1], mask.shape[2])
        prediction = predict(student, image, size, scales=scales, flip=flip).argmax(1)
        theirs = predict(teacher, image, size, scales=scales, flip=flip).argmax(1) if teacher else None
        before = scores.confusion if each else None
        scores.update(prediction, mask, theirs)
        if each and before is not None:
            each(sample["index"], scores.confusion - before)
    summed: Any = accelerator.reduce(scores.state().to(device), "sum")
    scores.load(summed)
    return scores.result(dataset.classes)


HEADLINES = {"miou": "mIoU", "class_wise_map": "class-wise mAP", "pair_auc": "AUC of pairs"}
"""The score that says most, by its name in the results, and what to call it."""


def main_score(scores: Mapping[str, Any]) -> float:
    """Return the score that says most: mIoU of masks, class-wise mAP of tags, AUC of affinities."""
    return next(scores[name] for name in HEADLINES if name in scores)


def headline(scores: Mapping[str, Any]) -> str:
    """Tell the score that says most, and the one beside it."""
    told = {**HEADLINES, "pixel_accuracy": "pixel accuracy", "image_wise_map": "image-wise mAP"}
    return ", ".join(f"{told[name]} {scores[name]:.4f}" for name in told if name in scores)


@torch.no_grad()
def evaluate_tags(
    classifier: nn.Module,
    dataset: SegmentationDataset,
    *,
    longest_side: int | None = None,
    short_side: int | None = None,
    workers: int = 0,
    accelerator: Accelerator | None = None,
) -> dict[str, Any]:
    """Score a classifier of image-level labels; it is left in eval mode.

    Args:
        classifier: maps images to (1, K) scores, one per class but the background.
        dataset: images with tags.
        longest_side: images are shrunk to it.
        short_side: or images are resized to it, up or down.
        workers: processes that read images.
        accelerator: spreads the images over its processes; all get the scores of the whole set.

    Returns:
        `class_wise_map` (average precision per class over the images, mean over the classes that occur),
        `image_wise_map` (per image over the classes, mean over the images with a tag) and `per_class_ap` by name,
        None for a class that does not occur; fractions in [0, 1].
    """
    accelerator = accelerator or find_devices()
    device = accelerator.device
    classifier.eval().to(device)
    both = torch.zeros(2, len(dataset), len(dataset.classes) - 1, dtype=torch.float64)
    loader = tag_loader(
        dataset,
        longest_side=longest_side,
        short_side=short_side,
        workers=workers,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    for sample in loader:
        both[0, sample["index"]] = classifier(sample["image"].to(device))[0].double().cpu()
        both[1, sample["index"]] = sample["tags"][0].double()
    summed: Any = accelerator.reduce(both.to(device), "sum")
    scores, tags = summed.cpu()
    per_class = average_precision(scores, tags, per="class")
    return {
        "class_wise_map": float(per_class.nanmean()),
        "image_wise_map": float(average_precision(scores, tags, per="image").nanmean()),
        "per_class_ap": {
            name: None if value.isnan() else float(value)
            for name, value in zip(dataset.classes[1:], per_class, strict=True)
        },
    }


def evaluate_on(model: nn.Module, data: DataSpec, split: str) -> dict[str, Any]:
    """Score a network on one split of a recipe's data, at the recipe's size, without boundaries (see `evaluate`)."""
    return evaluate(
        model,
        open_dataset(data, split),
        longest_side=data.longest_side,
        short_side=data.short_side,
        boundary=False,
        workers=data.workers,
    )


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[2:]) == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)
