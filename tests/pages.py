"""What a page is about, made up: three runs, an example, all that a page can show."""

import base64
import io

import numpy as np
from PIL import Image

from segstill.report import ExampleView, PageView, RunView

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
        attention_meaning="bright is < looked at",
        environment={"torch": "2.11 <cpu>"},
        commands=("segstill report runs/*",),
    )


def pixels(picture_or_uri):
    uri = getattr(picture_or_uri, "uri", picture_or_uri)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")).astype(int)
