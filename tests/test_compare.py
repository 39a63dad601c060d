"""The referee: every method with every seed, on equal footing, whatever fails or is interrupted."""

import dataclasses
import json

import pytest

from segstill.compare import check_equal_footing, compare, with_baseline
from segstill.recipe import ModelSpec
from segstill.report.comparison import as_csv, render, write_comparison
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
    broken = distilled(teacher, name="small_broken")
    broken = dataclasses.replace(
        broken, terms=broken.terms | {"pixel_kd": dataclasses.replace(broken.terms["pixel_kd"], weight=1e38)}
    )
    recipes = [distilled(teacher), broken]
    return out, recipes, compare(recipes, out, seeds=2, split="test", published={"small_kd": "50.0 (somebody)"})


def test_the_student_alone_is_always_there_and_first(comparison):
    _, _, result = comparison
    assert [row.name for row in result.results] == ["small_student", "small_kd", "small_broken"]
    assert result.results[0].baseline
    assert set(result.results[0].mious) == {0, 1}


def test_differences_are_paired_by_seed(comparison):
    _, _, result = comparison
    alone, kd, _ = result.results
    assert kd.differences == tuple(kd.mious[seed] - alone.mious[seed] for seed in (0, 1))
    assert kd.interval is not None
    assert kd.published == "50.0 (somebody)"
    assert kd.ms_per_step > 0
    assert kd.hours > 0


def test_a_run_that_fails_does_not_take_the_others_along(comparison):
    _, _, result = comparison
    broken = result.results[2]
    assert broken.mious == {}
    assert len(broken.failures) == 2
    assert "pixel_kd" in broken.failures[0]
    assert "small_broken" in render(result)
    assert "some failed" in as_csv(result)


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
    for words in ("<svg", "95 % confidence", "small_kd", "50.0 (somebody)", "Runs that failed"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")
    rows = json.loads((tmp_path / "compare.json").read_text())["results"]
    assert rows[1]["verdict"] == result.results[1].verdict
    assert len((tmp_path / "compare.csv").read_text().splitlines()) == 4


def test_equal_time_gives_a_slower_method_fewer_epochs(teacher, tmp_path, monkeypatch):
    seconds = {"small_student": 1.0, "small_kd": 2.0}
    monkeypatch.setattr("segstill.compare.measure_step", lambda recipe: seconds[recipe.name])
    recipe = dataclasses.replace(distilled(teacher), epochs=4)
    result = compare([recipe], tmp_path, seeds=1, budget="seconds", split="test")
    assert [row.epochs for row in result.results] == [4, 2]
    assert json.loads((tmp_path / "seconds-per-step.json").read_text()) == seconds


def test_recipes_on_unequal_footing_are_refused(teacher):
    with pytest.raises(ValueError, match=r"not on equal footing \(epochs: 2 and 1\).*same flags"):
        check_equal_footing([small_recipe(), distilled(teacher)])


def test_a_run_of_another_recipe_is_not_mixed_in(comparison):
    out, recipes, _ = comparison
    other = dataclasses.replace(recipes[0], lr=0.01)
    with pytest.raises(ValueError, match=r"holds a run with other \['lr'\]"):
        compare([other], out, seeds=1, split="test")


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="no recipe is given"):
        with_baseline([])
