"""Whether a teacher is worth listening to, and whether it is heard: plain words before and during a run.

Everything is measured on a few validation images and on the first batch, so that it costs seconds.  The gradient ratio
of a term is the norm of its gradient on the student, weight included, divided by that of the terms that need no
teacher; both half-way through the run, where no ramp is at zero.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .batch import Batch
from .data import evaluation_loader
from .data.dataset import SegmentationDataset
from .evaluate import predict
from .learner import Learner
from .metrics import Scores
from .recipe import DataSpec

IMAGES = 8
"""Validation images that are looked at, evenly spread."""
LOUD, QUIET = 10.0, 0.01
"""Gradient ratios above and below which a term is worth a warning."""
REORDERED = 0.2
"""Pixel accuracy that another order of the teacher's classes must add to be worth a warning."""


class Findings(NamedTuple):
    """What was measured, and what it means."""

    numbers: dict[str, Any]
    facts: list[str]
    warnings: list[str]

    def record(self, step: int) -> dict[str, Any]:
        """Return a record of the log."""
        return {"kind": "health", "step": step, **self.numbers, "facts": self.facts, "warnings": self.warnings}

    def tell(self, say: Callable[[str], None]) -> None:
        """Say it in sentences."""
        for sentence in [*self.facts, *(f"warning: {warning}" for warning in self.warnings)]:
            say(sentence)


class Health:
    """Looks at a teacher, and at what a student takes from it.

    Args:
        learner: has a teacher; its state, its mode and the random numbers are left as they were.
        validation: images with masks.
        data: how images are scaled before prediction.
    """

    def __init__(self, learner: Learner, validation: SegmentationDataset, data: DataSpec):
        self.learner, self.classes = learner, validation.classes
        every = max(1, math.ceil(len(validation) / IMAGES))
        self._loader = evaluation_loader(
            validation, longest_side=data.longest_side, short_side=data.short_side, world_size=every
        )
        self._on = "the validation images" + (", with the masks made for them" if data.val_masks else "")
        self._theirs: list[Tensor] = []  # the teacher's predictions, image by image
        self._miou = math.nan
        self._agreed_before = -1.0
        self._warned = False

    def teacher(self) -> Findings:
        """Score the teacher, and the student as it is before the run."""
        numbers, facts, warnings = self._look_at_teacher()
        mine = self._look_at_student(self.learner.student)
        self._agreed_before = mine.numbers.get("teacher_agreement", -1.0)
        before = {f"{name}_before": value for name, value in mine.numbers.items()}
        return Findings(numbers | before, facts + mine.facts, warnings + mine.warnings)

    def student(self, student: nn.Module, miou: float, *, finished: bool) -> Findings | None:
        """Compare an evaluated student with the teacher, on the same images; None where there is nothing new to say.

        Args:
            student: what was evaluated.
            miou: its score on all validation images; while it is below the teacher's, only the end is looked at.
            finished: whether the run is.
        """
        if not self._theirs:  # of a run that was resumed
            self._look_at_teacher()
        if not finished and (self._warned or not miou > self._miou):
            return None
        found = self._look_at_student(student)
        agreement = found.numbers.get("teacher_agreement", 1.0)
        if finished and agreement <= self._agreed_before:
            found.warnings.append(
                f"the student agreed on {100 * self._agreed_before:.0f} % before the run: it has not come nearer to "
                "the teacher; raise the weights of the distillation terms, or train for longer"
            )
        return found

    def _look_at_teacher(self) -> Findings:
        teacher = self.learner.teacher
        if teacher is None:
            raise ValueError("there is no teacher to look at: give one (--teacher RUN|FILE)")
        scores, self._theirs = self._predict(teacher)
        confusion = scores.state()[: len(self.classes) ** 2].view(len(self.classes), -1).cpu()
        if not confusion.any():
            return Findings({}, [], ["no pixel of the validation images looked at has a label: nothing can be checked"])
        result: dict[str, Any] = dict(scores.result(self.classes))
        self._miou = result["miou"]
        return Findings(
            {"teacher_miou": self._miou, "teacher_pixel_accuracy": result["pixel_accuracy"]},
            [f"the teacher scores {100 * self._miou:.1f} mIoU on {len(self._theirs)} of {self._on}"],
            [*reordered(confusion, self.classes), *no_better_than_a_constant(confusion, self.classes)],
        )

    def _look_at_student(self, student: nn.Module) -> Findings:
        if math.isnan(self._miou):
            return Findings({}, [], [])
        result: dict[str, Any] = dict(self._predict(student, self._theirs)[0].result(self.classes))
        miou, agreement = result["miou"], result["teacher_agreement"]
        warnings = []
        if miou > self._miou:
            self._warned = True
            warnings.append(
                f"the student scores {100 * miou:.1f} mIoU there and the teacher {100 * self._miou:.1f}: a teacher "
                "that is worse than its student holds it back; train the teacher for longer, or take a better one"
            )
        numbers = {"student_miou": miou, "teacher_agreement": agreement}
        return Findings(numbers, [f"the student agrees with it on {100 * agreement:.0f} % of their pixels"], warnings)

    def gradients(self, batch: Batch) -> Findings:
        """Compare how hard every distillation term pulls at the student with how hard the labels do."""
        norms = gradient_norms(self.learner, batch)
        task = [name for name, term in self.learner.terms.items() if not term.loss.needs_teacher]
        pull = sum(norms[name] ** 2 for name in task) ** 0.5
        if not pull:
            return Findings({"gradient_norms": norms}, [], [])
        ratios = {name: norm / pull for name, norm in norms.items() if name not in task}
        facts = [f"the gradient of {name} is {ratio:.2g} times that of the labels" for name, ratio in ratios.items()]
        warnings = []
        for name, ratio in ratios.items():
            weight = self.learner.terms[name].weight
            if ratio == 0:
                warnings.append(f"{name} does not move the student at all: leave it out, or look at what its taps read")
            elif not QUIET <= ratio <= LOUD:
                what = "drowns the labels" if ratio > LOUD else "is next to nothing beside the labels"
                warnings.append(f"{name} {what}: --terms.{name}.weight {weight / ratio:.2g} would pull as hard as they")
        return Findings({"gradient_norms": norms, "gradient_ratios": ratios}, facts, warnings)

    @torch.no_grad()
    def _predict(self, model: nn.Module, teacher: Sequence[Tensor] = ()) -> tuple[Scores, list[Tensor]]:
        modes = [(module, module.training) for module in model.modules()]
        device = next(self.learner.parameters()).device
        scores, predictions = Scores(len(self.classes)), []
        try:
            for number, sample in enumerate(self._loader):
                mask = sample["mask"].to(device)
                image = sample["image"].to(device)
                prediction = predict(model.eval(), image, (mask.shape[1], mask.shape[2])).argmax(1)
                scores.update(prediction, mask, teacher[number].to(device).long() if teacher else None)
                predictions.append(prediction.to("cpu", torch.uint8))
        finally:
            for module, training in modes:
                module.training = training
        return scores, predictions


