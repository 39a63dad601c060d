"""A function of the user's gives the network, and what is wrong with it is said."""

import pytest
import torch

from segstill.models import user

HERE = "tests.models.networks"


@pytest.mark.parametrize("function", ["flat", "in_a_dict", "with_logits", "in_a_tuple"])
def test_every_usual_form_of_scores_is_taken(function):
    model = user(5, factory=f"{HERE}:{function}").eval()
    assert model(torch.rand(1, 3, 33, 50)).shape == (1, 5, 33, 50)


def test_a_module_of_the_current_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_own_network.py").write_text(
        "from torch import nn\n"
        "def build(classes, width):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.Conv2d(width, classes, 1))\n"
    )
    monkeypatch.chdir(tmp_path)
    model = user(4, factory="my_own_network:build", width=6)
    assert model.taps["encoder"].path == "net.model.0"
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 4, 32, 32)


def test_a_network_of_one_size_is_given_images_of_that_size():
    model = user(3, factory=f"{HERE}:of_one_size", size=48).eval()
    assert model(torch.rand(2, 3, 100, 70)).shape == (2, 3, 100, 70)


def test_the_part_that_learns_slowly_may_be_named():
    assert user(3, factory=f"{HERE}:flat", encoder="down1").encoder == "net.model.down1"
    assert user(3, factory=f"{HERE}:in_a_dict").encoder == "net.model.backbone"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, r"factory is '', expected 'module:function'"),
        ({"factory": "networks"}, r"factory is 'networks', expected 'module:function'"),
        ({"factory": "no_such_module:build"}, r"module 'no_such_module' .* cannot be imported"),
        ({"factory": f"{HERE}:unet"}, r"has no function 'unet', expected one of .*'flat'"),
        ({"factory": f"{HERE}:NOT_A_FUNCTION"}, r"has no function 'NOT_A_FUNCTION'"),
        ({"factory": f"{HERE}:flat", "widht": 3}, r"cannot be called with the number of classes \(3\).*widht"),
        ({"factory": f"{HERE}:no_network"}, r"returned a int, expected a torch.nn.Module"),
        ({"factory": f"{HERE}:argmaxed"}, r"shape \(2, 4, 6\), expected \(N, 3, h, w\).*without a final argmax"),
        ({"factory": f"{HERE}:unknown_form"}, r"dict with \['prediction'\]"),
        ({"factory": f"{HERE}:of_one_size"}, r"does not run on an image of 64 x 96.*size="),
        ({"factory": f"{HERE}:flat", "encoder": "backbone"}, r"no module 'backbone', expected one of .*'down1'"),
        ({"factory": f"{HERE}:flat", "stride": 0}, r"stride is 0, expected an integer"),
        ({"factory": f"{HERE}:flat", "pretrained": "imagenet"}, r"pretrained is 'imagenet', expected None"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(args, message):
    with pytest.raises(ValueError, match=message):
        user(3, **args)
