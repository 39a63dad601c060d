"""A chain does what is missing or out of date, and nothing else; what goes wrong says where, and loses nothing."""

import dataclasses
import json
import re
import shutil

import pytest
import torch

from segstill.build import load
from segstill.chain import plan, run_chain
from segstill.chain_recipe import Given
from segstill.cli import main
from segstill.cli.chaining import without
from segstill.data import open_dataset
from segstill.data.pictures import png, read_mask
from segstill.recipe import TermSpec
from segstill.recipes import CHAINS
from segstill.run import read_recipe
from segstill.train import Diverged

from .chains import did, on_folder, small_chain, with_true_masks
from .data.tag_trees import CLASSES, folder_tree

quiet = {"say": lambda sentence: None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A chain that ran to its end; tests that change it work on a copy."""
    out = tmp_path_factory.mktemp("chain") / "out"
    assert did(small_chain(), out) == ["classifier", "seed masks", "teacher", "student"]
    return out


@pytest.fixture
def copy(made, tmp_path):
    """A copy, which is a chain folder that was moved."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def test_every_stage_leaves_what_its_verb_writes(made):
    assert len(list((made / "masks").glob("*.png"))) == 8
    assert (made / "masks" / "overlays.jpg").is_file()
    for name in ("classifier", "teacher", "student"):
        assert load(made / name).model is not None
    teacher, student = read_recipe(made / "teacher"), read_recipe(made / "student")
    assert teacher.data.masks == student.data.masks == str(made / "masks")
    assert student.teacher == str(made / "teacher")
    state = json.loads((made / "chain.json").read_text())
    assert state["chain"] == "demo"
    assert 0 <= state["stages"]["masks"]["result"]["scores"]["miou"] <= 1


def test_a_second_time_nothing_is_done_even_where_the_folder_was_moved(copy):
    assert did(small_chain(), copy) == []


def test_a_field_of_one_stage_redoes_it_and_what_follows_only(copy):
    chain = small_chain()
    other = dataclasses.replace(chain, teacher=dataclasses.replace(chain.teacher, lr=0.001))
    rows = {row.title: row.state for row in plan(other, copy, **quiet)}
    assert rows["teacher"] == "out of date: lr 0.004, now 0.001"
    assert rows["student"] == "waits for teacher"
    assert rows["seed masks"] == "done"
    assert did(other, copy) == ["teacher", "student"]
    assert did(other, copy) == []


def test_what_was_done_with_other_fields_comes_back_untrained(copy):
    chain = small_chain()
    before = (copy / "teacher" / "best.safetensors").read_bytes()
    did(dataclasses.replace(chain, teacher=dataclasses.replace(chain.teacher, lr=0.001)), copy)
    said = []
    run_chain(chain, copy, say=said.append)
    assert "  comes back from an earlier time" in said
    assert not any("labelled images" in sentence for sentence in said)  # the first sentence of a training
    assert (copy / "teacher" / "best.safetensors").read_bytes() == before


def test_places_and_workers_are_no_reason_to_do_anything_again(copy):
    chain = small_chain()
    chain = dataclasses.replace(chain, data=dataclasses.replace(chain.data, workers=1))
    assert did(chain, copy) == []


def test_masks_that_were_corrected_by_hand_are_used(copy):
    mask = next((copy / "masks").glob("*.png"))
    mask.write_bytes(png(torch.ones(32, 48, dtype=torch.uint8), ((0, 0, 0), (255, 0, 0))))
    assert did(small_chain(), copy) == ["teacher", "student"]
    assert read_mask(mask, ("a", "b")).unique().tolist() == [1]


def test_a_mask_that_is_gone_is_made_again_alone(copy):
    masks = sorted((copy / "masks").glob("*.png"))
    masks[0].unlink()
    before = masks[1].stat().st_mtime_ns
    assert did(small_chain(), copy) == ["seed masks"]
    assert masks[0].is_file()
    assert masks[1].stat().st_mtime_ns == before


def test_a_run_that_lost_files_is_run_again(copy):
    before = (copy / "student" / "best.safetensors").read_bytes()
    (copy / "student" / "best.safetensors").unlink()
    assert did(small_chain(), copy) == ["student"]
    assert load(copy / "student").model is not None
    assert len((copy / "student" / "best.safetensors").read_bytes()) == pytest.approx(len(before), rel=0.01)


@pytest.mark.parametrize("stage", ["classifier", "student"])
def test_an_interrupted_training_continues_where_it_was(stage, tmp_path):
    chain = small_chain()
    chain = dataclasses.replace(chain, **{stage: dataclasses.replace(getattr(chain, stage), epochs=3)})
    seen = []

    def watch(record):
        seen.append(record)
        enough = [line for line in seen if line["kind"] == "step" and line["steps"] == 6]
        if len(enough) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=f"stopped in stage . of 4, {stage}.*the same command continues"):
        run_chain(chain, tmp_path, watch=watch, **quiet)
    rows = {row.title: row for row in plan(chain, tmp_path, **quiet)}
    assert rows[stage].state == "to be continued"
    assert rows[stage].expected.endswith("from its steps so far")
    said = []
    run_chain(chain, tmp_path, say=said.append)
    assert any("6 steps in 3 epochs" in sentence and "from step 4" in sentence for sentence in said)


