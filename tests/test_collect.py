"""What a report reads from run folders: which split, whose attention, and every checkpoint once."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from segstill import build
from segstill.build import build_learner, load
from segstill.checkpoint import read_state, save_state
from segstill.cli import main
from segstill.data import open_dataset
from segstill.recipe import DataSpec, ModelSpec
from segstill.report import write_report
from segstill.report.attention import find_attention
from segstill.run import read_recipe
from segstill.train import train

from .data.trees import CLASSES, folder_tree, sample
from .helpers import small_recipe

QUIET = {"say": lambda sentence: None}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A teacher, a student alone and one taught by AttnFD, on drawn scenes."""
    folder = tmp_path_factory.mktemp("runs")
    teacher = ModelSpec(name="tiny", args={"width": 8, "norm": "group"})
    train(small_recipe(student=teacher), folder / "teacher", **QUIET)
    train(small_recipe(), folder / "student", **QUIET)
    train(small_recipe("attnfd", teacher=str(folder / "teacher")), folder / "attnfd", **QUIET)
    return folder


@pytest.fixture(scope="module")
def without_test(tmp_path_factory) -> Path:
    """A run on a folder of images that has no test split."""
    folder = tmp_path_factory.mktemp("folder")
    root = folder_tree(folder / "data")
    data = DataSpec(name="folder", root=str(root), classes=CLASSES, crop=(24, 32), workers=0)
    train(small_recipe(data=data, epochs=1, batch_size=1), folder / "run", **QUIET)
    return folder / "run"


def test_without_a_test_split_the_validation_split_is_shown_and_that_is_said(without_test, tmp_path):
    said = []
    rows = write_report([without_test], tmp_path / "page.html", say=said.append)
    assert any("no test split" in sentence and "val" in sentence for sentence in said)
    best = build.checkpoint_file(without_test)
    assert rows[0].scores["miou"] == pytest.approx(build.read_about(best)["scores"]["miou"])
    assert "val split" in (tmp_path / "page.html").read_text()


def test_a_split_that_is_asked_for_is_not_replaced_by_another(without_test, tmp_path):
    with pytest.raises(FileNotFoundError, match="test"):
        write_report([without_test], tmp_path / "page.html", split="test", **QUIET)
    assert not list(tmp_path.iterdir())


def test_a_test_split_that_is_there_but_wrong_is_not_replaced_by_another(without_test, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(read_recipe(without_test).data.root or "", root)
    sample(root / "images/test", root / "masks/test", "a", 5)
    sample(root / "images/test", root / "elsewhere", "b", 6)
    with pytest.raises(FileNotFoundError, match=r"masks/test/b\.png: is missing"):
        write_report([without_test], tmp_path / "page.html", root=str(root), **QUIET)


def test_evaluate_takes_the_test_split_where_there_is_no_other(without_test, tmp_path, capsys):
    root = tmp_path / "only-test"
    sample(root / "images/test", root / "masks/test", "a", 5)
    command = ["evaluate", str(without_test), "--data.root", str(root), "--workers", "0"]
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert not exit_.value.code
    shown = capsys.readouterr()
    assert "no val split" in shown.err
    assert ", test" in shown.out
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--split", "val"])
    assert exit_.value.code == 2


def test_every_checkpoint_is_read_once(runs, tmp_path, monkeypatch):
    read, original = [], build.read_weights
    monkeypatch.setattr(build, "read_weights", lambda file: read.append(file) or original(file))
    write_report([runs / "student", runs / "attnfd"], tmp_path / "page.html", examples=1, **QUIET)
    assert sorted(read) == sorted(runs / name / "best.safetensors" for name in ("teacher", "student", "attnfd"))


def test_attention_is_that_of_the_best_student_and_of_the_losses_of_the_last_state(runs):
    recipe = read_recipe(runs / "attnfd")
    image = open_dataset(recipe.data, "test")[0][0][None]
    student, teacher = load(runs / "attnfd"), load(runs / "teacher")
    learner = build_learner(load(runs / "attnfd").model, recipe.terms, teacher.model)
    state = read_state(runs / "attnfd" / "state.pt")
    learner.load_state_dict({name: value for name, value in state["learner"].items() if "losses" in name}, strict=False)
    with torch.no_grad():
        features = learner.eval().features(image)
    expected = learner.losses["attnfd"].attention(*features)["decoder"]
    attention = find_attention(student, runs / "attnfd", teacher.model)
    assert attention is not None
    for found, wanted in zip(attention.maps(image), expected, strict=True):
        np.testing.assert_allclose(found, wanted[0, 0].numpy(), rtol=1e-6)


@pytest.mark.parametrize("later", [0, 5])
def test_the_page_says_where_attention_and_student_are_of_different_steps(later, runs, tmp_path):
    run = tmp_path / "attnfd"
    shutil.copytree(runs / "attnfd", run)
    best, state = build.read_about(run / "best.safetensors")["step"], read_state(run / "state.pt")
    save_state(run / "state.pt", state | {"step": best + later})
    write_report([run], tmp_path / "page.html", examples=1, **QUIET)
    text = (tmp_path / "page.html").read_text()
    assert "attnfd: spatial attention at the tap decoder" in text
    mixed = f"after step {best + later} on features of the best student, which is that of step {best}"
    assert (mixed in text) == bool(later)


@pytest.mark.parametrize("gone", ["state", "teacher"])
def test_without_the_state_or_the_teacher_there_is_no_attention(gone, runs, tmp_path):
    run = tmp_path / "attnfd"
    shutil.copytree(runs / "attnfd", run)
    saved = load(run)
    if gone == "state":
        (run / "state.pt").unlink()
    else:
        assert saved.recipe is not None
        saved = saved._replace(recipe=dataclasses.replace(saved.recipe, teacher=str(tmp_path / "gone")))
    assert find_attention(saved, run, None) is None


def test_students_are_compared_with_the_teacher_on_the_page_also_the_one_that_learnt_alone(runs, tmp_path):
    rows = write_report([runs / "student", runs / "attnfd"], tmp_path / "page.html", examples=1, **QUIET)
    assert [(row.name, row.role) for row in rows] == [
        ("teacher", "teacher"),
        ("student", "baseline"),
        ("attnfd", "distilled"),
    ]
    assert ["teacher_agreement" in row.scores for row in rows] == [False, True, True]


def test_a_teacher_of_other_classes_has_no_row(runs, tmp_path):
    root = folder_tree(tmp_path / "data")
    data = DataSpec(name="folder", root=str(root), classes=("disc", "ring", "box"), crop=(24, 32), workers=0)
    recipe = small_recipe("kd", data=data, teacher=str(runs / "teacher"), epochs=1, batch_size=1)
    train(recipe, tmp_path / "mapped", **QUIET)
    said = []
    rows = write_report([tmp_path / "mapped"], tmp_path / "page.html", examples=1, say=said.append)
    assert [(row.name, row.role) for row in rows] == [("mapped", "distilled")]
    assert any("knows other classes, so it has no row" in sentence for sentence in said)
    with pytest.raises(ValueError, match="report runs of the same data together"):
        write_report([tmp_path / "mapped", runs / "teacher"], tmp_path / "page.html", **QUIET)
