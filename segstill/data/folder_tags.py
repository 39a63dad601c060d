"""Your own images with tags: a table beside the images, or one folder per class."""

from collections import defaultdict
from functools import partial
from pathlib import Path

from .files import IMAGE_SUFFIXES, SPLITS, Listing, Problem, colours, image_files, listed, nothing, summed
from .folder import TABLE, Chosen, check_names, choose, none_wanted
from .tags import Row, Tagged, gathered, looked_up, on_background, tag_rows, with_table

LAYOUTS = f"{TABLE} with rows image,tag;tag or a folder per class"


def folder_tagged(
    root: str | Path,
    split: str,
    *,
    classes: tuple[str, ...],
    images: str = "images",
    masks: str = "masks",  # noqa: ARG001  (takes what `folder` takes)
) -> Tagged:
    """Open a folder of images and tags, without complaint about its files; masks are not looked at.

    The tags come from the first of these that is there:

    1. a table: `root/tags.csv` with a row `a.jpg,cat;dog` per image of all splits (the suffix may be left out, and
       `train/a.jpg` tells images of one name in two splits apart); the images lie, and are split, as for `folder`;
    2. a folder per class: `root/images/train/cat/a.jpg`, the same for val and test, or `root/images/cat/a.jpg`, of
       which one image in five is for validation; a list `root/train.txt` then has lines `cat/a.jpg`.  Such an image
       shows one class and is named `cat/a`.

    The tag `background` is for images that show none of the other classes.

    Args:
        root: the folder.
        split: train, val or test.
        classes: names, "background" first.
        images: name of the folder of images below `root`.
        masks: not used.

    Raises:
        ValueError: for the classes as `folder` does.
    """
    check_names(classes)
    root = Path(root)
    palette, place = colours(len(classes)), root / images
    named = on_background(root, classes, "pass it first: --data.classes background NAME ...") if root.is_dir() else None
    if (root / TABLE).is_file():
        table, problems = _table(root, place, classes)
        listing = named or _listing(root, split, images, table, problems)
        return Tagged(listing, classes, palette, looked_up(table, partial(_key, place)), upright=True)
    chosen = choose(root, split, images, partial(_by_class, classes=classes))
    if isinstance(chosen, Chosen) and not any(path.name in classes for path in _folders(chosen.folder)):
        given = f"is not there, nor is a folder per class in {chosen.folder}, expected {LAYOUTS}"
        chosen = nothing(root / TABLE, given, "write one of them, or use masks")
    elif isinstance(chosen, Chosen):
        chosen = named or _by_folder(chosen, split)
    return ByClass(chosen, classes, palette, _folder_name, upright=True)


class ByClass(Tagged):
    """Images in a folder per class."""

    def name(self, index: int) -> str:
        """Return class and file name without suffix, as `cat/a`."""
        path = self.listing.pairs[index][0]
        return f"{path.parent.name}/{path.stem}"


def _table(root: Path, images: Path, classes: tuple[str, ...]) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Read the table by the images' paths below their folder, as `train/a.jpg`."""
    file = root / TABLE
    rows, problems = tag_rows(file)
    places = [images / name for name in SPLITS if (images / name).is_dir()] or [images]
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for place in places:
        for stem, path in image_files(place)[0].items():
            by_stem[stem].append(path)
    found: list[Row] = []
    missing: list[Problem] = []
    for row in rows:
        fitting = [path for path in by_stem[row.stem] if row.means(path)]
        if len(fitting) == 1:
            found.append(row._replace(image=_key(images, fitting[0])))
        elif fitting:
            given = f"names {row.image!r} in line {row.line}, which {[_key(images, path) for path in fitting]} are"
            problems.append(Problem("error", file, given, "write the folder of the split before it"))
        else:
            given = f"is missing, though {file} names it in line {row.line}"
            missing.append(Problem("error", images / row.image, given, "add the image or remove the row"))
    table, more = gathered(file, found, classes)
    return table, [*problems, *summed(missing, file), *more]


def _listing(
    root: Path, split: str, images: str, table: dict[str, tuple[str, ...]], problems: list[Problem]
) -> Listing:
    chosen = choose(root, split, images)
    if isinstance(chosen, Listing):
        return chosen
    wanted = [(_key(root / images, chosen.found[stem]), chosen.found[stem]) for stem in chosen.wanted]
    found = [*chosen.problems, *problems, *none_wanted(chosen, split)]
    return with_table(chosen.source, wanted, root / TABLE, table, found, f"{chosen.source} names it")


def _by_folder(chosen: Chosen, split: str) -> Listing:
    wanted = [(chosen.found[name], chosen.found[name].parent) for name in chosen.wanted]
    problems = [*chosen.problems, *none_wanted(chosen, split)]
    return listed(chosen.source, wanted, f"{chosen.source} names it", problems)


def _by_class(place: Path, *, classes: tuple[str, ...]) -> tuple[dict[str, Path], list[Problem]]:
    """Return the images of all folders of classes, as `cat/a`, and what is wrong there."""
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for folder in _folders(place):
        images, wrong = image_files(folder)
        if folder.name in classes:
            found |= {f"{folder.name}/{stem}": path for stem, path in images.items()}
            problems += [problem for problem in wrong if problem.file != folder]  # `check` names classes without images
        else:
            given = f"is the folder of no class, expected some of {list(classes)}"
            problems.append(Problem("error", folder, given, "rename it, move it, or add the class"))
    if place.is_dir():
        strays = [path for path in sorted(place.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
        remedy = "move it into one of them"
        problems += summed([Problem("error", path, "is in no folder of a class", remedy) for path in strays], place)
    return found, problems


def _folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [path for path in sorted(place.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def _key(images: Path, path: Path) -> str:
    return path.relative_to(images).as_posix()


def _folder_name(folder: Path, _: Path) -> tuple[str]:
    return (folder.name,)
