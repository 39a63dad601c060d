"""Affinities of pairs: as published, on paths worked out by hand, and at the border."""

import pytest
import torch

from segstill.seeds import boundary_affinities, feature_affinities, pair_offsets

from ..losses.golden import read


def test_the_offsets_are_half_of_the_disc():
    assert pair_offsets(2) == [(0, 1), (1, -1), (1, 0), (1, 1)]
    offsets = pair_offsets(5)
    both = {*offsets, *((-dy, -dx) for dy, dx in offsets)}
    assert both == {(y, x) for y in range(-4, 5) for x in range(-4, 5) if 0 < y**2 + x**2 < 25}
    assert len(offsets) == 34
    assert len(both) == 68


def test_boundary_affinities_match_the_published_ones():
    g = read("excerpt", "irn_random_walk")
    ours = dict(zip(pair_offsets(5), boundary_affinities(g["edge"]), strict=True))
    for offset, published in zip(g["offsets_dy_dx"].tolist(), g["affinity_per_offset"], strict=True):
        torch.testing.assert_close(ours[tuple(offset)], published.clamp(min=0), atol=1e-6, rtol=0)


def test_a_wall_cuts_every_pair_across_it_and_no_other():
    boundary = torch.zeros(1, 9, 11)
    boundary[:, :, 5] = 1
    for (dy, dx), affinity in zip(pair_offsets(5), boundary_affinities(boundary), strict=True):
        for y in range(9 - dy):
            for x in range(max(-dx, 0), 11 - max(dx, 0)):
                assert affinity[y, x] == (not min(x, x + dx) <= 5 <= max(x, x + dx))


def test_the_largest_boundary_on_the_path_counts():
    """The path of (3, 3) has 3 |x - y| < sqrt(18) = 4.24, so it is one diagonal wide to either side."""
    boundary = torch.zeros(1, 4, 4)
    boundary[0, 0, 2] = 0.9  # two diagonals off
    boundary[0, 1, 2] = 0.4
    boundary[0, 3, 3] = 0.3  # the end counts
    affinity = boundary_affinities(boundary)[pair_offsets(5).index((3, 3))]
    assert float(affinity[0, 0]) == pytest.approx(0.6)
    affinity = boundary_affinities(boundary)[pair_offsets(5).index((1, 1))]
    assert float(affinity[2, 2]) == pytest.approx(0.7)


def test_a_point_as_far_from_the_line_as_the_path_is_wide_is_not_on_it():
    """From (0, 0) to (4, 3): |4 x - 3 y| is 5 at (y, x) = (1, 2), not below sqrt(25), and 1 at (1, 1)."""
    for point, expected in (((1, 2), 1.0), ((1, 1), 0.5)):
        boundary = torch.zeros(1, 5, 4)
        boundary[0, *point] = 0.5
        affinity = boundary_affinities(boundary, radius=6)[pair_offsets(6).index((4, 3))]
        assert float(affinity[0, 0]) == expected


@pytest.mark.parametrize("similarity", ["l1", "cosine"])
def test_feature_affinities_agree_with_a_loop(similarity):
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    found = feature_affinities(features, radius=3, similarity=similarity)
    for pair, (dy, dx) in enumerate(pair_offsets(3)):
        for y in range(4):
            for x in range(6):
                value = torch.zeros(2, dtype=torch.float64)
                if y + dy < 4 and 0 <= x + dx < 6:
                    one, other = features[:, :, y, x], features[:, :, y + dy, x + dx]
                    cosine = (one * other).sum(1) / one.norm(dim=1) / other.norm(dim=1)
                    value = (-(one - other).abs().mean(1)).exp() if similarity == "l1" else cosine.relu()
                torch.testing.assert_close(found[:, pair, y, x], value)


@pytest.mark.parametrize("similarity", ["l1", "cosine"])
def test_feature_affinities_have_a_gradient_even_for_features_of_zero(similarity):
    torch.manual_seed(0)
    features = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: feature_affinities(f, radius=2, similarity=similarity), features)
    dead = torch.zeros(1, 2, 3, 4, requires_grad=True)
    feature_affinities(dead, similarity=similarity).sum().backward()
    assert dead.grad.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (3, 2)])
def test_images_smaller_than_the_radius_have_the_pairs_that_fit(size):
    height, width = size
    expected = torch.zeros(34, height, width)
    for pair, (dy, dx) in enumerate(pair_offsets(5)):
        for y in range(height):
            for x in range(width):
                expected[pair, y, x] = y + dy < height and 0 <= x + dx < width
    assert boundary_affinities(torch.zeros(1, height, width)).equal(expected)
    torch.testing.assert_close(feature_affinities(torch.ones(4, height, width)), expected)


def test_flat_features_and_an_open_image_are_the_same():
    open_image = boundary_affinities(torch.zeros(1, 7, 8))
    assert feature_affinities(torch.full((3, 7, 8), 2.0)).equal(open_image)
    torch.testing.assert_close(feature_affinities(torch.full((3, 7, 8), 2.0), similarity="cosine"), open_image)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boundary_affinities(torch.rand(2, 8, 8)), r"boundary \(1, 2, 8, 8\)"),
        (lambda: boundary_affinities(3 * torch.randn(1, 8, 8)), r"expected .* in \[0, 1\]: apply the sigmoid"),
        (lambda: boundary_affinities(torch.zeros(8, 8)), r"boundary \(8, 8\) given"),
        (lambda: boundary_affinities(torch.zeros(1, 8, 8, dtype=torch.long)), "boundary are torch.int64"),
        (lambda: boundary_affinities(torch.zeros(1, 8, 8), radius=1), "radius is 1, expected at least 2"),
        (lambda: feature_affinities(torch.full((2, 8, 8), torch.nan)), "features hold NaN"),
        (lambda: feature_affinities(torch.rand(2, 8, 8), similarity="l2"), "expected 'l1' or 'cosine'"),
    ],
)
def test_wrong_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
