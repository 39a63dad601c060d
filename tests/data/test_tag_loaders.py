"""Batches and single samples of images with tags."""

import numpy as np
import pytest
import torch

from segstill.data import limit_labels, open_tagged, scenes, tag_loader, training_loader
from segstill.data.pictures import FileError
from segstill.recipe import DataSpec

from .tag_trees import CLASSES, folder_tree
from .test_loader import Numbered, numbers, same
from .trees import save

SPEC = DataSpec(name="scenes", crop=(40, 48), photometric=0.5, workers=0)
PLAIN = DataSpec(name="scenes", crop=(8, 8), scale=(1.0, 1.0), workers=0)


class Tagged(Numbered):
    """Images whose every pixel says their number, and whose tag says whether it is even."""

    classes = ("background", "even", "odd")
    palette = ((0, 0, 0), (255, 255, 255), (9, 9, 9))

    def __init__(self, count: int):
        super().__init__(count, masks=False)

    def tags(self, index: int):
        return torch.tensor([index % 2 == 0, index % 2 == 1]).float()


def drawn(split="train", count=7):
    return open_tagged(DataSpec(name="scenes", args={"count": count, "kinds": (1, 3)}), split)


def load(labelled=None, unlabelled=None, spec=SPEC, **options):
    labelled = drawn() if labelled is None else labelled
    return list(training_loader(labelled, unlabelled, spec, **({"batch_size": 4, "steps": 5} | options)))


def test_a_batch_has_tags_and_no_mask():
    batch = load(steps=1)[0]
    assert {key: (value.dtype, value.shape) for key, value in batch.items()} == {
        "image": (torch.uint8, (4, 3, 40, 48)),
        "valid": (torch.bool, (4, 40, 48)),
        "tags": (torch.float32, (4, 7)),
    }


def test_only_the_padding_is_not_valid():
    batch = load(spec=DataSpec(name="scenes", crop=(120, 140), scale=(1.0, 1.0), workers=0), steps=1)[0]
    assert (batch["valid"].sum(dim=(1, 2)) == 96 * 128).all()
    padding = batch["image"].permute(0, 2, 3, 1)[~batch["valid"]]
    assert len(padding.unique(dim=0)) == 1


def test_the_tags_are_those_of_the_image():
    batches = load(Tagged(9), spec=PLAIN, steps=9)
    for batch, drawn_numbers in zip(batches, numbers(batches), strict=True):
        assert batch["tags"][:, 1].tolist() == [number % 2 for number in drawn_numbers]


def test_crops_are_those_of_images_with_masks():
    """The augmentation of image and valid pixels is the same, whatever the label is."""
    masked = load(scenes("train", count=7, kinds=(1, 3)))
    for first, second in zip(load(), masked, strict=True):
        assert first["image"].equal(second["image"])
        assert first["valid"].equal(second["valid"])


def test_batches_depend_on_seed_and_step_only():
    whole = load(steps=6)
    same(load(spec=DataSpec(name="scenes", crop=(40, 48), photometric=0.5, workers=2), steps=6), whole)
    same(load(steps=6, first_step=4), whole[4:])
    shares = [load(steps=6, rank=rank, world_size=2) for rank in range(2)]
    for one, *parts in zip(whole, *shares, strict=True):
        for key in one:
            assert torch.cat([part[key] for part in parts]).equal(one[key])
    assert not load(seed=1)[0]["image"].equal(load(seed=2)[0]["image"])


def test_images_without_tags_share_no_batch_with_them():
    with pytest.raises(ValueError, match=r"images with tags .* leave out --data\.unlabelled"):
        load(Tagged(4), Numbered(4, masks=False), PLAIN)
    without = DataSpec(name="scenes", crop=(8, 8), workers=0, unlabelled_ratio=0.0)
    assert "tags" in load(Tagged(4), Numbered(4, masks=False), without)[0]


def test_fewer_labels_keep_their_tags_and_the_rest_has_none():
    labelled, rest = limit_labels(Tagged(10), 3)
    assert [labelled.tags(index).tolist() for index in range(3)] == [[1, 0], [0, 1], [1, 0]]
    assert rest.tags(0) is None


def test_every_image_is_given_once_whole_with_its_tags():
    dataset = drawn("val", 20)
    samples = list(tag_loader(dataset, longest_side=64))
    assert [sample["index"] for sample in samples] == list(range(5))
    assert samples[2]["image"].shape == (1, 3, 48, 64)
    assert samples[2]["image"].dtype == torch.uint8
    assert samples[2]["tags"].equal(dataset.tags(2)[None])
    assert next(iter(tag_loader(dataset, short_side=120)))["image"].shape == (1, 3, 120, 160)
    assert next(iter(tag_loader(dataset)))["image"][0].equal(dataset[0][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_share_the_images_without_gaps_or_repetition(workers):
    dataset = drawn("val", 20)
    shares = [[s["index"] for s in tag_loader(dataset, workers=workers, rank=rank, world_size=2)] for rank in range(2)]
    assert shares == [[0, 2, 4], [1, 3]]


def test_images_without_tags_and_wrong_sides_are_refused():
    with pytest.raises(ValueError, match="has no tags: open the data set with open_tagged"):
        list(tag_loader(Numbered(1)))
    with pytest.raises(ValueError, match=r"pass one of --data\.longest-side"):
        tag_loader(Tagged(1), short_side=120, longest_side=64)


@pytest.mark.parametrize("workers", [0, 1])
def test_after_a_file_that_cannot_be_read_comes_the_next_image(tmp_path, workers):
    folder_tree(tmp_path)
    (tmp_path / "images/train/b.jpg").write_bytes(b"no picture")
    dataset = open_tagged(DataSpec(name="folder", root=str(tmp_path), classes=CLASSES), "train")
    samples = iter(tag_loader(dataset, workers=workers))
    seen = []
    for _ in range(len(dataset)):
        try:
            seen.append(next(samples)["index"])
        except FileError as error:
            seen.append(str(error).partition(": ")[0])
    assert seen == [0, str(tmp_path / "images/train/b.jpg"), 2, 3]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_the_smallest_images_train(tmp_path, size):
    folder_tree(tmp_path)
    for path in (tmp_path / "images/train").iterdir():
        save(path, np.full((*size, 3), 7, np.uint8))
    dataset = open_tagged(DataSpec(name="folder", root=str(tmp_path), classes=CLASSES), "train")
    spec = DataSpec(name="folder", crop=(16, 16), photometric=1.0, workers=0)
    batch = load(dataset, spec=spec, steps=2)[1]
    assert batch["valid"].flatten(1).any(dim=1).all()
    assert next(iter(tag_loader(dataset, longest_side=64)))["image"].shape == (1, 3, *size)
