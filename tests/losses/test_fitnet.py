"""FitNet: values by hand, against a loop, and as published."""

import pytest
import torch

from segstill.losses import fitnet

from .golden import assert_close_to_golden, read


def test_a_value_worked_out_by_hand():
    """(1 - 3)^2 = 4 and (2 - 2)^2 = 0: the mean is 2."""
    student, teacher = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.tensor([3.0, 2.0]).view(1, 2, 1, 1)
    assert float(fitnet(student, teacher)) == 2


def test_equal_features_give_zero_and_upsampling_changes_nothing():
    student, teacher = torch.randn(2, 2, 3, 5, 7).unbind()
    assert float(fitnet(student, student)) == 0
    bigger = [feature.repeat_interleave(2, 2).repeat_interleave(3, 3) for feature in (student, teacher)]
    torch.testing.assert_close(fitnet(*bigger), fitnet(student, teacher))


def test_matches_the_published_numbers():
    g = read("excerpt", "fitnet")
    student, weight = g["student_feature"].requires_grad_(), g["conv_weight"].requires_grad_()
    value = fitnet(torch.nn.functional.conv2d(student, weight), g["teacher_feature"], variant="published")
    value.backward()
    prefix = next(name[: -len("value")] for name in g if name.endswith("value"))
    assert_close_to_golden(value, g[f"{prefix}value"])
    assert_close_to_golden(student.grad, g[f"{prefix}grad"])
    assert_close_to_golden(weight.grad, g[f"{prefix}grad_conv_weight"])


def test_features_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="map channels by a connector"):
        fitnet(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 3, 3))
