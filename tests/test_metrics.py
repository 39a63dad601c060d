"""Scores against numbers worked out by hand, and against slow obvious loops."""

import json
import math

import pytest
import torch

from segstill.metrics import Scores, average_precision, boundary_counts

from .losses.golden import read


def one_row(*ids):
    return torch.tensor(ids).view(1, 1, -1)


def random_ids(seed, shape, classes, ignored=0.0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, classes, shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < ignored, 255, ids)


def scores_of(prediction, mask, classes, teacher=None, boundary=False):
    scores = Scores(classes, boundary=boundary)
    scores.update(prediction, mask, teacher)
    return scores.result([f"class {index}" for index in range(classes)])


def test_scores_equal_those_worked_out_by_hand():
    found = scores_of(one_row(0, 1, 1, 1), one_row(0, 0, 1, 1), 2)
    assert found["per_class_iou"] == pytest.approx({"class 0": 1 / 2, "class 1": 2 / 3})
    assert found["miou"] == pytest.approx(7 / 12)
    assert found["pixel_accuracy"] == pytest.approx(3 / 4)
    assert found["class_accuracy"] == pytest.approx(3 / 4)
    assert found["frequency_weighted_iou"] == pytest.approx(7 / 12)
    assert "boundary_f1" not in found
    assert "teacher_agreement" not in found


def test_frequency_weights_follow_the_truth():
    # IoU 2/3 with 3 of 4 pixels, IoU 1/2 with 1 of 4.
    found = scores_of(one_row(0, 0, 1, 1), one_row(0, 0, 0, 1), 2)
    assert found["frequency_weighted_iou"] == pytest.approx(3 / 4 * 2 / 3 + 1 / 4 * 1 / 2)
    assert found["class_accuracy"] == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_in_neither_truth_nor_prediction_is_skipped():
    found = scores_of(one_row(0, 0), one_row(0, 0), 3)
    assert found["per_class_iou"] == {"class 0": 1.0, "class 1": None, "class 2": None}
    assert found["miou"] == 1.0


def test_a_class_that_is_only_predicted_scores_zero_and_counts():
    found = scores_of(one_row(0, 0, 0, 1), one_row(0, 0, 0, 0), 2)
    assert found["per_class_iou"] == {"class 0": 0.75, "class 1": 0.0}
    assert found["miou"] == pytest.approx(0.375)
    assert found["class_accuracy"] == pytest.approx(0.75)  # recall is undefined for a class without truth


def test_ignored_pixels_have_no_influence():
    mask, teacher = random_ids(0, (2, 20, 30), 4, ignored=0.2), random_ids(1, (2, 20, 30), 4)
    prediction = random_ids(2, (2, 20, 30), 4)
    wild = torch.where(mask == 255, 255, prediction)
    assert scores_of(prediction, mask, 4, teacher, True) == scores_of(wild, mask, 4, teacher, True)


def test_scores_come_from_the_whole_data_set_and_not_from_averages_over_images():
    scores = Scores(2)
    scores.update(one_row(0), one_row(0))
    scores.update(one_row(0, 1, 1, 1), one_row(1, 1, 1, 1))
    assert scores.result(["a", "b"])["per_class_iou"] == pytest.approx({"a": 1 / 2, "b": 3 / 4})


def test_teacher_agreement_is_the_share_of_labelled_pixels_with_the_same_class():
    # Equal at positions 0 and 2; position 3 has no label; being wrong together counts as agreement.
    found = scores_of(one_row(0, 1, 1, 0), one_row(0, 0, 0, 255), 2, teacher=one_row(0, 0, 1, 0))
    assert found["teacher_agreement"] == pytest.approx(2 / 3)


def test_scores_are_plain_numbers_that_json_can_hold():
    found = scores_of(one_row(0, 0), one_row(0, 0), 2, boundary=True)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["boundary_f1"] is None  # a single class has no boundary


def test_states_of_two_processes_add_up_to_one():
    batches = [[random_ids(seed + part, (1, 16, 24), 3, 0.1 * (part == 1)) for part in range(3)] for seed in (10, 20)]
    shares = [Scores(3, boundary=True) for _ in batches]
    whole = Scores(3, boundary=True)
    for share, batch in zip(shares, batches, strict=True):
        share.update(*batch)
        whole.update(*batch)
    summed = Scores(3, boundary=True)
    summed.load(shares[0].state() + shares[1].state())
    shares[0].merge(shares[1])
    names = ["a", "b", "c"]
    assert summed.result(names) == whole.result(names) == shares[0].result(names)
    assert whole.state().dtype == torch.int64


def test_a_loaded_state_is_a_copy():
    scores, other = Scores(2), Scores(2)
    scores.update(one_row(0, 1), one_row(0, 1))
    state = scores.state()
    other.load(state)
    state.zero_()
    assert other.result(["a", "b"])["miou"] == 1.0


