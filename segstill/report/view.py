"""What a page shows, as plain data: whoever loads runs and predicts fills these, and the page only draws them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
"""(H, W) class ids; 255 has no label."""
Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One trained model: a row of the table, a curve, a column of pictures."""

    name: str
    """Unique on the page."""
    role: Literal["teacher", "baseline", "distilled"]
    """`baseline` is the student trained alone."""
    scores: Mapping[str, Any]
    """As `metrics.Scores.result` gives them; shares in [0, 1]."""
    parameters: int
    gmacs: float | None = None
    """Billions of multiply-adds for one image."""
    milliseconds: float | None = None
    """Time for one image."""
    gap_closed: float | None = None
    """(this - baseline) / (teacher - baseline) in mIoU; below 0 where distillation hurts, above 1 past the teacher."""
    seconds_per_epoch: float | None = None
    seeds: int = 1
    """Runs that the scores are a mean of."""
    miou_deviation: float | None = None
    """Standard deviation of mIoU over the seeds."""
    log: Sequence[Mapping[str, Any]] = ()
    """Lines of the run's log: of kind "step" (epoch, total, losses) or "evaluation" (epoch, miou)."""
    command: str = ""
    """What repeats the run."""
    title: str = ""
    """What it is called in the place of its name; it says what the run is, so that its role need not be told."""


@dataclass(frozen=True, kw_only=True)
class ExampleView:
    """One image with what every run made of it; all of one size."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    truth: Mask | None = None
    predictions: Mapping[str, Mask] = field(default_factory=dict)
    """Run name -> class ids in 0..K-1."""
    attention: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    """Run name -> (h, w) attention of any size and range."""


@dataclass(frozen=True, kw_only=True)
class WorstView:
    """One of the images that a run does worst on; all of one size."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    truth: Mask
    prediction: Mask
    miou: float
    """Mean over the classes that its truth or its prediction holds; a share in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class ShippedView:
    """One network, or one file of it, as it is run to predict."""

    name: str
    megabytes: float
    miou: float | None
    """A share in [0, 1]; None where it is not measured."""
    milliseconds: float
    """Median time of one image."""
    slow: float
    """The 95th percentile of that time, in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class PageView:
    """Everything on a page.  A part that is empty is left out of it."""

    title: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """An RGB colour per class."""
    runs: tuple[RunView, ...]
    """In the order of the page: teacher, baseline, distilled."""
    summary: str = ""
    """A paragraph in plain words; without it, one is written from the scores."""
    examples: tuple[ExampleView, ...] = ()
    similarity: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    """Run name -> (K, K) similarity of the classes."""
    similarity_meaning: str = ""
    """A sentence on what an entry of these matrices is."""
    attention_meaning: str = ""
    """What the attention of the examples is."""
    confusion: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)
    """Run name -> (K, K) pixels; rows are the true classes, columns the predicted ones."""
    worst: tuple[WorstView, ...] = ()
    """The worst first."""
    worst_run: str = ""
    """The run that does worst on them."""
    left_out: tuple[str, ...] = ()
    """Pictures that were left out so that the page stays small, in words."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the numbers depend on: versions, device, data, date."""
    commands: tuple[str, ...] = ()
    """What repeats the page, apart from the runs' own commands."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ValueError: names that repeat or that no run has, or arrays whose shapes do not fit together.
        """
        names = [run.name for run in self.runs]
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"runs are named {names}, expected at least one and each name once: rename the run folders"
            )
        if len(self.palette) != len(self.classes):
            raise ValueError(f"{len(self.palette)} colours for {len(self.classes)} classes, expected one each")
        for example in self.examples:
            self._check(example, names)
        if self.worst:
            _known(self.worst_run, names, "worst images")
        for what, matrices in (("similarity", self.similarity), ("confusion", self.confusion)):
            for name, matrix in matrices.items():
                _known(name, names, what)
                if matrix.shape != (len(self.classes),) * 2:
                    raise ValueError(
                        f"{what} of {name!r} has shape {matrix.shape}, expected K x K of {len(self.classes)}"
                    )

    def titled(self) -> "PageView":
        """Return the page with the title of every run that has one in the place of its name."""
        called = {run.name: run.title or run.name for run in self.runs}

        def renamed(named: Mapping[str, Kind]) -> dict[str, Kind]:
            return {called[name]: what for name, what in named.items()}

        return replace(
            self,
            runs=tuple(replace(run, name=called[run.name]) for run in self.runs),
            examples=tuple(
                replace(example, predictions=renamed(example.predictions), attention=renamed(example.attention))
                for example in self.examples
            ),
            similarity=renamed(self.similarity),
            confusion=renamed(self.confusion),
            worst_run=called.get(self.worst_run, self.worst_run),
        )

    def _check(self, example: ExampleView, names: list[str]) -> None:
        where = f"example {example.name!r}"
        if example.image.ndim != 3 or example.image.shape[2] != 3 or example.image.dtype != np.uint8:
            raise ValueError(
                f"{where}: image is {example.image.dtype} {example.image.shape}, expected uint8 (H, W, 3): give RGB"
            )
        masks = {"truth": example.truth} if example.truth is not None else {}
        for what, mask in (masks | dict(example.predictions)).items():
            if mask.shape != example.image.shape[:2]:
                raise ValueError(f"{where}: {what!r} has shape {mask.shape}, expected {example.image.shape[:2]}")
        for name in (*example.predictions, *example.attention):
            _known(name, names, where)


def _known(name: str, names: list[str], where: str) -> None:
    if name not in names:
        raise ValueError(f"{where} names the run {name!r}, expected one of {names}")
