"""segstill init: what it finds out about somebody's images, and that the recipe it writes runs on them."""

import shutil

import numpy as np
import pytest
from PIL import Image

from segstill.build import build_chain, build_recipe
from segstill.data import open_dataset, open_tagged, open_unlabelled
from segstill.start import start
from segstill.start_text import Machine, recipe_text

from .data.tag_trees import TABLE, class_tree
from .data.trees import CLASSES, label, picture, save
from .starts import photos, table


def test_images_with_masks_get_a_chain_that_begins_at_the_teacher(tmp_path):
    images, masks = photos(tmp_path)
    made = start(tmp_path / "new" / "mine", images, masks=masks, classes=CLASSES)
    assert (made.facts.train, made.facts.val, made.facts.unlabelled) == (8, 2, 0)
    assert (made.facts.width, made.facts.height) == (32, 24)
    chain = build_chain(str(made.file))
    assert (chain.name, chain.classifier, chain.data.classes) == ("mine", None, CLASSES)
    data = build_recipe(str(made.file)).data
    assert (len(open_dataset(data, "train")), len(open_dataset(data, "val"))) == (8, 2)
    written = {path.name for path in (tmp_path / "new" / "mine").iterdir()}
    assert written - {"__pycache__"} == {"recipe.py", "train.txt", "val.txt"}


def test_images_with_tags_get_a_classifier_and_those_without_are_for_the_student(tmp_path):
    images, _ = photos(tmp_path)
    tags = table(tmp_path, [f"p{number}.jpg,{'cat' if number % 2 else 'dog;cat'}" for number in range(7)])
    made = start(tmp_path / "mine", images, tags=tags)
    assert made.facts.classes == ("background", "cat", "dog")
    chain = build_chain(str(made.file))
    data = build_recipe(str(made.file)).data
    assert len(open_tagged(data, "train")) + len(open_tagged(data, "val")) == 7
    assert chain.classifier.student.name == "swtformer"
    assert chain.data.unlabelled == str(tmp_path / "mine" / "unlabelled")
    spec = type(data)(name="folder", unlabelled=chain.data.unlabelled)
    assert [open_unlabelled(spec).name(index) for index in range(3)] == ["p7", "p8", "p9"]
    assert all(not path.readlink().is_absolute() for path in (tmp_path / "mine" / "unlabelled").iterdir())


def test_a_folder_per_class_needs_no_table(tmp_path):
    root = class_tree(tmp_path)
    made = start(tmp_path / "mine", root / "images" / "train")
    assert made.facts.classes == ("background", "cat", "dog")
    data = build_recipe(str(made.file)).data
    names = [open_tagged(data, "train").name(index) for index in range(made.facts.train)]
    assert all("/" in name for name in names)


@pytest.mark.parametrize("given", ["masks", "tags"])
def test_images_in_other_folders_with_masks_or_a_table_are_refused(given, tmp_path):
    for number in range(3):
        save(tmp_path / "photos" / "a" / f"{number}.png", picture(number))
        save(tmp_path / "drawn" / "a" / f"{number}.png", label(number))
    tags = table(tmp_path, [f"{number},tree" for number in range(3)])
    other = {"masks": tmp_path / "drawn"} if given == "masks" else {"tags": tags}
    with pytest.raises(ValueError, match=r"lie in folders of .*photos \(a\), expected them in .* itself"):
        start(tmp_path / "mine", tmp_path / "photos", classes=CLASSES, **other)


