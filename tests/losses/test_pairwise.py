"""Pair-wise distillation: a value by hand, against a loop, and as published by two codes."""

import pytest
import torch

from segstill.losses import Pairwise, pairwise

from .golden import assert_close_to_golden, read

FORMS = {
    "cirkd_2x2": {},
    "original.scale0.5": {"cell": (8, 11), "detach_norm": True},
    "original.scale0.25": {"cell": (4, 5), "detach_norm": True},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", ["published", "paper"])  # without a mask they are one formula
def test_matches_the_published_numbers(form, variant):
    g = read("excerpt", "skd_pairwise")
    student = g["student_feature"].requires_grad_()
    value = pairwise(student, g["teacher_feature"], **FORMS[form], variant=variant)
    value.backward()
    assert_close_to_golden(value, g[f"{form}.value"])
    assert_close_to_golden(student.grad, g[f"{form}.grad"])


def test_matches_the_pairwise_term_of_aicsd():
    g = read("complete", "aicsd_published")
    student, cell = g["pairwise.student_feature"].requires_grad_(), (16, 16)
    value = pairwise(student, g["pairwise.teacher_feature"], cell=cell, detach_norm=True, variant="published")
    value.backward()
    assert_close_to_golden(value, g["pairwise.value"])
    assert_close_to_golden(student.grad, g["pairwise.grad"])


def test_a_value_worked_out_by_hand():
    """Two nodes; the student's are at a right angle, the teacher's alike: two of four pairs differ, by 1."""
    student = torch.tensor([[1.0, 0.0], [0.0, 5.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[1.0, 2.0]]).view(1, 1, 1, 2)
    assert float(pairwise(student, teacher, cell=(1, 1))) == pytest.approx(0.5)


@pytest.mark.parametrize("cell", [(1, 1), (2, 2), (2, 3), (5, 7)])
def test_agrees_with_a_loop_over_nodes(cell):
    torch.manual_seed(0)
    student, teacher = (torch.randn(2, c, 5, 7, dtype=torch.float64) for c in (3, 4))
    valid = torch.rand(2, 5, 7) > 0.6
    valid[:, :2, :3] = False  # whole cells are left out
    means = []
    for n in range(2):
        matrices = []
        for feature in (student, teacher):
            nodes = []
            for top in range(0, 5, cell[0]):
                for left in range(0, 7, cell[1]):
                    part = (slice(top, top + cell[0]), slice(left, left + cell[1]))
                    inside = feature[n][:, *part][:, valid[n][part]]
                    if inside.shape[1]:
                        node = inside.amax(dim=1)
                        nodes.append(node / node.norm())
            matrices.append(torch.stack([torch.stack([a @ b for a in nodes]) for b in nodes]))
        means.append((matrices[0] - matrices[1]).square().mean())
    torch.testing.assert_close(pairwise(student, teacher, cell=cell, valid=valid), torch.stack(means).mean())


@pytest.mark.parametrize("scale", [2, 3])
def test_upsampling_changes_nothing_if_the_cell_grows_with_it(scale):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 4)
    bigger = [f.repeat_interleave(scale, 2).repeat_interleave(scale, 3) for f in (student, teacher)]
    torch.testing.assert_close(pairwise(*bigger, cell=(2 * scale, 2 * scale)), pairwise(student, teacher))


def test_is_zero_for_equal_directions_and_a_silent_student_stays_finite():
    torch.manual_seed(0)
    feature = torch.randn(2, 4, 4, 4)
    assert pairwise(feature, feature) < 1e-12
    assert pairwise(3 * feature, feature) < 1e-12
    silent = torch.zeros(2, 4, 4, 4, requires_grad=True)
    value = pairwise(silent, feature)
    value.backward()
    assert value.isfinite()
    assert silent.grad.isfinite().all()


def test_a_constant_norm_changes_the_gradient_and_not_the_value():
    torch.manual_seed(0)
    feature, teacher = torch.randn(2, 2, 3, 4, 4)
    results = []
    for detach_norm in (False, True):
        student = feature.clone().requires_grad_()
        value = pairwise(student, teacher, detach_norm=detach_norm)
        value.backward()
        results.append((value.detach(), student.grad))
    torch.testing.assert_close(results[0][0], results[1][0])
    assert float((results[0][1] - results[1][1]).abs().max()) > 0.1 * float(results[0][1].abs().max())


def test_a_cell_without_extent_is_refused():
    with pytest.raises(ValueError, match=r"cell is \(0, 2\), expected a height and a width of 1 or more"):
        Pairwise({"encoder": (3, 3)}, cell=(0, 2))
