"""The sweep over thresholds: as published, and exactly what one pass for each threshold counts."""

import pytest
import torch

from segstill.metrics import Scores
from segstill.seeds import THRESHOLDS, Sweep, threshold_sweep

from ..losses.golden import read


def test_matches_the_published_numbers():
    g = read("excerpt", "seed_miou")
    found = threshold_sweep(g["cams"], g["image_labels"], g["ground_truth"])
    torch.testing.assert_close(found.thresholds, g["thresholds"], atol=1e-12, rtol=0)
    torch.testing.assert_close(100 * found.class_iou, g["class_iou_percent"], atol=1e-8, rtol=0)
    torch.testing.assert_close(100 * found.miou, g["miou_percent"], atol=1e-8, rtol=0)
    best = found.oracle()
    assert best.threshold == pytest.approx(float(g["best_threshold"]))
    assert 100 * best.miou == pytest.approx(float(g["best_miou_percent"]))
    assert best.class_iou.equal(found.class_iou[48])


def seeds_at(threshold, cams, labels):
    """(H, W) class ids, written down as the definition says it."""
    scores = torch.cat((torch.full_like(cams[:1], threshold), cams * labels.view(-1, 1, 1)))
    return scores.argmax(dim=0)  # the first of equal ones, and so background


def by_brute_force(images, classes, thresholds):
    """(T, K + 1) IoU, one pass for each threshold."""
    result = []
    for threshold in thresholds:
        right, seeds, truth = torch.zeros(3, classes, dtype=torch.int64)
        for cams, labels, mask in images:
            found = seeds_at(threshold, cams, labels)
            for c in range(classes):
                right[c] += ((found == c) & (mask == c)).sum()
                seeds[c] += ((found == c) & (mask != 255)).sum()
                truth[c] += (mask == c).sum()
        union = truth + seeds - right
        result.append(torch.where(union > 0, right.double() / union, 0))
    return torch.stack(result)


def random_image(seed, size, classes, dtype=torch.float32, steps=None):
    generator = torch.Generator().manual_seed(seed)
    cams = torch.rand(classes - 1, *size, generator=generator, dtype=dtype)
    if steps:  # few values, so that maps are equal to each other and to thresholds
        cams = torch.tensor(THRESHOLDS, dtype=dtype)[(cams * steps).long()]
    labels = torch.randint(0, 2, (classes - 1,), generator=generator)
    mask = torch.randint(0, classes, size, generator=generator)
    return cams, labels, torch.where(torch.rand(size, generator=generator) < 0.1, 255, mask).byte()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [None, 30])
@pytest.mark.parametrize("classes", [2, 6, 40])
def test_equals_one_pass_for_each_threshold_exactly(dtype, steps, classes):
    images = [random_image(seed, (13 + seed, 17 - seed), classes, dtype, steps) for seed in range(4)]
    cams, labels, masks = zip(*images, strict=True)
    found = threshold_sweep(cams, torch.stack(labels), masks)
    assert found.class_iou.equal(by_brute_force(images, classes, THRESHOLDS))
    assert found.miou.equal(found.class_iou.mean(dim=1))


def test_half_precision_is_compared_in_single():
    cams, labels, mask = random_image(0, (13, 17), 4)
    images = [(cams.half().float(), labels, mask)]
    assert threshold_sweep(cams.half(), labels, mask).class_iou.equal(by_brute_force(images, 4, THRESHOLDS))


def test_other_thresholds_may_be_given():
    image = random_image(0, (13, 17), 4)
    for thresholds in ([0.3], [0.0, 0.31, 0.98, 1.5], torch.linspace(0, 1, 7)):
        found = threshold_sweep(*image, thresholds=thresholds)
        assert found.class_iou.equal(by_brute_force([image], 4, thresholds))


def test_a_value_equal_to_the_threshold_is_background_and_the_first_of_equal_classes_wins():
    cams = torch.tensor([[[0.25, 0.5, 0.0]], [[0.25, 0.5, 0.0]]])
    found = threshold_sweep(cams, torch.tensor([1, 1]), torch.zeros(1, 3).long(), thresholds=(0.0, 0.25, 0.5))
    assert found.seeds.tolist() == [[1, 2, 0], [2, 1, 0], [3, 0, 0]]


def test_maps_of_other_classes_have_no_influence():
    cams, _, mask = random_image(0, (9, 8), 4)
    labels = torch.tensor([0, 1, 0])
    found = threshold_sweep(cams, labels, mask)
    cams[[0, 2]] = torch.nan
    assert all(one.equal(other) for one, other in zip(found, threshold_sweep(cams, labels, mask), strict=True))


def test_an_image_without_labels_is_background():
    cams, _, mask = random_image(0, (9, 8), 4)
    found = threshold_sweep(cams, torch.zeros(3), mask)
    assert found.seeds[:, 1:].count_nonzero() == 0
    assert found.right[:, 0].unique().tolist() == [int((mask == 0).sum())]


def test_precision_and_recall_follow_from_the_counts():
    cams, labels = torch.tensor([[[0.9, 0.5, 0.5, 0.1]]]), torch.tensor([1])
    found = threshold_sweep(cams, labels, torch.tensor([[1, 1, 0, 255]]), thresholds=(0.0, 0.4, 0.6))
    assert (found.right / found.seeds)[:, 1].tolist() == pytest.approx([2 / 3, 2 / 3, 1])
    assert (found.right / found.truth)[:, 1].tolist() == pytest.approx([1, 1, 1 / 2])
    assert (found.right / found.truth)[:, 0].tolist() == pytest.approx([0, 0, 1])


