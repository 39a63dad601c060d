"""What is there when a page of the documentation was followed to its end."""

import json
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
from PIL import Image

from segstill.build import build_chain
from segstill.data.pictures import read_image

from .starts import call


def _gradients(names: dict) -> None:
    if "losses" in names:
        assert names["losses"].keys() == {"cross_entropy", "attnfd"}
        assert all(p.grad is not None for p in names["my_small_net"].parameters())
        assert all(p.grad is None for p in names["my_big_net"].parameters())


def _same_mask(names: dict) -> None:
    """The program of one's own draws what `predict` draws, and the file what the run does."""
    mine, ours, run = (np.array(Image.open(f)) for f in ("mask.png", "masks_onnx/a.png", "masks/a.png"))
    assert (mine == ours).mean() > 0.9
    assert (run == ours).mean() > 0.999


def _numbers(names: dict) -> None:
    """Colours became the numbers that they were painted after; 255 was painted as the last."""
    assert set(np.unique(Image.open("numbers.png"))) == {0, 1, 2}


def _whole_way(*stages: str) -> Callable[[dict], None]:
    """The recipe that init wrote led to a file that answers, and to a page with every stage."""

    def check(_: dict) -> None:
        page = unescape(Path("chains/mine/report.html").read_text())
        assert [stage for stage in stages if f'<th scope="row">{stage}<' not in page] == []
        assert ("What is called truth here is seed masks" in page) == ("seed masks" in stages)
        call("predict", "chains/mine/export/student.onnx", "shots/a.jpg", "--out", "answers")
        answer = np.array(Image.open("answers/a.png"))
        assert answer.shape == read_image(Path("shots/a.jpg")).shape[1:]
        assert answer.max() < len(build_chain("mine/recipe.py").data.classes)
        state = json.loads(Path("chains/mine/chain.json").read_text())["stages"].values()
        assert [stage["done"] for stage in state] == [True] * (len(stages) + 1)  # and the page

    return check


TAUGHT = ("teacher", "student", "export")
SEEDED = ("classifier", "confident seeds", "affinities", "seed masks")
AFTERWARDS: dict[str, Callable[[dict], None]] = {
    "README.md": _gradients,
    "deploy.md": _same_mask,
    "masks.md": lambda names: (_numbers(names), _whole_way(*TAUGHT, "student on true masks")(names)),
    "tags.md": _whole_way(*SEEDED, *TAUGHT),
}
