"""Writes small data sets with image-level labels in their true formats, for the tests."""

from pathlib import Path

from segstill.data.msrc21 import ALL

from .trees import label, picture, save, voc_tree

CLASSES = ("background", "cat", "dog", "big horse")
TABLE = """image,tags
a.jpg,cat
b,cat; dog
train/c.jpg,big horse
d.png,background
val/c,dog
e,cat;big horse
"""
TAGS = {"train": {"a": [1], "b": [1, 2], "c": [3], "d": []}, "val": {"c": [2], "e": [1, 3]}}
"""Which classes each image of the table has."""


def folder_tree(root: Path, table: str = TABLE) -> Path:
    """Own images with a table, and no mask."""
    for number, (split, name) in enumerate((split, name) for split, images in TAGS.items() for name in images):
        save(root / "images" / split / f"{name}{'.png' if name == 'd' else '.jpg'}", picture(number))
    (root / "tags.csv").write_text(table)
    return root


def class_tree(root: Path) -> Path:
    """Own images in a folder per class."""
    for number, name in enumerate(("train/cat/1", "train/cat/2", "train/dog/1", "train/background/1", "val/dog/7")):
        save(root / "images" / f"{name}.jpg", picture(number))
    return root


def msrc21_tree(root: Path) -> Path:
    """MSRC-21; every class is in every mask."""
    rows = ["id,split,labels"]
    for first, split in enumerate(("train", "val", "test")):
        names = [f"{first + 1}_{number}_s" for number in range(3)]
        for number, name in enumerate(names):
            save(root / "images" / split / f"{name}.jpg", picture(10 * first + number))
            save(root / "masks" / split / f"{name}.png", label(10 * first + number, classes=21))
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        rows += [
            f"{name},{split},{labels}"
            for name, labels in zip(names, (" ".join(ALL), "grass sky", "grass cow"), strict=True)
        ]
    (root / "image_labels.csv").write_text("\n".join(rows) + "\n")
    return root


def annotation(objects: dict[str, int]) -> str:
    """VOC's XML with objects by name, and whether each is difficult; one has a part, which is no object."""
    boxes = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part></object>"
        for name, difficult in objects.items()
    )
    return f"<annotation><folder>VOC2012</folder><size><width>32</width></size>{boxes}</annotation>"


def voc_tags_tree(root: Path) -> Path:
    """VOC with annotations: the first image of a split shows an aeroplane and a person, the second a cat."""
    top = voc_tree(root) / "VOCdevkit/VOC2012"
    objects = ({"aeroplane": 0, "person": 1}, {"cat": 0}, {"person": 0})
    for path in sorted((top / "JPEGImages").glob("*.jpg")):
        file = top / "Annotations" / f"{path.stem}.xml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(annotation(objects[int(path.stem[-1])]))
    return root


TREES = {"folder": folder_tree, "msrc21": msrc21_tree, "voc": voc_tags_tree}