def test_interrupted_masks_continue(tmp_path):
    chain = small_chain()

    def count(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="stage 2 of 4, seed masks"):
        run_chain(chain, tmp_path, count=count, **quiet)
    assert did(chain, tmp_path) == ["seed masks", "teacher", "student"]
    assert len(list((tmp_path / "masks").glob("*.png"))) == 8


def test_the_plan_of_a_new_chain_writes_nothing_and_says_what_it_knows(tmp_path):
    rows = plan(small_chain(), tmp_path / "new", **quiet)
    assert [(row.title, row.state) for row in rows] == [
        ("classifier", "to do"),
        ("seed masks", "waits for classifier"),
        ("teacher", "waits for masks"),
        ("student", "waits for masks, teacher"),
    ]
    assert rows[0].expected.endswith("from 2 steps that were timed now")
    assert rows[1].expected.endswith("from 2 images that were timed now, with random weights")
    assert all(row.expected.endswith("from steps on noise that were timed now") for row in rows[2:])
    assert all(row.left for row in rows)
    assert not (tmp_path / "new").exists()


def test_the_plan_of_a_done_chain_says_what_it_took(made):
    rows = plan(small_chain(), made, **quiet)
    assert {row.state for row in rows} == {"done"}
    assert all(row.expected.endswith("taken") for row in rows)


def test_masks_of_ones_own_take_the_place_of_classifier_and_seeds(tmp_path):
    data = small_chain().teacher.data
    truth = open_dataset(data, "train")
    (tmp_path / "mine").mkdir()
    for index in range(len(truth)):
        (tmp_path / "mine" / f"{truth.name(index)}.png").write_bytes(png(truth[index][1], truth.palette))
    given = Given(masks=str(tmp_path / "mine"))
    assert did(small_chain(), tmp_path / "out", given=given) == ["teacher", "student"]
    assert read_recipe(tmp_path / "out" / "teacher").data.masks == str(tmp_path / "mine")


def test_a_classifier_and_a_teacher_of_ones_own_are_used(made, tmp_path):
    given = Given(classifier=str(made / "classifier"), teacher=str(made / "teacher"))
    assert did(small_chain(), tmp_path, given=given) == ["seed masks", "student"]
    assert read_recipe(tmp_path / "student").teacher == str(made / "teacher")
    gone = dataclasses.replace(given, teacher=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="there is no run folder or checkpoint"):
        plan(small_chain(), tmp_path, given=gone, **quiet)


