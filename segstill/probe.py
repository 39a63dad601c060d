"""What features a student and a teacher have, and which of them belong together.

    segstill taps smp --student.args.architecture FPN --student.args.encoder mit_b0 \\
        --teacher-model.name torchvision --teacher-model.args.model deeplabv3_resnet101
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from .build import build_model, build_recipe, load
from .models import CLASS_NAMES, MODELS, Found, Segmenter, probe_model
from .recipe import DataSpec, ModelSpec, Recipe
from .run import expect_no_chain, read_recipe
from .taps import Tap, Tapped

_CLASSES = 21
"""Of networks that are built only to look at their features."""


class Row(NamedTuple):
    """A feature of a network."""

    name: str
    """Its tap; "" for one that is not published, which a pair names by its path."""
    path: str
    """The module, as its own library writes it."""
    layout: str
    prefix: int
    channels: int
    stride: float
    """Pixels of the image per cell and side."""
    before: bool
    """Whether the feature before its activation is published too, as NAME_pre."""


class Pair(NamedTuple):
    """Features of a student and of a teacher that may be matched."""

    name: str
    """What losses call the two."""
    student: Row
    teacher: Row

    @property
    def flag(self) -> str:
        """What makes it a pair; "" where both publish it under the same name."""
        if self.student.name == self.teacher.name == self.name:
            return ""
        return f"--pairs.{self.name} {self.student.name or self.student.path} {self.teacher.name or self.teacher.path}"


def recipe_to_look_at(name: str) -> Recipe:
    """Return the recipe that a model, a recipe or a run means: its student, and its teacher if it has one.

    Raises:
        FileNotFoundError: it is the folder of a chain.
        ValueError: it is none of these.
    """
    if name in MODELS:
        return Recipe(name="taps", data=DataSpec(name=""), student=ModelSpec(name=name))
    expect_no_chain(Path(name))
    if (Path(name) / "recipe.json").is_file():
        return read_recipe(Path(name))
    try:
        return build_recipe(name)
    except ValueError as error:
        raise ValueError(f"{name!r} is no model ({sorted(MODELS)}), no run folder and no recipe: {error}") from error


def build_to_look_at(recipe: Recipe) -> tuple[Segmenter, Segmenter | None]:
    """Build the networks of a recipe without their weights, as they do not move its features."""
    spec = recipe.teacher_model
    teacher = _build(spec) if spec else load(recipe.teacher).model if recipe.teacher else None
    return _build(recipe.student), teacher


def _build(spec: ModelSpec) -> Segmenter:
    names = CLASS_NAMES[spec.name](**spec.args) if spec.name in CLASS_NAMES else ()
    return build_model(replace(spec, weights=None), len(names) or _CLASSES)


def list_taps(model: Segmenter, *, every: bool = False) -> list[Row]:
    """Return the published taps of a network, the deepest last, and the stages that it has but does not publish.

    Args:
        model: left in eval mode.
        every: also every other map that a module returns.
    """
    probed, around = probe_model(model)
    with torch.no_grad(), Tapped(model.eval(), model.taps) as tapped:
        features = tapped(torch.zeros_like(probed.image))
    size = probed.image.shape[2]
    rows = [
        _row(name, tap, around, features[name].shape[1], size / features[name].shape[2], f"{name}_pre" in model.taps)
        for name, tap in model.taps.items()
        if not name.endswith("_pre")
    ]
    strides = {row.stride for row in rows}
    paths = {row.path for row in rows}
    others: Sequence[Found] = probed.maps if every else [s for s in probed.stages.values() if s.stride not in strides]
    found = [_row("", f.tap, "", f.channels, f.stride, False) for f in dict.fromkeys(others)]
    return rows + [row for row in found if row.path not in paths]


def _row(name: str, tap: Tap, around: str, channels: int, stride: float, before: bool) -> Row:
    path = tap.path.removeprefix(around).removeprefix("model.")
    where = f"{path} (input)" if tap.read == "input" else path if tap.index is None else f"{path}[{tap.index}]"
    return Row(name, where, tap.layout, tap.prefix, channels, stride, before)


def propose_pairs(student: Sequence[Row], teacher: Sequence[Row], *, teacher_scale: float = 1.0) -> list[Pair]:
    """Return the features that both publish under one name, then for each stride that is left the deepest of each.

    Args:
        student: its rows.
        teacher: its rows.
        teacher_scale: how much larger the teacher's image is; strides are compared in pixels of the student's.
    """
    theirs = {row.name: row for row in teacher if row.name}
    pairs = [Pair(row.name, row, theirs[row.name]) for row in student if row.name in theirs]
    done = {pair.student.stride for pair in pairs if pair.student.stride == pair.teacher.stride / teacher_scale}
    for stride in sorted({row.stride for row in student} - done):
        mine, its = _at(stride, student, 1.0), _at(stride, teacher, teacher_scale)
        if mine and its:
            pairs.append(Pair(f"stride{stride:g}", mine, its))
    return pairs


def _at(stride: float, rows: Sequence[Row], scale: float) -> Row | None:
    """The last feature at a stride: of the encoder where it has one, else of what follows it."""
    there = [row for row in rows if row.stride / scale == stride and (row.name or not row.path.endswith("]"))]
    stages = [row for row in there if row.name.startswith("stage") or not row.name]
    return (stages or there or [None])[-1]