def test_split_folders_are_kept(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            save(tmp_path / "photos" / split / f"{split}{number}.png", picture(number))
            save(tmp_path / "drawn" / split / f"{split}{number}.png", label(number))
    made = start(tmp_path / "mine", tmp_path / "photos", masks=tmp_path / "drawn", classes=CLASSES)
    assert (made.facts.train, made.facts.val) == (3, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "without tags, masks or a folder per class"),
        ({"masks": "drawn"}, "expected at least 3 names in the order of the values: pass --classes"),
        ({"masks": "drawn", "classes": ("a", "b")}, "hold the value 2 and there are 2 classes"),
        ({"tags": "mine.csv", "classes": ("background", "cat")}, "none of the classes"),
        ({"tags": "gone.csv"}, "does not exist"),
        ({"masks": "photos", "classes": CLASSES}, "holds no mask of an image"),
        ({"images": "photos/p0.jpg"}, r"p0\.jpg is a file, expected a folder: correct --images"),
        ({"masks": "mine.csv"}, r"mine\.csv is a file, expected a folder: correct --masks"),
        ({"tags": "photos"}, "photos is a folder, expected a table: correct --tags"),
        ({"tags": "other.csv"}, r"'shots/p0\.jpg', .* is the name of none of the 10 in .*photos, .* such as 'p0\.jpg'"),
        ({"tags": "mine.csv", "images": "twice"}, r"p0\.png: has the same name as p0\.jpg, expected names that differ"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_written(given, words, tmp_path):
    images, _ = photos(tmp_path)
    table(tmp_path, [f"p{number},{'cat' if number else 'bird'}" for number in range(10)])
    (tmp_path / "other.csv").write_text("".join(f"shots/p{number}.jpg,cat\n" for number in range(10)))
    shutil.copytree(images, tmp_path / "twice")
    save(tmp_path / "twice" / "p0.png", picture(0))
    before = sorted(path.name for path in tmp_path.iterdir())
    given = {name: tmp_path / value if name != "classes" else value for name, value in given.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        start(tmp_path / "mine", **{"images": images} | given)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_nothing_is_overwritten_without_force(tmp_path):
    images, masks = photos(tmp_path)
    made = start(tmp_path / "mine", images, masks=masks, classes=CLASSES)
    made.file.write_text("# mine now")
    with pytest.raises(FileExistsError, match=r"holds recipe.py, .*pass --force"):
        start(tmp_path / "mine", images, masks=masks, classes=CLASSES)
    assert made.file.read_text() == "# mine now"
    start(tmp_path / "mine", images, masks=masks, classes=CLASSES, force=True)
    assert "def chain" in made.file.read_text()


def test_the_recipe_follows_the_machine(tmp_path):
    images, masks = photos(tmp_path)
    facts = start(tmp_path / "mine", images, masks=masks, classes=CLASSES).facts
    from dataclasses import replace

    gpu = recipe_text(replace(facts, machine=Machine(16, 128, "a GPU", 80), height=1080, width=1920))
    cpu = recipe_text(replace(facts, machine=Machine(2, 8, None, 0), height=1080, width=1920))
    assert "resnet101" in gpu
    assert "crop=(512, 512)" in gpu
    assert "resnet101" not in cpu
    assert "longest_side=320" in cpu
    for text in (gpu, cpu):
        compile(text, "recipe.py", "exec")


def test_a_recipe_file_without_the_function_says_so(tmp_path):
    (tmp_path / "a.py").write_text("def chain():\n    return 3\n")
    with pytest.raises(ValueError, match=r"has no function recipe\(\); if it has another, try segstill chain"):
        build_recipe(str(tmp_path / "a.py"))
    with pytest.raises(ValueError, match="returned a int, expected a Chain"):
        build_chain(str(tmp_path / "a.py"))
    (tmp_path / "b.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(ValueError, match="could not be used as a recipe: ModuleNotFoundError"):
        build_chain(str(tmp_path / "b.py"))


def test_the_table_of_the_other_tests_is_understood(tmp_path):
    from .data.tag_trees import folder_tree

    root = folder_tree(tmp_path / "tree")
    (tmp_path / "tags.csv").write_text(TABLE)
    made = start(tmp_path / "mine", root / "images", tags=tmp_path / "tags.csv")
    assert (made.facts.train, made.facts.val) == (4, 2)


def odd_photos(root):
    """Ten photographs as people have them, and two that are damaged; masks at the size that is looked at."""
    images, masks = photos(root)
    picture_of = {
        "p0": Image.fromarray(picture(0)).convert("L"),
        "p1": Image.fromarray(picture(1)).convert("CMYK"),
        "p2": Image.fromarray(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80),
        "p3": Image.fromarray(picture(3)).convert("RGBA"),
        "p4": Image.new("RGB", (1, 1), (200, 30, 30)),
    }
    for name, image in picture_of.items():
        (images / f"{name}.jpg").unlink()
        image.save(images / f"{name}{'.jpg' if image.mode in ('L', 'CMYK') else '.png'}")
    save(masks / "p4.png", label(4, 1, 1, classes=1)[:1])
    turned = Image.fromarray(picture(5))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(images / "p5.jpg", exif=exif)
    save(masks / "p5.png", label(5, 32, 24))
    whole = (images / "p6.jpg").read_bytes()
    (images / "p6.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "p7.jpg").write_bytes(b"")
    return images, masks


@pytest.mark.parametrize("kind", ["masks", "tags", "a folder per class"])
def test_odd_images_are_read_and_damaged_ones_are_named_and_left_out(kind, tmp_path):
    images, masks = odd_photos(tmp_path)
    rows = [f"p{number},{'cat' if number % 2 else 'dog;cat'}" for number in range(10)]
    given = {"masks": {"masks": masks, "classes": CLASSES}, "tags": {"tags": table(tmp_path, rows)}}.get(kind, {})
    if kind == "a folder per class":
        for number, path in enumerate(sorted(images.iterdir())):
            (tmp_path / "kinds" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / "kinds" / "ab"[number % 2] / path.name)
        images = tmp_path / "kinds"
    made = start(tmp_path / "mine", images, **given)
    told = [sentence for sentence in made.said if "does not decode and is left out" in sentence]
    assert [name in " ".join(told) for name in ("p6.jpg", "p7.jpg", "p1.jpg")] == [True, True, False]
    assert made.facts.train + made.facts.val == 8
    assert made.facts.unlabelled == 0
    data = build_recipe(str(made.file)).data
    for split in ("train", "val"):
        dataset = open_dataset(data, split) if kind == "masks" else open_tagged(data, split)
        for index in range(len(dataset)):
            assert dataset.image(index).shape[0] == 3


def test_a_photograph_that_lies_on_its_side_counts_as_it_is_looked_at(tmp_path):
    turned = Image.fromarray(picture(0))
    exif = turned.getexif()
    exif[0x0112] = 6
    (tmp_path / "photos").mkdir()
    for number in range(2):
        turned.save(tmp_path / "photos" / f"{number}.jpg", exif=exif)
    facts = start(tmp_path / "mine", tmp_path / "photos", tags=table(tmp_path, ["0,cat", "1,cat"])).facts
    assert (facts.width, facts.height) == (24, 32)


def test_a_file_of_weights_brings_its_normalisation_to_every_network(tmp_path):
    images, _ = photos(tmp_path)
    tags = table(tmp_path, [f"p{number},cat" for number in range(10)])
    with pytest.raises(FileNotFoundError, match=r"no file of weights .*gone\.pth: correct --weights"):
        start(tmp_path / "mine", images, tags=tags, weights=str(tmp_path / "gone.pth"))
    (tmp_path / "there.pth").touch()
    half = (0.5, 0.5, 0.5)
    made = start(tmp_path / "mine", images, tags=tags, weights=str(tmp_path / "there.pth"), mean=half, std=half)
    chain = build_chain(str(made.file))
    for stage in filter(None, (chain.classifier, chain.affinity, chain.teacher, chain.student)):
        assert (stage.student.mean, stage.student.std) == (half, half)
        assert stage.student.weights == (None if stage is chain.affinity else str(tmp_path / "there.pth"))
