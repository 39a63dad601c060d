"""ADE20K: scenes of all kinds, 150 classes, 20,210 for training and 2,000 for validation.

Zhou, Zhao, Puig, Fidler, Barriuso, Torralba, Scene parsing through ADE20K dataset, CVPR 2017; the version of the scene
parsing benchmark (ADEChallengeData2016).
"""

from pathlib import Path

from ..batch import IGNORE
from .dataset import SegmentationDataset
from .files import (
    IMAGE_SUFFIXES,
    MASK_SUFFIX,
    Listing,
    Pairs,
    colours,
    image_files,
    listed,
    mask_files,
    nothing,
    png_masks,
    sound,
)

CLASSES = tuple(
    """wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door,
    table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair,
    seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers,
    counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table,
    pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench,
    countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel,
    light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track, apparel,
    pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt,
    canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball,
    food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood,
    sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator,
    glass, clock, flag""".replace("\n    ", " ").split(", ")
)
"""The first of each class's names in `objectInfo150.txt`."""
PALETTE = colours(len(CLASSES))
MEANING = {0: IGNORE, **{number + 1: number for number in range(len(CLASSES))}}
FOLDERS = {"train": "training", "val": "validation"}
LAYOUT = "images/{training,validation}/<id>.jpg and annotations/{training,validation}/<id>.png"


def ade20k(root: str | Path, split: str) -> SegmentationDataset:
    """Open ADE20K as the archive `ADEChallengeData2016` extracts.

    `images/{training,validation}/<id>.jpg` with `annotations/{training,validation}/<id>.png`, whose value 0 becomes 255
    and 1 to 150 the classes 0 to 149.  The masks of the test images are not public.

    Args:
        root: the folder that holds these, or one that holds them in a folder `ADEChallengeData2016`.
        split: train or val.

    Raises:
        FileNotFoundError: a folder, or the image or the mask of a pair, is missing.
        ValueError: the test split, or an archive that was extracted in part.
    """
    return sound(ade20k_files(root, split))


def ade20k_files(root: str | Path, split: str) -> Pairs:
    """Open it without complaint about its files."""
    return Pairs(_listing(Path(root), split), CLASSES, PALETTE, png_masks(CLASSES, MEANING))


def _listing(root: Path, split: str) -> Listing:
    top = root / "ADEChallengeData2016" if (root / "ADEChallengeData2016").is_dir() else root
    if not any((top / kind / name).is_dir() for kind in ("images", "annotations") for name in FOLDERS.values()):
        given = f"is not there, expected {LAYOUT}" if root.is_dir() else "is not there, nor is its root"
        return nothing(top / "images", given, "point --data.root at the folder that holds them")
    if split == "test":
        return nothing(top, "has no test split: the masks of the test images are not public", "use the split val")
    images, masks = top / "images" / FOLDERS[split], top / "annotations" / FOLDERS[split]
    found, problems = image_files(images)
    drawn, more = mask_files(masks)
    if not found or not drawn:
        return Listing(images, problems=(*problems, *more))
    wanted = [
        (found.get(key, images / f"{key}{IMAGE_SUFFIXES[0]}"), drawn.get(key, masks / f"{key}{MASK_SUFFIX}"))
        for key in sorted(found.keys() | drawn.keys())
    ]
    return listed(images, wanted, "its counterpart is there", [*problems, *more])
