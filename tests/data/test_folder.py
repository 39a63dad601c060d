import numpy as np
import pytest
from PIL import Image

from segstill.data import Images, folder

from .trees import CLASSES, flat_tree, folder_tree, label, picture, sample, save


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def test_split_folders_are_read(tmp_path):
    folder_tree(tmp_path)
    train = folder(tmp_path, "train", classes=CLASSES)
    assert names(train) == ["train0", "train1", "train2"]
    np.testing.assert_array_equal(train[1][0].permute(1, 2, 0), picture(1))
    np.testing.assert_array_equal(train[1][1], label(1))


def test_folders_may_have_other_names(tmp_path):
    sample(tmp_path / "jpgs/train", tmp_path / "annotations/train", "a", 0)
    assert names(folder(tmp_path, "train", classes=CLASSES, images="jpgs", masks="annotations")) == ["a"]


def test_lists_choose_from_one_folder_and_keep_their_order(tmp_path):
    flat_tree(tmp_path)
    (tmp_path / "train.txt").write_text("frame.3\n\nframe.1.png\n")
    (tmp_path / "val.txt").write_text("frame.2\n")
    assert names(folder(tmp_path, "train", classes=CLASSES)) == ["frame.3", "frame.1"]
    assert names(folder(tmp_path, "val", classes=CLASSES)) == ["frame.2"]


def test_without_splits_a_fifth_of_the_images_is_for_validation(tmp_path):
    flat_tree(tmp_path, 20)
    train, val = (names(folder(tmp_path, split, classes=CLASSES)) for split in ("train", "val"))
    assert len(train) == 16
    assert len(val) == 4
    assert sorted(train + val) == sorted(f"frame.{number}" for number in range(20))
    assert val == ["frame.0", "frame.1", "frame.16", "frame.19"], "the split of the same files must never change"


def test_without_splits_there_is_no_test_split(tmp_path):
    with pytest.raises(ValueError, match=r"only train and val.*images/test.*test\.txt"):
        folder(flat_tree(tmp_path), "test", classes=CLASSES)


def test_a_split_without_a_folder_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="images/test: does not exist"):
        folder(folder_tree(tmp_path), "test", classes=CLASSES)


def test_a_missing_mask_stops_and_names_the_remedy(tmp_path):
    folder_tree(tmp_path)
    (tmp_path / "masks/train/train1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train1\.png: is missing, the mask of .*--data\.unlabelled"):
        folder(tmp_path, "train", classes=CLASSES)


def test_many_problems_are_counted(tmp_path):
    folder_tree(tmp_path)
    for number in range(3):
        (tmp_path / f"masks/train/train{number}.png").rename(tmp_path / f"masks/train/other{number}.png")
    with pytest.raises(ValueError, match=r"other0\.png: has no image.*and 5 more: `segstill check`"):
        folder(tmp_path, "train", classes=CLASSES)


def test_an_empty_folder_stops(tmp_path):
    folder_tree(tmp_path)
    (tmp_path / "images/test").mkdir()
    (tmp_path / "masks/test").mkdir()
    with pytest.raises(ValueError, match="images/test: holds no file"):
        folder(tmp_path, "test", classes=CLASSES)


@pytest.mark.parametrize("classes", [(), ("a", "a"), tuple(map(str, range(256)))])
def test_classes_must_be_1_to_255_different_names(tmp_path, classes):
    with pytest.raises(ValueError, match="1 to 255 different names"):
        folder(folder_tree(tmp_path), "train", classes=classes)


def one(tmp_path, image=None, mask=None):
    """A data set of one sample, of which one file is replaced."""
    sample(tmp_path / "images/train", tmp_path / "masks/train", "a", 0)
    if image is not None:
        image.save(tmp_path / "images/train/a.png")
    if mask is not None:
        mask.save(tmp_path / "masks/train/a.png")
    return folder(tmp_path, "train", classes=CLASSES)


def test_a_palette_mask_gives_its_indices_and_not_its_colours(tmp_path):
    save(tmp_path / "p.png", label(0), palette=True)
    mask = Image.open(tmp_path / "p.png")
    assert mask.mode == "P"
    np.testing.assert_array_equal(one(tmp_path, mask=mask)[0][1], label(0))


