"""CamVid: street scenes from a driving car, 480 x 360 pixels, 11 classes.

Brostow, Fauqueur, Cipolla, Semantic object classes in video: a high-definition ground truth database, Pattern
Recognition Letters 2009; in the small version with 11 classes that came with SegNet: 367 images for training, 101 for
validation, 233 for the test.
"""

from pathlib import Path

from .dataset import SegmentationDataset
from .files import IMAGE_SUFFIXES, MASK_SUFFIX, SPLITS, Listing, Pairs, Problem, image_files

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
UNLABELLED = 11
"""How SegNet's own masks say 255."""
LAYOUTS = "images/<split>/<id>.jpg with masks/<split>/<id>.png, or SegNet's train/ with trainannot/ and so on"


def camvid(root: str | Path, split: str) -> SegmentationDataset:
    """Open CamVid in one of the two layouts it comes in.

    Either `images/<split>/<id>.jpg`, `masks/<split>/<id>.png` and optional lists `<split>.txt` of ids, with 255 for
    no label; or the folders of SegNet (`train`, `trainannot`, `val`, ...) with optional lists of two paths per line,
    with 11 for no label.

    Args:
        root: the folder that holds these, or one that holds them in a folder `CamVid`.
        split: train, val or test.

    Raises:
        FileNotFoundError: the root, a folder or a listed file is missing.
        ValueError: a folder is empty, or two files go by one id.
    """
    return Pairs(camvid_files(Path(root), split), CLASSES, PALETTE)


def camvid_files(root: Path, split: str) -> Listing:
    """List the files of a split and what is wrong with the list."""
    if (root / "CamVid").is_dir():
        root = root / "CamVid"
    names = root / f"{split}.txt"
    lines = names.read_text().split("\n") if names.is_file() else []
    entries = [line.split() for line in lines if line.strip()]
    if (root / "images").is_dir():
        folder, masks, ignore = root / "images" / split, root / "masks" / split, None
    elif any((root / f"{name}annot").is_dir() for name in SPLITS):
        folder, masks, ignore = root / split, root / f"{split}annot", UNLABELLED
    else:
        given = f"is not there, expected {LAYOUTS}" if root.is_dir() else "is not there, nor is its root"
        problem = Problem("error", root / "images", given, "point --data.root at the folder that holds them")
        return Listing(root, problems=(problem,), absent=True)
    if not entries:
        if not folder.is_dir():
            problem = Problem("error", folder, "does not exist", f"CamVid needs {LAYOUTS}")
            return Listing(folder, problems=(problem,), absent=True)
        images, problems = image_files(folder)
        wanted = [(path, masks / f"{stem}{MASK_SUFFIX}") for stem, path in images.items()]
        return _listing(folder, wanted, problems, ignore)
    wanted = [
        (_relocated(root, Path(entry[0])), _relocated(root, Path(entry[1])))
        if len(entry) == 2
        else (_with_suffix(folder / entry[0]), masks / f"{entry[0]}{MASK_SUFFIX}")
        for entry in entries
    ]
    return _listing(names, wanted, [], ignore)


def _listing(source: Path, wanted: list[tuple[Path, Path]], problems: list[Problem], ignore: int | None) -> Listing:
    """Keep the pairs that exist; the others are problems."""
    pairs: list[tuple[Path, Path]] = []
    seen: set[Path] = set()
    for image, mask in wanted:
        missing = [path for path in (image, mask) if not path.is_file()]
        problems += [
            Problem("error", path, f"is missing, though {source} names it", "restore the file or correct the list")
            for path in missing
        ]
        if image in seen:
            problems.append(Problem("error", source, f"names {image} twice", "remove one of the lines"))
        elif not missing:
            pairs.append((image, mask))
        seen.add(image)
    return Listing(source, tuple(pairs), tuple(problems), ignore=ignore)


def _relocated(root: Path, path: Path) -> Path:
    """The published lists hold absolute paths of somebody's machine; only the folder and the file name matter."""
    return root / Path(*path.parts[-2:])


def _with_suffix(path: Path) -> Path:
    """Return the image that goes by this id; where there is none, the name that it should have."""
    candidates = [path.with_name(path.name + suffix) for suffix in IMAGE_SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
