"""Seed maps of a classifier, the masks that are written, and their scores."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from segstill.batch import IGNORE
from segstill.cli import main
from segstill.data import open_dataset, open_tagged
from segstill.data.pictures import read_mask
from segstill.data.transforms import shrink
from segstill.localise import Places, evaluate_seeds
from segstill.models import swtformer
from segstill.recipe import DataSpec
from segstill.recipes import RECIPES
from segstill.run import read_log
from segstill.seed_files import write_seeds
from segstill.seeding import SeedSpec, class_maps, masks, refined
from segstill.train import train

from .data.tag_trees import CLASSES, folder_tree


def call(*arguments):
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


ONE_SCALE = SeedSpec(scales=(1.0,))


def weak(version, **data):
    recipe = RECIPES[f"demo_weak_v{version}"]()
    spec = dataclasses.replace(recipe.data, crop=(32, 32), args={"count": 8, "size": (32, 48), "kinds": (1, 3)}, **data)
    args = recipe.student.args | {"embed_dim": 8, "num_heads": (1, 1, 2, 2)}
    student = dataclasses.replace(recipe.student, args=args)
    return dataclasses.replace(recipe, data=spec, student=student, epochs=4, batch_size=4, evaluate_every=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weak") / "run"
    train(weak(2), folder, say=lambda _: None)
    return folder


def classifier(version, classes=4):
    torch.manual_seed(0)
    args = RECIPES["demo_weak_v1"]().student.args | {"embed_dim": 8, "num_heads": (1, 1, 2, 2), "version": version}
    return swtformer(classes, **args).eval()


def test_a_classifier_trains_through_the_usual_loop_and_is_scored_by_its_tags(run):
    steps = [line for line in read_log(run) if line["kind"] == "step"]
    assert set(steps[0]["losses"]) == {"tags", "gsc", "ccl"}
    assert steps[0]["losses"]["gsc"] == 0  # its start lies behind
    assert steps[-1]["losses"]["gsc"] > 0
    scores = json.loads((run / "metrics.json").read_text())["last"]
    assert 0 < scores["class_wise_map"] <= 1
    assert (run / "best.safetensors").is_file()


@pytest.mark.parametrize("version", [1, 2])
def test_maps_are_shares_and_nothing_of_what_no_tag_names(version):
    image = torch.randint(256, (2, 3, 40, 56), dtype=torch.uint8)
    tags = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    maps = class_maps(classifier(version), image, tags, SeedSpec(scales=(1.0, 0.5))).maps
    assert maps.shape == (2, 4, 40, 56)
    assert 0 <= maps.min() <= maps.max() <= 1
    assert not maps[0, 2:].any()
    assert not maps[1, 1].any()


@pytest.mark.parametrize("version", [1, 2])
def test_the_maps_of_the_mirrored_image_are_the_mirrored_maps(version):
    image = torch.randint(256, (1, 3, 32, 64), dtype=torch.uint8)
    model, tags = classifier(version), torch.ones(1, 3)
    there = class_maps(model, image, tags, ONE_SCALE).maps
    back = class_maps(model, image.flip(3), tags, ONE_SCALE).maps.flip(3)
    torch.testing.assert_close(there, back, atol=2e-5, rtol=1e-4)


def test_both_is_the_mean_of_class_maps_and_prototype_maps():
    image, tags = torch.randint(256, (1, 3, 32, 64), dtype=torch.uint8), torch.tensor([[1.0, 0.0, 1.0]])
    made = {
        source: class_maps(classifier(2), image, tags, dataclasses.replace(ONE_SCALE, source=source)).maps
        for source in ("cam", "is-cam", "both")
    }
    torch.testing.assert_close(made["both"], (made["cam"] + made["is-cam"]) / 2)
    torch.testing.assert_close(made["cam"][:, 0], 1 - made["cam"][:, 1:].amax(dim=1))
    assert not torch.equal(made["cam"], made["is-cam"])


def test_the_threshold_of_v1_is_its_background():
    image, tags = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8), torch.ones(1, 3)
    maps = class_maps(classifier(1), image, tags, dataclasses.replace(ONE_SCALE, threshold=0.4)).maps
    assert (maps[:, 0] == 0.4).all()


def test_pixels_without_a_clear_winner_are_left_open():
    scores = torch.tensor([0.6, 0.5, 0.0]).view(1, 3, 1, 1).repeat(1, 1, 2, 2)
    scores[0, 1, 0, 0] = 0.0
    assert masks(scores).unique().tolist() == [0]
    assert masks(scores, band=0.2).tolist() == [[[0, IGNORE], [IGNORE, IGNORE]]]


@pytest.mark.parametrize("refine", [("par",), ("random-walk",), ("random-walk", "par")])
def test_refinements_keep_shares_and_absent_classes_absent(refine):
    image, tags = torch.randint(256, (1, 3, 32, 48), dtype=torch.uint8), torch.tensor([[1.0, 0.0, 1.0]])
    spec = dataclasses.replace(ONE_SCALE, refine=refine)
    scores = refined(image, class_maps(classifier(2), image, tags, spec), spec)
    assert scores.shape == (1, 4, 32, 48)
    assert -1e-5 < scores.min() <= scores.max() < 1 + 1e-5
    assert not scores[:, 2].any()


def test_a_walk_needs_fused_features():
    spec = dataclasses.replace(ONE_SCALE, refine=("random-walk",))
    image, tags = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8), torch.ones(1, 3)
    with pytest.raises(ValueError, match="this classifier is V1: refine by par"):
        refined(image, class_maps(classifier(1), image, tags, spec), spec)


def test_batches_of_one_size_give_the_masks_of_single_images(run, tmp_path):
    from segstill.build import load

    model = load(run / "last.safetensors").model
    dataset = open_tagged(weak(2).data, "train")
    for batch in (1, 3):
        write_seeds(model, dataset, tmp_path / str(batch), ONE_SCALE, batch=batch)
    for file in (tmp_path / "1").glob("*.png"):
        assert file.read_bytes() == (tmp_path / "3" / file.name).read_bytes()


@pytest.mark.parametrize("band", [0.0, 0.1])
def test_a_large_photograph_is_looked_at_as_in_training_and_its_mask_has_its_size(band, tmp_path):
    dataset = open_tagged(DataSpec(name="folder", root=str(folder_tree(tmp_path)), classes=CLASSES), "train")
    model, spec = classifier(2, len(CLASSES)), dataclasses.replace(ONE_SCALE, band=band)
    write_seeds(model, dataset, tmp_path / "small", spec, longest_side=16)
    image, tags = dataset[0][0], dataset.tags(0)
    views = class_maps(model, shrink(image, 16)[None], tags[None], spec)
    expected = masks(F.interpolate(views.maps, (24, 32), mode="bilinear", align_corners=False), band)[0]
    assert image.shape[1:] == (24, 32)
    assert torch.equal(read_mask(tmp_path / "small" / f"{dataset.name(0)}.png", CLASSES), expected)


def test_seeds_are_written_once_and_scored(run, tmp_path, capsys):
    out = tmp_path / "masks"
    command = ["seeds", run, "--out", out, "--scales", "1.0", "--refine", "par", "--soft"]
    assert call(*command) == 0, capsys.readouterr()
    assert len(list(out.glob("*.png"))) == len(list(out.glob("*.safetensors"))) == 8
    assert (out / "overlays.jpg").is_file()
    with Image.open(next(out.glob("*.png"))) as picture:
        assert picture.mode == "P"
    before = {file: file.stat().st_mtime_ns for file in out.glob("*.png")}
    assert call(*command) == 0
    assert "8 were there already" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert call("evaluate", out, "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    truth = open_dataset(weak(2).data, "train")
    right = sum(
        float((read_mask(out / f"{truth.name(i)}.png", truth.classes) == truth[i][1]).sum()) for i in range(len(truth))
    )
    assert scores["pixel_accuracy"] == pytest.approx(right / (8 * 32 * 48))
    assert call(*command[:4], "--scales", "0.5") == 2
    assert "made in another way" in capsys.readouterr().err


def test_the_scores_of_seeds_are_those_of_their_masks(run, capsys):
    assert call("evaluate", run, "--seeds", "--split", "train", "--maps.scales", "1.0", "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["seed_miou"] == scores["fixed_miou"]  # nothing refines here
    assert scores["oracle_miou"] >= scores["label_free_miou"]
    assert scores["images"] == 8
    assert call("evaluate", run, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"class_wise_map", "image_wise_map", "per_class_ap"}


def test_one_bad_file_is_listed_and_the_others_go_on(tmp_path):
    folder_tree(tmp_path / "data")
    spec = DataSpec(name="folder", root=str(tmp_path / "data"), classes=CLASSES)
    dataset = open_tagged(spec, "train")
    dataset.files(0)[0].write_bytes(b"\xff\xd8 cut off")
    written = write_seeds(classifier(1, len(CLASSES)), dataset, tmp_path / "out", ONE_SCALE)
    assert list(written.left_out) == [dataset.name(0)]
    assert "does not decode" in written.left_out[dataset.name(0)]
    assert written.masks == len(dataset) - 1
    assert json.loads((tmp_path / "out" / "seeds.json").read_text())["left_out"] == written.left_out


def test_a_network_that_predicts_masks_is_no_classifier(tmp_path, capsys):
    recipe = RECIPES["demo_student"]()
    data = dataclasses.replace(recipe.data, labelled=None, args={"count": 4, "size": (32, 48)})
    train(dataclasses.replace(recipe, data=data, epochs=1, batch_size=2), tmp_path / "run", say=lambda _: None)
    assert call("seeds", tmp_path / "run", "--out", tmp_path / "masks") == 2
    assert "expected a classifier of image-level labels" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


def test_pointing_and_boxes_on_a_case_done_by_hand():
    truth = torch.zeros(4, 4, dtype=torch.uint8)
    truth[1:3, 1:3] = 1
    truth[0, 3] = 2
    maps = torch.zeros(3, 4, 4)
    maps[1, 1:3, 1:4] = 0.6  # its box is 2 x 3, the true one 2 x 2: IoU 4 / 6
    maps[1, 1, 1] = 1.0  # inside
    maps[2, 3, 0] = 1.0  # far from the class
    places = Places()
    places.update(maps, truth)
    assert places.result() == {"pointing_game": 0.5, "box_localisation": 0.5}


def test_images_that_are_in_one_list_only_are_told(run):
    from segstill.build import load

    model = load(run / "last.safetensors").model
    tagged, other = open_tagged(weak(2).data, "train"), open_dataset(weak(2).data, "val")
    with pytest.raises(ValueError, match="is in both lists"):
        evaluate_seeds(model, tagged, other, ONE_SCALE)
