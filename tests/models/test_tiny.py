"""The small network is small, and independent of its batch when asked."""

import pytest
import torch
from torch import nn

from segstill.models import tiny
from segstill.taps import Tapped


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_taps_cover_every_stage_the_encoder_and_the_decoder(depth):
    model = tiny(3, width=4, depth=depth)
    names = [*(f"stage{stage}" for stage in range(1, depth + 1)), "encoder", "decoder"]
    assert set(model.taps) == {*names, *(f"{name}_pre" for name in names)}
    assert model.stride == 2 ** (depth + 1)


def test_the_encoder_tap_is_the_deepest_stage():
    model = tiny(3, width=4)
    features = Tapped(model, model.taps)(torch.rand(2, 3, 32, 48))
    assert features["encoder"] is features["stage3"]
    assert features["encoder"].shape == (2, 32, 2, 3)
    assert features["decoder"].shape == (2, 4, 16, 24)
    assert (features["encoder_pre"] < 0).any()
    assert torch.equal(features["encoder_pre"].relu(), features["encoder"])


def test_group_normalisation_makes_images_independent_of_their_batch():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = tiny(3, width=4, norm="group").train()
    torch.testing.assert_close(model(images)[:1], model(images[:1]))
    torch.manual_seed(0)
    model = tiny(3, width=4, norm="batch").train()
    assert not torch.allclose(model(images)[:1], model(images[:1]), atol=1e-3)


def test_there_is_no_dropout():
    assert not any(isinstance(module, nn.modules.dropout._DropoutNd) for module in tiny(3).modules())


def test_it_has_few_parameters():
    assert sum(parameter.numel() for parameter in tiny(3, width=8).parameters()) < 120_000
