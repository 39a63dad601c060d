"""What every entry of MODELS that predicts masks promises; a classifier has promises of its own (test_swtformer.py)."""

import copy
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from segstill.models import MODELS, Segmenter
from segstill.taps import Tapped

SEGFORMER = {"depths": (1, 1, 1, 1), "hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 1, 1, 1)}
SMALL = {
    "deeplabv3_mobilenet": {"width": 0.25, "channels": 16},
    "deeplabv3plus": {"encoder": "tu-mobilenetv2_035", "channels": 16, "low_level_channels": 8},
    "smp": {"encoder": "tu-mobilenetv2_035", "decoder_channels": 16},
    "timm": {"encoder": "test_vit"},
    "tiny": {"width": 4},
    "torchvision": {"model": "lraspp_mobilenet_v3_large"},
    "transformers": {"model": "segformer", "decoder_hidden_size": 16} | SEGFORMER,
    "user": {"factory": "tests.models.networks:flat"},
}
CLASSIFIERS = {"swtformer"}
"""They score images, not pixels, of at least one class beside background."""
OF_PAIRS = {"affinity"}
"""They score no class: see test_affinity.py."""
ENTRIES = [
    *((name, args) for name, args in SMALL.items()),
    ("deeplabv3plus", {"encoder": "resnet18", "channels": 16}),
    ("deeplabv3plus", {"encoder": "mobilenet_v2", "channels": 16, "output_stride": 8}),
    ("smp", {"architecture": "unet", "encoder": "mobilenet_v2", "decoder_channels": (32, 16, 8, 8, 8)}),
    ("smp", {"architecture": "FPN", "encoder": "tu-mobilenetv2_035"}),
    ("smp", {"architecture": "DPT", "encoder": "tu-test_vit", "dynamic_img_size": True}),
    ("smp", {"architecture": "DPT", "encoder": "tu-test_vit", "img_size": 64}),
    ("deeplabv3_mobilenet", {"width": 0.25, "channels": 16, "size": 65}),
    ("timm", {"encoder": "test_convnext"}),
    ("tiny", {"width": 4, "depth": 4, "norm": "group"}),
    ("torchvision", {"model": "deeplabv3_mobilenet_v3_large"}),
    ("user", {"factory": "tests.models.networks:in_a_dict", "width": 4}),
]
IDS = [" ".join(map(str, (name, *list(args.values())[:2]))) for name, args in ENTRIES]


def build(name, args, classes=3) -> Segmenter:
    torch.manual_seed(0)
    return MODELS[name](classes, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), pretrained=None, **args)


@pytest.fixture(scope="module", params=ENTRIES, ids=IDS)
def entry(request):
    """One model per entry, for tests that leave it as it was."""
    return build(*request.param)


@pytest.fixture
def image():
    return torch.rand(2, 3, 67, 91, generator=torch.Generator().manual_seed(0))


def test_every_name_is_under_contract():
    assert set(SMALL) | CLASSIFIERS | OF_PAIRS == set(MODELS)


def test_scores_have_the_size_of_an_odd_image_and_are_the_same_twice(entry, image):
    entry.eval()
    with torch.no_grad():
        scores = entry(image)
        assert scores.shape == (2, 3, 67, 91)
        assert torch.equal(entry(image), scores)


def test_bytes_and_floats_give_the_same_scores(entry, image):
    entry.eval()
    pixels = (image * 255).to(torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(entry(pixels), entry(pixels.float() / 255))


def test_taps_are_maps_at_the_stride_that_their_name_says(entry, image, request):
    entry.eval()
    with torch.no_grad(), Tapped(entry, entry.taps) as tapped:
        features = tapped(image)
    assert "decoder" in features
    # Their decoders end in a sum of activated maps and in a gate: nothing there lies before an activation.
    ends_activated = any(name in request.node.name for name in ("FPN", "lraspp"))
    assert ends_activated or "decoder_pre" in features
    for name, feature in features.items():
        assert feature.ndim == 4
        if name.startswith("stage"):
            stride = 2 ** (int(name[5]) + 1)
            padded = entry.size or [math.ceil(side / entry.stride) * entry.stride for side in (67, 91)]
            full = tuple(math.ceil(side / stride) for side in padded)
            # A dilated encoder stops halving.
            assert feature.shape[2:] == full or feature.shape[2:] == features["aspp"].shape[2:], name
    assert features["encoder"].shape[2] <= min(feature.shape[2] for feature in features.values())
    stages = [features[name].shape[2] for name in sorted(features) if name.startswith("stage") and name[-1].isdigit()]
    assert len(stages) >= 3 or "stage1" not in features  # a plain transformer has one stride
    assert all(fine >= coarse for fine, coarse in pairwise(stages))


def test_features_before_and_after_their_activation_belong_together(entry, image):
    entry.eval()
    with torch.no_grad(), Tapped(entry, entry.taps) as tapped:
        features = tapped(image)
    for name in entry.taps:
        if name.endswith("_pre"):
            pre, post = features[name], features[name.removesuffix("_pre")]
            functions = (F.relu, F.relu6, F.hardswish, F.gelu, F.silu)
            possible = [pre, *(function(pre) for function in functions)]
            assert any(torch.equal(post, each) for each in possible), name


def test_the_encoder_is_a_strict_part_of_the_network(entry):
    if not entry.encoder:
        pytest.skip("its parts lie side by side")
    encoder = entry.get_submodule(entry.encoder)
    inside = {id(parameter) for parameter in encoder.parameters()}
    assert inside
    assert inside < {id(parameter) for parameter in entry.parameters()}


@pytest.mark.parametrize(("name", "args"), SMALL.items())
def test_a_model_is_born_in_train_mode_without_hooks_and_with_fresh_statistics(name, args):
    fresh = build(name, args)
    assert all(module.training for module in fresh.modules())
    if name != "transformers":  # whose networks keep hooks of their own once they have run
        assert not any(module._forward_hooks for module in fresh.modules())
    assert all(parameter.grad is None for parameter in fresh.parameters())
    counters = [value for name, value in fresh.state_dict().items() if name.endswith("num_batches_tracked")]
    assert all(value == 0 for value in counters)
    means = [value for name, value in fresh.state_dict().items() if name.endswith("running_mean")]
    assert all(not value.any() for value in means)


def test_reading_taps_in_train_mode_works_and_moves_no_names(entry, image):
    model = copy.deepcopy(entry).train()
    names = list(model.state_dict())
    with Tapped(model, entry.taps) as tapped:
        features = tapped(image)
    assert set(features) == {"logits", *entry.taps}
    assert list(model.state_dict()) == names
    assert all(module.training for module in model.modules())


def test_the_gradient_reaches_every_parameter(entry, image):
    model = copy.deepcopy(entry).train()
    weights = torch.randn(2, 3, 67, 91, generator=torch.Generator().manual_seed(1))
    (model(image) * weights).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("name", SMALL)
def test_one_class_is_enough(name):
    model = build(name, SMALL[name], classes=1).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 33, 32)).shape == (1, 1, 33, 32)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [0, -1, 2.0, True])
