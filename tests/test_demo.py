"""The demo: one command from nothing to a page, that can be stopped and repeated."""

import dataclasses
import re

import pytest

from segstill import demo
from segstill.chain_recipe import PageSpec
from segstill.demo import STUDENTS, run_chain_demo, run_demo
from segstill.recipe import ModelSpec
from segstill.recipes import CHAINS
from segstill.run import read_recipe

from .chains import small_chain
from .helpers import small_recipe

METHODS = dict(zip(STUDENTS, ("cross_entropy", "kd", "aicsd", "attnfd"), strict=True))
TEACHER = ModelSpec(name="tiny", args={"width": 8, "norm": "group"})


@pytest.fixture(autouse=True)
def small_recipes(monkeypatch):
    """The demo's own recipes take minutes."""

    def small(name):
        changes = {"name": name, "epochs": 1} | ({"student": TEACHER} if name == "demo_teacher" else {})
        return lambda: small_recipe(METHODS.get(name, "cross_entropy"), **changes)

    monkeypatch.setattr(demo, "RECIPES", {name: small(name) for name in ("demo_teacher", *STUDENTS)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "demo"


def test_it_trains_a_teacher_and_four_students_and_writes_a_page(folder):
    rows = run_demo(folder, say=lambda sentence: None)
    assert [row.name for row in rows] == ["demo_teacher", *STUDENTS]
    assert [row.role for row in rows] == ["teacher", "baseline", "distilled", "distilled", "distilled"]
    assert all(row.scores["miou"] > 0 for row in rows)
    text = (folder / "report.html").read_text()
    assert "segstill demo: drawn scenes" in text
    assert 'id="attention"' in text


def test_a_second_time_nothing_is_trained_again(folder):
    said, before = [], {path: path.stat().st_mtime_ns for path in folder.rglob("best.safetensors")}
    run_demo(folder, say=said.append)
    assert sum("already trained" in sentence for sentence in said) == 5
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("best.safetensors")} == before


def test_an_interrupted_demo_goes_on(tmp_path):
    seen = []

    def watch(record):
        seen.append(record["step"])
        if len(seen) == 6:  # in the second run
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, watch=watch, say=lambda sentence: None)
    assert not (tmp_path / "report.html").exists()
    said = []
    assert len(run_demo(tmp_path, say=said.append)) == 5
    assert [sentence for sentence in said if "already trained" in sentence] == [
        f"demo_teacher: already trained in {tmp_path / 'demo_teacher'}"
    ]


def test_another_seed_in_the_same_folder_is_refused(folder):
    with pytest.raises(ValueError, match="another seed or version: remove .*, or choose another --out"):
        run_demo(folder, seed=1, say=lambda sentence: None)
    assert read_recipe(folder / "demo_teacher") == dataclasses.replace(demo.RECIPES["demo_teacher"](), seed=0)


def test_the_chain_goes_from_tags_to_a_student_and_says_what_every_stage_reached(tmp_path, monkeypatch):
    chain = CHAINS["demo"]()
    reference = dataclasses.replace(small_chain().teacher, name="demo_student", student=chain.reference.student)
    small = small_chain(reference=reference, page=PageSpec(examples=2))
    monkeypatch.setattr(demo, "CHAINS", {"demo": lambda: small})
    rows = run_chain_demo(tmp_path / "demo", say=lambda sentence: None)
    assert [row.stage for row in rows] == ["classifier", "seed masks", "teacher", "student", "student on true masks"]
    assert all(0 <= row.value <= 1 for row in rows)
    assert [row.measure for row in rows[2:]] == ["mIoU, test"] * 3
    page = (tmp_path / "demo" / "report.html").read_text()
    for part in ("reached", "given", "seeds", "sheet", "scores", "examples", "repeat"):
        assert f'<section id="{part}"' in page
    pictures = re.findall("<img [^>]*>", page)
    assert len(pictures) > 10
    assert all(re.search('alt="[^"]+"', picture) and 'loading="lazy"' in picture for picture in pictures[:-1])
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 10_000_000
