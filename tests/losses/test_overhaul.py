"""Overhaul: margins, partial distance, values by hand, against a loop, and as published."""

import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import Overhaul, overhaul_margin, partial_l2

from .golden import assert_close_to_golden, every_source, read

IMAGE = {"image": torch.zeros(2, 3, 6, 6)}


def test_margins_worked_out_by_hand():
    """The negative half of a standard normal has the mean -sqrt(2 / pi); of N(10, 1) almost nothing is negative: -3."""
    margin = overhaul_margin(torch.tensor([1.0, -2.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 10.0, -4.0, 0.0]))
    half = math.sqrt(2 / math.pi)
    torch.testing.assert_close(margin, torch.tensor([-half, -2 * half, -3.0, -4.0, 0.0]))


def test_margin_is_the_mean_of_the_negative_values_that_a_normal_draw_has():
    torch.manual_seed(0)
    weight, bias = torch.tensor([0.7, -1.3, 0.5], dtype=torch.float64), torch.tensor([0.4, -2.0, 1.0]).double()
    values = bias[:, None] + weight.abs()[:, None] * torch.randn(3, 1_000_000, dtype=torch.float64)
    for channel, margin in zip(values, overhaul_margin(weight, bias), strict=True):
        assert float(channel[channel < 0].mean()) == pytest.approx(float(margin), rel=0.01)


def test_a_value_worked_out_by_hand():
    """Margin -1.  Teacher 2, student 3: 1.  Teacher -5, cut to -1, student 1: 4.  Both inactive: free.  1 and -1: 4."""
    teacher = torch.tensor([2.0, -5.0, -0.5, 1.0]).view(1, 1, 1, 4)
    student = torch.tensor([3.0, 1.0, -2.0, -1.0]).view(1, 1, 1, 4)
    margin = torch.tensor([-1.0])
    assert float(partial_l2(student, teacher, margin, variant="published")) == 9
    assert float(partial_l2(student, teacher, margin)) == 9 / 4
    valid = torch.tensor([[[True, True, False, False]]])
    assert float(partial_l2(student, teacher, margin, valid=valid)) == 5 / 2


def test_agrees_with_a_loop_over_elements():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    margin, valid = -torch.rand(3, dtype=torch.float64), torch.rand(2, 4, 5) > 0.3
    total, count = 0.0, 0
    for n, y, x in valid.nonzero().tolist():
        for c in range(3):
            target = max(float(teacher[n, c, y, x]), float(margin[c]))
            value = float(student[n, c, y, x])
            count += 1
            if value > target or target > 0:
                total += (value - target) ** 2
    assert float(partial_l2(student, teacher, margin, valid=valid)) == pytest.approx(total / count)


@every_source
def test_margins_values_and_gradients_equal_those_of_the_published_code(source):
    g = read(source, "overhaul")
    taps = [f"tap{index}" for index in range(6)]
    students = [g[f"{tap}.student_feature"].requires_grad_() for tap in taps]
    weights = [g[f"{tap}.conv_weight"].requires_grad_() for tap in taps]
    values = []
    for tap, student, weight in zip(taps, students, weights, strict=True):
        margin = overhaul_margin(g[f"{tap}.bn_weight"], g[f"{tap}.bn_bias"])
        assert_close_to_golden(margin, g[f"{tap}.margin"], share_of_maximum=1e-6)
        normalised = F.batch_norm(F.conv2d(student, weight), None, None, training=True)
        values.append(partial_l2(normalised, g[f"{tap}.teacher_feature"], margin, variant="published"))
        assert_close_to_golden(values[-1], g[f"{tap}.value"])
    total = (torch.stack(values) / g["divider"]).sum()
    assert_close_to_golden(total, g["value"])
    total.backward()
    for tap, student, weight in zip(taps, students, weights, strict=True):
        assert_close_to_golden(student.grad, g[f"{tap}.grad"])
        assert_close_to_golden(weight.grad, g[f"{tap}.grad_conv_weight"])

    source_map = g["partial_l2.source"].requires_grad_()
    value = partial_l2(source_map, g["tap0.teacher_feature"], g["tap0.margin"], variant="published")
    value.backward()
    assert_close_to_golden(value, g["partial_l2.value"])
    assert_close_to_golden(source_map.grad, g["partial_l2.grad"])


def test_equal_features_give_zero_and_upsampling_changes_nothing():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 7)
    margin = -torch.rand(3)
    assert partial_l2(teacher, teacher, margin) == 0
    bigger = [feature.repeat_interleave(2, 2).repeat_interleave(3, 3) for feature in (student, teacher)]
    torch.testing.assert_close(partial_l2(*bigger, margin), partial_l2(student, teacher, margin))


def run(loss, student, teacher, batch=IMAGE):
    return loss({"encoder_pre": student}, {"encoder_pre": teacher}, batch)


def expected(loss, student, teacher, margin):
    return partial_l2(loss.connectors["encoder_pre"](student), teacher, margin)


def test_a_margin_that_is_not_given_is_the_mean_of_the_teachers_negative_values():
    torch.manual_seed(0)
    loss = Overhaul({"encoder_pre": (4, 6)})
    student, teacher = torch.randn(2, 4, 6, 6), torch.randn(2, 6, 6, 6) + torch.linspace(-1, 1, 6).view(-1, 1, 1)
    margin = torch.stack([channel[channel < 0].mean() for channel in teacher.transpose(0, 1)])
    for _ in range(3):  # the same batch again has the same mean
        torch.testing.assert_close(run(loss, student, teacher), expected(loss, student, teacher, margin))


