"""The rules that losses share."""

import importlib
import pkgutil

import pytest
import torch

import segstill.losses
from segstill.losses import LOSSES, Loss, in_float32, mean_over_valid


def test_every_loss_is_listed_under_the_name_of_its_function():
    other = {"overhaul": "partial_l2"}  # as the paper names them
    assert all(callable(getattr(segstill.losses, other.get(name, name))) for name in LOSSES)
    assert all(issubclass(loss, Loss) for loss in LOSSES.values())


def test_all_names_what_the_folder_defines_in_public():
    for module in pkgutil.iter_modules(segstill.losses.__path__):
        found = importlib.import_module(f"segstill.losses.{module.name}")
        losses = [value for value in vars(found).values() if isinstance(value, type) and issubclass(value, Loss)]
        assert {loss.__name__ for loss in losses} <= set(segstill.losses.__all__)
    assert all(hasattr(segstill.losses, name) for name in segstill.losses.__all__)


def test_each_loss_says_what_its_value_is_a_mean_over():
    assert {name: loss.mean_over for name, loss in LOSSES.items()} == {
        "cross_entropy": "labelled",
        "pixel_kd": "valid",
        "icsd": "images",
        "attnfd": "images",
        "fitnet": "valid",
        "sigmoid_kd": "valid",
        "logit_std": "valid",
        "dist": "images",
        "cwd": "images",
        "cwd_feature": "images",
        "ickd": "images",
        "at": "images",
        "sp": "images",
        "pairwise": "images",
        "ifvd": "labelled",
        "feature_kd": "valid",
        "mgd": "valid",
        "afdcd": "valid",
        "overhaul": "valid",
        "cirkd_minibatch": "images",
        "cirkd_memory": "valid",
        "lad": "images",
        "tags": "images",
        "gsc": "valid",
        "ccl": "images",
        "affinity": "images",
    }
    assert all(LOSSES[name]({}, variant="published").mean_over == "images" for name in ("pixel_kd", "gsc"))
    alone = [name for name, loss in LOSSES.items() if not loss.needs_teacher]
    assert alone == ["cross_entropy", "tags", "gsc", "ccl", "affinity"]


def test_half_precision_arguments_are_raised_and_float64_is_kept():
    @in_float32
    def dtypes(one, *, more):
        return [value.dtype for value in (one, *more, one @ one)]

    with torch.autocast("cpu", torch.bfloat16):
        seen = dtypes(
            torch.ones(2, 2).half(), more=[torch.ones(2).bfloat16(), torch.ones(2).double(), torch.ones(2).int()]
        )
    assert seen == [torch.float32, torch.float32, torch.float64, torch.int32, torch.float32]


def test_mean_over_valid_counts_only_valid_places():
    values = torch.tensor([[1.0, float("inf")], [3.0, float("nan")]], requires_grad=True)
    mean = mean_over_valid(values, torch.tensor([[True, False], [True, False]]))
    mean.backward()
    assert mean == 2
    assert values.grad.tolist() == [[0.5, 0.0], [0.5, 0.0]]


@pytest.mark.parametrize(("valid", "expected"), [(None, 2.0), (torch.zeros(2, dtype=torch.bool), 0.0)])
def test_mean_over_valid_without_a_mask_or_without_a_place(valid, expected):
    assert mean_over_valid(torch.tensor([1.0, 3.0]), valid) == expected
