"""Data sets, their augmentation and their loaders; DATASETS is the table of everything there is."""

import dataclasses
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..recipe import DataSpec
from .ade20k import ade20k, ade20k_files
from .camvid import camvid, camvid_files
from .check import Examination, Problem, check, examine
from .cityscapes import cityscapes, cityscapes_files
from .coco import coco, coco_files
from .dataset import SegmentationDataset
from .evaluation import evaluation_loader, tag_loader
from .files import SPLITS, Pairs, sound
from .folder import Images, folder, folder_files
from .folder_tags import folder_tagged
from .loader import training_loader
from .msrc21 import msrc21, msrc21_files, msrc21_tagged
from .parts import Joined, Masked, Part, limit_labels
from .scenes import scenes, scenes_tagged
from .tags import Tagged
from .voc import voc, voc_files, voc_tagged

__all__ = [
    "DATASETS",
    "LISTED",
    "SPLITS",
    "TAGGED",
    "Examination",
    "Images",
    "Masked",
    "Part",
    "Problem",
    "SegmentationDataset",
    "ade20k",
    "camvid",
    "check",
    "choose_split",
    "cityscapes",
    "coco",
    "evaluation_loader",
    "examine",
    "folder",
    "limit_labels",
    "msrc21",
    "open_dataset",
    "open_masked",
    "open_tagged",
    "open_truth",
    "open_unlabelled",
    "recognise",
    "scenes",
    "tag_loader",
    "training_loader",
    "validate",
    "voc",
]

DATASETS: dict[str, Callable[..., SegmentationDataset]] = {
    "ade20k": ade20k,
    "camvid": camvid,
    "cityscapes": cityscapes,
    "coco": coco,
    "folder": folder,
    "msrc21": msrc21,
    "scenes": scenes,
    "voc": voc,
}
LISTED: dict[str, Callable[..., Pairs]] = {
    "ade20k": ade20k_files,
    "camvid": camvid_files,
    "cityscapes": cityscapes_files,
    "coco": coco_files,
    "folder": folder_files,
    "msrc21": msrc21_files,
    "voc": voc_files,
}
"""Those that are read from files, opened without complaint: `check` tells what is wrong with them."""
TAGGED: dict[str, Callable[..., SegmentationDataset]] = {
    "folder": folder_tagged,
    "msrc21": msrc21_tagged,
    "scenes": scenes_tagged,
    "voc": voc_tagged,
}
"""Those with image-level labels, opened for these, without complaint."""


def open_dataset(spec: DataSpec, split: str) -> SegmentationDataset:
    """Open one split of the data set that a recipe names.

    Args:
        spec: name, root, classes and further arguments; the masks of val may be those of `spec.val_masks`.
        split: train, val or test.

    Raises:
        FileNotFoundError: the root or a file of the split is missing.
        ValueError: an unknown data set, split or argument, a missing root or class list, or files that do not fit.
    """
    arguments = validate(spec)
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}: choose one of {list(SPLITS)}")
    if split == "val" and spec.val_masks is not None:
        return open_masked(spec, "val")
    return DATASETS[spec.name](split=split, **arguments)


def open_truth(spec: DataSpec, split: str) -> SegmentationDataset | None:
    """Open those images of a split that have a true mask, without complaint about the others; None without any.

    Args:
        spec: as for `open_dataset`; its `masks` and `val_masks` are not used.
        split: train, val or test.

    Raises:
        ValueError: an unknown data set or argument, a missing root or class list.
    """
    arguments = validate(spec)
    if spec.name not in LISTED:
        return DATASETS[spec.name](split=split, **arguments)
    dataset = LISTED[spec.name](split=split, **arguments)
    return dataset if len(dataset) else None


def open_tagged(spec: DataSpec, split: str, *, complain: bool = True) -> SegmentationDataset:
    """Open the images and the image-level labels of one split; no mask is opened, so there may be none.

    Args:
        spec: as for `open_dataset`.
        split: train, val or test.
        complain: False leaves what is wrong with the list to `check`.

    Returns:
        Samples (image, None), whose `tags` has an item for every class but the first, the background.

    Raises:
        FileNotFoundError: the root, a file of the split or its tags are missing.
        ValueError: as `open_dataset`, a data set without tags, a tag that is no class, or classes without background.
    """
    arguments = validate(spec)
    if spec.name not in TAGGED:
        raise ValueError(f"data set {spec.name!r} has no tags, expected one of {sorted(TAGGED)}: train on its masks")
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}: choose one of {list(SPLITS)}")
    dataset = TAGGED[spec.name](split=split, **arguments)
    return sound(dataset) if complain and isinstance(dataset, Tagged) else dataset


