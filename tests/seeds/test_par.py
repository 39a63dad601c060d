"""Pixel-adaptive refinement: as published, against a loop, and what it must leave alone."""

import math

import pytest
import torch
import torch.nn.functional as F

from segstill.seeds import par

from ..losses.golden import assert_close_to_golden, read

TOLERANCE = 2e-5  # of the maximum; what the published numbers were found to be good for


@pytest.mark.parametrize("case", ["same_size", "upsampled"])
@pytest.mark.parametrize(
    ("form", "arguments"),
    [
        ("refined", {}),
        ("refined_1iter", {"iterations": 1}),
        ("refined_dil124", {"dilations": (1, 2, 4), "iterations": 3}),
    ],
)
def test_matches_the_published_numbers(case, form, arguments):
    g = read("excerpt", "par")
    found = par(g[f"{case}.image"], g[f"{case}.masks"], variant="published", **arguments)
    assert_close_to_golden(found, g[f"{case}.{form}"], TOLERANCE)


def test_published_weights_let_a_constant_map_grow_and_ours_do_not():
    g = read("excerpt", "par")
    found = par(g["flat.image"], g["flat.masks"], variant="published")
    assert_close_to_golden(found, g["flat.refined"], TOLERANCE)
    torch.testing.assert_close(found, torch.full_like(found, 0.5 * 1.01**10))
    torch.testing.assert_close(par(g["flat.image"], g["flat.masks"]), g["flat.masks"])


