"""Scenes drawn on the fly: textured shapes over and behind each other, seeded, with nothing to download.

Colour and texture are hints and no more: classes share hues, and many a shape has another hue or texture than is usual.
So a network learns something within seconds, but must see outlines at any size, turn and occlusion to get far; the
ground even holds shadows of shapes that are not there.  That rewards capacity and labels.
"""

import math
from collections.abc import Callable
from colorsys import hsv_to_rgb
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dataset import SegmentationDataset
from .files import SPLITS

Array = NDArray[np.floating]
Rng = np.random.Generator
Distance = Callable[[Rng, Array, Array, float], Array]
"""Signed distance in pixels to an outline, negative inside, from centred coordinates and a radius."""

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


def scenes(split: str, *, count: int = 512, size: tuple[int, int] = (96, 128), seed: int = 0) -> SegmentationDataset:
    """Draw scenes of seven shapes on a background.

    Args:
        split: train, val or test; no scene occurs in two of them.
        count: scenes for training, 1 or more; val and test have a quarter as many.
        size: height and width in pixels, 32 or more; the shapes grow with it.
        seed: another seed gives other scenes, 0 or more.

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
    return Scenes(split, count if split == "train" else max(1, count // 4), (size[0], size[1]), seed)


class Scenes(SegmentationDataset):
    """Drawn scenes; `scenes` makes them."""

    palette = PALETTE

    def __init__(self, split: str, count: int, size: tuple[int, int], seed: int):
        self.classes = ("background", *SHAPES)
        self._split = split
        self._count = count
        self._size = size
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        if not 0 <= index < self._count:
            raise IndexError(f"scene {index} of {self._count}")
        image, mask = draw_scene(np.random.default_rng((self._seed, SPLITS.index(self._split), index)), *self._size)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

    def name(self, index: int) -> str:
        """Return split and number."""
        return f"{self._split}-{index:04d}"


def draw_scene(rng: Rng, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one scene.

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
    for kind in rng.permutation(len(shapes)).tolist()[: rng.integers(4, 8)] + rng.integers(0, len(shapes), 2).tolist():
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
    reach = math.ceil((2.2 if shape is _pole else 1.3) * radius + 4 * unit)
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


def _disc(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    return np.hypot(up, along * rng.uniform(1, 1.25)) - 0.9 * radius


def _ring(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    thickness = radius * rng.uniform(0.16, 0.28)
    return np.abs(np.hypot(up, along * rng.uniform(1, 1.25)) - (radius - thickness)) - thickness


def _box(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    return np.maximum(np.abs(up) - 0.8 * radius, np.abs(along) - radius * rng.uniform(0.45, 0.8))


def _triangle(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    half, slope = 0.5 * radius, math.sqrt(0.75) * rng.uniform(0.85, 1.15)
    return np.maximum(np.maximum(slope * along, -slope * along) + 0.5 * up, -up) - half


def _star(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    points = int(rng.integers(4, 7))
    step = math.pi / points
    folded = np.abs((np.arctan2(up, along) % (2 * step)) - step)  # 0 in a dent, `step` at a point
    distance = np.hypot(up, along)
    inner = radius * rng.uniform(0.4, 0.5)
    point_x, point_y = 1.15 * radius * math.cos(step), 1.15 * radius * math.sin(step)
    normal_x, normal_y = point_y, inner - point_x  # of the edge from the dent (inner, 0) to the point
    length = math.hypot(normal_x, normal_y)
    return (normal_x * (distance * np.cos(folded) - inner) + normal_y * distance * np.sin(folded)) / length


def _blob(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    angle = np.arctan2(up, along)
    outline = 1 + 0.17 * sum(np.cos(n * angle + rng.uniform(0, 2 * math.pi)) * rng.uniform(0.6, 1.1) for n in (2, 3, 4))
    return np.hypot(up, along) - 0.85 * radius * outline


def _pole(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    half = radius * rng.uniform(1.2, 2)
    thickness = radius * rng.uniform(0.07, 0.13) + 0.5
    return np.hypot(up - up.clip(-half, half), along) - thickness


SHAPES: dict[str, Distance] = {
    "disc": _disc,
    "ring": _ring,
    "box": _box,
    "triangle": _triangle,
    "star": _star,
    "blob": _blob,
    "pole": _pole,
}
