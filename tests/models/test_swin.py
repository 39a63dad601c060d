"""Our forward pass of timm's Swin equals timm's where no padding is, and never looks at padding."""

import pytest
import timm
import torch

from segstill.models import load_weights, swtformer
from segstill.models.classifier import cells_inside
from segstill.models.swin import swin
from segstill.taps import Tapped

NAME = "swin_tiny_patch4_window7_224"
TINY = {"embed_dim": 8, "depths": (2, 2, 3, 2), "num_heads": (1, 1, 2, 2), "window_size": 4}


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    net = swin(f"tu-{NAME}", **TINY).eval()
    for name, parameter in net.named_parameters():
        # Those that timm starts near zero would hide what they do.
        if "bias" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return net


def picture(*size, seed=0):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side", [128, 256])
def test_stages_are_timms_where_windows_fit(tiny, side):
    """At 128 the last stage is one window, which nobody shifts; at 256 it is four, which are shifted."""
    body = timm.create_model(NAME, img_size=side, num_classes=0, **TINY).eval()
    body.load_state_dict(tiny.state_dict())
    with torch.no_grad():
        expected = body.forward_intermediates(picture(side, side), intermediates_only=True)
        for stage, theirs in zip(tiny(picture(side, side)), expected, strict=True):
            torch.testing.assert_close(stage, theirs)


def test_swin_t_is_timms_at_224_reads_its_weights_and_has_the_sizes_of_the_paper(tmp_path):
    torch.manual_seed(0)
    body = timm.create_model(NAME).eval()
    model = swtformer(21).eval()
    torch.save(body.state_dict(), tmp_path / "swin.pth")
    report = load_weights(model, tmp_path / "swin.pth")
    assert report.part == "net.encoder"
    assert set(report.unexpected) == {"head.fc.weight", "head.fc.bias"}
    assert not any(name.startswith("net.encoder") for name in (*report.missing, *report.other_shape))
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad(), Tapped(model, model.taps) as tapped:
        seen = tapped(image)
        expected = body.forward_intermediates(model.normalised(image), intermediates_only=True)
        deepest = body.forward_features(model.normalised(image))
    for index, stage in enumerate(expected, 1):
        torch.testing.assert_close(seen[f"stage{index}"], stage)
    torch.testing.assert_close(seen["encoder"], deepest.permute(0, 3, 1, 2))
    count = {path: sum(p.numel() for p in model.get_submodule(path).parameters()) for path in ("", "net.encoder")}
    assert round(count["net.encoder"] / 1e6, 1) == 27.5
    assert sum(p.numel() for p in model.net.head.parameters()) == 768 * 20 * 9 + 20 == 138_260
    assert sum(p.numel() for p in model.net.fusion.parameters()) == 331_776
    assert count[""] == count["net.encoder"] + 138_260 + 331_776


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (96, 64), (64, 160), (224, 160)])
@pytest.mark.parametrize("margin", [(32, 32), (64, 0), (0, 128)])
def test_padding_has_no_influence_however_much_there_is(tiny, size, margin):
    """Images that fit into one window stay unshifted however far their padding reaches."""
    padded = torch.full((2, 3, size[0] + margin[0], size[1] + margin[1]), 7.0)
    padded[:, :, : size[0], : size[1]] = picture(*size)
    valid = torch.zeros(2, *padded.shape[2:], dtype=torch.bool)
    valid[:, : size[0], : size[1]] = True
    with torch.no_grad():
        stages = tiny(picture(*size))
        with_padding = tiny(padded, [cells_inside(valid, stride) for stride in tiny.strides])
    for alone, stage in zip(stages, with_padding, strict=True):
        rows, columns = alone.shape[2:]
        torch.testing.assert_close(stage[:, :, :rows, :columns], alone, rtol=1e-5, atol=1e-5)
        assert not stage[:, :, rows:].any()
        assert not stage[:, :, :, columns:].any()


