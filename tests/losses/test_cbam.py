import math

import pytest
import torch

from segstill.losses import CBAM, parameter_free_attention, parameter_free_attention_map

from .golden import assert_close_to_golden, read


def part(golden, prefix):
    return {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}


def published_cbam(golden, prefix):
    state = part(golden, prefix)
    cbam = CBAM(state["channel.fc1.weight"].shape[1])
    cbam.load_state_dict(state)
    return cbam


@pytest.mark.parametrize(
    ("source", "tap"), [("excerpt", "aspp"), ("complete", "stage4"), ("complete", "aspp"), ("complete", "decoder")]
)
def test_refined_features_equal_those_of_the_published_code(source, tap):
    golden = read(source, "attnfd_published")
    student = published_cbam(golden, f"{tap}.student_cbam.").train()(golden[f"{tap}.student_feature"])
    teacher = published_cbam(golden, f"{tap}.teacher_cbam.").eval()(golden[f"{tap}.teacher_feature"])
    free = parameter_free_attention(golden[f"{tap}.teacher_feature"])
    assert_close_to_golden(student.detach(), golden[f"{tap}.student_refined"])
    assert_close_to_golden(teacher.detach(), golden[f"{tap}.teacher_refined"])
    assert_close_to_golden(free, golden[f"{tap}.teacher_refined_parameter_free"])


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_parameter_free_value_worked_out_by_hand():
    """Two channels, two positions: (1, 3) and (0, -2).  Mean + maximum: 2 + 3 = 5 and -1 + 0 = -1."""
    feature = torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]]])
    a, b = sigmoid(5), sigmoid(-1)
    first, second = [a, 3 * a], [0.0, -2 * b]
    weights = [sigmoid(max(x, y) + (x + y) / 2) for x, y in zip(first, second, strict=True)]
    expected = [[w * x for w, x in zip(weights, row, strict=True)] for row in (first, second)]
    torch.testing.assert_close(parameter_free_attention(feature), torch.tensor([expected]).unsqueeze(2))
    torch.testing.assert_close(parameter_free_attention_map(feature), torch.tensor([[[weights]]]))


def test_cbam_agrees_with_its_equations_written_out():
    torch.manual_seed(0)
    cbam = CBAM(8, reduction=4).double().eval().requires_grad_(False)
    feature = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    expected = torch.empty_like(feature)
    (w1, b1), (w2, b2) = ((layer.weight, layer.bias) for layer in (cbam.channel.fc1, cbam.channel.fc2))
    for n, f in enumerate(feature):
        summaries = (f.mean(dim=(1, 2)), f.flatten(1).max(dim=1).values)
        gate = torch.sigmoid(sum(w2 @ (w1 @ v + b1).clamp(min=0) + b2 for v in summaries))
        f = f * gate[:, None, None]
        stack = torch.stack([f.max(dim=0).values, f.mean(dim=0)])
        padded = torch.zeros(2, 11, 12, dtype=torch.float64)
        padded[:, 3:8, 3:9] = stack
        kernel = cbam.spatial.conv.weight[0]
        scores = torch.tensor([[(kernel * padded[:, y : y + 7, x : x + 7]).sum() for x in range(6)] for y in range(5)])
        expected[n] = f * torch.sigmoid(scores / math.sqrt(1 + 1e-5))
    torch.testing.assert_close(cbam(feature), expected)


def test_attention_is_the_factor_that_forward_applies_last():
    torch.manual_seed(0)
    cbam, feature = CBAM(8).eval(), torch.randn(2, 8, 5, 6)
    attention = cbam.attention(feature)
    assert attention.shape == (2, 1, 5, 6)
    assert 0 < attention.min() < attention.max() < 1
    torch.testing.assert_close(cbam(feature), feature * cbam.channel(feature) * attention)


@pytest.mark.parametrize(("channels", "hidden"), [(512, 32), (320, 20), (256, 16), (8, 1)])
def test_hidden_layer_is_reduced_by_sixteen(channels, hidden):
    cbam = CBAM(channels)
    assert cbam.channel.fc1.out_features == hidden
    assert (cbam.spatial.bn.eps, cbam.spatial.bn.momentum) == (1e-5, 0.01)


def test_parameter_counts_equal_those_of_the_published_networks():
    count = {c: sum(p.numel() for p in CBAM(c).parameters()) for c in (512, 256)}
    assert count == {512: 33_412, 256: 8_564}
