"""Conventions that fail silently, each pinned by numbers small enough to work out by hand.

Getting one of them wrong raises nothing: it costs points of mIoU, or makes numbers that nobody else's compare with.
"""

import math
from typing import cast

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segstill.batch import IGNORE, Batch, valid_pixels
from segstill.build import build_learner, build_optimizer
from segstill.data import Images
from segstill.data.transforms import FILL, Augment
from segstill.evaluate import predict
from segstill.learner import RAMPS
from segstill.losses import (
    AttnFD,
    PixelKD,
    attnfd,
    cross_entropy,
    icsd,
    inter_class_similarity,
    parameter_free_attention,
    pixel_kd,
)
from segstill.metrics import Scores
from segstill.models import Guest, Segmenter, tiny
from segstill.models.deeplab import Decoder, DeepLabV3Plus
from segstill.models.deeplabv3_mobilenet import DeepLabV3
from segstill.models.tiny import TinyDecoder
from segstill.optim import make_optimizer, set_learning_rate
from segstill.recipe import TermSpec

from .helpers import small_recipe


def row(*values: float) -> Tensor:
    """A map (1, 1, 1, W)."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def per_pixel(*pixels: tuple[float, ...]) -> Tensor:
    """Logits (1, K, 1, W) from the scores of each pixel."""
    return torch.tensor(pixels, dtype=torch.float32).T[None, :, None]


class Returns(nn.Module):
    """A network that always gives the same."""

    def __init__(self, result):
        super().__init__()
        self.result, self.out_channels = result, [3, 1, 1, 1]

    def forward(self, *_: object):
        return self.result


# --- resizing -------------------------------------------------------------------------------------------------------

BY_CENTRES = [0, 1 / 4, 3 / 4, 1]
"""The row 0, 1 on four places: align_corners false, pixels are areas and the image's edges stay where they are."""
BY_CORNERS = [0, 1 / 3, 2 / 3, 1]
"""The same with align_corners true: the centres of the outermost pixels stay where they are."""


def test_a_segmenter_enlarges_scores_by_centres():
    scores = Segmenter(Returns(row(0, 1)), classes=1)(torch.zeros(1, 3, 1, 4))
    assert scores.flatten().tolist() == pytest.approx(BY_CENTRES)


def test_a_teacher_that_sees_another_size_is_brought_to_the_students_by_centres():
    """At half the size it sees 1 x 2 pixels, where the network needs no resizing."""
    scores = Guest(Segmenter(Returns(row(0, 1)), classes=1), scale=0.5)(torch.zeros(1, 3, 2, 4))
    assert scores[0, 0].tolist() == [pytest.approx(BY_CENTRES)] * 2


def test_a_prediction_is_brought_to_the_label_by_centres():
    assert predict(Returns(row(0, 1)), torch.zeros(1, 3, 1, 2), (1, 4)).flatten().tolist() == pytest.approx(BY_CENTRES)


def test_deeplab_enlarges_its_scores_by_corners():
    net = DeepLabV3Plus(Returns([row(0, 0)] * 4), 1, (1, 2, 3), 2, 1).eval()
    net.classifier = cast(nn.Conv2d, Returns(row(0, 1)))
    assert net(torch.zeros(1, 3, 1, 4)).flatten().tolist() == pytest.approx(BY_CORNERS)


def test_the_small_deeplab_enlarges_its_scores_by_corners():
    net = DeepLabV3(0.25, 2, 1).eval()
    net.logits = cast(nn.Conv2d, Returns(row(0, 1)))
    assert net(torch.zeros(1, 3, 32, 64))[0, 0, 0].tolist() == pytest.approx(
        torch.linspace(0, 1, 64).tolist(), abs=1e-6
    )


def test_the_decoder_of_deeplab_enlarges_by_corners_and_that_of_the_tiny_network_by_centres():
    seen: list[Tensor] = []
    deeplab, small = Decoder(1, 1, 1).eval(), TinyDecoder([1, 1], "group")
    for stage in (deeplab.join, small.stages[0]):
        stage.register_forward_pre_hook(lambda _, given: seen.append(given[0][0, 0, 0]))
    deeplab(row(0, 0, 0, 0), row(0, 1))
    small([row(0, 0, 0, 0), row(0, 1)])
    assert [deep.tolist() for deep in seen] == [pytest.approx(BY_CORNERS), pytest.approx(BY_CENTRES)]


