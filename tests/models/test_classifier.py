"""Class maps are pooled to scores over the cells inside the image, and over no others."""

import math

import pytest
import torch

from segstill.models.classifier import POOLINGS, cells_inside, gwrp, top_k

N, K, H, W = 4, 3, 5, 7


@pytest.fixture
def cam():
    return torch.randn(N, K, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def cells():
    """A whole image, part of one, a single cell, and no cell at all."""
    inside = torch.zeros(N, H, W, dtype=torch.bool)
    inside[0] = True
    inside[1, :4, :3] = True
    inside[2, 2, 5] = True
    return inside


def by_loops(name, cam, cells, share=0.1, decay=0.996):
    scores = torch.zeros(N, K, dtype=torch.float64)
    for image in range(N):
        for k in range(K):
            kept = [
                cam[image, k, row, column].item()
                for row in range(H)
                for column in range(W)
                if cells[image, row, column]
            ]
            kept.sort(reverse=True)
            if not kept:
                continue
            if name == "gap":
                weights = [1.0] * len(kept)
            elif name == "gmp":
                weights = [1.0]
            elif name == "gwrp":
                weights = [decay**rank for rank in range(len(kept))]
            else:
                weights = [1.0] * max(1, math.ceil(share * len(kept)))
            scores[image, k] = sum(w * value for w, value in zip(weights, kept, strict=False)) / sum(weights)
    return scores


@pytest.mark.parametrize("name", POOLINGS)
def test_scores_are_those_of_a_loop_over_cells(name, cam, cells):
    torch.testing.assert_close(POOLINGS[name](cam, cells), by_loops(name, cam, cells))


def test_rank_weights_and_shares_can_be_chosen(cam, cells):
    torch.testing.assert_close(gwrp(cam, cells, decay=0.5), by_loops("gwrp", cam, cells, decay=0.5))
    torch.testing.assert_close(top_k(cam, cells, share=0.4), by_loops("top_k", cam, cells, share=0.4))
    torch.testing.assert_close(top_k(cam, cells, share=1.0), POOLINGS["gap"](cam, cells))
    torch.testing.assert_close(gwrp(cam, cells, decay=1.0), POOLINGS["gap"](cam, cells))


@pytest.mark.parametrize("name", POOLINGS)
def test_what_stands_outside_has_no_influence_and_no_gradient(name, cam, cells):
    expected = POOLINGS[name](cam, cells)
    for content in (1e30, torch.inf, -torch.inf, torch.nan):
        filled = cam.masked_fill(~cells[:, None], content).requires_grad_()
        scores = POOLINGS[name](filled, cells)
        torch.testing.assert_close(scores, expected)
        scores.square().sum().backward()
        assert filled.grad is not None
        assert filled.grad.isfinite().all()
        assert not filled.grad.masked_select(~cells[:, None]).any()
        assert filled.grad[:3].flatten(2).any(dim=2).all()


def test_a_cell_is_inside_when_one_of_its_pixels_is():
    valid = torch.zeros(2, 9, 13, dtype=torch.bool)
    valid[0, :5, :9] = True
    valid[1, 8, 12] = True
    for stride in (1, 2, 4, 8):
        cells = cells_inside(valid, stride)
        assert cells.shape == (2, math.ceil(9 / stride), math.ceil(13 / stride))
        for image, row, column in cells.nonzero().tolist() + (~cells).nonzero().tolist():
            pixels = valid[image, row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
            assert cells[image, row, column] == pixels.any()
