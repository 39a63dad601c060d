"""What a distillation step costs over what it cannot do without: the teacher's forward pass and the student's own step.

    python bench/step.py [--quick]

And what a process saves that keeps what it frees, as the command line does.  Ratios of medians; the sides of the first
table take turns within one run, so that other load on the machine hits all of them alike.
Targets: AttnFD at most 1.10, AICSD at most 1.15.
"""

import argparse
import statistics
import time

import torch

from segstill.build import build_learner
from segstill.environment import keep_freed_memory
from segstill.learner import Learner
from segstill.models import MODELS
from segstill.models.segmenter import Segmenter
from segstill.recipe import TermSpec
from segstill.recipes.methods import METHODS

MEASURED = ("kd", "aicsd", "attnfd")


def step(learner: Learner, batch: dict, teacher: Segmenter | None = None) -> None:
    """One forward and backward pass; with `teacher`, its forward pass beside it (what any distillation must pay)."""
    if teacher is not None:
        with torch.no_grad():
            teacher(batch["image"])
    sum(learner(batch, progress=0.5).values()).backward()
    learner.zero_grad(set_to_none=True)


def measure(size: tuple[int, int], batch_size: int, classes: int, encoders: tuple[str, str], rounds: int) -> None:
    """Print a table of ratios for one pair of networks."""
    teacher, student = (MODELS["deeplabv3plus"](classes, encoder=encoder) for encoder in encoders)
    alone = build_learner(student, {"cross_entropy": TermSpec()})
    learners = {method: build_learner(student, METHODS[method], teacher) for method in MEASURED}
    batch = {
        "image": torch.rand(batch_size, 3, *size),
        "mask": torch.randint(classes, (batch_size, *size)),
    }
    teacher.eval()
    sides = {"teacher forward + student step": lambda: step(alone, batch, teacher)}
    sides |= {method: lambda learner=learner: step(learner, batch) for method, learner in learners.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    floor = statistics.median(seconds["teacher forward + student step"])
    print(f"\n{encoders[0]} -> {encoders[1]}, {batch_size} x {size[0]} x {size[1]}, {classes} classes, {rounds} rounds")
    for name, values in seconds.items():
        print(f"  {name:32} {statistics.median(values) * 1e3:9.1f} ms   x {statistics.median(values) / floor:.3f}")


def measure_memory(size: tuple[int, int], batch_size: int, rounds: int) -> None:
    """Print what a student's step takes before and after the process keeps what it frees; there is no way back."""
    student = build_learner(MODELS["deeplabv3plus"](21, encoder="mobilenet_v2"), {"cross_entropy": TermSpec()})
    batch = {"image": torch.rand(batch_size, 3, *size), "mask": torch.randint(21, (batch_size, *size))}

    def median() -> float:
        step(student, batch)  # warms up
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            step(student, batch)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)

    before = median()
    if keep_freed_memory():
        print(f"\nstudent step, {batch_size} x {size[0]} x {size[1]}, freed memory kept: x {median() / before:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    if parser.parse_args().quick:
        measure((64, 64), 2, 21, ("resnet18", "mobilenet_v2"), rounds=1)
        measure_memory((64, 64), 2, rounds=1)
    else:
        measure((257, 257), 2, 21, ("resnet101", "resnet18"), rounds=7)
        measure_memory((257, 257), 8, rounds=7)


if __name__ == "__main__":
    main()
