"""Masks as COCO stores them: run lengths along columns, as text."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..batch import IGNORE


def encode(mask: Tensor) -> dict[str, Any]:
    """Return a binary mask (H, W) bool as COCO's compressed run-length encoding.

    Pixels are read column by column; the runs alternate between outside and inside, starting outside.  From the
    fourth on, each length is stored as its difference to the one two before; a number is written in groups of 5 bits,
    lowest first, with bit 5 where more follow, each as the character 48 above it.

    Example: a column 0 1 1 0 1 has the runs 1, 2, 1, 1; stored are 1, 2, 1 and 1 - 2, the text is "121O".
    """
    height, width = mask.shape
    pixels = mask.T.flatten()
    changes = (pixels[1:] != pixels[:-1]).nonzero()[:, 0] + 1
    borders = torch.cat([changes.new_zeros(1), changes, changes.new_tensor([len(pixels)])])
    runs = borders.diff().tolist()
    if len(pixels) and bool(pixels[0]):
        runs = [0, *runs]
    stored = [run - (runs[place - 2] if place > 2 else 0) for place, run in enumerate(runs)]
    return {"size": [height, width], "counts": "".join(map(_text, stored))}


def _text(number: int) -> str:
    characters = ""
    while True:
        group, number = number & 31, number >> 5
        # Done when what is left is the sign that the highest of the 5 bits says.
        more = number != (-1 if group & 16 else 0)
        characters += chr(48 + (group | 32 if more else group))
        if not more:
            return characters


def coco(images: Sequence[tuple[str, tuple[int, int], list[dict[str, Any]]]], classes: Sequence[str]) -> dict[str, Any]:
    """Return one COCO JSON object; category ids are class ids + 1.

    Args:
        images: of each its name, (H, W), and what `regions` found in it.
        classes: names.
    """
    annotations: list[dict[str, Any]] = []
    listed = []
    for number, (name, (height, width), found) in enumerate(images):
        listed.append({"id": number + 1, "file_name": name, "height": height, "width": width})
        annotations += [
            {"id": len(annotations) + place + 1, "image_id": number + 1, **region} for place, region in enumerate(found)
        ]
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(classes)]
    return {"images": listed, "categories": categories, "annotations": annotations}


def regions(mask: Tensor) -> list[dict[str, Any]]:
    """Return a COCO annotation, without its ids, for each class in a mask (H, W) of class ids; 255 is none."""
    found = []
    for number in mask.unique().tolist():
        if number != IGNORE:
            inside = mask == number
            rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
            left, top = int(columns[0]), int(rows[0])
            box = [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
            found.append(
                {
                    "category_id": number + 1,
                    "segmentation": encode(inside),
                    "area": int(inside.sum()),
                    "bbox": box,
                    "iscrowd": 0,
                }
            )
    return found
