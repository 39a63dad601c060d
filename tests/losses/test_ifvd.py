"""Intra-class feature variation: a value by hand, against a loop, and as published."""

import pytest
import torch

from segstill.losses import IFVD, ifvd

from .golden import assert_close_to_golden, every_source, read


@every_source
@pytest.mark.parametrize("case", ["frac", "exact"])
def test_matches_the_published_numbers(source, case):
    g = read(source, "ifvd")
    student, classes = g[f"{case}.student_feature"].requires_grad_(), int(g[f"{case}.num_classes"])
    teacher, target = g[f"{case}.teacher_feature"], g[f"{case}.target"]
    value = ifvd(student, teacher, target, num_classes=classes, variant="published")
    value.backward()
    assert_close_to_golden(value, g[f"{case}.value"])
    assert_close_to_golden(student.grad, g[f"{case}.grad"])


def test_a_value_worked_out_by_hand():
    """One class, two cells, and one without a label.  The student's features (1, 0) and (0, 1) have the centre
    (1/2, 1/2) and the cosines 1 / sqrt 2; the teacher's are alike, with cosines 1.
    """
    student = torch.tensor([[1.0, 0.0, 7.0], [0.0, 1.0, 7.0]]).view(1, 2, 1, 3)
    teacher = torch.tensor([[2.0, 2.0, 9.0]]).view(1, 1, 1, 3)
    target = torch.tensor([[[0, 0, 255]]])
    expected = (1 - 0.5**0.5) ** 2
    assert float(ifvd(student, teacher, target, num_classes=1)) == pytest.approx(expected)
    published = ifvd(student, teacher, target, num_classes=1, variant="published")
    assert float(published) == pytest.approx(expected * 2 / 3, rel=1e-5)


def test_agrees_with_a_loop_over_classes():
    torch.manual_seed(0)
    student, teacher = (torch.randn(2, c, 3, 4, dtype=torch.float64) for c in (3, 5))
    target = torch.randint(4, (2, 6, 8))
    target[:, :3, :3] = 255
    valid = torch.rand(2, 3, 4) > 0.2
    small = target[:, 1::2, 1::2]  # the pixel at the centre of a cell, the later one of two
    errors = []
    for n in range(2):
        for k in range(4):
            inside = (small[n] == k) & valid[n]
            if inside.any():
                cosines = []
                for feature in (student, teacher):
                    cells = feature[n][:, inside]
                    cosines.append(torch.cosine_similarity(cells, cells.mean(dim=1, keepdim=True), dim=0))
                errors.append((cosines[0] - cosines[1]).square())
    value = ifvd(student, teacher, target, num_classes=4, valid=valid)
    torch.testing.assert_close(value, torch.cat(errors).mean())


def test_is_zero_for_equal_features_and_for_a_class_of_one_cell():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 3, 2, 2)
    target = torch.randint(3, (1, 8, 8))
    assert ifvd(student, student, target, num_classes=3) == 0
    own = torch.tensor([[[0, 1], [2, 3]]])
    torch.testing.assert_close(ifvd(student, teacher, own, num_classes=4), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_ids_beyond_the_classes_are_no_label():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 3, 2, 3)
    target = torch.tensor([[[0, 0, 1], [1, 5, -1]]])
    void = torch.where((target > 1) | (target < 0), 255, target)
    values = [ifvd(student, teacher, mask, num_classes=2) for mask in (target, void)]
    assert torch.equal(*values)


def test_unlabelled_images_add_nothing():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    mask = torch.randint(2, (2, 8, 8))
    mask[1] = 255
    data = {"mask": mask, "valid": torch.ones(2, 8, 8, dtype=torch.bool)}
    loss = IFVD({"encoder": (3, 3), "logits": (2, 2)})
    alone = loss({"encoder": student[:1]}, {"encoder": teacher[:1]}, {"mask": mask[:1]})
    torch.testing.assert_close(loss({"encoder": student}, {"encoder": teacher}, data), alone)


def test_a_batch_without_masks_and_a_target_of_other_images_are_refused():
    feature = {"encoder": torch.randn(2, 3, 4, 4)}
    with pytest.raises(ValueError, match="ifvd found no mask in the batch"):
        IFVD({"encoder": (3, 3), "logits": (2, 2)})(feature, feature, {})
    with pytest.raises(ValueError, match="expected the numbers of classes"):
        IFVD({"encoder": (3, 3)})
    with pytest.raises(ValueError, match=r"expected \(2, H, W\)"):
        ifvd(feature["encoder"], feature["encoder"], torch.zeros(1, 8, 8, dtype=torch.long), num_classes=2)
