"""The page: complete in itself, well formed, and true to what it is given."""

import base64
import dataclasses
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segstill.report import ExampleView, PageView, RunView, write_page
from segstill.report import page as page_module
from segstill.report.figures import Curve, curves, heat_map
from segstill.report.images import ERROR, attention_map, class_mask, error_map
from segstill.report.page import render, summarise

CLASSES = ("road", "sky", "a < b & $c$")
PALETTE = ((128, 64, 128), (70, 130, 180), (10, 20, 30))
VOID = {"meta", "img", "br", "input", "link", "hr"}


def run(name, role, miou, **changes):
    iou = dict(zip(CLASSES, (miou, miou + 0.1, None), strict=True))
    steps = [
        {"kind": "step", "step": n, "epoch": n / 10, "total": 2 - n / 50, "losses": {"cross_entropy": 1.5, "icsd": 0.5}}
        for n in range(0, 40, 5)
    ]
    evaluations = [{"kind": "evaluation", "epoch": n, "step": 10 * n, "miou": miou * n / 4} for n in range(1, 5)]
    given = {
        "scores": {"miou": miou, "pixel_accuracy": miou + 0.2, "per_class_iou": iou},
        "parameters": 1_190_000,
        "gmacs": 1.5,
        "milliseconds": 30.0,
        "log": steps + evaluations,
        "command": f"segstill train {name}",
    }
    return RunView(name=name, role=role, **(given | changes))


TEACHER = run("big", "teacher", 0.7, parameters=45_670_000, gmacs=41.0)
ALONE = run("alone", "baseline", 0.5, seconds_per_epoch=40.0)
TAUGHT = run("icsd <b>", "distilled", 0.55, gap_closed=0.25, seconds_per_epoch=60.0)
RUNS = (TEACHER, ALONE, TAUGHT)


def example(size=(24, 32)):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size).astype(np.uint8)
    truth[:4] = 255
    predictions = {r.name: rng.integers(0, 3, size).astype(np.uint8) for r in RUNS}
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    attention = {TAUGHT.name: rng.random((6, 8))}
    return ExampleView(name="street 1", image=image, truth=truth, predictions=predictions, attention=attention)


def whole_page():
    return PageView(
        title="Roads & skies",
        classes=CLASSES,
        palette=PALETTE,
        runs=RUNS,
        examples=(example(),),
        similarity={r.name: np.full((3, 3), index / 2) for index, r in enumerate(RUNS)},
        similarity_meaning="dark is alike",
        environment={"torch": "2.11 <cpu>"},
        commands=("segstill report runs/*",),
    )


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


def pixels(picture_or_uri):
    uri = getattr(picture_or_uri, "uri", picture_or_uri)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")).astype(int)


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


def test_the_summary_does_not_hide_that_distillation_hurt():
    said = summarise((TEACHER, ALONE, run("kd", "distilled", 0.47, gap_closed=-0.15)))
    assert "kd, reaches 47.0 %" in said
    assert "3.0 points less than the student alone." in said


# --- figures and pictures -------------------------------------------------------------------------------------------


def test_curves_take_their_colours_from_the_page():
    svg = curves([Curve([0, 1], [2, 1], 0), Curve([0, 1], [1, 2], 9)], name="a", x_label="epoch", y_label="loss <x>")
    assert "var(--series-0)" in svg
    assert "var(--series-1)" in svg
    assert "stroke-dasharray" in svg  # the tenth series repeats a colour
    assert "loss &lt;x&gt;" in svg
    assert not re.search(r"#0[0-9a-f]{5}|xmlns|<style|<\?xml", svg)


def test_long_curves_are_averaged_and_short_ones_are_drawn():
    long = curves([Curve(range(20_000), [0.0, 1.0] * 10_000, 0)], name="a", x_label="", y_label="")
    assert len(long) < 20_000
    assert "<use" in curves([Curve([1], [1], 0)], name="a", x_label="", y_label="")  # a single point is a dot


def test_a_heat_map_embeds_one_pixel_per_entry_and_its_labels():
    svg = heat_map(np.eye(3), CLASSES, name="a", limits=(0, 1))
    uri = re.search(r"data:image/png;base64,[^\"]*", svg)[0]
    assert pixels(uri).shape == (3, 3, 3)
    assert svg.count("a &lt; b &amp; $c$") == 2
    assert svg.count(">road<") == 2


def test_equal_values_and_missing_ones_can_be_drawn():
    assert "<image" in heat_map(np.full((2, 2), np.nan), "ab", name="a", limits=(0, 0))


def test_masks_keep_the_exact_colours_and_stripe_what_has_no_label():
    ids = np.array([[0, 1, 2, 255]], np.uint8).repeat(4, 1).repeat(16, 0)
    shown = pixels(class_mask(ids, PALETTE))
    for index, colour in enumerate(PALETTE):
        assert (shown[:, 4 * index : 4 * index + 4] == colour).all()
    assert len(np.unique(shown[:, 12:].reshape(-1, 3), axis=0)) == 2


def test_error_maps_are_strong_where_labelled_pixels_are_wrong_and_only_there():
    image = np.full((60, 60, 3), 200, np.uint8)
    truth, prediction = np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint8)
    prediction[:, 20:] = 1
    truth[:, 40:] = 255
    shown = pixels(error_map(image, prediction, truth))
    assert (abs(shown[:, 24:36] - ERROR) < 30).all()
    for calm in (shown[:, :16], shown[:, 44:]):
        assert (calm.max(-1) - calm.min(-1) < 12).all()  # grey


def test_attention_is_bright_where_it_is_high():
    attention = np.array([[0.0, 0.0], [0.0, 5.0]])
    shown = pixels(attention_map(np.full((40, 40, 3), 100, np.uint8), attention)).sum(-1)
    assert shown[-5:, -5:].min() > 2 * shown[:5, :5].max()
    attention_map(np.zeros((4, 4, 3), np.uint8), np.ones((2, 2)))  # flat maps have no range


def test_large_images_are_shrunk():
    big = example((600, 1200))
    page = dataclasses.replace(whole_page(), examples=(dataclasses.replace(big, attention={}),))
    assert {image["width"] for image in Reader(render(page)).images if "src" in image} == {"560"}


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
    monkeypatch.setattr(page_module.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
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


# --- style ----------------------------------------------------------------------------------------------------------


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_and_lines_stand_out_in_both_themes():
    css = (Path(page_module.__file__).parent / "page.css").read_text("utf-8")
    blocks = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)]
    assert len(blocks) == 2
    assert blocks[0].keys() == blocks[1].keys()
    for theme in blocks:
        for name in ("text", "muted", "accent"):
            assert contrast(theme[name], theme["page"]) >= 4.5, name
        assert contrast(theme["text"], theme["best"]) >= 4.5
        for series in range(8):
            assert contrast(theme[f"series-{series}"], theme["page"]) >= 3, series
