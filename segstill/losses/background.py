"""What the losses on the background-aware block share: the taps of a classifier with fused features, and the tags."""

from abc import abstractmethod
from typing import Literal, get_args

from ..batch import Batch, valid_pixels
from ..prototypes import BACKGROUND_FACTOR, BackgroundAware, Untagged, background_aware, check_background_factor
from ..taps import Features
from .loss import Channels, Loss, Variant, check_variant
from .tags import tags_of

Similarity = Literal["fused", "encoder"]
"""The features that say which cells look alike, when seeds are found."""


class BackgroundAwareLoss(Loss):
    """A loss on what `segstill.prototypes.background_aware` makes of the student's taps "cam" and "fused".

    Two such losses in one recipe compute the block twice: it costs little beside the network, and nothing is remembered
    from one loss to the next.

    Args:
        channels: see `Loss`.
        background_factor: see `background_aware`.
        similarity: "fused" finds the seeds by the features that prototypes are made of, as is done when masks are made;
            "encoder" by the tap of that name, as SIPE trains.
        untagged: see `segstill.prototypes.Untagged`.
        variant: see `background_aware`.

    Raises:
        ValueError: a hyper-parameter out of its range.
    """

    needs_teacher = False

    @abstractmethod
    def __init__(
        self,
        channels: Channels,
        *,
        background_factor: float = BACKGROUND_FACTOR,
        similarity: Similarity = "fused",
        untagged: Untagged = "absent",
        variant: Variant = "paper",
    ):
        super().__init__(channels)
        check_background_factor(background_factor)
        check_variant(variant)
        if similarity not in ("fused", "encoder"):
            raise ValueError(f"similarity is {similarity!r}, expected 'fused' or 'encoder': a tap of the classifier")
        self.taps = ("cam", "fused") if similarity == "fused" else ("cam", "fused", "encoder")
        self.background_factor = background_factor
        self.similarity = similarity
        if untagged not in get_args(Untagged):
            raise ValueError(f"untagged is {untagged!r}, expected one of {list(get_args(Untagged))}")
        self.untagged: Untagged = untagged
        self.variant: Variant = variant

    def block(self, student: Features, batch: Batch, name: str) -> BackgroundAware:
        """Return the block for a batch, whose tags the loss `name` needs."""
        return background_aware(
            student["cam"],
            student["fused"],
            tags_of(batch, name),
            semantic=student[self.similarity],
            valid=valid_pixels(batch),
            background_factor=self.background_factor,
            untagged=self.untagged,
            variant=self.variant,
        )
