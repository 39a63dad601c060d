"""A chain that learns affinities from confident seeds, and makes its masks by walking along them."""

import dataclasses
import json
import re

import pytest
import torch

from segstill.chain import plan, run_chain
from segstill.chain.commands import commands
from segstill.chain.contents import Contents
from segstill.chain.setting import Setting
from segstill.chain.summary import reached
from segstill.chain_recipe import Given
from segstill.checkpoint import read_weights
from segstill.cli.chaining import without
from segstill.data import open_tagged
from segstill.data.pictures import png, read_mask
from segstill.recipe import ModelSpec, SeedSpec, TermSpec
from segstill.run import read_recipe

from .chains import did, on_folder, small_chain
from .data.tag_trees import CLASSES, folder_tree

STAGES = ["classifier", "confident seeds", "affinities", "seed masks", "teacher", "student"]


def read(file):
    """The mask in a file of eight classes."""
    return read_mask(file, [str(label) for label in range(8)])


def with_affinities(chain):
    """The chain with affinities on the encoder of its classifier."""
    names = ("encoder", "embed_dim", "depths", "num_heads", "patch_size", "window_size")
    args = {name: chain.classifier.student.args[name] for name in names} | {"channels": (4, 4, 4)}
    affinity = dataclasses.replace(
        chain.classifier,
        name="affinity",
        student=ModelSpec(name="affinity", args=args),
        terms={"affinity": TermSpec()},
    )
    walked = dataclasses.replace(chain.seeds, refine=("random-walk",))
    confident = dataclasses.replace(chain.seeds, refine=(), band=0.02)
    return dataclasses.replace(chain, confident=confident, affinity=affinity, seeds=walked)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("chain") / "out"
    assert did(with_affinities(small_chain()), out) == STAGES
    return out


def test_affinities_are_learned_from_confident_seeds_on_the_encoder_of_the_classifier(made):
    recipe = read_recipe(made / "affinity")
    assert recipe.data.masks == str(made / "confident")
    assert recipe.student.weights == str(made / "classifier" / "last.safetensors")
    assert json.loads((made / "masks" / "seeds.json").read_text())["affinity"] == str(made / "affinity")
    assert read_recipe(made / "teacher").data.masks == str(made / "masks")
    confident, walked = [
        [read(file) for file in sorted((made / name).glob("*.png"))] for name in ("confident", "masks")
    ]
    assert len(confident) == len(walked) == 8
    assert any((mask == 255).any() for mask in confident)
    assert not any((mask == 255).any() for mask in walked)


def test_other_confident_seeds_redo_the_affinities_and_what_follows(made):
    chain = with_affinities(small_chain())
    assert did(chain, made) == []
    other = dataclasses.replace(chain, confident=dataclasses.replace(chain.confident, band=0.05))
    assert did(other, made)[:3] == ["confident seeds", "affinities", "seed masks"]
    assert did(chain, made)[0] == "confident seeds"  # and comes back


def test_the_page_names_what_every_stage_reached_and_the_commands(made):
    chain = with_affinities(small_chain())
    state = run_chain(chain, made, say=lambda sentence: None)
    rows = {row.stage: row for row in reached(state)}
    assert "pixels left open" in rows["confident seeds"].measure
    assert 0 <= rows["affinities"].value <= 1
    assert "left open" not in rows["seed masks"].measure
    setting = Setting(chain=chain, out=made, given=Given(), contents=Contents(made / ".contents.json"))
    told = commands(setting, "val", 2, reference=False)
    verbs = [words.split()[1] + " " + words.split("--out ")[-1].split()[0] for words in told if "seeds" in words[:15]]
    assert verbs == ["seeds again/confident", "seeds again/masks"]
    assert any("--affinity again/affinity" in words for words in told)


