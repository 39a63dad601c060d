"""Augmentation-free dense contrastive distillation (Af-DCD): masked reconstruction, and contrast inside small patches.

Fan et al., Augmentation-free Dense Contrastive Knowledge Distillation for Efficient Semantic Segmentation,
NeurIPS 2023.  The student's feature is masked and regenerated as in `mgd`.  Both maps are max-pooled, cut into patches
of 4 x 4 cells and, along the channels, into M groups; a sample is a group of a cell.  With d the L1 distance, for the
sample i of the student and the sample i of the teacher, at the same cell and group:

    l_i = -log( exp(-d(i, i) / T) / (exp(-d(i, i) / T) + sum over teacher's samples j of the patch, of other groups,
                                                          of exp(-d(i, j) / T)) )
    L = mean of l_i over the samples of valid cells

Differs from the published code ("published" reproduces it): there the sum of an image is divided by its pooled cells
only, which is M times the mean, and no weight of one number of groups serves another.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import FeatureLoss, check_features, key
from .logits import check_temperature
from .loss import Channels, Variant, check_variant, filled, in_float32, mean_over_valid
from .mgd import align, check_erased, mgd_generation, regenerated, squared_error


@in_float32
def afdcd(
    student: Tensor,
    teacher: Tensor,
    *,
    groups: int = 16,
    patch: int = 4,
    pool: int = 4,
    temperature: float = 0.07,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Contrast every group of channels of a cell with the teacher's other groups in its patch.

    Pooling windows and patches at the right and the lower border hold the cells that are left.  Upsampling changes what
    a window and a patch see, and so the value; repeating the batch does not.

    Args:
        student: (N, C, h, w), regenerated.
        teacher: (N, C, h, w); a constant.
        groups: M > 1, into which the channels are cut; divides C.
        patch: side of a patch, in pooled cells.
        pool: side of a pooling window, in cells; 1 does not pool.
        temperature: T > 0, in units of the feature.
        valid: (N, h, w) bool; the other cells have exactly no influence.  None: all cells.
        variant: "paper" as above; "published" sums over samples and divides by N and the pooled cells of an image.

    Returns:
        A scalar >= 0, in nats; 0 when no cell is valid.  Equal features do not give 0 but log(1 + sum of exp(-d / T))
        over the other groups, near 0 where the groups of the teacher are far from each other.

    Raises:
        ValueError: shapes that differ, groups that do not divide C, a size below 1, a temperature of 0 or less, or
            `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid)
    check_contrast(student.shape[1], groups=groups, patch=patch, pool=pool, temperature=temperature)
    if valid is None:
        valid = torch.ones(student.shape[0], *student.shape[2:], dtype=torch.bool, device=student.device)
    cells = _pooled(valid.unsqueeze(1).to(student.dtype), pool) > 0
    maps = [_pooled(filled(feature, valid, -torch.inf), pool) for feature in (student, teacher.detach())]
    s, t = (_samples(feature.masked_fill(~cells, 0), groups, patch) for feature in maps)
    counts = _samples(cells.expand(-1, groups, -1, -1).to(student.dtype), groups, patch).squeeze(2) > 0

    own = (s - t).abs().sum(dim=2) / temperature
    group = torch.arange(groups, device=s.device).repeat_interleave(patch**2)
    other = (group.unsqueeze(1) != group) & counts.unsqueeze(1)
    itself = torch.eye(len(group), dtype=torch.bool, device=s.device)
    scores = (-torch.cdist(s, t, p=1) / temperature).masked_fill(~(other | itself), -torch.inf)
    values = own + scores.logsumexp(dim=2)
    if variant == "published":
        return values.masked_fill(~counts, 0).sum() / cells.sum()
    return mean_over_valid(values, counts)


def check_contrast(channels: int, *, groups: int, patch: int, pool: int, temperature: float) -> None:
    """Raise ValueError unless C channels can be cut into these groups, and a map into these windows."""
    check_temperature(temperature)
    if groups < 2 or channels % groups:
        fitting = [count for count in range(2, channels + 1) if channels % count == 0]
        raise ValueError(
            f"groups is {groups}, expected a divisor of the teacher's {channels} channels: one of {fitting}"
        )
    if patch < 1 or pool < 1:
        raise ValueError(f"patch is {patch} and pool {pool}, expected sides of at least 1 cell")


def _pooled(feature: Tensor, pool: int) -> Tensor:
    return feature if pool == 1 else F.max_pool2d(feature, pool, ceil_mode=True)


def _samples(feature: Tensor, groups: int, patch: int) -> Tensor:
    """Cut (N, C, h, w) into (patches, samples, C / M), samples ordered by group, then by cell; 0 beyond the border."""
    images, channels, height, width = feature.shape
    down, right = -height % patch, -width % patch
    feature = F.pad(feature, (0, right, 0, down))
    rows, columns = (height + down) // patch, (width + right) // patch
    cut = feature.reshape(images, groups, channels // groups, rows, patch, columns, patch)
    return cut.permute(0, 3, 5, 1, 4, 6, 2).reshape(images * rows * columns, groups * patch**2, channels // groups)


class AfDCD(FeatureLoss):
    """Masked reconstruction plus `contrast` times `afdcd`, summed over taps; owns the generation; see `FeatureLoss`.

    Args:
        channels: tap -> (student, teacher) channels.
        taps: the features to match.
        contrast: weight of the contrast relative to the reconstruction, which is `mgd`.
        erased: see `mgd`; the mask is drawn anew in every step, from torch's default generator.
        groups: see `afdcd`.
        patch: see `afdcd`.
        pool: see `afdcd`.
        temperature: see `afdcd`.
        variant: see `afdcd` and `mgd`.
    """

    function = staticmethod(afdcd)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("decoder",),
        contrast: float = 0.01,
        erased: float = 0.75,
        groups: int = 16,
        patch: int = 4,
        pool: int = 4,
        temperature: float = 0.07,
        variant: Variant = "paper",
    ):
        hyper = {"groups": groups, "patch": patch, "pool": pool, "temperature": temperature}
        super().__init__(channels, taps=taps, variant=variant, **hyper)
        check_erased(erased)
        for tap in taps:
            check_contrast(channels[tap][1], **hyper)
        self.contrast, self.erased = contrast, erased
        self.generators = nn.ModuleDict({key(tap): mgd_generation(channels[tap][1]) for tap in taps})

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Map the channels by a 1x1 convolution where they differ."""
        return align(student, teacher)

    def compare(self, tap: str, student: Tensor, teacher: Tensor, valid: Tensor | None, **more: Any) -> Tensor:
        """Return the loss at one tap."""
        generate = self.generators[key(tap)]
        generated = regenerated(student, generate, erased=self.erased, valid=valid)
        reconstruction = squared_error(generated, teacher, valid=valid, variant=self.variant)
        return reconstruction + self.contrast * super().compare(tap, generated, teacher, valid, **more)