def test_attnfd_brings_the_student_to_the_teachers_size_by_centres():
    assert attnfd([row(0, 1)], [row(*BY_CENTRES)]) == pytest.approx(0, abs=1e-6)
    assert attnfd([row(0, 1)], [row(*BY_CORNERS)]) > 1e-3


def test_images_are_shrunk_with_antialiasing_and_masks_take_the_pixel_at_the_centre():
    """3 pixels to 2: weights 5/8 and 3/8 of a triangle 1.5 wide; the centres 0.75 and 2.25 lie in pixels 0 and 2."""
    image = torch.tensor([0, 90, 240], dtype=torch.uint8).expand(3, 1, 3)
    drawn, mask = Augment(crop=(1, 2), longest_side=2)(image, torch.tensor([[0, 1, 2]], dtype=torch.uint8))
    assert drawn[0].tolist() == [[34, 184]]
    assert mask.tolist() == [[0, 2]]


def test_a_cell_of_a_feature_is_ignored_with_the_pixel_at_its_centre():
    """6 pixels, 2 cells: the centres 1.5 and 4.5 lie in pixels 1 and 4."""
    for pixel, cell in ((0, None), (1, 0), (2, None), (4, 1)):
        mask = torch.zeros(1, 1, 6, dtype=torch.long)
        mask[..., pixel] = IGNORE
        student = torch.randn(1, 2, 1, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.manual_seed(0)
        loss = AttnFD({"a": (2, 2)}, taps=("a",)).eval()
        loss({"a": student}, {"a": torch.ones(1, 2, 1, 2)}, {"image": torch.zeros(1, 3, 1, 6), "mask": mask}).backward()
        assert student.grad is not None
        still = [place for place in (0, 1) if not student.grad[..., place].any()]
        assert still == ([] if cell is None else [cell])


# --- losses ---------------------------------------------------------------------------------------------------------

HALF, QUARTER = (0.0, 0.0), (0.0, math.log(3))
"""Scores of the distributions (1/2, 1/2) and (1/4, 3/4)."""
HALF_QUARTER = 1 / 2 * math.log(4 / 3)  # KL(half || quarter)
QUARTER_HALF = 1 / 4 * math.log(1 / 2) + 3 / 4 * math.log(3 / 2)  # KL(quarter || half), another number


def test_pixel_kd_is_the_divergence_of_the_student_from_the_teacher():
    assert float(pixel_kd(per_pixel(QUARTER), per_pixel(HALF))) == pytest.approx(HALF_QUARTER)
    assert float(pixel_kd(per_pixel(HALF), per_pixel(QUARTER))) == pytest.approx(QUARTER_HALF)


def test_pixel_kd_is_multiplied_by_the_square_of_the_temperature():
    softened = pixel_kd(3 * per_pixel(QUARTER), 3 * per_pixel(HALF), temperature=3.0)
    assert float(softened) == pytest.approx(9 * HALF_QUARTER)


def test_pixel_kd_is_a_mean_over_valid_pixels_and_neither_over_images_nor_over_classes():
    student = torch.cat([per_pixel(QUARTER, HALF, HALF), per_pixel(HALF, HALF, HALF)])
    valid = torch.tensor([[[True, False, False]], [[True, True, True]]])
    assert float(pixel_kd(student, torch.zeros(2, 2, 1, 3), valid=valid)) == pytest.approx(HALF_QUARTER / 4)


def test_cross_entropy_is_a_mean_over_labelled_pixels_and_not_over_images():
    logits = torch.cat([per_pixel(HALF, HALF, HALF), per_pixel(QUARTER, QUARTER, QUARTER)])
    mask = torch.tensor([[[1, IGNORE, IGNORE]], [[1, 1, 1]]])
    assert float(cross_entropy(logits, mask)) == pytest.approx((math.log(2) + 3 * math.log(4 / 3)) / 4)


def test_class_similarity_compares_distributions_over_positions_and_its_rows_come_first():
    logits = torch.tensor([HALF, QUARTER]).view(1, 2, 1, 2)  # class 0 is spread evenly over two pixels, class 1 is not
    expected = torch.tensor([[[0, HALF_QUARTER], [QUARTER_HALF, 0]]])
    torch.testing.assert_close(inter_class_similarity(logits), expected)


def test_icsd_is_relative_to_the_teacher_in_each_image_and_a_mean_over_images():
    """Image 1 is matched; in image 2, whose classes are less far apart, the student tells none: 0 and 1."""
    far, near = torch.tensor([HALF, (0.0, 5.0)]).view(1, 2, 1, 2), torch.tensor([HALF, QUARTER]).view(1, 2, 1, 2)
    value = icsd(torch.cat([far, torch.zeros_like(near)]), torch.cat([far, near]))
    assert float(value) == pytest.approx(1 / 2, rel=1e-4)


def test_attnfd_is_a_mean_over_images_and_a_sum_over_taps():
    """Image 1 has the teacher's direction at another length, image 2 is orthogonal to it: 0 and 2."""
    student, teacher = torch.cat([row(5, 5), row(1, -1)]), torch.cat([row(1, 1), row(1, 1)])
    assert float(attnfd([student], [teacher])) == pytest.approx((0 + 2) / 2)
    assert float(attnfd([student, student], [teacher, teacher])) == pytest.approx(2 * (0 + 2) / 2)


def test_attnfd_scales_the_whole_map_of_an_image_to_unit_length():
    """cos((1, 0), (1, 1)) = 1 / sqrt 2; per position or per channel it would be 0 or 1."""
    assert float(attnfd([row(1, 0)], [row(1, 1)])) == pytest.approx(2 - math.sqrt(2))


def test_attention_adds_mean_and_maximum_and_gates_channels_before_positions():
    """Channels (0, 2) and (0, 0): gates s(1 + 2) and s(0); then at the right pixel s(max 2 g + mean g), g = s(3)."""

    def s(x):
        return 1 / (1 + math.exp(-x))

    refined = parameter_free_attention(torch.tensor([[0.0, 2.0], [0.0, 0.0]]).view(1, 2, 1, 2))
    expected = [0, 2 * s(3) * s(2 * s(3) + s(3)), 0, 0]
    assert refined.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("ramp", "values"), [("flat", (1, 1, 1)), ("up", (0, 0.25, 1)), ("down", (1, 0.75, 0))])
