"""Convolutional block attention (CBAM): reweight a feature map by channel, then by position.

Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018 (arXiv:1807.06521), equations 1 to 3.  For a map f:

    channel: f' = f * sigmoid(MLP(mean over positions of f) + MLP(max over positions of f))
    spatial: f" = f' * sigmoid(BN(conv7x7([max over channels of f', mean over channels of f'])))

The parameter-free form, which AttnFD uses for the teacher, leaves out MLP, conv and BN and adds the two summaries.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelGate(nn.Module):
    """One weight in (0, 1) per image and channel, from the channel's mean and maximum."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, feature: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C, 1, 1)."""
        # max, not amax: its backward pass writes one position per map, where amax searches the map again for equals.
        pooled = torch.stack([feature.mean(dim=(2, 3)), feature.flatten(2).max(dim=2).values])
        return self.fc2(F.relu(self.fc1(pooled))).sum(dim=0).sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    """One weight in (0, 1) per image and position, from the maximum and the mean over channels around it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)

    def forward(self, feature: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, 1, h, w)."""
        summary = torch.cat([feature.max(dim=1, keepdim=True).values, feature.mean(dim=1, keepdim=True)], dim=1)
        return self.bn(self.conv(summary)).sigmoid()


class CBAM(nn.Module):
    """Reweight a feature map by a channel gate, then by a spatial gate.

    Args:
        channels: C of the feature.
        reduction: the channel gate's hidden layer has C // reduction units, at least one.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.channel = ChannelGate(channels, reduction)
        self.spatial = SpatialGate()

    def forward(self, feature: Tensor) -> Tensor:
        """Refine a feature.

        Args:
            feature: (N, C, h, w).

        Returns:
            (N, C, h, w).
        """
        feature = feature * self.channel(feature)
        return feature * self.spatial(feature)

    def attention(self, feature: Tensor) -> Tensor:
        """Return the spatial weights (N, 1, h, w) in (0, 1) by which `forward` multiplies: where the network looks."""
        return self.spatial(feature * self.channel(feature))


def parameter_free_attention(feature: Tensor) -> Tensor:
    """Refine a feature by gates that have nothing to learn.

    Args:
        feature: (N, C, h, w).

    Returns:
        (N, C, h, w).
    """
    feature = feature * _channel_weights(feature)
    return feature * _spatial_weights(feature)


def parameter_free_attention_map(feature: Tensor) -> Tensor:
    """Return the spatial weights (N, 1, h, w) by which `parameter_free_attention` multiplies."""
    return _spatial_weights(feature * _channel_weights(feature))


def _channel_weights(feature: Tensor) -> Tensor:
    return (feature.mean(dim=(2, 3), keepdim=True) + feature.amax(dim=(2, 3), keepdim=True)).sigmoid()


def _spatial_weights(feature: Tensor) -> Tensor:
    return (feature.amax(dim=1, keepdim=True) + feature.mean(dim=1, keepdim=True)).sigmoid()
