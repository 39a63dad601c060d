"""Features of networks that nobody described are found by running them: strides, channels and layouts are right."""

import copy

import pytest
import torch
from torch import nn

from segstill.models import MODELS, probe, tap_at
from segstill.models.guest import Guest
from segstill.taps import Tapped

from .networks import Columns, Flat, Wrapped

# "encoder" repeats the deepest stage.  Stage -> (stride, channels); other taps likewise.
FOUND = [
    ("smp", {"encoder": "mobilenet_v2"}, {"stage1": (4, 24), "stage2": (8, 32), "stage3": (16, 96), "aspp": (16, 256)}),
    (
        "smp",
        {"architecture": "Unet", "encoder": "mobilenet_v2"},
        {"stage1": (4, 24), "stage2": (8, 32), "stage3": (16, 96), "stage4": (32, 1280), "decoder": (1, 16)},
    ),
    (
        "smp",
        {"architecture": "Segformer", "encoder": "mit_b0"},
        {"stage1": (4, 32), "stage2": (8, 64), "stage3": (16, 160), "stage4": (32, 256), "decoder": (4, 256)},
    ),
    (
        "smp",
        {"architecture": "FPN", "encoder": "tu-convnext_atto"},
        {"stage1": (4, 40), "stage2": (8, 80), "stage3": (16, 160), "stage4": (32, 320), "decoder": (4, 128)},
    ),
    (
        "torchvision",
        {"model": "deeplabv3_resnet50"},
        {"stage1": (4, 256), "stage2": (8, 2048), "encoder": (8, 2048), "decoder": (8, 256)},
    ),
    (
        "torchvision",
        {"model": "lraspp_mobilenet_v3_large"},
        {"stage1": (4, 24), "stage2": (8, 40), "stage3": (16, 960), "decoder": (8, 128)},
    ),
    (
        "transformers",
        {"model": "segformer"},
        {"stage1": (4, 32), "stage2": (8, 64), "stage3": (16, 160), "stage4": (32, 256), "decoder": (4, 256)},
    ),
    (
        "smp",
        {"architecture": "DPT", "encoder": "tu-test_vit", "img_size": 64},
        {"stage3": (16, 64), "encoder": (16, 64), "decoder": (2, 256)},
    ),
    ("timm", {"encoder": "test_vit"}, {"stage3": (16, 64), "encoder": (16, 64), "decoder": (16, 64)}),
    (
        "timm",
        {"encoder": "swin_tiny_patch4_window7_224", "depths": (1, 1, 1, 1), "embed_dim": 24, "size": 224},
        {"stage1": (4, 24), "stage2": (8, 48), "stage3": (16, 96), "stage4": (32, 192), "decoder": (32, 192)},
    ),
    (
        "transformers",
        {
            "model": "upernet",
            "hidden_size": 32,
            "backbone_model_type": "swin",
            "backbone_depths": (1, 1, 1, 1),
            "backbone_embed_dim": 16,
            "backbone_num_heads": (1, 1, 1, 1),
        },
        {"stage1": (4, 16), "stage2": (8, 32), "stage3": (16, 64), "stage4": (32, 128), "decoder": (4, 32)},
    ),
    (
        "user",
        {"factory": "tests.models.networks:flat"},
        {"stage1": (4, 8), "stage2": (8, 16), "stage3": (16, 32), "decoder": (2, 4)},
    ),
]


@pytest.mark.parametrize(("name", "args", "expected"), FOUND, ids=[f"{n} {list(a.values())[:2]}" for n, a, _ in FOUND])
def test_taps_have_the_strides_and_channels_of_the_architecture(name, args, expected):
    model = MODELS[name](7, **args).eval()
    height, width = model.size or (64, 96)
    with torch.no_grad():
        features = Tapped(model, model.taps)(torch.rand(2, 3, height, width))
    for tap, (stride, channels) in expected.items():
        assert features[tap].shape == (2, channels, height // stride, width // stride), tap
    deepest = max(stride for tap, (stride, _) in expected.items() if tap.startswith("stage"))
    assert features["encoder"].shape[2] == height // deepest
    stages = {tap for tap in features if tap.startswith("stage") and not tap.endswith("_pre")}
    assert {tap for tap in expected if tap.startswith("stage")} <= stages


def test_tokens_are_laid_out_as_the_library_lays_them_out():
    """timm makes a map of the tokens behind its prefix itself; the tap must give the same one."""
    model = MODELS["timm"](3, encoder="test_vit").eval()
    tap = model.taps["encoder"]
    assert (tap.layout, tap.prefix, tap.stride) == ("NLC", 1, 16)
    image = torch.rand(2, 3, 50, 90)
    with torch.no_grad():
        features = Tapped(model, model.taps)(image)
        assert torch.equal(features["encoder"], features["decoder"])
    assert features["encoder"].shape == (2, 64, 4, 6)


def test_register_tokens_are_left_out():
    tap = MODELS["timm"](3, encoder="vit_small_patch16_dinov3", depth=1, embed_dim=64, num_heads=2).taps["encoder"]
    assert (tap.layout, tap.prefix, tap.stride) == ("NLC", 5, 16)


def test_probing_leaves_a_network_as_it_was():
    net = Flat(3)
    net.down1.eval()
    state, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    probe(net)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks for module in net.modules())
    assert all(module.inplace for module in net.modules() if isinstance(module, nn.ReLU))


