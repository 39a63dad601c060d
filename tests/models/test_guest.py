"""A teacher answers in the student's classes and size, whatever its own are."""

import pytest
import torch

from segstill.models import Guest, match_classes, tiny
from segstill.taps import Tapped

IMAGE = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return tiny(4, width=4).eval()


def test_a_larger_image_is_what_the_teacher_sees_and_the_scores_come_back(teacher):
    guest = Guest(teacher, scale=2.0)
    seen = []
    teacher.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    with torch.no_grad():
        features = Tapped(guest, guest.taps)(IMAGE)
    assert seen == [(2, 3, 64, 96)]
    assert features["logits"].shape == (2, 4, 32, 48)
    assert features["stage1"].shape[2:] == (16, 24)  # stride 4 of the larger image


def test_bytes_and_floats_are_enlarged_alike(teacher):
    guest = Guest(teacher, scale=1.5)
    pixels = (IMAGE * 255).to(torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(guest(pixels), guest(pixels.float() / 255))


def test_classes_are_gathered_in_the_order_that_is_wanted(teacher):
    with torch.no_grad():
        scores = teacher(IMAGE)
        assert torch.equal(Guest(teacher, sources=[[2], [0], [3]])(IMAGE), scores[:, [2, 0, 3]])


def test_probabilities_of_joined_classes_add_up(teacher):
    with torch.no_grad():
        before = teacher(IMAGE).softmax(1)
        after = Guest(teacher, sources=[[0, 3], [1], [2]])(IMAGE).softmax(1)
    torch.testing.assert_close(after, torch.stack([before[:, 0] + before[:, 3], before[:, 1], before[:, 2]], 1))


def test_a_guest_keeps_its_features_and_follows_to_another_type(teacher):
    guest = Guest(teacher, sources=[[1], [0], [2], [3]]).double()
    with torch.no_grad():
        theirs = Tapped(teacher, teacher.taps)(IMAGE.double())
        ours = Tapped(guest, guest.taps)(IMAGE.double())
    assert all(torch.equal(ours[tap], theirs[tap]) for tap in teacher.taps)
    assert guest.classes == 4


def test_equal_lists_need_no_match():
    assert match_classes(("a", "b"), ("a", "b"), {}) is None
    assert match_classes((), ("a", "b"), {}) is None  # a teacher that does not say is trusted


def test_names_are_matched_whatever_the_order_and_the_extent():
    assert match_classes(("sky", "car", "road", "cat"), ("road", "sky", "car"), {}) == [[2], [0], [1]]


def test_several_classes_become_one():
    teacher, student = ("car", "truck", "traffic light", "road"), ("vehicle", "road", "pole")
    renamed = {"car": "vehicle", "truck": "vehicle", "traffic light": "pole"}
    assert match_classes(teacher, student, renamed) == [[0, 1], [3], [2]]


@pytest.mark.parametrize(
    ("teacher", "student", "renamed", "message"),
    [
        (("a", "b"), ("a", "c"), {}, r"nothing of the teacher's matches \['c'\].*\['b'\] go nowhere.*--class-map"),
        (("a", "b"), ("a", "c"), {"bb": "c"}, r"the teacher has no class 'bb', which is mapped.*\['b'\]"),
        (("a", "b"), ("a", "c"), {"b": "d"}, r"the student has no class 'd', which is mapped"),
        ((), ("a", "c"), {"b": "c"}, r"does not say what its own are: pass --teacher-classes"),
    ],
)
def test_what_does_not_match_is_listed(teacher, student, renamed, message):
    with pytest.raises(ValueError, match=message):
        match_classes(teacher, student, renamed)


def test_a_senseless_scale_is_refused(teacher):
    with pytest.raises(ValueError, match=r"scale is 0, expected a factor above 0"):
        Guest(teacher, scale=0)
