"""What a network confuses and the images that it does worst on: counted as a person would, and legible on the page."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import nn

from segstill.data import open_dataset
from segstill.evaluate import evaluate
from segstill.recipe import DataSpec
from segstill.report import page as page_module
from segstill.report.confusion import MOST_NUMBERED, confusion, matrix
from segstill.report.fitting import fit
from segstill.report.mistakes import Mistakes, worst_views
from segstill.report.page import render
from segstill.report.shipped import shipped
from segstill.report.view import ShippedView, WorstView
from segstill.report.worst import worst

from .pages import CLASSES, PALETTE, RUNS, TAUGHT, whole_page
from .test_figures import contrast
from .test_report import Reader

SCENES = DataSpec(name="scenes", args={"count": 8, "size": (32, 48)})


class Brightness(nn.Module):
    """Guesses the class from how bright a pixel is: wrong often, in every image another time."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, image):
        step = (image.float().mean(1, keepdim=True) / 256 * self.classes).floor()
        return -(step - torch.arange(self.classes).view(1, -1, 1, 1)).abs()


@pytest.fixture(scope="module")
def looked():
    dataset = open_dataset(SCENES, "val")
    mistakes, model = Mistakes(len(dataset.classes)), Brightness(len(dataset.classes))
    model.register_buffer("place", torch.zeros(()))
    model.register_parameter("none", nn.Parameter(torch.zeros(1)))
    return dataset, mistakes, model, evaluate(model, dataset, each=mistakes)


def by_hand(model, dataset, index):
    """Confusion matrix and mIoU of one image, pixel by pixel."""
    image, mask = dataset[index]
    guess = model(image[None]).argmax(1)[0]
    counts = np.zeros((len(dataset.classes),) * 2, int)
    for true, said in zip(mask.flatten().tolist(), guess.flatten().tolist(), strict=True):
        if true != 255:
            counts[true, said] += 1
    ious = [
        counts[k, k] / total
        for k in range(len(counts))
        if (total := counts[k].sum() + counts[:, k].sum() - counts[k, k])
    ]
    return counts, sum(ious) / len(ious)


def test_mistakes_are_counted_image_by_image(looked):
    dataset, mistakes, model, scores = looked
    counted = [by_hand(model, dataset, index) for index in range(len(dataset))]
    assert (mistakes.confusion == sum(counts for counts, _ in counted)).all()
    right = mistakes.confusion.diagonal().sum() / mistakes.confusion.sum()
    assert right == pytest.approx(scores["pixel_accuracy"])
    expected = sorted(enumerate(miou for _, miou in counted), key=lambda item: item[1])
    found = mistakes.worst(3)
    assert [index for index, _ in found] == [index for index, _ in expected[:3]]
    assert [miou for _, miou in found] == pytest.approx([miou for _, miou in expected[:3]])


def test_the_worst_images_are_shown_with_what_was_predicted(looked):
    dataset, mistakes, model, _ = looked
    views = worst_views(model, dataset, mistakes, longest_side=None, short_side=None, count=4)
    assert [view.miou for view in views] == sorted(view.miou for view in views)
    names = [dataset.name(index) for index in range(len(dataset))]
    for view in views:
        image, mask = dataset[names.index(view.name)]
        assert (view.truth == mask.numpy()).all()
        assert (view.prediction == model(image[None]).argmax(1)[0].numpy()).all()


def page(**changes):
    counts = np.array([[90, 10, 0], [0, 50, 0], [0, 0, 0]])
    images = tuple(
        WorstView(
            name=f"image {place} <b>",
            image=np.full((24, 32, 3), place, np.uint8),
            truth=np.zeros((24, 32), np.uint8),
            prediction=np.ones((24, 32), np.uint8),
            miou=place / 40,
        )
        for place in range(20)
    )
    given = {"confusion": {run.name: counts for run in RUNS}, "worst": images, "worst_run": TAUGHT.name}
    return dataclasses.replace(whole_page(), **(given | changes))