def by_loop(image, maps, dilations, iterations):
    """The formula, pixel by pixel."""
    _, height, width = image.shape
    around = [(dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    b = torch.tensor([math.hypot(dy, dx) for dy, dx in around], dtype=torch.float64)
    b = -((b / (b.std() + 1e-8) / 0.3) ** 2)
    weights, places = {}, {}
    for y in range(height):
        for x in range(width):
            near = [(min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)) for dy, dx in around]
            colours = torch.stack([image[:, row, column] for row, column in near])
            far = (colours - image[:, y, x]).abs() / (colours.std(dim=0) + 1e-8) / 0.3
            weights[y, x] = ((-(far**2).mean(dim=1)).softmax(0) + 0.01 * b.softmax(0)) / 1.01
            places[y, x] = near
    for _ in range(iterations):
        values = {p: torch.stack([maps[:, row, column] for row, column in near]) for p, near in places.items()}
        maps = torch.stack(
            [weights[divmod(i, width)] @ values[divmod(i, width)] for i in range(height * width)], dim=1
        ).view_as(maps)
    return maps


@pytest.mark.parametrize(("size", "dilations"), [((6, 5), (1, 3)), ((1, 4), (1, 2, 4)), ((3, 2), (2,))])
def test_agrees_with_a_loop_over_pixels(size, dilations):
    torch.manual_seed(0)
    image, maps = torch.rand(3, *size, dtype=torch.float64), torch.rand(2, *size, dtype=torch.float64)
    expected = by_loop(image, maps, dilations, iterations=3)
    torch.testing.assert_close(par(image, maps, dilations=dilations, iterations=3), expected)


def test_a_map_stops_where_the_colour_changes():
    image = torch.zeros(3, 20, 30)
    image[:, :, 15:] = 255
    maps = torch.zeros(1, 20, 30)
    maps[:, :, :10] = 1  # covers two thirds of the left part
    found = par(image, maps, iterations=40)
    assert float(found[0, :, :15].min()) > 0.5 > float(found[0, :, 15:].max())


def test_values_stay_within_their_map_and_constants_stay_constant():
    torch.manual_seed(0)
    image, maps = torch.rand(1, 3, 16, 20), torch.rand(1, 2, 16, 20) - 0.5
    maps[:, 1] = -0.3
    found = par(image, maps)
    assert maps[:, 0].min() <= found[:, 0].min()
    assert found[:, 0].max() <= maps[:, 0].max()
    torch.testing.assert_close(found[:, 1], maps[:, 1])


@pytest.mark.parametrize("dims", [(2,), (3,), (2, 3)])
def test_a_flipped_image_gives_flipped_maps(dims):
    torch.manual_seed(0)
    image, maps = torch.rand(1, 3, 17, 14, dtype=torch.float64), torch.rand(1, 2, 17, 14, dtype=torch.float64)
    torch.testing.assert_close(par(image.flip(dims), maps.flip(dims)), par(image, maps).flip(dims))


def test_scale_and_offset_of_a_colour_channel_do_not_matter():
    torch.manual_seed(0)
    image, maps = torch.randint(256, (1, 3, 12, 15), dtype=torch.uint8), torch.rand(1, 2, 12, 15)
    found = par(image, maps)
    scaled = image.double() / 255 * torch.tensor([1.0, 0.2, 3.0]).view(1, 3, 1, 1) - 0.5
    torch.testing.assert_close(par(scaled, maps), found, atol=1e-5, rtol=1e-5)


def test_colours_that_hardly_differ_are_told_apart():
    """Far from 0 the variance of neighbouring values is lost when it is taken from their squares."""
    torch.manual_seed(0)
    image, maps = torch.randint(2, (1, 3, 12, 15)), torch.rand(1, 2, 12, 15)
    torch.testing.assert_close(par(image + 60000, maps), par(image, maps), atol=1e-5, rtol=1e-4)


def test_a_batch_equals_its_images_one_by_one():
    torch.manual_seed(0)
    image, maps = torch.rand(3, 3, 11, 9), torch.rand(3, 4, 5, 6)
    together = par(image, maps, dilations=(1, 2))
    assert together.shape == (3, 4, 11, 9)
    for n in range(3):
        torch.testing.assert_close(together[n], par(image[n], maps[n], dilations=(1, 2)))


def test_blocks_of_rows_change_nothing(monkeypatch):
    torch.manual_seed(0)
    image, maps = torch.rand(2, 3, 13, 9), torch.rand(2, 3, 13, 9)
    whole = par(image, maps, dilations=(1, 2))
    for size in (1, 2 * 3 * 9 * 4):  # a row, four rows
        monkeypatch.setattr("segstill.seeds.maps.BLOCK", size)
        assert par(image, maps, dilations=(1, 2)).equal(whole)


def test_maps_are_enlarged_with_aligned_corners_first():
    torch.manual_seed(0)
    image, maps = torch.rand(1, 3, 12, 16), torch.rand(1, 2, 4, 5)
    large = F.interpolate(maps, (12, 16), mode="bilinear", align_corners=True)
    torch.testing.assert_close(par(image, maps), par(image, large))


def test_an_image_of_one_pixel_keeps_its_values():
    maps = torch.tensor([0.25, 0.75]).view(2, 1, 1)
    torch.testing.assert_close(par(torch.rand(3, 1, 1), maps), maps, atol=0, rtol=1e-5)


def test_precision_follows_the_maps():
    image = torch.rand(3, 8, 8)
    for given, expected in ((torch.float64, torch.float64), (torch.float16, torch.float32)):
        maps = torch.rand(1, 8, 8).to(given)
        found = par(image, maps)
        assert found.dtype == expected
        torch.testing.assert_close(found, par(image, maps.float()).to(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("image", "maps", "arguments", "message"),
    [
        (torch.rand(1, 3, 8, 8), torch.rand(2, 8, 8), {}, r"image \(1, 3, 8, 8\) and maps \(2, 8, 8\).*add or remove"),
        (torch.rand(2, 3, 8, 8), torch.rand(1, 2, 8, 8), {}, "the same N"),
        (torch.rand(3, 8, 0), torch.rand(2, 8, 8), {}, "none of them empty"),
        (torch.rand(3, 8, 8), torch.ones(2, 8, 8, dtype=torch.uint8), {}, r"maps are torch.uint8.*\.float\(\)"),
        (torch.rand(3, 8, 8), torch.full((2, 8, 8), torch.nan), {}, "maps hold NaN or infinity"),
        (torch.full((3, 8, 8), torch.inf), torch.rand(2, 8, 8), {}, "image hold"),
        (torch.rand(3, 8, 8), torch.rand(2, 8, 8), {"dilations": (0, 1)}, "dilations of at least 1"),
        (torch.rand(3, 8, 8), torch.rand(2, 8, 8), {"dilations": ()}, "dilations of at least 1"),
        (torch.rand(3, 8, 8), torch.rand(2, 8, 8), {"iterations": 0}, "0 iterations.*do not refine"),
        (torch.rand(3, 8, 8), torch.rand(2, 8, 8), {"variant": "other"}, "expected 'paper' or 'published'"),
    ],
)
def test_wrong_input_is_answered(image, maps, arguments, message):
    with pytest.raises(ValueError, match=message):
        par(image, maps, **arguments)
