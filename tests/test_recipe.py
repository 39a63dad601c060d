"""Recipes are plain data: they round-trip, and mistakes in them are named."""

import dataclasses
import json

import pytest

from segstill.build import build_recipe
from segstill.recipe import from_json, to_json
from segstill.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_round_trips_through_json_and_carries_its_own_name(name):
    recipe = RECIPES[name]()
    assert recipe.name == name
    assert from_json(to_json(recipe)) == recipe


def test_what_a_teacher_needs_round_trips_through_json():
    recipe = dataclasses.replace(
        RECIPES["demo_kd"](),
        pairs={"deep": ("stage4", "backbone.layer4")},
        class_map={"traffic light": "light"},
        teacher_classes=("car", "traffic light"),
        teacher_scale=1.5,
    )
    assert from_json(to_json(recipe)) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_what_it_is(name):
    assert RECIPES[name].__doc__


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epoch": 3}, "recipe has no field 'epoch'; did you mean one of \\['epochs'"),
        ({"epochs": "three"}, "recipe.epochs is 'three', expected int"),
        ({"data": {"name": "camvid", "crop": [1, 2, 3]}}, "recipe.data.crop"),
        ({"optimizer": "lion"}, "recipe.optimizer is 'lion'"),
        ({"terms": {"icsd": {"weight": "heavy"}}}, "recipe.terms.icsd.weight"),
        ({"student": 5}, "recipe.student is 5"),
        ({"epochs": 0}, "epochs is 0, expected more than 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"terms": {}}, "there are no terms"),
        ({"pairs": {"deep": ["stage4"]}}, "recipe.pairs.deep"),
        ({"class_map": {"car": 3}}, "recipe.class_map.car is 3, expected str"),
        ({"teacher_scale": 0}, "teacher_scale is 0.0, expected more than 0: pass another --teacher-scale"),
    ],
)
def test_a_wrong_field_is_named(change, words):
    data = json.loads(to_json(RECIPES["demo_kd"]())) | change
    with pytest.raises(ValueError, match=words):
        from_json(json.dumps(data))


def test_text_that_is_no_json_is_refused():
    with pytest.raises(ValueError, match="must be JSON"):
        from_json("epochs: 3")


def test_a_recipe_file_is_read(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(to_json(RECIPES["demo_kd"]()))
    assert build_recipe(str(file)) == RECIPES["demo_kd"]()
    with pytest.raises(FileNotFoundError, match="there is no recipe file"):
        build_recipe(str(tmp_path / "other.json"))


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(ValueError, match="camvid_small_kd"):
        build_recipe("camvid_smal_kd")
