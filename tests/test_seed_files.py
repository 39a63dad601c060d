"""Masks of seeds as files: of odd pictures, of large ones, and never of other images or weights than they say."""

import dataclasses
import shutil

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from segstill.checkpoint import read_weights
from segstill.data import Masked, open_tagged
from segstill.data.pictures import png, read_mask
from segstill.localise import evaluate_seeds
from segstill.recipe import DataSpec
from segstill.seed_files import write_seeds
from segstill.seed_masks import load_classifier, same_classes, write_sheet
from segstill.train import train

from .data.tag_trees import CLASSES, folder_tree
from .test_seeding import ONE_SCALE, call, classifier, weak


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weak") / "run"
    train(dataclasses.replace(weak(2), epochs=1), folder, say=lambda _: None)
    return folder


def test_evaluation_scores_the_masks_that_are_written_of_large_photographs_too(tmp_path):
    root = folder_tree(tmp_path / "data")
    dataset = open_tagged(DataSpec(name="folder", root=str(root), classes=CLASSES), "train")
    model, seen = classifier(2, len(CLASSES)), {}
    write_seeds(model, dataset, tmp_path / "masks", ONE_SCALE, longest_side=16)
    for index in range(len(dataset)):
        (tmp_path / "true").mkdir(exist_ok=True)
        size = dataset[index][0].shape[1:]
        (tmp_path / "true" / f"{dataset.name(index)}.png").write_bytes(
            png(torch.ones(size, dtype=torch.uint8), dataset.palette)
        )
    truth = Masked(dataset, tmp_path / "true")
    evaluate_seeds(model, dataset, truth, ONE_SCALE, longest_side=16, each=seen.__setitem__)
    assert len(seen) == len(dataset)
    for index, mask in seen.items():
        assert torch.equal(mask, read_mask(tmp_path / "masks" / f"{dataset.name(index)}.png", CLASSES))


def odd_pictures(folder):
    """Pictures as cameras and scanners make them, and two that are hardly any."""
    noise = torch.randint(0, 255, (24, 32, 3), generator=torch.manual_seed(0), dtype=torch.uint8).numpy()
    colour = Image.fromarray(noise)
    turned = colour.getexif()
    turned[0x112] = 6
    colour.convert("L").save(folder / "gray.jpg")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(noise[:, :, 0].astype("uint16") * 257).save(folder / "deep.png")
    colour.save(folder / "turned.jpg", exif=turned)
    colour.crop((0, 0, 1, 1)).save(folder / "one.png")
    Image.new("RGB", (1, 1000)).save(folder / "strip.png")
    colour.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:300])
    names = ("gray.jpg", "cmyk.jpg", "deep.png", "turned.jpg", "one.png", "strip.png", "cut.jpg")
    return dict.fromkeys(names, CLASSES[1])


def test_odd_pictures_have_masks_of_their_sizes_and_a_damaged_one_is_listed(tmp_path):
    (tmp_path / "images").mkdir()
    tags = odd_pictures(tmp_path / "images")
    (tmp_path / "tags.csv").write_text("image,tags\n" + "".join(f"{name},{tag}\n" for name, tag in tags.items()))
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text("".join(f"{name.partition('.')[0]}\n" for name in tags))
    dataset = open_tagged(DataSpec(name="folder", root=str(tmp_path), classes=CLASSES), "train")
    spec = dataclasses.replace(ONE_SCALE, refine=("random-walk", "par"))
    written = write_seeds(classifier(2, len(CLASSES)), dataset, tmp_path / "out", spec)
    assert list(written.left_out) == ["cut"]
    sizes = {}
    for file in (tmp_path / "out").glob("*.png"):
        with Image.open(file) as picture:
            sizes[file.stem] = picture.size
    plain = (32, 24)
    assert sizes.pop("turned") == (24, 32)
    assert sizes == {"gray": plain, "cmyk": plain, "deep": plain, "one": (1, 1), "strip": (1, 1000)}
    write_sheet(dataset, tmp_path / "out", 8)
    assert (tmp_path / "out" / "overlays.jpg").is_file()


def test_masks_of_other_images_tags_or_weights_are_not_taken_for_those_of_now(run, tmp_path, capsys):
    root = folder_tree(tmp_path / "data")
    dataset = open_tagged(DataSpec(name="folder", root=str(root), classes=CLASSES), "train")
    model, out = classifier(1, len(CLASSES)), tmp_path / "out"
    write_seeds(model, dataset, out, ONE_SCALE)
    assert write_seeds(model, dataset, out, ONE_SCALE).there_already == len(dataset)
    before = {file: file.read_bytes() for file in out.glob("*.png")}
    Image.new("RGB", (32, 24), (1, 2, 3)).save(dataset.files(0)[0])
    with pytest.raises(ValueError, match=rf"masks of 1 images that were replaced.*{dataset.name(0)}.*delete"):
        write_seeds(model, dataset, out, ONE_SCALE)
    assert {file: file.read_bytes() for file in out.glob("*.png")} == before
    (out / f"{dataset.name(0)}.png").unlink()
    assert write_seeds(model, dataset, out, ONE_SCALE).masks == 1
    again = tmp_path / "run"
    shutil.copytree(run, again)
    command = ["seeds", again, "--out", tmp_path / "masks", "--scales", "1.0"]
    assert call(*command) == 0
    tensors = read_weights(again / "last.safetensors")
    with safe_open(again / "last.safetensors", framework="pt") as file:
        about = file.metadata()
    save_file({name: value * 1.01 for name, value in tensors.items()}, again / "last.safetensors", metadata=about)
    capsys.readouterr()
    assert call(*command) == 2
    assert "classifier_content" in capsys.readouterr().err


def test_a_classifier_of_other_classes_is_refused(run):
    saved, _ = load_classifier(run)
    with pytest.raises(
        ValueError, match=r"knows 8 classes, the data 2, and \[.*'cat'.*give the data that it was trained"
    ):
        same_classes(saved, ("background", "cat"))
