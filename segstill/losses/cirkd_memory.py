"""CIRKD, the memory part: how alike every cell is to cells and regions of images seen before.

Yang et al., Cross-Image Relational Knowledge Distillation for Semantic Segmentation, CVPR 2022 (arXiv:2204.06986).  Two
memories hold unit-length feature vectors of the teacher, equally many per class: cells, and regions (means over the
cells of a class in an image).  With the student projected to the teacher's channels, at every valid cell of the batch,
and for each memory V:

    p = softmax_v(teacher . v / T)    q = softmax_v(student . v / T)    L = mean over valid cells of KL(p || q)

The published code is not reproduced: what it draws from the memory is random, and its memory of 20,000 cells and 2,000
regions per class is ten times the default here (`pixels`, `regions`).
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..batch import IGNORE, Batch, valid_pixels
from ..taps import Features
from .cirkd import cell_directions, check_pool, pooled_cells, relation_divergence
from .features import FeatureLoss, check_features, key, project, zero_ignored
from .logits import check_classes, check_temperature
from .loss import Channels, in_float32


@in_float32
def cirkd_memory(
    student: Tensor,
    teacher: Tensor,
    memory: Tensor,
    *,
    temperature: float = 0.1,
    present: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Divergence of the student's similarities to remembered vectors from the teacher's, averaged over cells.

    Differentiable once.  Upsampling by nearest and repeating the batch do not change the value for one memory.

    Args:
        student: (N, C, h, w), projected to the teacher's channels.
        teacher: (N, C, h, w); a constant.
        memory: (Q, C), vectors of unit length; constants.
        temperature: T > 0.
        present: (Q,) bool, the vectors that count.  None: all.
        valid: (N, h, w) bool; the other cells have exactly no influence.  None: all cells.

    Returns:
        A scalar >= 0, in nats; 0 when no cell is valid or no vector counts.

    Raises:
        ValueError: shapes that differ, or a temperature of 0 or less.
    """
    check_temperature(temperature)
    check_features(student, teacher, valid)
    if memory.ndim != 2 or memory.shape[1] != teacher.shape[1]:
        raise ValueError(f"memory is {tuple(memory.shape)}, expected (Q, {teacher.shape[1]}): vectors of the teacher")
    s, t = (cell_directions(zero_ignored(feature, valid)).flatten(0, 1) for feature in (student, teacher.detach()))
    counts = s.new_ones(len(s)) if valid is None else valid.flatten().to(s.dtype)
    weight = (counts / counts.sum().clamp(min=1)).unsqueeze(1)
    keys, counted = memory.detach().unsqueeze(0), None if present is None else present.unsqueeze(0)
    return relation_divergence(s, t, keys, None, weight, temperature=temperature, counted=counted)


