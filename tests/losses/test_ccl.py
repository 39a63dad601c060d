"""Class-wise contrast: values by hand, against loops, and what a single class gives."""

import math

import pytest
import torch

from segstill.losses import CCL, ccl
from segstill.prototypes import background_aware

every_design = pytest.mark.parametrize("design", ["prototypes", "pixels", "classes"])


def cells(*vectors):
    """Cells in a row, as features of one image."""
    return torch.tensor(vectors, dtype=torch.float32).T.reshape(1, len(vectors[0]), 1, len(vectors))


def seeded(classes, *winners):
    """Seeds of a row of cells; None for a cell without one."""
    return torch.tensor([[float(k == winner) for winner in winners] for k in range(classes)]).view(1, classes, 1, -1)


def test_values_worked_out_by_hand():
    """Cells (1, 0), (1, 0) and (3, 4), the last of another class: the cosine between the prototypes is 3/5."""
    fused, seeds = cells((1, 0), (1, 0), (3, 4)), seeded(3, 0, 0, 2)
    assert float(ccl(fused, seeds, design="prototypes")) == pytest.approx(0.6)
    assert float(ccl(fused, seeds, design="prototypes", margin=0.5)) == pytest.approx(0.1)
    assert float(ccl(fused, seeds, design="prototypes", margin=0.7)) == 0
    surprise = math.log(1 + math.exp(-0.4 / 0.2))
    for design in ("pixels", "classes"):
        assert float(ccl(fused, seeds, design=design, temperature=0.2)) == pytest.approx(surprise)


def test_pixels_are_averaged_within_a_class_before_classes_are():
    """Class 0: its cells (1, 0) and (0, 1) are 45 degrees off its prototype; class 1 has the direction (1, 0)."""
    fused, seeds = cells((1, 0), (0, 1), (2, 0)), seeded(2, 0, 0, 1)
    half = 0.5**0.5
    first, second, third = (math.log(1 + math.exp(wrong - right)) for wrong, right in ((1, half), (0, half), (half, 1)))
    value = ccl(fused, seeds, temperature=1.0)
    assert float(value) == pytest.approx(((first + second) / 2 + third) / 2)


@every_design
def test_agrees_with_loops_over_images_classes_and_cells(design):
    torch.manual_seed(0)
    fused = torch.randn(3, 4, 3, 5, dtype=torch.float64)
    winner = torch.randint(4, (3, 3, 5))
    winner[1] = 0  # an image of one class
    winner[2][winner[2] == 1] = 3  # class 1 has no seed; class 3 is no class: cells without a seed
    seeds = torch.stack([winner == k for k in range(3)], dim=1).double()
    values = []
    for n in range(3):
        members = {k: [fused[n, :, y, x] for y, x in (winner[n] == k).nonzero().tolist()] for k in range(3)}
        p = {k: sum(vectors) / len(vectors) for k, vectors in members.items() if vectors}

        def cos(a, b):
            return a @ b / (a.norm() * b.norm())

        def surprise(vector, k):
            return -(cos(vector, p[k]) / 0.3).exp().div(sum((cos(vector, p[j]) / 0.3).exp() for j in p)).log()  # noqa: B023

        if design == "prototypes":
            excess = [max(cos(p[i], p[j]) + 0.2, 0 * cos(p[i], p[j])) for i in p for j in p if i < j]
            values.append(sum(excess) / max(len(excess), 1))
        elif design == "pixels":
            means = [sum(surprise(vector, k) for vector in members[k]) / len(members[k]) for k in p]
            values.append(sum(means) / len(means))
        else:
            values.append(sum(surprise(p[k], k) for k in p) / len(p))
    expected = sum(values) / 3
    torch.testing.assert_close(ccl(fused, seeds, design=design, temperature=0.3, margin=-0.2), expected)


@every_design
def test_an_image_of_one_class_gives_zero_and_zero_gradient(design):
    fused = torch.randn(1, 4, 3, 3, requires_grad=True)
    seeds = torch.zeros(1, 3, 3, 3)
    seeds[:, 1] = 1
    value = ccl(fused, seeds, design=design)
    value.backward()
    assert value == 0
    assert not fused.grad.any()


@every_design
def test_images_without_a_seed_are_not_counted_and_their_content_does_not_matter(design):
    fused, seeds = torch.randn(2, 4, 3, 3), torch.zeros(2, 3, 3, 3)
    seeds[0, 0, 0], seeds[0, 2, 1:] = 1, 1
    alone = ccl(fused[:1], seeds[:1], design=design)
    fused[1] = float("nan")
    fused.requires_grad_()
    value = ccl(fused, seeds, design=design)
    value.backward()
    torch.testing.assert_close(value, alone)
    assert fused.grad.isfinite().all()
    assert ccl(fused, 0 * seeds, design=design) == 0


@every_design
def test_features_that_are_zero_or_cancel_out_leave_finite_gradients(design):
    for vectors in (((0, 0), (0, 0), (1, 0)), ((1, 0), (-1, 0), (0, 1))):
        fused = cells(*vectors).requires_grad_()
        value = ccl(fused, seeded(2, 0, 0, 1), design=design)
        value.backward()
        assert value.isfinite()
        assert fused.grad.isfinite().all()


@every_design
def test_it_is_least_where_classes_point_apart_and_largest_where_they_are_alike(design):
    seeds = seeded(2, 0, 1)
    values = [float(ccl(cells((1, 0), other), seeds, design=design)) for other in ((1, 0), (1, 1), (0, 1))]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(1 if design == "prototypes" else math.log(2))
    assert values[2] == pytest.approx(0, abs=1e-4)


def test_seeds_are_those_of_the_block_and_take_no_gradient():
    torch.manual_seed(0)
    student = {"cam": torch.randn(1, 2, 4, 4, requires_grad=True), "fused": torch.randn(1, 3, 4, 4, requires_grad=True)}
    data = {"image": torch.zeros(1, 3, 4, 4), "tags": torch.ones(1, 2)}
    seeds = background_aware(student["cam"], student["fused"], data["tags"], background_factor=2.0).seeds
    value = CCL({}, background_factor=2.0, design="classes")(student, {}, data)
    assert not torch.equal(value, CCL({}, design="classes")(student, {}, data))
    assert torch.equal(value, ccl(student["fused"], seeds, design="classes"))
    value.backward()
    assert student["cam"].grad is None
    assert student["fused"].grad.any()


def test_what_is_out_of_range_is_refused():
    fused, seeds = torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 4)
    with pytest.raises(ValueError, match="one seed map per class on the grid of the features"):
        ccl(fused, seeds[:, :, 1:])
    for build in (lambda **args: CCL({}, **args), lambda **args: ccl(fused, seeds, **args)):
        with pytest.raises(ValueError, match="design is 'B', expected 'prototypes', 'pixels' or 'classes'"):
            build(design="B")
        with pytest.raises(ValueError, match="temperature is 0"):
            build(temperature=0)
        with pytest.raises(ValueError, match="margin is 1, expected a cosine"):
            build(margin=1)
