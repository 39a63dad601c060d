"""The background-aware block: golden numbers, a value by hand, against loops, and what must not count."""

import pytest
import torch

from segstill.prototypes import background_aware, cosine_maps, normalised, prototypes, soft_iou

from .losses.golden import assert_close_to_golden, every_source, fused, read
from .prototypes_by_loops import by_loops, nearest


@every_source
def test_the_training_form_agrees_with_the_published_code(source):
    golden = read(source, "sipe")
    given = {name.removeprefix("train."): value for name, value in golden.items() if name.startswith("train.")}
    valid = given["valid_mask"][:, 0] > 0  # background is masked by the image alone
    assert not valid.all()
    features = fused(golden, "train")
    assert_close_to_golden(features, given["fused_feature"])
    found = background_aware(
        given["raw_cam"],
        features,
        given["image_labels"],
        semantic=given["stage4"],
        valid=valid,
        untagged="masked",
        variant="published",
    )
    assert_close_to_golden(found.maps, given["norm_cam"])
    assert_close_to_golden(found.maps[:, 0], given["background_map"])
    assert torch.equal(found.seeds, given["seeds"].float())
    assert_close_to_golden(found.prototypes, given["prototypes"])
    assert_close_to_golden(found.is_cam, given["is_cam"])
    assert_close_to_golden(normalised(found.is_cam), given["is_cam_normalised"])
    iou = soft_iou(found.maps, given["stage4"])
    iou[:, 0] *= 0.5
    assert_close_to_golden(iou.softmax(dim=1), given["soft_iou_softmax"])
    assert torch.equal(iou.argmax(dim=1), given["seed_argmax"].long())
    seeded = given["seeds"].flatten(2).any(dim=2)[:, 1:]
    assert (~seeded & (given["image_labels"] > 0)).any()  # a tagged class without a seed is among them


@every_source
def test_the_form_of_inference_agrees_with_the_published_code(source):
    golden = read(source, "sipe")
    features, cam = ((pair[:1] + pair[1:].flip(-1)) for pair in (fused(golden, "infer"), golden["infer.raw_cam"]))
    tags = golden["infer.label_with_background"][None, 1:]
    found = background_aware(cam, features, tags, untagged="present")
    assert_close_to_golden(features, golden["infer.fused_feature"])
    assert_close_to_golden(found.maps, golden["infer.norm_cam"])
    assert torch.equal(found.seeds[0], golden["infer.seeds"].float())
    assert_close_to_golden(found.is_cam, golden["infer.is_cam"])
    iou = soft_iou(found.maps, features)
    iou[:, 0] *= 0.5
    assert_close_to_golden(iou.softmax(dim=1), golden["infer.soft_iou_softmax"])
    assert not golden["infer.seeds"].any(dim=0).all()  # cells that an untagged class wins are among them
    everywhere = background_aware(cam, features, tags).seeds.sum(dim=1)
    assert torch.equal(everywhere, torch.ones_like(everywhere))


def sample(seed=0, dtype=torch.float64):
    """Class maps on a grid of their own, features, tags, semantic features on a third grid, valid cells."""
    g = torch.Generator().manual_seed(seed)
    cam = torch.randn(2, 3, 3, 2, generator=g, dtype=dtype)
    features = torch.randn(2, 4, 4, 5, generator=g, dtype=dtype)
    semantic = torch.randn(2, 6, 2, 3, generator=g, dtype=dtype)
    valid = torch.ones(2, 8, 10, dtype=torch.bool)
    valid[0, 5:], valid[1, :, 4:] = False, False
    return cam, features, torch.tensor([[1.0, 0, 1], [0, 1, 0]]), semantic, valid


@pytest.mark.parametrize("untagged", ["absent", "masked", "present"])
@pytest.mark.parametrize("factor", [0.3, 0.5, 1.0])
def test_agrees_with_loops_over_cells_classes_and_images(factor, untagged):
    cam, features, tags, semantic, valid = sample()
    found = background_aware(
        cam, features, tags, semantic=semantic, valid=valid, background_factor=factor, untagged=untagged
    )
    for n in range(2):
        given = (part[n] for part in (cam, features, tags, semantic, valid))
        maps, seeds, is_cam = by_loops(*given, factor, untagged)
        torch.testing.assert_close(found.maps[n], maps)
        assert torch.equal(found.seeds[n], seeds)
        torch.testing.assert_close(found.is_cam[n], is_cam)


