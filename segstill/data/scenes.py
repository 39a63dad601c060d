"""Scenes drawn on the fly: textured shapes over and behind each other, seeded, with nothing to download.

Colour and texture are hints and no more: classes share hues, and many a shape has another hue or texture than is usual.
So a network learns something within seconds, but must see outlines at any size, turn and occlusion to get far; the
ground even holds shadows of shapes that are not there.  That rewards capacity and labels.
"""

import math
from colorsys import hsv_to_rgb
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dataset import SegmentationDataset
from .files import SPLITS
from .shapes import SHAPES, Array, Distance, Rng, pole

PALETTE = (
    (38, 38, 48),
    (239, 99, 81),
    (247, 178, 103),
    (77, 144, 224),
    (88, 178, 108),
    (244, 224, 77),
    (164, 108, 212),
    (112, 224, 224),
)

HUES = (0.0, 0.0, 0.58, 0.08, 0.5, 0.2, 0.3, 0.66)
"""The usual hue of each class, in turns; that of the background is not used."""
TYPICAL_HUE = 0.85
"""Share of the shapes that have the usual hue of their class; the others have any."""
TYPICAL_TEXTURE = 0.7
"""Share of the shapes that have the usual texture of their class; the others have any."""
TEXTURES = (0, 3, 0, 1, 2, 0, 4, 1)
"""The usual texture of each class: gradient, stripes, checks, dots or clouds."""


def scenes(
    split: str,
    *,
    count: int = 512,
    size: tuple[int, int] = (96, 128),
    seed: int = 0,
    kinds: tuple[int, int] | None = None,
) -> "Scenes":
    """Draw scenes of seven shapes on a background.

    Args:
        split: train, val or test; no scene occurs in two of them.
        count: scenes for training, 1 or more; val and test have a quarter as many.
        size: height and width in pixels, 32 or more; the shapes grow with it.
        seed: another seed gives other scenes, 0 or more.
        kinds: fewest and most kinds of shapes in a scene, 1 to 7, of which two shapes more are drawn.  None draws 4 to
            7 kinds, and two shapes more of any kind: so many that tags tell little.

    Raises:
        ValueError: an argument is out of range.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {list(SPLITS)}")
    if count < 1:
        raise ValueError(f"count is {count}: pass 1 or more scenes")
    if len(size) != 2 or min(size) < 32:
        raise ValueError(f"size is {size}: pass a height and a width of at least 32 pixels")
    if seed < 0:
        raise ValueError(f"seed is {seed}: pass 0 or more")
    if kinds is not None and not 1 <= kinds[0] <= kinds[1] <= len(SHAPES):
        raise ValueError(f"kinds is {kinds}: pass the fewest and the most, from 1 to {len(SHAPES)}")
    return Scenes(split, count if split == "train" else max(1, count // 4), (size[0], size[1]), seed, kinds)


def scenes_tagged(split: str, **arguments: Any) -> SegmentationDataset:
    """Draw the scenes of `scenes` with tags in place of masks: the kinds of which a pixel can be seen."""
    return TaggedScenes(scenes(split, **arguments))


class Scenes(SegmentationDataset):
    """Drawn scenes; `scenes` makes them."""

    palette = PALETTE

    def __init__(self, split: str, count: int, size: tuple[int, int], seed: int, kinds: tuple[int, int] | None):
        self.classes = ("background", *SHAPES)
        self._split = split
        self._count = count
        self._size = size
        self._seed = seed
        self._kinds = kinds

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self._count:
            raise IndexError(f"scene {index} of {self._count}")
        rng = np.random.default_rng((self._seed, SPLITS.index(self._split), index))
        image, mask = draw_scene(rng, *self._size, self._kinds)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

    def name(self, index: int) -> str:
        """Return split and number."""
        return f"{self._split}-{index:04d}"


class TaggedScenes(SegmentationDataset):
    """Drawn scenes with tags; `scenes_tagged` makes them."""

    def __init__(self, drawn: Scenes):
        self.classes = drawn.classes
        self.palette = drawn.palette
        self._drawn = drawn
        self._tags: dict[int, Tensor] = {}  # kept, because to see a scene's tags it must be drawn

    def __len__(self) -> int:
        return len(self._drawn)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        image, mask = self._drawn[index]
        self._tags[index] = torch.isin(torch.arange(1, len(self.classes)), mask).float()
        return image, None

    def tags(self, index: int) -> Tensor:
        """Return the kinds of which a pixel can be seen, (7,) float in {0, 1}."""
        if index not in self._tags:
            self[index]
        return self._tags[index]

    def name(self, index: int) -> str:
        """Return split and number."""
        return self._drawn.name(index)


def draw_scene(
    rng: Rng, height: int, width: int, kinds: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one scene; see `scenes` for `kinds`.

    Returns:
        Image (height, width, 3) and mask (height, width), both uint8.
    """
    unit = min(height, width) / 96
    clouds = _clouds(rng, height, width, 7 * unit)
    light = rng.uniform(0, 2 * math.pi)
    rows, columns = _grid(height, width)
    ground = _turned(rng, rows - height / 2, columns - width / 2)
    colours = _colour(rng, rng.random(), 0.3), _colour(rng, rng.random(), 0.3)
    picture = _painted(rng, *ground, 0.5 * min(height, width), clouds, int(rng.integers(5)), colours)
    mask = np.zeros((height, width), np.uint8)
    shapes = list(SHAPES.values())
    for _ in range(rng.integers(0, 3)):
        _place(rng, picture, None, 0, shapes[rng.integers(len(shapes))], clouds, light, unit)
    order = rng.permutation(len(shapes))
    fewest, most = kinds or (4, len(shapes))
    chosen = order[: rng.integers(fewest, most + 1)]
    more = rng.integers(0, len(shapes), 2)
    for kind in [*chosen.tolist(), *(chosen[more % len(chosen)] if kinds else more).tolist()]:
        _place(rng, picture, mask, kind + 1, shapes[kind], clouds, light, unit)
    picture *= (0.75 + 0.4 * _clouds(rng, height, width, 60 * unit))[..., None]
    picture += np.float32(rng.uniform(0.01, 0.035)) * rng.standard_normal(picture.shape, np.float32)
    return (picture.clip(0, 1) * 255).astype(np.uint8), mask


