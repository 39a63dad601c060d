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
    # Not the paper's, which keeps the weight.  Early on features speed the student up, at the end they outweigh labels.
    "attnfd_fading": {"cross_entropy": TermSpec(), "attnfd": TermSpec(weight=2.0, ramp="down")},
    "cwd": {"cross_entropy": TermSpec(), "cwd": TermSpec(weight=3.0)},
    "cwd_feature": {"cross_entropy": TermSpec(), "cwd_feature": TermSpec(weight=50.0)},
    "dist": {"cross_entropy": TermSpec(), "dist": TermSpec()},
    "logit_std": {"cross_entropy": TermSpec(), "logit_std": TermSpec(weight=9.0)},
    "ickd": {"cross_entropy": TermSpec(), "ickd": TermSpec()},
    "at": {"cross_entropy": TermSpec(), "at": TermSpec(weight=1.2)},
    "sp": {"cross_entropy": TermSpec(), "sp": TermSpec(weight=23.0)},
    "pairwise": {"cross_entropy": TermSpec(), "pixel_kd": TermSpec(), "pairwise": TermSpec(weight=10.0)},
    "ifvd": {"cross_entropy": TermSpec(), "pixel_kd": TermSpec(), "ifvd": TermSpec(weight=20.0)},
    "fitnet": {"cross_entropy": TermSpec(), "fitnet": TermSpec(weight=10.0)},
    "feature_kd": {"cross_entropy": TermSpec(), "feature_kd": TermSpec(weight=2.0)},
    "mgd": {"cross_entropy": TermSpec(), "mgd": TermSpec(weight=20.0)},
    "afdcd": {"cross_entropy": TermSpec(), "pixel_kd": TermSpec(), "afdcd": TermSpec(weight=8.0)},
    "overhaul": {"cross_entropy": TermSpec(), "overhaul": TermSpec(weight=10.0)},
    "cirkd": {
        "cross_entropy": TermSpec(),
        "pixel_kd": TermSpec(),
        "cirkd_minibatch": TermSpec(),
        "cirkd_memory": TermSpec(weight=0.1),
    },
    "lad": {"cross_entropy": TermSpec(), "lad": TermSpec(weight=10.0)},
}

SEVERAL = {"attnfd", "lad"}
"""Losses that match several features at once."""


def distilled(student: Recipe, method: str, *, taps: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe of a student (named `..._student`), taught by a method; all else stays equal.

    Args:
        student: the recipe of the student alone.
        method: a key of `METHODS`.
        taps: the features that losses on several features match; without them, the losses' own default.
    """
    terms = dict(METHODS[method])
    if taps:
        terms |= {name: replace(terms[name], args=terms[name].args | {"taps": taps}) for name in SEVERAL & terms.keys()}
    return replace(student, name=student.name.replace("student", method), terms=terms)
