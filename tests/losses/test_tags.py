"""Image labels: a value by hand, against a loop, and the published number."""

import math

import pytest
import torch

from segstill.losses import tags

from .golden import assert_close_to_golden, every_source, read


def test_a_value_worked_out_by_hand():
    """Probabilities 1/2 and 3/4 of two classes, the second of which is there: log 2 and log 4/3."""
    value = tags(torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, 1.0]]))
    assert float(value) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


def test_agrees_with_a_loop_over_images_and_classes():
    torch.manual_seed(0)
    scores, present = 3 * torch.randn(3, 5, dtype=torch.float64), torch.rand(3, 5) > 0.5
    costs = []
    for n in range(3):
        for k in range(5):
            p = 1 / (1 + (-scores[n, k]).exp())
            costs.append(-p.log() if present[n, k] else -(1 - p).log())
    torch.testing.assert_close(tags(scores, present), torch.stack(costs).mean())


@every_source
def test_agrees_with_the_published_code(source):
    golden = read(source, "sipe")
    value = tags(golden["train.raw_cam"].mean(dim=(2, 3)), golden["train.image_labels"])
    assert_close_to_golden(value, golden["train.cls_value"])


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_scores_of_any_size_give_finite_values_and_gradients(scale):
    scores = (scale * torch.randn(2, 4)).requires_grad_()
    value = tags(scores, torch.tensor([[1.0, 0, 1, 0]] * 2))
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()


def test_scores_of_pixels_and_tags_of_other_classes_are_refused():
    with pytest.raises(ValueError, match=r"scores are \(1, 3, 2, 2\).*must be a classifier of images"):
        tags(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"scores are \(1, 3\) and the tags \(1, 4\).*without background"):
        tags(torch.zeros(1, 3), torch.zeros(1, 4))
