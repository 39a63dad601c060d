"""What a run that goes on relies on: its state before an evaluation, its teacher, and the memory of its own steps."""

import hashlib
import json

import pytest
import torch

from segstill.recipe import DataSpec, ModelSpec
from segstill.run import read_log
from segstill.train import train

from .data.trees import folder_tree
from .helpers import small_recipe

SILENT = {"say": lambda sentence: None}
WIDE = ModelSpec(name="tiny", args={"width": 6, "norm": "group"})


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Two teachers that differ in their weights only."""
    runs = [tmp_path_factory.mktemp("teachers") / name for name in ("one", "other")]
    for seed, run in enumerate(runs):
        train(small_recipe(student=WIDE, epochs=1, seed=seed), run, **SILENT)
    return runs


def cut_off(*_, **__):
    raise InterruptedError


def told(run):
    """What the log tells of, without what the clock and the memory say."""
    names = ("kind", "step", "total", "miou", "teacher_agreement", "teacher_miou")
    return [{name: record[name] for name in names if name in record} for record in read_log(run)]


@pytest.mark.parametrize("epochs", [1, 2], ids=["the only evaluation", "the first of two"])
@pytest.mark.parametrize("when", ["in the middle", "after its line in the log"])
def test_an_evaluation_that_is_cut_off_costs_no_step_and_is_made_up_for(epochs, when, teachers, tmp_path, monkeypatch):
    recipe = small_recipe("kd", teacher=str(teachers[0]), epochs=epochs)
    whole = train(recipe, tmp_path / "whole", **SILENT)
    run = tmp_path / "run"
    watching = {"watch": lambda record: record["kind"] == "evaluation" and cut_off()}
    if when == "in the middle":
        watching = {}
        monkeypatch.setattr("segstill.train.evaluate", cut_off)
    with pytest.raises(InterruptedError):
        train(recipe, run, **watching, **SILENT)
    monkeypatch.undo()
    assert torch.load(run / "state.pt", weights_only=True)["step"] == 3
    seen = []
    assert train(recipe, run, resume=True, watch=seen.append, **SILENT) == whole
    assert [record["step"] for record in seen if record["kind"] == "step"] == list(range(4, 3 * epochs + 1))
    assert told(run) == told(tmp_path / "whole")
    scores = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("run", "whole")]
    assert scores[0]["best_step"] == scores[1]["best_step"]


def test_a_state_of_before_that_was_saved_after_its_evaluation_is_not_evaluated_again(tmp_path):
    run = tmp_path / "run"
    scores = train(small_recipe(epochs=1), run, **SILENT)
    state = torch.load(run / "state.pt", weights_only=True)
    assert state.pop("evaluated") == 3
    torch.save(state, run / "state.pt")
    seen = []
    assert train(small_recipe(epochs=1), run, resume=True, watch=seen.append, **SILENT) == scores
    assert seen == []


def test_a_run_records_the_hash_of_its_teachers_file_and_the_student_alone_none(teachers, tmp_path):
    file = teachers[0] / "best.safetensors"
    train(small_recipe("kd", teacher=str(teachers[0]), epochs=1), tmp_path / "run", **SILENT)
    spec = ModelSpec(name="tiny", weights=str(file), args=WIDE.args)
    train(small_recipe("kd", teacher_model=spec, epochs=1), tmp_path / "file", **SILENT)
    for run in ("run", "file"):
        recorded = json.loads((tmp_path / run / "env.json").read_text())["teacher_sha256"]
        assert recorded == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "teacher_sha256" not in json.loads((teachers[0] / "env.json").read_text())


def test_a_run_does_not_go_on_under_another_teacher(teachers, tmp_path):
    file = tmp_path / "teacher.safetensors"
    file.write_bytes((teachers[0] / "best.safetensors").read_bytes())
    recipe = small_recipe("kd", teacher=str(file), epochs=1)
    train(recipe, tmp_path / "run", **SILENT)
    file.write_bytes((teachers[1] / "best.safetensors").read_bytes())
    ours, theirs = (json.loads((tmp_path / "run" / "env.json").read_text())["teacher_sha256"], file.read_bytes())
    words = (
        rf"run was taught by .* {ours[:12]}.*{hashlib.sha256(theirs).hexdigest()[:12]}.*expected the same teacher: put"
    )
    with pytest.raises(ValueError, match=words):
        train(recipe, tmp_path / "run", resume=True, **SILENT)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: on a CPU a process has one peak")
def test_the_memory_of_a_step_counts_neither_the_checks_before_the_first_nor_evaluations(teachers, tmp_path):
    def hold_much(*_):
        torch.empty(2**30, dtype=torch.uint8, device="cuda")

    def watch(record):
        if record["kind"] == "evaluation":
            hold_much()

    train(small_recipe("kd", teacher=str(teachers[0])), tmp_path / "run", watch=watch, say=hold_much)
    steps = [record["memory_mb"] for record in read_log(tmp_path / "run") if record["kind"] == "step"]
    assert all(0 < memory < 1024 for memory in steps)


def test_an_image_that_vanishes_costs_none_of_the_steps_that_are_done(tmp_path):
    root = folder_tree(tmp_path / "data", train=6)
    data = DataSpec(name="folder", root=str(root), classes=("a", "b", "c"), crop=(24, 32), workers=0)
    recipe = small_recipe(data=data, epochs=2, batch_size=2)
    hidden, images = tmp_path / "hidden", root / "images" / "train"
    run, said = tmp_path / "run", []

    def hide(record):
        if record["kind"] == "step" and record["step"] == 2:
            images.rename(hidden)

    with pytest.raises(OSError, match="images/train"):
        train(recipe, run, watch=hide, say=said.append)
    assert said[-1] == "saved after step 2: the same command continues, that of a single run with --resume"
    hidden.rename(images)
    scores = train(recipe, run, resume=True, **SILENT)
    assert [record["step"] for record in read_log(run) if record["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert scores == train(recipe, tmp_path / "whole", **SILENT)