def reordered(confusion: Tensor, classes: Sequence[str]) -> list[str]:
    """Warn when the teacher's classes fit the labels much better in another order.

    Args:
        confusion: (K, K) pixels, truth by row, the teacher's class by column.
        classes: K names.
    """
    left = confusion.double().clone()
    fits: dict[int, int] = {}
    for _ in range(len(classes)):
        best = int(left.argmax())
        truth, guess = divmod(best, len(classes))
        if left[truth, guess] <= 0:
            break
        fits[truth] = guess
        left[truth], left[:, guess] = 0, 0
    total = confusion.sum()
    accuracy = float(confusion.diagonal().sum() / total)
    possible = float(sum(confusion[truth, guess] for truth, guess in fits.items()) / total)
    constant = float(confusion.sum(1).max() / total)  # which one answer for everything reaches in some order
    if possible - accuracy < REORDERED or possible <= constant:
        return []
    moved = [f"{classes[truth]} as {classes[guess]}" for truth, guess in fits.items() if truth != guess]
    return [
        f"the teacher's classes seem to be in another order: it is right on {100 * accuracy:.0f} % of the pixels, and "
        f"would be on {100 * possible:.0f} % if it did not see {', '.join(moved[:6])}; name its classes in its own "
        "order (--teacher-classes), or map them (--class-map.TEACHERS STUDENTS)"
    ]


def no_better_than_a_constant(confusion: Tensor, classes: Sequence[str]) -> list[str]:
    """Warn when a teacher is right no more often than one that always answers with the most frequent class.

    Args:
        confusion: (K, K) pixels, truth by row, the teacher's class by column.
        classes: K names.
    """
    truth = confusion.sum(1)
    if confusion.diagonal().sum() > truth.max():
        return []
    return [
        f"the teacher is right no more often than the constant answer {classes[int(truth.argmax())]!r}: check its "
        "weights, its normalisation (--teacher-model.mean, .std), the image size it was trained at (--teacher-scale) "
        "and its classes (--teacher-classes)"
    ]


def gradient_norms(learner: Learner, batch: Batch) -> dict[str, float]:
    """Return the norm of every weighted term's gradient on the student, half-way through the run.

    Buffers (statistics, memories of losses) and random numbers are as before afterwards, and no gradient is kept.  All
    processes must call it, as the learner asks the others for their pixel counts.
    """
    parameters = [parameter for parameter in learner.student.parameters() if parameter.requires_grad]
    buffers = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    devices = [batch["image"].device] if batch["image"].is_cuda else []
    with torch.random.fork_rng(devices):
        losses = learner(batch, 0.5)
    norms = {}
    for name, loss in losses.items():
        gradients = (
            torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) if loss.requires_grad else []
        )
        squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
        norms[name] = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    with torch.no_grad():
        for name, buffer in learner.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])
    return norms
