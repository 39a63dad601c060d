import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from segstill.data import check, coco
from segstill.data.coco import labels_of
from segstill.data.instances import read_instances
from segstill.data.voc import CLASSES as VOC
from segstill.recipe import DataSpec

from ..conftest import SHARED
from .coco_tree import HEIGHT, IDS, TRAIN, WIDTH, band, box, coco_tree, run_lengths, write_annotations

COMPLETE = Path(os.environ.get("SEGSTILL_COCO", SHARED / "data" / "coco"))
needs_coco = pytest.mark.skipif(
    not COMPLETE.is_dir(), reason=f"needs all of COCO 2017 in {COMPLETE} (or SEGSTILL_COCO)"
)
PERSON, SOFA, CAT, TABLE, TV = (VOC.index(name) for name in ("person", "sofa", "cat", "diningtable", "tvmonitor"))


@pytest.fixture
def root(tmp_path):
    return coco_tree(tmp_path / "coco")


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def errors(root, **args):
    return [p for p in check(DataSpec(name="coco", root=str(root), args=args)) if p.severity == "error"]


def masks(tmp_path, instances, classes="all"):
    """The mask of one image with these instances."""
    name = "000000000001.jpg"
    root = coco_tree(tmp_path / "one", train={name: instances})
    return coco(root, "train", classes=classes)[0][1].numpy()


