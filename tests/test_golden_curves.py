"""Loss curves of tiny recipes, compared with committed ones: a refactor must not move them.

    python -m tests.test_golden_curves        # writes the curves anew, for a change that is meant to move them

The recipes are complete runs on drawn scenes in float32 on one thread: random scale, crop, flip and padding, unlabelled
images, ramps, the poly schedule, batch norm in AttnFD's connectors.
"""

import json
import tempfile
from pathlib import Path

import pytest
import torch

from segstill.recipe import DataSpec, ModelSpec, Recipe, TermSpec
from segstill.run import read_log
from segstill.train import train

from .conftest import GOLDEN

FILE = GOLDEN / "curves.json"
TOLERANCE = 1e-3
"""Relative.  Sums in another order (other instructions, memory layout or threads) moved a loss by 1.4e-4 at most, where
a maximum in AttnFD changed its place, and by 3e-6 elsewhere; one grey level in one drawn value of 30,000, which other
arithmetic in numpy could cost, by 4e-4.  A learning rate that is 1 % off, or no weight decay, moves losses by 5e-3."""
METHODS = {
    "student": {"cross_entropy": TermSpec()},
    "kd": {"cross_entropy": TermSpec(), "pixel_kd": TermSpec(args={"temperature": 2.0})},
    "aicsd": {
        "cross_entropy": TermSpec(ramp="up"),
        "icsd": TermSpec(ramp="up"),
        "pixel_kd": TermSpec(ramp="down"),
    },
    "attnfd": {"cross_entropy": TermSpec(), "attnfd": TermSpec(weight=2.0, args={"taps": ("stage2", "decoder")})},
}


def recipe(name: str, teacher: Path | None) -> Recipe:
    width, terms = (4, METHODS[name]) if name != "teacher" else (8, METHODS["student"])
    return Recipe(
        name=name,
        data=DataSpec(
            name="scenes",
            labelled=6,
            crop=(72, 72),  # padded in one direction, cut in the other
            scale=(1.0, 1.0),  # resized pixels are rounded otherwise on other processors
            workers=0,
            args={"count": 8, "size": (64, 96)},
        ),
        student=ModelSpec(name="tiny", args={"width": width, "depth": 2, "norm": "group"}),
        teacher=str(teacher) if len(terms) > 1 else None,
        terms=terms,
        epochs=2,
        batch_size=2,
        lr=0.02,
        head_lr_factor=2.0,
        weight_decay=0.01,
        precision="fp32",
        evaluate_every=2,
    )


def curves(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Train all and return, by run, the learning rate and every weighted loss at every step."""
    found = {}
    for name in ("teacher", *METHODS):
        train(recipe(name, folder / "teacher"), folder / name, say=lambda sentence: None)
        steps = [record for record in read_log(folder / name) if record["kind"] == "step"]
        found[name] = {"lr": [step["lr"] for step in steps]}
        found[name] |= {term: [step["losses"][term] for step in steps] for term in steps[0]["losses"]}
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return curves(tmp_path_factory.mktemp("curves"))


@pytest.mark.parametrize("name", ["teacher", *METHODS])
def test_the_loss_curve_is_the_committed_one(name, found):
    expected = json.loads(FILE.read_text())[name]
    assert found[name].keys() == expected.keys()
    assert found[name]["lr"] == pytest.approx(expected["lr"], rel=1e-9)
    for term, values in found[name].items():
        assert values == pytest.approx(expected[term], rel=TOLERANCE, abs=1e-9), term


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        FILE.write_text(json.dumps(curves(Path(temporary)), indent=1) + "\n")
