import pytest
import torch
from torch import Tensor

from segstill.data import Images, evaluation_loader, folder, limit_labels, open_unlabelled, scenes, training_loader
from segstill.data.dataset import SegmentationDataset
from segstill.recipe import DataSpec

from .trees import CLASSES, folder_tree, label, picture, sample, save

SPEC = DataSpec(name="scenes", crop=(40, 48), photometric=0.5, workers=0)


class Numbered(SegmentationDataset):
    """Images whose every pixel says their number."""

    classes = ("a", "b")
    palette = ((0, 0, 0), (255, 255, 255))

    def __init__(self, count: int, masks: bool = True):
        self.count, self.masks = count, masks

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        image = torch.full((3, 8, 8), index, dtype=torch.uint8)
        return image, torch.ones(8, 8, dtype=torch.uint8) if self.masks else None

    def name(self, index: int) -> str:
        return str(index)


def load(labelled=None, unlabelled=None, spec=SPEC, **options):
    labelled = scenes("train", count=7) if labelled is None else labelled
    return list(training_loader(labelled, unlabelled, spec, **({"batch_size": 4, "steps": 5} | options)))


def same(first, second):
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        assert all(a[key].equal(b[key]) for key in a)


def numbers(batches):
    """Which of the `Numbered` images a batch holds."""
    return [batch["image"][:, 0, 4, 4].tolist() for batch in batches]


PLAIN = DataSpec(name="scenes", crop=(8, 8), scale=(1.0, 1.0), workers=0)


def test_a_batch_has_the_declared_types_and_shapes():
    batch = load(unlabelled=scenes("val", count=20), steps=1)[0]
    assert {key: (value.dtype, value.shape) for key, value in batch.items()} == {
        "image": (torch.uint8, (8, 3, 40, 48)),
        "mask": (torch.uint8, (8, 40, 48)),
        "valid": (torch.bool, (8, 40, 48)),
    }


def test_labelled_pixels_are_valid_and_padding_is_not():
    batch = load(spec=DataSpec(name="scenes", crop=(120, 140), scale=(1.0, 1.0), workers=0), steps=1)[0]
    assert batch["valid"].equal(batch["mask"] != 255)
    assert batch["valid"].sum() == 4 * 96 * 128


def test_unlabelled_images_have_no_label_and_are_valid_but_for_the_padding():
    spec = DataSpec(name="scenes", crop=(120, 140), scale=(1.0, 1.0), workers=0)
    batch = load(unlabelled=scenes("val", count=20), spec=spec, steps=1)[0]
    assert (batch["mask"][:4] != 255).any()
    assert (batch["mask"][4:] == 255).all()
    assert (batch["valid"][4:].sum(dim=(1, 2)) == 96 * 128).all()


def test_the_number_of_workers_does_not_change_the_batches():
    two = DataSpec(name="scenes", crop=(40, 48), photometric=0.5, workers=2)
    same(load(), load(spec=two))


def test_a_resumed_run_gets_the_batches_of_an_uninterrupted_one():
    unlabelled = scenes("val", count=12)
    whole = load(unlabelled=unlabelled, steps=6)
    same(load(unlabelled=unlabelled, steps=6, first_step=4), whole[4:])
    assert len(whole) == 6


def test_the_random_state_outside_neither_matters_nor_changes():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load()
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    same(first, load())


def test_another_seed_gives_other_batches():
    assert not load(seed=1)[0]["image"].equal(load(seed=2)[0]["image"])


def test_the_shares_of_two_processes_are_the_batch_of_one():
    unlabelled = scenes("val", count=12)
    one = load(unlabelled=unlabelled)
    shares = [load(unlabelled=unlabelled, rank=rank, world_size=2) for rank in range(2)]
    for whole, first, second in zip(one, *shares, strict=True):
        for key in whole:
            parts = [first[key][:2], second[key][:2], first[key][2:], second[key][2:]]  # labelled, then unlabelled
            assert torch.cat(parts).equal(whole[key])


def test_every_pass_takes_every_image_once_and_drops_none():
    drawn = [number for batch in numbers(load(Numbered(7), spec=PLAIN, steps=7)) for number in batch]
    passes = [drawn[start : start + 7] for start in range(0, 28, 7)]
    assert all(sorted(part) == list(range(7)) for part in passes)
    assert len({tuple(part) for part in passes}) == 4, "each pass has its own order"


def test_a_set_smaller_than_a_batch_is_repeated():
    drawn = numbers(load(Numbered(3), spec=PLAIN, steps=2, batch_size=6))
    assert [sorted(batch) for batch in drawn] == [[0, 0, 1, 1, 2, 2]] * 2


