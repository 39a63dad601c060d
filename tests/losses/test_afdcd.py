"""Af-DCD: values by hand, against a loop, and as published."""

import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import AfDCD, afdcd, mgd

from .golden import assert_close_to_golden, every_source, read


def test_a_value_worked_out_by_hand():
    """One cell, two groups of one channel: the student has (1, 5), the teacher (2, 4).

    Distances of 1 are to 2: 1, to 4: 3; of 5 to 4: 1, to 2: 3.  At T = 2 both samples cost log(1 + exp((1 - 3) / 2)).
    """
    student, teacher = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1), torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)
    one = math.log(1 + math.exp(-1))
    assert float(afdcd(student, teacher, groups=2, temperature=2)) == pytest.approx(one)
    assert float(afdcd(student, teacher, groups=2, temperature=2, variant="published")) == pytest.approx(2 * one)


@pytest.mark.parametrize("pool", [1, 2])
def test_agrees_with_a_loop_over_samples(pool):
    torch.manual_seed(0)
    images, channels, groups, patch, temperature = 2, 6, 3, 2, 0.5
    student, teacher = torch.randn(2, images, channels, 7, 5, dtype=torch.float64)
    valid = torch.rand(images, 7, 5) > 0.4
    rows, columns, width = -(-7 // pool), -(-5 // pool), channels // groups

    def sample(feature, n, y, x, group):
        window = (slice(y * pool, (y + 1) * pool), slice(x * pool, (x + 1) * pool))
        cells = feature[n, :, *window][:, valid[n][window]]
        return cells.max(dim=1).values[group * width : (group + 1) * width] if cells.shape[1] else None

    values = []
    for n in range(images):
        for y in range(rows):
            for x in range(columns):
                top, left = y - y % patch, x - x % patch
                near = [
                    (i, j) for i in range(top, min(top + patch, rows)) for j in range(left, min(left + patch, columns))
                ]
                for group in range(groups):
                    anchor = sample(student, n, y, x, group)
                    if anchor is None:
                        continue
                    others = [sample(teacher, n, i, j, h) for i, j in near for h in range(groups) if h != group]
                    own = sample(teacher, n, y, x, group)
                    closeness = [
                        (-(anchor - other).abs().sum() / temperature).exp()
                        for other in [own, *others]
                        if other is not None
                    ]
                    values.append(-(closeness[0] / sum(closeness)).log())
    hyper = {"groups": groups, "patch": patch, "pool": pool, "temperature": temperature}
    torch.testing.assert_close(afdcd(student, teacher, valid=valid, **hyper), torch.stack(values).mean())


@every_source
def test_value_and_gradient_equal_those_of_the_published_code(source):
    g = read(source, "af_dcd")
    student, weight = g["student_feature"].requires_grad_(), g["align_weight"].requires_grad_()
    groups, kept = int(g["groups"]), []

    def generate(masked):
        hidden = F.relu(F.conv2d(masked, g["proj0_weight"], g["proj0_bias"], padding=1))
        kept.append(F.conv2d(hidden, g["proj1_weight"], g["proj1_bias"], padding=1))
        return kept[-1]

    aligned = F.conv2d(student, weight, g["align_bias"])
    reconstruction = mgd(aligned, g["teacher_feature"], generate, mask=g["mask"], variant="published")
    contrast = afdcd(kept[0], g["teacher_feature"], groups=groups, variant="published")
    assert_close_to_golden(reconstruction, g["fd.value"])
    assert_close_to_golden(contrast, g["ctr.value"])
    (gradient,) = torch.autograd.grad(reconstruction, student, retain_graph=True)
    assert_close_to_golden(gradient, g["fd.grad"])
    gradients = torch.autograd.grad(contrast, [student, weight])
    assert_close_to_golden(gradients[0], g["ctr.grad"])
    assert_close_to_golden(gradients[1], g["ctr.grad_align_weight"])

    prediction = g["ctr_only.prediction"].requires_grad_()
    value = afdcd(prediction, g["teacher_feature"][:1], groups=groups, variant="published")
    value.backward()
    assert_close_to_golden(value, g["ctr_only.value"])
    assert_close_to_golden(prediction.grad, g["ctr_only.grad"])


def test_repeating_the_batch_changes_nothing_and_published_is_larger_by_the_number_of_groups():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 8, 16, 16)
    value = afdcd(student, teacher, groups=4)
    torch.testing.assert_close(afdcd(student.repeat(3, 1, 1, 1), teacher.repeat(3, 1, 1, 1), groups=4), value)
    torch.testing.assert_close(afdcd(student, teacher, groups=4, variant="published"), 4 * value)


def test_distant_groups_of_equal_features_cost_nothing():
    feature = torch.arange(8.0).view(1, 8, 1, 1).expand(2, 8, 8, 8)
    torch.testing.assert_close(afdcd(feature, feature, groups=8), torch.tensor(0.0), atol=1e-5, rtol=0)


def test_the_loss_is_the_reconstruction_plus_the_weighted_contrast():
    torch.manual_seed(0)
    channels, hyper = {"decoder": (4, 4)}, {"groups": 2, "pool": 2, "erased": 0.0}
    student, teacher = ({"decoder": torch.randn(2, 4, 8, 8)} for _ in range(2))
    batch = {"image": torch.zeros(2, 3, 8, 8)}
    losses = {contrast: AfDCD(channels, contrast=contrast, **hyper) for contrast in (0.0, 1.0, 3.0)}
    for loss in losses.values():
        loss.load_state_dict(losses[0.0].state_dict())
    none, one, three = (loss(student, teacher, batch) for loss in losses.values())
    generate = losses[0.0].generators["decoder"]
    contrast = afdcd(generate(student["decoder"]), teacher["decoder"], groups=2, pool=2)
    torch.testing.assert_close(none, mgd(student["decoder"], teacher["decoder"], generate, erased=0.0))
    torch.testing.assert_close(one - none, contrast)
    torch.testing.assert_close(three - none, 3 * contrast)


def test_groups_that_do_not_divide_the_channels_are_refused_with_those_that_do():
    with pytest.raises(
        ValueError, match=r"groups is 16, expected a divisor of the teacher's 6 channels: one of \[2, 3, 6\]"
    ):
        AfDCD({"decoder": (4, 6)})
    with pytest.raises(ValueError, match="groups is 1"):
        afdcd(torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 4), groups=1)
    with pytest.raises(ValueError, match="pool 0, expected sides of at least 1"):
        AfDCD({"decoder": (4, 16)}, pool=0)
    with pytest.raises(ValueError, match="temperature is 0"):
        AfDCD({"decoder": (4, 16)}, temperature=0)
