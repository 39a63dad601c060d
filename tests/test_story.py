"""The page of a chain: all of its stages are on it, and the commands on it repeat them."""

import dataclasses
import html
import json
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest

from segstill.chain import run_chain
from segstill.chain_recipe import ExportSpec, Given, PageSpec
from segstill.cli import main
from segstill.report.sheet import contact_sheet
from segstill.report.story import SeedView, StageRow, StoryView, render_story, write_story

from .chains import did, small_chain, with_true_masks
from .pages import whole_page
from .test_mistakes import page
from .test_report import Reader

QUIET = {"say": lambda sentence: None}
SECTIONS = [
    "reached",
    "given",
    "seeds",
    "sheet",
    "scores",
    "training",
    "classes",
    "confusion",
    "examples",
    "worst",
    "shipped",
    "repeat",
]


def whole_chain(**changes):
    chain = small_chain()
    reference = dataclasses.replace(chain.teacher, name="alone", student=chain.student.student)
    fields = {"reference": reference, "export": ExportSpec(int8=True), "page": PageSpec(examples=2)}
    return dataclasses.replace(chain, **fields | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole chain, with true masks of two of its images."""
    folder = tmp_path_factory.mktemp("story")
    chain, _ = with_true_masks(whole_chain(), folder / "true")
    run_chain(chain, folder / "out", **QUIET)
    return folder / "out"


@pytest.fixture(scope="module")
def text(made):
    return (made / "report.html").read_text()


def rows_of(text, section):
    part = text[text.index(f'<section id="{section}"') :]
    part = part[: part.index("</section>")]
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', part)
    return {html.unescape(row.split("</th>")[0]): re.findall(r"<td>(.*?)</td>", row) for row in rows}


def test_every_stage_is_on_the_page_in_words_and_pictures(text):
    assert re.findall(r'<section id="(\w+)"', text) == SECTIONS
    read = Reader(text)
    assert all(image["alt"] and image["loading"] == "lazy" for image in read.images if "src" in image)
    assert "true masks of 2 of them" in text
    assert len(text) < 10_000_000


def test_all_that_scrolls_or_opens_can_be_reached_with_the_keyboard(text):
    for region in re.findall(r"<[^>]*role=\"region\"[^>]*>", text):
        assert 'tabindex="0"' in region
        assert "aria-label=" in region
    assert all('tabindex="0"' in each for each in re.findall("<pre[^>]*>", text))


def test_size_accuracy_and_latency_are_those_of_the_networks_and_files(made, text):
    rows = rows_of(text, "shipped")
    assert list(rows) == ["teacher, torch", "student, torch", "student, ONNX fp32", "student, ONNX int8"]
    for name, suffix in (("student, ONNX fp32", ".onnx"), ("student, ONNX int8", ".int8.onnx")):
        size = (made / "export" / f"student{suffix}").stat().st_size / 1e6
        assert float(rows[name][0]) == pytest.approx(size, abs=0.006)
    networks = rows_of(text, "scores")
    assert re.search(r"\d+\.\d", networks["student"][0])[0] == rows["student, torch"][1]
    assert all(float(cells[3]) >= float(cells[2]) > 0 for cells in rows.values())
    assert re.search(r"mIoU on all \d+ \w+ images; time of one image", text)


def test_a_network_has_one_name_on_the_whole_page(text):
    stages = rows_of(text, "reached")
    titles = ["teacher", "student on true masks", "student"]
    assert [*rows_of(text, "scores")] == titles  # no folder's name, no role beside it
    assert {*titles} <= {*stages}
    for section, pattern in (
        ("training", '"></span>([^<]*)</li>'),
        ("classes", '"></span>([^<]*)</li>'),
        ("confusion", "<summary>([^<]*)</summary>"),
        ("examples", "<figcaption><b>([^<]*)</b>"),
    ):
        part = text[text.index(f'<section id="{section}"') :].partition("</section>")[0]
        found = set(re.findall(pattern, part))
        assert {*titles} <= found, section
        assert not {"reference", "student alone"} & found, section
    assert "with the least mIoU of student, the worst first" in text
    lead = re.search('<p class="lead">([^<]*)', text)[1]
    assert "the teacher " in lead
    assert "student on true masks alone reaches" in lead


def test_the_commands_on_the_page_repeat_every_stage(made, text, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "export")
    monkeypatch.chdir(tmp_path)
    part = text[text.index('<section id="repeat"') :]
    block = re.search(r"<code>(.*?)</code>", part, re.S)[1]
    lines = [html.unescape(line) for line in block.splitlines()]
    assert lines[1].startswith("# the same stages one by one")
    verbs = []
    for line in lines[2:]:
        if line.startswith("#"):
            continue
        program, *words = shlex.split(line)
        if program == "cp":
            subprocess.run(["cp", *words], check=True)
            continue
        verbs.append(words[0])
        with pytest.raises(SystemExit) as left:
            main(words)
        assert not left.value.code, line
    assert verbs == ["train", "seeds", "train", "train", "train", "export", "report"]
    for name in ("classifier", "teacher", "student", "reference"):
        again = json.loads((tmp_path / "again" / name / "metrics.json").read_text())["last"]
        before = json.loads((made / name / "metrics.json").read_text())["last"]
        score = "miou" if "miou" in before else "class_wise_map"
        assert again[score] == pytest.approx(before[score], abs=1e-6)
    assert (tmp_path / "again" / "student.int8.onnx").is_file()


def test_a_chain_of_masks_alone_has_a_page_too_which_says_how_many_of_very_many_images_it_scored(tmp_path, monkeypatch):
    monkeypatch.setattr("segstill.chain.shipping.MOST", 1)
    chain = whole_chain(classifier=None, seeds=None, export=None)
    run_chain(chain, tmp_path / "out", **QUIET)
    text = (tmp_path / "out" / "report.html").read_text()
    shown = re.findall(r'<section id="(\w+)"', text)
    assert shown == [section for section in SECTIONS if section not in ("seeds", "sheet")]
    assert list(rows_of(text, "shipped")) == ["teacher, torch", "student, torch"]
    assert re.search(r"mIoU on 1 of \d+ \w+ images, so that it is not that of the tables above; time", text)
    assert "segstill seeds" not in text


def test_a_student_of_ones_own_takes_the_place_of_all_before(made, tmp_path):
    chain = whole_chain(reference=None)
    mine = tmp_path / "mine"
    shutil.copytree(made / "student", mine)
    given = Given(student=str(mine))
    titles = did(chain, tmp_path / "out", given=given)
    assert titles == ["export", "report"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert f"segstill export {mine}" in text
    rows = rows_of(text, "reached")
    assert list(rows)[:2] == ["teacher, given", "student, given"]
    scores = json.loads((made / "chain.json").read_text())["stages"]["report"]["result"]["scores"]
    assert rows["student, given"][0] == f"{100 * scores['student']['miou']:.1f}"
    assert "segstill train" not in text
    names = ["teacher, torch", "student, torch", "student, ONNX fp32", "student, ONNX int8"]
    assert list(rows_of(text, "shipped")) == names
    assert did(chain, tmp_path / "out", given=given) == []
    both = dataclasses.replace(given, teacher=str(made / "teacher"))
    with pytest.raises(ValueError, match="given beside a teacher.*give it alone"):
        run_chain(chain, tmp_path / "out", given=both, **QUIET)


def story(**changes):
    seed = SeedView(
        name="a",
        tags=("road",),
        image=np.zeros((24, 32, 3), np.uint8),
        maps={"road": np.zeros((24, 32))},
        before=None,
        made=np.zeros((24, 32), np.uint8),
    )
    given = {"stages": (StageRow("student", "mIoU, val", 0.5, None, "1 s"),), "facts": {"chain": "c"}}
    sheet = contact_sheet([seed.image], [seed.made], ["a"], page().palette)
    shown = dataclasses.replace(page(), examples=whole_page().examples * 4)
    return StoryView(**{"page": shown, "seeds": (seed,) * 4, "sheet": sheet, **given, **changes})


@pytest.mark.parametrize(
    ("room", "there", "gone"),
    [
        (8, {"worst": 10, "seeds": 4, "sheet": 1}, ["10 of the 20 worst images"]),
        (7, {"worst": 10, "seeds": 4, "sheet": 0}, ["the sheet of many masks"]),
        (5, {"worst": 10, "seeds": 2, "sheet": 0}, ["2 of the 4 training images", "2 of the 4 predictions"]),
        (0, {"worst": 0, "seeds": 0, "sheet": 0}, ["20 of the 20 worst images", "4 of the 4 predictions"]),
    ],
)
def test_pictures_are_left_out_in_the_order_that_the_page_tells(room, there, gone, tmp_path, monkeypatch):
    """Sizes stand in for pages: what counts is what is left at each of them."""
    sizes, seen = [9, 8, 7, 6, 5, 4, 1], []
    from segstill.report import story as module

    def render(view):
        seen.append(view)
        return "x" * sizes[len(seen) - 1]

    monkeypatch.setattr("segstill.report.fitting.LARGEST", room)
    monkeypatch.setattr(module, "render_story", render)
    write_story(tmp_path / "a.html", story())
    last = seen[-1]
    assert {"worst": len(last.page.worst), "seeds": len(last.seeds), "sheet": int(last.sheet is not None)} == there
    assert len(last.page.examples) == there["seeds"]
    monkeypatch.undo()
    said = module.render_story(last)
    assert all(words in said for words in gone)
    assert "The least bad of the worst images go first" in said


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([0, 0, 0, 0], "mIoU 38 %"),  # three of four pixels agree: 3/4 of the background, nothing of the road
        ([0, 0, 0, 1], "mIoU 100 %"),
        ([0, 0, 255, 1], "mIoU 100 %, 25 % left open"),
        ([255] * 4, "nothing to compare, 100 % left open"),
    ],
)
def test_a_blank_mask_does_not_look_good(made, told):
    grid = np.array([made], dtype=np.uint8)
    seed = dataclasses.replace(story().seeds[0], made=grid, truth=np.array([[0, 0, 0, 1]], dtype=np.uint8))
    assert f">{told}<" in render_story(story(seeds=(seed,)))
