"""The loop: what a run leaves behind, that it continues exactly, and how it stops."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from segstill import load
from segstill.data import open_dataset
from segstill.evaluate import evaluate
from segstill.recipe import DataSpec, ModelSpec, TermSpec, to_json
from segstill.run import read_log, read_recipe
from segstill.train import Diverged, train

from .helpers import small_recipe

SILENT = {"say": lambda sentence: None}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "teacher"
    train(small_recipe(student=ModelSpec(name="tiny", args={"width": 8, "norm": "group"})), run, **SILENT)
    return run


def losses(run: Path) -> list[float]:
    return [record["total"] for record in read_log(run) if record["kind"] == "step"]


@pytest.mark.parametrize("method", ["cross_entropy", "kd", "aicsd", "attnfd"])
def test_a_run_leaves_everything_behind_that_is_promised(method, teacher, tmp_path):
    recipe = small_recipe(method, teacher=None if method == "cross_entropy" else str(teacher))
    scores = train(recipe, tmp_path / "run", **SILENT)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "recipe.json",
        "env.json",
        "log.jsonl",
        "metrics.json",
        "state.pt",
        "last.safetensors",
        "best.safetensors",
        "tensorboard",
    }
    assert (tmp_path / "run" / "tensorboard").stat().st_size > 0
    assert read_recipe(tmp_path / "run") == recipe
    assert len(losses(tmp_path / "run")) == 6
    steps = [record for record in read_log(tmp_path / "run") if record["kind"] == "step"]
    assert set(steps[0]["losses"]) == set(recipe.terms)
    assert steps[0]["lr"] == recipe.lr > steps[-1]["lr"]
    assert 0 <= scores["miou"] <= 1
    assert ("teacher_agreement" in scores) == (method != "cross_entropy")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["last"] == scores
    assert metrics["best"]["miou"] >= scores["miou"]


def test_the_checkpoint_holds_the_student_alone(teacher, tmp_path):
    train(small_recipe("attnfd", teacher=str(teacher)), tmp_path / "run", **SILENT)
    saved = load(tmp_path / "run")
    assert saved.file.name == "best.safetensors"
    assert saved.classes[0] == "background"
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    wide = {tuple(p.shape) for p in load(teacher).model.parameters()} - {
        tuple(p.shape) for p in saved.model.parameters()
    }
    student = {name: value for name, value in state["learner"].items() if name.startswith("student.")}
    assert student.keys() == {f"student.{name}" for name in saved.model.state_dict()}
    assert not [name for name, value in student.items() if tuple(value.shape) in wide]
    moved = {id(p) for group in state["optimizer"]["param_groups"] for p in group["params"]}
    assert len(state["optimizer"]["state"]) <= len(state["learner"])
    assert moved


def test_the_scores_of_a_run_are_those_of_its_checkpoint(teacher):
    metrics = json.loads((teacher / "metrics.json").read_text())
    again = evaluate(load(teacher).model, open_dataset(read_recipe(teacher).data, "val"))
    assert again["per_class_iou"] == pytest.approx(metrics["best"]["per_class_iou"], nan_ok=True)


def test_the_same_recipe_gives_the_same_run(teacher, tmp_path):
    train(small_recipe("kd", teacher=str(teacher)), tmp_path / "one", **SILENT)
    train(small_recipe("kd", teacher=str(teacher), seed=0), tmp_path / "two", **SILENT)
    train(small_recipe("kd", teacher=str(teacher), seed=1), tmp_path / "other", **SILENT)
    assert losses(tmp_path / "one") == losses(tmp_path / "two") != losses(tmp_path / "other")


@pytest.mark.parametrize("kind", ["attnfd", "ema"])
def test_a_killed_run_continues_with_the_same_loss_curve(kind, teacher, tmp_path):
    """Kill -9 in the middle of an epoch; what is lost is run again, and the log is that of a run without the kill."""
    changes = {"ema": 0.9} if kind == "ema" else {}
    recipe = small_recipe("attnfd", teacher=str(teacher), epochs=6, workers=1, **changes)
    train(recipe, tmp_path / "whole", **SILENT)
    file = tmp_path / "mine.json"
    file.write_text(to_json(recipe))
    command = [sys.executable, "-m", "segstill", "train", str(file), "--run", str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        log = tmp_path / "killed" / "log.jsonl"
        deadline = time.monotonic() + 120
        while not (log.is_file() and len(losses(tmp_path / "killed")) >= 8) and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed" / "metrics.json").exists()
    train(recipe, tmp_path / "killed", resume=True, **SILENT)
    assert [r["step"] for r in read_log(tmp_path / "killed") if r["kind"] == "step"] == list(range(1, 19))
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), rel=1e-6)


def test_ctrl_c_saves_and_says_how_to_continue(tmp_path):
    recipe = small_recipe(epochs=4)
    seen = []

    def watch(record):
        seen.append(record["step"])
        if record["step"] == 4:  # in the middle of the second epoch
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="stopped after step 4.*--resume"):
        train(recipe, tmp_path / "run", watch=watch, **SILENT)
    train(recipe, tmp_path / "run", resume=True, **SILENT)
    train(recipe, tmp_path / "whole", **SILENT)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_with_its_name_and_the_last_good_checkpoint(teacher, tmp_path):
    recipe = small_recipe("kd", teacher=str(teacher), terms={"pixel_kd": TermSpec(weight=float("inf"), ramp="flat")})
    with pytest.raises(Diverged, match="'pixel_kd' is .* at step 0; the last good checkpoint is none yet"):
        train(recipe, tmp_path / "run", **SILENT)
    recipe = small_recipe(lr=1e18, epochs=5)
    with pytest.raises(Diverged, match="'cross_entropy' is"):
        train(recipe, tmp_path / "other", **SILENT)


def test_unlabelled_images_reach_the_distillation_terms_only(teacher, tmp_path):
    recipe = small_recipe("kd", teacher=str(teacher))
    told = []
    train(recipe, tmp_path / "run", say=told.append)
    assert any("6 labelled + 2 unlabelled images" in sentence for sentence in told)
    told.clear()
    train(small_recipe(), tmp_path / "alone", say=told.append)
    assert any("6 labelled images" in sentence for sentence in told)


def test_a_folder_that_holds_something_is_not_touched(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years")
    with pytest.raises(FileExistsError, match="exists already: add --resume"):
        train(small_recipe(), tmp_path / "run", **SILENT)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_mask_that_cannot_be_used_stops_the_run_and_leaves_nothing_behind(tmp_path):
    for kind, value in (("images", 9), ("masks", 77)):
        for split in ("train", "val"):
            (tmp_path / kind / split).mkdir(parents=True)
            Image.new("L", (48, 32), value).save(tmp_path / kind / split / "a.png")
    data = DataSpec(name="folder", root=str(tmp_path), classes=("road", "sky"), crop=(32, 48), workers=0)
    with pytest.raises(ValueError, match=r"masks/train/a.png.*77.*road, sky"):
        train(small_recipe(data=data, batch_size=1), tmp_path / "run", **SILENT)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_is_refused(teacher, tmp_path):
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True)
            Image.new("L", (48, 32), 1).save(tmp_path / kind / split / "a.png")
    data = DataSpec(name="folder", root=str(tmp_path), classes=tuple("abcdefgh"), crop=(32, 48), workers=0)
    with pytest.raises(ValueError, match="knows the classes .*'disc'.* the data has \\['a', 'b'"):
        train(small_recipe("kd", data=data, teacher=str(teacher)), tmp_path / "run", **SILENT)


def test_resuming_needs_the_same_recipe(teacher):
    changed = dataclasses.replace(read_recipe(teacher), lr=0.123)
    with pytest.raises(ValueError, match="another recipe \\(lr: 0.05 there, 0.123 now\\)"):
        train(changed, teacher, resume=True, **SILENT)


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run"):
        train(small_recipe(), tmp_path / "nothing", resume=True, **SILENT)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"method": "kd"}, ValueError, "there is no teacher: give one"),
        ({"method": "kd", "teacher": "nowhere"}, FileNotFoundError, "there is no run folder or checkpoint nowhere"),
        ({"data": dataclasses.replace(small_recipe().data, flip=2.0)}, ValueError, "flip is 2.0"),
        ({"student": ModelSpec(name="tinny")}, ValueError, "no model 'tinny'; did you mean one of \\['tiny'"),
        ({"student": ModelSpec(name="tiny", weights="gone.pth")}, FileNotFoundError, "gone.pth"),
    ],
)
def test_a_run_that_cannot_start_leaves_nothing_behind(changes, error, words, tmp_path):
    with pytest.raises(error, match=words):
        train(small_recipe(**changes), tmp_path / "run", **SILENT)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("method", "norm"), [("aicsd", "group"), ("attnfd", "batch")])
def test_two_processes_give_the_losses_and_scores_of_one(method, norm, teacher, tmp_path):
    """Gradients are equal if losses stay equal step by step: means over labelled pixels, valid pixels and images.

    With batch norm, as AttnFD's connectors have it too, they are if statistics are those of all images.
    """
    student = ModelSpec(name="tiny", args={"width": 4, "norm": norm})
    recipe = small_recipe(method, teacher=str(teacher), student=student)
    file = tmp_path / "mine.json"
    file.write_text(to_json(recipe))
    train(recipe, tmp_path / "one", **SILENT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m"]
    # "--": torchrun would take --run for a short form of its own --run-path.
    command = [*launcher, "--", "segstill", "train", str(file), "--run", str(tmp_path / "two")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    one, two = (json.loads((tmp_path / run / "metrics.json").read_text())["last"] for run in ("one", "two"))
    assert two["miou"] == pytest.approx(one["miou"], rel=1e-3)
    ours, theirs = (load(tmp_path / run).model.state_dict() for run in ("one", "two"))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5)