def _place(
    rng: Rng,
    picture: Array,
    mask: NDArray[np.uint8] | None,
    label: int,
    shape: Distance,
    clouds: Array,
    light: float,
    unit: float,
) -> None:
    """Draw one shape over the picture and the mask; without a mask only its shadow falls on the picture."""
    height, width = picture.shape[:2]
    radius = unit * math.exp(rng.uniform(math.log(11), math.log(28)))
    reach = math.ceil((2.2 if shape is pole else 1.3) * radius + 4 * unit)
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = max(0, int(y) - reach), min(height, int(y) + reach)
    left, right = max(0, int(x) - reach), min(width, int(x) + reach)
    window = slice(top, bottom), slice(left, right)
    rows, columns = (part[window] for part in _grid(height, width))
    up, along = _turned(rng, rows - y, columns - x)
    distance = shape(rng, up, along, radius)
    if mask is None:
        picture[window] *= 1 - (0.55 * (0.5 - distance / (1.5 * unit)).clip(0, 1))[..., None]
        return
    shade = 1 + 0.3 * ((rows - y) * math.sin(light) + (columns - x) * math.cos(light)) / radius
    shade *= 1 - 0.35 * np.exp(np.minimum(distance, 0) / (1.5 * unit))
    hue = HUES[label] if rng.random() < TYPICAL_HUE else rng.random()
    texture = TEXTURES[label] if rng.random() < TYPICAL_TEXTURE else int(rng.integers(5))
    colours = _colour(rng, hue, 0.9), _colour(rng, hue, 0.9)
    colour = _painted(rng, up, along, radius, clouds[window], texture, colours) * shade[..., None]
    shadow = 0.45 * np.exp(-np.maximum(distance, 0) / (2 * unit)) * (distance < 6 * unit)
    cover = (0.5 - distance).clip(0, 1)[..., None]
    patch = picture[window]
    patch *= 1 - shadow[..., None]
    patch += (colour - patch) * cover
    mask[window][distance < 0] = label


def _painted(
    rng: Rng, up: Array, along: Array, radius: float, clouds: Array, texture: int, colours: tuple[Array, Array]
) -> Array:
    """Return colours (h, w, 3): the two given ones, mixed by a texture."""
    turn = 2 * math.pi / (radius * rng.uniform(0.25, 0.9))
    match texture:
        case 0:
            mix = 0.5 + along / (2 * radius)
        case 1:
            mix = 0.5 + 2 * np.sin(turn * along)
        case 2:
            mix = 0.5 + 4 * np.sin(turn * along) * np.sin(turn * up)
        case 3:
            mix = 3 * (np.cos(turn * along) + np.cos(turn * up)) - 1.5
        case _:
            mix = 3 * clouds - 1
    mix = (mix + 0.7 * (clouds - 0.5)).clip(0, 1)[..., None]
    first, second = colours
    return first + mix * (second - first)


def _colour(rng: Rng, hue: float, saturation: float) -> Array:
    """Return a colour (3,) near a hue and at most that saturated, neither dark nor glaring."""
    hue += rng.normal(0, 0.03)
    return np.array(hsv_to_rgb(hue % 1, saturation * rng.uniform(0.4, 1), rng.uniform(0.35, 0.95)), np.float32)


def _clouds(rng: Rng, height: int, width: int, cell: float) -> Array:
    """Return smooth noise (height, width) in [0, 1] with spots of about `cell` pixels and finer ones in them."""
    total = np.zeros((height, width), np.float32)
    for share, finer in ((0.6, 1), (0.4, 3)):
        rows, columns = (2 + math.ceil(length * finer / cell) for length in (height, width))
        values = rng.random((rows, columns), np.float32)
        total += share * _spread(_spread(values, height).T, width).T
    return total


def _spread(values: Array, length: int) -> Array:
    """Blend (n, m) values smoothly to (length, m); without a matrix product, whose threads cost more than they give."""
    below, weight = _blend(length, len(values))
    return values[below] + weight[:, None] * (values[below + 1] - values[below])


@cache
def _blend(length: int, cells: int) -> tuple[NDArray[np.intp], Array]:
    """Return for each of `length` pixels the cell below it and the weight of the next one."""
    place = np.linspace(0, cells - 1.001, length)
    below = place.astype(np.intp)
    weight = place - below
    return below, (weight * weight * (3 - 2 * weight)).astype(np.float32)


@cache
def _grid(height: int, width: int) -> tuple[Array, Array]:
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    return rows, columns


def _turned(rng: Rng, rows: Array, columns: Array) -> tuple[Array, Array]:
    angle = rng.uniform(0, 2 * math.pi)
    sine, cosine = np.float32(math.sin(angle)), np.float32(math.cos(angle))
    return cosine * rows - sine * columns, sine * rows + cosine * columns
