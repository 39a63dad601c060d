"""Standardised logits: a value by hand, against a loop, and as published."""

import math

import pytest
import torch

from segstill.losses import logit_std, pixel_kd

from .golden import assert_close_to_golden, every_source, read


@every_source
@pytest.mark.parametrize("case", ["small", "voc"])
@pytest.mark.parametrize("temperature", [2, 4])
@pytest.mark.parametrize(("function", "form"), [(logit_std, "standardised"), (pixel_kd, "plain")])
def test_matches_the_published_numbers(source, case, temperature, function, form):
    g = read(source, "logit_standardization")
    student = g[f"{case}.student_logits"].requires_grad_()
    published = {"variant": "published"} if function is logit_std else {}
    value = function(student, g[f"{case}.teacher_logits"], temperature=temperature, **published)
    value.backward()
    assert_close_to_golden(value, g[f"{case}.{form}.T{temperature}.value"])
    assert_close_to_golden(student.grad, g[f"{case}.{form}.T{temperature}.grad"])


def test_a_value_worked_out_by_hand():
    """With two classes the standardised logits are 1/sqrt 2 and -1/sqrt 2, whatever they were: only the order counts.

    At T = sqrt 2 they are 1/2 and -1/2, with probabilities p = e / (e + 1) and 1 - p.  For the opposite order,
    KL = (2p - 1) log(p / (1 - p)) = 2p - 1, times T^2 = 2.
    """
    student, teacher = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1), torch.tensor([0.0, 9.0]).view(1, 2, 1, 1)
    p = math.e / (math.e + 1)
    value = logit_std(student, teacher, temperature=math.sqrt(2))
    assert float(value) == pytest.approx(2 * (2 * p - 1), rel=1e-5)


def test_agrees_with_a_loop_over_pixels():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    valid = torch.rand(2, 3, 4) > 0.3
    divergences = []
    for n, y, x in valid.nonzero().tolist():
        z = [logits[n, :, y, x] for logits in (teacher, student)]
        z = [(one - one.mean()) / (1e-7 + (one - one.mean()).square().sum().div(4).sqrt()) for one in z]
        p, q = ((one / 2).exp() / (one / 2).exp().sum() for one in z)
        divergences.append((p * (p.log() - q.log())).sum())
    torch.testing.assert_close(logit_std(student, teacher, valid=valid), 4 * torch.stack(divergences).mean())


def test_is_blind_to_a_factor_and_a_constant_at_every_pixel():
    torch.manual_seed(0)
    teacher = torch.randn(2, 5, 4, 4)
    student = (0.5 + torch.rand(2, 1, 4, 4)) * teacher + torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(logit_std(student, teacher), torch.tensor(0.0), atol=1e-5, rtol=0)
    assert logit_std(teacher, teacher) == 0


def test_pixels_at_which_all_classes_score_alike_stay_finite():
    student = torch.zeros(1, 4, 2, 2, requires_grad=True)
    value = logit_std(student, torch.randn(1, 4, 2, 2))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
