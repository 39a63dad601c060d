"""The one interface to every network."""

import pytest
import torch
from torch import nn

from segstill.models import Segmenter
from segstill.taps import Tap, Tapped


def test_the_network_sees_the_normalised_image():
    model = Segmenter(nn.Identity(), classes=3, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    image = torch.tensor([0.5, 0.6, 0.2]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    expected = torch.tensor([0.0, 1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    torch.testing.assert_close(model(image), expected)


def test_bytes_are_brought_to_the_unit_range():
    model = Segmenter(nn.Identity(), classes=3, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    torch.testing.assert_close(model(image).flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_the_image_is_padded_with_the_mean_colour_and_the_scores_are_cut_back():
    seen = []
    model = Segmenter(nn.Identity(), classes=3, stride=8)
    model.net.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    scores = model(torch.ones(1, 3, 9, 16))
    assert seen[0].shape == (1, 3, 16, 16)
    assert not seen[0][:, :, 9:].any()
    assert seen[0][:, :, :9].all()
    assert torch.equal(scores, seen[0][:, :, :9])


def test_an_image_that_needs_no_padding_is_not_padded():
    model = Segmenter(nn.Identity(), classes=3, stride=8)
    assert model(torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_small_scores_are_brought_to_the_size_of_the_image(size):
    model = Segmenter(nn.Conv2d(3, 5, 4, stride=4), classes=5, stride=4)
    assert model(torch.rand(2, 3, *size)).shape == (2, 5, *size)


def test_taps_and_encoder_are_relative_to_the_network():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1))
    model = Segmenter(net, classes=5, taps={"mid": "1", "pre": Tap("1", read="input")}, encoder="0")
    assert model.get_submodule(model.encoder) is net[0]
    features = Tapped(model, model.taps)(torch.rand(1, 3, 4, 4))
    assert torch.equal(features["pre"].relu(), features["mid"])


def test_normalisation_is_not_in_the_state_dict_but_moves_with_the_model():
    model = Segmenter(nn.Conv2d(3, 2, 1), classes=2)
    assert set(model.state_dict()) == {"net.weight", "net.bias"}
    assert model.double().mean.dtype == torch.float64
