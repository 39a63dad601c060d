"""The affinity loss: against a slow loop, by hand, and what must have no influence."""

import math

import pytest
import torch

from segstill.losses import LOSSES, affinity
from segstill.stencil import pair_offsets


def samples(images=2, size=(6, 7), seed=0):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(images, 4, *size, generator=g, dtype=torch.float64)
    labels = torch.randint(3, (images, *size), generator=g)
    labels[torch.rand(labels.shape, generator=g) < 0.2] = 255
    return features, labels


def by_loops(features, labels, radius):
    values = []
    for feature, label in zip(features, labels, strict=True):
        parts: dict[str, list[float]] = {"background": [], "object": [], "across": []}
        height, width = label.shape
        for y in range(height):
            for x in range(width):
                for dy, dx in pair_offsets(radius):
                    v, u = y + dy, x + dx
                    if not (0 <= v < height and 0 <= u < width) or 255 in (label[y, x], label[v, u]):
                        continue
                    weight = math.exp(-float((feature[:, y, x] - feature[:, v, u]).abs().mean()))
                    if label[y, x] != label[v, u]:
                        parts["across"].append(-math.log(1 - weight))
                    else:
                        parts["background" if label[y, x] == 0 else "object"].append(-math.log(weight))
        if any(parts.values()):
            mean = {name: sum(part) / max(len(part), 1) for name, part in parts.items()}
            values.append(mean["background"] / 4 + mean["object"] / 4 + mean["across"] / 2)
    return sum(values) / len(values)


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_it_agrees_with_a_loop_over_pairs(radius):
    features, labels = samples()
    assert float(affinity(features, labels, radius=radius)) == pytest.approx(by_loops(features, labels, radius))


def test_a_case_by_hand():
    """Background at distance 0, the object at log 2 from both: W = 1/2 across, and 1 within."""
    features = torch.tensor([0.0, 0.0, math.log(2)]).view(1, 1, 1, 3)
    value = affinity(features, torch.tensor([[[0, 0, 1]]]), radius=3)
    assert float(value) == pytest.approx(0 / 4 + math.log(2) / 2)


def test_its_derivative_agrees_with_finite_differences():
    features, labels = samples(1, (4, 4))
    assert torch.autograd.gradcheck(lambda f: affinity(f, labels, radius=3), features.requires_grad_())


def test_what_has_no_label_has_exactly_no_influence():
    features, labels = samples()
    other = torch.where((labels == 255).unsqueeze(1), 1e6, features).requires_grad_()
    value = affinity(other, labels)
    assert value.equal(affinity(features, labels))
    value.backward()
    assert other.grad is not None
    assert not other.grad[(labels == 255).unsqueeze(1).expand_as(other)].any()


def test_images_without_a_pair_are_not_counted_and_nothing_labelled_is_zero():
    features, labels = samples()
    empty = torch.full_like(labels, 255)
    both = affinity(torch.cat([features, features]), torch.cat([labels, empty]))
    assert float(both) == pytest.approx(float(affinity(features, labels)))
    features.requires_grad_()
    nothing = affinity(features, empty)
    nothing.backward()
    assert nothing.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_equal_features_and_an_image_smaller_than_the_radius_stay_finite():
    features = torch.zeros(1, 2, 2, 2, requires_grad=True)
    value = affinity(features, torch.tensor([[[0, 1], [1, 0]]]), radius=5)
    value.backward()
    assert 5 < value.item() < 6  # half of -log 1e-5
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_labels_of_cells_are_those_amid_them():
    mask = torch.zeros(1, 4, 6, dtype=torch.uint8)
    mask[:, :, 3:] = 1
    mask[:, 0, 0] = 7  # not amid its cell
    features = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    loss = LOSSES["affinity"]({"affinity": (3, 3)}, radius=2)
    assert loss({"affinity": features}, {}, {"image": torch.zeros(1, 3, 4, 6), "mask": mask}).equal(
        affinity(features, torch.tensor([[[0, 1], [0, 1]]]), radius=2)
    )


def test_half_precision_is_raised():
    features, labels = samples()
    with torch.autocast("cpu", torch.bfloat16):
        assert affinity(features.bfloat16(), labels).dtype == torch.float32


def test_wrong_shapes_a_small_radius_and_a_missing_mask_are_refused():
    features, labels = samples()
    with pytest.raises(ValueError, match="one label per cell"):
        affinity(features, labels[:, 1:])
    with pytest.raises(ValueError, match="radius is 1"):
        LOSSES["affinity"]({}, radius=1)
    with pytest.raises(ValueError, match="give a folder of seeds"):
        LOSSES["affinity"]({})({"affinity": features}, {}, {"image": torch.zeros(2, 3, 6, 7)})
