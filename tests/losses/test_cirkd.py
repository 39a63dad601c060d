"""CIRKD within a batch: values by hand, against a loop, as published, and in blocks."""

import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import CIRKD, cirkd, cirkd_minibatch

from .golden import assert_close_to_golden, every_source, read


def test_a_value_worked_out_by_hand():
    """Two cells at right angles for the student, in one direction for the teacher; T = 1.

    A row of the student is softmax(1, 0), one of the teacher (1/2, 1/2): KL = log(1 + e) - 1/2 - log 2.
    """
    student, teacher = torch.eye(2).view(1, 2, 1, 2), torch.ones(1, 3, 1, 2)
    expected = math.log(1 + math.e) - 0.5 - math.log(2)
    assert float(cirkd_minibatch(student, teacher, temperature=1)) == pytest.approx(expected)
    assert float(cirkd_minibatch(5 * student, 7 * teacher, temperature=1)) == pytest.approx(expected)


def literal(student, teacher, valid, temperature):
    """Mean over pairs of images and over the cells of the first, one cell at a time."""
    pairs = []
    images = [n for n in range(len(student)) if valid[n].any()]
    for i in images:
        for j in images:
            values = []
            for y, x in valid[i].nonzero().tolist():
                p, q = (
                    F.softmax(
                        F.normalize(f[j][:, valid[j]], dim=0).T @ F.normalize(f[i, :, y, x], dim=0) / temperature, 0
                    )
                    for f in (teacher, student)
                )
                values.append((p * (p.log() - q.log())).sum())
            pairs.append(torch.stack(values).mean())
    return torch.stack(pairs).mean()


@pytest.mark.parametrize("block", [1, 50, 2**21])
def test_agrees_with_a_loop_over_cells_in_value_and_gradient_whatever_the_block(block, monkeypatch):
    monkeypatch.setattr(cirkd, "BLOCK", block)
    torch.manual_seed(0)
    student, teacher = (torch.randn(3, channels, 3, 4, dtype=torch.float64) for channels in (4, 6))
    valid = torch.rand(3, 3, 4) > 0.3
    valid[1] = False
    results = []
    for function in (cirkd_minibatch, literal):
        leaf = student.clone().requires_grad_()
        value = function(leaf, teacher, valid=valid, temperature=0.3)
        value.backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(*results)


@every_source
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_value_and_gradient_equal_those_of_the_published_code(source, temperature):
    g = read(source, "cirkd_minibatch")
    student = g["student_feature"].requires_grad_()
    value = cirkd_minibatch(student, g["teacher_feature"], temperature=temperature, variant="published")
    value.backward()
    assert_close_to_golden(value, g[f"T{temperature}.value"])
    assert_close_to_golden(student.grad, g[f"T{temperature}.grad"])


def test_equal_features_give_zero_and_neither_repetition_nor_upsampling_changes_anything():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5)
    assert cirkd_minibatch(student, student) == 0
    value = cirkd_minibatch(student, teacher)
    bigger = [feature.repeat_interleave(2, 2).repeat_interleave(3, 3) for feature in (student, teacher)]
    torch.testing.assert_close(cirkd_minibatch(*bigger), value)
    torch.testing.assert_close(cirkd_minibatch(student.repeat(3, 1, 1, 1), teacher.repeat(3, 1, 1, 1)), value)


def test_pooling_averages_the_valid_cells_of_a_window():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64)
    valid = torch.rand(2, 5, 4) > 0.4
    valid[0, :2, :2] = False
    pooled = []
    for feature in (student, teacher):
        windows = torch.zeros(2, 3, 3, 2, dtype=torch.float64)
        for n in range(2):
            for y in range(3):
                for x in range(2):
                    window = (slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
                    cells = feature[n, :, *window][:, valid[n][window]]
                    windows[n, :, y, x] = cells.mean(dim=1) if cells.shape[1] else 0
        pooled.append(windows)
    found = F.max_pool2d(valid.double(), 2, ceil_mode=True) > 0
    torch.testing.assert_close(
        cirkd_minibatch(student, teacher, pool=2, valid=valid), cirkd_minibatch(*pooled, valid=found)
    )
    full = torch.ones_like(valid)
    torch.testing.assert_close(
        cirkd_minibatch(student, teacher, pool=2, valid=full), cirkd_minibatch(student, teacher, pool=2)
    )


def test_a_second_derivative_raises_instead_of_being_wrong():
    student = torch.randn(1, 2, 2, 2, requires_grad=True)
    value = cirkd_minibatch(student, torch.randn(1, 2, 2, 2))
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(value, student, create_graph=True)


def test_what_does_not_fit_is_refused():
    feature = torch.zeros(1, 2, 3, 3)
    with pytest.raises(ValueError, match="resize the student's first"):
        cirkd_minibatch(feature, torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match="temperature is 0"):
        CIRKD({"decoder": (4, 4)}, temperature=0)
    with pytest.raises(ValueError, match="pool is 0, expected at least 1 cell"):
        CIRKD({"decoder": (4, 4)}, pool=0)
