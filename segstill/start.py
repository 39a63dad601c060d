"""A starting recipe for somebody's own images: looked at, sized for the machine, written as Python to be changed.

segstill init mine --images photos --tags tags.csv
segstill chain mine/recipe.py
"""

import dataclasses
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from .checkpoint import write
from .data import open_dataset, open_tagged
from .data.division import divide, labelled
from .data.folder import TABLE
from .data.survey import Survey, survey
from .data.tags import BACKGROUND
from .models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from .recipe_files import read_chain_file, read_recipe_file
from .start_text import Facts, Machine, recipe_text

UNLABELLED = "unlabelled"
"""Folder of links to images without labels."""


class Started(NamedTuple):
    """What was written."""

    file: Path
    facts: Facts
    said: tuple[str, ...]
    """What was found out and decided, in sentences."""


def start(
    folder: Path,
    images: Path,
    *,
    tags: Path | None = None,
    masks: Path | None = None,
    classes: tuple[str, ...] = (),
    weights: str | None = "imagenet",
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    force: bool = False,
) -> Started:
    """Write `recipe.py`, the lists of the splits and the table of tags into a folder; images and masks stay in place.

    Args:
        folder: created, if need be.
        images: see `survey`.
        tags: a table with rows `image,tag;tag`; for images in a folder per class, none.
        masks: PNG masks; beside tags, those of some images.
        classes: names in the order of the mask values; with tags, all names that occur, unless others are given.
        weights: of encoders: "imagenet" downloads them, None begins at random; or a file.
        mean: per channel, of images in [0, 1], as the weights expect it.
        std: likewise.
        force: replace files that are there.

    Raises:
        FileExistsError: a file that would be written is there, and `force` is false.
        FileNotFoundError, ValueError: what is given does not fit together; nothing was written.
    """
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise FileNotFoundError(
            f"there is no file of weights {weights}: correct --weights, leave it out to download the usual ones, or "
            "pass None to begin at random"
        )
    found, damaged = _sound(survey(images, tags, masks))
    tagged = bool(found.tags or found.by_class)
    beside = [str(images / name) for name in found.beside]
    if not tagged and masks is None:
        unread = f"; {', '.join(beside)} is none, because images lie beside it" if beside else ""
        raise ValueError(
            f"{images} is given without tags, masks or a folder per class, expected one of them: pass --tags "
            f"{TABLE} or --masks DIR{unread}"
        )
    place = Path(os.path.abspath(folder))
    if found.by_class and Path(os.path.abspath(images)) in (place, place.parent):
        raise ValueError(
            f"{folder} would lie among the folders of classes in {images}, where the recipe's files are taken for a "
            "class: choose another folder"
        )
    said = [f"{path} does not decode and is left out" for path in damaged]
    said += [f"the images in {path} are not read, because images lie beside this folder" for path in beside]
    names = _classes(found, classes, tagged, said)
    train, val, about = divide(found, names)
    said += about
    known = labelled(found)
    rest = [path for name, path in found.images.items() if name not in known and _may_be_learned(name, found)]
    inside = "train" if found.splits else ""
    on_masks = found.masks >= set(val)
    facts = Facts(
        name=place.name,
        classes=names,
        tagged=tagged,
        images=os.path.relpath(images, folder),
        masks=_opened(masks if on_masks else None, folder),
        train_masks=None if masks is None else os.path.relpath(masks / inside, folder),
        validates_on_masks=on_masks,
        weights=_place(weights, folder),
        mean=mean,
        std=std,
        train=len(train),
        val=len(val),
        unlabelled=len(rest),
        true_masks=len(found.masks & set(train)),
        height=found.height,
        width=found.width,
        machine=machine(),
    )
    files: dict[str, bytes | str] = {"recipe.py": recipe_text(facts)}
    files |= {"train.txt": _lines(train, found), "val.txt": _lines(val, found)}
    if tags is not None and not _same(tags, folder / TABLE):
        files[TABLE] = tags.read_bytes()
        said.append(f"{folder / TABLE} is a copy of {tags}: the copy counts, and later changes of {tags} do not")
    said.append(
        f"train.txt and val.txt in {folder} name the images: init with --force takes in images, tags and masks that "
        "are added later, and writes recipe.py anew"
    )
    there = [name for name in (*files, *([UNLABELLED] if rest else [])) if (folder / name).exists()]
    if there and not force:
        raise FileExistsError(f"{folder} holds {', '.join(there)} already: choose another folder, or pass --force")
    _try(folder, files, rest, facts, tags)
    _write(folder, files, rest)
    return Started(folder / "recipe.py", facts, tuple(said))


