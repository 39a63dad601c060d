"""Writes small data sets in their true formats, for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ground", "tree", "house")
PALETTE = [0, 0, 0, 10, 200, 30, 200, 20, 40] + 252 * [90, 90, 90] + [255, 255, 255]


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def label(seed: int, height: int = 24, width: int = 32, classes: int = 3) -> np.ndarray:
    """All classes occur, and some pixels are 255."""
    mask = np.random.default_rng(seed).integers(0, classes, (height, width), dtype=np.uint8)
    mask.flat[:classes] = range(classes)
    mask[-2:] = 255
    return mask


def save(path: Path, array: np.ndarray, *, palette: bool = False, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(PALETTE)
    image.save(path, **options)
    return path


def sample(images: Path, masks: Path, stem: str, seed: int, suffix: str = ".png", **options) -> None:
    save(images / f"{stem}{suffix}", picture(seed))
    save(masks / f"{stem}.png", label(seed, **options))


def folder_tree(root: Path, train: int = 3, val: int = 2) -> Path:
    for split, count, first in (("train", train, 0), ("val", val, 100)):
        for number in range(count):
            sample(root / "images" / split, root / "masks" / split, f"{split}{number}", first + number)
    return root


def flat_tree(root: Path, count: int = 10) -> Path:
    for number in range(count):
        sample(root / "images", root / "masks", f"frame.{number}", number)
    return root


def camvid_tree(root: Path) -> Path:
    for first, split in enumerate(("train", "val", "test")):
        for number in range(2):
            sample(
                root / "images" / split,
                root / "masks" / split,
                f"{split}_{number}",
                first * 10 + number,
                ".jpg",
                classes=11,
            )
        (root / f"{split}.txt").write_text(f"{split}_1\n{split}_0\n")
    return root


def segnet_tree(root: Path, *, lists: bool = False) -> Path:
    for first, split in enumerate(("train", "val", "test")):
        for number in range(2):
            sample(root / split, root / f"{split}annot", f"{split}_{number}", first * 10 + number, classes=12)
        if lists:
            names = [
                f"/SegNet/CamVid/{split}/{split}_{n}.png /SegNet/CamVid/{split}annot/{split}_{n}.png" for n in (1, 0)
            ]
            (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root
