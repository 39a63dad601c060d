"""Every family of recipes starts on a tree of its data set, and every method trains."""

import dataclasses
import math
from pathlib import Path

import pytest

from segstill.build import build_chain
from segstill.recipe import to_json
from segstill.recipes import CHAINS, FAMILIES, METHODS, PUBLISHED, RECIPES
from segstill.run import read_log
from segstill.train import train

from .data.coco_tree import coco_tree
from .data.trees import CLASSES, camvid_tree, cityscapes_tree, folder_tree, voc_tree

TREES = {
    "camvid": camvid_tree,
    "cityscapes": cityscapes_tree,
    "voc": voc_tree,
    "coco": coco_tree,
    "folder": folder_tree,
}
ON_FILES = [name for name, family in FAMILIES.items() if family.student.data.name in TREES]


def small(recipe, root=None):
    """The recipe as it is, but with random weights, small crops and two steps' worth of images."""
    data = dataclasses.replace(recipe.data, root=root and str(root), crop=(64, 64), workers=0)
    if data.name == "folder":
        data = dataclasses.replace(data, classes=CLASSES)
    if data.short_side:
        data = dataclasses.replace(data, short_side=64)
    student = dataclasses.replace(recipe.student, weights=None)
    return dataclasses.replace(recipe, data=data, student=student, epochs=2, batch_size=2, evaluate_every=2)


def steps(run):
    return [record for record in read_log(run) if record["kind"] == "step"]


@pytest.mark.parametrize("number", range(len(ON_FILES)), ids=ON_FILES)
def test_a_family_starts_on_a_tree_of_its_data_set(number, tmp_path):
    family = FAMILIES[ON_FILES[number]]
    tree = TREES[family.student.data.name](tmp_path / "data")
    root = tree if isinstance(tree, Path) else tmp_path / "data"
    method = list(METHODS)[number]
    train(small(family.student, root), tmp_path / "alone", say=lambda _: None)
    taught = RECIPES[family.student.name.replace("student", method)]()
    taught = dataclasses.replace(small(taught, root), teacher=str(tmp_path / "alone"))
    train(taught, tmp_path / "taught", say=lambda _: None)
    for run in ("alone", "taught"):
        assert len(steps(tmp_path / run)) >= 2
    assert set(steps(tmp_path / "taught")[-1]["losses"]) == set(METHODS[method])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run = tmp_path_factory.mktemp("teacher") / "run"
    recipe = RECIPES["demo_teacher"]()
    data = dataclasses.replace(recipe.data, args={"count": 8, "size": (64, 96)})
    train(dataclasses.replace(recipe, data=data, epochs=1), run, say=lambda _: None)
    return str(run)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_with_labelled_and_unlabelled_scenes(method, teacher, tmp_path):
    recipe = RECIPES[f"demo_{method}"]()
    data = dataclasses.replace(recipe.data, labelled=6, args={"count": 8, "size": (64, 96)})
    recipe = dataclasses.replace(recipe, data=data, epochs=2, evaluate_every=2, batch_size=4, teacher=teacher)
    train(recipe, tmp_path / "run", say=lambda _: None)
    for record in steps(tmp_path / "run"):
        assert all(math.isfinite(value) for value in record["losses"].values())
        assert all(value > 0 for name, value in record["losses"].items() if METHODS[method][name].ramp == "flat")


def test_what_others_published_names_recipes_that_exist():
    assert set(PUBLISHED) <= set(RECIPES)


def test_a_recipe_says_how_to_run_it_and_what_was_published():
    assert (
        "segstill train voc_r18_attnfd --data.root DIR --teacher runs/voc_teacher" in RECIPES["voc_r18_attnfd"].__doc__
    )
    assert "73.09 ± 0.06 (arXiv:2403.05451)" in RECIPES["voc_r18_attnfd"].__doc__
    assert "not run" in RECIPES["voc_r18_attnfd"].__doc__
    assert "--teacher" not in RECIPES["voc_r18_student"].__doc__


@pytest.mark.parametrize("family", FAMILIES)
def test_every_recipe_of_a_family_says_how_long_it_takes(family):
    assert FAMILIES[family].hours
    assert f"Time: {FAMILIES[family].hours}" in RECIPES[FAMILIES[family].student.name].__doc__


@pytest.mark.parametrize("family", FAMILIES)
def test_the_student_alone_knows_no_teacher_so_that_a_comparison_takes_its_run_as_done(family):
    alone = RECIPES[FAMILIES[family].student.name]()
    assert (alone.teacher, alone.teacher_model) == (None, None)


def test_a_chain_is_read_back_from_json(tmp_path):
    chain = CHAINS["weak_to_student_msrc21_small"]()
    (tmp_path / "mine.json").write_text(to_json(chain))
    assert build_chain(str(tmp_path / "mine.json")) == chain
