"""Pixels as data URIs: photographs, class masks, error maps and attention overlays, small enough for one page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from ..batch import IGNORE
from .view import Mask

WIDTH = 560
"""Pictures are shrunk to this many pixels; they are shown at about half of it, and whole when enlarged."""
ERROR = (255, 40, 90)
UNLABELLED = ((214, 214, 214), (168, 168, 168))
"""Stripes, so that a missing label is not taken for a class."""

Palette = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Picture:
    """An encoded image."""

    uri: str
    width: int
    height: int


def photograph(image: NDArray[np.uint8], width: int = WIDTH) -> Picture:
    """Encode an RGB image (H, W, 3), at most `width` pixels wide."""
    return _encode(_shrink(Image.fromarray(image), Image.Resampling.LANCZOS, width), lossless=False)


def as_it_is(jpeg: bytes) -> Picture:
    """Take a JPEG that is encoded already."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        size = picture.size
    return Picture("data:image/jpeg;base64," + base64.b64encode(jpeg).decode(), *size)


def class_mask(ids: Mask, palette: Palette, width: int = WIDTH) -> Picture:
    """Encode class ids (H, W) in the colours of `palette`; an id without a colour is striped grey."""
    small = np.asarray(_shrink(Image.fromarray(ids), Image.Resampling.NEAREST, width))
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    y, x = np.indices(small.shape)
    stripes = np.array(UNLABELLED, np.uint8)[(x + y) // 6 % 2]
    return _encode(Image.fromarray(np.where((small < len(palette))[..., None], colours[small], stripes)), lossless=True)


def error_map(image: NDArray[np.uint8], prediction: Mask, truth: Mask, width: int = WIDTH) -> Picture:
    """Encode where `prediction` is wrong on labelled pixels, in one strong colour over the dimmed image."""
    picture = _grey(image, 0.35, 32)
    picture[errors(prediction, truth)] = ERROR
    return _encode(_shrink(Image.fromarray(picture), Image.Resampling.BOX, width), lossless=False)


def errors(prediction: Mask, truth: Mask) -> NDArray[np.bool_]:
    """Return (H, W): labelled pixels with another class."""
    return (prediction != truth) & (truth != IGNORE)


def attention_map(image: NDArray[np.uint8], attention: NDArray[np.floating], width: int = WIDTH) -> Picture:
    """Encode attention (h, w) over the image, stretched to its own range and to the size of the image."""
    low, high = float(attention.min()), float(attention.max())
    scaled = (attention - low) / max(high - low, 1e-12)
    size = (image.shape[1], image.shape[0])
    wide = np.asarray(Image.fromarray(scaled.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    heat = colormaps["inferno"](np.clip(wide, 0, 1))[..., :3] * 255
    mixed = 0.65 * heat + 0.35 * _grey(image, 1.0, 0)
    return _encode(_shrink(Image.fromarray(mixed.astype(np.uint8)), Image.Resampling.LANCZOS, width), lossless=False)


def _grey(image: NDArray[np.uint8], contrast: float, darkest: float) -> NDArray[np.uint8]:
    grey = np.asarray(Image.fromarray(image).convert("L")) * contrast + darkest
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _shrink(picture: Image.Image, how: Image.Resampling, width: int = WIDTH) -> Image.Image:
    if picture.width <= width:
        return picture
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), how)


def _encode(picture: Image.Image, *, lossless: bool) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=lossless, quality=82, method=4)
    return Picture(
        "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(), picture.width, picture.height
    )
