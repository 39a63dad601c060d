"""The threshold that is chosen without ground truth."""

import pytest
import torch

from segstill.seeds import THRESHOLDS, Otsu, label_free_threshold


def test_divides_two_groups_of_pixels():
    torch.manual_seed(0)
    low, high = 0.1 + 0.05 * torch.rand(1, 20, 30), 0.4 + 0.05 * torch.rand(1, 20, 10)
    found = label_free_threshold(torch.cat((low, high), dim=2), torch.tensor([1]))
    assert found == 0.15  # the first of those that divide them


def by_definition(values, threshold):
    above, below = values[values > threshold].double(), values[values <= threshold].double()
    if not len(above) or not len(below):
        return 0.0
    return len(above) * len(below) / len(values) ** 2 * float(above.mean() - below.mean()) ** 2


def test_variances_equal_those_of_all_pixels_at_once():
    torch.manual_seed(0)
    otsu, values = Otsu(), []
    for size in ((7, 9), (12, 5), (1, 1)):
        cams, labels = torch.rand(3, *size) ** 3, torch.tensor([1, 0, 1])
        otsu.update(cams, labels)
        values.append(cams[[0, 2]].amax(dim=0).flatten())
    expected = [by_definition(torch.cat(values), torch.tensor(t, dtype=torch.float32)) for t in THRESHOLDS]
    assert otsu.variances().tolist() == pytest.approx(expected)
    assert otsu.threshold() == THRESHOLDS[max(range(60), key=expected.__getitem__)]


def test_images_without_labels_count_as_zeros():
    cams = torch.full((1, 2, 2), 0.5)
    otsu = Otsu()
    otsu.update(cams, torch.tensor([1]))
    otsu.update(cams, torch.tensor([0]))
    assert otsu.threshold() == 0
    assert otsu.variances()[:50].tolist() == pytest.approx([0.25 * 0.5**2] * 50)


def test_a_list_of_images_equals_a_batch_and_a_stream():
    torch.manual_seed(0)
    cams, labels = torch.rand(4, 3, 6, 7), torch.randint(0, 2, (4, 3))
    otsu = Otsu()
    for maps, tags in zip(cams, labels, strict=True):
        otsu.update(maps, tags)
    assert label_free_threshold(cams, labels) == label_free_threshold(list(cams), labels) == otsu.threshold()


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_maps_that_no_threshold_divides_are_answered(value):
    with pytest.raises(ValueError, match=r"no threshold from 0 to 0.59 has pixels on both sides.*normalise them"):
        label_free_threshold(torch.full((1, 3, 4), value), torch.tensor([1]))


def test_wrong_input_is_answered():
    with pytest.raises(ValueError, match=r"labels \(2,\) given"):
        label_free_threshold(torch.rand(2, 3, 4, 5), torch.ones(2))
    with pytest.raises(ValueError, match="cams are torch.uint8"):
        label_free_threshold(torch.ones(1, 4, 5, dtype=torch.uint8), torch.ones(1))
