"""What the losses between features share: taps, a connector to the teacher's channels, one size, ignored cells."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import valid_cells
from ..batch import Batch, valid_pixels
from ..taps import Features
from .loss import Channels, Loss, Variant, check_variant, filled, in_float32


class FeatureLoss(Loss):
    """A loss between features of student and teacher: the sum, over taps, of a pure function of the two maps.

    Cells whose pixel the batch calls invalid are zeroed before the connector, so that their content has exactly no
    influence on its gradient, and `valid` tells the function which cells count ("published" masks nothing).  A student
    map of another height or width than the teacher's is resized bilinearly (align_corners false) to it, after the
    connector.

    A subclass names its pure function, `function(student, teacher, *, valid, variant, **hyper)` with features
    (N, C, h, w) and valid (N, h, w), its hyper-parameters, and its `connector`.

    Args:
        channels: tap -> (student, teacher) channels.
        taps: the features to match.
        variant: "published" masks nothing.
        hyper: handed to the function.

    Raises:
        ValueError: a tap that is not in `channels`, or a hyper-parameter out of its range.
    """

    mean_over = "valid"
    function: ClassVar[Callable[..., Tensor]]

    @abstractmethod
    def __init__(self, channels: Channels, *, taps: tuple[str, ...], variant: Variant = "paper", **hyper: Any):
        super().__init__(channels)
        check_variant(variant)
        self.taps = checked_taps(taps, channels)
        self.variant: Variant = variant
        if variant == "published":
            self.mean_over = "images"  # nothing is masked, so every image counts alike
        self.hyper = hyper
        self.connectors = nn.ModuleDict({key(tap): self.connector(*channels[tap]) for tap in taps})

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:  # noqa: ARG004  (the interface)
        """Build what maps the student's channels to the teacher's; nothing where the function takes any channels."""
        return nn.Identity()

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over taps."""
        valid = valid_pixels(batch) if self.variant == "paper" else None
        return self._sum([student[tap] for tap in self.taps], [teacher[tap].detach() for tap in self.taps], valid)

    @in_float32
    def _sum(self, student: list[Tensor], teacher: list[Tensor], valid: Tensor | None, **more: Tensor) -> Tensor:
        values = []
        for tap, s, t in zip(self.taps, student, teacher, strict=True):
            s = resized(self.connectors[key(tap)](zero_ignored(s, valid)), t)
            cells = valid_cells(valid, t)
            values.append(self.compare(tap, s, t, cells, **more))
        return torch.stack(values).sum()

    def compare(self, tap: str, student: Tensor, teacher: Tensor, valid: Tensor | None, **more: Any) -> Tensor:  # noqa: ARG002
        """Return the loss at one tap; a subclass whose function takes more than the two maps says so here."""
        return type(self).function(student, teacher, valid=valid, variant=self.variant, **self.hyper, **more)


def project(student: int, teacher: int) -> nn.Conv2d:
    """Return a 1x1 convolution without bias from the student's to the teacher's channels."""
    conv = nn.Conv2d(student, teacher, kernel_size=1, bias=False)
    nn.init.normal_(conv.weight, std=(2 / teacher) ** 0.5)
    return conv


def project_and_normalise(student: int, teacher: int) -> nn.Sequential:
    """Return `project`, followed by batch normalisation."""
    return nn.Sequential(project(student, teacher), nn.BatchNorm2d(teacher))


def checked_taps(taps: tuple[str, ...], channels: Channels) -> tuple[str, ...]:
    """Return the taps.

    Raises:
        ValueError: there are none, or one is not in `channels`, or two share a module name.
    """
    missing = [tap for tap in taps if tap not in channels]
    if missing or not taps:
        raise ValueError(
            f"the loss is to read the taps {list(missing or taps)}, but student and teacher share "
            f"{sorted(set(channels) - {'logits'})}: choose among these with taps"
        )
    if len({key(tap) for tap in taps}) < len(taps):
        raise ValueError(f"the taps {list(taps)} repeat a name ('.' counts as '_'): give each one once")
    return tuple(taps)


def check_features(student: Tensor, teacher: Tensor, valid: Tensor | None, *, same_channels: bool = True) -> None:
    """Raise ValueError unless two feature maps can be compared cell by cell.

    Args:
        student: (N, C, h, w).
        teacher: (N, C, h, w); its own C where `same_channels` is false.
        valid: (N, h, w) bool, or None.
        same_channels: whether the numbers of channels must agree.
    """
    channels = student.shape[1:2] if same_channels else teacher.shape[1:2]
    if student.ndim != 4 or teacher.shape != (student.shape[0], *channels, *student.shape[2:]):
        raise ValueError(
            f"the student's feature is {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}, expected "
            f"(N, C, h, w) and equal{'' if same_channels else ' but for C'}: map channels by a connector and resize "
            "the student's first"
        )
    expected = (student.shape[0], *student.shape[2:])
    if valid is not None and (valid.dtype != torch.bool or valid.shape != expected):
        raise ValueError(f"valid is {valid.dtype} {tuple(valid.shape)}, expected bool {expected}: one flag per cell")


def resized(feature: Tensor, like: Tensor) -> Tensor:
    """Return (N, C, h, w) at the height and width of another map, bilinear with align_corners false."""
    if feature.shape[2:] == like.shape[2:]:
        return feature
    return F.interpolate(feature, size=like.shape[2:], mode="bilinear", align_corners=False)


def zero_ignored(feature: Tensor, valid: Tensor | None) -> Tensor:
    """Zero the cells of (N, C, h, w) whose nearest pixel in `valid` (N, H, W) is false, whatever they hold."""
    return filled(feature, valid_cells(valid, feature))


def key(tap: str) -> str:
    """Return a tap's name as a module name, which may hold no dot."""
    return tap.replace(".", "_")
