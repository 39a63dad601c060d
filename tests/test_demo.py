"""The demo: one command from nothing to a page, that can be stopped and repeated."""

import dataclasses
import re

import pytest

from segstill import demo
from segstill.chain_recipe import PageSpec
from segstill.demo import STUDENTS, run_chain_demo, run_demo
from segstill.recipe import ModelSpec
from segstill.recipes import CHAINS
from segstill.report.seeds_page import Guess, SeedPage, SeedRun
from segstill.run import read_recipe

from .chains import small_chain
from .helpers import small_recipe
from .test_seeding import weak

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


WEAK_NAMES = ("demo_weak_v1", "demo_weak_v2")


@pytest.fixture
def small_classifiers(monkeypatch):
    monkeypatch.setattr(
        demo, "RECIPES", {f"demo_weak_v{version}": lambda version=version: weak(version) for version in (1, 2)}
    )
    monkeypatch.setattr(demo, "SCORED", 4)


def test_the_weak_demo_scores_the_seeds_of_both_versions_beside_a_guess(small_classifiers, tmp_path):
    page = demo.run_weak_demo(tmp_path, seed=3, seeds=2, say=lambda sentence: None)
    assert [(run.name, run.seeds, run.fused) for run in page.runs] == [
        (WEAK_NAMES[0], 2, False),
        (WEAK_NAMES[1], 2, True),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html",
        *(f"{name}-seed{seed}" for name in WEAK_NAMES for seed in (3, 4)),
    }
    assert "drawn scenes" in (tmp_path / "report.html").read_text()
    said = []
    demo.run_weak_demo(tmp_path, seed=3, seeds=2, say=said.append)
    assert sum("already trained" in sentence for sentence in said) == 4


def test_what_is_said_of_the_order_is_counted_seed_by_seed():
    def run(miou, oracle):
        return SeedRun(
            name=str(miou),
            scores={"seed_miou": miou, "oracle_miou": oracle},
            seeds=3,
            fused=False,
            parameters=1,
            milliseconds=1.0,
        )

    page = SeedPage(
        title="",
        classes=(),
        palette=(),
        runs=(run((0.1, 0.3, 0.3), (0.4, 0.4, 0.4)), run((0.2, 0.5, 0.3), (0, 0, 0))),
        guesses=(Guess("nothing", 0.2), Guess("all", 0.0)),
        images="4 scenes",
    )
    assert demo.order(page) == (
        "V2 is above V1 in 2 of 3 seeds, above V1 at the threshold that is tuned on the masks in 1 of 3 seeds; "
        "V1 is above the best guess (nothing) in 2 of 3 seeds."
    )


def test_a_weak_demo_of_no_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected at least 1"):
        demo.run_weak_demo(tmp_path, seeds=0)


def test_the_chain_goes_from_tags_to_a_student_and_says_what_every_stage_reached(tmp_path, monkeypatch):
    chain = CHAINS["demo"]()
    reference = dataclasses.replace(small_chain().teacher, name="demo_student", student=chain.reference.student)
    small = small_chain(reference=reference, export=chain.export, page=PageSpec(examples=2))
    monkeypatch.setattr(demo, "CHAINS", {"demo": lambda: small})
    rows = run_chain_demo(tmp_path / "demo", say=lambda sentence: None)
    *rows, shipped = rows
    assert [row.stage for row in rows] == ["classifier", "seed masks", "teacher", "student", "student on true masks"]
    assert shipped.stage == "export"
    assert list((tmp_path / "demo" / "export").glob("*.onnx"))
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
