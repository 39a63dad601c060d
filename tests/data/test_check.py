import shutil

import numpy as np
import pytest

from segstill.data import check, choose_split, examine, recognise
from segstill.recipe import DataSpec

from ..conftest import CAMVID, needs_camvid
from .coco_tree import coco_tree
from .tag_trees import msrc21_tree
from .trees import (
    CLASSES,
    ade20k_tree,
    camvid_tree,
    cityscapes_tree,
    flat_tree,
    folder_tree,
    label,
    picture,
    save,
    segnet_tree,
    voc_tree,
)


@pytest.fixture
def root(tmp_path):
    return folder_tree(tmp_path / "data")


def spec(root, **options):
    return DataSpec(name="folder", root=str(root), classes=CLASSES, **options)


def only(problems, name):
    """The one problem there is, which must be about the file of this name."""
    assert [problem.file.name for problem in problems] == [name], problems
    return problems[0]


def test_all_is_well(root):
    assert check(spec(root)) == []
    assert check(DataSpec(name="scenes", args={"count": 40})) == []


@pytest.mark.parametrize("write", [camvid_tree, segnet_tree])
def test_both_layouts_of_camvid_are_well(tmp_path, write):
    found = examine(DataSpec(name="camvid", root=str(write(tmp_path))))
    assert found.problems == []
    assert [summary.images for summary in found.splits.values()] == [2, 2, 2]


def test_a_missing_mask(root):
    (root / "masks/val/val1.png").unlink()
    problem = only(check(spec(root)), "val1.png")
    assert problem.severity == "error"
    assert "missing" in problem.given
    assert "--data.unlabelled" in problem.remedy


def test_a_mask_without_image(root):
    save(root / "masks/train/lonely.png", label(0))
    assert "no image of its name" in only(check(spec(root)), "lonely.png").given


def test_another_size(root):
    save(root / "masks/train/train0.png", label(0, 12, 16))
    problem = only(check(spec(root)), "train0.png")
    assert "16 x 12" in problem.given
    assert "32 x 24" in problem.given


def test_values_outside_the_classes(root):
    bad = label(0)
    bad[0, :3], bad[1, 0] = 77, 4
    save(root / "masks/train/train0.png", bad)
    assert "4 (1 pixels), 77 (3 pixels)" in only(check(spec(root)), "train0.png").given


@pytest.mark.parametrize("which", ["images", "masks"])
def test_a_truncated_file(root, which):
    path = root / which / "train/train2.png"
    path.write_bytes(path.read_bytes()[:-40])
    problem = only(check(spec(root)), "train2.png")
    assert problem.file == path
    assert "does not decode" in problem.given


def test_image_and_mask_may_both_be_wrong(root):
    for which in ("images", "masks"):
        (root / which / "train/train2.png").write_bytes(b"")
    assert [problem.given for problem in check(spec(root))] == ["is empty", "is empty"]


def test_a_mask_in_colour(root):
    save(root / "masks/train/train0.png", picture(0))
    assert "3-channel" in only(check(spec(root)), "train0.png").given


def test_an_empty_folder(root):
    for path in (root / "images/val").iterdir():
        path.unlink()
    assert "holds no file" in only(check(spec(root)), "val").given


def test_a_wrong_path(tmp_path):
    problem = only(check(spec(tmp_path / "nowhere")), "nowhere")
    assert problem.given == "does not exist"


def test_a_missing_validation_split_but_not_a_missing_test_split(root):
    shutil.rmtree(root / "images/val")
    shutil.rmtree(root / "masks/val")
    assert only(check(spec(root)), "val").severity == "error"


def test_a_listed_name_without_image(tmp_path):
    flat_tree(tmp_path)
    (tmp_path / "train.txt").write_text("frame.0\nframe.77\nframe.0\n")
    (tmp_path / "val.txt").write_text("frame.1\n")
    absent, twice = check(spec(tmp_path))
    assert absent.file.name == "frame.77.jpg"
    assert "train.txt names 'frame.77'" in absent.given
    assert "twice" in twice.given


def test_two_images_of_one_name(root):
    save(root / "images/train/train0.jpg", picture(50))
    assert "same name as train0.jpg" in only(check(spec(root)), "train0.png").given


def test_one_picture_in_two_splits(root):
    shutil.copy(root / "images/train/train0.png", root / "images/val/val0.png")
    problem = only(check(spec(root)), "val0.png")
    assert problem.severity == "error"
    assert "train0.png (train)" in problem.given


def test_one_picture_twice_in_a_split_is_a_warning(root):
    shutil.copy(root / "images/train/train0.png", root / "images/train/train1.png")
    problem = only(check(spec(root)), "train1.png")
    assert problem.severity == "warning"