def test_a_folder_of_another_chain_or_of_anything_else_is_refused(made, tmp_path):
    other = dataclasses.replace(small_chain(), name="mine")
    with pytest.raises(ValueError, match="made by the chain 'demo', expected 'mine': choose another folder with --out"):
        run_chain(other, made, **quiet)
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(ValueError, match=r"holds files and no chain.json: choose an empty or a new folder"):
        run_chain(small_chain(), tmp_path, **quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_goes_wrong_says_in_which_stage_and_keeps_its_kind(tmp_path):
    chain = small_chain()
    wild = dataclasses.replace(chain, teacher=dataclasses.replace(chain.teacher, lr=1e30, epochs=8))
    with pytest.raises(Diverged, match="stage 3 of 4, teacher: .*the same command continues"):
        run_chain(wild, tmp_path, **quiet)
    assert did(chain, tmp_path) == ["teacher", "student"]


def test_true_masks_of_a_part_are_used_and_not_scored(made, tmp_path):
    chain, truth = with_true_masks(small_chain(), tmp_path / "true")
    given = Given(classifier=str(made / "classifier"))
    state = run_chain(chain, tmp_path / "out", given=given, **quiet)
    result = state["masks"]["result"]
    assert result["true_masks"] == [truth.name(0), truth.name(3)]
    assert result["scores"]["images"] == 6
    used = read_mask(tmp_path / "out" / "masks" / f"{truth.name(3)}.png", truth.classes)
    assert torch.equal(used, truth[3][1])


def test_images_with_tags_and_no_mask_at_all_go_through_the_chain(tmp_path):
    folder_tree(tmp_path / "data")
    chain = on_folder(small_chain(), tmp_path / "data", CLASSES, reference=CHAINS["demo"]().reference)
    said = []
    state = run_chain(chain, tmp_path / "out", say=said.append)
    assert "reference" not in state
    assert any("no true masks to train on" in sentence for sentence in said)
    assert state["masks"]["result"]["masks"] == [4, 2]
    assert "2 to validate on" in state["masks"]["result"]["told"]
    assert read_recipe(tmp_path / "out" / "student").data.val_masks == str(tmp_path / "out" / "masks-val")
    (tmp_path / "data" / "images" / "train" / "a.jpg").write_bytes(
        (tmp_path / "data" / "images" / "train" / "b.jpg").read_bytes()
    )
    assert did(chain, tmp_path / "out")[:1] == ["classifier"]  # an image has another content


def test_chains_that_cannot_be_followed_are_refused(tmp_path):
    chain = small_chain()
    with pytest.raises(ValueError, match="has classifier and no seeds"):
        dataclasses.replace(chain, seeds=None)
    with pytest.raises(ValueError, match="expected a term that reads the teacher"):
        dataclasses.replace(chain, student=dataclasses.replace(chain.student, terms={"cross_entropy": TermSpec()}))
    masks_only = dataclasses.replace(chain, classifier=None, seeds=None)
    with pytest.raises(ValueError, match="begins at the teacher: pass true masks as --data.masks"):
        plan(masks_only, tmp_path, given=Given(masks="somewhere"), **quiet)


@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_has_a_name_and_a_command(name):
    chain = CHAINS[name]()
    assert chain.name == name
    assert f"segstill chain {name}" in CHAINS[name].__doc__


def test_the_command_line_shows_the_plan_and_takes_every_field_as_a_flag(tmp_path, capsys):
    small = [
        "--data.workers",
        "0",
        "--classifier.epochs",
        "3",
        "--classifier.data.args.count",
        "8",
        "--seeds.band",
        "0.1",
    ]
    with pytest.raises(SystemExit) as left:
        main(["chain", "demo", "--plan", "--skip", "export", "--out", str(tmp_path / "out"), *small])
    assert not left.value.code
    shown = capsys.readouterr().out
    assert "seed masks" in shown
    assert re.search(r"about \d+:\d\d to go; not counted: 1 of the stages", shown)
    assert "not known beforehand" in shown
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as left:
        main(["chain", "weak_to_student_nowhere"])
    assert left.value.code == 2
    assert "there is no chain 'weak_to_student_nowhere'" in capsys.readouterr().err


def test_stages_are_skipped_with_those_that_need_them():
    chain = CHAINS["demo"]()
    skipped = without(chain, ("student",))
    assert skipped.student is skipped.reference is skipped.export is None
    assert skipped.page is not None
    assert without(chain, ("report",)).page is None
