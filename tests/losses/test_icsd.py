import importlib
import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import icsd, inter_class_similarity
from segstill.losses.icsd import TEACHER_FLOOR

from .golden import assert_close_to_golden, read


@pytest.mark.parametrize(("source", "case"), [("excerpt", "small"), ("complete", "small"), ("complete", "batch3")])
def test_published_variant_equals_the_published_code(source, case):
    golden = read(source, "aicsd_published")
    student = golden[f"{case}.student_logits"].requires_grad_()
    value = icsd(student, golden[f"{case}.teacher_logits"], variant="published")
    value.backward()
    assert_close_to_golden(value.detach(), golden[f"{case}.icsd.value"])
    assert_close_to_golden(student.grad, golden[f"{case}.icsd.grad"])


def test_similarity_worked_out_by_hand():
    """Over two positions p_0 = (1/2, 1/2) and p_1 = (1/4, 3/4).

    KL(p_0 || p_1) = 1/2 log 2 + 1/2 log 2/3 = 1/2 log 4/3;  KL(p_1 || p_0) = 1/4 log 1/2 + 3/4 log 3/2.
    """
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3)]]]])
    forth, back = 0.5 * math.log(4 / 3), 0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2)
    torch.testing.assert_close(inter_class_similarity(logits), torch.tensor([[[0.0, forth], [back, 0.0]]]))


def test_value_worked_out_by_hand():
    """A student that tells no classes apart is wrong by the teacher's whole matrix: 1, but for the floor."""
    teacher = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3)]]]])
    size = (0.5 * math.log(4 / 3)) ** 2 + (0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2)) ** 2
    expected = size / (size + TEACHER_FLOOR)
    assert float(icsd(torch.zeros(1, 2, 1, 2), teacher)) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_a_double_loop_over_classes(temperature, masked):
    torch.manual_seed(0)
    student, teacher = 2 * torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    valid = torch.rand(3, 5, 6) > 0.4 if masked else torch.ones(3, 5, 6, dtype=torch.bool)
    errors = []
    for n in range(3):
        matrices = []
        for logits in (student[n], teacher[n]):
            p = [F.softmax(class_map[valid[n]] / temperature, dim=0) for class_map in logits]
            matrix = [[(p[i] * (p[i].log() - p[j].log())).sum() for j in range(4)] for i in range(4)]
            matrices.append(torch.stack([torch.stack(row) for row in matrix]))
        errors.append((matrices[0] - matrices[1]).square().sum() / (matrices[1].square().sum() + TEACHER_FLOOR))
    value = icsd(student, teacher, temperature=temperature, valid=valid if masked else None)
    torch.testing.assert_close(value, torch.stack(errors).mean())


def test_gradient_agrees_with_that_of_plain_operations():
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, 5, 6, 7, dtype=torch.float64)).requires_grad_()
    weights = torch.randn(2, 5, 5, dtype=torch.float64)
    log_p = F.log_softmax(logits.flatten(2) / 2, dim=2)
    cross = torch.einsum("nix,njx->nij", log_p.exp(), log_p)
    plain = cross.diagonal(dim1=1, dim2=2).unsqueeze(2) - cross
    (expected,) = torch.autograd.grad((plain * weights).sum(), logits)
    ours = inter_class_similarity(logits, temperature=2)
    (actual,) = torch.autograd.grad((ours * weights).sum(), logits)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("masked", [False, True])
def test_the_size_of_the_blocks_changes_nothing(masked, monkeypatch):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 7, dtype=torch.float64)
    valid = torch.rand(2, 5, 7) > 0.5 if masked else None
    results = []
    for size in (2**19, 6 * 35, 6 * 8, 1):  # all at once, exactly, with a rest, position by position
        monkeypatch.setitem(importlib.import_module("segstill.losses.icsd").BLOCK, "cpu", size)
        logits = student.clone().requires_grad_()
        value = icsd(logits, teacher, temperature=2, valid=valid)
        value.backward()
        results.append((value.detach(), logits.grad))
    for value, grad in results[1:]:
        torch.testing.assert_close(value, results[0][0])
        torch.testing.assert_close(grad, results[0][1])


def test_a_second_derivative_is_refused_and_not_silently_wrong():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(inter_class_similarity(logits).square().sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("classes", [2, 11, 21, 150])
def test_is_zero_for_equal_logits_and_for_class_maps_shifted_by_constants(classes):
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, classes, 9, 8)
    assert icsd(logits, logits) == 0
    shifted = logits + 20 * torch.randn(2, classes, 1, 1)
    torch.testing.assert_close(inter_class_similarity(shifted), inter_class_similarity(logits), rtol=1e-4, atol=1e-4)
    assert icsd(shifted, logits) < 1e-8