def test_a_file_that_is_no_image_is_a_warning(root):
    (root / "images/train/notes.txt").write_text("hello")
    problem = only(check(spec(root)), "notes.txt")
    assert problem.severity == "warning"
    assert "not read" in problem.given


def test_a_shared_folder_is_complained_about_once(tmp_path):
    flat_tree(tmp_path)
    (tmp_path / "masks/notes.txt").write_text("hello")
    only(check(spec(tmp_path)), "notes.txt")


def test_a_class_that_never_occurs_is_a_warning(root):
    options = DataSpec(name="folder", root=str(root), classes=(*CLASSES, "boat"))
    train, val = check(options)
    assert train.severity == val.severity == "warning"
    assert "class 3 (boat) never occurs in the train split" in train.given


def test_the_folder_of_unlabelled_images(root, tmp_path):
    save(tmp_path / "more/a.jpg", picture(7))
    (tmp_path / "more/b.jpg").write_bytes(b"nothing")
    shutil.copy(root / "images/val/val0.png", tmp_path / "more/c.png")
    found = examine(spec(root, unlabelled=str(tmp_path / "more")))
    assert [problem.file.name for problem in found.problems] == ["b.jpg", "c.png"]
    assert found.unlabelled_images == 2
    assert "unlabelled" not in found.splits


def test_the_summary_counts_images_and_pixels(tmp_path):
    mask = np.zeros((10, 10), np.uint8)
    mask[:3], mask[3], mask[-2:] = 1, 2, 255
    for split in ("train", "val"):
        save(tmp_path / f"images/{split}/{split}.png", picture(len(split), 10, 10))
        save(tmp_path / f"masks/{split}/{split}.png", mask)
    found = examine(spec(tmp_path))
    assert "train: 1 images, 20.0% of the pixels without label\n  ground 50.0%, tree 37.5%, house 12.5%" in str(found)
    assert str(found).endswith("0 errors, 0 warnings")
    summary = found.splits["train"]
    assert summary.images == 1
    assert summary.frequencies == pytest.approx({"ground": 0.5, "tree": 0.375, "house": 0.125})
    assert summary.unlabelled_pixels == pytest.approx(0.2)


def test_progress_is_told_and_the_number_of_threads_does_not_matter(root):
    told = []
    bad = label(0)
    bad[0, 0] = 9
    for name in ("train0", "train2"):
        save(root / f"masks/train/{name}.png", bad)
    first = check(spec(root, workers=0), lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]
    assert first == check(spec(root, workers=4))


def test_a_spec_that_cannot_be_right_is_refused(root):
    with pytest.raises(ValueError, match=r"--data\.classes"):
        check(DataSpec(name="folder", root=str(root)))
    with pytest.raises(ValueError, match=r"classes hold \['tree'\] more than once, expected .* --data\.classes"):
        check(DataSpec(name="folder", root=str(root), classes=("ground", "tree", "tree")))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("ade20k", ade20k_tree),
        ("camvid", camvid_tree),
        ("camvid", segnet_tree),
        ("cityscapes", cityscapes_tree),
        ("coco", coco_tree),
        ("msrc21", msrc21_tree),
        ("voc", voc_tree),
    ],
)
def test_a_data_set_is_recognised_by_its_layout(tmp_path, name, write):
    assert recognise(write(tmp_path)) == name


def test_a_folder_of_several_layouts_or_of_none_is_not_guessed_at(tmp_path):
    with pytest.raises(ValueError, match=r"has the layout of none of .*--data\.root, or pass --data\.classes"):
        recognise(flat_tree(tmp_path / "own"))
    voc_tree(cityscapes_tree(tmp_path / "both"))
    with pytest.raises(ValueError, match=r"has the layouts of \['cityscapes', 'voc'\]: name the data set"):
        recognise(tmp_path / "both")


def test_the_split_to_score_on_is_one_that_there_is(tmp_path):
    said = []
    spec = DataSpec(name="voc", root=str(voc_tree(tmp_path / "voc")))
    assert choose_split(spec, "test", "val", say=said.append) == "val"
    assert choose_split(spec, "val", "test", say=said.append) == "val"
    assert said == [f"{spec.root} has no test split: the val split is taken"]
    camvid = DataSpec(name="camvid", root=str(camvid_tree(tmp_path / "camvid")))
    assert choose_split(camvid, "test", "val", say=said.append) == "test"
    assert choose_split(DataSpec(name="scenes"), "test", "val", say=said.append) == "test"
    assert len(said) == 1


@needs_camvid
@pytest.mark.data
@pytest.mark.slow
def test_the_real_camvid_is_well():
    found = examine(DataSpec(name="camvid", root=str(CAMVID)))
    assert [problem for problem in found.problems if problem.severity == "error"] == []
    assert [summary.images for summary in found.splits.values()] == [367, 101, 233]
    assert found.splits["train"].frequencies["road"] == pytest.approx(0.33, abs=0.01)
