import os
from pathlib import Path

import numpy as np
import pytest

from segstill.data import ade20k, check
from segstill.recipe import DataSpec

from ..conftest import SHARED
from .trees import ade20k_tree, full_label, save

COMPLETE = Path(os.environ.get("SEGSTILL_ADE20K", SHARED / "data" / "ADEChallengeData2016"))
needs_ade20k = pytest.mark.skipif(
    not COMPLETE.is_dir(), reason=f"needs all of ADE20K in {COMPLETE} (or SEGSTILL_ADE20K)"
)


@pytest.fixture
def root(tmp_path):
    return ade20k_tree(tmp_path)


def errors(root):
    return [p for p in check(DataSpec(name="ade20k", root=str(root))) if p.severity == "error"]


@pytest.mark.parametrize("inside", ["", "ADEChallengeData2016"])
def test_0_becomes_255_and_the_classes_move_down_by_one(root, inside):
    dataset = ade20k(root / inside, "val")
    written = full_label(0, 151)
    assert {0, 1, 150} <= set(written.ravel().tolist())
    np.testing.assert_array_equal(dataset[0][1], np.where(written == 0, 255, written - 1))
    assert dataset.name(1) == "ADE_val_00000001"
    assert errors(root) == []


def test_the_150_names_are_in_the_order_of_the_benchmark(root):
    classes = ade20k(root, "train").classes
    assert len(set(classes)) == 150
    assert [classes[number - 1] for number in (1, 13, 51, 101, 150)] == [
        "wall",
        "person",
        "refrigerator",
        "poster",
        "flag",
    ]


def test_values_above_150_are_named(root):
    path = save(
        root / "ADEChallengeData2016/annotations/training/ADE_train_00000000.png", np.full((24, 32), 151, np.uint8)
    )
    with pytest.raises(ValueError, match=r"value 151 \(768 pixels\), expected 0 to 150"):
        ade20k(root, "train")[0]
    assert [problem.file for problem in errors(root)] == [path]


def test_there_is_no_test_split(root):
    with pytest.raises(ValueError, match="masks of the test images are not public; use the split val"):
        ade20k(root, "test")


@pytest.mark.parametrize("gone", ["images", "annotations"])
def test_a_folder_that_was_not_extracted_is_named(root, gone):
    folder = root / "ADEChallengeData2016" / gone / "training"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=f"{gone}/training: holds no file"):
        ade20k(root, "train")
    folder.rmdir()
    with pytest.raises(FileNotFoundError, match=f"{gone}/training: does not exist"):
        ade20k(root, "train")


@pytest.mark.parametrize(
    "gone", ["images/training/ADE_train_00000001.jpg", "annotations/training/ADE_train_00000001.png"]
)
def test_an_image_or_a_mask_without_the_other_is_named(root, gone):
    (root / "ADEChallengeData2016" / gone).unlink()
    with pytest.raises(FileNotFoundError, match=f"{gone}: is missing, though its counterpart is there"):
        ade20k(root, "train")
    assert len(errors(root)) == 1


@needs_ade20k
@pytest.mark.data
@pytest.mark.parametrize(("split", "count"), [("train", 20210), ("val", 2000)])
def test_the_complete_set_has_the_published_number_of_images(split, count):
    assert len(ade20k(COMPLETE, split)) == count
