"""Image-level labels: what every data set that has them must do, and how each reads them."""

import pickle
import shutil

import pytest
import torch

from segstill.data import TAGGED, open_dataset, open_tagged
from segstill.data.pictures import FileError
from segstill.recipe import DataSpec

from .tag_trees import CLASSES, TREES, annotation, msrc21_tree, voc_tags_tree
from .trees import camvid_tree, label, picture, save, write_lists

TRAIN = [f"2007_00000{n}" for n in range(3)]


@pytest.fixture(params=sorted(TAGGED))
def spec(request, tmp_path):
    name = request.param
    if name not in TREES:
        return DataSpec(name=name, args={"count": 8, "kinds": (1, 3)})
    return DataSpec(name=name, root=str(TREES[name](tmp_path)), classes=CLASSES if name == "folder" else ())


def voc(root, **args):
    return DataSpec(name="voc", root=str(root), args=args)


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def shown(dataset):
    """Class numbers by the image's name."""
    return {
        dataset.name(index): (dataset.tags(index).nonzero().flatten() + 1).tolist() for index in range(len(dataset))
    }


def test_a_sample_is_an_image_without_mask_and_a_tag_per_class_but_the_background(spec):
    for split in ("train", "val"):
        dataset = open_tagged(spec, split)
        assert len(dataset) > 0
        for index in range(len(dataset)):
            image, mask = dataset[index]
            tags = dataset.tags(index)
            assert mask is None
            assert image.dtype == torch.uint8
            assert image.equal(dataset.image(index))
            assert tags.dtype == torch.float32
            assert tags.shape == (len(dataset.classes) - 1,)
            assert set(tags.tolist()) <= {0, 1}
    assert dataset.classes[0] == "background"
    assert len(dataset.classes) == len(dataset.palette)


def test_masks_are_not_missed_and_not_opened(spec, tmp_path):
    """With masks that are damaged, and then with none, images and tags stay the same."""
    before = shown(open_tagged(spec, "train"))
    for damage in (lambda path: path.write_bytes(b"no mask"), lambda path: path.unlink()):
        for folder in ("masks", "SegmentationClass"):
            for path in [*tmp_path.rglob(f"{folder}/**/*.png")]:
                damage(path)
        dataset = open_tagged(spec, "train")
        assert shown(dataset) == before
        assert all(dataset[index][0].shape[0] == 3 for index in range(len(dataset)))
        assert not [path for index in range(len(dataset)) for path in dataset.files(index) if "masks" in path.parts]
    if spec.name not in ("scenes", "folder"):  # drawn, and without masks from the start
        with pytest.raises(FileNotFoundError):
            open_dataset(spec, "train")


def test_it_travels_to_worker_processes(spec):
    dataset = open_tagged(spec, "train")
    assert pickle.loads(pickle.dumps(dataset)).tags(1).equal(dataset.tags(1))


def test_samples_of_a_data_set_with_masks_have_no_tags_and_the_same_names(spec, tmp_path):
    if spec.name == "folder":  # the only one whose tree has no masks
        for path in (tmp_path / "images").rglob("*.*"):
            save(tmp_path / "masks" / path.parent.name / f"{path.stem}.png", label(0))
    masked = open_dataset(spec, "train")
    assert masked.tags(0) is None
    assert names(masked) == names(open_tagged(spec, "train"))


def test_an_unknown_split_names_the_known_ones(spec):
    with pytest.raises(ValueError, match=r"validation.*train.*val.*test"):
        open_tagged(spec, "validation")


def test_a_data_set_without_tags_names_those_that_have_some(tmp_path):
    with pytest.raises(
        ValueError, match=r"'camvid' has no tags, expected one of \['folder', 'msrc21', 'scenes', 'voc'\]"
    ):
        open_tagged(DataSpec(name="camvid", root=str(camvid_tree(tmp_path))), "train")


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_wrong_path_is_a_missing_file(name, tmp_path):
    spec = DataSpec(name=name, root=str(tmp_path / "nowhere"), classes=CLASSES if name == "folder" else ())
    with pytest.raises(FileNotFoundError, match=r"nowhere.*--data\.root"):
        open_tagged(spec, "train")


# --- scenes ---------------------------------------------------------------------------------------------------------


def test_a_scene_is_tagged_with_what_its_mask_would_show():
    for args in ({"count": 12}, {"count": 12, "kinds": (1, 2)}):
        spec = DataSpec(name="scenes", args=args)
        tagged, masked = open_tagged(spec, "train"), open_dataset(spec, "train")
        for index in range(12):
            image, mask = masked[index]
            seen = sorted(set(mask.unique().tolist()) - {0})
            assert (tagged.tags(index).nonzero().flatten() + 1).tolist() == seen
            assert tagged[index][0].equal(image)


