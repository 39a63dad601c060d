"""Pixels that are ignored have exactly no influence on any loss."""

import pytest
import torch

from segstill.losses import LOSSES

from .samples import (
    MASKED,
    batch,
    build,
    detached,
    every_masked_variant,
    every_masked_variant_but,
    features,
    ignore_a_block,
    label,
)


def poison(maps, void, content):
    """Overwrite what lies under void pixels."""
    dirty = detached(maps)
    for value in dirty.values():
        cells = torch.nn.functional.interpolate(void[:, None].float(), size=value.shape[2:], mode="nearest-exact") > 0
        value.masked_fill_(cells, content)
    return {tap: value.requires_grad_() for tap, value in dirty.items()}


@every_masked_variant
@pytest.mark.parametrize("content", [1e30, -1e30, 3.0])
def test_ignored_pixels_have_exactly_no_influence(name, args, content):
    data = ignore_a_block(batch())
    void = data["mask"] == 255
    clean, clean_teacher = features(0, 0), detached(features(1, 7))
    dirty, dirty_teacher = poison(clean, void, content), detached(poison(clean_teacher, void, content))
    first, second = build(name, args), build(name, args)
    expected, actual = first(clean, clean_teacher, data), second(dirty, dirty_teacher, data)
    assert torch.equal(actual, expected)
    expected.backward()
    actual.backward()
    for tap in first.taps or ("logits",):
        assert torch.equal(dirty[tap].grad, clean[tap].grad)
        cells = torch.nn.functional.interpolate(void[:, None].float(), size=dirty[tap].shape[2:], mode="nearest-exact")
        assert float((dirty[tap].grad * cells).abs().max()) == 0
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


@pytest.mark.parametrize(("name", "args"), [case for case in MASKED if LOSSES[case[0]].needs_teacher], ids=label)
@pytest.mark.parametrize("content", [float("inf"), float("-inf"), float("nan")])
def test_not_even_infinities_and_nan_at_ignored_pixels_matter_to_distillation(name, args, content):
    test_ignored_pixels_have_exactly_no_influence(name, args, content)


@every_masked_variant
def test_ignored_pixels_do_matter_once_they_count(name, args):
    void = ignore_a_block(batch())["mask"] == 255
    clean, teacher = features(0, 0), features(1, 7)
    values = [build(name, args)(maps, teacher, batch()) for maps in (clean, poison(clean, void, 3.0))]
    assert not torch.equal(*values)


@every_masked_variant
def test_a_batch_without_labels_gives_zero_and_finite_gradients(name, args):
    data = batch()
    data["mask"].fill_(255)
    loss, student = build(name, args), features(0, 0)
    value = loss(student, features(1, 7), data)
    value.backward()
    assert value == 0
    for tap in loss.taps or ("logits",):
        assert not student[tap].grad.any()
    assert all(p.grad is None or not p.grad.any() for p in loss.parameters())


@every_masked_variant
def test_an_image_without_a_valid_pixel_is_not_counted(name, args):
    if name == "attnfd":
        args = args | {"teacher_attention": "random"}
    one, two = build(name, args).eval(), build(name, args).eval()  # eval: batch statistics would see the other image
    data = batch()
    data["mask"][1] = 255
    student, teacher = features(0, 0), features(1, 7)
    alone = one(
        {tap: value[:1] for tap, value in student.items()},
        {tap: value[:1] for tap, value in teacher.items()},
        {key: value[:1] for key, value in data.items()},
    )
    torch.testing.assert_close(two(student, teacher, data), alone)


@every_masked_variant_but(
    {
        "cross_entropy": "it is the loss with the labels",
        "ifvd": "it reads the labels: an unlabelled pixel has no class",
        "cirkd_memory": "its memory holds labelled cells only",
    }
)
def test_the_valid_mask_of_the_batch_overrules_the_labels(name, args):
    data = ignore_a_block(batch())
    unlabelled = batch() | {"valid": data["mask"] != 255}
    unlabelled["mask"].fill_(255)
    values = [build(name, args)(features(0, 0), features(1, 7), given) for given in (data, unlabelled)]
    assert torch.equal(*values)
    assert values[0] > 0
