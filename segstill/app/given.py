"""The image that somebody gave to the page."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..data.pictures import FileError, check_foreign, read_image
from ..data.transforms import shrink

MOST_PIXELS = 50_000_000
"""A file of a few kB can decode to gigabytes; cameras of phones stay below this."""
LONGEST = 2048
"""Pixels of the longest side that networks see here, so that a photograph fits the memory of any machine."""


class Given(NamedTuple):
    """An image, upright."""

    name: str
    image: Tensor
    """(3, H, W) uint8, no side longer than `LONGEST`."""
    size: tuple[int, int]
    """H and W before that."""
    digest: str
    """Of the file."""


def read_given(path: Path, name: str) -> Given:
    """Read an image that was uploaded; the number of its pixels is looked at before it is decoded.

    Args:
        path: the file.
        name: what the user calls it.

    Raises:
        ValueError: no image, a damaged one, or one of too many pixels; the sentence names the file as the user does.
    """
    try:
        check_foreign(path, most=MOST_PIXELS)
    except FileError as error:
        _, problem, remedy = error.args
        raise ValueError(f"{name} {problem}: {remedy}") from error
    try:
        image = read_image(path)
    except FileError as error:
        raise ValueError(f"{name} is a damaged image: choose another file") from error
    size = (image.shape[1], image.shape[2])
    return Given(name, shrink(image, LONGEST), size, hashlib.sha256(path.read_bytes()).hexdigest())
