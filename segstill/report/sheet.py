"""A contact sheet: many small pictures on one page of pixels."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..batch import IGNORE
from .view import Mask

COLUMNS, SIDE, LABEL = 8, 200, 14
PAPER, INK = (24, 24, 27), (228, 228, 231)


def overlay(
    image: NDArray[np.uint8], mask: Mask, palette: Sequence[tuple[int, int, int]], *, background: bool = True
) -> NDArray[np.uint8]:
    """Lay a mask (H, W) over an image (H, W, 3): classes in their colours, 255 white, class 0 only dimmed if it is
    the background.
    """
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(palette)] = palette
    mixed = 0.45 * image + 0.55 * colours[mask]
    if not background:
        return mixed.astype(np.uint8)
    dim = 0.8 * image
    return np.where((mask == 0)[..., None], dim, mixed).astype(np.uint8)


def overlay_jpeg(
    image: NDArray[np.uint8], mask: Mask, palette: Sequence[tuple[int, int, int]], *, background: bool
) -> bytes:
    """Return an `overlay` as a JPEG."""
    content = io.BytesIO()
    Image.fromarray(overlay(image, mask, palette, background=background)).save(content, "JPEG", quality=90)
    return content.getvalue()


def _contained(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """Return a picture that fits a square and keeps its proportions; strips stay a pixel wide."""
    factor = side / max(picture.shape[:2])
    height, width = (max(1, round(each * factor)) for each in picture.shape[:2])
    return Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)


def contact_sheet(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[Mask],
    captions: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    *,
    truths: Sequence[Mask | None] = (),
    columns: int = COLUMNS,
) -> bytes:
    """Return a JPEG with every image under its mask, and under its true one beside it where there is one.

    Args:
        images: RGB (H, W, 3) uint8.
        masks: (H, W) class ids.
        captions: a line below each.
        palette: a colour per class.
        truths: masks to compare with; empty for none.
        columns: pictures in a row.
    """
    shown: list[tuple[NDArray[np.uint8], str]] = []
    for place, (image, mask, caption) in enumerate(zip(images, masks, captions, strict=True)):
        shown.append((overlay(image, mask, palette), caption))
        if truths and (truth := truths[place]) is not None:
            shown.append((overlay(image, np.where(truth == IGNORE, 0, truth).astype(np.uint8), palette), "truth"))
    columns = max(1, min(columns, len(shown)))
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * SIDE, max(1, rows) * (SIDE + LABEL)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (picture, caption) in enumerate(shown):
        small = _contained(picture, SIDE - 4)
        left, top = place % columns * SIDE, place // columns * (SIDE + LABEL)
        sheet.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        draw.text((left + 4, top + SIDE), caption[:34], fill=INK)
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=85)
    return content.getvalue()
