"""The verb that writes a starting recipe."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from ..start import start
from .console import out, parse


@dataclass(frozen=True)
class InitOptions:
    """Look at images with tags or masks, and write a starting recipe for them and for this machine."""

    folder: tyro.conf.Positional[Path]
    """Where recipe.py, the lists of the splits and the tags go; images and masks stay where they are."""
    images: Path
    """A folder of images; of folders train and val of images; or of a folder per class."""
    tags: Path | None = None
    """A table with rows image,tag;tag."""
    masks: Path | None = None
    """PNG masks of the images' names; beside tags, those of some images."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the mask values; with tags, all that occur unless given."""
    weights: str | None = "imagenet"
    """Of encoders: imagenet downloads them, None begins at random; a file must fit the encoder that is chosen."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Per channel, of images in [0, 1], as a file of weights expects it."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Per-channel standard deviation, likewise."""
    force: bool = False
    """Replace files that are there."""


def run_init(args: list[str]) -> None:
    """DIR --images DIR [--tags CSV | --masks DIR] [--classes ...]: a starting recipe for your own images"""
    options = parse(InitOptions, args, "init")
    made = start(
        options.folder,
        options.images,
        tags=options.tags,
        masks=options.masks,
        classes=options.classes,
        weights=options.weights,
        mean=options.mean,
        std=options.std,
        force=options.force,
    )
    facts, file = made.facts, shlex.quote(str(made.file))
    for sentence in (
        *made.said,
        f"{facts.train} training and {facts.val} validation images"
        + (f", {facts.unlabelled} without labels" if facts.unlabelled else "")
        + f", {facts.width} x {facts.height} pixels (median)",
        f"{len(facts.classes)} classes: {', '.join(facts.classes)}",
        f"this machine: {facts.machine}",
        *_weights(options, gpu=facts.machine.gpu is not None),
        f"wrote {made.file}; next:",
        f"  segstill chain {file} --plan",
        f"  segstill chain {file}",
    ):
        out.print(sentence, markup=False, highlight=False)


def _weights(options: InitOptions, *, gpu: bool) -> tuple[str, ...]:
    """Say where the encoders' weights come from, and what to do where that does not work."""
    if options.weights is None:
        return ("no weights: all networks begin at random, for which some hundred images are too few; see --weights",)
    if options.weights != "imagenet":
        mean, std = (" ".join(map(str, numbers)) for numbers in (options.mean, options.std))
        return (f"weights: {options.weights}, for images normalised by --mean {mean} --std {std}: correct these here",)
    files = (
        "files of weights in recipe.py, one per encoder" if gpu else "--weights FILE here, torchvision's mobilenet_v2"
    )
    return (
        "weights: ImageNet's are downloaded when they are first needed; where that fails, give",
        f"  {files}, and --mean and --std where they expect others than ImageNet's",
    )
