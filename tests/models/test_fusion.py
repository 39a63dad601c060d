"""Stages are fused as SIPE fuses them, and each has the vote that it was given."""

import pytest
import torch
import torch.nn.functional as F

from segstill.models.fusion import Fusion, fuse

from ..losses.golden import assert_close_to_golden, every_source, read

CHANNELS, SIZES = (3, 5, 4), ((12, 16), (6, 8), (3, 4))


@pytest.fixture
def stages():
    g = torch.Generator().manual_seed(0)
    return [torch.randn(2, count, *size, generator=g) for count, size in zip(CHANNELS, SIZES, strict=True)]


def everywhere(stages):
    return [torch.ones(1, *stage.shape[2:], dtype=torch.bool) for stage in stages]


@every_source
@pytest.mark.parametrize("form", ["train", "infer"])
def test_fused_features_are_those_of_the_published_code(source, form):
    golden = read(source, "sipe")
    stages = [golden[f"{form}.stage{number}"] for number in (1, 2, 3, 4)]
    weights = [golden[f"train.side{number}_weight"] for number in (1, 2, 3, 4)]
    module = Fusion([stage.shape[1] for stage in stages], [weight.shape[0] for weight in weights])
    module.load_state_dict({f"sides.{index}.weight": weight for index, weight in enumerate(weights)})
    sides = [F.conv2d(stage, weight) for stage, weight in zip(stages, weights, strict=True)]
    for fused in (fuse(sides, (7, 9)), module(stages, everywhere(stages), everywhere(stages)[2])):
        if form == "infer":  # the mirror image is turned back and added
            fused = fused[0] + fused[1].flip(2)
        assert_close_to_golden(fused, golden[f"{form}.fused_feature"])


def cosine(maps, i, j):
    return F.cosine_similarity(maps[..., i], maps[..., j], dim=1)


def test_the_cosine_of_two_cells_is_the_mean_over_branches_or_the_weighted_one():
    g = torch.Generator().manual_seed(1)
    branches = [torch.randn(2, count, 3, 4, generator=g) * scale for count, scale in ((3, 1), (5, 100), (4, 0.01))]
    cosines = torch.stack([cosine(branch.flatten(2), 2, 7) for branch in branches])
    torch.testing.assert_close(
        cosine(fuse(branches, (3, 4)).flatten(2), 2, 7), cosines.mean(dim=0), rtol=1e-3, atol=1e-3
    )
    weights = torch.tensor([0.7, 0.2, 0.1])
    fused = fuse(branches, (3, 4), weights=weights)
    torch.testing.assert_close(
        cosine(fused.flatten(2), 2, 7), (weights[:, None] * cosines).sum(dim=0), rtol=1e-3, atol=1e-3
    )


def test_learned_votes_start_equal_and_learn(stages):
    torch.manual_seed(0)
    equal = Fusion(CHANNELS, None)
    learned = Fusion(CHANNELS, None, "learned")
    given = stages, everywhere(stages), everywhere(stages)[1]
    fused = learned(*given)
    torch.testing.assert_close(fused, equal(*given))
    fused[:, :3].square().sum().backward()
    assert learned.votes is not None
    assert learned.votes.grad is not None
    assert learned.votes.grad[0] > 0
    assert (learned.votes.grad[1:] < 0).all()
    assert not list(equal.parameters())


def test_no_gradient_reaches_the_stages_but_the_convolutions_get_one(stages):
    module = Fusion(CHANNELS, (2, 3, 4))
    stages = [stage.requires_grad_() for stage in stages]
    module(stages, everywhere(stages), everywhere(stages)[1]).square().sum().backward()
    assert all(stage.grad is None for stage in stages)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())


def test_cells_outside_have_no_influence_and_a_cell_that_sees_none_is_zero(stages):
    cells = everywhere(stages)
    for inside in cells:
        rows, columns = inside.shape[1:]
        inside[:, rows // 2 :] = False
        inside[:, :, 3 * columns // 4 :] = False
    size = (6, 8)
    cropped = [stage[:, :, : stage.shape[2] // 2, : 3 * stage.shape[3] // 4] for stage in stages]
    expected = fuse([stage[:, :, : size[0]] for stage in cropped], (3, 6))
    for content in (0.0, 1e30, torch.inf, torch.nan):
        # What an integer factor resizes sees the same cells with the rest of the image and without it.
        filled = [stage.masked_fill(~inside[:, None], content) for stage, inside in zip(stages, cells, strict=True)]
        fused = fuse(filled, size, cells=cells)
        torch.testing.assert_close(fused[:, :, :3, :6], expected)
        assert fused.isfinite().all()
        assert not fused[:, :, 5:].any()
    one = [inside.clone().fill_(False) for inside in cells]
    one[0][:, 0, 0] = True
    fused = fuse(stages, (3, 4), cells=one)
    assert fused.isfinite().all()
    assert not fused.any(), "with factor 4, the middle of a cell lies between the second and the third"


def test_pixels_without_any_feature_have_a_finite_gradient():
    branch = torch.zeros(1, 3, 2, 2, requires_grad=True)
    fuse([branch], (4, 4)).sum().backward()
    assert branch.grad is not None
    assert branch.grad.isfinite().all()


def test_half_precision_is_raised_under_autocast(stages):
    module = Fusion(CHANNELS, (2, 3, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = module([stage.bfloat16() for stage in stages], everywhere(stages), everywhere(stages)[1])
    assert fused.dtype == torch.float32