def test_a_value_worked_out_by_hand():
    """Three cells that look alike to none but themselves: R is the unit matrix.

    Maps 1, 1/4, 0 and background 0, 3/4, 1.  IoU of the class m / (1 + 5/4 - m): 4/5, 1/8, 0; of background
    m / (1 + 7/4 - m) / 2: 0, 3/16, 2/7.  So the seeds are class, background, background.
    """
    cam = torch.tensor([4.0, 1.0, -7.0]).view(1, 1, 1, 3)
    features = torch.eye(3).view(1, 3, 1, 3)
    found = background_aware(cam, features, torch.ones(1, 1))
    torch.testing.assert_close(found.maps[0, :, 0], torch.tensor([[0, 0.75, 1], [1, 0.25, 0]]), atol=1e-5, rtol=0)
    iou = soft_iou(torch.tensor([[0, 0.75, 1], [1, 0.25, 0]]).view(1, 2, 1, 3), features)
    expected = torch.tensor([[0, 3 / 8, 4 / 7], [4 / 5, 1 / 8, 0]])
    torch.testing.assert_close(iou[0, :, 0], expected)
    assert found.seeds[0, :, 0].tolist() == [[0, 1, 1], [1, 0, 0]]
    torch.testing.assert_close(found.prototypes[0], torch.tensor([[0, 1 / 3, 1 / 3], [1 / 3, 0, 0]]))
    half = 0.5**0.5
    torch.testing.assert_close(found.is_cam[0, :, 0], torch.tensor([[0, half, half], [1, 0, 0]]))


def test_a_lower_background_factor_gives_background_fewer_seeds():
    cam, features, tags, *_ = sample()
    counts = [
        float(background_aware(cam, features, tags, background_factor=factor).seeds[:, 0].sum())
        for factor in (0.1, 0.3, 0.5, 0.7, 1.0, 9.0)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_everything_lies_between_0_and_1_and_a_cell_has_at_most_one_seed():
    for seed in range(20):
        cam, features, tags, semantic, valid = sample(seed, torch.float32)
        found = background_aware(
            cam, features, tags, semantic=semantic, valid=valid, untagged=("absent", "masked", "present")[seed % 3]
        )
        for value in (found.maps, found.is_cam, soft_iou(found.maps, features), found.seeds.sum(dim=1)):
            assert 0 <= float(value.min()) <= float(value.max()) <= 1 + 1e-6
        untagged = (tags == 0)[:, :, None, None].expand(-1, -1, 4, 5)
        assert not found.seeds[:, 1:][untagged].any()
        assert not found.is_cam[:, 1:][untagged].any()


@pytest.mark.parametrize("content", [1e30, 3.0, float("inf"), float("nan")])
def test_cells_outside_the_image_have_exactly_no_influence(content):
    clean = sample()
    valid = clean[-1]
    dirty = [value.clone() for value in clean]
    for k in (0, 1, 3):
        for n in range(2):
            dirty[k][n][:, ~nearest(valid[n], clean[k].shape[2:])] = content
    results, slopes = [], []
    for cam, features, tags, semantic, _ in (clean, dirty):
        cam.requires_grad_(), features.requires_grad_()
        found = background_aware(cam, features, tags, semantic=semantic, valid=valid)
        results.append(found)
        weights = torch.linspace(-1, 1, found.maps.numel(), dtype=torch.float64).view_as(found.maps)
        slopes.append(torch.autograd.grad(((found.maps + found.is_cam) * weights).sum(), [cam, features]))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    assert all(torch.equal(*pair) for pair in zip(*slopes, strict=True))
    assert all(slope.isfinite().all() for slope in slopes[1])
    inside = torch.stack([nearest(mask, (4, 5)) for mask in valid])
    assert torch.equal(results[0].seeds.sum(dim=1) > 0, inside)


def test_the_published_form_lets_cells_outside_the_image_vote():
    cam, features, tags, semantic, valid = sample()
    for given in ({}, {"semantic": semantic}):
        ours, theirs = (
            background_aware(cam, features, tags, valid=valid, variant=variant, **given)
            for variant in ("paper", "published")
        )
        outside = ~torch.stack([nearest(mask, (4, 5)) for mask in valid])
        assert not torch.equal(ours.maps, theirs.maps)
        assert not theirs.seeds.sum(dim=1)[outside].any()
        assert theirs.is_cam.sum(dim=1)[outside].any()
        assert not ours.is_cam.sum(dim=1)[outside].any()
        whole = [background_aware(cam, features, tags, variant=variant, **given) for variant in ("paper", "published")]
        assert all(torch.equal(*pair) for pair in zip(*whole, strict=True))


def test_a_class_without_a_seed_has_a_zero_prototype_and_finite_gradients():
    """The norm trap: the derivative of a square root of a sum of squares is NaN at 0, in a branch whose value is 0."""
    features = torch.randn(1, 4, 3, 3, requires_grad=True)
    seeds = torch.zeros(1, 2, 3, 3)
    seeds[:, 0] = 1
    found = prototypes(features, seeds)
    maps = cosine_maps(features, found)
    assert not soft_iou(seeds, torch.zeros(1, 4, 3, 3))[:, 1].any()
    assert not found[:, 1].any()
    assert not maps[:, 1].any()
    normalised(maps).sum().backward()
    assert features.grad.isfinite().all()
    assert features.grad.any()


@pytest.mark.parametrize(
    ("cam", "features", "tags", "valid"),
    [
        ("any", "any", "none", "all"),
        ("any", "any", "all", "none"),
        ("zero", "any", "all", "all"),
        ("negative", "any", "all", "some"),
        ("any", "zero", "all", "all"),
        ("zero", "zero", "none", "none"),
    ],
)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (4, 5)])
@pytest.mark.parametrize("variant", ["paper", "published"])
@pytest.mark.parametrize("untagged", ["absent", "masked", "present"])
def test_degenerate_images_leave_finite_values_and_gradients(
    cam, features, tags, valid, classes, size, variant, untagged
):
    torch.manual_seed(0)
    given = torch.randn(1, classes, *size)
    given = {"any": given, "zero": given * 0, "negative": -1 - given.abs()}[cam].requires_grad_()
    fused_features = (torch.randn(1, 3, *size) * (features == "any")).requires_grad_()
    mask = torch.full((1, *size), valid != "none")
    mask[0, 0, 0] = valid == "all"
    found = background_aware(
        given,
        fused_features,
        torch.full((1, classes), float(tags == "all")),
        valid=mask,
        variant=variant,
        untagged=untagged,
    )
    (normalised(found.is_cam) - found.maps).abs().mean().backward()
    assert all(value.isfinite().all() for value in found)
    assert given.grad.isfinite().all()
    assert fused_features.grad.isfinite().all()


