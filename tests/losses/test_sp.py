"""Similarity preserving: a value by hand, against a loop, and in the paper's own scale."""

import pytest
import torch

from segstill.losses import sp


def test_a_value_worked_out_by_hand():
    """Student images (1, 0) and (0, 1): rows (1, 0), (0, 1).  Teacher images alike: rows (1, 1) / sqrt 2 both.

    Each row is at a squared distance of 2 - sqrt 2; the paper's sum over 2 rows / 2^2 is half of it.
    """
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 2, 1, 1)
    teacher = torch.tensor([[2.0, 0.0], [2.0, 0.0]]).view(2, 2, 1, 1)
    assert float(sp(student, teacher)) == pytest.approx(2 - 2**0.5)
    assert float(sp(student, teacher, variant="published")) == pytest.approx((2 - 2**0.5) / 2)


def test_agrees_with_a_double_loop_over_images():
    torch.manual_seed(0)
    student, teacher = (torch.randn(3, c, 2, 4, dtype=torch.float64) for c in (3, 5))
    valid = torch.rand(3, 2, 4) > 0.3
    rows = []
    for feature in (student, teacher):
        matrix = torch.zeros(3, 3, dtype=torch.float64)
        for i in range(3):
            for j in range(3):
                matrix[i, j] = (feature[i] * feature[j])[:, valid[i] & valid[j]].sum()
        rows.append(matrix / matrix.norm(dim=1, keepdim=True))
    expected = (rows[0] - rows[1]).square().sum(dim=1).mean()
    torch.testing.assert_close(sp(student, teacher, valid=valid), expected)


def test_the_published_form_is_the_frobenius_norm_over_the_square_of_the_batch():
    torch.manual_seed(0)
    student, teacher = (torch.randn(4, c, 2, 3, dtype=torch.float64) for c in (3, 5))
    rows = [f.flatten(1) @ f.flatten(1).T for f in (student, teacher)]
    rows = [g / g.norm(dim=1, keepdim=True) for g in rows]
    expected = torch.linalg.matrix_norm(rows[0] - rows[1]).square() / 16
    torch.testing.assert_close(sp(student, teacher, variant="published"), expected)
    torch.testing.assert_close(sp(student, teacher), 4 * expected)


def test_is_zero_for_equal_features_and_says_nothing_about_a_single_image():
    feature = torch.randn(3, 4, 3, 3)
    assert sp(feature, feature) == 0
    alone = torch.randn(1, 4, 3, 3, requires_grad=True)
    value = sp(alone, feature[:1])
    value.backward()
    assert value == 0
    torch.testing.assert_close(alone.grad, torch.zeros_like(alone))
