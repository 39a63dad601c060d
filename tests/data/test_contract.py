"""What every data set must do, whatever it holds."""

import pickle
import random

import pytest
import torch

from segstill.data import DATASETS, SPLITS, open_dataset
from segstill.recipe import DataSpec

from .coco_tree import coco_tree
from .tag_trees import msrc21_tree
from .trees import CLASSES, ade20k_tree, camvid_tree, cityscapes_tree, folder_tree, voc_tree

TREES = {
    "ade20k": ade20k_tree,
    "camvid": camvid_tree,
    "cityscapes": cityscapes_tree,
    "coco": coco_tree,
    "folder": folder_tree,
    "msrc21": msrc21_tree,
    "voc": voc_tree,
}


@pytest.fixture(params=sorted(DATASETS))
def spec(request, tmp_path):
    name = request.param
    if name not in TREES:
        return DataSpec(name=name, args={"count": 8})
    return DataSpec(name=name, root=str(TREES[name](tmp_path)), classes=CLASSES if name == "folder" else ())


@pytest.fixture
def dataset(spec):
    return open_dataset(spec, "train")


def test_a_sample_is_a_uint8_image_and_a_uint8_mask_of_its_size(dataset):
    for index in range(len(dataset)):
        image, mask = dataset[index]
        assert image.dtype == torch.uint8
        assert image.shape[0] == 3
        assert mask.dtype == torch.uint8
        assert mask.shape == image.shape[1:]


def test_masks_hold_classes_or_255(dataset):
    values = torch.cat([dataset[index][1].unique() for index in range(len(dataset))]).unique().tolist()
    assert len(values) > 2
    assert set(values) <= {*range(len(dataset.classes)), 255}


def test_there_is_a_different_colour_for_every_class(dataset):
    assert len(set(dataset.classes)) == len(set(dataset.palette)) == len(dataset.classes) == len(dataset.palette)
    assert all(0 <= channel <= 255 for colour in dataset.palette for channel in colour)


def test_the_same_number_gives_the_same_sample_in_any_order_and_whatever_the_random_state(spec, dataset):
    first = [dataset[index] for index in range(len(dataset))]
    torch.manual_seed(99)
    random.seed(99)
    again = open_dataset(spec, "train")
    for index in reversed(range(len(again))):
        assert all(a.equal(b) for a, b in zip(again[index], first[index], strict=True))


def test_names_tell_the_samples_apart(dataset):
    assert len({dataset.name(index) for index in range(len(dataset))}) == len(dataset)


def test_files_exist(dataset):
    assert all(path.is_file() for index in range(len(dataset)) for path in dataset.files(index))


def test_splits_share_no_image(spec):
    train, val = (open_dataset(spec, split) for split in ("train", "val"))
    assert {train[i][0].numpy().tobytes() for i in range(len(train))}.isdisjoint(
        val[i][0].numpy().tobytes() for i in range(len(val))
    )


def test_it_travels_to_worker_processes(dataset):
    assert pickle.loads(pickle.dumps(dataset))[0][0].equal(dataset[0][0])


def test_an_unknown_split_names_the_known_ones(spec):
    with pytest.raises(ValueError, match=r"validation.*train.*val.*test"):
        open_dataset(spec, "validation")
    assert SPLITS == ("train", "val", "test")


def test_an_unknown_argument_names_the_nearest(spec):
    wrong = DataSpec(name=spec.name, root=spec.root, classes=spec.classes, args={"imagse": "x"})
    with pytest.raises(ValueError, match="has no argument 'imagse'"):
        open_dataset(wrong, "train")


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(ValueError, match=r"'camvit'.*camvid"):
        open_dataset(DataSpec(name="camvit"), "train")


@pytest.mark.parametrize("name", sorted(TREES))
def test_data_sets_of_files_ask_for_their_folder(name):
    with pytest.raises(ValueError, match=r"--data\.root"):
        open_dataset(DataSpec(name=name, classes=CLASSES if name == "folder" else ()), "train")


def test_a_folder_asks_for_its_classes(tmp_path):
    with pytest.raises(ValueError, match=r"--data\.classes"):
        open_dataset(DataSpec(name="folder", root=str(folder_tree(tmp_path))), "train")


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_wrong_path_is_a_missing_file(name, tmp_path):
    spec = DataSpec(name=name, root=str(tmp_path / "nowhere"), classes=CLASSES if name == "folder" else ())
    with pytest.raises(FileNotFoundError, match=r"nowhere.*--data\.root"):
        open_dataset(spec, "train")


def test_classes_for_a_data_set_that_has_its_own_are_refused():
    with pytest.raises(ValueError, match="has its own classes"):
        open_dataset(DataSpec(name="scenes", classes=("a", "b")), "train")


@pytest.mark.parametrize(
    "args", [{"count": "many"}, {"count": 0}, {"size": (8, 8)}, {"size": ("a", "b")}, {"seed": -1}]
)
def test_an_argument_of_a_wrong_type_or_range_is_named(args):
    with pytest.raises(ValueError, match=next(iter(args))):
        open_dataset(DataSpec(name="scenes", args=args), "train")