def test_a_senseless_number_of_classes_is_refused(name, classes):
    with pytest.raises(ValueError, match=r"classes is .*expected an integer of at least 1"):
        MODELS[name](classes)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("deeplabv3plus", {"chanels": 8}, r"no argument of deeplabv3plus 'chanels'; did you mean.*'channels'"),
        ("smp", {"decoder_chanels": 8}, r"no argument of DeepLabV3Plus 'decoder_chanels'.*'decoder_channels'"),
        ("tiny", {"widht": 8}, r"no argument of tiny 'widht'; did you mean.*'width'"),
        ("deeplabv3plus", {"encoder": "resnet19"}, r"no encoder 'resnet19'; did you mean.*'resnet18'"),
        ("smp", {"encoder": "mobilenetv2"}, r"no encoder 'mobilenetv2'; did you mean.*'mobilenet_v2'"),
        ("smp", {"encoder": "tu-mobilenetv2_036"}, r"no encoder.*'tu-mobilenetv2_035'"),
        ("smp", {"architecture": "DeepLab"}, r"no architecture 'DeepLab'; did you mean.*'DeepLabV3'"),
        ("smp", {"aux_params": {}}, r"no argument of DeepLabV3Plus 'aux_params'"),
        ("smp", {"encoder": "tu-resnet18", "aux_params": {}}, r"no argument of DeepLabV3Plus 'aux_params'"),
        ("smp", {"encoder_output_stride": 12}, r"cannot be built.*output stride 8 or 16"),
        ("smp", {"encoder": "densenet121"}, r"cannot be built.*do not support dilated mode"),
        ("deeplabv3plus", {"encoder": "densenet121"}, r"'densenet121' cannot have output stride 16.*Unet"),
        ("deeplabv3plus", {"output_stride": 32}, r"output_stride is 32, expected one of \[8, 16\]"),
        ("deeplabv3plus", {"channels": 0}, r"channels is 0, expected an integer of at least 1"),
        ("deeplabv3plus", {"pretrained": "coco"}, r"'resnet18' has no public weights 'coco'.*'imagenet'"),
        ("smp", {"encoder": "tu-mobilenetv2_035", "pretrained": "imagenet"}, r"no public weights.*expected None"),
        ("tiny", {"norm": "layer"}, r"no norm 'layer'; expected one of \['batch', 'group'\]"),
        ("tiny", {"depth": 0}, r"depth is 0, expected an integer of at least 1"),
        ("tiny", {"pretrained": "imagenet"}, r"tiny has no public weights"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_was_expected(name, args, message):
    with pytest.raises(ValueError, match=message):
        MODELS[name](3, **args)


@pytest.mark.parametrize("name", ["deeplabv3plus", "smp"])
def test_public_weights_are_asked_for_and_a_failed_download_names_the_remedy(name, monkeypatch):
    import segmentation_models_pytorch.encoders as library

    asked = []

    def offline(repository, **_):
        asked.append(repository)
        raise OSError("no network")

    monkeypatch.setattr(library, "hf_hub_download", offline)
    with pytest.raises(ConnectionError, match=r"could not download the 'imagenet' weights.*give a file"):
        MODELS[name](3, encoder="mobilenet_v2", pretrained="imagenet")
    assert asked == ["smp-hub/mobilenet_v2.imagenet"]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("deeplabv3plus", SMALL["deeplabv3plus"]),
        ("smp", SMALL["smp"]),
        ("smp", {"architecture": "UPerNet", "encoder": "mobilenet_v2", "decoder_channels": 16}),
    ],
)
def test_a_training_batch_of_one_is_refused_with_the_remedy_where_image_pooling_normalises(name, args):
    model = build(name, args)
    with pytest.raises(ValueError, match=r"training batch of 1 image, expected at least 2 per process.*drop the last"):
        model(torch.rand(1, 3, 64, 64))
    with torch.no_grad():
        model.eval()(torch.rand(1, 3, 64, 64))
