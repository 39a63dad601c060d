"""Architectures of segmentation_models_pytorch keep their function and publish their taps."""

import pytest
import segmentation_models_pytorch as library
import torch

from segstill.models import smp
from segstill.taps import Tapped

IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("architecture", "args"),
    [
        ("DeepLabV3Plus", {"decoder_channels": 16}),
        ("DeepLabV3", {"decoder_channels": 16}),
        ("FPN", {"decoder_segmentation_channels": 32}),
        ("PSPNet", {"psp_out_channels": 16}),
        ("Segformer", {"decoder_segmentation_channels": 16}),
    ],
)
def test_the_function_is_the_library_s_and_taps_are_read_in_train_mode(architecture, args):
    torch.manual_seed(0)
    original = getattr(library, architecture)("tu-mobilenetv2_035", encoder_weights=None, classes=3, **args).eval()
    torch.manual_seed(0)
    model = smp(3, architecture=architecture, encoder="tu-mobilenetv2_035", **args)
    with torch.no_grad():
        assert torch.equal(model.eval().net(IMAGE), original(IMAGE))
    features = Tapped(model.train(), model.taps)(IMAGE)
    assert ("aspp" in features) == architecture.startswith("DeepLab")
    for name in ("aspp", "decoder"):
        if f"{name}_pre" in features and model.taps[f"{name}_pre"] != model.taps[name]:
            assert torch.equal(features[f"{name}_pre"].relu(), features[name])


def test_a_shallower_encoder_publishes_fewer_stages():
    model = smp(3, architecture="PSPNet", encoder="resnet18", encoder_depth=3, psp_out_channels=16)
    assert {name for name in model.taps if name.startswith("stage")} == {"stage1", "stage1_pre", "stage2", "stage2_pre"}
    assert model.stride == 8


def test_an_encoder_that_starts_at_stride_4_publishes_all_four_stages():
    model = smp(3, architecture="FPN", encoder="mit_b0").eval()
    with torch.no_grad():
        features = Tapped(model, model.taps)(IMAGE)
    assert [features[f"stage{stage}"].shape[2] for stage in (1, 2, 3, 4)] == [16, 8, 4, 2]


def test_names_of_architectures_are_taken_in_any_case():
    assert type(smp(3, architecture="unet", encoder="tu-mobilenetv2_035").net) is library.Unet


def test_arguments_of_timm_reach_its_encoders():
    model = smp(3, architecture="Unet", encoder="tu-mobilenetv2_035", drop_rate=0.25)
    assert model.classes == 3
    with pytest.raises(ValueError, match=r"cannot be built: .*no_such_thing"):
        smp(3, architecture="Unet", encoder="tu-mobilenetv2_035", no_such_thing=1)


def test_an_encoder_of_one_fixed_size_names_the_remedy():
    with pytest.raises(ValueError, match=r"does not run on an image of 64 x 64.*img_size"):
        smp(3, architecture="Unet", encoder="tu-maxvit_pico_rw_256")


def test_an_architecture_that_needs_a_large_map_is_published():
    assert {"stage4", "stage4_pre", "decoder"} < set(smp(3, architecture="PAN", encoder="tu-mobilenetv2_035").taps)


def test_the_stages_that_a_shallow_encoder_cuts_off_are_gone():
    model = smp(11, encoder_depth=3, encoder_output_stride=8, decoder_channels=48)
    blocks = {name.split(".")[3] for name, _ in model.named_parameters() if name.startswith("net.encoder.features")}
    assert blocks == {"0", "1", "2", "3", "4", "5", "6"}
    assert sum(p.numel() for p in model.parameters()) == 86315
