"""What the losses cost, beside the obvious way to write them.

    python bench/losses.py [--quick]

Every line is a ratio measured in one run, on one thread, forward and backward, of the processor's time, not the
clock's; the sides take turns, so that other load on the machine hits all alike.  Each turn is a process of its own,
whose peak memory is its own as well: it is counted above what the inputs take.  Target: inter-class similarity at
6 x 21 x 513 x 513 at least 20 times faster than the loop over pairs of classes.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segstill.losses import LOSSES, attnfd, cross_entropy, icsd, pixel_kd

FORK = multiprocessing.get_context("fork")  # a process of one's own without importing everything again
Shape = tuple[int, ...]
TAPS = [(6, 2048, 33, 33), (6, 256, 33, 33), (6, 256, 129, 129)]
"""Features after the connector for a crop of 513 x 513: stage 4, ASPP, decoder."""

NETWORKS = {
    "encoder": (512, 2048, 33),
    "encoder_pre": (512, 2048, 33),
    "aspp": (256, 256, 33),
    "decoder": (256, 256, 129),
    "cam": (20, 20, 17),
    "fused": (768, 768, 33),
    "logits": (21, 21, 513),
}
"""Channels of the student and of the teacher, and side, for crops of 513: DeepLabV3+, ResNet-18 under ResNet-101, and
of a classifier the class maps and the fused features."""


class Cost(NamedTuple):
    """Of one forward and backward pass."""

    seconds: float
    mebibytes: float
    """Peak memory above that of the inputs."""


def icsd_by_loop(student: Tensor, teacher: Tensor) -> Tensor:
    """The paper's inter-class similarity loss with one KL divergence after the other; the same number as `icsd`."""
    matrices = []
    for logits in (student, teacher):
        log_p = F.log_softmax(logits.flatten(2), dim=2).unbind(1)  # indexing in the loop would be slower still
        p = [one.exp() for one in log_p]
        pairs = [(p[i] * (log_p[i] - log_p[j])).sum(dim=1) for i in range(len(p)) for j in range(len(p))]
        matrices.append(torch.stack(pairs, dim=1))
    s, t = matrices
    return ((s - t).square().sum(dim=1) / (t.square().sum(dim=1) + 1e-6)).mean()


