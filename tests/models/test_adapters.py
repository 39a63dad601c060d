"""Whatever a network returns becomes class scores, or the error says what it was."""

import math
from types import SimpleNamespace

import pytest
import torch

from segstill.models.adapters import class_scores

SCORES = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "output",
    [
        SCORES,
        {"out": SCORES, "aux": SCORES + 1},
        {"logits": SCORES},
        SimpleNamespace(logits=SCORES, loss=None),
        (SCORES, SCORES + 1),
        [{"out": SCORES}],
    ],
)
def test_scores_are_found_in_every_usual_form(output):
    assert class_scores(output) is SCORES


def test_queries_become_the_share_that_each_class_has_in_the_masks():
    """Two queries, two classes and "none of them".

    Query 0 is class 0 with probability 1/2 and class 1 with 1/4, query 1 is class 1 with 1/2 and class 0 with 1/4.  A
    pixel that they cover with 3/4 and 1/4 scores 3/8 + 1/16 = 7/16 for class 0 and 3/16 + 1/8 = 5/16 for class 1.
    """
    classes = torch.tensor([[[math.log(2.0), 0.0, 0.0], [0.0, math.log(2.0), 0.0]]])
    masks = torch.tensor([math.log(3.0), -math.log(3.0)]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    output = SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks, logits=None)
    scores = class_scores(output)
    assert scores.shape == (1, 2, 2, 2)
    torch.testing.assert_close(scores[0, :, 0, 0], torch.tensor([7 / 16, 5 / 16]).log())
    torch.testing.assert_close(scores.softmax(1)[0, :, 1, 1], torch.tensor([7 / 12, 5 / 12]))


def test_a_pixel_that_no_query_covers_has_finite_scores_and_gradients():
    classes = torch.zeros(1, 2, 4, requires_grad=True)
    masks = torch.full((1, 2, 3, 3), -200.0, requires_grad=True)
    scores = class_scores(SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks))
    scores.sum().backward()
    assert scores.isfinite().all()
    assert masks.grad is not None
    assert masks.grad.isfinite().all()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"prediction": SCORES}, r"returned a dict with \['prediction'\], expected a tensor of scores"),
        (None, r"returned a NoneType, expected a tensor"),
        ((), r"returned a tuple"),
    ],
)
def test_another_form_is_named(output, message):
    with pytest.raises(ValueError, match=message):
        class_scores(output)
