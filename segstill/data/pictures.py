"""Reads images and masks from files, and says which file is wrong and what to do about it."""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ..batch import IGNORE

DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What the decoders raise of a file that they cannot read."""
MOST_PIXELS = 1_000_000_000
"""Of a file of the user's own: 3 GB when it is decoded."""
FOREIGN = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are read in this process alone, as a picture of unknown origin should be; EPS starts another program."""
REPLACE = "replace the file; `segstill check` lists every such file"
"""What to do about a damaged file of a data set."""


class FileError(ValueError):
    """A file cannot be used; built as `FileError(file, given, remedy)`.

    A loader's worker builds it again from one text that holds its whole traceback; of that, only our sentence is kept.
    """

    def __init__(self, *parts: object):
        if len(parts) == 1 and "Original Traceback" in str(parts[0]):
            parts = (str(parts[0]).rstrip().rpartition("FileError: ")[2],)
        super().__init__(*parts)

    def __str__(self) -> str:
        file, *rest = map(str, self.args)
        return f"{file}: {'; '.join(rest)}" if rest else file


def read_image(path: Path, *, upright: bool = True, remedy: str = REPLACE) -> Tensor:
    """Read any picture as 8-bit RGB; transparency is dropped.

    Args:
        path: the file.
        upright: turn it as its EXIF tag says.  False for masks that follow the pixels as they are stored.
        remedy: what to do about a damaged file.

    Returns:
        (3, H, W) uint8.

    Raises:
        FileError: the file does not decode, or holds numbers without a defined brightness.
        FileNotFoundError: there is no such file.
    """
    image = _decode(path, remedy)
    if upright:
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            given = f"is a picture in mode {image.mode!r} with values {values.min()} to {values.max()}"
            raise FileError(path, given, "save it with 8 bits per channel")
        image = Image.fromarray((values >> 8).astype(np.uint8))  # PIL itself would cut 16 bits off at 255
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def check_foreign(path: Path, *, most: int) -> None:
    """Look at the head of a file of unknown origin, and decode nothing.

    Args:
        path: the file.
        most: pixels that it may have.

    Raises:
        FileError: none of `FOREIGN`, or more pixels.
        FileNotFoundError: there is no such file.
    """
    try:
        with path.open("rb") as stream, Image.open(stream, formats=FOREIGN) as image:
            pixels = image.width * image.height
    except FileNotFoundError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pixels = most + 1
    except DAMAGED as error:
        raise FileError(path, "is no image that can be read", "choose a JPEG, PNG or WebP file") from error
    if pixels > most:
        raise FileError(path, f"has more than {most / 1e6:.0f} million pixels", "make it smaller first")


def read_mask(path: Path, classes: Sequence[str], *, meaning: Mapping[int, int] | None = None) -> Tensor:
    """Read class ids from a gray or palette picture; a palette's indices are the ids, its colours do not matter.

    Args:
        path: the file.
        classes: names, in the order of the ids.
        meaning: as for `to_ids`.

    Returns:
        (H, W) uint8.

    Raises:
        FileError: the file does not decode, has several channels or 16 bits, or holds other values.
        FileNotFoundError: there is no such file.
    """
    image = _decode(path)
    if image.mode not in ("L", "P", "1"):
        kind = "16-bit" if image.mode.startswith("I") else f"{len(image.getbands())}-channel"
        given = f"is a {kind} picture (mode {image.mode!r}), expected a mask with one 8-bit channel of class ids"
        raise FileError(path, given, "save class ids 0, 1, 2, ... as an 8-bit gray or palette PNG, 255 for no label")
    return to_ids(path, np.array(image, dtype=np.uint8), classes, meaning=meaning)


def to_ids(
    path: Path, values: NDArray[np.uint8], classes: Sequence[str], *, meaning: Mapping[int, int] | None = None
) -> Tensor:
    """Turn the values of a file into class ids.

    Args:
        path: the file, for the message.
        values: (H, W).
        classes: names, in the order of the ids.
        meaning: the id, or 255, of every value that the file may hold; None where the values are 0 to
            `len(classes) - 1` and 255 and mean themselves.

    Returns:
        (H, W) uint8.

    Raises:
        FileError: there are other values.
    """
    allowed = np.zeros(256, dtype=bool)
    allowed[[*range(len(classes)), IGNORE] if meaning is None else list(meaning)] = True
    fits = allowed[values]
    if not fits.all():
        outside, counts = np.unique(values[~fits], return_counts=True)
        found = ", ".join(f"{value} ({count} pixels)" for value, count in zip(outside[:8], counts[:8], strict=True))
        found += f" and {len(outside) - 8} more values" if len(outside) > 8 else ""
        expected = f"0 to {len(classes) - 1}" if meaning is None else _ranges(meaning)
        raise FileError(
            path,
            f"holds the value {found}, expected {expected} for the {len(classes)} classes {shortened(classes)}"
            + (f", or {IGNORE} for no label" if meaning is None else ""),
            "correct the mask or the list of classes; `segstill check` lists every such file",
        )
    if meaning is not None:
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[list(meaning)] = list(meaning.values())
        values = table[values]
    return torch.from_numpy(values)


def same_size(image_path: Path, image: Tensor, mask_path: Path, mask: Tensor) -> None:
    """Raise FileError unless the mask (H, W) fits the image (3, H, W)."""
    if image.shape[1:] != mask.shape:
        (height, width), (mask_height, mask_width) = image.shape[1:], mask.shape
        given = f"holds {mask_width} x {mask_height} pixels, but its image {image_path} is {width} x {height}"
        raise FileError(mask_path, given, "draw the mask at the image's size (after its EXIF rotation)")


@contextmanager
def _any_size() -> Iterator[None]:
    """Lift PIL's limit, which is for files of unknown origin (see `check_foreign`); aerial images pass it."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _decode(path: Path, remedy: str = REPLACE) -> Image.Image:
    """Open and decode the whole file; what the decoders raise becomes one kind of error that names the file."""
    try:
        with path.open("rb") as stream, _any_size():
            image = Image.open(stream)
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                given = f"has {pixels / 1e6:.0f} million pixels, expected at most {MOST_PIXELS / 1e6:.0f}"
                raise FileError(path, given, "cut it into several images")
            image.load()
    except (FileNotFoundError, FileError):
        raise
    except (*DAMAGED, MemoryError) as error:
        problem = str(error).partition(" <_io")[0]  # PIL shows the stream, and so the path once more
        given = "is empty" if path.is_file() and path.stat().st_size == 0 else f"does not decode ({problem})"
        raise FileError(path, given, remedy) from error
    return image


def _ranges(values: Iterable[int]) -> str:
    """Return 0, 1, 2, 5 as "0 to 2, 5"."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][-1] + 1:
            parts[-1][1:] = [value]
        else:
            parts.append([value])
    return ", ".join(" to ".join(map(str, part)) for part in parts)


def shortened(classes: Sequence[str]) -> str:
    """Return the names in brackets, the first 11 and the last of many."""
    names = list(classes) if len(classes) <= 12 else [*classes[:11], "...", classes[-1]]
    return f"({', '.join(names)})"


def png(mask: Tensor, palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Return a mask (H, W) uint8 as a palette PNG: its values are the class ids, white is 255, no label."""
    picture = Image.fromarray(mask.numpy(), mode="P")
    colours = [*palette, *[(0, 0, 0)] * (IGNORE - len(palette)), (255, 255, 255)]
    picture.putpalette([value for colour in colours for value in colour])
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()
