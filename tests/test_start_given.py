"""segstill init: which of the given images, tags and masks it takes for what, wherever they lie, and what it says."""

import shlex
from collections.abc import Collection

import pytest

from segstill.build import build_chain, build_recipe
from segstill.data import open_dataset, open_tagged, open_truth, open_unlabelled
from segstill.start import start

from .data.trees import CLASSES, label, picture, save
from .starts import call, names, photos, table

BY_HASH = ["p0", "p2"]
"""Which of p0 to p9 a hash chooses for validation."""


def with_true_masks(root, drawn: Collection[int]):
    """Ten images with tags, of which some have a mask."""
    images, masks = photos(root)
    for number in {*range(10)} - {*drawn}:
        (masks / f"p{number}.png").unlink()
    tags = table(root, [f"p{number},tree" for number in range(10)])
    return {"images": images, "tags": tags, "masks": masks, "classes": ("background", "tree", "house")}


def test_true_masks_validate_where_they_suffice_and_the_others_take_the_place_of_seeds(tmp_path):
    drawn = [1, 3, 4, 7, 8]
    assert not {f"p{number}" for number in drawn} & {*BY_HASH}
    made = start(tmp_path / "mine", **with_true_masks(tmp_path, drawn))
    assert (made.facts.true_masks, made.facts.val) == (3, 2)
    assert "true masks: 3 for training, in place of seed masks, and 2 for validation" in made.said
    chain, data = build_chain(str(made.file)), build_recipe(str(made.file)).data
    assert chain.data.masks == str(tmp_path / "mine" / ".." / "drawn")
    val = open_dataset(data, "val")
    assert {*names(val)} < {f"p{number}" for number in drawn}
    assert val[0][1] is not None
    assert len(open_tagged(data, "train")) == 8


def test_too_few_true_masks_for_validation_are_all_for_training(tmp_path):
    made = start(tmp_path / "mine", **with_true_masks(tmp_path, [int(BY_HASH[0][1:])]))
    assert (made.facts.true_masks, made.facts.val) == (1, 2)
    assert any("true masks: 1 for training" in told and "expected at least 2 to valid" in told for told in made.said)
    data = build_recipe(str(made.file)).data
    assert BY_HASH[0] in names(open_tagged(data, "train"))
    assert open_truth(data, "val") is None


@pytest.mark.parametrize("drawn", ["all of val", "a part of val"])
def test_split_folders_are_kept_and_true_masks_that_stay_unused_are_told(drawn, tmp_path):
    for number, name in enumerate(("train/a", "train/b", "val/c", "val/d")):
        save(tmp_path / "mine" / "images" / f"{name}.png", picture(number))
        if name not in ("train/b", "val/d" if drawn == "a part of val" else ""):
            save(tmp_path / "mine" / "masks" / f"{name}.png", label(number, classes=2))
    tags = table(tmp_path, [f"{name},tree" for name in "abcd"])
    made = start(tmp_path / "mine", tmp_path / "mine" / "images", tags=tags, masks=tmp_path / "mine" / "masks")
    told = next(sentence for sentence in made.said if sentence.startswith("true masks: 1 for training"))
    data = build_recipe(str(made.file)).data
    assert names(open_tagged(data, "val")) == ["c", "d"]
    if drawn == "all of val":
        assert told.endswith("and 2 for validation")
        assert names(open_dataset(data, "val")) == ["c", "d"]
    else:
        assert "1 of the 2 images of val have a true mask and these stay unused" in told
        assert open_truth(data, "val") is None, "half of the images would be scored, and the others refused"


def test_true_masks_of_images_without_tags_are_told(tmp_path):
    given = with_true_masks(tmp_path, range(10))
    given["tags"].write_text("p0,tree\np1,tree\np2,tree\n")
    said = start(tmp_path / "mine", **given).said
    assert any("true masks of 7 images without tags stay unused, p3 the first" in told for told in said)


def test_masks_of_no_image_are_told_before_they_stop_the_validation(tmp_path):
    given = with_true_masks(tmp_path, range(10))
    save(given["masks"] / "other.png", label(1))
    with pytest.raises(ValueError, match=r"other\.png: has no image of its name"):
        start(tmp_path / "mine", **given)


@pytest.mark.parametrize("kind", ["a table", "a folder per class"])
def test_every_class_keeps_a_training_image(kind, tmp_path):
    classes = {name: name for name in BY_HASH} if kind == "a table" else {}
    if kind == "a table":
        images, _ = photos(tmp_path)
        rows = [f"p{number},{classes.get(f'p{number}', 'cat')}" for number in range(10)]
        made = start(tmp_path / "mine", images, tags=table(tmp_path, rows))
    else:
        for number in range(10):
            save(tmp_path / "photos" / ("dog" if number == 2 else "cat") / f"{number}.png", picture(number))
        made = start(tmp_path / "mine", tmp_path / "photos")
    assert (made.facts.train, made.facts.val) == (8, 2)
    data = build_recipe(str(made.file)).data
    train = open_tagged(data, "train")
    shown = sum(train.tags(index) for index in range(len(train)))
    assert shown.min() > 0
    assert not any("no training image shows" in told for told in made.said)


def test_a_class_that_no_training_image_shows_is_told(tmp_path):
    images, _ = photos(tmp_path, 2)
    made = start(tmp_path / "mine", images, tags=table(tmp_path, ["p0,cat", "p1,dog"]))
    (only,) = (tmp_path / "mine" / "val.txt").read_text().split()
    assert f"no training image shows {'cat' if only == 'p0' else 'dog'}, so this is not learned" in "".join(made.said)


