"""MSRC-21: photographs of 21 kinds of objects and surroundings, 276 for training, 59 for validation, 256 for the test.

Shotton, Winn, Rother, Criminisi, TextonBoost: joint appearance, shape and context modeling for multi-class object
recognition and segmentation, ECCV 2006, whose split it is; masks with cleaner outlines are those of Malisiewicz and
Efros, Improving spatial support for objects via multiple segmentations, BMVC 2007.
"""

from pathlib import Path

from ..batch import IGNORE
from .dataset import SegmentationDataset
from .files import IMAGE_SUFFIXES, MASK_SUFFIX, Listing, Pairs, colours, listed, nothing, png_masks, sound
from .tags import BACKGROUND, Table, Tagged, image_labels, looked_up, on_background, stem, with_table

ALL = tuple(
    """building, grass, tree, cow, sheep, sky, aeroplane, water, face, car, bicycle, flower, sign, bird, book, chair,
    road, cat, dog, body, boat""".replace("\n    ", " ").split(", ")
)
"""All classes in the order of the mask values."""
SURROUNDINGS = ("building", "grass", "tree", "sky", "water", "road")
OBJECTS = tuple(name for name in ALL if name not in SURROUNDINGS)
TABLE = "image_labels.csv"
LAYOUT = f"images/<split>/<id>.jpg, masks/<split>/<id>.png, <split>.txt and {TABLE}"


def msrc21(root: str | Path, split: str, *, objects: bool = True) -> SegmentationDataset:
    """Open MSRC-21 as folders of images and masks with lists.

    `images/<split>/<id>.jpg` and `masks/<split>/<id>.png` (values 0 to 20, 255 for no label; horse and mountain, of
    which there are too few, are no label), `<split>.txt` with an id per line, and `image_labels.csv` with the columns
    `id` and `labels`, the names of the classes in an image with spaces between them.

    Args:
        root: the folder that holds these.
        split: train, val or test.
        objects: building, grass, tree, sky, water and road become "background", beside 15 kinds of objects; False
            keeps the 21 classes as they are.

    Raises:
        FileNotFoundError: the root, a list or a listed file is missing.
        ValueError: a list is empty or names an image twice.
    """
    return sound(msrc21_files(root, split, objects=objects))


def msrc21_files(root: str | Path, split: str, *, objects: bool = True) -> Pairs:
    """Open it without complaint about its files."""
    root = Path(root)
    classes = _classes(objects)
    meaning = {number: classes.index(_seen_as(name)) for number, name in enumerate(ALL)} if objects else None
    masks = png_masks(classes, meaning and meaning | {IGNORE: IGNORE})
    chosen = _choose(root, split)
    if not isinstance(chosen, Listing):
        names = root / f"{split}.txt"
        wanted = [(image, root / "masks" / split / f"{name}{MASK_SUFFIX}") for name, image in chosen]
        chosen = listed(names, wanted, f"{names} names it")
    return Pairs(chosen, classes, colours(len(classes)), masks)


def msrc21_tagged(root: str | Path, split: str, *, objects: bool = True) -> Tagged:
    """Open images and tags, without complaint about them; masks are not needed, and none is opened.

    Args:
        root: as for `msrc21`; the tags are those of `image_labels.csv`.
        split: train, val or test.
        objects: True, for there are no tags without a background.
    """
    root = Path(root)
    classes = _classes(objects)
    seen: Table = {}
    chosen = _choose(root, split)
    if not isinstance(chosen, Listing):
        names = root / f"{split}.txt"
        table, problems = image_labels(root / TABLE, ALL)
        seen = {name: tuple(map(_seen_as, labels)) for name, labels in table.items()}
        remedy = "leave out --data.args.objects: then 15 kinds of objects lie on background"
        chosen = on_background(root, classes, remedy) or with_table(
            names, chosen, root / TABLE, seen, problems, f"{names} names it"
        )
    return Tagged(chosen, classes, colours(len(classes)), looked_up(seen, stem))


def _classes(objects: bool) -> tuple[str, ...]:
    return (BACKGROUND, *OBJECTS) if objects else ALL


def _seen_as(name: str) -> str:
    return BACKGROUND if name in SURROUNDINGS else name


def _choose(root: Path, split: str) -> list[tuple[str, Path]] | Listing:
    """Return id and image of all that a list names, there or not; a `Listing` where there is no such split."""
    for place in (root / "images", root / TABLE, root / f"{split}.txt"):
        if not place.exists():
            given = f"is not there, expected {LAYOUT}" if root.is_dir() else "is not there, nor is its root"
            return nothing(place, given, "point --data.root at the folder that holds them")
    folder = root / "images" / split
    found = (root / f"{split}.txt").read_text().split()
    return [(name, folder / f"{name}{IMAGE_SUFFIXES[0]}") for name in found]
