"""The real data with tags: as many images per class as their READMEs count."""

import re

import pytest

from segstill.data import examine, open_dataset, open_tagged
from segstill.recipe import DataSpec

from ..conftest import SHARED

VOC, MSRC = SHARED / "data" / "voc_subset", SHARED / "data" / "msrc21"
needs_voc = pytest.mark.skipif(not VOC.is_dir(), reason=f"needs the VOC subset in {VOC}")
needs_msrc = pytest.mark.skipif(not MSRC.is_dir(), reason=f"needs MSRC-21 in {MSRC}")
pytestmark = pytest.mark.data


def voc(train="train"):
    return DataSpec(name="voc", root=str(VOC), args={"train": train})


def msrc(**args):
    return DataSpec(name="msrc21", root=str(MSRC), args=args)


def counted(dataset):
    total = sum(dataset.tags(index) for index in range(len(dataset)))
    return dict(zip(dataset.classes[1:], map(int, total), strict=True))


def from_readme(folder, column):
    """Images per class in a column of the README's table, 0 for train."""
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (\d+) \| (\d+) \| (\d+) \|", (folder / "README.md").read_text(), re.M)
    assert len(rows) >= 20
    return {row[1]: int(row[2 + column]) for row in rows}


@needs_voc
@pytest.mark.parametrize(
    ("train", "split", "images", "columns"),
    [("train", "train", 490, [0]), ("train", "val", 335, [1]), ("train_weak", "train", 912, [0, 2])],
)
def test_the_voc_subset_has_the_tags_that_its_readme_counts(train, split, images, columns):
    dataset = open_tagged(voc(train), split)
    parts = [from_readme(VOC, column) for column in columns]
    assert len(dataset) == images
    assert counted(dataset) == {name: sum(part[name] for part in parts) for name in parts[0]}


@needs_voc
def test_tags_of_the_voc_subset_are_the_classes_in_its_masks():
    tagged, masked = open_tagged(voc(), "val"), open_dataset(voc(), "val")
    for index in range(0, 335, 30):
        seen = sorted(set(masked[index][1].unique().tolist()) - {0, 255})
        assert (tagged.tags(index).nonzero().flatten() + 1).tolist() == seen
        assert tagged.name(index) == masked.name(index)


@needs_voc
def test_images_of_the_voc_subset_without_masks_are_for_tags_only():
    with pytest.raises(
        ValueError, match=r"train_weak\.txt: names 422 images that have no mask, .*; train on their tags"
    ):
        open_dataset(voc("train_weak"), "train")
    assert len(open_dataset(voc("train_weak"), "val")) == 335


@needs_msrc
@pytest.mark.parametrize(("column", "split", "images"), [(0, "train", 276), (1, "val", 59), (2, "test", 166)])
def test_msrc_has_the_images_and_tags_that_its_readme_counts(column, split, images):
    dataset = open_tagged(msrc(), split)
    counts = counted(dataset)
    readme = from_readme(MSRC, column)
    assert len(dataset) == len(open_dataset(msrc(), split)) == images
    assert counts == {name: readme[name] for name in counts}
    assert " ".join(counts) == "cow sheep aeroplane face car bicycle flower sign bird book chair cat dog body boat"


@needs_msrc
def test_tags_of_msrc_are_the_classes_in_its_masks():
    tagged, masked = open_tagged(msrc(), "train"), open_dataset(msrc(), "train")
    whole = open_dataset(msrc(objects=False), "train")
    assert len(whole.classes) == 21
    for index in range(0, 276, 25):
        seen = sorted(set(masked[index][1].unique().tolist()) - {0, 255})
        assert (tagged.tags(index).nonzero().flatten() + 1).tolist() == seen
        assert {whole.classes[number] for number in whole[index][1].unique().tolist() if number != 255} >= {
            masked.classes[number] for number in seen
        }


@needs_voc
@pytest.mark.slow
def test_nothing_is_wrong_with_the_tags_of_the_voc_subset():
    found = examine(voc("train_weak"), tags=True)
    assert [problem for problem in found.problems if problem.severity == "error"] == []
    assert found.splits["train"].images == 912


@needs_msrc
@pytest.mark.slow
def test_the_one_thing_wrong_with_msrc_is_a_picture_that_its_authors_have_twice():
    """One of the test split is in the val split too, under another id."""
    found = examine(msrc(), tags=True)
    assert [problem.file.name for problem in found.problems] == ["1_27_s.jpg"]
    assert "is the same picture as" in found.problems[0].given
    assert found.splits["train"].counts["background"] == 45