def test_images_of_one_batch_do_not_share_their_padding(tiny):
    """Of three images the first fills one window, the second four, the third has holes and a margin all around."""
    images = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    valid = torch.zeros(3, 160, 160, dtype=torch.bool)
    valid[0, :96, :64] = True
    valid[1] = True
    valid[2, 40:150, 30:120] = True
    valid[2, 60:70, 50:90] = False
    images = images * valid[:, None]
    with torch.no_grad():
        together = tiny(images, [cells_inside(valid, stride) for stride in tiny.strides])
        for index in range(3):
            one = slice(index, index + 1)
            alone = tiny(images[one], [cells_inside(valid[one], stride) for stride in tiny.strides])
            for stage, expected in zip(together, alone, strict=True):
                torch.testing.assert_close(stage[one], expected)


def test_a_token_sees_its_window_and_then_its_shifted_window(tiny):
    """On 6 x 10 tokens with windows of 4: worked out by hand, not from the code's own windows."""

    def rows(index, shift):
        return (index + (4 - shift if shift else 0)) // 4

    def together(a, b, shift):
        return all(rows(i, shift) == rows(j, shift) for i, j in zip(a, b, strict=True))

    tokens = [(row, column) for row in range(6) for column in range(10)]
    image = picture(24, 40)[:1].requires_grad_()
    stage = tiny(image)[0]
    weights = torch.randn(stage.shape[1], generator=torch.Generator().manual_seed(1))
    for to in [(0, 0), (1, 1), (2, 5), (5, 9), (3, 2), (5, 4)]:
        (gradient,) = torch.autograd.grad(stage[0, :, *to] @ weights, image, retain_graph=True)
        seen = gradient[0].abs().sum(dim=0).unflatten(1, (10, 4)).unflatten(0, (6, 4)).sum(dim=(1, 3)) > 0
        for token in tokens:
            linked = any(together(token, by, 0) and together(by, to, 2) for by in tokens)
            assert seen[token] == linked, (token, to)


def test_the_gradient_is_finite_with_padding_and_reaches_every_weight(tiny):
    net = swin(f"tu-{NAME}", drop_path_rate=0.0, **TINY).train()
    valid = torch.zeros(2, 96, 96, dtype=torch.bool)
    valid[0, :50, :70] = True  # and nothing of the second image
    stages = net(picture(96, 96) * valid[:, None], [cells_inside(valid, stride) for stride in net.strides])
    sum(stage.square().sum() for stage in [*stages, net.norm(stages[-1].permute(0, 2, 3, 1))]).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_half_precision_is_near_single_precision(tiny):
    valid = torch.zeros(2, 96, 96, dtype=torch.bool)
    valid[:, :70, :50] = True
    given = picture(96, 96) * valid[:, None], [cells_inside(valid, stride) for stride in tiny.strides]
    with torch.no_grad():
        expected = tiny(*given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            stages = tiny(*given)
    for stage, single in zip(stages, expected, strict=True):
        assert (stage - single).norm() < 0.03 * single.norm()


def test_patches_may_be_smaller_and_stages_may_have_windows_of_their_own():
    net = swin(f"tu-{NAME}", patch_size=2, **TINY | {"window_size": [8, 4, 4, 2]}).eval()
    assert net.strides == [2, 4, 8, 16]
    assert net.channels == [8, 16, 32, 64]
    with torch.no_grad():
        assert [stage.shape[2:] for stage in net(picture(32, 48))] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_stochastic_depth_is_an_argument():
    net = swin(f"tu-{NAME}", drop_path_rate=0.5, **TINY)
    probabilities = [getattr(block.drop_path1, "drop_prob", 0) for layer in net.layers for block in layer.blocks]
    assert probabilities[0] == 0
    assert probabilities[-1] == 0.5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"img_size": 256}, r"no argument of tu-swin_tiny.* 'img_size'; .*'window_size'"),
        ({"embed_dims": 8}, r"cannot be built: .*embed_dims"),
        ({"depths": (2, 2, 2), "num_heads": (1, 1, 1)}, r"has 3 stages, expected 4: give 4 depths"),
        ({"num_heads": (1, 2)}, r"with \{'num_heads': \(1, 2\).* cannot be built"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_was_expected(args, message):
    with pytest.raises(ValueError, match=message):
        swin(f"tu-{NAME}", **args)


def test_an_unknown_swin_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"no encoder .*; did you mean one of .*'tu-swin_tiny_patch4_window7_224'"):
        swin("tu-swin_tiny_patch4_window7_22")
