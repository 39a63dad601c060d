import pytest

from segstill.data import folder, open_tagged
from segstill.data.folder_tags import folder_tagged
from segstill.recipe import DataSpec

from .tag_trees import CLASSES, TABLE, TAGS, class_tree, folder_tree
from .test_tags import names, shown
from .trees import flat_tree, picture, save


def opened(root, split="train", classes=CLASSES):
    return open_tagged(DataSpec(name="folder", root=str(root), classes=classes), split)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_table_gives_the_tags_of_all_splits(tmp_path, split):
    assert shown(opened(folder_tree(tmp_path), split)) == TAGS[split]


@pytest.mark.parametrize(
    "written",
    [
        TABLE.removeprefix("image,tags\n"),
        TABLE.replace("\n", "\r\n"),
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\n\n"),
        TABLE.replace("b,cat; dog", '"b","cat;dog;cat;"'),
    ],
)
def test_a_table_may_come_from_any_editor(tmp_path, written):
    folder_tree(tmp_path)
    (tmp_path / "tags.csv").write_bytes(written.encode())
    assert shown(opened(tmp_path)) == TAGS["train"]


def test_lists_and_the_split_by_hash_are_those_of_images_with_masks(tmp_path):
    flat_tree(tmp_path, 20)
    (tmp_path / "tags.csv").write_text("".join(f"frame.{n},cat\n" for n in range(20)))
    masks = [names(folder(tmp_path, split, classes=CLASSES)) for split in ("train", "val")]
    assert [names(opened(tmp_path, split)) for split in ("train", "val")] == masks
    (tmp_path / "train.txt").write_text("frame.3\nframe.1.png\n")
    assert shown(opened(tmp_path)) == {"frame.3": [1], "frame.1": [1]}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("f,catt\n", r"f.* is missing, though .*tags\.csv names it in line 8"),
        ("train/e,cat\n", r"train/e: is missing"),
        ("c,cat\n", r"names 'c' in line 8, which \['train/c\.jpg', 'val/c\.jpg'\] are; write the folder"),
        ("a.jpg,dog\n", r"names 'train/a\.jpg' in lines 2 and 8; make one row"),
        ("a,dog,cat\n", r"has 3 cells in line 8, expected image,tag;tag; put ; between"),
    ],
)
def test_a_row_that_cannot_be_is_named_with_its_line(tmp_path, row, said):
    folder_tree(tmp_path, TABLE + row)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a.jpg,cat", "a.jpg,catt", r"the tag 'catt' of 'train/a\.jpg' in line 2, .* \(did you mean 'cat'\?\)"),
        ("a.jpg,cat", "a.jpg,", r"names no class of 'train/a\.jpg' in line 2; add its tags, or 'background'"),
        ("a.jpg,cat", "a.jpg", r"names no class of 'train/a\.jpg' in line 2"),
        ("a.jpg,cat\n", "", r"a\.jpg: has no tag: .*tags\.csv has no row 'train/a\.jpg'; add the row"),
    ],
)
def test_a_tag_that_is_no_class_or_none_at_all_is_refused(tmp_path, old, new, said):
    folder_tree(tmp_path, TABLE.replace(old, new))
    with pytest.raises(ValueError, match=said) as error:
        opened(tmp_path)
    assert "more" not in str(error.value), "one mistake is one problem"


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (folder_tree(tmp_path) / "tags.csv").write_bytes(b"\xff\xfe\x00a\x00,")
    with pytest.raises(ValueError, match=r"tags\.csv: does not read as a table .*UTF-8"):
        opened(tmp_path)


def test_many_problems_of_a_kind_are_one(tmp_path):
    folder_tree(tmp_path, TABLE + "".join(f"gone{n},cat\n" for n in range(50)))
    listing = folder_tagged(tmp_path, "train", classes=CLASSES).listing
    assert [problem.file.name for problem in listing.problems] == ["tags.csv"]
    assert "has 50 problems of one kind, the first: gone0 is missing" in listing.problems[0].given


def test_a_folder_per_class_tags_the_images_in_it(tmp_path):
    class_tree(tmp_path)
    assert shown(opened(tmp_path)) == {"background/1": [], "cat/1": [1], "cat/2": [1], "dog/1": [2]}
    assert shown(opened(tmp_path, "val")) == {"dog/7": [2]}


def test_a_folder_per_class_is_split_by_lists_or_by_hash(tmp_path):
    for number in range(20):
        save(tmp_path / f"images/{'cat' if number % 2 else 'dog'}/{number}.jpg", picture(number))
    train, val = (names(opened(tmp_path, split)) for split in ("train", "val"))
    assert (len(train), len(val)) == (16, 4)
    assert not {*train} & {*val}
    (tmp_path / "train.txt").write_text("dog/2.jpg\ncat/1\n")
    assert shown(opened(tmp_path)) == {"dog/2": [2], "cat/1": [1]}


def test_what_lies_beside_the_folders_of_classes_is_named(tmp_path):
    class_tree(tmp_path)
    save(tmp_path / "images/train/cats/1.jpg", picture(70))
    with pytest.raises(ValueError, match=r"train/cats: is the folder of no class"):
        opened(tmp_path)
    (tmp_path / "images/train/cats/1.jpg").rename(tmp_path / "images/train/1.jpg")
    (tmp_path / "images/train/cats").rmdir()
    with pytest.raises(ValueError, match=r"train/1\.jpg: is in no folder of a class"):
        opened(tmp_path)


def test_without_tags_both_layouts_are_named(tmp_path):
    (folder_tree(tmp_path) / "tags.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"tags\.csv: is not there, .*image,tag;tag or a folder per class"):
        opened(tmp_path)


@pytest.mark.parametrize("write", [folder_tree, class_tree])
def test_the_first_class_must_be_the_background(tmp_path, write):
    with pytest.raises(ValueError, match=r"the first of its classes is 'cat', .*--data\.classes background NAME"):
        opened(write(tmp_path), classes=CLASSES[1:])


def test_images_with_tags_alone_have_no_masks_and_the_error_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"masks/train: does not exist; .*train on tags .*--tags"):
        folder(folder_tree(tmp_path), "train", classes=CLASSES)
