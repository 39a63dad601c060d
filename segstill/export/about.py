"""What a shipped file says about itself."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ..build import Saved
from ..data import open_dataset
from ..data.files import colours
from ..recipe import DataSpec, Recipe

Output = Literal["logits", "classes"]


@dataclass(frozen=True, kw_only=True)
class About:
    """The metadata of an exported file; each field is a key, its value as JSON."""

    segstill: str
    """Version that wrote the file."""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """An RGB colour per class."""
    mean: tuple[float, ...]
    """Per channel, of images in [0, 1]; the graph subtracts it, the caller does not."""
    std: tuple[float, ...]
    """Per channel; the graph divides by it."""
    input: Literal["bytes", "floats"]
    """bytes: (N, H, W, 3) uint8 RGB.  floats: (N, 3, H, W) float32 RGB in [0, 1]."""
    output: Output
    """logits: (N, K, H, W) float32.  classes: (N, H, W) uint8 class ids."""
    precision: Literal["fp32", "int8"]
    size: tuple[int, int] | None
    """H and W of the only images that the file takes; None for any."""
    batch: int | None
    """Images at once, where the file takes no other number; None for any."""
    stride: int
    """What the graph pads the sides of an image to; a side is longer than this."""
    longest_side: int | None
    """The network was trained on images shrunk to this, and expects the same."""
    short_side: int | None
    """Or on images resized to this."""
    recipe: dict[str, Any] | None
    """What the network was trained by; folders of the machine are left out."""

    def metadata(self) -> dict[str, str]:
        """Return the fields as texts."""
        return {name: json.dumps(value) for name, value in dataclasses.asdict(self).items()}


def read_metadata(texts: Mapping[str, str], source: Path) -> About:
    """Read back what `About.metadata` gave.

    Raises:
        ValueError: the file is of another program, or of another version's format.
    """
    names = [field.name for field in dataclasses.fields(About)]
    if "segstill" not in texts:
        raise ValueError(
            f"{source} is of another program: its metadata do not name segstill, so its classes, colours and "
            "normalisation are unknown; give a file of segstill export, or a run"
        )
    if missing := [name for name in names if name not in texts]:
        raise ValueError(
            f"{source} was written by segstill {texts['segstill']} and does not say {missing}: export it again"
        )
    try:
        values = {name: json.loads(texts[name]) for name in names}
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} has damaged metadata ({error}): export it again") from error
    for name in ("classes", "mean", "std", "size"):
        values[name] = None if values[name] is None else tuple(values[name])
    values["palette"] = tuple(tuple(colour) for colour in values["palette"])
    return About(**values)


def describe(
    saved: Saved,
    *,
    floats: bool = False,
    output: Output = "logits",
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    root: str | None = None,
) -> About:
    """Say what a student is; see `About` for the arguments.

    Args:
        saved: the student.
        floats: whether the file takes floats.
        output: what it returns.
        size: where it takes one size.
        batch: where it takes one number of images.
        root: folder of the data set, for its colours; the recipe's own without it.
    """
    data = saved.recipe.data if saved.recipe else None
    return About(
        segstill=version("segstill"),
        classes=saved.classes,
        palette=palette_of(data, saved.classes, root),
        mean=tuple(saved.model.mean.flatten().tolist()),
        std=tuple(saved.model.std.flatten().tolist()),
        input="floats" if floats else "bytes",
        output=output,
        precision="fp32",
        size=size,
        batch=batch,
        stride=saved.model.stride,
        longest_side=data.longest_side if data else None,
        short_side=data.short_side if data else None,
        recipe=_without_folders(saved.recipe) if saved.recipe else None,
    )


def palette_of(
    data: DataSpec | None, classes: tuple[str, ...], root: str | None = None
) -> tuple[tuple[int, int, int], ...]:
    """Return the colours of a data set, or the usual ones where it is not there any more."""
    for split in ("val", "train"):
        try:
            dataset = open_dataset(dataclasses.replace(data, root=root or data.root), split) if data else None
        except (ValueError, OSError):
            continue
        if dataset and len(dataset.palette) == len(classes):
            return tuple(dataset.palette)
    return colours(len(classes))


def _without_folders(recipe: Recipe) -> dict[str, Any]:
    """A recipe for others: which files, but not where they lay on the machine that trained."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(inner) for name, inner in value.items()}
        if isinstance(value, str) and ("/" in value or "\\" in value):
            return Path(value.replace("\\", "/")).name
        return value

    return bare(dataclasses.asdict(recipe))
