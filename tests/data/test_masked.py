"""Training on masks of a folder, such as generated ones, in place of the data set's own."""

import shutil

import numpy as np
import pytest
from PIL import Image

from segstill.build import build_training_data
from segstill.data import open_dataset
from segstill.data.pictures import FileError, png
from segstill.recipe import DataSpec

from .tag_trees import msrc21_tree, voc_tags_tree
from .trees import CLASSES, camvid_tree, folder_tree, label, picture, sample, save, write_lists


def built(spec):
    said = []
    labelled, unlabelled = build_training_data(spec, said.append)
    assert unlabelled is None
    return labelled, said


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def test_images_without_a_mask_are_left_out_and_counted(tmp_path):
    root = voc_tags_tree(tmp_path / "voc")
    save(tmp_path / "masks/2007_000001.png", label(50, classes=21), palette=True)
    labelled, said = built(DataSpec(name="voc", root=str(root), masks=str(tmp_path / "masks")))
    assert names(labelled) == ["2007_000001"]
    assert said == [f"2 of the training images are left out: {tmp_path / 'masks'} holds no mask of them"]
    np.testing.assert_array_equal(labelled[0][1], label(50, classes=21))
    np.testing.assert_array_equal(labelled[0][0], open_dataset(DataSpec(name="voc", root=str(root)), "train")[1][0])
    assert labelled.files(0)[1] == tmp_path / "masks/2007_000001.png"


def test_images_that_have_tags_and_no_mask_of_their_own_are_trained_on(tmp_path):
    top = voc_tags_tree(tmp_path / "voc") / "VOCdevkit/VOC2012"
    save(top / "JPEGImages/2007_000999.jpg", picture(999))
    shutil.copy(top / "Annotations/2007_000000.xml", top / "Annotations/2007_000999.xml")
    write_lists(top / "ImageSets/Segmentation", {"more": ["2007_000000", "2007_000999"]})
    for name in ("2007_000000", "2007_000999"):
        save(tmp_path / f"masks/{name}.png", label(1, classes=21))
    shutil.rmtree(top / "SegmentationClass")
    spec = DataSpec(name="voc", root=str(top), masks=str(tmp_path / "masks"), args={"train": "more"})
    labelled, said = built(spec)
    assert names(labelled) == ["2007_000000", "2007_000999"]
    assert said == []
    assert labelled[1][1] is not None


@pytest.mark.parametrize(
    ("name", "write"), [("camvid", camvid_tree), ("folder", folder_tree), ("msrc21", msrc21_tree), ("scenes", None)]
)
def test_every_data_set_takes_other_masks_for_training_and_keeps_its_own_for_validation(tmp_path, name, write):
    root = str(write(tmp_path / "data")) if write else None
    spec = DataSpec(name=name, root=root, classes=CLASSES if name == "folder" else ())
    own = open_dataset(spec, "train")
    for index in range(2):
        image = own[index][0]
        save(tmp_path / f"masks/{own.name(index)}.png", label(60 + index, *image.shape[1:], classes=3))
    given = DataSpec(name=name, root=root, classes=spec.classes, masks=str(tmp_path / "masks"))
    labelled, _ = built(given)
    assert (names(labelled), labelled.classes) == ([own.name(0), own.name(1)], own.classes)
    np.testing.assert_array_equal(labelled[1][1], label(61, *labelled[1][0].shape[1:]))
    assert open_dataset(given, "val")[0][1].equal(open_dataset(spec, "val")[0][1])


def test_what_is_written_as_a_palette_picture_is_read_again(tmp_path):
    sample(tmp_path / "images/train", tmp_path / "masks/train", "a", 0)
    spec = DataSpec(name="folder", root=str(tmp_path), classes=CLASSES, masks=str(tmp_path / "more"))
    mask = open_dataset(spec, "train")[0][1]
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.png").write_bytes(png(mask.flip(0), open_dataset(spec, "train").palette))
    assert built(spec)[0][0][1].equal(mask.flip(0))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (label(0, 12, 16), r"holds 16 x 12 pixels, but its image .*train0\.png is 32 x 24"),
        (label(0, classes=5), r"holds the value 3 \(\d+ pixels\), 4 .*expected 0 to 2"),
        (picture(0), "3-channel picture"),
    ],
)
def test_a_mask_that_does_not_fit_is_named_with_what_to_do(tmp_path, mask, said):
    root = folder_tree(tmp_path)
    save(tmp_path / "more/train0.png", mask)
    spec = DataSpec(name="folder", root=str(root), classes=CLASSES, masks=str(tmp_path / "more"))
    with pytest.raises(FileError, match=rf"more/train0\.png: .*{said}.*; write it again .* or correct --data\.masks"):
        built(spec)[0][0]


def test_a_folder_without_any_mask_or_no_folder_is_refused(tmp_path):
    root = str(folder_tree(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"gone: there is no such folder of masks; correct --data\.masks"):
        built(DataSpec(name="folder", root=root, classes=CLASSES, masks=str(tmp_path / "gone")))
    Image.new("L", (32, 24)).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=r"holds no mask of any of the 3 training images, .* such as train0\.png"):
        built(DataSpec(name="folder", root=root, classes=CLASSES, masks=str(tmp_path)))


def test_a_folder_of_masks_and_fewer_labels_go_together(tmp_path):
    root = folder_tree(tmp_path)
    spec = DataSpec(name="folder", root=str(root), classes=CLASSES, masks=str(root / "masks/train"), labelled=1)
    labelled, rest = build_training_data(spec)
    assert names(labelled) == ["train0"]
    assert rest is not None
    assert names(rest) == ["train1", "train2"]
    assert rest[0][1] is None
