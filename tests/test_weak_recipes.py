"""Recipes of weak supervision start on a tree of their data, and the masks that they lead to train the next network."""

import dataclasses

import pytest
import torch

from segstill.build import load
from segstill.data import open_tagged
from segstill.recipes import WEAK
from segstill.run import read_log
from segstill.seed_files import write_seeds
from segstill.seeding import SeedSpec
from segstill.train import train

from .data.tag_trees import CLASSES, folder_tree, msrc21_tree, voc_tags_tree

TREES = {"folder": folder_tree, "voc": voc_tags_tree, "msrc21": msrc21_tree, "scenes": lambda root: None}
TINY = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
CLASSIFIERS = [name for name in WEAK if "_weak_" in name and not name.startswith("voc_weak")]


def small(recipe, root):
    """The recipe with random weights, a small Swin or MobileNetV2, and two steps."""
    TREES[recipe.data.name](root)
    args = {"count": 4, "size": (64, 64), "kinds": (1, 3)} if recipe.data.name == "scenes" else {}
    classes = CLASSES if recipe.data.name == "folder" else ()
    data = dataclasses.replace(recipe.data, root=str(root), classes=classes, crop=(64, 64), workers=0, args=args)
    student = dataclasses.replace(recipe.student, weights=None)
    if recipe.student.name == "swtformer" and "encoder" not in recipe.student.args:
        student = dataclasses.replace(student, args=student.args | TINY)
    return dataclasses.replace(recipe, data=data, student=student, epochs=1, batch_size=2)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_recipe_starts_on_a_tree_of_its_data(name, tmp_path):
    recipe = small(WEAK[name](), tmp_path / "data")
    train(recipe, tmp_path / "run", say=lambda _: None)
    steps = [record for record in read_log(tmp_path / "run") if record["kind"] == "step"]
    assert steps
    assert set(steps[-1]["losses"]) == set(recipe.terms)


@pytest.mark.parametrize(
    "name", ["folder_affinity", "folder_small_affinity", "voc_small_affinity", "msrc21_small_affinity"]
)
def test_affinities_are_learned_from_seeds_on_the_encoder_that_made_them(name, tmp_path):
    torch.manual_seed(0)
    recipe = small(WEAK[name.replace("affinity", "weak_v1")](), tmp_path / "data")
    train(recipe, tmp_path / "classifier", say=lambda _: None)
    dataset = open_tagged(recipe.data, "train")
    write_seeds(load(tmp_path / "classifier").model, dataset, tmp_path / "masks", SeedSpec(scales=(1.0,), band=0.1))
    pairs = WEAK[name]()
    args = pairs.student.args | {key: recipe.student.args[key] for key in TINY if key in recipe.student.args}
    weights = str(tmp_path / "classifier" / "last.safetensors")
    student = dataclasses.replace(pairs.student, weights=weights, args=args)
    data = dataclasses.replace(recipe.data, masks=str(tmp_path / "masks"))
    pairs = dataclasses.replace(pairs, data=data, student=student, epochs=1, batch_size=2)
    said = []
    scores = train(pairs, tmp_path / "pairs", say=said.append)
    assert set(scores) >= {"pair_auc", "affinity_within", "affinity_across"}
    assert any("loaded" in sentence for sentence in said)
    assert any("there are no true masks" in sentence for sentence in said) == name.startswith("folder")


def test_seeds_train_a_network_that_never_saw_a_true_mask(tmp_path):
    torch.manual_seed(0)
    recipe = small(WEAK["msrc21_small_weak_v2"](), tmp_path / "data")
    train(recipe, tmp_path / "classifier", say=lambda _: None)
    model, dataset = load(tmp_path / "classifier").model, open_tagged(recipe.data, "train")
    written = write_seeds(model, dataset, tmp_path / "masks", SeedSpec(scales=(1.0,), refine=("par",)))
    assert written.masks == len(dataset)
    for mask in (tmp_path / "data" / "masks" / "train").glob("*.png"):
        mask.write_bytes(b"nobody may look here")
    pseudo = WEAK["msrc21_small_pseudo"]()
    data = dataclasses.replace(recipe.data, masks=str(tmp_path / "masks"), longest_side=64)
    student = dataclasses.replace(pseudo.student, weights=None)
    pseudo = dataclasses.replace(pseudo, data=data, student=student, epochs=1, batch_size=2)
    scores = train(pseudo, tmp_path / "network", say=lambda _: None)
    assert 0 <= scores["miou"] <= 1
