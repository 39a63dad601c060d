"""DeepLabV3+ has the papers' sizes, dilations and features."""

import pytest
import torch
from torch import nn

from segstill.models import deeplabv3plus
from segstill.taps import Tap, Tapped, feature_channels


def build(encoder, output_stride=16):
    return deeplabv3plus(21, encoder=encoder, output_stride=output_stride)


@pytest.fixture(scope="module")
def resnet101():
    return build("resnet101")


@pytest.fixture(scope="module")
def resnet18():
    return build("resnet18").eval()


@pytest.fixture(scope="module")
def mobilenet_v2():
    return build("mobilenet_v2").eval()


def millions(model):
    return round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 3)


def dilations(part):
    return [
        module.dilation[0] for module in part.modules() if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1
    ]


def test_parameter_counts_are_the_papers(resnet101, resnet18, mobilenet_v2):
    assert millions(resnet101) == 59.344
    assert millions(resnet18) == 16.608
    assert millions(mobilenet_v2) == 5.816


def test_stage_4_of_a_bottleneck_resnet_has_multi_grid_dilation(resnet101):
    encoder = resnet101.net.encoder
    assert [dilations(block) for block in encoder.layer4] == [[2], [4], [8]]
    assert set(dilations(encoder.layer3)) == {1}


def test_dilations_of_resnet18(resnet18):
    assert dilations(resnet18.net.encoder.layer4) == [2, 2, 2, 2]
    assert dilations(resnet18.net.encoder.layer3) == [1, 1, 1, 1]
    finer = build("resnet18", 8).net.encoder
    assert dilations(finer.layer4) == [4, 4, 4, 4]
    assert dilations(finer.layer3) == [2, 2, 2, 2]
    assert dilations(finer.layer2) == [1, 1, 1, 1]


def test_dilations_of_mobilenet_v2(mobilenet_v2):
    assert dilations(mobilenet_v2.net.encoder) == [1] * 17 + [2]  # the stem, 16 blocks, the 320-channel block
    assert dilations(build("mobilenet_v2", 8).net.encoder) == [1] * 11 + [2] * 6 + [4]


def test_mobilenet_v2_ends_with_its_320_channels(mobilenet_v2):
    channels = feature_channels(mobilenet_v2, mobilenet_v2.taps, torch.zeros(1, 3, 64, 64))
    assert [channels[f"stage{stage}"] for stage in (1, 2, 3, 4)] == [24, 32, 96, 320]
    assert (channels["aspp"], channels["decoder"], channels["logits"]) == (256, 256, 21)


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v2", "tu-mobilenetv2_035"])
@pytest.mark.parametrize("output_stride", [16, 8])
def test_maps_have_the_output_stride(encoder, output_stride):
    model = deeplabv3plus(3, encoder=encoder, output_stride=output_stride, channels=8).eval()
    with torch.no_grad():
        features = Tapped(model, model.taps)(torch.zeros(1, 3, 64, 96))
    strides = [4, 8, min(16, output_stride), output_stride]
    for stage, stride in enumerate(strides, 1):
        assert features[f"stage{stage}"].shape[2:] == (64 // stride, 96 // stride)
    assert features["aspp"].shape[2:] == (64 // output_stride, 96 // output_stride)
    assert features["decoder"].shape[2:] == (16, 24)


def test_rates_of_the_pyramid_follow_the_output_stride(resnet18):
    assert dilations(resnet18.net.aspp) == [6, 12, 18]
    assert dilations(build("resnet18", 8).net.aspp) == [12, 24, 36]


def test_the_papers_crop_is_not_padded(mobilenet_v2):
    """129 stands for 513 = 16 x 32 + 1: its map is 9 x 9, corners on corners."""
    with torch.no_grad():
        features = Tapped(mobilenet_v2, mobilenet_v2.taps)(torch.zeros(1, 3, 129, 129))
    assert features["aspp"].shape[2:] == (9, 9)
    assert features["logits"].shape[2:] == (129, 129)


def test_the_scores_are_the_classifier_s_resized_with_aligned_corners(mobilenet_v2):
    with torch.no_grad(), Tapped(mobilenet_v2, {"small": Tap("net.classifier")}) as tapped:
        features = tapped(torch.rand(1, 3, 65, 65))
    assert features["small"].shape[2:] == (17, 17)
    # With aligned corners, every fourth pixel is one of the small map.
    torch.testing.assert_close(features["logits"][:, :, ::4, ::4], features["small"])


def test_pre_activation_taps_of_resnet18_are_the_input_of_the_relu(resnet18):
    with torch.no_grad():
        features = Tapped(resnet18, resnet18.taps)(torch.rand(1, 3, 64, 64))
    for name in ("stage1", "stage2", "stage3", "stage4", "aspp", "decoder"):
        assert (features[f"{name}_pre"] < 0).any()
        assert torch.equal(features[f"{name}_pre"].relu(), features[name])


def test_pre_activation_taps_of_mobilenet_v2_are_its_linear_bottlenecks(mobilenet_v2):
    with torch.no_grad():
        features = Tapped(mobilenet_v2, mobilenet_v2.taps)(torch.rand(1, 3, 64, 64))
    for stage in ("stage1", "stage2", "stage3", "stage4"):
        assert features[f"{stage}_pre"] is features[stage]
        assert (features[stage] < 0).any()
    assert torch.equal(features["decoder_pre"].relu(), features["decoder"])


def test_features_are_read_before_their_dropout():
    model = deeplabv3plus(3, encoder="tu-mobilenetv2_035", channels=16).train()
    features = Tapped(model, model.taps)(torch.rand(2, 3, 64, 64))
    for name in ("aspp", "decoder"):
        assert torch.equal(features[f"{name}_pre"].relu(), features[name])
    assert [module.p for module in model.net.modules() if isinstance(module, nn.Dropout)] == [0.5, 0.5, 0.1]
