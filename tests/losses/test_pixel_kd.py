import math

import pytest
import torch

from segstill.losses import pixel_kd

from .golden import assert_close_to_golden, every_source, read

REDUCTIONS = {
    "pixel_mean.T1": {"temperature": 1.0},
    "pixel_mean.T4": {"temperature": 4.0},
    "element_mean": {"variant": "published"},
}


@every_source
@pytest.mark.parametrize("case", ["small", "voc"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_value_and_gradient_equal_those_of_the_published_codes(source, case, reduction):
    golden = read(source, "kd_pixel")
    student = golden[f"{case}.student_logits"].requires_grad_()
    value = pixel_kd(student, golden[f"{case}.teacher_logits"], **REDUCTIONS[reduction])
    value.backward()
    assert_close_to_golden(value.detach(), golden[f"{case}.{reduction}.value"])
    if f"{case}.{reduction}.grad" in golden:
        assert_close_to_golden(student.grad, golden[f"{case}.{reduction}.grad"])


@every_source
def test_published_variant_equals_the_pixel_term_of_aicsd(source):
    golden = read(source, "aicsd_published")
    value = pixel_kd(golden["small.student_logits"], golden["small.teacher_logits"], variant="published")
    assert_close_to_golden(value, golden["small.pixel_kd.value"])


def test_value_worked_out_by_hand():
    """Teacher (1/2, 1/2), student (1/4, 3/4): KL = 1/2 log 2 + 1/2 log 2/3 = 1/2 log 4/3."""
    student, teacher = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    assert float(pixel_kd(student, teacher)) == pytest.approx(0.5 * math.log(4 / 3))
    assert float(pixel_kd(2 * student, teacher, temperature=2)) == pytest.approx(4 * 0.5 * math.log(4 / 3))
    assert float(pixel_kd(student, teacher, variant="published")) == pytest.approx(0.25 * math.log(4 / 3))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_agrees_with_a_loop_over_pixels(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 4, 3, 5, dtype=torch.float64)
    valid = torch.rand(2, 3, 5) > 0.3
    divergences = []
    for n, y, x in valid.nonzero().tolist():
        p, q = ((z[n, :, y, x] / temperature).exp() for z in (teacher, student))
        p, q = p / p.sum(), q / q.sum()
        divergences.append(sum(p[k] * (p[k].log() - q[k].log()) for k in range(4)))
    expected = temperature**2 * torch.stack(divergences).mean()
    torch.testing.assert_close(pixel_kd(student, teacher, temperature=temperature, valid=valid), expected)


def test_is_zero_for_equal_logits_and_blind_to_a_constant_at_every_pixel():
    student = torch.randn(2, 5, 4, 4)
    assert pixel_kd(student, student, temperature=3) == 0
    torch.testing.assert_close(
        pixel_kd(student + torch.randn(2, 1, 4, 4), student), torch.tensor(0.0), atol=1e-6, rtol=0
    )
