"""How well the affinities of a network tell neighbours of one class from neighbours of two.

segstill evaluate RUN
"""

from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from .batch import IGNORE
from .data import evaluation_loader
from .data.dataset import SegmentationDataset
from .evaluate import find_devices
from .models import AffinityNet
from .seeds import feature_affinities
from .stencil import both_of, pair_offsets, seen_at

BINS = 1000
"""Affinities in one bin count as equal."""


class PairScores:
    """Counts the affinities of pairs within a class and across classes; those of several processes add up.

    Args:
        radius: partners of a cell are nearer than this, in cells.
    """

    def __init__(self, radius: int = 5):
        self.radius = radius
        self.counts = torch.zeros(2, BINS, dtype=torch.int64)
        """By whether the labels are equal, and by affinity."""

    def update(self, affinities: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Args:
            affinities: (N, P, h, w) in [0, 1], as `segstill.seeds.feature_affinities` gives them.
            labels: (N, h, w) integer class ids; pairs with 255 have no influence.
        """
        for pair, offset in enumerate(pair_offsets(self.radius)):
            one, other = both_of(labels.unsqueeze(1), offset)
            labelled = (one != IGNORE) & (other != IGNORE)
            found = seen_at(affinities[:, pair : pair + 1], (0, 0), offset)[labelled]
            places = (found * BINS).long().clamp(max=BINS - 1) + BINS * (one == other)[labelled].long()
            self.counts += torch.bincount(places, minlength=2 * BINS).view(2, BINS).cpu()

    def result(self) -> dict[str, Any]:
        """Return shares in [0, 1].

        `pair_auc`: of a pair within a class and one across classes, both drawn at random, the chance that the former
        has the larger affinity; 0.5 is chance.  `affinity_within` and `affinity_across`: means.  NaN where there are no
        such pairs.
        """
        across, within = self.counts.double()
        larger = within.flip(0).cumsum(0).flip(0) - within  # affinities in a higher bin
        middles = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS
        return {
            "pair_auc": float((across * (larger + within / 2)).sum() / (across.sum() * within.sum())),
            "affinity_within": float((within * middles).sum() / within.sum()),
            "affinity_across": float((across * middles).sum() / across.sum()),
            "pairs_across": float(across.sum() / (across.sum() + within.sum())),
        }


@torch.no_grad()
def evaluate_affinities(
    network: AffinityNet,
    dataset: SegmentationDataset,
    *,
    longest_side: int | None = None,
    short_side: int | None = None,
    workers: int = 0,
    accelerator: Accelerator | None = None,
) -> dict[str, Any]:
    """Score affinities against true masks; the network is left in eval mode.

    Args:
        network: what answers with features.
        dataset: images with masks.
        longest_side: images are shrunk to it.
        short_side: or images are resized to it, up or down.
        workers: processes that read images.
        accelerator: spreads the images over its processes; all get the scores of the whole set.

    Returns:
        See `PairScores.result`; `pairs_across` is the share of pairs of two classes.
    """
    accelerator = accelerator or find_devices()
    device = accelerator.device
    network.eval().to(device)
    scores = PairScores()
    loader = evaluation_loader(
        dataset,
        longest_side=longest_side,
        short_side=short_side,
        workers=workers,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    for sample in loader:
        features = network(sample["image"].to(device)).float()
        labels = F.interpolate(sample["mask"][:, None].float(), size=features.shape[2:], mode="nearest-exact")
        scores.update(feature_affinities(features, radius=scores.radius), labels[:, 0].long().to(device))
    summed: Any = accelerator.reduce(scores.counts.to(device), "sum")
    scores.counts = summed.cpu()
    return scores.result()
