"""Batch norm over processes: one process alone must compute what torch computes."""

import os

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import distributed, nn

from segstill.batch_norm import synchronise


@pytest.fixture(autouse=True)
def one_process(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.skipif(os.name == "nt", reason="gloo meets in a file here")
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (nn.BatchNorm2d, {}),
        (nn.BatchNorm2d, {"momentum": None}),
        (nn.BatchNorm2d, {"affine": False}),
        (BatchNormAct2d, {}),
    ],
)
def test_it_gives_the_values_gradients_and_statistics_of_torch(kind, arguments):
    torch.manual_seed(0)
    ours, theirs = kind(3, **arguments), kind(3, **arguments)
    synchronise(ours)
    for _ in range(3):
        x = (100 + 2 * torch.randn(4, 3, 5, 6)).requires_grad_()
        y = x.detach().clone().requires_grad_()
        a, b = ours(x), theirs(y)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        a.square().mul(torch.arange(6.0)).sum().backward()
        b.square().mul(torch.arange(6.0)).sum().backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-3, atol=1e-3)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_the_type_of_the_feature_stays():
    norm = nn.BatchNorm2d(3)
    synchronise(norm)
    assert norm(torch.randn(2, 3, 4, 4).bfloat16()).dtype == torch.bfloat16
