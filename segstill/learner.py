"""Turn a batch into named losses: the one object the training loop talks to."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from .batch import IGNORE, Batch, valid_pixels
from .losses.loss import Loss
from .models.segmenter import Segmenter
from .recipe import Ramp
from .taps import Features, Tap, Tapped

RAMPS: dict[Ramp, Callable[[float], float]] = {
    "flat": lambda progress: 1.0,
    "up": lambda progress: progress,
    "down": lambda progress: 1.0 - progress,
}
"""Progress in [0, 1] -> multiplier in [0, 1].  AICSD's adaptive loss weighting is `up` on the task and inter-class
terms and `down` on pixel KD, per step over the whole run: whatever the number of epochs, no weight is ever negative."""


class Term(NamedTuple):
    """One weighted loss: `weight_at(progress) * loss(student, teacher, batch)`."""

    loss: Loss
    weight: float = 1.0
    ramp: Ramp = "flat"
    start: float = 0.0

    def weight_at(self, progress: float) -> float:
        """Return the weight at a share of the run in [0, 1]; 0 before the term starts."""
        return self.weight * RAMPS[self.ramp](progress) * (progress >= self.start)


class Learner(nn.Module):
    """A student, the losses that teach it and, when distilling, a frozen teacher.

    The teacher is a guest, not a member: it is absent from `parameters()`, `modules()`, `state_dict()` and from what
    DDP wraps; `train()` leaves it in eval mode.  It only follows when the learner moves to another device.

    Args:
        student: the network that learns.
        terms: name -> `Term`; the names are those of the losses that `forward` returns.
        teacher: asked for logits and features without gradient.  It is frozen and put in eval mode here.
        pairs: tap name -> where the student and where the teacher has that feature; before the taps that they publish.

    Raises:
        ValueError: a distillation term without a teacher, teacher and student with different class counts, or a loss
            that reads a tap that a network does not have.
    """

    def __init__(
        self,
        student: Segmenter,
        terms: Mapping[str, Term],
        teacher: Segmenter | None = None,
        *,
        pairs: Mapping[str, tuple[Tap, Tap]] | None = None,
    ):
        super().__init__()
        distilling = [name for name, term in terms.items() if term.loss.needs_teacher]
        if distilling and teacher is None:
            raise ValueError(f"the terms {distilling} distil and there is no teacher: give one (--teacher RUN|FILE)")
        if teacher is not None and teacher.classes != student.classes:
            raise ValueError(
                f"the teacher predicts {teacher.classes} classes, the student {student.classes}: "
                "choose a teacher trained on the same classes, or map them by name (--class-map.OLD NEW)"
            )
        self.student = student
        self.losses = nn.ModuleDict({name: term.loss for name, term in terms.items()})
        self.terms = dict(terms)
        taps = sorted({tap for term in terms.values() for tap in term.loss.taps})
        mine = student.taps | {name: pair[0] for name, pair in (pairs or {}).items()}
        self._student = Tapped(student, _choose(mine, taps, "student"))
        self._teacher = None
        if teacher is not None and distilling:
            teacher.eval().requires_grad_(False)
            theirs = teacher.taps | {name: pair[1] for name, pair in (pairs or {}).items()}
            self._teacher = Tapped(teacher, _choose(theirs, taps, "teacher"))

    def forward(self, batch: Batch, progress: float = 0.0) -> dict[str, Tensor]:
        """Return the weighted losses of one batch, by name; their sum is the objective.

        Args:
            batch: image (N, 3, H, W); mask (N, H, W) if a term needs labels.
            progress: share of the run that is done, in [0, 1]; moves the ramps.
        """
        if "mask" in batch:
            batch = {**batch, "mask": batch["mask"].long()}  # loaders send bytes; losses index with it
        student, teacher = self.features(batch["image"], valid_pixels(batch))
        share = self._share_of_all_processes(batch)
        return {
            name: term.weight_at(progress) * share[term.loss.mean_over] * term.loss(student, teacher, batch)
            for name, term in self.terms.items()
        }

    def features(self, image: Tensor, valid: Tensor | None = None) -> tuple[Features, Features]:
        """Return logits and tapped features of the student and of the teacher; the latter is empty without one.

        Args:
            image: (N, 3, H, W).
            valid: (N, H, W) bool, the pixels that a classifier's scores are pooled over.
        """
        student = self._student(image, valid=valid) if self.student.predicts == "tags" else self._student(image)
        with torch.no_grad():
            return student, self._teacher(image) if self._teacher else {}

    @property
    def teacher(self) -> nn.Module | None:
        """The guest, or None."""
        return self._teacher.model if self._teacher else None

    def _share_of_all_processes(self, batch: Batch) -> dict[str, Tensor | float]:
        """Weigh means over pixels so that the average over processes is the mean over all their pixels together."""
        if not (distributed.is_available() and distributed.is_initialized() and self.training):
            return {"images": 1.0, "labelled": 1.0, "valid": 1.0}
        labelled = (batch["mask"] != IGNORE).sum() if "mask" in batch else torch.zeros((), device=batch["image"].device)
        mine = torch.stack([labelled, valid_pixels(batch).sum()]).float()
        everyone = mine.clone()
        distributed.all_reduce(everyone)
        share = mine * distributed.get_world_size() / everyone.clamp(min=1)
        return {"images": 1.0, "labelled": share[0], "valid": share[1]}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Learner":
        if self._teacher:
            self._teacher.model._apply(fn, recurse)
        return super()._apply(fn, recurse)


def _choose(known: Mapping[str, Tap], taps: list[str], role: str) -> dict[str, Tap]:
    for tap in taps:
        if tap not in known:
            raise ValueError(
                f"a loss reads the tap {tap!r}, which the {role} does not have; it has {sorted(known)}. Features of "
                "different names are paired by --pairs.NAME STUDENT_TAP TEACHER_TAP (segstill taps shows them)"
            )
    return {tap: known[tap] for tap in taps}