def test_a_one_bit_mask_holds_the_classes_0_and_1(tmp_path):
    drawn = label(0) == 1
    np.testing.assert_array_equal(one(tmp_path, mask=Image.fromarray(drawn))[0][1], drawn)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (Image.fromarray(picture(0)), "3-channel picture .*mode 'RGB'"),
        (Image.fromarray(label(0)).convert("LA"), "2-channel picture"),
        (Image.fromarray(label(0).astype(np.uint16)), "16-bit picture"),
    ],
)
def test_masks_that_are_no_class_ids_are_refused(tmp_path, mask, said):
    with pytest.raises(ValueError, match=rf"a\.png: is a {said}.*8-bit gray or palette PNG"):
        one(tmp_path, mask=mask)[0]


def test_values_outside_the_classes_are_named_with_their_pixels_and_the_remedy(tmp_path):
    drawn = label(0)
    drawn[0, :5], drawn[1, :2] = 77, 90
    with pytest.raises(
        ValueError, match=r"77 \(5 pixels\), 90 \(2 pixels\), expected 0 to 2 .*house.*`segstill check`"
    ):
        one(tmp_path, mask=Image.fromarray(drawn))[0]


def test_a_mask_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds 16 x 12 pixels, but its image .* is 32 x 24"):
        one(tmp_path, mask=Image.fromarray(label(0, 12, 16)))[0]


@pytest.mark.parametrize("which", ["images", "masks"])
@pytest.mark.parametrize("keep", [0, 20, 60, -30])
def test_a_truncated_file_is_refused(tmp_path, which, keep):
    dataset = one(tmp_path)
    path = tmp_path / which / "train/a.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a\.png: (does not decode|is empty).*`segstill check`"):
        dataset[0]


def gradient():
    return np.linspace(0, 255, 24 * 32).reshape(24, 32).astype(np.uint8)


@pytest.mark.parametrize("kind", ["L", "LA", "16", "RGBA", "P", "1"])
def test_every_kind_of_picture_becomes_8_bit_rgb(tmp_path, kind):
    gray = Image.fromarray(gradient())
    image = Image.fromarray(gradient().astype(np.uint16) * 257) if kind == "16" else gray.convert(kind)
    expected = np.asarray(gray.convert("1").convert("RGB") if kind == "1" else gray.convert("RGB"))
    np.testing.assert_array_equal(one(tmp_path, image=image)[0][0].permute(1, 2, 0), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".webp", ".tif"])
def test_every_file_type_is_read(tmp_path, suffix):
    smooth = np.repeat(gradient()[..., None], 3, axis=2)
    save(tmp_path / f"a{suffix}", smooth)
    image = Images(tmp_path)[0][0].permute(1, 2, 0).numpy()
    assert np.abs(image.astype(int) - smooth).mean() < 3


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.jpg")
    red, green, blue = Images(tmp_path)[0][0].float().mean(dim=(1, 2)).tolist()
    assert red < 40 < 150 < green
    assert blue > 150


def test_pictures_are_turned_upright_as_their_exif_tag_says(tmp_path):
    turned = Image.fromarray(np.rot90(np.repeat(gradient()[..., None], 3, axis=2)))  # stored quarter turn to the left
    exif = Image.Exif()
    exif[0x0112] = 6  # show it a quarter turn to the right
    turned.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(Images(tmp_path)[0][0][0], gradient())


def test_floating_point_pictures_are_refused(tmp_path):
    save(tmp_path / "a.tif", gradient().astype(np.float32))
    with pytest.raises(ValueError, match=r"a\.tif: .*mode 'F'.*8 bits"):
        Images(tmp_path)[0]


def test_images_without_masks_have_none(tmp_path):
    save(tmp_path / "b.png", picture(0))
    save(tmp_path / "a.jpg", picture(1))
    images = Images(tmp_path)
    assert names(images) == ["a", "b"]
    assert images[1][1] is None


def test_a_folder_of_images_must_exist_and_hold_some(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: does not exist"):
        Images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no file"):
        Images(tmp_path)
