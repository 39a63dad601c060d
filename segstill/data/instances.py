"""Instances in COCO's format become masks; what is needed of the annotations is kept, so that they are read once.

The rules: regions of crowds are drawn first, as 255; then the instances, the larger first, so that a smaller one lies
above.  Polygons and run lengths are rasterised by pycocotools, COCO's own tool.
"""

import hashlib
import json
import os
import zipfile
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..batch import IGNORE
from .pictures import FileError

VERSION = 1
"""Of the kept form; raise it when the rules or the arrays change."""


@dataclass(frozen=True)
class Instances:
    """The regions of n images with m instances, in the order in which they are drawn.

    Arrays, because a hundred thousand Python objects would be copied into every worker process.
    """

    images: NDArray[np.str_]
    """(n,) file names."""
    sizes: NDArray[np.int64]
    """(n, 2) heights and widths."""
    first: NDArray[np.int64]
    """(n + 1,) number of each image's first instance; the last is m."""
    labels: NDArray[np.uint8]
    """(m,) classes; 255 for crowds."""
    start: NDArray[np.int64]
    """(m + 1,) place of each instance's run lengths in `runs`."""
    runs: NDArray[np.uint8]
    """Compressed run lengths of all instances."""

    @classmethod
    def empty(cls) -> "Instances":
        """Return none."""
        return _packed([], [], [])

    @cached_property
    def names(self) -> dict[str, int]:
        """File name -> number of the image."""
        return {name: number for number, name in enumerate(self.images.tolist())}

    def mask(self, name: str) -> Tensor:
        """Draw the mask (H, W) uint8 of the image with this file name; 0 is background."""
        number = self.names[name]
        height, width = self.sizes[number].tolist()
        mask = np.zeros((height, width), np.uint8)
        for instance in range(*self.first[number : number + 2].tolist()):
            counts = self.runs[self.start[instance] : self.start[instance + 1]].tobytes()
            mask[_tool().decode({"size": [height, width], "counts": counts}) > 0] = self.labels[instance]
        return torch.from_numpy(mask)


def read_instances(
    file: Path, labels: Mapping[str, int], *, known: Collection[str], more_than: int | None = None
) -> Instances:
    """Read annotations, or what was kept of them.

    Args:
        file: `instances_*.json`.
        labels: category name -> class, 1 to 254; the others are background.
        known: names of all categories that may occur.
        more_than: keep only images with more labelled pixels than this; None keeps all, those without instances too.

    Raises:
        FileError: the file is no JSON, or not of COCO's format.
        ValueError: pycocotools is not installed.
    """
    _tool()
    about = file.stat()
    parts = (VERSION, str(file.resolve()), about.st_size, about.st_mtime_ns, sorted(labels.items()), more_than)
    kept = _cache() / f"coco-{hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()}.npz"
    try:
        with kept.open("rb") as stream, np.load(stream) as arrays:
            return Instances(**{field.name: arrays[field.name] for field in fields(Instances)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there yet, or damaged
    instances = _read(file, labels, known, more_than)
    with suppress(OSError):  # a full or read-only disk costs time at the next opening, nothing else
        _keep(kept, instances)
    return instances


def _read(file: Path, labels: Mapping[str, int], known: Collection[str], more_than: int | None) -> Instances:
    remedy = "extract the archive of annotations (annotations_trainval2017) again"
    try:
        with file.open(encoding="utf-8") as stream:
            data = json.load(stream)
        names = {category["id"]: category["name"] for category in data["categories"]}
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in data["annotations"]:
            if names[annotation["category_id"]] in labels:
                by_image[annotation["image_id"]].append(annotation)
        images = [(image["id"], image["file_name"], image["height"], image["width"]) for image in data["images"]]
    except (ValueError, KeyError, TypeError) as error:
        given = f"does not hold instances in COCO's format ({type(error).__name__}: {error})"
        raise FileError(file, given, remedy) from error
    strange = sorted(set(names.values()) - set(known))
    if strange:
        given = f"has categories that COCO 2017 has not: {strange[:5]}"
        raise FileError(file, given, "use COCO's own annotations, or draw masks and open them as a folder")
    kept, sizes, regions = [], [], []
    for number, name, height, width in images:
        drawn: list[tuple[int, int, bytes]] = []  # order, class, run lengths
        united = []
        for annotation in by_image.pop(number, ()):
            region = _region(file, annotation, height, width)
            if region is None:
                continue
            if annotation.get("iscrowd"):
                drawn.append((-height * width, IGNORE, region["counts"]))
            else:
                united.append(region)
                drawn.append((-int(_tool().area(region)), labels[names[annotation["category_id"]]], region["counts"]))
        if more_than is None or (united and _tool().area(_tool().merge(united)) > more_than):
            kept.append(name)
            sizes.append((height, width))
            regions.append([part[1:] for part in sorted(drawn, key=lambda part: part[0])])
    if by_image:
        raise FileError(file, f"has instances of images that it does not name, {min(by_image)} the first", remedy)
    return _packed(kept, sizes, regions)


def _region(file: Path, annotation: Mapping[str, Any], height: int, width: int) -> dict[str, Any] | None:
    """Return the compressed run lengths of an instance; None where nothing is drawn."""
    shape = annotation.get("segmentation")
    try:
        if isinstance(shape, dict):
            if list(shape["size"]) != [height, width]:
                raise ValueError(f"size {shape['size']}, expected {[height, width]}")
            compressed = isinstance(shape["counts"], str)
            region = _tool().frPyObjects(shape, height, width) if not compressed else shape
            return region | {"counts": region["counts"].encode()} if compressed else region
        polygons = [polygon for polygon in shape or () if len(polygon) >= 6]  # of fewer points than 3 none has an area
        return _tool().merge(_tool().frPyObjects(polygons, height, width)) if polygons else None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        given = f"holds no polygons or run lengths in the annotation {annotation.get('id')} ({error})"
        raise FileError(file, given, "extract the archive of annotations again") from error


def _packed(names: list[str], sizes: list[tuple[int, int]], regions: list[list[tuple[int, bytes]]]) -> Instances:
    flat = [region for of_image in regions for region in of_image]
    return Instances(
        images=np.array(names, dtype=np.str_),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        first=np.cumsum([0, *map(len, regions)], dtype=np.int64),
        labels=np.array([label for label, _ in flat], dtype=np.uint8),
        start=np.cumsum([0, *(len(runs) for _, runs in flat)], dtype=np.int64),
        runs=np.frombuffer(b"".join(runs for _, runs in flat), dtype=np.uint8),
    )


def _keep(file: Path, instances: Instances) -> None:
    """Write the arrays so that whoever reads the file finds all of them or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
        try:
            np.savez(part, **{field.name: getattr(instances, field.name) for field in fields(Instances)})
            part.close()
            os.replace(part.name, file)
        except BaseException:
            os.unlink(part.name)
            raise


def _cache() -> Path:
    return Path(os.environ.get("SEGSTILL_CACHE") or Path.home() / ".cache" / "segstill")


def _tool() -> Any:
    """Return pycocotools' functions on run lengths."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ValueError("COCO's instances need pycocotools, which is missing: pip install 'segstill[coco]'") from error
    return mask
