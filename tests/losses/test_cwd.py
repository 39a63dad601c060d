"""Channel-wise distillation: values by hand, against a loop, and as published."""

import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import CWD, CWDFeature, cwd, cwd_feature

from .golden import assert_close_to_golden, every_source, read


@every_source
@pytest.mark.parametrize("case", ["small", "voc"])
@pytest.mark.parametrize(
    ("form", "temperature", "weight"), [("cirkd_T4", 4, 1), ("mmrazor_T4", 4, 1), ("mmrazor_T1_w5", 1, 5)]
)
def test_matches_the_published_numbers_on_logits(source, case, form, temperature, weight):
    g = read(source, "cwd")
    student = g[f"{case}.student_logits"].requires_grad_()
    value = weight * cwd(student, g[f"{case}.teacher_logits"], temperature=temperature, variant="published")
    value.backward()
    assert_close_to_golden(value, g[f"{case}.{form}.value"])
    assert_close_to_golden(student.grad, g[f"{case}.{form}.grad"])


def test_matches_the_published_numbers_on_features():
    g = read("excerpt", "cwd")
    student, weight = g["feature.student_feature"].requires_grad_(), g["feature.conv_weight"].requires_grad_()
    connected = F.conv2d(student, weight)
    value = cwd_feature(connected, g["feature.teacher_feature"], student_channels=6, variant="published")
    value.backward()
    assert_close_to_golden(value, g["feature.cirkd_T4.value"])
    assert_close_to_golden(student.grad, g["feature.cirkd_T4.grad"])
    assert_close_to_golden(weight.grad, g["feature.cirkd_T4.grad_conv_weight"])


def test_the_class_divides_by_the_channels_before_the_connector_when_published():
    g = read("excerpt", "cwd")
    loss = CWDFeature({"encoder": (6, 10)}, variant="published")
    loss.connectors["encoder"].weight.data = g["feature.conv_weight"]
    value = loss({"encoder": g["feature.student_feature"]}, {"encoder": g["feature.teacher_feature"]}, {})
    assert_close_to_golden(value, g["feature.cirkd_T4.value"])


def test_values_worked_out_by_hand():
    """Over two positions the teacher has (1/2, 1/2), the student (1/4, 3/4): KL = 1/2 log 4/3.

    With the sigmoid, logits 0 and 0 are 1/2 and 1/2, again (1/2, 1/2), and -log 3 and log 3 are 1/4 and 3/4.
    """
    teacher, student = torch.zeros(1, 1, 1, 2), torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)
    expected = 0.5 * math.log(4 / 3)
    assert float(cwd(student, teacher, temperature=1)) == pytest.approx(expected)
    assert float(cwd(4 * student, teacher)) == pytest.approx(16 * expected)
    signed = torch.tensor([-math.log(3), math.log(3)]).view(1, 1, 1, 2)
    assert float(cwd(signed, teacher, temperature=1, activation="sigmoid")) == pytest.approx(expected)
    assert float(cwd_feature(student, teacher, temperature=1)) == pytest.approx(expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_agrees_with_a_loop_over_channels(activation):
    torch.manual_seed(0)
    student, teacher = 2 * torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    valid = torch.rand(2, 4, 5) > 0.3
    divergences = []
    for n in range(2):
        for c in range(3):
            p, q = (z[n, c][valid[n]] / 2.5 for z in (teacher, student))
            p, q = (z.exp() if activation == "softmax" else 1 / (1 + (-z).exp()) for z in (p, q))
            p, q = p / p.sum(), q / q.sum()
            divergences.append((p * (p.log() - q.log())).sum())
    value = cwd(student, teacher, temperature=2.5, activation=activation, valid=valid)
    torch.testing.assert_close(value, 2.5**2 * torch.stack(divergences).mean())


def test_is_zero_for_equal_maps_and_blind_to_a_constant_per_channel():
    torch.manual_seed(0)
    student = torch.randn(2, 3, 5, 4)
    assert cwd(student, student) == 0
    assert cwd(student, student, activation="sigmoid") == 0
    shifted = cwd(student + torch.randn(2, 3, 1, 1), student)
    torch.testing.assert_close(shifted, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_logits_that_spread_far_stay_finite():
    """The logarithm of a softmax is -inf beyond a spread of about 103 T in single precision."""
    student = (1e4 * torch.randn(1, 2, 4, 4)).requires_grad_()
    for activation in ("softmax", "sigmoid"):
        value = cwd(student, torch.randn(1, 2, 4, 4), activation=activation)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"activation is 'tanh', expected one of \('softmax', 'sigmoid'\)"):
        CWD({}, activation="tanh")
