"""Plain feature distillation: values by hand and against a loop."""

import pytest
import torch

from segstill.losses import feature_kd


def test_a_value_worked_out_by_hand():
    """(3, 4) / 5 against (1, 0): 0.4^2 + 0.8^2 = 0.8; opposite directions: 4; the mean is 2.4."""
    student = torch.tensor([[3.0, 1.0], [4.0, 0.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[7.0, -5.0], [0.0, 0.0]]).view(1, 2, 1, 2)
    assert float(feature_kd(student, teacher)) == pytest.approx(2.4)
    first = torch.tensor([[[True, False]]])
    assert float(feature_kd(student, teacher, valid=first)) == pytest.approx(0.8)


def test_agrees_with_a_loop_over_cells():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 4, 3, 5, dtype=torch.float64)
    valid = torch.rand(2, 3, 5) > 0.3
    distances = []
    for n, y, x in valid.nonzero().tolist():
        s, t = student[n, :, y, x], teacher[n, :, y, x]
        distances.append((s / s.norm() - t / t.norm()).square().sum())
    torch.testing.assert_close(feature_kd(student, teacher, valid=valid), torch.stack(distances).mean())


def test_is_blind_to_the_length_of_a_vector_and_to_upsampling():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 7).unbind()
    lengths = torch.rand(2, 1, 5, 7) + 0.1
    torch.testing.assert_close(feature_kd(lengths * student, student), torch.tensor(0.0), atol=1e-6, rtol=0)
    assert feature_kd(student, student) == 0
    bigger = [feature.repeat_interleave(2, 2).repeat_interleave(3, 3) for feature in (student, teacher)]
    torch.testing.assert_close(feature_kd(*bigger), feature_kd(student, teacher))


def test_a_cell_without_any_activity_counts_and_has_a_finite_gradient():
    student = torch.zeros(1, 3, 2, 2, requires_grad=True)
    value = feature_kd(student, torch.ones(1, 3, 2, 2))
    value.backward()
    assert float(value.detach()) == pytest.approx(1)
    assert student.grad.isfinite().all()


def test_features_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="map channels by a connector"):
        feature_kd(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 3, 3))
