"""Writes a small COCO 2017 in its true format, for the tests: polygons, run lengths, crowds, ids with gaps."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from segstill.data.coco import NAMES

from .trees import picture, save

GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""Ids that COCO 2017 gives to no category."""
IDS = dict(zip(NAMES, (number for number in range(1, 91) if number not in GAPS), strict=True))
HEIGHT, WIDTH = 48, 64


def box(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    """The polygon of a box of whole pixels."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def run_lengths(region: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths of (H, W) bool, by columns, beginning with the zeros."""
    flat = region.T.ravel().astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, len(flat)]).tolist()
    return {"size": list(region.shape), "counts": [0, *counts] if flat[0] else counts}


def band(top: int, bottom: int) -> dict[str, Any]:
    region = np.zeros((HEIGHT, WIDTH), dtype=bool)
    region[top:bottom] = True
    return run_lengths(region)


TRAIN = {  # file -> instances: category, shape, whether it is a crowd
    # a person before a couch, and a crowd of people below, of which the couch covers a part
    "000000000009.jpg": [
        ("person", box(10, 10, 20, 30), 0),
        ("couch", box(4, 4, 60, 40), 0),
        ("person", band(36, 48), 1),
    ],
    # as many labelled pixels as do not suffice, and a kind that VOC does not have
    "000000000025.jpg": [("cat", box(0, 0, 40, 25), 0), ("giraffe", box(40, 0, 64, 48), 0)],
    # an instance as run lengths, and a crowd of a kind that VOC does not have
    "000000000030.jpg": [("dining table", band(10, 40), 0), ("banana", band(0, 5), 1)],
    # nothing at all
    "000000000034.jpg": [],
    "000000000036.jpg": [("tv", box(0, 0, 40, 40), 0), ("toothbrush", box(50, 0, 60, 40), 0)],
}
VAL = {
    "000000000139.jpg": [("person", box(0, 0, 50, 45), 0), ("dog", box(52, 0, 60, 40), 0)],
    "000000000285.jpg": [("zebra", box(0, 0, 50, 45), 0)],
}


def coco_tree(root: Path, train: dict = TRAIN, val: dict = VAL) -> Path:
    for split, content in (("train", train), ("val", val)):
        for name in content:
            save(root / f"{split}2017" / name, picture(int(name.split(".")[0]), HEIGHT, WIDTH))
        write_annotations(root / f"annotations/instances_{split}2017.json", content)
    return root


def write_annotations(file: Path, content: dict[str, list]) -> None:
    annotations = []
    for name, instances in content.items():
        for category, shape, crowd in instances:
            annotations.append(
                {
                    "segmentation": shape,
                    "area": 100.0,
                    "iscrowd": crowd,
                    "image_id": int(name.split(".")[0]),
                    "bbox": [0.0, 0.0, 10.0, 10.0],
                    "category_id": IDS[category],
                    "id": len(annotations) + 900100,
                }
            )
    data = {
        "info": {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017},
        "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"}],
        "images": [
            {"license": 4, "file_name": name, "height": HEIGHT, "width": WIDTH, "id": int(name.split(".")[0])}
            for name in content
        ],
        "annotations": annotations,
        "categories": [{"supercategory": "thing", "id": number, "name": name} for name, number in IDS.items()],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))