def attnfd_by_copies(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """AttnFD's distance through normalised copies of every feature; the same number as `attnfd`."""
    pairs = zip(student, teacher, strict=True)
    return torch.stack(
        [
            (F.normalize(s.flatten(1), dim=1) - F.normalize(t.flatten(1), dim=1)).square().sum(dim=1).mean()
            for s, t in pairs
        ]
    ).sum()


def masked(function: Callable) -> Callable:
    """`function` with a mask that leaves out a border, as padded crops have one."""

    def run(student: Tensor, teacher: Tensor) -> Tensor:
        valid = torch.ones(student.shape[0], *student.shape[2:], dtype=torch.bool)
        valid[:, : student.shape[2] // 20] = False
        return function(student, teacher, valid=valid)

    return run


def labels(student: Tensor, _: Tensor) -> Tensor:
    return cross_entropy(student, torch.zeros(student.shape[0], *student.shape[2:], dtype=torch.long))


SIDES: dict[str, Callable[..., Tensor]] = {
    "icsd": icsd,
    "icsd, masked": masked(icsd),
    "icsd, published form": lambda s, t: icsd(s, t, variant="published"),
    "icsd by loop": icsd_by_loop,
    "pixel_kd": pixel_kd,
    "pixel_kd, masked": masked(pixel_kd),
    "cross_entropy": labels,
    "attnfd": attnfd,
    "attnfd by copies": attnfd_by_copies,
}


def take_turns(sides: list[str], shapes: list[Shape], rounds: int, once: tuple[str, ...] = ()) -> dict[str, Cost]:
    """Run each side in processes of its own, one after the other, and keep the least time and memory of each.

    Args:
        sides: names in `SIDES`.
        shapes: of the inputs; the student's and the teacher's are alike.  For a term its two arguments: see `term`.
        rounds: turns of each side.
        once: sides that are so slow that one turn is enough.
    """
    turns: dict[str, list[Cost]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            if number and side in once:
                continue
            turns[side].append(elsewhere(side, shapes, cold=side in once))
    return {side: Cost(*map(min, zip(*costs, strict=True))) for side, costs in turns.items()}


def elsewhere(side: str, shapes: list[Shape], cold: bool) -> Cost:
    """`measure` in a fork of this process."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: sender.send(measure(side, shapes, cold)))
    process.start()
    sender.close()  # else a child that dies would leave us waiting
    cost = receiver.recv()
    process.join()
    return cost


def measure(side: str, shapes: list[Shape], cold: bool) -> Cost:
    """Measure one side in this process: the best of three passes, or the only one."""
    torch.manual_seed(0)
    if side.startswith("term "):
        student, run = term(side.removeprefix("term "), *shapes[0])
    else:
        student = [torch.randn(shape, requires_grad=True) for shape in shapes]
        teacher = [torch.randn(shape) for shape in shapes]
        given = (student, teacher) if side.startswith("attnfd") else (student[0], teacher[0])
        run = partial(SIDES[side], *given)
    before, seconds = peak(), []
    for _ in range(1 if cold else 3):
        began = time.process_time()
        run().backward()
        seconds.append(time.process_time() - began)
        for value in student:
            value.grad = None
    return Cost(min(seconds), peak() - before)


def term(name: str, images: int, shrink: int) -> tuple[list[Tensor], Callable[[], Tensor]]:
    """Build a loss with its own defaults, for `NETWORKS` at a size smaller by a factor, and what it reads.

    Returns:
        The student's features and logits, and the loss of them.
    """
    loss = LOSSES[name]({tap: channels for tap, (*channels, _) in NETWORKS.items()})
    taps = {tap: NETWORKS[tap] for tap in {*loss.taps, "logits"}}
    student = {tap: torch.randn(images, s, n // shrink, n // shrink) for tap, (s, _, n) in taps.items()}
    teacher = {tap: torch.randn(images, t, n // shrink, n // shrink) for tap, (_, t, n) in taps.items()}
    for feature in student.values():
        feature.requires_grad_()
    side = NETWORKS["logits"][2] // shrink
    mask = torch.randint(21, (images, side, side))
    mask[:, : side // 20] = 255  # a border, as padded crops have one
    tags = (torch.arange(NETWORKS["cam"][0]) % 7 == 0).float().repeat(images, 1)
    if name == "tags":  # the scores of a classifier are those of whole images
        student = {"logits": torch.randn(tags.shape, requires_grad=True)}
    return list(student.values()), lambda: loss(student, teacher, {"mask": mask, "tags": tags})


def peak() -> float:
    """Largest memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def table(title: str, costs: dict[str, Cost], base: str) -> None:
    """Print costs as multiples of those of `base`."""
    print(f"\n{title}")
    for side, cost in costs.items():
        time_ratio, memory_ratio = cost.seconds / costs[base].seconds, cost.mebibytes / max(costs[base].mebibytes, 1)
        print(
            f"  {side:24} {cost.seconds * 1e3:10.1f} ms  x {time_ratio:7.2f}"
            f" {cost.mebibytes:10.0f} MiB  x {memory_ratio:6.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="What the losses cost, beside the obvious way to write them.")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    side, images, rounds = (33, 2, 1) if given.quick else (513, 6, 2)

    costs = take_turns(["icsd", "icsd by loop"], [(images, 21, side, side)], rounds, once=("icsd by loop",))
    table(f"Inter-class similarity, {images} x 21 x {side} x {side}", costs, "icsd")

    others = ["cross_entropy", "pixel_kd", "pixel_kd, masked", "icsd", "icsd, masked"]
    for classes in (11, 21, 150):
        costs = take_turns(others + ["icsd, published form"] * (classes < 100), [(2, classes, side, side)], rounds)
        table(f"Losses on logits, 2 x {classes} x {side} x {side}", costs, "cross_entropy")

    terms = [f"term {name}" for name in LOSSES]
    costs = take_turns(terms, [(2, 8 if given.quick else 1)], rounds)
    table("Every loss as a recipe has it, 2 crops of 513 x 513, with a mask", costs, "term cross_entropy")

    taps = [(2, channels, 5, 5) for _, channels, _, _ in TAPS] if given.quick else TAPS
    table(f"AttnFD's distance, {taps}", take_turns(["attnfd", "attnfd by copies"], taps, rounds), "attnfd")


if __name__ == "__main__":
    main()
