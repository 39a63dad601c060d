"""MGD: values by hand, against a loop, as published, and the masks that it draws."""

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import MGD, mgd, mgd_generation

from .golden import assert_close_to_golden, every_source, read


def test_a_value_worked_out_by_hand():
    """Doubled, 1 becomes 2 and misses 5 by 3; the erased 7 becomes 0 and misses 1 by 1: (9 + 1) / 2 = 5."""
    student, teacher = torch.tensor([1.0, 7.0]).view(1, 1, 1, 2), torch.tensor([5.0, 1.0]).view(1, 1, 1, 2)
    mask = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert float(mgd(student, teacher, lambda kept: 2 * kept, mask=mask)) == 5
    assert float(mgd(student, teacher, lambda kept: 2 * kept, mask=mask, variant="published")) == 10
    first = torch.tensor([[[True, False]]])
    assert float(mgd(student, teacher, lambda kept: 2 * kept, mask=mask, valid=first)) == 9


def test_agrees_with_a_loop_over_cells():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 4, 5, 6, dtype=torch.float64)
    generate = mgd_generation(4).double()
    mask, valid = (torch.rand(2, 1, 5, 6) > 0.5).double(), torch.rand(2, 5, 6) > 0.3
    errors = []
    for n in range(2):
        kept = F.pad(student[n] * mask[n] * valid[n], (2, 2, 2, 2))
        (w0, b0), (w1, b1) = ((layer.weight, layer.bias) for layer in (generate[0], generate[2]))
        for y, x in valid[n].nonzero().tolist():
            hidden = torch.zeros(4, 3, 3, dtype=torch.float64)
            for i in range(3):
                for j in range(3):
                    inside = 0 <= y + i - 1 < 5 and 0 <= x + j - 1 < 6
                    window = kept[:, y + i : y + i + 3, x + j : x + j + 3]
                    hidden[:, i, j] = ((w0 * window).sum(dim=(1, 2, 3)) + b0).clamp(min=0) * inside
            generated = (w1 * hidden).sum(dim=(1, 2, 3)) + b1
            errors.append((generated - teacher[n, :, y, x]).square().mean())
    torch.testing.assert_close(mgd(student, teacher, generate, mask=mask, valid=valid), torch.stack(errors).mean())


@every_source
def test_value_and_gradients_equal_those_of_the_published_code(source):
    g = read(source, "mgd")
    names = ("align_weight", "align_bias", "gen0_weight", "gen0_bias", "gen1_weight", "gen1_bias")
    weights = {name: g[name].requires_grad_() for name in names}
    student = g["student_feature"].requires_grad_()

    def generate(kept):
        hidden = F.relu(F.conv2d(kept, weights["gen0_weight"], weights["gen0_bias"], padding=1))
        return F.conv2d(hidden, weights["gen1_weight"], weights["gen1_bias"], padding=1)

    aligned = F.conv2d(student, weights["align_weight"], weights["align_bias"])
    value = mgd(aligned, g["teacher_feature"], generate, mask=g["mask"], variant="published")
    assert_close_to_golden(value, g["unweighted.value"])
    assert_close_to_golden(2e-5 * value, g["value"])
    value.backward()
    assert_close_to_golden(student.grad, g["unweighted.grad"])
    assert_close_to_golden(2e-5 * student.grad, g["grad"])
    for name in ("align_weight", "gen0_weight", "gen1_weight"):
        assert_close_to_golden(2e-5 * weights[name].grad, g[f"grad_{name}"])


def test_the_mask_is_drawn_from_the_default_generator_anew_each_time():
    feature = torch.ones(2, 3, 64, 64)
    seen = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        mgd(feature, feature, lambda kept: seen.append(kept) or kept)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(seen[0][:, 0], seen[0][:, 2])  # one mask for all channels
    assert not torch.equal(seen[0][0], seen[0][1])  # but not for all images
    assert float(seen[0].mean()) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("erased", "kept"), [(0.0, 1), (1.0, 0)])
def test_all_and_nothing_can_be_erased(erased, kept):
    feature = torch.ones(1, 1, 8, 8)
    assert mgd(feature, feature, lambda rest: rest, erased=erased) == 1 - kept


def test_the_student_is_aligned_only_where_channels_differ():
    loss = MGD({"stage1": (4, 6), "stage2": (5, 5)}, taps=("stage1", "stage2"))
    assert loss.connectors["stage1"].weight.shape == (6, 4, 1, 1)
    assert not list(loss.connectors["stage2"].parameters())


def test_the_loss_draws_another_mask_in_every_step():
    torch.manual_seed(0)
    loss = MGD({"encoder": (4, 4)})
    maps = {"encoder": torch.randn(2, 4, 8, 8)}
    batch = {"image": torch.zeros(2, 3, 8, 8)}
    torch.manual_seed(1)
    first, second = loss(maps, maps, batch), loss(maps, maps, batch)
    torch.manual_seed(1)
    assert first != second
    assert loss(maps, maps, batch) == first


def test_a_mask_of_another_shape_and_a_share_out_of_range_are_refused():
    feature = torch.zeros(1, 2, 3, 3)
    with pytest.raises(ValueError, match=r"mask is \(1, 3, 3\), expected \(1, 1, 3, 3\)"):
        mgd(feature, feature, torch.relu, mask=torch.ones(1, 3, 3))
    for erased in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"expected a share in \[0, 1\]"):
            MGD({"encoder": (4, 4)}, erased=erased)
