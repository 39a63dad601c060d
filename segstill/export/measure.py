"""What a shipped file is held against: the network itself on real images, and a clock."""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

TOLERANCE = 1e-3
"""How far scores may be off, as a share of the largest one."""
AGREEMENT = 0.999
"""Share of pixels that must get the same class."""


class ParityError(RuntimeError):
    """A file answers other than its network."""


class Parity(NamedTuple):
    """How far a file is from its network."""

    difference: float | None
    """Largest difference of two scores; None where the file returns classes."""
    largest: float
    """Largest score of the network, up to its sign."""
    agreement: float
    """Share of pixels with the same class, in [0, 1]."""
    images: int

    @property
    def holds(self) -> bool:
        """Whether the file may be shipped."""
        close = self.difference is None or self.difference <= TOLERANCE * max(self.largest, 1e-6)
        return close and self.agreement >= AGREEMENT

    def __str__(self) -> str:
        scores = (
            ""
            if self.difference is None
            else (f"largest difference of scores {self.difference:.2g} (scores up to {self.largest:.3g}), ")
        )
        return f"{scores}same class at {100 * self.agreement:.4f} % of the pixels of {self.images} images"


@torch.no_grad()
def compare(network: nn.Module, file: Callable[[Tensor], Tensor], images: Sequence[Tensor]) -> Parity:
    """Ask both about images.

    Args:
        network: maps (N, 3, H, W) uint8 to logits.
        file: the same, to logits or to class ids (N, H, W).
        images: each (N, 3, H, W) uint8.
    """
    difference, largest, same, pixels = 0.0, 0.0, 0, 0
    scored = True
    for image in images:
        expected, given = network(image), file(image)
        scored = given.ndim == 4
        ids = given.argmax(1) if scored else given.long()
        if scored:
            off = float((expected - given).abs().max())
            difference = math.inf if math.isnan(off) else max(difference, off)
        largest = max(largest, float(expected.abs().max()))
        same += int((expected.argmax(1) == ids).sum())
        pixels += ids.numel()
    return Parity(difference if scored else None, largest, same / pixels, sum(map(len, images)))


def megabytes(network: nn.Module) -> float:
    """Return the size of a network's parameters and buffers in MB (10^6 bytes)."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()) / 1e6


class Latency(NamedTuple):
    """Time of one image in milliseconds."""

    p50: float
    p95: float


@torch.no_grad()
def race(
    runners: dict[str, Callable[[Tensor], Tensor]], image: Tensor, *, threads: int, repeats: int = 50
) -> dict[str, Latency]:
    """Time several ways to compute one image, in turns, so that what else the machine does slows all of them alike.

    Args:
        runners: name -> what is timed.
        image: what they are given.
        threads: of torch; a file has its own.
        repeats: timed turns, after five to warm up.
    """
    before = torch.get_num_threads()
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    try:
        torch.set_num_threads(threads)
        for turn in range(repeats + 5):
            for name, run in runners.items():
                began = time.perf_counter()
                run(image)
                if turn >= 5:
                    seconds[name].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return {name: Latency(*_percentiles([1e3 * s for s in taken])) for name, taken in seconds.items()}


def _percentiles(values: list[float]) -> tuple[float, float]:
    both = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.5, 0.95], dtype=torch.float64))
    return float(both[0]), float(both[1])