@pytest.mark.parametrize(
    ("prediction", "mask", "message"),
    [
        (one_row(0, 1), one_row(0, 1, 1), "shape"),
        (torch.rand(1, 1, 3), one_row(0, 1, 1), "argmax"),
        (one_row(0, 1, 2), one_row(0, 1, 1), "prediction holds class 2"),
        (one_row(0, 1, 1), one_row(0, 1, 7), "mask holds class 7"),
        (one_row(0, -1, 1), one_row(0, 1, 1), "prediction holds class -1"),
        (one_row(0, 255), one_row(0, 0), "prediction holds class 255"),
        (torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), "N, H, W"),
    ],
)
def test_wrong_input_is_answered_and_leaves_the_counts_alone(prediction, mask, message):
    scores = Scores(2)
    with pytest.raises(ValueError, match=message):
        scores.update(prediction, mask)
    assert scores.state().sum() == 0


def test_results_that_cannot_be_had_are_refused():
    with pytest.raises(ValueError, match="no labelled pixel"):
        Scores(2).result(["a", "b"])
    scores = Scores(2)
    scores.update(one_row(0), one_row(0))
    with pytest.raises(ValueError, match="1 different class names"):
        scores.result(["a", "a"])
    with pytest.raises(ValueError, match="3 classes"):
        Scores(3).load(scores.state())
    with pytest.raises(ValueError, match="256 classes"):
        Scores(256)


def test_byte_masks_are_accepted():
    assert scores_of(one_row(0, 1).byte(), one_row(0, 1).byte(), 2)["miou"] == 1.0


# --- boundaries -----------------------------------------------------------------------------------------------------


def boundary_by_loops(ids):
    """The set of (class, y, x) on a boundary in one image."""
    height, width = ids.shape
    found = set()
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    here, there = int(ids[y, x]), int(ids[y + dy, x + dx])
                    if 255 not in (here, there) and here != there:
                        found.add((here, y, x))
    return found


def boundary_counts_by_loops(prediction, mask, classes):
    counts = torch.zeros(4, classes, dtype=torch.int64)
    reach = 0.0075 * math.hypot(*mask.shape[1:])
    for guess, truth in zip(prediction, mask, strict=True):
        sides = [boundary_by_loops(torch.where(truth == 255, 255, guess)), boundary_by_loops(truth)]
        for row, (mine, other) in enumerate((sides, sides[::-1])):
            for kind, y, x in mine:
                near = any(k == kind and math.hypot(y - v, x - u) <= reach for k, v, u in other)
                counts[2 * row, kind] += near
                counts[2 * row + 1, kind] += 1
    return counts


