"""The random walk: as published, against powers of the dense matrix, and what it conserves."""

import pytest
import torch

from segstill.seeds import boundary_affinities, feature_affinities, pair_offsets, random_walk, walk

from ..losses.golden import assert_close_to_golden, read

FORMS = [("propagated", {}), ("short.propagated", {"exp_times": 2})]
FORMS += [("radius3.propagated", {"radius": 3, "beta": 4, "exp_times": 5})]


@pytest.mark.parametrize(("form", "arguments"), FORMS)
def test_matches_the_published_numbers_along_boundaries(form, arguments):
    g = read("excerpt", "irn_random_walk")
    assert_close_to_golden(random_walk(g["cams"], g["edge"], **arguments), g[form], 2e-4)


def test_matches_the_published_numbers_in_double_precision():
    g = read("excerpt", "irn_random_walk")
    found = random_walk(g["cams"].double(), g["edge"].double())
    assert found.dtype == torch.float64
    assert_close_to_golden(found, g["propagated_float64"], 1e-10)


def test_single_precision_keeps_nearly_all_its_digits():
    """Squaring the matrix in single precision is off by 3.6e-5 of the maximum here, single steps by 8.3e-5."""
    g = read("excerpt", "irn_random_walk")
    found = random_walk(g["cams"], g["edge"])
    assert found.dtype == torch.float32
    assert_close_to_golden(found.double(), g["propagated_float64"], 3e-7)


@pytest.mark.parametrize(("form", "tolerance"), [("propagated", 1e-4), ("propagated_float64", 1e-10)])
def test_matches_the_published_numbers_along_features(form, tolerance):
    g = read("excerpt", "psa_random_walk")
    affinities = feature_affinities(g["embedding"].to(g[form].dtype))
    # The published code leaves out pairs whose first pixel is near the left, the right or the lower border.
    kept = torch.zeros_like(affinities)
    kept[:, :6, 4:10] = affinities[:, :6, 4:10]
    torch.testing.assert_close(dense(kept), g["affinity_dense"].to(kept), atol=1e-6, rtol=0)
    found = walk(g["cams_with_background"].to(kept), kept, beta=8.0)
    assert_close_to_golden(found, g[form], tolerance)


def dense(affinities, radius=5):
    """The symmetric matrix (H * W, H * W) of affinities (P, H, W), 1 on its diagonal."""
    _, height, width = affinities.shape
    matrix = torch.eye(height * width, dtype=affinities.dtype)
    for pair, (dy, dx) in enumerate(pair_offsets(radius)):
        for y in range(height - dy):
            for x in range(max(-dx, 0), width - max(dx, 0)):
                one, other = y * width + x, (y + dy) * width + x + dx
                matrix[one, other] = matrix[other, one] = affinities[pair, y, x]
    return matrix


def by_powers(maps, affinities, radius, beta, exp_times):
    matrix = dense(affinities, radius) ** beta
    matrix = matrix / matrix.sum(dim=0, keepdim=True)
    for _ in range(exp_times):
        matrix = matrix @ matrix
    return (maps.flatten(1) @ matrix).view_as(maps)


@pytest.mark.parametrize("size", [(9, 11), (1, 1), (1, 7), (7, 1), (2, 3), (3, 2), (4, 4), (5, 3), (3, 30)])
@pytest.mark.parametrize(("radius", "beta", "exp_times"), [(5, 10, 8), (2, 1, 0), (3, 2.5, 1), (4, 4, 5)])
def test_agrees_with_powers_of_the_dense_matrix(size, radius, beta, exp_times):
    torch.manual_seed(0)
    maps = torch.rand(3, *size, dtype=torch.float64)
    affinities = torch.rand(len(pair_offsets(radius)), *size, dtype=torch.float64)  # of pairs across the border too
    found = walk(maps, affinities, radius=radius, beta=beta, exp_times=exp_times)
    torch.testing.assert_close(found, by_powers(maps, affinities, radius, beta, exp_times), atol=1e-11, rtol=1e-9)


def test_a_very_long_walk_ends_in_the_mean_weighted_by_the_column_sums():
    torch.manual_seed(0)
    maps, affinities = torch.rand(2, 5, 6, dtype=torch.float64), torch.rand(34, 5, 6, dtype=torch.float64)
    sums = dense(affinities).sum(dim=0)
    limit = (maps.flatten(1) * sums).sum(dim=1) / sums.sum()
    found = walk(maps, affinities, beta=1.0, exp_times=14)
    torch.testing.assert_close(found, limit.view(2, 1, 1).expand(2, 5, 6))


def test_a_constant_map_stays_constant_and_no_value_leaves_its_map():
    torch.manual_seed(0)
    maps, affinities = torch.rand(2, 12, 13), boundary_affinities(torch.rand(1, 12, 13))
    maps[1] = 0.7
    found = walk(maps, affinities)
    assert found[1].equal(maps[1])
    assert maps[0].min() <= found[0].min()
    assert found[0].max() <= maps[0].max()


def test_the_sum_weighted_by_the_column_sums_is_conserved():
    torch.manual_seed(0)
    maps, affinities = torch.rand(2, 8, 9, dtype=torch.float64), torch.rand(34, 8, 9, dtype=torch.float64)
    sums = (dense(affinities) ** 3).sum(dim=0)
    before, after = (each.flatten(1) @ sums for each in (maps, walk(maps, affinities, beta=3.0)))
    torch.testing.assert_close(after, before)


def test_a_wall_stops_the_flow():
    maps, boundary = torch.zeros(1, 12, 15), torch.zeros(1, 12, 15)
    maps[:, 3, 2] = 1
    boundary[:, :, 7] = 1
    found = random_walk(maps, boundary)
    assert found[:, :, 7:].count_nonzero() == 0
    assert found[:, :, :7].count_nonzero() == 12 * 7
    assert random_walk(maps, torch.zeros_like(boundary))[:, :, 7:].min() > 0