def teach(classes, seed=0):
    """Smooth logits, as networks give them: a teacher, a student near it, a student that has nothing to do with it."""
    g = torch.Generator().manual_seed(seed)
    coarse = 3 * torch.randn(3, 32, classes, 6, 6, generator=g)
    teacher, noise, stranger = F.interpolate(coarse.flatten(0, 1), size=(33, 33), mode="bicubic").unflatten(0, (3, 32))
    return teacher, teacher + 0.3 * noise, stranger


@pytest.mark.parametrize("classes", [2, 11, 21, 150])
def test_is_of_the_same_size_for_any_number_of_classes(classes):
    teacher, near, stranger = teach(classes)
    blank = icsd(torch.zeros_like(teacher), teacher)
    assert float(blank) == pytest.approx(1, abs=1e-4)
    assert 0.03 < float(icsd(near, teacher)) < 0.08
    assert 0.2 < float(icsd(stranger, teacher)) < 0.8  # with two classes a few images dominate: 0.7; else 0.25


def test_two_classes_teach_something_unlike_in_the_published_code():
    teacher, near, _ = teach(2)
    near.requires_grad_()
    (ours,) = torch.autograd.grad(icsd(near, teacher), near)
    assert float(ours.abs().max()) > 1e-4
    rows = F.normalize(inter_class_similarity(near.detach()), dim=2)
    torch.testing.assert_close(rows, F.normalize(inter_class_similarity(teacher), dim=2))  # the reason, in one line


def test_a_teacher_that_tells_no_classes_apart_stays_finite():
    student = torch.randn(1, 3, 4, 4, requires_grad=True)
    value = icsd(student, torch.zeros(1, 3, 4, 4))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1e3, 1e4])
def test_logits_of_any_size_give_finite_values_and_gradients(scale):
    torch.manual_seed(0)
    student = (scale * torch.randn(1, 3, 5, 5)).requires_grad_()
    value = icsd(student, torch.randn(1, 3, 5, 5))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_single_precision_holds_at_a_full_image():
    torch.manual_seed(0)
    logits = F.interpolate(4 * torch.randn(1, 5, 9, 9), size=(321, 321), mode="bicubic") + 10
    torch.testing.assert_close(
        inter_class_similarity(logits), inter_class_similarity(logits.double()).float(), rtol=1e-4, atol=1e-4
    )


def test_one_valid_pixel_says_nothing_about_classes():
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    valid[0, 1, 2] = True
    student = torch.randn(1, 3, 4, 4, requires_grad=True)
    value = icsd(student, torch.randn(1, 3, 4, 4), valid=valid)
    value.backward()
    assert value == 0
    assert not student.grad.any()


def test_an_image_without_a_valid_pixel_has_zero_similarity_and_exactly_zero_gradient():
    torch.manual_seed(0)
    logits, valid = torch.randn(2, 3, 4, 5, requires_grad=True), torch.ones(2, 4, 5, dtype=torch.bool)
    valid[1] = False
    similarity = inter_class_similarity(logits, valid=valid)
    (similarity * torch.randn(2, 3, 3)).sum().backward()
    assert similarity[0].any()
    assert not similarity[1].any()
    assert logits.grad[0].any()
    assert not logits.grad[1].any()


def test_similarity_of_unmasked_images_does_not_depend_on_giving_a_full_mask():
    logits = torch.randn(2, 3, 4, 5)
    full = torch.ones(2, 4, 5, dtype=torch.bool)
    assert torch.equal(inter_class_similarity(logits, valid=full), inter_class_similarity(logits))


@pytest.mark.parametrize("classes", [3, 11])
def test_published_variant_agrees_with_a_loop_for_other_numbers_of_classes(classes):
    torch.manual_seed(0)
    maps = 2 * torch.randn(2, 2, classes, 6, 5, dtype=torch.float64)
    rows = []
    for logits in maps:
        p = F.softmax(logits, dim=2)  # over the height
        matrix = torch.zeros(classes, classes, dtype=torch.float64)
        for i in range(classes):
            for j in range(i, classes):
                matrix[i, j] = matrix[j, i] = (p[:, j] * (p[:, j].log() - p[:, i])).sum() / 2
        rows.append(matrix / matrix.norm(dim=1, keepdim=True))
    expected = (rows[0] - rows[1]).square().mean() / 2
    torch.testing.assert_close(icsd(maps[0], maps[1], variant="published"), expected)
