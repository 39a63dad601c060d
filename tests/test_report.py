"""The page: complete in itself, well formed, and true to what it is given."""

import dataclasses
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from segstill import checkpoint
from segstill.report import PageView, RunView, write_page
from segstill.report import page as page_module
from segstill.report.page import render, summarise

from .pages import ALONE, CLASSES, PALETTE, RUNS, TAUGHT, TEACHER, example, run, whole_page

VOID = {"meta", "img", "br", "input", "link", "hr"}


@pytest.fixture(scope="module")
def html():
    return render(whole_page())


class Reader(HTMLParser):
    """Collects what the tests ask about, and complains about tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.text, self.images = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def test_the_page_is_well_formed_and_ids_are_unique(html):
    ids = [value for name, value in Reader(html).attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 7


def test_the_page_loads_nothing(html):
    for name, value in Reader(html).attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert value.startswith(("data:", "#")), (name, value[:60])
    assert "://" not in html
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|<link|<iframe", html)


def test_links_lead_to_sections_that_exist(html):
    attributes = Reader(html).attributes
    targets = {value for name, value in attributes if name == "id"}
    links = [value[1:] for name, value in attributes if name == "href" and value.startswith("#")]
    assert len(links) == 7
    assert set(links) <= targets


def test_every_run_class_command_and_fact_is_on_the_page(html):
    text = " ".join(Reader(html).text)
    for wanted in (*(r.name for r in RUNS), *CLASSES, "segstill train alone", "runs/*", "2.11 <cpu>", "street 1"):
        assert wanted in text
    assert "dark is alike" in text
    assert "bright is < looked at" in text
    assert "70.0" in text
    assert "45.67" in text


def test_names_cannot_inject_markup():
    bad = "<script>alert(1)</script>\"'&"
    runs = tuple(dataclasses.replace(r, name=bad + r.name, command=bad) for r in RUNS)
    shown = dataclasses.replace(
        example(), name=bad, predictions={bad + "big": np.zeros((24, 32), np.uint8)}, attention={}
    )
    page = PageView(
        title=bad,
        classes=(bad, "b", "c"),
        palette=PALETTE,
        runs=runs,
        examples=(shown,),
        similarity={bad + "big": np.eye(3)},
        similarity_meaning=bad,
        attention_meaning=bad,
        environment={bad: bad},
    )
    text = render(page)
    Reader(text)
    assert text.count("<script>") == 1  # the page's own
    assert text.count("alert(1)") == text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10


def test_pictures_have_a_text_and_a_size(html):
    images = [image for image in Reader(html).images if "src" in image]
    assert len(images) == 2 + 2 * len(RUNS) + 2
    assert all(image["alt"] and int(image["width"]) == 32 and image["loading"] == "lazy" for image in images)
    assert len({image["alt"] for image in images}) == len(images) - 1  # the photograph comes twice


def test_a_term_has_one_colour_on_the_whole_page():
    """The second run has the terms of the first one in another order, and one more before them."""
    other = [line | {"losses": {"kd": 1.0, "icsd": 0.5, "cross_entropy": 1.5}} for line in ALONE.log]
    runs = (TEACHER, dataclasses.replace(ALONE, log=other))
    text = render(dataclasses.replace(whole_page(), runs=runs, examples=(), similarity={}))
    colours = {}
    for colour, name in re.findall(r'--colour: (var\(--series-\d\))"></span>(cross_entropy|icsd|kd)<', text):
        colours.setdefault(name, []).append(colour)
    assert {name: len(found) for name, found in colours.items()} == {"cross_entropy": 2, "icsd": 2, "kd": 1}
    assert all(len(set(found)) == 1 for found in colours.values())
    assert len({found[0] for found in colours.values()}) == 3


def test_sections_without_data_are_left_out():
    bare = RunView(name="only", role="baseline", scores={"miou": 0.5}, parameters=10_000)
    text = render(PageView(title="t", classes=("a",), palette=((0, 0, 0),), runs=(bare,)))
    Reader(text)
    assert re.findall(r'<section id="(\w+)"', text) == ["scores"]
    for absent in ("Boundary F1", "Gap closed", "GMACs", "ms per image", "best student"):
        assert absent not in text


def test_an_example_without_truth_has_no_error_map():
    page = dataclasses.replace(whole_page(), examples=(dataclasses.replace(example(), truth=None, attention={}),))
    text = render(page)
    assert "Classes predicted by big" in text
    assert "wrong" not in text.partition("<main>")[2].partition("</main>")[0]


# --- table and summary ----------------------------------------------------------------------------------------------


def cells(html, name):
    row = next(row for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", html) if row.startswith(name, 20))
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row)]


def test_the_table_holds_the_numbers_and_marks_the_best_student(html):
    assert cells(html, "big") == ["70.0", "90.0", "–", "45.67", "41.00", "30.0", "–"]
    assert cells(html, "alone") == ["50.0", "70.0", "–", "1.19", "1.50", "30.0", "40.0 best student"]
    best = " best student"
    assert cells(html, "icsd") == [f"55.0{best}", f"75.0{best}", "25", "1.19", "1.50", "30.0", "60.0"]


def test_values_that_are_written_alike_are_both_best():
    twins = (run("a", "distilled", 0.5501), run("b", "distilled", 0.5502), run("c", "baseline", 0.5))
    text = render(dataclasses.replace(whole_page(), runs=twins, examples=(), similarity={}))
    assert cells(text, "a")[0] == cells(text, "b")[0] == "55.0 best student"


def test_times_of_one_network_are_not_ranked():
    same = (run("a", "distilled", 0.55, milliseconds=20.0), run("b", "baseline", 0.5))
    other = (same[0], run("b", "baseline", 0.5, gmacs=9.0))
    for runs, marked in ((same, False), (other, True)):
        text = render(dataclasses.replace(whole_page(), runs=runs, examples=(), similarity={}))
        assert ("20.0 best student" in cells(text, "a")) is marked


def test_deviation_is_shown_over_seeds():
    runs = (dataclasses.replace(ALONE, seeds=3, miou_deviation=0.0123), TAUGHT)
    text = render(dataclasses.replace(whole_page(), runs=runs, examples=(), similarity={}))
    assert cells(text, "alone")[0] == "50.0 ± 1.2"


def test_the_summary_says_what_the_scores_say():
    said = summarise(RUNS)
    assert "big, reaches 70.0 % mIoU with 45.67 million parameters" in said
    assert "5.0 points more than the student alone, which closes 25 % of the gap" in said
    assert "single run" in said


def test_the_summary_does_not_name_a_run_after_its_role_twice():
    said = summarise((run("teacher", "teacher", 0.7), run("student", "baseline", 0.5), TAUGHT))
    assert said.startswith("The teacher reaches 70.0 %")
    assert "The student alone reaches 50.0 %" in said
    assert f"The distilled student, {TAUGHT.name}, reaches 55.0 %" in said


def test_the_summary_does_not_hide_that_distillation_hurt():
    said = summarise((TEACHER, ALONE, run("kd", "distilled", 0.47, gap_closed=-0.15)))
    assert "kd, reaches 47.0 %" in said
    assert "3.0 points less than the student alone." in said


# --- file -----------------------------------------------------------------------------------------------------------


def test_the_file_is_written_whole_and_readable_by_others(tmp_path):
    path = tmp_path / "new" / "report.html"
    write_page(path, whole_page())
    assert path.read_text("utf-8").endswith("</html>")
    assert path.stat().st_size < 400_000
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["report.html"]


def test_a_failure_leaves_the_old_page_alone(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(checkpoint.os, "fsync", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_page(path, whole_page())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_page_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "LARGEST", 10_000)
    with pytest.raises(ValueError, match="fewer examples"):
        write_page(tmp_path / "report.html", whole_page())
    assert not os.listdir(tmp_path)


# --- input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": ()}, "at least one"),
        ({"runs": (ALONE, ALONE)}, "each name once"),
        ({"palette": PALETTE[:2]}, "2 colours for 3 classes"),
        ({"similarity": {"nobody": np.eye(3)}}, "nobody"),
        ({"similarity": {"big": np.eye(4)}}, "K x K"),
        ({"examples": (dataclasses.replace(example(), truth=np.zeros((3, 3), np.uint8)),)}, "'truth' has shape"),
        ({"examples": (dataclasses.replace(example(), image=np.zeros((24, 32, 3))),)}, "uint8"),
        ({"examples": (dataclasses.replace(example(), attention={"nobody": np.eye(2)}),)}, "nobody"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(whole_page(), **changes)


def test_large_images_are_shrunk():
    big = example((600, 1200))
    page = dataclasses.replace(whole_page(), examples=(dataclasses.replace(big, attention={}),))
    assert {image["width"] for image in Reader(render(page)).images if "src" in image} == {"560"}