def test_no_gradient_flows_through_the_seeds():
    cam, features, tags, semantic, _ = (value.requires_grad_(value.is_floating_point()) for value in sample())
    found = background_aware(cam, features, tags.detach(), semantic=semantic)
    assert not found.seeds.requires_grad
    found.is_cam.sum().backward()
    assert features.grad.any()
    assert cam.grad is None
    assert semantic.grad is None


def test_autocast_and_half_precision_are_computed_in_single():
    cam, features, tags, semantic, valid = (
        value.bfloat16() if value.is_floating_point() else value for value in sample()
    )
    exact = background_aware(cam.float(), features.float(), tags.float(), semantic=semantic.float(), valid=valid)
    with torch.autocast("cpu", torch.bfloat16):
        found = background_aware(cam, features, tags, semantic=semantic, valid=valid)
    assert all(torch.equal(*pair) for pair in zip(found, exact, strict=True))
    assert all(value.dtype == torch.float32 for value in found)


def test_what_does_not_belong_together_is_refused():
    cam, features, tags, semantic, valid = sample()
    with pytest.raises(ValueError, match=r"tags are \(2, 2\) and cam has 3 maps.*without background"):
        background_aware(cam, features, tags[:, 1:])
    with pytest.raises(ValueError, match="features of the same images"):
        background_aware(cam, features[:1], tags)
    with pytest.raises(ValueError, match="features of the same images"):
        background_aware(cam, features, tags, semantic=semantic[0])
    with pytest.raises(ValueError, match=r"valid is torch.float64 \(2, 8, 10\), expected bool \(2, H, W\)"):
        background_aware(cam, features, tags, valid=valid.double())
    with pytest.raises(ValueError, match="background_factor is 0, expected a number above 0"):
        background_aware(cam, features, tags, background_factor=0)
    with pytest.raises(ValueError, match="expected 'paper' or 'published'"):
        background_aware(cam, features, tags, variant="other")
