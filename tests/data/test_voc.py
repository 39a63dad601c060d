import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from segstill.data import Masked, Part, check, evaluation_loader, voc
from segstill.data.files import colours
from segstill.data.pictures import FileError
from segstill.data.voc import read_sbd_mask
from segstill.evaluate import evaluate
from segstill.recipe import DataSpec

from ..conftest import SHARED
from .trees import full_label, label, picture, save, sbd_tree, voc_sample, voc_tree, write_lists, write_mat

SUBSET = SHARED / "data" / "voc_subset"
COMPLETE = Path(os.environ.get("SEGSTILL_VOC", SHARED / "data" / "VOCdevkit"))
SBD = Path(os.environ.get("SEGSTILL_SBD", SHARED / "data" / "benchmark_RELEASE"))
needs_subset = pytest.mark.skipif(not SUBSET.is_dir(), reason=f"needs the VOC subset in {SUBSET}")
needs_voc = pytest.mark.skipif(not COMPLETE.is_dir(), reason=f"needs all of VOC 2012 in {COMPLETE} (or SEGSTILL_VOC)")
needs_sbd = pytest.mark.skipif(not SBD.is_dir(), reason=f"needs SBD in {SBD} (or SEGSTILL_SBD)")

TRAIN, VAL = [f"2007_00000{n}" for n in range(3)], [f"2008_00000{n}" for n in range(2)]


@pytest.fixture
def root(tmp_path):
    return voc_tree(tmp_path)


def top(root):
    return root / "VOCdevkit/VOC2012"


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def spec(root, **args):
    return DataSpec(name="voc", root=str(root), args={name: str(value) for name, value in args.items()})


