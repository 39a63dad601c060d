"""Attention-guided feature distillation (AttnFD): match features after attention has said what matters in them.

Mansourian et al., Attention-guided Feature Distillation for Semantic Segmentation, 2024 (arXiv:2403.05451), equation 6.
Per tap, with a = connector(CBAM(student feature)) and b = attention(teacher feature), norms taken per image:

    L = mean over images of || a / |a| - b / |b| ||^2 = 2 - 2 cos(a, b)        summed over the taps

Differs from the published code ("published" reproduces it): there one norm spans the whole batch and the distance is
divided by the batch size N, as is the cross-entropy, so that the published weight 2 is a weight 2 here too; nothing is
masked; the teacher's attention is a CBAM that is never trained ("random"); and the student's channel gate, and after
the first epoch the connectors, are in no optimizer.
"""

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from ..batch import Batch, valid_pixels
from ..taps import Features
from .cbam import CBAM, parameter_free_attention, parameter_free_attention_map
from .features import checked_taps, key, project_and_normalise, resized, zero_ignored
from .loss import Channels, Loss, Variant, check_variant, in_float32

TeacherAttention = Literal["parameter-free", "random"]


@in_float32
def attnfd(
    student_refined: Sequence[Tensor], teacher_refined: Sequence[Tensor], *, variant: Variant = "paper"
) -> Tensor:
    """Squared distance between unit-length refined features, summed over taps.

    A map that is zero everywhere has no direction: it stays zero, with zero gradient.  Where both maps of an image are
    zero (nothing in it is valid), the image adds nothing and is not counted.

    Args:
        student_refined: one (N, C, h, w) per tap, with the teacher's C; another size is resized bilinearly
            (align_corners false) to the teacher's.
        teacher_refined: one (N, C, h, w) per tap; constants.
        variant: "paper" scales every image to unit length and averages over images; "published" scales the whole batch
            to unit length and divides by N.

    Returns:
        A scalar in [0, 4 * taps], for "published" in [0, 4 * taps / N].

    Raises:
        ValueError: numbers of taps, of images or of channels that differ.
    """
    check_variant(variant)
    if len(student_refined) != len(teacher_refined) or not student_refined:
        raise ValueError(
            f"got {len(student_refined)} features of the student and {len(teacher_refined)} of the teacher, expected "
            "one each per tap"
        )
    pairs = zip(student_refined, teacher_refined, strict=True)
    return torch.stack([_tap_distance(student, teacher.detach(), variant) for student, teacher in pairs]).sum()


def _tap_distance(student: Tensor, teacher: Tensor, variant: Variant) -> Tensor:
    if student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f"a refined student feature is {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}, expected "
            "equal N and C: map the student's channels to the teacher's by a connector first"
        )
    student = resized(student, teacher)
    images = len(student)
    rows = images if variant == "paper" else 1
    a, b = student.reshape(rows, -1), teacher.reshape(rows, -1)
    # Through the cosine, not two normalised copies, which saves their memory; and by sum(), which adds pairwise and is
    # more exact over millions of elements than a matrix product or a norm.
    dot, a_squared, b_squared = (a * b).sum(dim=1), a.square().sum(dim=1), b.square().sum(dim=1)
    a_counts, b_counts = a_squared > 0, b_squared > 0
    cosine = dot * torch.where(a_counts, a_squared, 1).rsqrt() * torch.where(b_counts, b_squared, 1).rsqrt()
    distance = (a_counts.to(dot.dtype) + b_counts.to(dot.dtype) - 2 * cosine).clamp(min=0)  # rounding may pass cos = 1
    if variant == "published":
        return distance.sum() / images
    return distance.sum() / (a_counts | b_counts).sum().clamp(min=1)


class AttnFD(Loss):
    """`attnfd` between attention-refined features of student and teacher; owns the attention and the connectors.

    Feature cells whose pixel the batch calls invalid are zeroed before the attention and after the connector, so that
    their content has exactly no influence ("published" masks nothing).

    Args:
        channels: tap -> (student, teacher) channels.
        taps: the features to match.
        teacher_attention: "parameter-free" gates the teacher by its own activations; "random" by a CBAM that is never
            trained, as in the published code.
        variant: see `attnfd`.
        reduction: see `CBAM`.

    Raises:
        ValueError: a tap that is not in `channels`, or an unknown choice.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("encoder_pre", "aspp", "decoder"),
        teacher_attention: TeacherAttention = "parameter-free",
        variant: Variant = "paper",
        reduction: int = 16,
    ):
        super().__init__(channels)
        check_variant(variant)
        if teacher_attention not in get_args(TeacherAttention):
            raise ValueError(
                f"teacher_attention is {teacher_attention!r}, expected one of {get_args(TeacherAttention)}"
            )
        self.taps = checked_taps(taps, channels)
        self.variant: Variant = variant
        self.student_cbam = nn.ModuleDict({key(tap): CBAM(channels[tap][0], reduction) for tap in taps})
        self.connector = nn.ModuleDict({key(tap): project_and_normalise(*channels[tap]) for tap in taps})
        random = taps if teacher_attention == "random" else ()
        self.teacher_cbam = nn.ModuleDict({key(tap): CBAM(channels[tap][1], reduction) for tap in random})
        self.teacher_cbam.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "AttnFD":
        """Set the mode of everything but the teacher's attention, which stays in eval mode."""
        super().train(mode)
        self.teacher_cbam.eval()
        return self

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the distance, a mean over images."""
        valid = valid_pixels(batch) if self.variant == "paper" else None
        return self._distance([student[tap] for tap in self.taps], [teacher[tap] for tap in self.taps], valid)

    @in_float32
    def _distance(self, student: list[Tensor], teacher: list[Tensor], valid: Tensor | None) -> Tensor:
        student_refined, teacher_refined = [], []
        for tap, s, t in zip(self.taps, student, teacher, strict=True):
            s, t = zero_ignored(s, valid), zero_ignored(t.detach(), valid)
            # Zeroed once more after the connector, whose batch norm shifts zeros; attention only multiplies.
            s = zero_ignored(self.connector[key(tap)](self.student_cbam[key(tap)](s)), valid)
            student_refined.append(s)
            teacher_refined.append(self.teacher_cbam[key(tap)](t) if self.teacher_cbam else parameter_free_attention(t))
        return attnfd(student_refined, teacher_refined, variant=self.variant)

    @torch.no_grad()
    @in_float32
    def attention(self, student: Features, teacher: Features) -> dict[str, tuple[Tensor, Tensor]]:
        """Return where student and teacher look, to be shown over the image; call it in eval mode.

        Returns:
            Tap -> two maps (N, 1, h, w) in (0, 1).
        """
        maps = {}
        for tap in self.taps:
            look = cast(CBAM, self.student_cbam[key(tap)]).attention
            guide = parameter_free_attention_map
            if self.teacher_cbam:
                guide = cast(CBAM, self.teacher_cbam[key(tap)]).attention
            maps[tap] = (look(student[tap]), guide(teacher[tap]))
        return maps