def test_a_class_that_is_nowhere_counts_as_zero():
    """So do published evaluators; `Scores` leaves it out."""
    cams, labels, mask = torch.tensor([[[0.9]], [[0.0]]]), torch.tensor([1, 0]), torch.tensor([[1]])
    found = threshold_sweep(cams, labels, mask, thresholds=(0.5,))
    assert found.class_iou.tolist() == [[0, 1, 0]]
    assert float(found.miou) == pytest.approx(1 / 3)


def test_agrees_with_the_scores_of_masks_where_every_class_is_there():
    images = [random_image(seed, (13, 17), 3) for seed in range(3)]
    cams, labels, masks = (torch.stack(each) for each in zip(*images, strict=True))
    scores = Scores(3)
    scores.update(torch.stack([seeds_at(0.3, *image[:2]) for image in images]), masks)
    found = threshold_sweep(cams, labels, masks).at(0.3)
    assert found.miou == pytest.approx(scores.result(["a", "b", "c"])["miou"])


def test_an_image_that_is_all_void_changes_no_score():
    image, void = random_image(0, (9, 8), 4), random_image(1, (5, 6), 4)
    sweep, alone = Sweep(4), Sweep(4)
    for each in (sweep, alone):
        each.update(*image)
    sweep.update(void[0], void[1], torch.full((5, 6), 255))
    with_void, without = sweep.result(), alone.result()
    assert with_void.class_iou.equal(without.class_iou)
    assert with_void.seeds.equal(without.seeds)
    only = Sweep(4)
    only.update(void[0], void[1], torch.full((5, 6), 255))
    with pytest.raises(ValueError, match="no labelled pixel was counted"):
        only.result()


def test_an_image_of_one_pixel_is_enough():
    found = threshold_sweep(torch.tensor([[[0.3]]]), torch.tensor([1]), torch.tensor([[1]]))
    assert found.class_iou[:, 1].tolist() == [1.0] * 30 + [0.0] * 30  # 0.29 < 0.3, and 0.30 is not below it
    assert found.oracle().threshold == 0


def test_fixed_thresholds_are_those_that_were_swept():
    found = threshold_sweep(*random_image(0, (9, 8), 4))
    assert found.at(0.25).miou == float(found.miou[25])
    with pytest.raises(ValueError, match=r"0.255 was not swept, the nearest is 0.25.*when sweeping"):
        found.at(0.255)


def test_the_label_free_score_is_that_of_its_threshold_and_ignores_the_ground_truth():
    cams, labels, mask = random_image(0, (30, 40), 4)
    found = threshold_sweep(cams, labels, mask).label_free()
    other = threshold_sweep(cams, labels, torch.where(mask == 255, 1, 255)).label_free()
    assert found.threshold == other.threshold
    assert found.miou != other.miou
    assert threshold_sweep(torch.zeros(3, 9, 8), torch.ones(3), mask[:9, :8]).label_free().threshold == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_maps_may_lie_on_a_gpu():
    cams, labels, mask = random_image(0, (30, 40), 4)
    found = threshold_sweep(cams.cuda(), labels.cuda(), mask.cuda())
    assert found.class_iou.equal(threshold_sweep(cams, labels, mask).class_iou)


CAMS, LABELS, MASK = torch.rand(3, 4, 5), torch.tensor([1, 0, 1]), torch.zeros(4, 5, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("cams", "labels", "mask", "message"),
    [
        (CAMS[0], LABELS, MASK, r"cams \(4, 5\).*expected \(K, H, W\)"),
        (CAMS, LABELS[:2], MASK, r"image labels \(2,\).*leave background out"),
        (CAMS[:2], LABELS[:2], MASK, "cams hold 2 classes, expected 3"),
        (CAMS[:, :0], LABELS, MASK[:0], r"cams \(3, 0, 5\)"),
        (CAMS, LABELS * 2, MASK, "values other than 0 and 1"),
        (CAMS.long(), LABELS, MASK, "cams are torch.int64"),
        (CAMS * torch.nan, LABELS, MASK, "cams hold NaN"),
        (CAMS, LABELS, MASK[1:], r"ground truth \(3, 5\) and cams \(3, 4, 5\).*bring the class maps"),
        (CAMS, LABELS, MASK.float(), "ground truth is torch.float32"),
        (CAMS, LABELS, MASK + 4, "class 4, expected 0 to 3 or 255: check"),
        (CAMS, LABELS, MASK.long() - 1, "class -1"),
        (CAMS, LABELS, MASK.long() + 256, "class 256"),
    ],
)
def test_wrong_images_are_answered_and_leave_the_counts_alone(cams, labels, mask, message):
    sweep = Sweep(4)
    sweep.update(CAMS, LABELS, MASK)
    before = sweep.result()
    with pytest.raises(ValueError, match=message):
        sweep.update(cams, labels, mask)
    assert all(one.equal(other) for one, other in zip(before, sweep.result(), strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sweep(1), "1 classes given, expected 2 to 255"),
        (lambda: Sweep(256), "256 classes"),
        (lambda: Sweep(3, thresholds=(0.3, 0.2)), "ascending numbers of at least 0: sort them"),
        (lambda: Sweep(3, thresholds=(-0.1, 0.2)), "at least 0"),
        (lambda: Sweep(3, thresholds=()), "thresholds are"),
        (lambda: threshold_sweep([CAMS], LABELS[None], [MASK, MASK]), "1 images and 2 masks"),
        (lambda: threshold_sweep([CAMS], LABELS, [MASK]), r"labels \(3,\) given"),
        (lambda: threshold_sweep([], LABELS[None][:0], []), "expected at least one image"),
    ],
)
def test_wrong_calls_are_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