def patches(seed, size, classes, ignored):
    """Random rectangles: long straight boundaries, as real masks have."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(1, *size, dtype=torch.int64)
    for index in range(12):
        y, x, h, w = (int(torch.randint(0, limit, (), generator=generator)) for limit in (*size, *size))
        ids[0, y : y + h // 3, x : x + w // 3] = 255 if index < ignored else index % classes
    return ids


@pytest.mark.parametrize(
    ("size", "classes", "ignored"), [((12, 40), 3, 1), ((90, 120), 5, 2), ((24, 300), 3, 0), ((30, 420), 2, 1)]
)
def test_boundary_counts_equal_those_of_slow_loops(size, classes, ignored):
    mask = patches(1, size, classes, ignored)
    prediction = torch.where(mask == 255, 255, patches(2, size, classes, 0).roll(1, dims=2))
    counts = boundary_counts(prediction, mask, classes)
    assert torch.equal(counts, boundary_counts_by_loops(prediction, mask, classes))
    assert counts[1:4:2].sum() > 0


def test_classes_that_need_a_second_word_are_counted_alike():
    mask, prediction = patches(3, (90, 120), 4, 1), patches(4, (90, 120), 4, 0)
    prediction = torch.where(mask == 255, 255, prediction)
    few = boundary_counts(prediction, mask, 4)
    names = torch.tensor([0, 61, 62, 149, *[255] * 252])  # 4 classes renamed over three words
    many = boundary_counts(names[prediction], names[mask], 150)
    assert torch.equal(many[:, [0, 61, 62, 149]], few)
    assert many.sum() == few.sum()


def edge_at(column, size=(60, 80)):
    """Class 0 left of `column`, class 1 from it on."""
    return (torch.arange(size[1]) >= column).long().expand(1, *size)


@pytest.mark.parametrize(("size", "shift", "score"), [((60, 80), 0, 1.0), ((60, 80), 1, 0.0), ((120, 160), 1, 1.0)])
def test_an_edge_off_by_one_pixel_matches_only_where_the_tolerance_is_a_pixel(size, shift, score):
    # Diagonals 100 and 200: 0.75 and 1.5 pixels.
    found = scores_of(edge_at(40 + shift, size), edge_at(40, size), 2, boundary=True)
    assert found["boundary_f1"] == score


def test_boundary_f1_equals_one_worked_out_by_hand():
    # Truth has an edge of 60 pixels on both sides; the prediction lacks it in the lower half and is right above.
    mask = edge_at(40)
    prediction = mask.clone()
    prediction[:, 30:] = 0
    # What is predicted as class 1 is 30 high and 40 wide, so it also has a lower edge, which is wrong.
    counts = boundary_counts(prediction, mask, 2)
    assert counts[1].tolist() == [30 + 40, 30 + 39]  # the corner pixel of class 1 is on both edges
    assert counts[0].tolist() == [30, 30]
    assert counts[3].tolist() == [60, 60]
    assert counts[2].tolist() == [30, 30]
    precision, recall = (30 / 70, 30 / 69), 1 / 2
    expected = sum(2 * p * recall / (p + recall) for p in precision) / 2
    assert scores_of(prediction, mask, 2, boundary=True)["boundary_f1"] == pytest.approx(expected)


def test_the_rim_of_an_unlabelled_region_is_no_boundary():
    mask = edge_at(40).clone()
    mask[:, :, 38:42] = 255  # hides the only edge
    assert boundary_counts(mask, mask, 2).sum() == 0


def test_a_boundary_that_is_missed_or_invented_scores_zero():
    flat = torch.zeros(1, 60, 80, dtype=torch.int64)
    assert scores_of(flat, edge_at(40), 2, boundary=True)["boundary_f1"] == 0.0
    assert scores_of(edge_at(40), flat, 2, boundary=True)["boundary_f1"] == 0.0


def test_boundaries_of_different_classes_do_not_match():
    # The same line, but class 2 stands where class 1 should: class 0 matches, 1 and 2 do not.
    assert scores_of(edge_at(40) * 2, edge_at(40), 3, boundary=True)["boundary_f1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("per", ["class", "image"])
def test_average_precision_matches_the_published_numbers(per):
    g = read("excerpt", "multilabel_map")
    found = average_precision(g["scores"], g["labels"], per=per)
    torch.testing.assert_close(found, g[f"{per}_ap"], atol=1e-10, rtol=0, equal_nan=True)
    torch.testing.assert_close(found.nanmean(), g[f"{per}_wise_map"], atol=1e-10, rtol=0)


def test_average_precision_worked_out_by_hand():
    scores, labels = torch.tensor([[0.9, 0.8, 0.8, 0.1]]), torch.tensor([[1, 0, 1, 0]])
    assert average_precision(scores, labels, per="image").tolist() == pytest.approx([(1 + 2 / 3) / 2])
    assert average_precision(scores.T, labels.T).tolist() == pytest.approx([5 / 6])
    # All scores are equal: one step, whose precision is the share of true labels.
    assert average_precision(torch.zeros(4, 1), torch.tensor([[1], [0], [0], [0]])).tolist() == [0.25]
    # True labels above all others give 1, below them the least there is: 1 of 2 and 2 of 3.
    assert average_precision(torch.tensor([[2.0], [1.0]]), torch.tensor([[True], [False]])).tolist() == [1]
    assert average_precision(torch.tensor([[-math.inf], [1.0]]), torch.tensor([[1.0], [0.0]])).tolist() == [0.5]


def test_average_precision_does_not_depend_on_order_and_scale():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (40, 5), generator=generator).float()
    labels = torch.randint(0, 2, (40, 5), generator=generator)
    found, order = average_precision(scores, labels), torch.randperm(40, generator=generator)
    torch.testing.assert_close(average_precision(scores[order], labels[order]), found)
    torch.testing.assert_close(average_precision(scores.exp().double(), labels), found)


def test_average_precision_is_undefined_without_a_true_label():
    found = average_precision(torch.rand(3, 2), torch.tensor([[0, 1], [0, 0], [0, 1]]))
    assert found.isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("scores", "labels", "per", "message"),
    [
        (torch.rand(3, 2), torch.zeros(2, 3), "class", r"give both as \(images, classes\)"),
        (torch.rand(3), torch.zeros(3), "class", r"scores have shape \(3,\)"),
        (torch.rand(3, 2), torch.full((3, 2), 0.5), "class", "values other than 0 and 1"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), "class", "hold NaN"),
        (torch.ones(3, 2, dtype=torch.long), torch.zeros(3, 2), "class", "torch.int64.*give the logits"),
        (torch.rand(3, 2), torch.zeros(3, 2), "pixel", "expected 'class' or 'image'"),
    ],
)
def test_average_precision_refuses_what_it_cannot_rank(scores, labels, per, message):
    with pytest.raises(ValueError, match=message):
        average_precision(scores, labels, per=per)