def test_ramps_follow_the_share_of_the_run_that_is_done(ramp, values):
    assert tuple(RAMPS[ramp](progress) for progress in (0.0, 0.25, 1.0)) == values


# --- 255 ------------------------------------------------------------------------------------------------------------


def test_255_is_no_label_and_distillation_leaves_it_out_unless_the_batch_says_otherwise():
    assert IGNORE == 255
    image, mask = torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 255]]])
    student, teacher = {"logits": per_pixel(QUARTER, (9.0, 0.0))}, {"logits": per_pixel(HALF, HALF)}
    labelled: Batch = {"image": image, "mask": mask}
    unlabelled: Batch = {"image": image, "mask": mask, "valid": torch.ones(1, 1, 2, dtype=torch.bool)}
    assert valid_pixels(labelled).tolist() == [[[True, False]]]
    assert float(PixelKD({})(student, teacher, labelled)) == pytest.approx(HALF_QUARTER)
    assert float(PixelKD({})(student, teacher, unlabelled)) > 2 * HALF_QUARTER


def test_the_border_of_a_crop_is_255_in_the_mask_and_the_mean_colour_in_the_image():
    image, mask = Augment(crop=(1, 3))(torch.zeros(3, 1, 1, dtype=torch.uint8), torch.zeros(1, 1, dtype=torch.uint8))
    assert sorted(mask.flatten().tolist()) == [0, 255, 255]
    assert image[:, mask == 255].T.tolist() == [list(FILL)] * 2


