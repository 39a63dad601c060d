"""Classes that are absent, and a single class."""

import pytest
import torch

from segstill.losses import LOSSES, LogitLoss

from .samples import FORMS, K, batch, build, detached, every_variant, features


@every_variant
@pytest.mark.parametrize("sides", [(0, 1), (0,), (1,)], ids=["both", "student", "teacher"])
def test_a_class_that_a_network_never_predicts_leaves_a_finite_value_and_gradient(name, args, sides):
    maps = [features(0, 0), features(1, 7)]
    for side in sides:
        maps[side]["logits"] = maps[side]["logits"].detach()
        maps[side]["logits"][:, -1] = -60  # its probability is exactly 0 in half precision, and 1e-27 in single
        maps[side]["logits"].requires_grad_()
    data = batch(classes=K - 1)
    loss = build(name, args)
    value = loss(*maps, data)
    value.backward()
    assert value.isfinite()
    assert value > 0
    assert all(maps[0][tap].grad.isfinite().all() for tap in loss.taps or ("logits",))


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.needs_teacher])
def test_a_single_class_is_taken_or_refused_in_words(name):
    """`cross_entropy` is left out: the softmax of one class is 1, and its loss 0."""
    student, teacher = (detached(features(side, side, classes=1)) for side in (0, 1))
    if issubclass(LOSSES[name], LogitLoss) and LOSSES[name].least_classes > 1:
        with pytest.raises(ValueError, match="predict 1 class, expected at least 2.*sigmoid_kd and cwd take a single"):
            build(name, {}, classes=1)
        with pytest.raises(ValueError, match="predict 1 class"):
            LOSSES[name]({})(student, teacher, batch(classes=1))
    else:
        assert build(name, {}, classes=1)(student, teacher, batch(classes=1)) > 0


@pytest.mark.parametrize(("name", "args"), [("sigmoid_kd", {}), ("cwd", {}), *FORMS])
def test_the_losses_of_a_single_class_can_be_minimised_by_it(name, args):
    teacher, loss = detached(features(1, 1, classes=1)), build(name, args, classes=1)
    logits = torch.zeros_like(teacher["logits"], requires_grad=True)
    optimizer, values = torch.optim.Adam([logits], lr=0.3), []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss({"logits": logits}, teacher, batch(classes=1))
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.1 * values[0]