def test_the_trunk_is_the_part_that_makes_the_image_coarser():
    assert probe(Wrapped(3, lambda scores: scores)).trunk == "backbone"
    assert probe(Flat(3)).trunk == ""
    assert probe(MODELS["timm"](3, encoder="test_vit").net).trunk == "encoder"
    assert probe(MODELS["smp"](3, architecture="Unet", encoder="mobilenet_v2").net).trunk == "encoder"


def test_the_stride_is_what_the_sides_must_be_multiples_of():
    assert probe(Flat(3)).stride == 1  # every convolution is padded
    assert probe(MODELS["timm"](3, encoder="test_vit").net).stride == 16
    assert (
        probe(MODELS["timm"](3, encoder="vit_small_patch14_dinov2", depth=1, embed_dim=64, num_heads=2).net).stride
        == 14
    )
    # The encoder has stride 16, but the decoder halves that once more.
    assert MODELS["smp"](3, architecture="DPT", encoder="tu-test_vit", dynamic_img_size=True).stride == 32


def test_what_a_block_holds_before_it_makes_the_map_coarser_is_not_a_stage():
    stages = probe(MODELS["torchvision"](3, model="lraspp_mobilenet_v3_large").net).stages
    assert stages["stage1"].tap.path == "model.backbone.3"  # not the 72 channels inside the block after it
    assert stages["stage1"].channels == 24


def test_a_network_of_one_size_needs_to_say_it():
    with pytest.raises(ValueError, match=r"Columns does not run on an image of 64 x 96.*size="):
        probe(Columns(3))
    assert probe(Columns(3), size=(48, 48)).stages["encoder"].stride == 16


def test_a_module_path_becomes_a_tap_with_its_layout():
    model = MODELS["timm"](3, encoder="test_vit").eval()
    tap = tap_at(model, "encoder.blocks.2")
    assert (tap.path, tap.layout, tap.prefix, tap.stride) == ("net.encoder.blocks.2", "NLC", 1, 16)
    assert tap_at(model, "net.encoder.blocks.2") == tap
    assert tap_at(model, "encoder") == model.taps["encoder"]
    assert tap_at(Guest(model, scale=2.0), "encoder.blocks.2").path == "net.net.encoder.blocks.2"


def test_a_module_path_is_taken_as_its_own_library_writes_it():
    model = MODELS["torchvision"](3, model="lraspp_mobilenet_v3_large").eval()
    tap = tap_at(model, "backbone.6")
    assert tap.path == "net.model.backbone.6"
    with torch.no_grad():
        assert Tapped(model, {"x": tap})(torch.zeros(1, 3, 64, 64))["x"].shape == (1, 40, 8, 8)


def test_a_module_whose_output_is_overwritten_can_be_tapped_after_all():
    model = MODELS["user"](3, factory="tests.models.networks:in_a_dict")
    tap = tap_at(model, "backbone.1.1")  # a batch normalisation before an in-place activation
    assert Tapped(model, {"x": tap})(torch.rand(2, 3, 32, 32))["x"].min() < 0


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("encoder.blocks.7", r"'encoder.blocks.7' is no tap and no module.*'encoder.blocks.5'"),
        ("encoder.blocks", r"returns no maps, expected one"),
        ("", r"'' is no tap and no module"),
    ],
)
def test_a_place_that_is_no_map_is_answered_with_the_nearest(place, message):
    with pytest.raises(ValueError, match=message):
        tap_at(MODELS["timm"](3, encoder="test_vit"), place)
