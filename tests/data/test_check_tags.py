"""`segstill check --tags`: every problem of image-level labels, each with its file."""

import shutil

import pytest

from segstill.data import check, examine
from segstill.recipe import DataSpec

from .tag_trees import CLASSES, TABLE, class_tree, folder_tree, msrc21_tree, voc_tags_tree
from .test_check import only
from .trees import camvid_tree, picture, save


def spec(root, **options):
    return DataSpec(name="folder", root=str(root), classes=CLASSES, **options)


def errors(found):
    return [problem for problem in found if problem.severity == "error"]


def test_the_summary_counts_images_per_class_and_missing_ones_are_warnings(tmp_path):
    found = examine(spec(folder_tree(tmp_path)), tags=True)
    assert str(found).splitlines() == [
        "train: 4 images with tags, 1 of them background alone, 1.00 classes per image",
        "  cat 2, dog 1, big horse 1",
        "val: 2 images with tags, 1.50 classes per image",
        "  cat 1, dog 1, big horse 1",
        "0 errors, 0 warnings",
    ]
    assert found.splits["train"].counts == {"background": 1, "cat": 2, "dog": 1, "big horse": 1}


def test_a_class_without_an_image_is_a_warning(tmp_path):
    found = check(spec(class_tree(tmp_path)), tags=True)
    assert [problem.severity for problem in found] == ["warning"] * 3
    assert "class 3 (big horse) never occurs in the train split, so it cannot be learnt" in found[0].given
    assert "class 1 (cat) never occurs in the val split" in found[1].given


def test_drawn_scenes_have_nothing_wrong():
    found = examine(DataSpec(name="scenes", args={"count": 40, "kinds": (1, 3)}), tags=True)
    assert found.problems == []
    assert found.splits["val"].images == 10


def test_surroundings_are_no_problem(tmp_path):
    found = examine(DataSpec(name="msrc21", root=str(msrc21_tree(tmp_path))), tags=True)
    assert found.problems == []
    assert found.splits["test"].counts["cow"] == 2
    assert found.splits["test"].counts["background"] == 1


def test_no_mask_is_opened(tmp_path):
    root = msrc21_tree(tmp_path)
    for path in (root / "masks").rglob("*.png"):
        path.write_bytes(b"no mask")
    assert check(DataSpec(name="msrc21", root=str(root)), tags=True) == []
    assert len(errors(check(DataSpec(name="msrc21", root=str(root))))) == 9


@pytest.mark.parametrize(
    ("old", "new", "name", "said"),
    [
        ("a.jpg,cat", "a.jpg,catt", "tags.csv", "has the tag 'catt'"),
        ("a.jpg,cat", "a.jpg,", "tags.csv", "names no class of 'train/a.jpg'"),
        ("a.jpg,cat\n", "", "a.jpg", "has no tag"),
        ("a.jpg,cat", "a.jpg,cat\na,cat", "tags.csv", "names 'train/a.jpg' in lines 2 and 3"),
        ("a.jpg,cat", "a.jpg,cat\nz.jpg,cat", "z.jpg", "is missing"),
    ],
)
def test_every_mistake_in_a_table_is_one_error(tmp_path, old, new, name, said):
    found = errors(check(spec(folder_tree(tmp_path, TABLE.replace(old, new))), tags=True))
    assert said in only(found, name).given


def test_a_truncated_image_and_a_bad_annotation(tmp_path):
    top = voc_tags_tree(tmp_path) / "VOCdevkit/VOC2012"
    image = top / "JPEGImages/2007_000000.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    tags = top / "Annotations/2007_000000.xml"
    tags.write_text(tags.read_text().replace("person", "persona"))
    found = errors(check(DataSpec(name="voc", root=str(tmp_path)), tags=True))
    assert [problem.file for problem in found] == [image, tags]
    assert "does not decode" in found[0].given
    assert "'persona'" in found[1].given


def test_one_picture_in_two_splits_is_an_error(tmp_path):
    folder_tree(tmp_path)
    shutil.copy(tmp_path / "images/train/a.jpg", tmp_path / "images/val/e.jpg")
    assert "is the same picture as" in only(errors(check(spec(tmp_path), tags=True)), "e.jpg").given


def test_a_data_set_without_tags_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'camvid' has no tags"):
        check(DataSpec(name="camvid", root=str(camvid_tree(tmp_path))), tags=True)


def run(*args: str) -> int:
    from segstill.cli import main

    with pytest.raises(SystemExit) as exit_:
        main(list(args))
    return exit_.value.code or 0


def test_the_command_checks_a_folder_of_images_and_tags_without_masks(tmp_path, capsys):
    root = folder_tree(tmp_path)
    assert run("check", str(root), "--data.classes", *CLASSES, "--tags") == 0
    assert "train: 4 images with tags" in capsys.readouterr().out
    assert run("check", str(root), "--data.classes", *CLASSES) == 2
    assert "(and check with --tags)" in capsys.readouterr().out
    save(root / "images/train/new.jpg", picture(40))
    assert run("check", str(root), "--data.classes", *CLASSES, "--tags") == 2
    assert "new.jpg: has no tag" in capsys.readouterr().out.replace("\n", "")
