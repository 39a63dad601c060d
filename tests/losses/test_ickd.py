"""Inter-channel correlation: a value by hand, against a loop, and as published."""

import pytest
import torch

from segstill.losses import ickd

from .golden import assert_close_to_golden, read


@pytest.mark.parametrize(("source", "case"), [("excerpt", "small"), ("complete", "small"), ("complete", "batch3")])
def test_matches_the_published_numbers(source, case):
    g = read(source, "aicsd_published")
    student = g[f"{case}.student_logits"].requires_grad_()
    value = ickd(student, g[f"{case}.teacher_logits"], variant="published")
    value.backward()
    assert_close_to_golden(value, g[f"{case}.ickd.value"])
    assert_close_to_golden(student.grad, g[f"{case}.ickd.grad"])


def test_a_value_worked_out_by_hand():
    """Student maps (1, 0) and (0, 1): rows (1, 0), (0, 1).  Teacher maps (1, 0) and (1, 0): rows (1, 1) / sqrt 2 both.

    Each row is at a squared distance of 2 - 2 / sqrt 2.
    """
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 2, 1, 2)
    assert float(ickd(student, teacher)) == pytest.approx(2 - 2**0.5)


def test_agrees_with_a_double_loop_over_classes():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 4, 3, 5, dtype=torch.float64)
    valid = torch.rand(2, 3, 5) > 0.3
    distances = []
    for n in range(2):
        rows = []
        for logits in (student, teacher):
            matrix = torch.zeros(4, 4, dtype=torch.float64)
            for i in range(4):
                for j in range(4):
                    matrix[i, j] = (logits[n, i][valid[n]] * logits[n, j][valid[n]]).sum()
            rows.append(matrix / matrix.norm(dim=1, keepdim=True))
        distances.append((rows[0] - rows[1]).square().sum(dim=1).mean())
    torch.testing.assert_close(ickd(student, teacher, valid=valid), torch.stack(distances).mean())


def test_is_zero_for_equal_logits_and_blind_to_their_scale():
    student = torch.randn(2, 5, 4, 4)
    assert ickd(student, student) == 0
    torch.testing.assert_close(ickd(3 * student, student), torch.tensor(0.0), atol=1e-6, rtol=0)
