"""Distillation of yes-or-no probabilities: a value by hand, against a loop, and beside the softmax form."""

import math

import pytest
import torch

from segstill.losses import pixel_kd, sigmoid_kd


def test_a_value_worked_out_by_hand():
    """Teacher 1/2, student 3/4: KL = 1/2 log 2/3 + 1/2 log 2 = 1/2 log 4/3."""
    student, teacher = torch.tensor(math.log(3)).view(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    expected = 0.5 * math.log(4 / 3)
    assert float(sigmoid_kd(student, teacher)) == pytest.approx(expected)
    assert float(sigmoid_kd(2 * student, teacher, temperature=2)) == pytest.approx(4 * expected)
    assert float(sigmoid_kd(student, teacher, variant="published")) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_agrees_with_a_loop_over_pixels_and_classes(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    valid = torch.rand(2, 4, 5) > 0.3
    divergences = []
    for n, y, x in valid.nonzero().tolist():
        for k in range(3):
            p, q = (1 / (1 + (-z[n, k, y, x] / temperature).exp()) for z in (teacher, student))
            divergences.append(p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log())
    value = sigmoid_kd(student, teacher, temperature=temperature, valid=valid)
    torch.testing.assert_close(value, temperature**2 * torch.stack(divergences).mean())


def test_a_single_class_equals_the_softmax_of_two():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 1, 4, 5)
    zero = torch.zeros(2, 1, 4, 5)
    two = pixel_kd(torch.cat([zero, student], dim=1), torch.cat([zero, teacher], dim=1))
    torch.testing.assert_close(sigmoid_kd(student, teacher), two)


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_logits_of_any_size_give_finite_values_and_gradients(scale):
    student = (scale * torch.randn(1, 2, 4, 4)).requires_grad_()
    value = sigmoid_kd(student, scale * torch.randn(1, 2, 4, 4))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert sigmoid_kd(student, student) == 0