def drawn(*boxes):
    """What the boxes (class, left, top, right, bottom) give, one above the other."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = label
    return mask


def test_images_with_more_than_1000_labelled_pixels_are_kept(root):
    assert names(coco(root, "train")) == ["000000000009", "000000000030", "000000000036"]
    assert names(coco(root, "val")) == ["000000000139"]
    assert errors(root) == []


def test_the_count_leaves_out_crowds_and_other_classes_and_counts_overlaps_once(tmp_path):
    content = {
        "000000000001.jpg": [("cat", box(0, 0, 40, 25), 0)],  # 1,000
        "000000000002.jpg": [("cat", box(0, 0, 40, 25), 0), ("dog", box(40, 0, 41, 1), 0)],  # 1,001
        "000000000003.jpg": [("cat", box(0, 0, 40, 25), 0), ("dog", box(0, 0, 40, 24), 0)],
        "000000000004.jpg": [("cat", band(0, 48), 1), ("zebra", band(0, 48), 0)],
    }
    assert names(coco(coco_tree(tmp_path, train=content), "train")) == ["000000000002"]


def test_smaller_instances_lie_above_larger_ones_and_crowds_below_all(root):
    mask = coco(root, "train")[0][1]
    expected = drawn((255, 0, 36, 64, 48), (SOFA, 4, 4, 60, 40), (PERSON, 10, 10, 20, 30))
    np.testing.assert_array_equal(mask, expected)


def test_run_lengths_are_read_compressed_or_not_and_crowds_of_other_kinds_are_background(root, tmp_path):
    dataset = coco(root, "train")
    np.testing.assert_array_equal(dataset[1][1], drawn((TABLE, 0, 10, 64, 40)))
    from pycocotools import mask

    packed = mask.frPyObjects(band(10, 40), HEIGHT, WIDTH)
    packed = {"size": packed["size"], "counts": packed["counts"].decode()}
    again = masks(tmp_path, [("dining table", packed, 0)], "voc")
    np.testing.assert_array_equal(again, dataset[1][1])


def test_an_instance_may_have_several_polygons_and_may_be_too_thin_to_draw(tmp_path):
    two = box(0, 0, 10, 10) + box(20, 20, 30, 30) + [[1.0, 1.0, 5.0, 5.0]]
    mask = masks(tmp_path, [("person", two, 0), ("car", [], 0), ("bus", [[3.0, 4.0, 9.0, 4.0]], 0)])
    np.testing.assert_array_equal(mask, drawn((1, 0, 0, 10, 10), (1, 20, 20, 30, 30)))


def test_a_region_that_begins_in_the_first_pixel_is_read(tmp_path):
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[:7, :9] = True
    np.testing.assert_array_equal(masks(tmp_path, [("cat", run_lengths(region), 0)]) > 0, region)


def test_all_classes_keep_all_images(root):
    dataset = coco(root, "train", classes="all")
    assert len(dataset) == len(TRAIN)
    assert len(dataset.classes) == 81
    assert [dataset.classes[n] for n in (0, 1, 12, 80)] == ["background", "person", "stop sign", "toothbrush"]
    mask = dataset[1][1]
    expected = drawn((dataset.classes.index("cat"), 0, 0, 40, 25), (dataset.classes.index("giraffe"), 40, 0, 64, 48))
    np.testing.assert_array_equal(mask, expected)
    assert dataset[3][1].sum() == 0
    assert errors(root, classes="all") == []


def test_every_class_of_voc_has_one_category():
    labels = labels_of("voc")
    assert sorted(labels.values()) == list(range(1, 21))
    assert {name: VOC[number] for name, number in labels.items() if VOC[number] != name} == {
        "airplane": "aeroplane",
        "couch": "sofa",
        "dining table": "diningtable",
        "motorcycle": "motorbike",
        "potted plant": "pottedplant",
        "tv": "tvmonitor",
    }
    assert (IDS["stop sign"], IDS["tv"], IDS["toothbrush"]) == (13, 72, 90)


def test_images_may_lie_in_a_folder_of_their_own(root):
    for split in ("train", "val"):
        (root / "images").mkdir(exist_ok=True)
        (root / f"{split}2017").rename(root / "images" / f"{split}2017")
    assert len(coco(root, "train")) == 3


def test_the_annotations_are_read_once(root, cache, monkeypatch):
    first = [coco(root, "train")[index][1] for index in range(3)]
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(json, "load", lambda stream: pytest.fail("read again"))
    assert all(coco(root, "train")[index][1].equal(first[index]) for index in range(3))


def test_changed_annotations_and_other_classes_are_read_anew(root, cache):
    assert len(coco(root, "train")) == 3
    write_annotations(root / "annotations/instances_train2017.json", {"000000000036.jpg": TRAIN["000000000036.jpg"]})
    assert names(coco(root, "train")) == ["000000000036"]
    assert len(coco(root, "train", classes="all")) == 1
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_cache_is_written_anew_and_one_that_cannot_be_written_does_no_harm(root, cache, monkeypatch):
    coco(root, "train")
    (kept,) = cache.iterdir()
    for damage in (b"", kept.read_bytes()[:300]):
        kept.write_bytes(damage)
        assert len(coco(root, "train")) == 3
        assert kept.stat().st_size > 1000
    (cache / "file").write_text("")
    monkeypatch.setenv("SEGSTILL_CACHE", str(cache / "file" / "below"))
    assert len(coco(root, "train")) == 3


def test_nothing_is_written_beside_the_data(root):
    before = sorted(root.rglob("*"))
    coco(root, "train")
    assert sorted(root.rglob("*")) == before


def test_without_pycocotools_the_error_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match=r"need pycocotools, which is missing: pip install 'segstill\[coco\]'"):
        coco(root, "train")


def test_there_is_no_test_split(root):
    with pytest.raises(ValueError, match="annotations of the test images are not public; use the split val"):
        coco(root, "test")


@pytest.mark.parametrize("gone", ["annotations/instances_val2017.json", "val2017"])
def test_an_archive_that_was_not_extracted_is_named(root, gone):
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(coco(root, "train")) == 3
    with pytest.raises(FileNotFoundError, match=f"{gone}: does not exist; extract the archives"):
        coco(root, "val")
    assert [problem.file for problem in errors(root)] == [path]


def test_an_image_that_was_not_extracted_is_named(root):
    (root / "train2017/000000000030.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"000000000030\.jpg: is missing, though .*instances_train2017\.json"):
        coco(root, "train")
    assert len(errors(root)) == 1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: {}, "does not hold instances in COCO's format .*'categories'"),
        (lambda data: [], "does not hold instances in COCO's format"),
        (
            lambda data: data | {"categories": [{"id": 1, "name": "robot"}], "annotations": []},
            r"COCO 2017 has not: \['robot'\]",
        ),
        (lambda data: data | {"images": data["images"][1:]}, "instances of images that it does not name, 9 the first"),
        (lambda data: with_shape(data, {"counts": [0, 5]}), "no polygons or run lengths in the annotation 900100"),
        (
            lambda data: with_shape(data, {"size": [3, 4], "counts": [12]}),
            r"annotation 900100 \(size \[3, 4\], expected",
        ),
        (lambda data: with_shape(data, [["a"] * 6]), "no polygons or run lengths in the annotation 900100"),
    ],
)
def test_annotations_of_another_format_are_named_by_check_and_at_opening(root, damage, said):
    file = root / "annotations/instances_train2017.json"
    file.write_text(json.dumps(damage(json.loads(file.read_text()))))
    with pytest.raises(ValueError, match=rf"instances_train2017\.json: .*{said}"):
        coco(root, "train")
    assert [problem.file for problem in errors(root)] == [file]


def with_shape(data, shape):
    data["annotations"][0]["segmentation"] = shape
    return data


def test_annotations_cut_off_are_named(root):
    file = root / "annotations/instances_train2017.json"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"instances_train2017\.json: .*JSONDecodeError.*annotations_trainval2017"):
        coco(root, "train")


def test_an_image_of_another_size_than_its_annotations_is_named(root):
    shutil.copy(root / "val2017/000000000139.jpg", root / "train2017/000000000036.jpg")
    from PIL import Image

    Image.new("RGB", (10, 12)).save(root / "train2017/000000000036.jpg")
    with pytest.raises(ValueError, match=r"holds 64 x 48 pixels, but its image .*000000000036\.jpg is 10 x 12"):
        coco(root, "train")[2]


def test_labels_that_are_not_asked_for_are_background(root):
    file = root / "annotations/instances_train2017.json"
    cats = read_instances(file, {"cat": 7}, known=IDS)
    assert set(np.unique(cats.mask("000000000025.jpg"))) == {0, 7}
    assert not cats.mask("000000000009.jpg").any()


@needs_coco
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("split", "count"), [("train", 118287), ("val", 5000)])
def test_the_complete_set_has_the_published_number_of_images(split, count):
    assert len(coco(COMPLETE, split, classes="all")) == count
