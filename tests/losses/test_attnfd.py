import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import AttnFD, attnfd

from .golden import assert_close_to_golden, every_source, read
from .test_cbam import part

CHANNELS = {"encoder_pre": (6, 8), "aspp": (4, 4), "decoder": (3, 4), "logits": (5, 5)}
GOLDEN_TAPS = ("stage4", "aspp", "decoder")


@every_source
def test_published_variant_equals_the_published_code(source):
    golden = read(source, "attnfd_published")
    sizes = {
        tap: tuple(golden[f"{tap}.{side}_feature"].shape[1] for side in ("student", "teacher")) for tap in GOLDEN_TAPS
    }
    loss = AttnFD(sizes, taps=GOLDEN_TAPS, variant="published", teacher_attention="random")
    for tap in GOLDEN_TAPS:
        loss.student_cbam[tap].load_state_dict(part(golden, f"{tap}.student_cbam."))
        loss.teacher_cbam[tap].load_state_dict(part(golden, f"{tap}.teacher_cbam."))
        loss.connector[tap][0].load_state_dict({"weight": golden[f"{tap}.connector.conv.weight"]})
    student = {tap: golden[f"{tap}.student_feature"].requires_grad_() for tap in GOLDEN_TAPS}
    teacher = {tap: golden[f"{tap}.teacher_feature"] for tap in GOLDEN_TAPS}
    value = loss.train()(student, teacher, {"image": torch.zeros(2, 3, 8, 8)})
    value.backward()
    assert_close_to_golden(value.detach(), golden["value"])
    for tap in GOLDEN_TAPS:
        assert_close_to_golden(student[tap].grad, golden[f"{tap}.grad"])


def test_value_worked_out_by_hand():
    """(3, 4) / 5 against (1, 0) in one image: (0.6 - 1)^2 + 0.8^2 = 0.8; equal directions in the other: 0."""
    student = torch.tensor([[3.0, 4.0], [1.0, 1.0]]).reshape(2, 2, 1, 1)
    teacher = torch.tensor([[7.0, 0.0], [5.0, 5.0]]).reshape(2, 2, 1, 1)
    assert float(attnfd([student], [teacher])) == pytest.approx(0.4)
    assert float(attnfd([student, student], [teacher, teacher])) == pytest.approx(0.8)
    cosine = (21 + 10) / math.sqrt(27 * 99)
    assert float(attnfd([student], [teacher], variant="published")) == pytest.approx((2 - 2 * cosine) / 2)


@pytest.mark.parametrize("variant", ["paper", "published"])
def test_agrees_with_normalised_maps_subtracted(variant):
    torch.manual_seed(0)
    students, teachers = ([torch.randn(3, c, h, 5, dtype=torch.float64) for c, h in ((4, 6), (2, 3))] for _ in range(2))
    expected = torch.zeros((), dtype=torch.float64)
    for s, t in zip(students, teachers, strict=True):
        groups = [(s, t)] if variant == "published" else [(s[n], t[n]) for n in range(3)]
        for a, b in groups:
            expected += (a / a.norm() - b / b.norm()).square().sum() / 3
    torch.testing.assert_close(attnfd(students, teachers, variant=variant), expected)


def test_is_zero_for_equal_directions_four_for_opposite_and_two_for_unrelated():
    torch.manual_seed(0)
    feature = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(attnfd([feature], [3 * feature]), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(attnfd([feature], [-feature]), torch.tensor(4.0))
    apart = F.pad(feature, (0, 0, 0, 0, 0, 8)), F.pad(feature, (0, 0, 0, 0, 8, 0))
    assert attnfd([apart[0]], [apart[1]]) == 2


@pytest.mark.parametrize("variant", ["paper", "published"])
@pytest.mark.parametrize(("student_scale", "teacher_scale"), [(0, 1), (1, 0), (0, 0), (1e-30, 1), (1e12, 1e-12)])
def test_zero_tiny_and_huge_maps_give_finite_values_and_gradients(variant, student_scale, teacher_scale):
    torch.manual_seed(0)
    student = (student_scale * torch.randn(2, 3, 4, 4)).requires_grad_()
    value = attnfd([student], [teacher_scale * torch.randn(2, 3, 4, 4)], variant=variant)
    value.backward()
    assert 0 <= value <= 4
    assert student.grad.isfinite().all()


def test_single_precision_is_exact_at_the_size_of_a_decoder_map():
    torch.manual_seed(0)
    student, teacher = torch.rand(2, 1, 64, 129, 129)
    expected = attnfd([student.double()], [teacher.double()])
    torch.testing.assert_close(attnfd([student], [teacher]).double(), expected, rtol=1e-5, atol=0)


def test_a_student_map_of_another_size_is_resized_to_the_teachers():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 8, 9)
    resized = F.interpolate(student, size=(8, 9), mode="bilinear", align_corners=False)
    assert torch.equal(attnfd([student], [teacher]), attnfd([resized], [teacher]))


