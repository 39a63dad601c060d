"""Networks as users write them, for the source `user`."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn


def _block(in_channels, out_channels, stride=1):
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class Flat(nn.Module):
    """A U-shaped network whose parts all lie side by side."""

    def __init__(self, classes, width=4):
        super().__init__()
        self.stem = _block(3, width, 2)
        self.down1, self.down2, self.down3 = (_block(width * 2**i, width * 2 ** (i + 1), 2) for i in range(3))
        self.up3, self.up2, self.up1 = (_block(width * 3 * 2**i, width * 2**i) for i in (2, 1, 0))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image):
        features = [self.stem(image)]
        for down in (self.down1, self.down2, self.down3):
            features.append(down(features[-1]))
        joined = features.pop()
        for up in (self.up3, self.up2, self.up1):
            skip = features.pop()
            joined = up(torch.cat([F.interpolate(joined, size=skip.shape[2:]), skip], dim=1))
        return self.head(joined)


class Wrapped(nn.Module):
    """A backbone, a head, and whatever `pack` makes of the scores."""

    def __init__(self, classes, pack, width=4):
        super().__init__()
        self.backbone = nn.Sequential(
            *(_block(width * 2**i if i >= 0 else 3, width * 2 ** (i + 1), 2) for i in range(-1, 3))
        )
        self.head = nn.Sequential(_block(8 * width, width), nn.Dropout(0.1), nn.Conv2d(width, classes, 1))
        self.pack = pack

    def forward(self, image):
        return self.pack(self.head(self.backbone(image)))


class Columns(nn.Module):
    """A network of one size: its positions are learned."""

    def __init__(self, classes, side=48):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, stride=16)
        self.positions = nn.Parameter(torch.zeros(1, (side // 16) ** 2, 8))
        self.mix = nn.Linear(8, 8)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, image):
        map_ = self.patches(image)
        tokens = self.mix(map_.flatten(2).transpose(1, 2) + self.positions)
        return self.head(tokens.transpose(1, 2).reshape(map_.shape))


def flat(classes, width=4):
    return Flat(classes, width)


def in_a_dict(classes, width=4):
    return Wrapped(classes, lambda scores: {"aux": scores * 0, "out": scores}, width)


def with_logits(classes):
    return Wrapped(classes, lambda scores: SimpleNamespace(logits=scores))


def in_a_tuple(classes):
    return Wrapped(classes, lambda scores: (scores, None))


def argmaxed(classes):
    return Wrapped(classes, lambda scores: scores.argmax(1))


def unknown_form(classes):
    return Wrapped(classes, lambda scores: {"prediction": scores})


def of_one_size(classes):
    return Columns(classes)


def no_network(classes):
    return classes


NOT_A_FUNCTION = 3
