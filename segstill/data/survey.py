"""A first look at somebody's images, tags and masks: how many, how large, which names and values."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from ..batch import IGNORE
from .files import SPLITS, image_files, mask_files
from .pictures import DAMAGED
from .tags import Row, tag_rows

LOOKED_AT = 1000
"""Images and masks that are opened; they are spread evenly over all."""
TURNED = (5, 6, 7, 8)
"""Values of the EXIF tag of orientation for which height and width change places."""
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Survey:
    """What was found."""

    images: dict[str, Path]
    """By name: `a`, `train/a`, or `cat/a` in a folder per class."""
    splits: bool
    """Whether the images lie in folders train and val."""
    by_class: tuple[str, ...]
    """Names of the folders, where there is one per class."""
    beside: tuple[str, ...]
    """Names of the folders of images that are not read, because images lie beside them."""
    height: int
    """Median of the images looked at, in pixels."""
    width: int
    unreadable: tuple[Path, ...]
    """Images among those looked at that do not decode."""
    tags: dict[str, tuple[str, ...]]
    """Of images, by their names above; empty without a table."""
    masks: frozenset[str]
    """Images, by their names above, that have a mask."""
    values: tuple[int, ...]
    """Values in the masks looked at, without 255."""


def survey(images: Path, tags: Path | None = None, masks: Path | None = None) -> Survey:
    """Look at a folder of images, and at the table of tags and the folder of masks that belong to it.

    Args:
        images: a folder of images, in which folders are not read; of folders train and val (and test) of images; or of
            a folder per class.
        tags: a table with rows `image,tag;tag`.
        masks: a folder of PNG masks of the images' names, with the same folders in it.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: one of them is of another kind, there is no image, a table that does not read or names no image,
            or no mask that belongs to an image.
    """
    for flag, place, what in (("images", images, "folder"), ("tags", tags, "table"), ("masks", masks, "folder")):
        if place is not None and not place.exists():
            raise FileNotFoundError(f"{place} does not exist: correct the path")
        if place is not None and place.is_dir() != (what == "folder"):
            given = "folder" if place.is_dir() else "file"
            raise ValueError(f"{place} is a {given}, expected a {what}: correct --{flag}")
    folders = sorted(path for path in images.iterdir() if path.is_dir() and not path.name.startswith("."))
    splits = any(path.name in SPLITS for path in folders)
    inside = [path for path in folders if not splits or path.name in SPLITS]
    plain = {} if splits else image_files(images)[0]  # as the data set reads it: split folders first
    found = plain or {
        f"{folder.name}/{stem}": path for folder in inside for stem, path in image_files(folder)[0].items()
    }
    if not found:
        where = f"in {', '.join(path.name for path in inside)} of {images}" if splits else f"in {images} or its folders"
        raise ValueError(f"no image that is read here is {where}, expected some: correct --images")
    by_class = () if splits or plain else tuple(path.name for path in inside)
    if by_class and (tags or masks):
        what = "table of tags" if tags else "folder of masks"
        raise ValueError(
            f"the images lie in folders of {images} ({', '.join(by_class[:3])}), expected them in {images} itself, or "
            f"in folders train and val of it, where a {what} is given: move them there"
        )
    sizes, unreadable = _sizes(_spread(list(found.values())))
    drawn = {} if masks is None else _masks(masks, splits)
    labelled = frozenset(drawn.keys() & found.keys())
    if masks is not None and not labelled:
        example = next(iter(found))
        raise ValueError(f"{masks} holds no mask of an image in {images}, expected for example {example}.png")
    return Survey(
        images=found,
        splits=splits,
        by_class=by_class,
        beside=tuple(path.name for path in inside if plain and not _same(path, masks) and image_files(path)[0]),
        height=round(median(size[1] for size in sizes)),
        width=round(median(size[0] for size in sizes)),
        unreadable=tuple(unreadable),
        tags={} if tags is None else _tags(tags, found),
        masks=labelled,
        values=_values(_spread([drawn[name] for name in sorted(labelled)])),
    )


def _spread(paths: Sequence[Path]) -> list[Path]:
    count = min(LOOKED_AT, len(paths))
    return [paths[place * len(paths) // count] for place in range(count)]


def _sizes(paths: Sequence[Path]) -> tuple[list[tuple[int, int]], list[Path]]:
    sizes, unreadable = [], []
    for path in paths:
        try:
            with Image.open(path) as picture:
                width, height = picture.size
                turned = picture.getexif().get(ORIENTATION) in TURNED
                picture.draft("RGB", (width // 8, height // 8))  # a JPEG is read whole, and not computed whole
                picture.load()
                sizes.append((height, width) if turned else (width, height))
        except DAMAGED:
            unreadable.append(path)
    if not sizes:
        raise ValueError(f"none of {len(paths)} images decodes, {paths[0]} the first: correct --images")
    return sizes, unreadable


def _masks(masks: Path, splits: bool) -> dict[str, Path]:
    if not splits:
        return mask_files(masks)[0]
    return {
        f"{split}/{stem}": path
        for split in SPLITS
        if (masks / split).is_dir()
        for stem, path in mask_files(masks / split)[0].items()
    }


def _values(paths: Sequence[Path]) -> tuple[int, ...]:
    values: set[int] = set()
    for path in paths:
        with Image.open(path) as picture:
            if picture.mode not in ("P", "L"):
                raise ValueError(
                    f"{path} is a picture in mode {picture.mode}, expected a mask: gray or palette, whose values are "
                    "class numbers; convert it"
                )
            values |= set(np.unique(np.asarray(picture)).tolist())
    return tuple(sorted(values - {IGNORE}))


def _tags(table: Path, images: dict[str, Path]) -> dict[str, tuple[str, ...]]:
    rows, problems = tag_rows(table)
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise ValueError(str(errors[0]))
    by_stem: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_stem[row.stem].append(row)
    found: dict[str, tuple[str, ...]] = {}
    for name, path in images.items():
        place = Path(os.path.abspath(path))  # rows may name its folder, which "." does not
        for row in by_stem.get(path.stem, ()):
            if row.means(place):
                found[name] = row.tags
    if not found:
        given = f"{rows[0].image!r}, for example, is the name of none of" if rows else "it has no row for any of"
        example = next(iter(images.values()))
        raise ValueError(
            f"{table} does not fit the images: {given} the {len(images)} in {example.parent}, expected names such as "
            f"{example.name!r}: write the names of the files"
        )
    return found


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and path.samefile(other)
