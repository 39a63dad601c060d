"""Outlines of the shapes in drawn scenes, as signed distances."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Rng = np.random.Generator
Distance = Callable[[Rng, Array, Array, float], Array]
"""Signed distance in pixels to an outline, negative inside, from centred coordinates and a radius."""


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


def pole(rng: Rng, up: Array, along: Array, radius: float) -> Array:
    """Return the distance to a bar, which reaches further out than the radius."""
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
    "pole": pole,
}
