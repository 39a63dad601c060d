"""Every loss and every method has its entry in the documentation, and every loss is offered twice."""

import re
import sys
from pathlib import Path

import pytest

from segstill import losses
from segstill.losses import LOSSES, Loss
from segstill.recipes import METHODS

TEXT = (Path(__file__).parents[1] / "docs" / "methods.md").read_text()
HEADINGS = re.split(r"^#+ (.*)$", TEXT, flags=re.M)[1:]
ENTRIES = {name: body for heading, body in zip(HEADINGS[::2], HEADINGS[1::2], strict=True) for name in heading.split()}
ENTRIES = {name.strip(",:"): body for name, body in ENTRIES.items()}
FUNCTIONS = {"overhaul": "partial_l2"}
"""Losses whose function has another name."""


@pytest.mark.parametrize("name", sorted({*LOSSES, *METHODS}))
def test_a_loss_and_a_method_have_a_heading(name):
    assert name in ENTRIES


@pytest.mark.parametrize("name", LOSSES)
def test_the_entry_of_a_loss_has_an_equation_and_names_the_file(name):
    file = Path(sys.modules[LOSSES[name].__module__].__file__ or "").name
    assert file in ENTRIES[name]
    assert re.search(r'^    .*(L +=|design="pixels")', ENTRIES[name], flags=re.M)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("cross_entropy", "tags")])
def test_what_a_loss_costs_is_said_beside_cross_entropy(name):
    paragraphs = [part for part in re.split(r"\n\n|\|", TEXT) if f"`{name}`" in part]
    assert [part for part in paragraphs if part.strip() == f"`{name}`" or "of the time of `cross_entropy`" in part]


@pytest.mark.parametrize("name", METHODS)
def test_the_terms_and_weights_of_a_method_are_those_of_its_recipe(name):
    rows = [row for row in TEXT.splitlines() if row.startswith(f"| `{name}` |")]
    terms = [rf"`{term}` {spec.weight:g}\b" for term, spec in METHODS[name].items()]
    assert [row for row in rows if all(re.search(term, row) for term in terms)], (terms, rows)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_a_function_and_a_class_of_one_module(name):
    kind, function = LOSSES[name], getattr(losses, FUNCTIONS.get(name, name))
    assert issubclass(kind, Loss)
    assert callable(function)
    assert function.__module__ == kind.__module__
    assert {kind.__name__, FUNCTIONS.get(name, name)} <= set(losses.__all__)