def test_an_image_is_augmented_anew_each_time():
    first, second = load(scenes("train", count=1), steps=2, batch_size=1)
    assert not first["image"].equal(second["image"])


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, 2), (1.0, 4), (2.0, 8), (0.0, 0)])
def test_the_ratio_says_how_many_unlabelled_images_there_are(ratio, expected):
    spec = DataSpec(name="scenes", crop=(8, 8), workers=0, unlabelled_ratio=ratio)
    batch = load(Numbered(5), Numbered(9, masks=False), spec, steps=1)[0]
    assert len(batch["image"]) == 4 + expected
    assert (batch["mask"] == 255).all(dim=(1, 2)).sum() == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 3, "world_size": 2}, "3 labelled images.*2 processes"),
        ({"batch_size": 2, "world_size": 2, "spec": {"unlabelled_ratio": 0.5}}, "1 unlabelled images.*2 processes"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2, "spec": {"unlabelled_ratio": 0.1}}, "none in a batch of 2"),
        ({"spec": {"unlabelled_ratio": -1.0}}, "unlabelled_ratio is -1"),
        ({"labelled": Numbered(0)}, "no labelled training images"),
        ({"unlabelled": Numbered(0)}, "unlabelled images is empty"),
        ({"labelled": Numbered(2, masks=False)}, "image '.' has no mask"),
    ],
)
def test_batches_that_cannot_be_made_are_refused_with_the_reason(options, said):
    options = {"labelled": Numbered(4), "unlabelled": Numbered(4)} | options
    options["spec"] = DataSpec(name="scenes", crop=(8, 8), workers=0, **options.get("spec", {}))
    with pytest.raises(ValueError, match=said):
        load(**options)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])  # torch takes 5 s to end the worker
def test_a_bad_mask_is_named_in_one_sentence_wherever_it_is_read(tmp_path, workers):
    bad = label(0)
    bad[0, 0] = 77
    save(tmp_path / "images/train/a.png", picture(0))
    save(tmp_path / "masks/train/a.png", bad)
    with pytest.raises(ValueError) as error:
        load(folder(tmp_path, "train", classes=CLASSES), spec=DataSpec(name="folder", crop=(8, 8), workers=workers))
    text = str(error.value)
    assert text.startswith(str(tmp_path / "masks/train/a.png"))
    assert "77 (1 pixels), expected 0 to 2 for the 3 classes (ground, tree, house)" in text
    assert text.endswith("`segstill check` lists every such file")
    assert "\n" not in text


def test_evaluation_takes_each_image_once_at_the_size_of_its_label():
    dataset = scenes("val", count=20)
    samples = list(evaluation_loader(dataset, longest_side=64))
    assert [sample["index"] for sample in samples] == list(range(5))
    assert samples[2]["image"].shape == (1, 3, 48, 64)
    assert samples[2]["image"].dtype == torch.uint8
    assert samples[2]["mask"].dtype == torch.uint8
    assert samples[2]["mask"][0].equal(dataset[2][1])


def test_evaluation_may_enlarge_the_images_but_not_the_labels():
    sample = next(iter(evaluation_loader(scenes("val", count=4), short_side=120)))
    assert sample["image"].shape == (1, 3, 120, 160)
    assert sample["mask"].shape == (1, 96, 128)
    with pytest.raises(ValueError, match=r"pass one of --data\.longest-side"):
        evaluation_loader(scenes("val", count=4), short_side=120, longest_side=64)


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_share_the_evaluation_without_gaps_or_repetition(workers):
    shares = [
        [s["index"] for s in evaluation_loader(scenes("val", count=20), workers=workers, rank=rank, world_size=2)]
        for rank in range(2)
    ]
    assert shares == [[0, 2, 4], [1, 3]]


def test_evaluation_needs_masks():
    with pytest.raises(ValueError, match="no mask to compare with"):
        list(evaluation_loader(Numbered(1, masks=False)))


def test_kept_labels_are_evenly_spread_and_the_rest_has_none():
    labelled, rest = limit_labels(Numbered(10), 3)
    assert [labelled[i][0][0, 0, 0].item() for i in range(len(labelled))] == [0, 3, 6]
    assert [rest[i][0][0, 0, 0].item() for i in range(len(rest))] == [1, 2, 4, 5, 7, 8, 9]
    assert all(labelled[i][1] is not None for i in range(3))
    assert all(rest[i][1] is None for i in range(7))
    assert labelled.classes == rest.classes == ("a", "b")
    assert rest.name(2) == "4"


def test_all_labels_are_kept_without_a_limit():
    labelled, rest = limit_labels(Numbered(4), None)
    assert (len(labelled), len(rest)) == (4, 0)


@pytest.mark.parametrize("count", [0, 5, -1])
def test_more_labels_than_there_are_cannot_be_kept(count):
    with pytest.raises(ValueError, match=f"{count} labelled images of 4.*--data.labelled"):
        limit_labels(Numbered(4), count)


def test_unlabelled_images_are_the_rest_and_the_folder(tmp_path):
    folder_tree(tmp_path)
    save(tmp_path / "more/x.jpg", picture(3))
    spec = DataSpec(name="folder", unlabelled=str(tmp_path / "more"))
    _, rest = limit_labels(folder(tmp_path, "train", classes=CLASSES), 1)
    joined = open_unlabelled(spec, rest)
    assert joined is not None
    assert [joined.name(index) for index in range(3)] == ["train1", "train2", "x"]
    assert joined[2][0].equal(Images(tmp_path / "more")[0][0])
    assert joined.files(2) == (tmp_path / "more/x.jpg",)
    assert joined[0][1] is None


def test_there_may_be_no_unlabelled_images():
    labelled, rest = limit_labels(Numbered(4), None)
    assert open_unlabelled(DataSpec(name="scenes"), rest) is None
    assert open_unlabelled(DataSpec(name="scenes", unlabelled_ratio=0.0), labelled) is None


def test_one_image_of_each_kind_trains(tmp_path):
    sample(tmp_path / "images/train", tmp_path / "masks/train", "a", 0)
    spec = DataSpec(name="folder", crop=(64, 64), workers=0)
    data = folder(tmp_path, "train", classes=CLASSES)
    assert load(data, data, spec, batch_size=1, steps=2)[1]["image"].shape == (2, 3, 64, 64)
