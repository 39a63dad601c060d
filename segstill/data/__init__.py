"""Data sets, their augmentation and their loaders; DATASETS is the table of everything there is."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from ..recipe import DataSpec
from .camvid import camvid
from .check import Examination, Problem, check, examine
from .dataset import SegmentationDataset
from .files import SPLITS
from .folder import Images, folder
from .loader import evaluation_loader, training_loader
from .parts import Joined, limit_labels
from .scenes import scenes

__all__ = [
    "DATASETS",
    "SPLITS",
    "Examination",
    "Images",
    "Problem",
    "SegmentationDataset",
    "camvid",
    "check",
    "evaluation_loader",
    "examine",
    "folder",
    "limit_labels",
    "open_dataset",
    "open_unlabelled",
    "scenes",
    "training_loader",
    "validate",
]

DATASETS: dict[str, Callable[..., SegmentationDataset]] = {
    "camvid": camvid,
    "folder": folder,
    "scenes": scenes,
}


def open_dataset(spec: DataSpec, split: str) -> SegmentationDataset:
    """Open one split of the data set that a recipe names.

    Args:
        spec: name, root, classes and further arguments.
        split: train, val or test.

    Raises:
        FileNotFoundError: the root or a file of the split is missing.
        ValueError: an unknown data set, split or argument, a missing root or class list, or files that do not fit.
    """
    arguments = validate(spec)
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}: choose one of {list(SPLITS)}")
    return DATASETS[spec.name](split=split, **arguments)


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


def validate(spec: DataSpec) -> dict[str, Any]:
    """Return the arguments, besides the split, that build the data set; see `open_dataset` for what it raises."""
    if spec.name not in DATASETS:
        raise ValueError(f"there is no data set {spec.name!r}; {_nearest(spec.name, DATASETS)}")
    parameters = inspect.signature(DATASETS[spec.name]).parameters
    own = [name for name in parameters if name not in ("root", "split", "classes")]
    for name, value in spec.args.items():
        if name not in own:
            raise ValueError(f"data set {spec.name!r} has no argument {name!r}; {_nearest(name, own)}")
        expected = get_type_hints(DATASETS[spec.name])[name]
        if not _fits(value, expected):
            kind = getattr(expected, "__name__", expected) if not get_args(expected) else expected
            raise ValueError(f"argument {name!r} of data set {spec.name!r} is {value!r}, expected {kind}")
    arguments: dict[str, Any] = dict(spec.args)
    if "root" in parameters:
        if not spec.root:
            raise ValueError(f"data set {spec.name!r} is read from files and no folder was given: pass --data.root DIR")
        arguments["root"] = spec.root
    if "classes" in parameters:
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
    """Tell whether a value is of a plain type, or a tuple of such."""
    if items := get_args(kind):
        return isinstance(value, tuple) and len(value) == len(items) and all(map(_fits, value, items))
    return type(value) is kind


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=3)
    return f"did you mean one of {near}?" if near else f"there are {sorted(known)}"
