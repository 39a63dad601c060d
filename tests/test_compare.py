"""The referee: every method with every seed, on equal footing, whatever fails or is interrupted."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from segstill import load
from segstill.build import checkpoint_file
from segstill.cli import main
from segstill.compare import compare
from segstill.cost import measure_step
from segstill.footing import check_equal_footing, in_equal_time, with_baseline
from segstill.recipe import ModelSpec, to_json
from segstill.report.comparison import as_csv, as_json, render, table_rows, write_comparison
from segstill.run import read_recipe
from segstill.tables import methods
from segstill.train import train

from .helpers import small_recipe


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run = tmp_path_factory.mktemp("teacher") / "run"
    train(small_recipe(student=ModelSpec(name="tiny", args={"width": 6, "norm": "group"})), run, say=lambda _: None)
    return str(run)


def distilled(teacher, **changes):
    return small_recipe("kd", teacher=teacher, epochs=1, **changes)


@pytest.fixture(scope="module")
def comparison(teacher, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare")
    recipes = [distilled(teacher)]
    return out, recipes, compare(recipes, out, seeds=2, split="test", published={"small_kd": "50.0 (somebody)"})


def test_the_student_alone_is_always_there_and_first(comparison):
    _, _, result = comparison
    assert [row.name for row in result.results] == ["small_student", "small_kd"]
    assert result.results[0].baseline
    assert set(result.results[0].mious) == {0, 1}


def test_differences_are_paired_by_seed(comparison):
    _, _, result = comparison
    alone, kd = result.results
    assert kd.differences == tuple(kd.mious[seed] - alone.mious[seed] for seed in (0, 1))
    assert kd.interval is not None
    assert kd.published == "50.0 (somebody)"
    assert kd.ms_per_step > 0
    assert kd.hours > 0


def test_a_run_that_fails_does_not_take_the_others_along(comparison, teacher, tmp_path):
    out, recipes, _ = comparison
    broken = distilled(teacher, name="small_broken")
    heavy = dataclasses.replace(broken.terms["pixel_kd"], weight=1e38)
    broken = dataclasses.replace(broken, terms=broken.terms | {"pixel_kd": heavy})
    result = compare([broken, *recipes], out, seeds=1, split="test")
    _, failed, kd = result.results
    assert failed.mious == {}
    assert "pixel_kd" in failed.failures[0]
    assert 0 in kd.mious
    assert "Runs that failed" in render(result)
    assert "some failed" in as_csv(result)
    write_comparison(tmp_path, result)


def test_what_is_done_is_not_run_again(comparison):
    out, recipes, result = comparison
    before = {path: path.stat().st_mtime_ns for path in out.rglob("log.jsonl")}
    again = compare(recipes[:1], out, seeds=2, split="test")
    assert again.results[1].mious == result.results[1].mious
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_pages_are_written_and_hold_the_numbers(comparison, tmp_path):
    _, _, result = comparison
    write_comparison(tmp_path, result)
    page = (tmp_path / "compare.html").read_text()
    for words in ("<svg", "95 % confidence", "small_kd", "50.0 (somebody)"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")
    rows = json.loads((tmp_path / "compare.json").read_text())["results"]
    assert rows[1]["verdict"] == result.results[1].verdict
    assert len((tmp_path / "compare.csv").read_text().splitlines()) == 4


def test_the_command_line_compares_and_says_where_it_wrote(comparison, tmp_path, capsys):
    out, recipes, _ = comparison
    file = tmp_path / "small_kd.json"
    file.write_text(to_json(recipes[0]))
    with pytest.raises(SystemExit) as left:
        main(["compare", str(file), "--seeds", "2", "--out", str(out)])
    shown = capsys.readouterr().out
    assert left.value.code == 0, shown
    assert "small_student" in shown
    assert (out / "compare.html").is_file()
    assert json.loads((out / "compare.json").read_text())["command"].startswith(("segstill compare", "python"))


def test_the_command_line_without_recipes_explains_itself(capsys):
    with pytest.raises(SystemExit) as left:
        main(["compare"])
    assert left.value.code == 2
    assert "RECIPE..." in capsys.readouterr().out


def test_equal_time_gives_a_slower_method_fewer_epochs(teacher, tmp_path, monkeypatch):
    seconds = {"small_student": 1.0, "small_kd": 2.0}
    asked = []
    monkeypatch.setattr(
        "segstill.footing.measure_step", lambda recipe: asked.append(recipe.name) or seconds[recipe.name]
    )
    recipes = with_baseline([dataclasses.replace(distilled(teacher), epochs=4)])
    for _ in range(2):  # what was measured stays, or an interrupted comparison would go on with other epochs
        assert [recipe.epochs for recipe in in_equal_time(recipes, tmp_path, lambda _: None)] == [4, 2]
    assert asked == ["small_student", "small_kd"]


def test_a_step_is_timed_with_its_loading(teacher):
    assert 0 < measure_step(distilled(teacher), steps=2) < 60


def test_recipes_on_unequal_footing_are_refused(teacher):
    with pytest.raises(ValueError, match=r"not on equal footing \(epochs: 2 and 1\).*same flags"):
        check_equal_footing([small_recipe(), distilled(teacher)])


def test_methods_with_other_teachers_are_on_unequal_footing(teacher):
    other = distilled(teacher, name="small_other", teacher_scale=2.0)
    with pytest.raises(ValueError, match=r"not on equal footing \(teacher_scale: 1.0 and 2.0\)"):
        check_equal_footing(with_baseline([distilled(teacher), other]))


def test_a_teacher_given_by_its_model_is_scored_and_named(teacher, tmp_path):
    weights = ModelSpec(name="tiny", weights=f"{teacher}/best.safetensors", args={"width": 6, "norm": "group"})
    result = compare([distilled(None, teacher_model=weights)], tmp_path, seeds=1, split="test")
    by_run = compare([distilled(teacher)], tmp_path / "by_run", seeds=1, split="test")
    assert result.teacher == "tiny"
    assert result.teacher_miou == by_run.teacher_miou
    assert result.teacher_parameters == by_run.teacher_parameters


def test_the_table_begins_with_the_teacher_also_where_it_is_a_plain_file_of_weights(teacher, tmp_path):
    saved = load(teacher)
    file = tmp_path / "public.pth"
    torch.save(saved.model.net.state_dict(), file)
    spec = ModelSpec(name="tiny", args={"width": 6, "norm": "group"})
    result = compare([distilled(str(file), teacher_model=spec)], tmp_path / "out", seeds=1, split="test")
    miou, wide = f"{100 * result.teacher_miou:.1f}", sum(p.numel() for p in saved.model.parameters())
    assert (result.teacher, result.teacher_parameters) == (str(file), wide)
    assert [(row.name, row.role) for row in table_rows(result)][:2] == [
        ("public.pth", "teacher"),
        ("small_student", "student alone"),
    ]
    first, *others = csv.DictReader(as_csv(result).splitlines())
    assert (first["method"], first["mIoU"], first["Parameters"]) == ("public.pth", miou, f"{wide / 1e6:.2f}")
    assert {row["Parameters"] for row in others} == {f"{result.results[0].parameters / 1e6:.2f}"}
    assert re.search(
        rf'<tbody><tr><th scope="row">public.pth<span class="role">teacher</span></th><td>{miou}<', render(result)
    )
    assert json.loads(as_json(result))["teacher_miou"] == result.teacher_miou
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(methods(result))
    assert re.search(rf"public.pth \(teacher\) +│ +{miou}.*\n.*small_student \(student alone\)", console.export_text())


def test_a_table_without_a_teacher_begins_with_the_student_alone(tmp_path):
    result = compare([small_recipe(name="small_student", epochs=1)], tmp_path, seeds=1, split="test")
    assert [row.name for row in table_rows(result)] == ["small_student"]


def test_a_run_that_cannot_be_scored_is_a_failure_among_others(comparison, teacher, tmp_path):
    _, recipes, _ = comparison
    compare(recipes, tmp_path, seeds=1, split="test")
    (tmp_path / "small_kd-seed0" / "last.safetensors").write_bytes(b"cut off")
    (tmp_path / "small_kd-seed0" / "scores-test.json").unlink()
    alone, kd = compare(recipes, tmp_path, seeds=1, split="test").results
    assert set(alone.mious) == {0}
    assert kd.mious == {}
    assert "last.safetensors" in kd.failures[0]


def test_a_run_of_another_recipe_is_not_mixed_in(comparison):
    out, recipes, _ = comparison
    other = dataclasses.replace(recipes[0], lr=0.01)
    with pytest.raises(ValueError, match=r"holds a run with other \['lr'\]"):
        compare([other], out, seeds=1, split="test")


def test_what_another_teacher_taught_is_not_taken_as_done_and_what_does_not_say_is_with_a_note(teacher, tmp_path):
    mine, out = tmp_path / "teacher.safetensors", tmp_path / "out"
    mine.write_bytes(checkpoint_file(Path(teacher)).read_bytes())
    recipes = [distilled(str(mine))]
    before = compare(recipes, out, seeds=1, split="test")
    assert before.environment["teacher_sha256"] == hashlib.sha256(mine.read_bytes()).hexdigest()
    other = tmp_path / "other"
    train(dataclasses.replace(read_recipe(Path(teacher)), seed=7), other, say=lambda _: None)
    mine.write_bytes(checkpoint_file(other).read_bytes())
    told: list[str] = []
    with pytest.raises(ValueError, match=r"small_kd-seed0 was taught by .*, expected the same teacher"):
        compare(recipes, out, seeds=1, split="test", say=told.append)
    assert "scoring the teacher" in told  # the one that is there now, again
    file = out / "small_kd-seed0" / "env.json"
    known = json.loads(file.read_text())
    del known["teacher_sha256"]
    file.write_text(json.dumps(known))
    after = compare(recipes, out, seeds=1, split="test", say=told.append)
    assert [line for line in told if "small_kd-seed0 is taken as done, though it does not say which teacher" in line]
    assert after.results[1].mious == before.results[1].mious


def test_the_student_alone_is_named_after_the_family_whatever_the_method(teacher):
    for method in ("kd", "attnfd_fading", "logit_std"):
        alone, _ = with_baseline([distilled(teacher, name=f"camvid_small_{method}")])
        assert alone.name == "camvid_small_student"
        assert alone.teacher is None


def test_a_teacher_that_is_not_there_stops_before_anything_is_trained(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run folder or checkpoint"):
        compare([distilled(str(tmp_path / "gone"))], tmp_path / "out", seeds=1, split="test")
    assert not (tmp_path / "out").exists()


def test_ctrl_c_lets_the_run_save_and_the_same_command_continues(teacher, tmp_path):
    recipe = dataclasses.replace(distilled(teacher), epochs=4000, evaluate_every=4000)
    file = tmp_path / "small_kd.json"
    file.write_text(to_json(recipe))
    command = [sys.executable, "-m", "segstill", "compare", str(file), "--seeds", "1", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    log = tmp_path / "out" / "small_student-seed0" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in told
    assert (log.parent / "state.pt").is_file()


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="no recipe is given"):
        with_baseline([])
