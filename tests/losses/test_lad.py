"""LAD: values by hand, against a loop, and as AttnFD without attention."""

import pytest
import torch

from segstill.losses import LAD, attnfd, lad


def test_a_value_worked_out_by_hand():
    """(3, 4) / 5 against (1, 0) in one image: 0.4^2 + 0.8^2 = 0.8; equal directions in the other: 0."""
    student = torch.tensor([[3.0, 4.0], [1.0, 1.0]]).reshape(2, 2, 1, 1)
    teacher = torch.tensor([[7.0, 0.0], [5.0, 5.0]]).reshape(2, 2, 1, 1)
    assert float(lad(student, teacher)) == pytest.approx(0.4)


@pytest.mark.parametrize("variant", ["paper", "published"])
def test_agrees_with_normalised_maps_subtracted(variant):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 6, 5, dtype=torch.float64)
    valid = torch.rand(3, 6, 5) > 0.3 if variant == "paper" else None
    groups = [(student, teacher)]
    if valid is not None:
        groups = [(student[n][:, valid[n]], teacher[n][:, valid[n]]) for n in range(3)]
    expected = sum((s / s.norm() - t / t.norm()).square().sum() for s, t in groups) / 3
    torch.testing.assert_close(lad(student, teacher, valid=valid, variant=variant), expected)


def test_is_attnfd_without_attention():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 7)
    for variant in ("paper", "published"):
        assert torch.equal(lad(student, teacher, variant=variant), attnfd([student], [teacher], variant=variant))


def test_is_blind_to_scale_to_repetition_and_to_upsampling():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 7)
    value = lad(student, teacher)
    torch.testing.assert_close(lad(7 * student, student), torch.tensor(0.0), atol=1e-6, rtol=0)
    bigger = [feature.repeat_interleave(2, 2).repeat_interleave(3, 3) for feature in (student, teacher)]
    torch.testing.assert_close(lad(*bigger), value)
    torch.testing.assert_close(lad(student.repeat(3, 1, 1, 1), teacher.repeat(3, 1, 1, 1)), value)


def test_the_shift_of_a_connector_does_not_count_where_pixels_are_ignored():
    loss = LAD({"aspp": (4, 6)}, taps=("aspp",))
    torch.nn.init.ones_(loss.connectors["aspp"][1].bias)
    student, teacher = ({"aspp": torch.randn(2, channels, 6, 6)} for channels in (4, 6))
    value = loss(student, teacher, {"image": torch.zeros(2, 3, 6, 6), "mask": torch.full((2, 6, 6), 255)})
    value.backward()
    assert value == 0
    assert not any(p.grad.any() for p in loss.parameters())
