"""A family: one teacher, one student and one schedule, shared by every method, so that only the terms differ."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from ..recipe import Recipe
from .methods import METHODS, distilled
from .published import PUBLISHED

Make = Callable[[], Recipe]


class Family(NamedTuple):
    """What the recipes `FAMILY_student`, `FAMILY_kd`, ... and the teacher's have in common."""

    student: Recipe
    """Named FAMILY_student: the student alone."""
    teacher: Recipe
    about: str
    """One line on teacher, student and data."""
    flags: str = "--data.root DIR"
    """What the commands need."""
    given: str = ""
    """A file of public weights that teaches; without it, the teacher's run does."""
    ours: str = ""
    """What our own runs gave, or why there are none."""
    hours: str = ""
    """How long one run takes, and on what."""
    taps: tuple[str, ...] = ()
    """For losses on several features, where the networks lack some of those that the losses ask for."""


def recipes(family: Family) -> dict[str, Make]:
    """Return every recipe of a family by name."""
    name = family.student.name.removesuffix("_student")
    alone = dataclasses.replace(family.student, teacher_model=None)
    made = {family.teacher.name: _make(family, family.teacher), alone.name: _make(family, alone)}
    for method in METHODS:
        recipe = distilled(family.student, method, taps=family.taps)
        made[f"{name}_{method}"] = _make(family, recipe)
    return made


def _make(family: Family, recipe: Recipe) -> Make:
    distils = any(term != "cross_entropy" for term in recipe.terms)
    teacher = f" --teacher {family.given or f'runs/{family.teacher.name}'}" if distils else ""
    role = "the teacher" if recipe is family.teacher else "the student alone"
    what = f"the student, by {' + '.join(recipe.terms)}" if distils else role
    published = PUBLISHED.get(recipe.name)
    lines = [
        f"{family.about}: {what}.",
        "",
        f"    segstill train {recipe.name} {family.flags}{teacher}",
        "",
        f"Published: {published}." if published else "Published: nothing for this set-up that we know of.",
        f"Ours: {family.ours}" if family.ours else "",
        f"Time: {family.hours}" if family.hours else "",
    ]

    def make() -> Recipe:
        return recipe

    make.__doc__ = "\n".join(lines).strip()
    make.__name__ = recipe.name
    return make
