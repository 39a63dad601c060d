"""The images that a network does worst on."""

from .images import IGNORE, class_mask, error_map, photograph
from .sections import cell, legend, remark, strip
from .table import number, percent
from .view import PageView, WorstView

SMALL = 360
"""Width of these pictures in pixels: there are many of them."""


def worst(page: PageView) -> str:
    """Every image with its truth, the prediction, the pixels that are wrong, and its mIoU."""
    if not page.worst:
        return ""
    words = (
        f"The {len(page.worst)} images with the least mIoU of {page.worst_run}, the worst first. The number is the "
        "mean IoU over the classes that the truth or the prediction of that image holds; a small class that is missed "
        "costs an image much."
    )
    drawn = "".join(_example(number, view, page) for number, view in enumerate(page.worst, start=1))
    colours = zip(page.classes, page.palette, strict=True)
    items = [(f"rgb{colour}", name, "") for name, colour in colours]
    if any((view.truth == IGNORE).any() for view in page.worst):
        items.append(("", "not labelled", "stripes"))
    return f'{remark(words)}{legend(items)}<div class="worst">{drawn}</div>'


def _example(place: int, view: WorstView, page: PageView) -> str:
    score = f"{number(percent(view.miou), 1)} %"
    told = f"{place}. {view.name}: {score}"
    cells = [
        cell([(photograph(view.image, SMALL), f"Image {view.name}, mIoU {score}")], "image"),
        cell([(class_mask(view.truth, page.palette, SMALL), f"True classes of {view.name}")], "truth"),
        cell(
            [
                (
                    class_mask(view.prediction, page.palette, SMALL),
                    f"Classes that {page.worst_run} predicts, {view.name}",
                )
            ],
            "prediction",
        ),
        cell(
            [(error_map(view.image, view.prediction, view.truth, SMALL), f"Where that is wrong, {view.name}")],
            "wrong",
        ),
    ]
    return strip(told, cells)
