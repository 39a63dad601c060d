"""DIST: values by hand, against a loop, and as published."""

import math

import pytest
import torch

from segstill.losses import dist
from segstill.losses.dist import LEAST_VARIANCE

from .golden import assert_close_to_golden, every_source, read

PARTS = {
    "inter": {"gamma": 0.0},
    "intra": {"beta": 0.0},
    "total": {},
    "beta2_gamma05": {"beta": 2.0, "gamma": 0.5},
}


@every_source
@pytest.mark.parametrize("case", ["small", "voc"])
@pytest.mark.parametrize("part", PARTS)
def test_matches_the_published_numbers(source, case, part):
    g = read(source, "dist")
    student = g[f"{case}.student_logits"].requires_grad_()
    value = dist(student, g[f"{case}.teacher_logits"], **PARTS[part], variant="published")
    value.backward()
    assert_close_to_golden(value, g[f"{case}.{part}.value"])
    assert_close_to_golden(student.grad, g[f"{case}.{part}.grad"])


@pytest.mark.parametrize("part", PARTS)
def test_without_a_mask_a_single_image_is_as_published(part):
    g = read("excerpt", "dist")
    value = dist(g["voc.student_logits"], g["voc.teacher_logits"], **PARTS[part])
    assert_close_to_golden(value, g[f"voc.{part}.value"])


def test_values_worked_out_by_hand():
    """Two classes, so that a pixel's probabilities are p and 1 - p and correlate by +1 or -1 over the classes.

    Three pixels: the student finds class 0 with 3/4, 3/4, 1/4, the teacher with 3/4, 1/4, 1/4.  Over classes:
    1, -1, 1, so that inter = 2/3.  Over pixels, both less their means (2, 2, -4)/24 * 2 and (4, -2, -2)/24 * 2: the
    correlation is (8 - 4 + 8) / 24 = 1/2 for either class, so that intra = 1/2.
    """
    student, teacher = torch.zeros(1, 2, 1, 3), torch.zeros(1, 2, 1, 3)
    student[0, 0, 0] = math.log(3) * torch.tensor([1, 1, -1])
    teacher[0, 0, 0] = math.log(3) * torch.tensor([1, -1, -1])
    assert float(dist(student, teacher, gamma=0)) == pytest.approx(2 / 3)
    assert float(dist(student, teacher, beta=0)) == pytest.approx(1 / 2)
    assert float(dist(2 * student, 2 * teacher, temperature=2)) == pytest.approx(4 * (2 / 3 + 1 / 2))


def correlation(x, y):
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.norm() * y.norm())


def test_agrees_with_a_loop_over_pixels_and_classes():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 3, 5, dtype=torch.float64)
    valid = torch.rand(3, 3, 5) > 0.4
    valid[2] = False
    images = []
    for n in range(2):
        p, q = ((z[n].movedim(0, -1)[valid[n]] / 1.5).softmax(dim=1) for z in (student, teacher))
        inter = torch.stack([1 - correlation(p[i], q[i]) for i in range(len(p))]).mean()
        intra = torch.stack([1 - correlation(p[:, k], q[:, k]) for k in range(4)]).mean()
        images.append(2 * inter + 0.5 * intra)
    value = dist(student, teacher, temperature=1.5, beta=2, gamma=0.5, valid=valid)
    torch.testing.assert_close(value, 1.5**2 * torch.stack(images).mean())


@pytest.mark.parametrize("classes", [2, 21, 150])
def test_is_zero_for_equal_logits_even_where_classes_are_absent(classes):
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 8, 8)
    logits[:, 1:] -= 30  # all but one class: probability nearly 0 at all pixels
    torch.testing.assert_close(dist(logits, logits), torch.tensor(0.0), atol=1e-5, rtol=0)


def test_classes_that_the_teacher_gives_no_spread_are_left_out():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 4, 5, 5)
    absent = torch.full((1, 1, 5, 5), -40.0)
    two, one = (torch.cat([z, absent], dim=1) for z in (student, teacher))
    torch.testing.assert_close(dist(two, one, beta=0), dist(student, teacher, beta=0))
    assert float(one.softmax(dim=1)[:, -1].var()) < LEAST_VARIANCE


def test_a_student_that_tells_nothing_apart_has_a_finite_gradient():
    student = torch.zeros(1, 3, 4, 4, requires_grad=True)
    value = dist(student, torch.randn(1, 3, 4, 4))
    value.backward()
    assert float(value.detach()) == pytest.approx(2)
    assert student.grad.isfinite().all()
    assert student.grad.any()
