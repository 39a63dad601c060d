"""A starting recipe for somebody's own images: looked at, sized for the machine, written as Python to be changed.

segstill init mine --images photos --tags tags.csv
segstill chain mine/recipe.py
"""

import dataclasses
import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from .checkpoint import write
from .data import open_dataset, open_tagged
from .data.folder import TABLE, VALIDATION_SHARE
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
    if not tagged and masks is None:
        raise ValueError(
            f"{images} is given without tags, masks or a folder per class, expected one of them: pass --tags "
            f"{TABLE} or --masks DIR"
        )
    said = [f"{path} does not decode and is left out" for path in damaged]
    names = _classes(found, classes, tagged, said)
    labelled = _labelled(found, tagged)
    train, val = _split(found, labelled)
    rest = [path for name, path in found.images.items() if name not in labelled and _may_be_learned(name, found)]
    inside = "train" if found.splits else ""
    facts = Facts(
        name=folder.absolute().name,
        classes=names,
        tagged=tagged,
        images=os.path.relpath(images, folder),
        masks=None if masks is None else os.path.relpath(masks, folder),
        train_masks=None if masks is None else os.path.relpath(masks / inside, folder),
        validates_on_masks=found.masks >= set(val),
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
    if tags is not None:
        files[TABLE] = tags.read_bytes()
    there = [name for name in (*files, *([UNLABELLED] if rest else [])) if (folder / name).exists()]
    if there and not force:
        raise FileExistsError(f"{folder} holds {', '.join(there)} already: choose another folder, or pass --force")
    # Beside the folder first, where the same relative paths lead to the images: what is wrong with them shows there.
    trial = folder.absolute().with_name(f".{folder.absolute().name}.trial")
    try:
        _write(trial, files, rest)
        _check(trial / "recipe.py", tagged)
    except (ValueError, OSError) as error:
        told = str(error).replace(str(trial / TABLE), str(tags)) if tags else str(error)
        raise ValueError(f"{told.replace(str(trial), str(folder))} (nothing was written)") from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    _write(folder, files, rest)
    return Started(folder / "recipe.py", facts, tuple(said))


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


def _labelled(found: Survey, tagged: bool) -> set[str]:
    """Return the names of the images that have tags (of any kind), or masks."""
    if found.by_class:
        return set(found.images)
    if not tagged:
        return set(found.masks)
    stems = set(found.tags)
    return {name for name in found.images if name in stems or name.rpartition("/")[2] in stems}


def _split(found: Survey, labelled: set[str]) -> tuple[list[str], list[str]]:
    """Return the names of training and validation images; one in five by a hash, as the data set itself would do."""
    if found.splits:
        train, val = (sorted(n for n in labelled if n.startswith(f"{split}/")) for split in ("train", "val"))
    else:
        by_hash = sorted(labelled, key=lambda name: hashlib.blake2b(name.encode()).digest())
        count = max(1, round(len(by_hash) * VALIDATION_SHARE))
        train, val = sorted(by_hash[count:]), sorted(by_hash[:count])
    if not train or not val:
        raise ValueError(
            f"{len(train)} images with labels are there to train on and {len(val)} to validate on, expected at least "
            "one each: add images, tags or masks"
        )
    return train, val


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


def _clear(links: Path) -> None:
    """Remove a folder of links that an earlier start made; never one that holds files."""
    if not links.exists():
        return
    if any(not path.is_symlink() for path in links.iterdir()):
        raise FileExistsError(f"{links} holds files of yours, expected links of an earlier start: move it elsewhere")
    shutil.rmtree(links)


def _check(file: Path, tagged: bool) -> None:
    """Open what the recipe names, so that what is wrong shows now."""
    read_chain_file(str(file))
    data = read_recipe_file(str(file)).data
    for split in ("train", "val"):
        (open_tagged if tagged else open_dataset)(data, split)


def _shortened(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