def test_the_measured_margin_leans_towards_the_newest_batches_and_is_saved():
    torch.manual_seed(0)
    loss = Overhaul({"encoder_pre": (4, 1)})
    student = torch.randn(2, 4, 6, 6)
    for level in (-1.0, -3.0):
        run(loss, student, torch.full((2, 1, 6, 6), level))
    total, share = loss.state_dict()["negative_encoder_pre"]
    margin = total / share
    assert float(margin) == pytest.approx(-(0.9 * 1 + 3) / 1.9)
    teacher = torch.randn(2, 1, 6, 6)
    kept = loss.eval().negative_encoder_pre.clone()
    run(loss, student, teacher)
    assert torch.equal(loss.negative_encoder_pre, kept)


def test_cells_that_are_ignored_do_not_move_the_margin():
    torch.manual_seed(0)
    loss, student, teacher = Overhaul({"encoder_pre": (4, 6)}), torch.randn(2, 4, 6, 6), torch.randn(2, 6, 6, 6)
    mask = torch.zeros(2, 6, 6, dtype=torch.long)
    mask[:, :3] = 255
    run(loss, student, teacher, IMAGE | {"mask": mask})
    total, share = loss.negative_encoder_pre
    seen = teacher[:, :, 3:]
    margin = torch.stack([channel[channel < 0].mean() for channel in seen.transpose(0, 1)])
    torch.testing.assert_close(total / share, margin)


def test_a_channel_that_is_never_negative_has_a_margin_and_a_finite_gradient():
    loss, student = Overhaul({"encoder_pre": (4, 6)}), torch.randn(2, 4, 6, 6, requires_grad=True)
    value = run(loss, student, torch.rand(2, 6, 6, 6))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_a_margin_comes_from_the_batch_normalisation_where_that_is_given():
    torch.manual_seed(0)
    norm = torch.rand(6), torch.randn(6)
    loss = Overhaul({"encoder_pre": (4, 6), "aspp": (3, 3)}, taps=("encoder_pre", "aspp"), norms={"encoder_pre": norm})
    assert torch.equal(loss.margin_encoder_pre, overhaul_margin(*norm))
    assert {name for name, _ in loss.named_buffers() if "connectors" not in name} == {
        "margin_encoder_pre",
        "negative_aspp",
    }
    alone = Overhaul({"encoder_pre": (4, 6)}, norms={"encoder_pre": norm})
    student, teacher = torch.randn(2, 4, 6, 6), torch.randn(2, 6, 6, 6)
    torch.testing.assert_close(run(alone, student, teacher), expected(alone, student, teacher, overhaul_margin(*norm)))


def test_what_does_not_fit_is_refused():
    feature = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"margin is \(2,\), expected one number per channel, \(3,\)"):
        partial_l2(feature, feature, torch.zeros(2))
    with pytest.raises(ValueError, match=r"expected \(C,\) both"):
        overhaul_margin(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"norms are given for \['stage9'\]"):
        Overhaul({"encoder_pre": (4, 6)}, norms={"stage9": (torch.zeros(6), torch.zeros(6))})


def test_the_published_form_sums_over_an_image_and_divides_every_tap_by_its_own_number():
    """Against a loop in float64; ignored pixels count like others, as in the published code."""
    torch.manual_seed(0)
    taps, channels = ("encoder_pre", "aspp"), {"encoder_pre": (3, 4), "aspp": (2, 3)}
    norms = {
        tap: (torch.rand(wide, dtype=torch.float64), torch.randn(wide).double()) for tap, (_, wide) in channels.items()
    }
    loss = Overhaul(channels, taps=taps, norms=norms, dividers=(8.0, 0.5), variant="published").double()
    student = {tap: torch.randn(2, narrow, 3, 5, dtype=torch.float64) for tap, (narrow, _) in channels.items()}
    teacher = {tap: torch.randn(2, wide, 3, 5, dtype=torch.float64) for tap, (_, wide) in channels.items()}
    mask = torch.full((2, 6, 10), 255)
    total = 0.0
    for tap, divider in zip(taps, (8.0, 0.5), strict=True):
        mapped = loss.connectors[tap](student[tap]).detach()
        margin = overhaul_margin(*norms[tap])
        for n, c, y, x in torch.ones_like(teacher[tap]).nonzero().tolist():
            target = max(float(teacher[tap][n, c, y, x]), float(margin[c]))
            value = float(mapped[n, c, y, x])
            if value > target or target > 0:
                total += (value - target) ** 2 / (divider * 2)
    value = loss(student, teacher, {"image": torch.zeros(2, 3, 6, 10), "mask": mask}).detach()
    assert float(value) == pytest.approx(total, rel=1e-9)


def test_dividers_divide_the_mean_as_well():
    torch.manual_seed(0)
    channels, taps = {"encoder_pre": (4, 6), "aspp": (4, 6)}, ("encoder_pre", "aspp")
    losses = [Overhaul(channels, taps=taps, dividers=dividers) for dividers in ((), (1.0, 1.0), (4.0, 4.0))]
    for loss in losses[1:]:
        loss.load_state_dict(losses[0].state_dict())
    student, teacher = ({tap: torch.randn(2, wide, 6, 6) for tap in taps} for wide in (4, 6))
    none, ones, fours = (loss(student, teacher, IMAGE) for loss in losses)
    assert torch.equal(none, ones)
    torch.testing.assert_close(4 * fours, none)


@pytest.mark.parametrize("dividers", [(8.0,), (8.0, 4.0, 2.0), (8.0, 0.0), (8.0, -1.0)])
def test_dividers_that_do_not_go_with_the_taps_are_refused(dividers):
    with pytest.raises(ValueError, match=r"dividers are \(8.0.*expected a number above 0 for each of the taps \["):
        Overhaul({"encoder_pre": (4, 6), "aspp": (4, 6)}, taps=("encoder_pre", "aspp"), dividers=dividers)
