"""What a comparison of methods may say: means, paired differences, and whether they are more than noise."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Budget = Literal["steps", "seconds"]
"""Equal for every method: optimiser steps, or wall-clock time."""
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""97.5 % points of Student's t distribution with 1, 2, ... degrees of freedom."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method: a row of the comparison.  Scores are shares in [0, 1]."""

    name: str
    mious: dict[int, float]
    """Seed -> mIoU of the last checkpoint."""
    baseline: bool = False
    differences: tuple[float, ...] = ()
    """mIoU minus that of the student alone with the same seed."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the mean difference; None with fewer than two seeds."""
    gap_closed: float | None = None
    """Mean difference as a share of the teacher's lead over the student alone."""
    parameters: int | None = None
    """Of the student; None where no run is done."""
    epochs: int = 0
    ms_per_step: float | None = None
    """Median over all steps of all seeds, with loading."""
    memory_mb: float | None = None
    """Largest peak memory of a run's process: of the GPU where there is one, else resident."""
    hours: float = 0.0
    """Device hours of all seeds together, evaluations included."""
    published: str = ""
    """What the method's authors report for this recipe, with its source."""
    failures: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean mIoU over seeds."""
        return statistics.mean(self.mious.values()) if self.mious else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None with fewer than two."""
        return statistics.stdev(self.mious.values()) if len(self.mious) > 1 else None

    @property
    def verdict(self) -> str:
        """What the difference to the student alone allows to say."""
        if self.baseline or not self.differences:
            return ""
        if self.interval is None:
            return "one seed: no verdict"
        low, high = self.interval
        return "better" if low > 0 else "worse" if high < 0 else "within noise"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows, and what they have in common."""

    data: str
    split: str
    budget: Budget
    results: tuple[Result, ...]
    """The student alone first."""
    teacher: str | None = None
    """Its run, its file or its network; None where nothing is distilled."""
    teacher_miou: float | None = None
    """As the student sees it: in the student's classes, at the student's size."""
    teacher_parameters: int | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    command: str = ""


def paired_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a mean of paired differences (Student's t); None for fewer than two."""
    n = len(differences)
    if n < 2:
        return None
    t = T_975[n - 2] if n - 2 < len(T_975) else _t_975(n - 1)
    half = t * statistics.stdev(differences) / math.sqrt(n)
    mean = statistics.mean(differences)
    return mean - half, mean + half


def _t_975(degrees: int) -> float:
    """Return the 97.5 % point of Student's t by its expansion about the normal one; 1e-3 off at 15 degrees or more."""
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
