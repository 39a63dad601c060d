"""Attention transfer: a value by hand, against a loop, and as published."""

import pytest
import torch

from segstill.losses import at

from .golden import assert_close_to_golden, read


def test_matches_the_published_numbers():
    g = read("excerpt", "at")
    student = g["student_feature"].requires_grad_()
    value = at(student, g["teacher_feature"], variant="published")
    value.backward()
    assert_close_to_golden(value, g["value"])
    assert_close_to_golden(student.grad, g["grad"])


def test_the_published_value_is_smaller_by_the_number_of_cells():
    g = read("excerpt", "at")
    assert_close_to_golden(at(g["student_feature"], g["teacher_feature"]) / (17 * 23), g["value"])


def test_a_value_worked_out_by_hand():
    """Two cells.  The student's squares average to (1, 0), the teacher's to (3, 4), which is (0.6, 0.8) at length 1.

    (1 - 0.6)^2 + 0.8^2 = 0.8 = 2 - 2 * 0.6.
    """
    student = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([3.0, 4.0]).sqrt().view(1, 1, 1, 2)
    assert float(at(student, teacher)) == pytest.approx(0.8)
    assert float(at(student, teacher, variant="published")) == pytest.approx(0.4)


def test_agrees_with_a_loop_over_cells():
    torch.manual_seed(0)
    student, teacher = (torch.randn(2, c, 3, 4, dtype=torch.float64) for c in (3, 5))
    valid = torch.rand(2, 3, 4) > 0.3
    distances = []
    for n in range(2):
        vectors = []
        for feature in (student, teacher):
            cells = [feature[n, :, y, x].square().mean() for y, x in valid[n].nonzero().tolist()]
            vectors.append(torch.stack(cells) / torch.stack(cells).norm())
        distances.append((vectors[0] - vectors[1]).square().sum())
    torch.testing.assert_close(at(student, teacher, valid=valid), torch.stack(distances).mean())


def test_is_zero_for_equal_attention_and_a_silent_student_stays_finite():
    feature = torch.randn(2, 4, 3, 3)
    assert at(feature, feature) == 0
    torch.testing.assert_close(at(-5 * feature, feature), torch.tensor(0.0), atol=1e-6, rtol=0)
    silent = torch.zeros(2, 4, 3, 3, requires_grad=True)
    value = at(silent, feature)
    value.backward()
    assert float(value.detach()) == pytest.approx(1)
    assert not silent.grad.any()
