"""SWTformer: maps and scores of every encoder and every size, and padding that never votes."""

import copy
import math

import pytest
import torch
from torch import nn

from segstill.build import load
from segstill.checkpoint import save_weights
from segstill.models import MODELS, Classifier, load_weights, swtformer
from segstill.models.classifier import POOLINGS
from segstill.recipe import ModelSpec, to_json
from segstill.taps import Tapped, feature_channels

from ..conftest import WEIGHTS, needs_weights
from ..helpers import small_recipe

SWIN = {
    "encoder": "tu-swin_tiny_patch4_window7_224",
    "embed_dim": 8,
    "depths": (2, 2, 3, 2),
    "num_heads": (1, 1, 2, 2),
    "window_size": 4,
    "fused_channels": (6, 6, 8, 8),
}
ENCODERS = [
    SWIN,
    {"encoder": "resnet18"},
    {"encoder": "mobilenet_v2", "output_stride": 16},
    {"encoder": "mobilenet_v2", "output_stride": 8},
    {"encoder": "tu-mobilenetv2_035"},
    {"encoder": "tu-resnet18", "output_stride": 16, "drop_path_rate": 0.1},
    {"encoder": "tu-efficientnet_lite0", "output_stride": 32},
    {"encoder": "mit_b0"},
    {"encoder": "tu-test_convnext"},
]
IDS = [" ".join(str(args.get(key, "")) for key in ("encoder", "output_stride")) for args in ENCODERS]


def build(classes=4, **args) -> Classifier:
    torch.manual_seed(0)
    return swtformer(classes, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), **args)


@pytest.fixture(scope="module")
def tiny():
    model = build(**SWIN).eval()
    nn.init.normal_(model.net.encoder.norm.bias)  # which starts at 0, where padding would be left at 0 too
    return model


@pytest.fixture(scope="module", params=ENCODERS, ids=IDS)
def entry(request):
    """One model per encoder, for tests that leave it as it was."""
    return build(**request.param).eval()


def picture(*size, images=2, seed=0):
    return torch.rand(images, 3, *size, generator=torch.Generator().manual_seed(seed))