class Memory(nn.Module):
    """The newest vectors of every class, in buffers that are checkpointed with the loss.

    Args:
        classes: K.
        size: vectors of a class.
        channels: C of a vector.
    """

    entries: Tensor
    written: Tensor

    def __init__(self, classes: int, size: int, channels: int):
        super().__init__()
        self.classes, self.size = classes, size
        self.register_buffer("entries", torch.zeros(classes * size + 1, channels))  # the last one takes what is dropped
        self.register_buffer("written", torch.zeros(classes, dtype=torch.long))

    @torch.no_grad()
    def add(self, vectors: Tensor, classes: Tensor, limit: int) -> None:
        """Put vectors in the place of the oldest ones of their class.

        Args:
            vectors: (M, C).
            classes: (M,) integers in [0, K]; K drops a vector.
            limit: vectors of a class to take, at random where there are more.
        """
        shuffled = torch.rand(len(classes), device=classes.device).argsort()
        classes = classes.where(self._place_in_class(classes, shuffled) < min(limit, self.size), self.classes)
        place = self._place_in_class(classes, torch.arange(len(classes), device=classes.device))
        oldest = F.pad(self.written, (0, 1))
        index = classes * self.size + ((oldest[classes] + place) % self.size).where(classes < self.classes, 0)
        self.entries.index_copy_(0, index, vectors.to(self.entries.dtype))
        self.written += self._count(classes)[:-1]

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Return `count` vectors per class, (K * count, C), and which of them are there, (K * count,) bool.

        Where a class has more, they are taken at equal distances from a random one on.
        """
        count = min(count, self.size)
        filled = self.written.clamp(max=self.size).unsqueeze(1)
        step = torch.arange(count, device=filled.device)
        start = (torch.rand(filled.shape, device=filled.device) * filled).long()
        spread = (start + step * filled // count) % filled.clamp(min=1)
        slot = spread.where(filled > count, step)
        first = self.size * torch.arange(self.classes, device=filled.device).unsqueeze(1)
        return self.entries[(first + slot).flatten()], (step < filled).flatten()

    def _place_in_class(self, classes: Tensor, order: Tensor) -> Tensor:
        """Return (M,): how many vectors of its class come before each one, when all stand in `order`, a permutation."""
        by_class = order[classes[order].argsort(stable=True)]
        count = self._count(classes)
        place = torch.arange(len(classes), device=classes.device) - (count.cumsum(0) - count)[classes[by_class]]
        return torch.empty_like(place).scatter_(0, by_class, place)

    def _count(self, classes: Tensor) -> Tensor:
        return self.written.new_zeros(self.classes + 1).scatter_add_(0, classes, torch.ones_like(classes))


class CIRKDMemory(FeatureLoss):
    """`cirkd_memory` against remembered cells plus the same against remembered regions, summed over taps.

    Owns the projection (1x1 convolution, batch normalisation, ReLU, 1x1 convolution) and the two memories of each tap.
    In training mode a batch joins the memories before it is compared with them: of every class at most N * `update`
    valid cells, drawn at random, and its region in each of the N images.  The class of a cell is its label; where there
    is none, as in unlabelled images, it is the teacher's prediction.  Of several processes each adds its own images;
    where buffers are sent from the first process to all before a step, as DDP does, all go on from its memory.

    Args:
        channels: tap -> (student, teacher) channels; K is that of "logits".
        taps: the features to compare.
        temperature: see `cirkd_memory`.
        pool: average this many by this many cells first; 4 suits a feature at stride 4.
        pixels: cells that are remembered per class.
        regions: regions that are remembered per class.
        pixel_samples: cells that are drawn for a step, over all classes.
        region_samples: regions that are drawn for a step, over all classes.
        update: cells that join per class and image.

    Raises:
        ValueError: a tap or "logits" that is not in `channels`, teacher and student with different classes, or a
            hyper-parameter out of its range.
    """

    function = staticmethod(cirkd_memory)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("decoder",),
        temperature: float = 0.1,
        pool: int = 4,
        pixels: int = 2000,
        regions: int = 200,
        pixel_samples: int = 4096,
        region_samples: int = 1024,
        update: int = 16,
    ):
        super().__init__(channels, taps=taps)
        check_temperature(temperature)
        check_pool(pool)
        sizes = {"pixels": pixels, "regions": regions, "update": update}
        sizes |= {"pixel_samples": pixel_samples, "region_samples": region_samples}
        if small := {name: size for name, size in sizes.items() if size < 1}:
            raise ValueError(f"{small} are below 1, expected room for at least one vector")
        if "logits" not in channels:
            raise ValueError('the channels do not say "logits", expected them: the memories need the number of classes')
        self.temperature, self.pool, self.update = temperature, pool, update
        check_classes(*channels["logits"])
        self.classes = channels["logits"][0]
        self.pixel_draw, self.region_draw = (samples // self.classes + 1 for samples in (pixel_samples, region_samples))
        self.pixels = nn.ModuleDict({key(tap): Memory(self.classes, pixels, channels[tap][1]) for tap in taps})
        self.regions = nn.ModuleDict({key(tap): Memory(self.classes, regions, channels[tap][1]) for tap in taps})

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Project the student's channels to the teacher's."""
        return nn.Sequential(project(student, teacher), nn.BatchNorm2d(teacher), nn.ReLU(), project(teacher, teacher))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over taps."""
        classes = teacher["logits"].argmax(dim=1)
        if "mask" in batch:
            classes = torch.where(batch["mask"] == IGNORE, classes, batch["mask"])
        s, t = ([side[tap] for tap in self.taps] for side in (student, teacher))
        return self._sum(s, t, valid_pixels(batch), classes=classes)

    def compare(self, tap: str, student: Tensor, teacher: Tensor, valid: Tensor | None, **more: Any) -> Tensor:
        """Return the loss at one tap, after its memories have taken in the batch."""
        student, _ = pooled_cells(student, valid, self.pool)
        teacher, valid = pooled_cells(teacher.detach(), valid, self.pool)
        pixels, regions = (cast(Memory, memories[key(tap)]) for memories in (self.pixels, self.regions))
        if self.training:
            self._remember(pixels, regions, teacher, more["classes"], valid)
        values = []
        for memory, count in ((pixels, self.pixel_draw), (regions, self.region_draw)):
            vectors, present = memory.draw(count)
            values.append(
                cirkd_memory(student, teacher, vectors, temperature=self.temperature, present=present, valid=valid)
            )
        return torch.stack(values).sum()

    @torch.no_grad()
    def _remember(
        self, pixels: Memory, regions: Memory, teacher: Tensor, classes: Tensor, valid: Tensor | None
    ) -> None:
        images = len(teacher)
        classes = F.interpolate(classes.unsqueeze(1).float(), size=teacher.shape[2:], mode="nearest-exact")[:, 0].long()
        if valid is not None:
            classes = classes.masked_fill(~valid, self.classes)
        classes = classes.flatten(1)
        cells = cell_directions(teacher)
        pixels.add(cells.flatten(0, 1), classes.flatten(), limit=self.update * images)
        every = torch.arange(self.classes, device=cells.device)
        members = classes.unsqueeze(2) == every
        sums = torch.einsum("npk,npc->nkc", members.to(cells.dtype), cells)
        classes = torch.where(members.any(dim=1), every, self.classes)
        regions.add(F.normalize(sums, dim=2).flatten(0, 1), classes.flatten(), limit=regions.size)