def test_a_scene_has_as_many_kinds_as_asked_for():
    dataset = open_tagged(DataSpec(name="scenes", args={"count": 40, "kinds": (2, 3)}), "train")
    counts = [int(dataset.tags(index).sum()) for index in range(40)]
    assert set(counts) == {2, 3}


@pytest.mark.parametrize("kinds", [(0, 2), (3, 2), (1, 8)])
def test_kinds_out_of_range_are_named(kinds):
    with pytest.raises(ValueError, match="kinds is .*from 1 to 7"):
        open_tagged(DataSpec(name="scenes", args={"kinds": kinds}), "train")


# --- MSRC-21 --------------------------------------------------------------------------------------------------------


def test_surroundings_are_background_in_tags_as_in_masks(tmp_path):
    spec = DataSpec(name="msrc21", root=str(msrc21_tree(tmp_path)))
    assert list(shown(open_tagged(spec, "train")).values()) == [list(range(1, 16)), [], [1]]


def test_without_background_there_are_no_tags(tmp_path):
    spec = DataSpec(name="msrc21", root=str(msrc21_tree(tmp_path)), args={"objects": False})
    with pytest.raises(ValueError, match=r"first of its classes is 'building', expected 'background'; .*objects"):
        open_tagged(spec, "train")


# --- VOC ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    return voc_tags_tree(tmp_path)


def top(root):
    return root / "VOCdevkit/VOC2012"


def test_difficult_objects_count_and_parts_of_objects_do_not(root):
    assert list(shown(open_tagged(voc(root), "train")).values()) == [[1, 15], [8], [15]]


def test_the_table_comes_before_the_annotations_and_needs_none(root):
    shutil.rmtree(top(root) / "Annotations")
    rows = [f"{name},x,1,dog,person,from" for name in (*TRAIN, "2008_000000", "2008_000001")]
    (top(root) / "image_labels.csv").write_text("\n".join(["id,split,has_mask,labels,difficult_only,source", *rows]))
    assert shown(open_tagged(voc(root), "train")) == {name: [12] for name in TRAIN}


def test_a_list_may_name_images_without_masks(root):
    save(top(root) / "JPEGImages/2007_000999.jpg", picture(999))
    (top(root) / "Annotations/2007_000999.xml").write_text(annotation({"train": 0}))
    write_lists(top(root) / "ImageSets/Segmentation", {"more": [*TRAIN, "2007_000999"]})
    assert shown(open_tagged(voc(root, train="more"), "train"))["2007_000999"] == [19]
    assert len(open_tagged(voc(root, train="more"), "val")) == 2


def test_trainaug_needs_its_list_and_no_mask(root):
    write_lists(top(root) / "ImageSets/Segmentation", {"trainaug": TRAIN[1:]})
    assert names(open_tagged(voc(root, train="trainaug"), "train")) == TRAIN[1:]
    with pytest.raises(FileNotFoundError, match="SegmentationClassAug: does not exist"):
        open_dataset(voc(root, train="trainaug"), "train")


def test_without_table_and_annotations_both_are_named(root):
    shutil.rmtree(top(root) / "Annotations")
    with pytest.raises(FileNotFoundError, match=r"image_labels\.csv: is not there, nor is .*Annotations"):
        open_tagged(voc(root), "train")


def test_a_missing_annotation_is_named(root):
    (top(root) / f"Annotations/{TRAIN[1]}.xml").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{TRAIN[1]}\.xml: is missing, though .*train\.txt names it"):
        open_tagged(voc(root), "train")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (annotation({"aeroplan": 0}), r"has the tag 'aeroplan' of .*\(did you mean 'aeroplane'\?\)"),
        (annotation({}), "names no class of"),
        ("<annotation><object>", "does not read as an annotation"),
        ("", "does not read as an annotation"),
    ],
)
def test_a_bad_annotation_is_named_when_it_is_read(root, text, said):
    (top(root) / f"Annotations/{TRAIN[1]}.xml").write_text(text)
    dataset = open_tagged(voc(root), "train")
    with pytest.raises(FileError, match=rf"{TRAIN[1]}\.xml: {said}"):
        dataset.tags(1)
    assert dataset.tags(0).sum() == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,classes\na,cat\n", r"has the columns \['id', 'classes'\], expected id and labels"),
        (f"id,labels\n{TRAIN[0]},cat\n{TRAIN[1]},dog\n", rf"{TRAIN[2]}\.jpg: has no tag: .* has no row"),
        (f"id,labels\n{TRAIN[0]},cat\n{TRAIN[0]},dog\n", f"names '{TRAIN[0]}' in lines 2 and 3"),
        (f"id,labels\n{TRAIN[0]}\n", f"names no class of '{TRAIN[0]}' in line 2"),
        ("", "holds no row"),
    ],
)
def test_a_bad_table_is_refused(root, text, said):
    (top(root) / "image_labels.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        open_tagged(voc(root), "train")