def _opened(masks: Path | None, folder: Path) -> str | None:
    """Return the masks to validate on as seen from the recipe; where there are none, its usual folder is not opened."""
    if masks is not None:
        return os.path.relpath(masks, folder)
    return "no_masks" if (folder / "masks").exists() else None


def _place(weights: str | None, folder: Path) -> str | None:
    """Return a file of weights as it is seen from the recipe, unless it is given from the root."""
    if weights in (None, "imagenet") or Path(weights).is_absolute():
        return weights
    return os.path.relpath(weights, folder)


def _sound(found: Survey) -> tuple[Survey, list[Path]]:
    """Return what was found without the images that do not decode, and these."""
    damaged = set(found.unreadable)
    images = {name: path for name, path in found.images.items() if path not in damaged}
    return dataclasses.replace(found, images=images, masks=found.masks & images.keys()), sorted(damaged)


def machine() -> Machine:
    """Look at cores, memory and GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = 0.0
    with suppress(ValueError, OSError, AttributeError):  # Windows has no sysconf
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if not torch.cuda.is_available():
        return Machine(cores, memory, None, 0.0)
    about = torch.cuda.get_device_properties(0)
    return Machine(cores, memory, about.name, about.total_memory / 2**30)


def _classes(found: Survey, given: tuple[str, ...], tagged: bool, said: list[str]) -> tuple[str, ...]:
    occurring = sorted({tag for tags in found.tags.values() for tag in tags} | set(found.by_class))
    if tagged:
        names = given or tuple(name for name in occurring if name != BACKGROUND)
        if not given:
            said.append(f"classes, from the tags: {', '.join(names)}")
        if BACKGROUND not in names:
            names = (BACKGROUND, *names)
    elif not given:
        most = found.values[-1] + 1 if found.values else 0
        raise ValueError(
            f"the masks hold the values {_shortened(found.values)} and their names are not given, expected at least "
            f"{most} names in the order of the values: pass --classes NAME NAME ..."
        )
    else:
        names = given
    if found.values and found.values[-1] >= len(names):
        raise ValueError(
            f"the masks hold the value {found.values[-1]} and there are {len(names)} classes, {list(names)}, expected "
            "values below that, or 255 for no label: pass all names, or correct the masks"
        )
    return names


def _may_be_learned(name: str, found: Survey) -> bool:
    """Tell whether an image without labels is one to learn from: all but those of val and test."""
    return not found.splits or name.startswith("train/")


def _lines(names: list[str], found: Survey) -> str:
    return "".join(f"{name.partition('/')[2] if found.splits else name}\n" for name in names)


def _write(folder: Path, files: dict[str, bytes | str], rest: list[Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    links = folder / UNLABELLED
    if rest:
        _clear(links)
        links.mkdir()
        for path in rest:
            (links / path.name).symlink_to(os.path.relpath(path, links))
    for name, content in files.items():
        write(folder / name, content)


def _same(file: Path, other: Path) -> bool:
    return other.exists() and other.samefile(file)


def _try(folder: Path, files: dict[str, bytes | str], rest: list[Path], facts: Facts, tags: Path | None) -> None:
    """Write all beside the folder first, where relative paths lead to the same images: what is wrong shows there."""
    place = Path(os.path.abspath(folder))
    trial = place.with_name(f".{place.name}.trial")
    shutil.rmtree(trial, ignore_errors=True)  # of a start that was killed
    try:
        trial.mkdir(parents=True)
        written = {*files, "__pycache__", *([UNLABELLED] if rest else [])}
        for path in place.iterdir() if place.is_dir() else ():  # images may lie there, or lists that are read too
            if path.name not in written:
                (trial / path.name).symlink_to(path)
        _write(trial, files, rest)
        _check(trial / "recipe.py", facts)
    except (ValueError, OSError) as error:
        told = str(error).replace(str(trial / TABLE), str(tags)) if tags else str(error)
        raise ValueError(f"{told.replace(str(trial), str(folder))} (nothing was written)") from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _clear(links: Path) -> None:
    """Remove a folder of links that an earlier start made; never one that holds files."""
    if not links.exists():
        return
    if any(not path.is_symlink() for path in links.iterdir()):
        raise FileExistsError(f"{links} holds files of yours, expected links of an earlier start: move it elsewhere")
    shutil.rmtree(links)


def _check(file: Path, facts: Facts) -> None:
    """Open what the recipe names, so that what is wrong shows now."""
    read_chain_file(str(file))
    data = read_recipe_file(str(file)).data
    for split in ("train", "val"):
        (open_tagged if facts.tagged else open_dataset)(data, split)
    if facts.tagged and facts.validates_on_masks:
        open_dataset(data, "val")


def _shortened(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