def test_both_are_on_the_page_of_runs_with_a_text_for_every_picture():
    text = render(page())
    read = Reader(text)
    assert {"confusion", "worst"} <= {value for name, value in read.attributes if name == "id"}
    assert text.count('<details open=""') + text.count("<details open>") == 1
    assert "1. image 0 &lt;b&gt;: 0.0 %" in text
    assert "20. image 19 &lt;b&gt;: 47.5 %" in text
    assert text.index("1. image 0 ") < text.index("2. image 1 ")
    shown = [image for image in read.images if "image 3 <b>" in image["alt"]]
    assert len(shown) == 4
    assert all(image["loading"] == "lazy" for image in shown)


def test_rows_are_shares_of_the_true_class_and_classes_that_are_nowhere_are_left_out():
    text = confusion(page())
    assert f"{CLASSES[0]} 90 %" in text
    assert f"{CLASSES[1]} 100 %" in text
    assert "a &lt; b" not in text
    assert re.search(r'<th scope="row">road</th><td>sky</td><td>10\.0</td><td>6\.67</td>', text)


@pytest.mark.parametrize("count", [2, 21, 150])
def test_every_class_is_named_at_a_size_that_can_be_read(count):
    names = [f"class {index}" for index in range(count)]
    svg, width = matrix(np.eye(count), names, name="a")
    for name in names:
        assert svg.count(f">{name}<") == 2
    drawn = [float(value) for value in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()]
    assert drawn[0] == pytest.approx(width, abs=1)  # so that letters are as large as they were drawn
    sizes = {
        float(size) for size in re.findall(r"font: ([\d.]+)px|font-size: ([\d.]+)px", svg) for size in size if size
    }
    assert min(sizes) >= 10
    assert (">100<" in svg) is (count <= MOST_NUMBERED)
    assert not re.search(r"#0[0-9a-f]{5}", svg.replace("#000000", ""))


def test_numbers_stand_out_from_their_cells():
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shares = np.linspace(0, 1, 25 * 25).reshape(25, 25)
    svg, _ = matrix(shares, [str(index) for index in range(25)], name="a")
    colours = re.findall(r"fill: (#ffffff|#000000|white|black)", svg) or re.findall(r"(#ffffff)", svg)
    assert colours
    for share in shares.flatten():
        back = to_hex(colormaps["viridis"](share))
        assert max(contrast(back, "#ffffff"), contrast(back, "#000000")) >= 4.5


def test_a_page_that_is_too_large_leaves_out_the_least_bad_first_and_says_so(monkeypatch, tmp_path):
    whole = len(render(page()).encode())
    few = len(render(page(worst=page().worst[:10])).encode())
    monkeypatch.setattr("segstill.report.fitting.LARGEST", (whole + few) // 2)
    page_module.write_page(tmp_path / "a.html", page())
    text = (tmp_path / "a.html").read_text()
    assert "10. image 9 " in text
    assert "11. image 10 " not in text
    assert "10 of the 20 worst images" in text
    assert "The least bad go first" in text


def test_steps_are_taken_until_it_fits_and_no_further():
    taken = []

    def step(size):
        return lambda whole: taken.append(size) or "x" * size

    assert len(fit("x" * 30_000_000, [step(20_000_000), step(5), step(1)], str)) == 5
    assert taken == [20_000_000, 5]


def view(name, size, miou, time):
    return ShippedView(name=name, megabytes=size, miou=miou, milliseconds=time, slow=2 * time)


def test_size_accuracy_and_latency_are_a_chart_in_the_page_s_colours_and_a_table():
    views = [view("teacher", 240.0, 0.7, 400.0), view("student", 2.4, 0.5, 9.0), view("int8 <b>", 0.7, 0.48, 4.0)]
    text = shipped(views, "on 3 images")
    Reader(text)
    for wanted in ("on 3 images", "240.0", "70.0", "0.70", "48.0", "8.00", "int8 &lt;b&gt;"):
        assert wanted in text
    svg = text[text.index("<svg aria-hidden") :]
    assert not re.search(r"#0[0-9a-f]{5}", svg)
    assert {f"var(--series-{index})" for index in range(3)} <= set(re.findall(r"var\(--series-\d\)", svg))
    assert "–" in shipped([view("one", 1.0, None, 1.0)], "")
    assert shipped([], "anything") == ""


def test_worst_images_of_a_run_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match="nobody"):
        page(worst_run="nobody")
    with pytest.raises(ValueError, match="K x K"):
        page(confusion={TAUGHT.name: np.zeros((2, 2), int)})
    assert worst(page(worst=())) == ""
    assert len(PALETTE) == 3