def padded(image, rows, columns, content):
    """The image with `content` at its right and below it, and which pixels are real."""
    size = image.shape[2:]
    larger = torch.full((len(image), 3, size[0] + rows, size[1] + columns), content)
    larger[:, :, : size[0], : size[1]] = image
    valid = torch.zeros(len(image), *larger.shape[2:], dtype=torch.bool)
    valid[:, : size[0], : size[1]] = True
    return larger, valid


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 32), (64, 64), (230, 170)])
def test_maps_cover_the_padded_image_of_any_size(entry, size):
    with torch.no_grad():
        looked = entry.look(picture(*size))
        assert torch.equal(entry(picture(*size)), looked.scores)
    full = entry.padded_size(*size)
    assert full == tuple(math.ceil(side / entry.stride) * entry.stride for side in size)
    grid = tuple(side // min(16, entry.stride) for side in full)
    assert looked.scores.shape == (2, 3)
    assert looked.cam.shape == (2, 3, *(side // entry.stride for side in full))
    assert looked.encoder.shape[2:] == looked.cam.shape[2:]
    assert looked.fused is not None
    assert looked.fused.shape[2:] == looked.cells.shape[1:] == grid
    inside = [math.ceil(side / (whole // cells)) for side, whole, cells in zip(size, full, grid, strict=True)]
    assert looked.cells[:, : inside[0], : inside[1]].all()
    assert looked.cells.sum() == 2 * math.prod(inside)
    assert not looked.fused.masked_select(~looked.cells[:, None]).any()
    for value in (looked.scores, looked.cam, looked.fused, looked.encoder):
        assert value.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (67, 91), (64, 64), (128, 96), (230, 170)])
@pytest.mark.parametrize("margin", [(0, 61), (200, 0), (77, 130)])
def test_padding_of_a_swin_has_no_influence_whatever_stands_in_it(tiny, size, margin):
    with torch.no_grad():
        expected = tiny.look(picture(*size))
        for content in (0.0, torch.nan, torch.inf):
            looked = tiny.look(*padded(picture(*size), *margin, content))
            for name in ("cam", "encoder", "fused"):
                alone, inside = getattr(expected, name), getattr(looked, name)
                rows, columns = alone.shape[2:]
                torch.testing.assert_close(inside[:, :, :rows, :columns], alone, rtol=0, atol=1e-5)
            torch.testing.assert_close(looked.scores, expected.scores, rtol=0, atol=1e-5)
            assert looked.cells.sum() == expected.cells.sum()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_image_without_a_real_pixel_is_finite_and_leaves_the_others_as_they_are(pooling):
    model = build(pooling=pooling, **SWIN).train()
    model.net.encoder.eval()
    image, valid = picture(64, 96), torch.ones(2, 64, 96, dtype=torch.bool)
    valid[1] = False
    looked = model.look(image, valid)
    torch.testing.assert_close(looked.scores[:1], model(image[:1]))
    assert not looked.scores[1].any()
    assert not looked.cells[1].any()
    assert looked.fused is not None
    assert not looked.fused[1].any()
    (looked.scores.sum() + looked.fused.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_what_stands_outside_the_image_never_votes_with_any_encoder(entry):
    image = picture(100, 70)
    with torch.no_grad():
        looked, other = (entry.look(*padded(image, 60, 58, content)) for content in (torch.nan, 0.7))
    for name in ("scores", "cam", "fused", "encoder", "cells"):
        assert torch.equal(getattr(looked, name), getattr(other, name)), name


@pytest.mark.parametrize(
    ("encoder", "output_stride"),
    [("resnet18", 8), ("tu-resnet18", 16), ("mobilenet_v2", None), ("tu-test_convnext", 32)],
)
def test_a_cell_is_centred_on_the_pixels_that_it_stands_for(encoder, output_stride):
    model = build(encoder=encoder, output_stride=output_stride).eval()
    image = picture(256, 256, images=1).requires_grad_()
    middle = 256 // model.stride // 2
    cell = model.look(image).encoder[0, :, middle, middle]
    # Each channel looks at the patch in its own way; over some of them that evens out.
    weight = torch.zeros(256, 256)
    for channel in cell[:: len(cell) // 8]:
        weight += torch.autograd.grad(channel, image, retain_graph=True)[0][0].abs().sum(dim=0)
    expected = model.stride * middle + (model.stride - 1) / 2
    pixels = torch.arange(256.0)
    for axis in (0, 1):
        centre = float((weight.sum(dim=1 - axis) * pixels).sum() / weight.sum())
        assert abs(centre - expected) < model.stride / 4


def test_the_mean_of_the_maps_of_a_1x1_head_is_the_map_of_the_mean():
    model = build(head_kernel=1, **SWIN).eval()
    with torch.no_grad():
        looked = model.look(picture(96, 64))
        mean = model.net.head(looked.encoder.mean(dim=(2, 3), keepdim=True))[:, :, 0, 0]
    torch.testing.assert_close(looked.cam.mean(dim=(2, 3)), mean)
    torch.testing.assert_close(looked.scores, mean)
    assert [name for name, _ in model.net.head.named_parameters()] == ["1.weight"]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_scores_are_the_pooled_maps(pooling):
    model = build(pooling=pooling, top_share=0.3, **SWIN).eval()
    image, valid = padded(picture(96, 64), 0, 64, 0.5)
    with torch.no_grad():
        looked = model.look(image, valid)
    args = {"share": 0.3} if pooling == "top_k" else {}
    everything = torch.ones(2, 3, 2, dtype=torch.bool)
    torch.testing.assert_close(looked.scores, POOLINGS[pooling](looked.cam[:, :, :, :2], everything, **args))


def test_version_1_has_the_scores_and_taps_of_version_2_without_the_fused_feature(tiny):
    first = build(version=1, **SWIN).eval()
    first.load_state_dict({name: tiny.state_dict()[name] for name in first.state_dict()})
    with torch.no_grad():
        ours, theirs = first.look(picture(64, 96)), tiny.look(picture(64, 96))
    assert torch.equal(ours.scores, theirs.scores)
    assert torch.equal(ours.cam, theirs.cam)
    assert ours.fused is None
    assert ours.cells.shape == (2, 2, 3)
    assert set(tiny.taps) == {*first.taps, "fused"} == {"cam", "encoder", "fused", *(f"stage{n}" for n in range(1, 5))}


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("stages", [(1, 2, 3, 4), [4, 3], (2,)])
def test_the_chosen_stages_are_fused(stages, project):
    model = build(stages=stages, project=project, **SWIN)
    projected, plain = (6, 6, 8, 8), (8, 16, 32, 64)
    channels = feature_channels(model, model.taps, torch.zeros(1, 3, 64, 64))
    assert channels["fused"] == sum((projected if project else plain)[stage - 1] for stage in stages)
    assert [channels[f"stage{stage}"] for stage in (1, 2, 3, 4)] == list(plain)
    assert (channels["logits"], channels["cam"], channels["encoder"]) == (3, 3, 64)


def test_unnormalised_stages_have_mean_0_and_variance_1_before_they_are_fused_or_classified():
    for args, layer_norm in ((SWIN, True), ({"encoder": "tu-test_convnext"}, True), ({"encoder": "resnet18"}, False)):
        model = build(**args).eval()
        with torch.no_grad(), Tapped(model, {name: model.taps[name] for name in ("stage4", "encoder")}) as tapped:
            seen = tapped(picture(64, 64))
        torch.testing.assert_close(
            seen["encoder"],
            nn.functional.layer_norm(seen["stage4"].permute(0, 2, 3, 1), seen["stage4"].shape[1:2]).permute(0, 3, 1, 2)
            if layer_norm
            else seen["stage4"],
        )


def test_taps_are_what_look_returns(entry):
    image, valid = padded(picture(70, 90), 26, 38, 0.0)
    with torch.no_grad(), Tapped(entry, entry.taps) as tapped:
        seen, looked = tapped(image, valid=valid), entry.look(image, valid)
    assert torch.equal(seen["logits"], looked.scores)
    for name in ("cam", "encoder", "fused"):
        assert torch.equal(seen[name], getattr(looked, name)), name
    for stage, stride in enumerate((4, 8, 16, 32), 1):
        stride = min(stride, entry.stride)
        rows, columns = math.ceil(70 / stride), math.ceil(90 / stride)
        feature = seen[f"stage{stage}"]
        assert feature.shape[2:] == (96 // stride, 128 // stride)
        assert feature[:, :, :rows, :columns].any()
        assert not feature[:, :, rows:].any()
        assert not feature[:, :, :, columns:].any()


def test_no_gradient_of_the_fused_feature_reaches_encoder_or_head_and_one_of_the_scores_does(entry):
    model = copy.deepcopy(entry).train()
    looked = model.look(picture(64, 96))
    looked.fused.square().sum().backward()
    assert all(p.grad is None for part in (model.net.encoder, model.net.head) for p in part.parameters())
    assert all(p.grad is not None and p.grad.any() for p in model.net.fusion.parameters())
    looked = model.look(picture(64, 96))
    (looked.scores * torch.randn(3)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_bytes_and_floats_give_the_same_scores(tiny):
    pixels = (picture(40, 50) * 255).to(torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(tiny(pixels), tiny(pixels.float() / 255))


def test_a_checkpoint_brings_the_classifier_back(tmp_path):
    spec = ModelSpec(name="swtformer", args={**SWIN, "branches": "learned", "pooling": "gwrp", "stages": (3, 4)})
    model = MODELS["swtformer"](4, mean=spec.mean, std=spec.std, pretrained=None, **spec.args).eval()
    about = {"recipe": to_json(small_recipe(student=spec)), "classes": ("background", "a", "b", "c")}
    save_weights(tmp_path / "w.safetensors", model, about)
    loaded = load(tmp_path / "w.safetensors").model
    assert isinstance(loaded, Classifier)
    with torch.no_grad():
        assert torch.equal(loaded(picture(50, 60)), model(picture(50, 60)))


@needs_weights
@pytest.mark.parametrize("output_stride", [8, 16, 32, None])
def test_imagenet_weights_of_mobilenet_v2_fill_the_encoder(output_stride):
    model = build(encoder="mobilenet_v2", output_stride=output_stride)
    report = load_weights(model, WEIGHTS / "mobilenet_v2_1.0_imagenet.pth")
    assert report.part == "net.encoder"
    assert set(report.loaded) == {name for name in model.state_dict() if name.startswith("net.encoder.")}
    assert not report.other_shape


def test_a_mask_of_real_pixels_of_another_size_is_refused(tiny):
    with pytest.raises(ValueError, match=r"valid has shape \(2, 32, 32\) and the image \(2, 3, 64, 64\), expected"):
        tiny(picture(64, 64), torch.ones(2, 32, 32, dtype=torch.bool))
