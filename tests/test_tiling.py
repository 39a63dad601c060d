"""Tiles give what the whole image gives, where a pixel's scores depend on no more than the overlap holds."""

import pytest
import torch
from torch import nn

from segstill.models import Segmenter
from segstill.tiling import tiled


def near(stride=4):
    """A network that looks 19 pixels around a pixel at most: a strided and two plain convolutions."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 7, stride, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 3, 3, 1, 1)
    return Segmenter(nn.Sequential(*layers), classes=3, stride=stride).eval()


def both(image, *, tile, overlap):
    network = near()
    with torch.no_grad():
        bands = list(tiled(network, image, tile=tile, overlap=overlap, stride=network.stride))
        return torch.cat(bands, dim=2), network(image)


@pytest.mark.parametrize("shape", [(150, 333), (97, 96), (400, 60), (50, 60)])
def test_tiles_give_the_scores_of_the_whole_image(shape):
    """A quarter of the overlap is 20 pixels, more than the network looks around."""
    image = torch.randint(256, (1, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    in_tiles, whole = both(image, tile=160, overlap=80)
    torch.testing.assert_close(in_tiles, whole, atol=1e-5, rtol=1e-5)


def test_without_overlap_the_borders_of_tiles_show():
    image = torch.randint(256, (1, 3, 64, 200), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    in_tiles, whole = both(image, tile=64, overlap=0)
    off = (in_tiles - whole).abs().amax((0, 1, 2))
    assert off[64 - 8 : 64 + 8].max() > 1e-3
    assert off[:44].max() < 1e-5


def test_one_row_of_tiles_is_held_at_a_time():
    image = torch.zeros(1, 3, 1000, 40)
    rows = [band.shape[2] for band in tiled(near(), image, tile=64, overlap=16, stride=4)]
    assert sum(rows) == 1000
    assert max(rows) <= 64


def test_tiles_that_overlap_by_more_than_half_are_refused():
    with pytest.raises(ValueError, match="expected an overlap from 0 to half a tile"):
        next(tiled(near(), torch.zeros(1, 3, 50, 50), tile=32, overlap=20, stride=4))