def test_other_channel_counts_and_unequal_numbers_of_taps_are_refused():
    feature = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"expected equal N and C.*connector"):
        attnfd([feature], [feature[:, :2]])
    with pytest.raises(ValueError, match="expected one each per tap"):
        attnfd([feature, feature], [feature])


def test_taps_that_the_models_lack_are_refused_by_name():
    with pytest.raises(ValueError, match=r"\['stage5'\].*share \['aspp', 'decoder', 'encoder_pre'\]"):
        AttnFD(CHANNELS, taps=("aspp", "stage5"))
    with pytest.raises(ValueError, match="choose among these"):
        AttnFD(CHANNELS, taps=())
    with pytest.raises(ValueError, match="repeat a name"):
        AttnFD(CHANNELS, taps=("aspp", "aspp"))
    with pytest.raises(ValueError, match=r"expected one of \('parameter-free', 'random'\)"):
        AttnFD(CHANNELS, teacher_attention="learned")


def test_tap_names_with_dots_work():
    loss = AttnFD({"encoder.layer4": (4, 6)}, taps=("encoder.layer4",))
    assert loss.taps == ("encoder.layer4",)
    value = loss(
        {"encoder.layer4": torch.randn(2, 4, 3, 3)},
        {"encoder.layer4": torch.randn(2, 6, 3, 3)},
        {"image": torch.zeros(2, 3, 6, 6)},
    )
    assert value.isfinite()


def test_the_shift_of_a_connector_does_not_count_where_pixels_are_ignored():
    loss = AttnFD(CHANNELS)
    for connector in loss.connector.values():
        torch.nn.init.ones_(connector[1].bias)
    student = {tap: torch.randn(2, s, 6, 6) for tap, (s, _) in CHANNELS.items()}
    teacher = {tap: torch.randn(2, t, 6, 6) for tap, (_, t) in CHANNELS.items()}
    value = loss(student, teacher, {"image": torch.zeros(2, 3, 6, 6), "mask": torch.full((2, 6, 6), 255)})
    value.backward()
    assert value == 0
    assert not any(p.grad.any() for p in loss.parameters())


def test_random_teacher_attention_is_frozen_and_stays_in_eval_mode():
    loss = AttnFD(CHANNELS, teacher_attention="random")
    for _ in range(2):
        assert not any(module.training for module in loss.teacher_cbam.modules())
        assert not any(p.requires_grad for p in loss.teacher_cbam.parameters())
        torch.nn.Sequential(loss).train()
    assert loss.student_cbam["aspp"].training
    before = {key: value.clone() for key, value in loss.teacher_cbam.state_dict().items()}
    student = {tap: torch.randn(2, s, 6, 6) for tap, (s, _) in CHANNELS.items()}
    teacher = {tap: torch.randn(2, t, 6, 6) for tap, (_, t) in CHANNELS.items()}
    loss(student, teacher, {"image": torch.zeros(2, 3, 6, 6)})
    assert all(torch.equal(value, before[key]) for key, value in loss.teacher_cbam.state_dict().items())


def test_parameter_free_teacher_attention_has_no_state():
    assert not [key for key in AttnFD(CHANNELS).state_dict() if key.startswith("teacher_")]


def test_connectors_map_student_to_teacher_channels_and_start_as_published():
    torch.manual_seed(0)
    conv, norm = AttnFD({"aspp": (64, 512)}, taps=("aspp",)).connector["aspp"]
    assert (conv.weight.shape, conv.bias) == ((512, 64, 1, 1), None)
    assert float(conv.weight.detach().std()) == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert norm.num_features == 512


@pytest.mark.parametrize("teacher_attention", ["parameter-free", "random"])
def test_attention_maps_can_be_looked_at(teacher_attention):
    loss = AttnFD(CHANNELS, teacher_attention=teacher_attention).eval()
    student = {tap: torch.randn(2, s, 6, 6, requires_grad=True) for tap, (s, _) in CHANNELS.items()}
    teacher = {tap: torch.randn(2, t, 6, 6) for tap, (_, t) in CHANNELS.items()}
    maps = loss.attention(student, teacher)
    assert set(maps) == set(loss.taps)
    for pair in maps.values():
        for attention in pair:
            assert attention.shape == (2, 1, 6, 6)
            assert not attention.requires_grad
            assert 0 < attention.min() < attention.max() <= 1
