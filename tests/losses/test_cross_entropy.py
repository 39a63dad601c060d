import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import LOSSES, cross_entropy


def test_value_worked_out_by_hand():
    """Probabilities 1/4 and 3/4: the labelled pixels cost log 4 and log 4/3, the third is void."""
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    value = cross_entropy(logits, torch.tensor([[[0, 1, 255]]]))
    assert float(value) == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


def test_agrees_with_a_loop_over_pixels():
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 4, 3, 5, dtype=torch.float64), torch.randint(4, (2, 3, 5))
    mask[0, :2] = 255
    costs = []
    for n, y, x in (mask != 255).nonzero().tolist():
        costs.append(-torch.log(logits[n, :, y, x].exp()[mask[n, y, x]] / logits[n, :, y, x].exp().sum()))
    torch.testing.assert_close(cross_entropy(logits, mask), torch.stack(costs).mean())


def test_narrow_integer_masks_are_taken():
    logits, mask = torch.randn(1, 4, 3, 3), torch.randint(4, (1, 3, 3))
    mask[0, 0] = 255
    assert torch.equal(cross_entropy(logits, mask.to(torch.uint8)), cross_entropy(logits, mask))


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"logits are \(1, 4, 3, 3\) and the mask \(1, 6, 6\).*resize the logits"):
        cross_entropy(torch.randn(1, 4, 3, 3), torch.zeros(1, 6, 6, dtype=torch.long))


def test_a_batch_without_masks_is_refused_in_words():
    with pytest.raises(ValueError, match="found no mask in the batch"):
        LOSSES["cross_entropy"]({})({"logits": torch.zeros(1, 2, 2, 2)}, {}, {"image": torch.zeros(1, 3, 2, 2)})


def test_no_teacher_is_needed():
    logits = {"logits": torch.zeros(1, 2, 2, 2)}
    value = LOSSES["cross_entropy"]({})(
        logits, {}, {"image": torch.zeros(1, 3, 2, 2), "mask": torch.zeros(1, 2, 2, dtype=torch.long)}
    )
    assert float(value) == pytest.approx(math.log(2))


def test_one_score_per_pixel_is_binary_cross_entropy():
    torch.manual_seed(0)
    logits = (5 * torch.randn(2, 1, 4, 6, dtype=torch.float64)).requires_grad_()
    mask = torch.randint(2, (2, 4, 6))
    mask[0, 1] = 255
    known = mask != 255
    expected = F.binary_cross_entropy_with_logits(logits[:, 0][known], mask[known].double())
    value = cross_entropy(logits, mask)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (value, expected)))


def test_one_score_per_pixel_stays_finite_where_the_student_is_sure_and_wrong():
    logits = torch.tensor([200.0, -200.0]).view(1, 1, 1, 2)
    assert float(cross_entropy(logits, torch.tensor([[[0, 1]]]))) == 200


def test_a_student_of_one_class_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"predicts 1 class, expected at least 2: name the background too .*\(0, z\)"):
        LOSSES["cross_entropy"]({"logits": (1, 1)})
    LOSSES["cross_entropy"]({"logits": (2, 2)})
