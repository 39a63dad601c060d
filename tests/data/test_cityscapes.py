import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from segstill.data import check, cityscapes
from segstill.recipe import DataSpec

from ..conftest import SHARED
from .trees import cityscapes_tree, full_label, save

COMPLETE = Path(os.environ.get("SEGSTILL_CITYSCAPES", SHARED / "data" / "cityscapes"))
needs_cityscapes = pytest.mark.skipif(
    not COMPLETE.is_dir(), reason=f"needs all of Cityscapes in {COMPLETE} (or SEGSTILL_CITYSCAPES)"
)
SCORED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
AACHEN = "train/aachen/aachen_000000_000019"


@pytest.fixture
def root(tmp_path):
    return cityscapes_tree(tmp_path)


def errors(root):
    return [p for p in check(DataSpec(name="cityscapes", root=str(root))) if p.severity == "error"]


def test_all_cities_of_a_split_are_read(root):
    dataset = cityscapes(root, "train")
    assert [dataset.name(index) for index in range(len(dataset))] == [
        "aachen_000000_000019_leftImg8bit",
        "aachen_000002_000019_leftImg8bit",
        "ulm_000001_000019_leftImg8bit",
    ]
    assert errors(root) == []


def test_label_ids_become_train_ids_and_the_others_255(root):
    dataset = cityscapes(root, "train")
    written, read = full_label(0, 34), dataset[0][1]
    assert {0, *SCORED} <= set(written.ravel().tolist())
    expected = np.full_like(written, 255)
    for train_id, label_id in enumerate(SCORED):
        expected[written == label_id] = train_id
    np.testing.assert_array_equal(read, expected)
    names = [dataset.classes[number] for number in (0, 6, 10, 16, 18)]
    assert names == ["road", "traffic light", "sky", "train", "bicycle"]


def test_masks_of_train_ids_serve_where_there_are_none_of_label_ids(root):
    label_ids = root / f"gtFine/{AACHEN}_gtFine_labelIds.png"
    drawn = full_label(3, 19)
    drawn[0] = 255
    save(root / f"gtFine/{AACHEN}_gtFine_labelTrainIds.png", drawn)
    assert cityscapes(root, "train").files(0)[1] == label_ids
    label_ids.unlink()
    np.testing.assert_array_equal(cityscapes(root, "train")[0][1], drawn)
    assert errors(root) == []


def test_a_value_that_is_no_label_id_is_named(root):
    path = save(root / f"gtFine/{AACHEN}_gtFine_labelIds.png", np.full((24, 32), 34, np.uint8))
    with pytest.raises(ValueError, match=r"value 34 \(768 pixels\), expected 0 to 33 for the 19 classes"):
        cityscapes(root, "train")[0]
    assert [problem.file for problem in errors(root)] == [path]


def test_there_is_no_test_split(root):
    with pytest.raises(ValueError, match="masks of the test images are not public; use the split val"):
        cityscapes(root, "test")


@pytest.mark.parametrize("gone", ["leftImg8bit", "gtFine"])
def test_one_of_two_archives_is_not_enough(root, gone):
    shutil.rmtree(root / gone)
    with pytest.raises(FileNotFoundError, match=rf"{gone}/train: does not exist; extract both archives: leftImg8bit/"):
        cityscapes(root, "train")
    assert [problem.file for problem in errors(root)] == [root / gone / "train", root / gone / "val"]


@pytest.mark.parametrize("gone", [f"leftImg8bit/{AACHEN}_leftImg8bit.png", f"gtFine/{AACHEN}_gtFine_labelIds.png"])
def test_an_image_or_a_mask_without_the_other_is_named(root, gone):
    (root / gone).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{gone}: is missing, though its counterpart is there"):
        cityscapes(root, "train")
    assert [problem.file for problem in errors(root)] == [root / gone]


def test_a_city_that_was_not_extracted_is_one_problem(tmp_path):
    root = cityscapes_tree(tmp_path, train=60)
    shutil.rmtree(root / "gtFine/train/ulm")
    (problem,) = errors(root)
    assert problem.file == root / "gtFine/train/ulm"
    assert "lacks 30 of 60 files" in problem.given


@needs_cityscapes
@pytest.mark.data
@pytest.mark.parametrize(("split", "count"), [("train", 2975), ("val", 500)])
def test_the_complete_set_has_the_published_number_of_images(split, count):
    assert len(cityscapes(COMPLETE, split)) == count