def scored(truth: list[list[int]], guess: list[list[int]], classes: int) -> dict:
    scores = Scores(classes)
    for image in zip(guess, truth, strict=True):
        scores.update(*(torch.tensor(ids).view(1, 1, -1) for ids in image))
    return scores.result([str(index) for index in range(classes)])


def test_what_is_predicted_where_there_is_no_label_does_not_count():
    assert scored([[0, 255, 255]], [[0, 1, 0]], 2)["per_class_iou"] == {"0": 1.0, "1": None}


# --- scores ---------------------------------------------------------------------------------------------------------


def test_miou_leaves_out_classes_that_neither_truth_nor_prediction_holds_and_counts_those_that_are_only_predicted():
    assert scored([[0, 0]], [[0, 0]], 3)["miou"] == 1.0
    assert scored([[0, 0, 0, 0]], [[0, 0, 0, 1]], 3)["miou"] == pytest.approx((3 / 4 + 0) / 2)


def test_iou_is_counted_over_all_images_before_it_is_divided():
    """Class 0: 1 of 1 pixels and 0 of 1; class 1: none, and 3 of 4.  Averages over images would be 1/2 and 3/4."""
    found = scored([[0], [1, 1, 1, 1]], [[0], [0, 1, 1, 1]], 2)
    assert found["per_class_iou"] == {"0": 1 / 2, "1": 3 / 4}
    assert found["miou"] == pytest.approx(5 / 8)


# --- optimisation ---------------------------------------------------------------------------------------------------


def test_the_learning_rate_falls_as_a_power_of_what_is_left_of_the_run_and_the_heads_is_ten_times_the_encoders():
    optimizer = make_optimizer([nn.Parameter(torch.zeros(1))], [nn.Parameter(torch.zeros(1))], lr=0.01)
    for progress, expected in ((0.0, 0.01), (0.5, 0.0053589), (0.9, 0.0012589), (1.0, 0.0)):
        assert set_learning_rate(optimizer, progress, 0.9) == pytest.approx(expected, rel=1e-4)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected, 10 * expected], rel=1e-4)


def test_the_head_and_what_losses_train_learn_at_the_rate_of_the_head():
    student, teacher = tiny(3, width=4), tiny(3, width=4)
    terms = {"attnfd": TermSpec(args={"taps": ("decoder",)})}
    learner = build_learner(student, terms, teacher)
    slow, fast = build_optimizer(small_recipe(lr=0.01, head_lr_factor=10.0), learner).param_groups
    assert {id(p) for p in slow["params"]} == {id(p) for p in student.net.encoder.parameters()}
    others = [student.net.decoder, student.net.classifier, learner.losses]
    assert {id(p) for p in fast["params"]} == {id(p) for part in others for p in part.parameters()}
    assert (slow["lr"], fast["lr"]) == pytest.approx((0.01, 0.1))


# --- images ---------------------------------------------------------------------------------------------------------


def test_bytes_and_fractions_are_the_same_image():
    image = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = tiny(3, width=4).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(image.float() / 255))
        views = [
            predict(model, given, (32, 32), scales=(0.5, 1.0), flip=True) for given in (image, image.float() / 255)
        ]
    torch.testing.assert_close(*views)


def test_red_comes_first_from_the_file_to_the_network(tmp_path):
    Image.new("RGB", (2, 2), (255, 0, 51)).save(tmp_path / "red.png")
    image, _ = Images(tmp_path)[0]
    assert image[:, 0, 0].tolist() == [255, 0, 51]
    model = Segmenter(nn.Identity(), classes=3, mean=(0.5, 0.25, 0.1), std=(0.5, 0.25, 0.1))
    assert model(image[None])[0, :, 0, 0].tolist() == pytest.approx([1, -1, 1])


def test_sizes_are_height_first():
    image, mask = Augment(crop=(4, 6))(torch.zeros(3, 9, 9, dtype=torch.uint8), torch.zeros(9, 9, dtype=torch.uint8))
    assert (image.shape, mask.shape) == ((3, 4, 6), (4, 6))
