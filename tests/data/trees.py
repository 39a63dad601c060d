"""Writes small data sets in their true formats, for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from segstill.data.files import colours

CLASSES = ("ground", "tree", "house")


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
        image.putpalette([channel for colour in colours(256) for channel in colour])  # as in VOC's masks
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


def voc_tree(root: Path, train: int = 3, val: int = 2) -> Path:
    """VOC 2012 as its archive extracts, a `VOCdevkit` in `root`; masks have VOC's palette."""
    top = root / "VOCdevkit" / "VOC2012"
    ids = {
        split: [f"20{year}_{n:06d}" for n in range(count)]
        for split, count, year in (("train", train, "07"), ("val", val, "08"))
    }
    for split, names in ids.items():
        for number, name in enumerate(names):
            voc_sample(top, name, number + 100 * (split == "val"))
    write_lists(top / "ImageSets/Segmentation", ids | {"trainval": ids["train"] + ids["val"]})
    return root


def voc_sample(top: Path, name: str, seed: int, folder: str = "SegmentationClass") -> None:
    save(top / "JPEGImages" / f"{name}.jpg", picture(seed))
    save(top / folder / f"{name}.png", label(seed, classes=21), palette=True)


def write_lists(folder: Path, lists: dict[str, list[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def sbd_tree(root: Path, train: list[str], val: list[str], *, images: bool = True) -> Path:
    """SBD as its archive extracts: masks in MATLAB files of version 5, with boundaries beside the segmentation."""
    home = root / "benchmark_RELEASE" / "dataset"
    for number, name in enumerate([*train, *val], 200):
        if images:
            save(home / "img" / f"{name}.jpg", picture(number))
        write_mat(home / "cls" / f"{name}.mat", full_label(number, 21))
    write_lists(home, {"train": train, "val": val})
    return root


def full_label(seed: int, classes: int) -> np.ndarray:
    """Like `label`, with 0 where that has 255."""
    drawn = label(seed, classes=classes)
    drawn[drawn == 255] = 0
    return drawn


def write_mat(path: Path, segmentation: np.ndarray, *, record: str = "GTcls", field: str = "Segmentation") -> None:
    from scipy.io import savemat
    from scipy.sparse import csc_array

    boundaries = np.empty((20, 1), dtype=object)
    for number in range(20):
        boundaries[number, 0] = csc_array((segmentation == number + 1).astype(float))
    present = np.unique(segmentation[segmentation > 0])[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"Boundaries": boundaries, field: segmentation, "CategoriesPresent": present}
    savemat(path, {record: content}, do_compression=True)


def cityscapes_tree(root: Path, train: int = 3, val: int = 2) -> Path:
    """Cityscapes as its two archives extract, two cities per split, one in the test split without labels."""
    for split, count, cities in (("train", train, ("aachen", "ulm")), ("val", val, ("lindau", "munster"))):
        for number in range(count):
            city = cities[number % 2]
            name = f"{city}_{number:06d}_000019"
            save(
                root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
                picture(number + 100 * (split == "val")),
            )
            save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", full_label(number, 34))
    save(root / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", picture(500))
    return root


def ade20k_tree(root: Path, train: int = 3, val: int = 2) -> Path:
    """The archive ADEChallengeData2016: 0 is no label, 1 to 150 are the classes."""
    top = root / "ADEChallengeData2016"
    for split, folder, count in (("train", "training", train), ("val", "validation", val)):
        for number in range(count):
            save(top / "images" / folder / f"ADE_{split}_{number:08d}.jpg", picture(number + 100 * (split == "val")))
            save(top / "annotations" / folder / f"ADE_{split}_{number:08d}.png", full_label(number, 151))
    return root
