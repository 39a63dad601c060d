"""What must not change the value of a loss: repeated images, larger copies, the order of classes, the memory layout."""

import pytest
import torch

from .samples import (
    K,
    batch,
    build,
    detached,
    every_masked_variant,
    every_masked_variant_but,
    every_variant,
    features,
    ignore_a_block,
)


@every_masked_variant
def test_repeating_the_batch_changes_nothing(name, args):
    data, student, teacher = ignore_a_block(batch()), features(0, 0), features(1, 7)
    once = build(name, args)(student, teacher, data)
    thrice = build(name, args)(
        {tap: value.repeat(3, 1, 1, 1) for tap, value in student.items()},
        {tap: value.repeat(3, 1, 1, 1) for tap, value in teacher.items()},
        {key: value.repeat(3, *[1] * (value.ndim - 1)) for key, value in data.items()},
    )
    torch.testing.assert_close(thrice, once, rtol=1e-5, atol=0)


def upsampled(value, factor):
    return value.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


@every_masked_variant_but(
    {
        "pairwise": "its cells keep their size, and see less of an enlarged image: test_pairwise.py enlarges them too",
        "attnfd": "the 7 x 7 convolution of the student's attention sees another neighbourhood",
        "mgd": "its 3 x 3 convolutions see another neighbourhood",
        "afdcd": "its patches keep their size, and its 3 x 3 convolutions see another neighbourhood",
    }
)
@pytest.mark.parametrize("factor", [2, 3])
def test_upsampling_by_nearest_changes_nothing(name, args, factor):
    data = ignore_a_block(batch())
    data["mask"] = upsampled(data["mask"][:, 1::2, 1::2], 2)  # one label per cell of the smallest feature
    sides = [detached(features(0, 0)), detached(features(1, 7))]
    small = build(name, args)(*sides, data)
    large = build(name, args)(
        *({tap: upsampled(value, factor) for tap, value in side.items()} for side in sides),
        {key: upsampled(value, factor) for key, value in data.items()},
    )
    torch.testing.assert_close(large, small, rtol=1e-4, atol=1e-7)


@every_masked_variant
def test_the_order_of_the_classes_changes_nothing(name, args):
    data = ignore_a_block(batch())
    order = torch.tensor([3, 0, 4, 1, 2])
    rank = torch.full((256,), 255)
    rank[order] = torch.arange(K)
    sides = [detached(features(0, 0)), detached(features(1, 7))]
    value = build(name, args)(*sides, data)
    mixed = build(name, args)(
        *(side | {"logits": side["logits"][:, order]} for side in sides), data | {"mask": rank[data["mask"]]}
    )
    torch.testing.assert_close(mixed, value, rtol=1e-5, atol=0)


@every_variant
def test_channels_last_features_give_the_same_value_and_gradient(name, args):
    teacher, results = features(1, 7), []
    for layout in (torch.contiguous_format, torch.channels_last):
        loss, student = build(name, args), features(0, 0)
        value = loss({tap: map_.contiguous(memory_format=layout) for tap, map_ in student.items()}, teacher, batch())
        value.backward()
        results.append([value.detach(), *(student[tap].grad for tap in loss.taps or ("logits",))])
    for plain, last in zip(*results, strict=True):
        torch.testing.assert_close(last, plain)