@pytest.mark.parametrize("inside", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_archive_is_read_from_any_of_its_folders(root, inside):
    dataset = voc(root / inside, "train")
    assert names(dataset) == TRAIN
    np.testing.assert_array_equal(dataset[1][1], label(1, classes=21))


def test_classes_and_colours_are_those_of_voc(root):
    dataset = voc(root, "val")
    assert len(dataset.classes) == 21
    assert [dataset.classes[number] for number in (0, 1, 15, 20)] == ["background", "aeroplane", "person", "tvmonitor"]
    assert dataset.palette[1] == (128, 0, 0)
    assert dataset.palette[15] == (192, 128, 128)
    assert dataset.palette[20] == (0, 64, 128)


def test_boundaries_are_scored_only_where_masks_leave_no_rim_open(root):
    class Blank(torch.nn.Module):
        def forward(self, image):
            return torch.zeros(len(image), 21, *image.shape[2:])

    dataset = voc(root, "val")
    of_ones_own = Masked(dataset, dataset.files(0)[1].parent)
    scored = ["boundary_f1" in evaluate(Blank(), each) for each in (dataset, Part(dataset, [0]), of_ones_own)]
    assert scored == [False, False, True]


@pytest.mark.parametrize(("train", "expected"), [("train", TRAIN), ("trainval", TRAIN + VAL)])
def test_the_list_to_train_on_is_chosen_and_validation_stays_the_same(root, train, expected):
    assert names(voc(root, "train", train=train)) == expected
    assert names(voc(root, "val", train=train)) == VAL


def test_trainval_is_a_warning_and_no_leak(root):
    found = check(spec(root, train="trainval"))
    assert [problem.severity for problem in found if "mean nothing" in problem.given] == ["warning"]
    assert not [problem for problem in found if problem.severity == "error"]


def test_there_is_no_test_split(root):
    with pytest.raises(ValueError, match=r"masks of VOC's test images are not public; use the split val"):
        voc(root, "test")
    assert check(spec(root)) == check(spec(root, train="train"))
    assert not [problem for problem in check(spec(root)) if problem.severity == "error"]


def test_an_unknown_list_names_the_known_ones(root):
    with pytest.raises(FileNotFoundError, match=r"aug\.txt: is not there, expected one of \['train', 'trainval'\]"):
        voc(root, "train", train="aug")
    assert [problem.file.name for problem in check(spec(root, train="aug")) if problem.severity == "error"] == [
        "aug.txt"
    ]
    assert names(voc(root, "val", train="aug")) == VAL


def test_any_list_whose_images_have_masks_can_be_trained_on(root):
    write_lists(top(root) / "ImageSets/Segmentation", {"few": TRAIN[1:]})
    assert names(voc(root, "train", train="few")) == TRAIN[1:]


def test_a_list_with_images_without_masks_is_refused_and_leads_to_weak_supervision(root):
    save(top(root) / "JPEGImages/2007_000999.jpg", picture(999))
    write_lists(top(root) / "ImageSets/Segmentation", {"more": [*TRAIN, "2007_000999"]})
    said = r"more\.txt: names 1 images that have no mask, 2007_000999 the first; train on their tags .* --data\.masks"
    with pytest.raises(ValueError, match=said):
        voc(root, "train", train="more")
    assert len(voc(root, "val", train="more")) == 2


def test_a_list_with_an_image_of_val_is_refused(root):
    write_lists(top(root) / "ImageSets/Segmentation", {"mine": [*TRAIN, VAL[0]]})
    for name in ("mine", "val"):
        with pytest.raises(ValueError, match=rf"names \d images of VOC's val list, {VAL[0]} the first"):
            voc(root, "train", train=name)


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("inside", ["", "benchmark_RELEASE", "benchmark_RELEASE/dataset"])
def test_trainaug_is_vocs_train_and_all_of_sbd_without_vocs_val(root, tmp_path, inside, images):
    sbd = sbd_tree(tmp_path / "sbd", train=["2009_000001", TRAIN[2]], val=["2009_000002", VAL[1]], images=images)
    if not images:  # SBD's images are VOC's, so the masks alone are enough
        for number, name in enumerate(("2009_000001", "2009_000002"), 300):
            save(top(root) / f"JPEGImages/{name}.jpg", picture(number))
    dataset = voc(root, "train", train="trainaug", sbd=str(sbd / inside))
    assert names(dataset) == [*TRAIN, "2009_000001", "2009_000002"]
    np.testing.assert_array_equal(dataset[2][1], label(2, classes=21))  # VOC's own mask, not SBD's
    np.testing.assert_array_equal(dataset[3][1], full_label(200, 21))
    assert dataset.files(3)[1].suffix == ".mat"
    assert not [p for p in check(spec(root, train="trainaug", sbd=sbd)) if p.severity == "error"]


@pytest.mark.parametrize(
    "lines",
    [
        None,
        ["2009_000007", "2007_000001"],
        [f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png" for n in ("2009_000007", "2007_000001")],
    ],
)
@pytest.mark.parametrize("file", ["trainaug", "train_aug"])
def test_trainaug_comes_from_its_folder_with_or_without_its_list(root, lines, file):
    for number, name in enumerate(["2009_000007", "2007_000001", VAL[0]], 400):
        voc_sample(top(root), name, number, "SegmentationClassAug")
    if lines:
        write_lists(top(root) / "ImageSets/Segmentation", {file: lines})
    dataset = voc(root, "train", train="trainaug")
    assert names(dataset) == (["2009_000007", "2007_000001"] if lines else ["2007_000001", "2009_000007"])
    np.testing.assert_array_equal(dataset[0][1], label(400 if lines else 401, classes=21))


def test_trainaug_with_an_image_of_val_is_refused(root):
    for number, name in enumerate([*TRAIN, *VAL]):
        voc_sample(top(root), name, number, "SegmentationClassAug")
    write_lists(top(root) / "ImageSets/Segmentation", {"trainaug": [*TRAIN, VAL[1]]})
    with pytest.raises(ValueError, match=rf"trainaug\.txt: names 1 images of VOC's val list, {VAL[1]} the first"):
        voc(root, "train", train="trainaug")


def test_trainaug_without_its_files_says_which_are_needed(root):
    with pytest.raises(FileNotFoundError, match=r"SegmentationClassAug: does not exist.*--data\.args\.sbd DIR"):
        voc(root, "train", train="trainaug")


def test_sbd_extracted_in_part_is_named(root, tmp_path):
    sbd = sbd_tree(tmp_path / "sbd", train=["2009_000001"], val=["2009_000002"])
    (sbd / "benchmark_RELEASE/dataset/cls/2009_000002.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"2009_000002\.mat: is missing, though .*dataset names it"):
        voc(root, "train", train="trainaug", sbd=str(sbd))
    (sbd / "benchmark_RELEASE/dataset/val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt: is missing; extract the archive again"):
        voc(root, "train", train="trainaug", sbd=str(sbd))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: write_mat(path, full_label(0, 21), field="Segment"), "has no field GTcls.Segmentation"),
        (lambda path: write_mat(path, full_label(0, 21), record="GTinst"), "has no field GTcls.Segmentation"),
        (lambda path: write_mat(path, full_label(0, 21).astype(float)), r"holds float64 values of shape \(24, 32\)"),
        (lambda path: write_mat(path, full_label(0, 22)), r"holds the value 21 \(\d+ pixels\), expected 0 to 20"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "does not read as a MATLAB file"),
        (lambda path: path.write_bytes(b""), "does not read as a MATLAB file"),
    ],
)
def test_a_bad_mat_file_is_named_by_check_and_when_it_is_read(root, tmp_path, damage, said):
    sbd = sbd_tree(tmp_path / "sbd", train=["2009_000001"], val=[])
    path = sbd / "benchmark_RELEASE/dataset/cls/2009_000001.mat"
    damage(path)
    dataset = voc(root, "train", train="trainaug", sbd=str(sbd))
    with pytest.raises(FileError, match=rf"2009_000001\.mat: {said}"):
        dataset[3]
    errors = [p for p in check(spec(root, train="trainaug", sbd=sbd)) if p.severity == "error"]
    assert [problem.file for problem in errors] == [path]