@pytest.mark.parametrize("inside", [False, True])
def test_images_and_tags_may_lie_in_the_folder_of_the_recipe(inside, tmp_path, monkeypatch):
    photos(tmp_path / "proj")
    written = "".join(f"p{number},cat\n" for number in range(9))
    (tmp_path / "proj" / "labels.csv").write_text(written)
    place = tmp_path / "proj" if inside else tmp_path
    monkeypatch.chdir(place)
    folder = (tmp_path / "proj").relative_to(place)
    made = start(folder, folder / "photos", tags=folder / "labels.csv")
    data = build_recipe(str(made.file)).data
    assert len(open_tagged(data, "train")) + len(open_tagged(data, "val")) == 9
    assert data.args["images"] == "photos"
    assert names(
        open_unlabelled(type(data)(name="folder", unlabelled=build_chain(str(made.file)).data.unlabelled))
    ) == ["p9"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proj"], "the trial is gone"
    assert len(list((tmp_path / "proj" / "photos").iterdir())) == 10
    assert (tmp_path / "proj" / "labels.csv").read_text() == written


def test_the_table_that_lies_where_the_recipe_reads_it_is_no_copy(tmp_path):
    images, _ = photos(tmp_path / "proj")
    own = tmp_path / "proj" / "tags.csv"
    own.write_text("".join(f"p{number},cat\n" for number in range(10)))
    before = own.stat()
    made = start(tmp_path / "proj", images, tags=own)
    assert (own.stat().st_ino, own.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not any("is a copy of" in told for told in made.said)
    other = table(tmp_path, ["p0,dog", "p1,dog"])
    with pytest.raises(FileExistsError, match=r"holds recipe\.py, train\.txt, val\.txt, tags\.csv already"):
        start(tmp_path / "proj", images, tags=other)
    assert "cat" in own.read_text()


def test_what_counts_from_now_on_is_said(tmp_path):
    images, _ = photos(tmp_path)
    tags = table(tmp_path, [f"p{number},cat" for number in range(9)])
    said = " ".join(start(tmp_path / "mine", images, tags=tags).said)
    assert f"{tmp_path / 'mine' / 'tags.csv'} is a copy of {tags}: the copy counts" in said
    assert "init with --force takes in images, tags and masks that are added later" in said
    tags.write_text(tags.read_text() + "p9,dog\n")
    assert start(tmp_path / "mine", images, tags=tags, force=True).facts.classes == ("background", "cat", "dog")


@pytest.mark.parametrize("kind", ["masks", "tags"])
def test_folders_beside_images_are_not_read_and_named(kind, tmp_path):
    images, masks = photos(tmp_path)
    save(images / "thumbs" / "x.jpg", picture(0))
    masks = masks.rename(images / "masks")
    (images / "notes").mkdir()
    tags = table(tmp_path, [f"p{number},cat" for number in range(10)])
    given = {"masks": masks, "classes": CLASSES} if kind == "masks" else {"tags": tags}
    made = start(tmp_path / "mine", images, **given)
    unread = [told.split()[3] for told in made.said if "are not read" in told]
    assert unread == [str(images / name) for name in ("masks", "thumbs") if name != kind]
    data = build_recipe(str(made.file)).data
    opened = [(open_dataset if kind == "masks" else open_tagged)(data, split) for split in ("train", "val")]
    assert sorted(names(opened[0]) + names(opened[1])) == [f"p{number}" for number in range(10)]
    with pytest.raises(ValueError, match=r"photos/thumbs is none, because images lie beside it"):
        start(tmp_path / "other", images)


@pytest.mark.parametrize("folder", [".", "mine"])
def test_a_recipe_among_folders_of_classes_is_refused(folder, tmp_path):
    for number in range(4):
        save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", picture(number))
    with pytest.raises(ValueError, match="would lie among the folders of classes"):
        start(tmp_path / "photos" / folder, tmp_path / "photos")


def test_rows_may_name_the_folder_of_the_images(tmp_path, monkeypatch):
    images, _ = photos(tmp_path)
    tags = table(tmp_path, [f"photos/p{number}.jpg,cat" for number in range(10)])
    monkeypatch.chdir(images)
    made = start(tmp_path / "mine", images.relative_to(images), tags=tags)
    data = build_recipe(str(made.file)).data
    assert len(open_tagged(data, "train")) + len(open_tagged(data, "val")) == 10


def test_a_name_with_a_dot_is_written_without_a_suffix(tmp_path):
    for number in range(4):
        save(tmp_path / "photos" / f"frame.{number}.png", picture(number))
    tags = table(tmp_path, [f"frame.{number},cat" for number in range(4)])
    assert start(tmp_path / "mine", tmp_path / "photos", tags=tags).facts.unlabelled == 0


def test_a_folder_whose_name_has_a_space_is_quoted_where_it_is_to_be_typed(tmp_path, capsys):
    images, masks = photos(tmp_path)
    place = tmp_path / "my own"
    call("init", place, "--images", images, "--masks", masks, "--classes", *CLASSES)
    typed = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if line.startswith("  segstill chain")]
    assert typed == [
        ["segstill", "chain", str(place / "recipe.py"), "--plan"],
        ["segstill", "chain", str(place / "recipe.py")],
    ]
    assert "    segstill chain 'my own/recipe.py'\n" in (place / "recipe.py").read_text()
