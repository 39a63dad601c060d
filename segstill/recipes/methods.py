"""A method is a set of terms: what turns the recipe of a student alone into a distillation recipe."""

from dataclasses import replace

from ..recipe import Recipe, TermSpec

METHODS: dict[str, dict[str, TermSpec]] = {
    "kd": {"cross_entropy": TermSpec(), "pixel_kd": TermSpec()},
    "aicsd": {
        "cross_entropy": TermSpec(ramp="up"),
        "icsd": TermSpec(ramp="up", weight=3.0),
        "pixel_kd": TermSpec(ramp="down"),
    },
    "attnfd": {"cross_entropy": TermSpec(), "attnfd": TermSpec(weight=2.0)},
}


def distilled(student: Recipe, method: str, *, taps: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe of a student (named `..._student`), taught by a method; all else stays equal.

    Args:
        student: the recipe of the student alone.
        method: a key of `METHODS`.
        taps: the features that losses on features match; without them, the losses' own default.
    """
    terms = dict(METHODS[method])
    if taps:
        terms |= {
            name: replace(term, args=term.args | {"taps": taps}) for name, term in terms.items() if name == "attnfd"
        }
    return replace(student, name=student.name.replace("student", method), terms=terms)