def test_pixels_behind_walls_all_around_keep_their_values():
    torch.manual_seed(0)
    maps = torch.rand(3, 6, 7)
    torch.testing.assert_close(walk(maps, torch.zeros(34, 6, 7)), maps)
    assert random_walk(maps, torch.ones(1, 6, 7)).count_nonzero() == 0


@pytest.mark.parametrize("dims", [(2,), (3,), (2, 3)])
def test_a_flipped_image_gives_flipped_maps(dims):
    torch.manual_seed(0)
    maps, boundary = torch.rand(1, 2, 9, 12, dtype=torch.float64), torch.rand(1, 1, 9, 12, dtype=torch.float64) ** 4
    found = random_walk(maps.flip(dims), boundary.flip(dims))
    torch.testing.assert_close(found, random_walk(maps, boundary).flip(dims))


def test_a_transposed_image_gives_transposed_maps():
    torch.manual_seed(0)
    maps, boundary = torch.rand(1, 2, 9, 12, dtype=torch.float64), torch.rand(1, 1, 9, 12, dtype=torch.float64) ** 4
    torch.testing.assert_close(random_walk(maps.mT, boundary.mT), random_walk(maps, boundary).mT)


def test_a_batch_equals_its_images_one_by_one():
    torch.manual_seed(0)
    maps, boundary = torch.rand(3, 4, 9, 12), torch.rand(3, 1, 9, 12)
    together = random_walk(maps, boundary)
    assert together.shape == maps.shape
    for n in range(3):
        torch.testing.assert_close(together[n], random_walk(maps[n], boundary[n]), atol=1e-7, rtol=1e-6)


def test_blocks_of_pixels_change_nothing(monkeypatch):
    torch.manual_seed(0)
    maps, boundary = torch.rand(2, 3, 9, 12), torch.rand(2, 1, 9, 12)
    whole = random_walk(maps, boundary)
    for size in (1, 2 * 3 * 17):  # a pixel, 17 pixels
        monkeypatch.setattr("segstill.seeds.maps.BLOCK", size)
        torch.testing.assert_close(random_walk(maps, boundary), whole, atol=1e-7, rtol=1e-6)


def test_nothing_that_is_given_is_changed():
    torch.manual_seed(0)
    maps, boundary, affinities = (
        torch.rand(2, 6, 7).double(),
        torch.rand(1, 6, 7).double(),
        torch.rand(34, 6, 7).double(),
    )
    before = [each.clone() for each in (maps, boundary, affinities)]
    random_walk(maps, boundary)
    walk(maps, affinities)
    for each, copy in zip((maps, boundary, affinities), before, strict=True):
        assert each.equal(copy)


def test_half_precision_is_raised():
    torch.manual_seed(0)
    maps, boundary = torch.rand(2, 6, 7).half(), torch.rand(1, 6, 7).half()
    found = random_walk(maps, boundary)
    assert found.dtype == torch.float32
    assert found.equal(random_walk(maps.float(), boundary.float()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives():
    torch.manual_seed(0)
    maps, boundary = torch.rand(2, 3, 20, 30), torch.rand(2, 1, 20, 30)
    found = random_walk(maps.cuda(), boundary.cuda())
    torch.testing.assert_close(found.cpu(), random_walk(maps, boundary), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("maps", "boundary", "arguments", "message"),
    [
        (torch.rand(2, 8, 8), torch.rand(1, 1, 8, 8), {}, "add or remove the batch dimension"),
        (torch.rand(2, 8, 8), torch.rand(1, 8, 9), {}, r"\(1, 1, 8, 9\) and maps \(1, 2, 8, 8\).*resize"),
        (torch.rand(2, 8, 8), torch.rand(2, 8, 8), {}, r"boundary \(1, 2, 8, 8\)"),
        (torch.rand(2, 8, 8), torch.full((1, 8, 8), 1.5), {}, r"in \[0, 1\]: apply the sigmoid"),
        (torch.ones(2, 8, 8, dtype=torch.long), torch.rand(1, 8, 8), {}, "maps are torch.int64"),
        (torch.full((2, 8, 8), torch.inf), torch.rand(1, 8, 8), {}, "maps hold NaN or infinity"),
        (torch.rand(0, 2, 8, 8), torch.rand(0, 1, 8, 8), {}, "none of them empty"),
        (torch.rand(2, 8, 8), torch.rand(1, 8, 8), {"radius": 1}, "radius is 1, expected at least 2"),
        (torch.rand(2, 8, 8), torch.rand(1, 8, 8), {"beta": 0}, "expected beta above 0"),
        (torch.rand(2, 8, 8), torch.rand(1, 8, 8), {"exp_times": -1}, "exp_times of at least 0"),
    ],
)
def test_wrong_input_is_answered(maps, boundary, arguments, message):
    with pytest.raises(ValueError, match=message):
        random_walk(maps, boundary, **arguments)


@pytest.mark.parametrize(
    ("affinities", "message"),
    [
        (torch.rand(12, 8, 8), r"expected 34 per pixel, in \[0, 1\], for radius 5: compute them with the radius"),
        (2 * torch.ones(34, 8, 8), r"from 2 to 2 given, expected 34 per pixel, in \[0, 1\]"),
        (-torch.ones(34, 8, 8), "from -1 to -1"),
        (torch.rand(34, 8, 9), "same height and width"),
    ],
)
def test_wrong_affinities_are_answered(affinities, message):
    with pytest.raises(ValueError, match=message):
        walk(torch.rand(2, 8, 8), affinities)
