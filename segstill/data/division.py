"""Which of somebody's labelled images are for training and which for validation, and what there is to say of that."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from .folder import VALIDATION_SHARE
from .survey import Survey
from .tags import BACKGROUND


class Division(NamedTuple):
    """Names of images, sorted."""

    train: list[str]
    val: list[str]
    said: tuple[str, ...]
    """What the user should know of it, in sentences."""


def labelled(found: Survey) -> set[str]:
    """Return the names of the images that have tags (of any kind), or masks where there are no tags."""
    if found.by_class:
        return set(found.images)
    return (set(found.tags) or set(found.masks)) & found.images.keys()


def divide(found: Survey, classes: tuple[str, ...]) -> Division:
    """Divide as the folders say; without them, one image in five by a hash is for validation.

    By a hash, images with tags and true masks are for validation if there are enough of them for all of it, since a
    score against seed masks is no accuracy; otherwise all of them are for training.  A class keeps a training image.

    Args:
        found: what is there.
        classes: names, of which those are told that no training image has as a tag.

    Raises:
        ValueError: there is no image for one of both.
    """
    names = labelled(found)
    if found.splits:
        train, val = (sorted(name for name in names if name.startswith(f"{split}/")) for split in ("train", "val"))
    else:
        val = _validated(found, names)
        train = sorted(names - set(val))
    if not train or not val:
        raise ValueError(
            f"{len(train)} images with labels are there to train on and {len(val)} to validate on, expected at least "
            "one each: add images, tags or masks"
        )
    return Division(train, val, (*_of_masks(found, train, val), *_of_classes(found, train, classes)))


def _validated(found: Survey, names: set[str]) -> list[str]:
    count = _count(names)
    masked = names & found.masks
    among = masked if len(masked) >= count else names - masked
    left = Counter(shown for name in names for shown in _shown(found, name))
    chosen: list[str] = []
    by_hash = sorted(among, key=lambda name: hashlib.blake2b(name.encode()).digest())
    for name in by_hash:
        if len(chosen) < count and all(left[shown] > 1 for shown in _shown(found, name)):
            chosen.append(name)
            left.subtract(_shown(found, name))
    return sorted(chosen or by_hash[:1])  # where every image is the only one of a class, there is no better choice


def _count(names: set[str]) -> int:
    return max(1, round(len(names) * VALIDATION_SHARE))


def _shown(found: Survey, name: str) -> set[str]:
    """Return the classes that an image shows as far as tags tell it; the background is in every image."""
    tags = (name.partition("/")[0],) if found.by_class else found.tags.get(name, ())
    return set(tags) - {BACKGROUND}


def _of_masks(found: Survey, train: list[str], val: list[str]) -> Iterator[str]:
    if not (found.tags and found.masks):
        return
    trained, validated = (len(found.masks & set(names)) for names in (train, val))
    told = f"true masks: {trained} for training, in place of seed masks, and"
    if validated == len(val):
        yield f"{told} {validated} for validation"
    elif validated:
        yield (
            f"{told} 0 for validation, which takes seed masks: {validated} of the {len(val)} images of val have a true "
            "mask and these stay unused; draw the others too, or leave the others out"
        )
    else:
        wanted = len(val) if found.splits else _count({*train, *val})
        yield f"{told} 0 for validation, which takes seed masks, expected at least {wanted} to validate on true ones"
    if without := found.masks - labelled(found):
        yield f"true masks of {len(without)} images without tags stay unused, {min(without)} the first: add their tags"


def _of_classes(found: Survey, train: list[str], classes: tuple[str, ...]) -> Iterator[str]:
    if not (found.tags or found.by_class):
        return
    learned = {BACKGROUND}.union(*(_shown(found, name) for name in train))
    if missing := [name for name in classes if name not in learned]:
        yield f"no training image shows {', '.join(missing)}, so this is not learned: add images of it"