def open_masked(spec: DataSpec, split: str = "train") -> Masked:
    """Open the images of a split that have a mask in the folder `spec.masks` (`spec.val_masks` for val).

    The images are those that have tags, masks of their own or not, where the data set has tags; else those with masks.

    Args:
        spec: as for `open_dataset`.
        split: train or val.

    Raises:
        FileNotFoundError: there is no such folder, or as `open_dataset`.
        ValueError: the folder is None, it holds no mask of any image, or as `open_dataset`.
    """
    masks = spec.masks if split == "train" else spec.val_masks
    if masks is None:
        raise ValueError("there is no folder of masks: pass --data.masks DIR")
    images = open_tagged(spec, split, complain=False) if spec.name in TAGGED else None
    if images is None or (isinstance(images, Tagged) and images.listing.absent):
        images = open_dataset(dataclasses.replace(spec, val_masks=None), split)
    elif isinstance(images, Tagged):
        sound(images)
    return Masked(images, Path(masks))


def open_unlabelled(spec: DataSpec, rest: SegmentationDataset | None = None) -> SegmentationDataset | None:
    """Open all images that only distillation uses.

    Args:
        spec: its `unlabelled` is a folder of images, or None.
        rest: the images that `limit_labels` left over.

    Returns:
        `rest` followed by the folder; None where both hold nothing or the recipe wants none of them.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no images.
    """
    parts = [rest] if rest is not None and len(rest) else []
    if spec.unlabelled is not None:
        parts.append(Images(spec.unlabelled))
    return Joined(parts) if parts and spec.unlabelled_ratio != 0 else None


def choose_split(spec: DataSpec, preferred: str, other: str, *, say: Callable[[str], None] = print) -> str:
    """Return the split to score on: the preferred one, or the other where the data has no such split.

    Args:
        spec: the data set.
        preferred: train, val or test.
        other: train, val or test.
        say: is told when the other one is taken.
    """
    if spec.name in LISTED:
        opened = partial(LISTED[spec.name], **validate(spec))
        if opened(split=preferred).listing.absent and not opened(split=other).listing.absent:
            say(f"{spec.root} has no {preferred} split: the {other} split is taken")
            return other
    return preferred


def recognise(root: str | Path) -> str:
    """Return the name of the data set with classes of its own that has the layout of a folder.

    Raises:
        ValueError: none has, or several do.
    """
    own = [name for name in LISTED if name != "folder"]
    fitting = [name for name in own if not LISTED[name](root, "train").listing.absent]
    if fitting == ["camvid", "msrc21"]:
        return "msrc21"  # its tree is that of CamVid and a table of tags
    if len(fitting) != 1:
        given = f"the layouts of {fitting}" if fitting else f"the layout of none of {own}"
        raise ValueError(
            f"{root} has {given}: name the data set and pass the folder as --data.root, or pass --data.classes for"
            " images and masks of your own"
        )
    return fitting[0]


def validate(spec: DataSpec) -> dict[str, Any]:
    """Return the arguments, besides the split, that build the data set; see `open_dataset` for what it raises."""
    if spec.name not in DATASETS:
        raise ValueError(f"there is no data set {spec.name!r}; {_nearest(spec.name, DATASETS)}")
    parameters = get_type_hints(DATASETS[spec.name])
    needs_names = parameters.get("classes") == tuple[str, ...]
    own = sorted(parameters.keys() - {"root", "split", "return"} - ({"classes"} if needs_names else set()))
    for name, value in spec.args.items():
        if name not in own:
            raise ValueError(f"data set {spec.name!r} has no argument {name!r}; {_nearest(name, own)}")
        if not _fits(value, parameters[name]):
            expected = _told(parameters[name])
            raise ValueError(f"argument {name!r} of data set {spec.name!r} is {value!r}, expected {expected}")
    arguments: dict[str, Any] = dict(spec.args)
    if "root" in parameters:
        if not spec.root:
            raise ValueError(f"data set {spec.name!r} is read from files and no folder was given: pass --data.root DIR")
        arguments["root"] = spec.root
    if needs_names:
        if not spec.classes:
            raise ValueError(
                f"data set {spec.name!r} needs the class names in the order of the mask values:"
                " pass --data.classes NAME NAME ..."
            )
        arguments["classes"] = spec.classes
    elif spec.classes:
        raise ValueError(
            f"data set {spec.name!r} has its own classes, given {list(spec.classes)}: leave out --data.classes"
        )
    return arguments


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a plain type, a tuple of such, one of several values, or of one of several types."""
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return value in options
    if get_origin(kind) is UnionType:
        return any(_fits(value, option) for option in options)
    if options:
        return isinstance(value, tuple) and len(value) == len(options) and all(map(_fits, value, options))
    return type(value) is kind


def _told(kind: Any) -> str:
    """Name a type of an argument, for a message."""
    if get_origin(kind) is Literal:
        return f"one of {list(get_args(kind))}"
    return str(kind) if get_args(kind) else kind.__name__


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=3)
    return f"did you mean one of {near}?" if near else f"there are {sorted(known)}"