def test_without_true_masks_they_are_validated_on_confident_seeds(tmp_path):
    folder_tree(tmp_path / "data")
    chain = on_folder(with_affinities(small_chain()), tmp_path / "data", CLASSES)
    assert did(chain, tmp_path / "out") == STAGES
    assert read_recipe(tmp_path / "out" / "affinity").data.val_masks == str(tmp_path / "out" / "confident-val")
    assert (tmp_path / "out" / "masks-val").is_dir()
    rows = {
        row.stage: row.measure for row in reached(json.loads((tmp_path / "out" / "chain.json").read_text())["stages"])
    }
    assert rows["affinities"] == "AUC of pairs of neighbours with seed masks, val"
    assert rows["teacher"] == "mIoU with seed masks, val"


def test_affinities_without_seeds_to_learn_from_or_a_walk_along_them_are_refused(tmp_path):
    chain = with_affinities(small_chain())
    with pytest.raises(ValueError, match="has affinity and no confident: give both or neither"):
        dataclasses.replace(chain, confident=None)
    unwalked = dataclasses.replace(chain, seeds=SeedSpec())
    with pytest.raises(ValueError, match="no random walk of its seeds .*--skip affinity"):
        plan(unwalked, tmp_path / "out")
    without_affinity = without(unwalked, ("affinity",))
    assert without_affinity.affinity is without_affinity.confident is None
    assert [row.title for row in plan(without_affinity, tmp_path / "out")][:2] == ["classifier", "seed masks"]


def test_a_warm_teacher_begins_as_the_classifier(tmp_path):
    chain = small_chain()
    encoder = {"encoder": "mobilenet_v2"}
    classifier = dataclasses.replace(
        chain.classifier,
        student=ModelSpec(name="swtformer", args=encoder | {"version": 1, "output_stride": 16}),
        terms={"tags": TermSpec()},
    )
    teacher = dataclasses.replace(chain.teacher, student=ModelSpec(name="smp", args=encoder), lr=1e-12)
    chain = dataclasses.replace(chain, classifier=classifier, teacher=teacher, warm=True)
    assert did(chain, tmp_path) == ["classifier", "seed masks", "teacher", "student"]
    seen, begun = (read_weights(tmp_path / name / "last.safetensors") for name in ("classifier", "teacher"))
    first = ".features.0.0.weight"
    names = [next(name for name in weights if name.endswith(first)) for weights in (seen, begun)]
    torch.testing.assert_close(begun[names[1]], seen[names[0]])  # at such a learning rate it stays what it was
    setting = Setting(chain=chain, out=tmp_path, given=Given(), contents=Contents(tmp_path / ".contents.json"))
    told = "\n".join(commands(setting, "val", 2, reference=False))
    assert re.search(r"train .*/teacher/recipe.json .*--student.weights again/classifier/last.safetensors", told)


def test_a_warm_teacher_needs_a_classifier_and_takes_other_weights_where_masks_are_given(tmp_path):
    chain = dataclasses.replace(small_chain(), warm=True, weights="mine.pth")
    with pytest.raises(
        ValueError, match="the teacher of the chain 'demo' is to begin as a classifier that is not there"
    ):
        dataclasses.replace(chain, classifier=None, seeds=None)
    given = Given(masks=str(tmp_path))
    setting = Setting(chain=chain, out=tmp_path, given=given, contents=Contents(tmp_path / ".contents.json"))
    assert setting.for_teacher(chain.teacher).student.weights == "mine.pth"


def test_networks_on_masks_of_ones_own_are_compared_with_these_where_there_are_no_true_ones(tmp_path):
    root = folder_tree(tmp_path / "tree")
    chain = on_folder(small_chain(student=None), root, CLASSES)
    mine = tmp_path / "mine"
    for split in ("train", "val"):
        tagged = open_tagged(dataclasses.replace(chain.teacher.data, root=str(root), classes=CLASSES), split)
        mine.mkdir(exist_ok=True)
        for index in range(len(tagged)):
            height, width = tagged[index][0].shape[1:]
            file = mine / f"{tagged.name(index)}.png"
            file.write_bytes(png(torch.ones(height, width, dtype=torch.uint8), tagged.palette))
    state = run_chain(chain, tmp_path / "out", given=Given(masks=str(mine)), say=lambda sentence: None)
    assert [row.measure for row in reached(state)] == ["mIoU with the masks given, val"]