def test_a_missing_mat_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_sbd_mask(tmp_path / "gone.mat")


def test_without_scipy_the_error_names_the_extra(root, tmp_path, monkeypatch):
    sbd = sbd_tree(tmp_path / "sbd", train=["2009_000001"], val=[])
    dataset = voc(root, "train", train="trainaug", sbd=str(sbd))
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ValueError, match=r"scipy is missing: pip install 'segstill\[sbd\]'"):
        dataset[3]


def test_masks_that_were_not_extracted_are_one_problem_per_folder(tmp_path):
    root = voc_tree(tmp_path, train=30, val=2)
    for path in (top(root) / "SegmentationClass").glob("2007*"):
        path.unlink()
    errors = [problem for problem in check(spec(root)) if problem.severity == "error"]
    assert [problem.file for problem in errors] == [top(root) / "SegmentationClass"]
    assert "lacks 30 of 30 files, 2007_000000.png the first" in errors[0].given
    with pytest.raises(ValueError, match="extract the archive again, completely"):
        voc(root, "train")


def test_a_missing_list_is_named(root):
    (top(root) / "ImageSets/Segmentation/train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.txt: is missing"):
        voc(root, "train")


def test_pictures_are_taken_as_stored_because_the_masks_are(root):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # show it a quarter turn to the right
    Image.fromarray(picture(0)).save(top(root) / f"JPEGImages/{TRAIN[0]}.jpg", exif=exif)
    assert voc(root, "train")[0][0].shape == (3, 24, 32)


@needs_subset
@pytest.mark.data
def test_the_subset_is_read_as_it_is():
    assert len(voc(SUBSET, "train")) == 490
    assert len(voc(SUBSET, "train", train="trainval")) == 825
    val = voc(SUBSET, "val")
    assert len(val) == 335
    sample = next(iter(evaluation_loader(val)))
    assert set(sample["mask"].unique().tolist()) <= {*range(21), 255}


@needs_subset
@pytest.mark.data
def test_the_palette_of_the_real_masks_is_ours():
    from PIL import Image

    stored = Image.open(voc(SUBSET, "val").files(0)[1])
    stored.load()
    assert tuple(stored.getpalette()[: 3 * 21]) == tuple(channel for colour in colours(21) for channel in colour)


@needs_voc
@pytest.mark.data
def test_the_complete_lists_have_1464_and_1449_images():
    assert [len(voc(COMPLETE, split)) for split in ("train", "val")] == [1464, 1449]
    assert len(voc(COMPLETE, "train", train="trainval")) == 2913


@needs_voc
@needs_sbd
@pytest.mark.data
def test_the_complete_trainaug_has_10582_images():
    assert len(voc(COMPLETE, "train", train="trainaug", sbd=str(SBD))) == 10582
