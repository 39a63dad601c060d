import numpy as np
import pytest
import torch

from segstill.data import camvid

from ..conftest import CAMVID, needs_camvid
from .trees import camvid_tree, label, picture, save, segnet_tree


def test_the_lists_say_which_images_in_which_order(tmp_path):
    dataset = camvid(camvid_tree(tmp_path), "val")
    assert [dataset.name(index) for index in range(len(dataset))] == ["val_1", "val_0"]


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("parent", ["", "CamVid"])
def test_the_layout_of_segnet_is_read_with_or_without_its_lists(tmp_path, lists, parent):
    segnet_tree(tmp_path / parent, lists=lists)
    dataset = camvid(tmp_path, "test")
    assert [dataset.name(index) for index in range(2)] == (["test_1", "test_0"] if lists else ["test_0", "test_1"])
    assert dataset[1 if lists else 0][0].permute(1, 2, 0).numpy().tobytes() == picture(20).tobytes()


@pytest.mark.parametrize(
    "line",
    [
        "images/val/val_{n}.jpg masks/val/val_{n}.png",
        "/SegNet/CamVid/val/val_{n}.png /SegNet/CamVid/valannot/val_{n}.png",
        "val_{n}.jpg val_{n}.png",
    ],
)
def test_lists_of_two_paths_are_read_in_the_other_layout_too(tmp_path, line):
    camvid_tree(tmp_path)
    (tmp_path / "val.txt").write_text("".join(line.format(n=n) + "\n" for n in (1, 0)))
    dataset = camvid(tmp_path, "val")
    assert [dataset.name(index) for index in range(len(dataset))] == ["val_1", "val_0"]
    np.testing.assert_array_equal(dataset[0][1], label(11, classes=11))


@pytest.mark.parametrize("write", [camvid_tree, segnet_tree])
def test_a_list_may_name_images_of_another_split(tmp_path, write):
    write(tmp_path)
    (tmp_path / "train.txt").write_text(
        "/a/train/train_0.png /a/trainannot/train_0.png\n/a/val/val_0.png /a/valannot/val_0.png\n"
    )
    dataset = camvid(tmp_path, "train")
    assert [dataset.name(index) for index in range(len(dataset))] == ["train_0", "val_0"]
    assert dataset[1][0].equal(camvid(tmp_path, "val")[0 if write is segnet_tree else 1][0])


def test_a_mask_that_a_list_names_but_that_is_missing_is_named(tmp_path):
    camvid_tree(tmp_path)
    (tmp_path / "val.txt").write_text("/a/val/val_0.png /a/valannot/val_7.png\n")
    with pytest.raises(FileNotFoundError, match=r"masks/val/val_7\.png: is missing, though .*val\.txt names it"):
        camvid(tmp_path, "val")


def test_segnets_value_11_becomes_255(tmp_path):
    dataset = camvid(segnet_tree(tmp_path), "train")
    written = label(0, classes=12)
    assert (written == 11).any()
    np.testing.assert_array_equal(dataset[0][1].numpy(), np.where(written == 11, 255, written))


def test_value_11_is_an_error_in_the_other_layout(tmp_path):
    camvid_tree(tmp_path)
    save(tmp_path / "masks/train/train_0.png", label(0, classes=12))
    with pytest.raises(ValueError, match=r"train_0\.png: holds the value 11 .*expected 0 to 10"):
        camvid(tmp_path, "train")[1]


def test_an_image_that_a_list_names_but_that_is_missing_is_named(tmp_path):
    camvid_tree(tmp_path)
    (tmp_path / "images/val/val_1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_1\.jpg: is missing, though .*val\.txt names it"):
        camvid(tmp_path, "val")


def test_a_folder_of_something_else_names_both_layouts(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"masks/<split>.*trainannot"):
        camvid(tmp_path, "train")


@needs_camvid
@pytest.mark.data
@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101), ("test", 233)])
def test_the_real_data_set_has_the_published_number_of_images(split, count):
    assert len(camvid(CAMVID, split)) == count


@needs_camvid
@pytest.mark.data
def test_the_real_data_set_has_11_classes_on_480_x_360_pixels():
    dataset = camvid(CAMVID, "train")
    seen = set()
    for index in range(0, len(dataset), 40):
        image, mask = dataset[index]
        assert image.shape == (3, 360, 480)
        assert mask is not None
        seen |= set(mask.unique().tolist())
        if dataset.name(index) == "0001TP_006690":  # the sky is bright, the road is below
            assert image[:, mask == 0].float().mean() > image[:, mask == 3].float().mean()
    assert seen == {*range(11), 255}


@needs_camvid
@pytest.mark.data
def test_a_real_mask_keeps_its_thin_poles():
    image, mask = camvid(CAMVID, "train")[0]
    assert mask is not None
    assert (mask == 2).sum() > 100
    assert image.dtype == mask.dtype == torch.uint8
