"""Masks of the user's own images, from a run and from an exported file."""

import csv
import json
from importlib.util import find_spec

import onnx
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import load_file

from segstill.build import load
from segstill.cli import main
from segstill.data import open_dataset
from segstill.data.pictures import read_image, read_mask
from segstill.export import ExportSpec, export
from segstill.predict import predict
from segstill.predictor import PredictSpec
from segstill.run import read_recipe
from segstill.train import train

from .data.test_sources import film, sound
from .helpers import small_recipe

SIZES = {"a": (32, 48), "b": (40, 48), "deep/c": (32, 48), "d": (33, 47)}


def call(*arguments):
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "run"
    train(small_recipe(epochs=6), folder, say=lambda sentence: None)
    return folder


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("shipped") / "student.onnx"
    export(run, out, ExportSpec(parity=1), say=lambda sentence: None)
    return out


@pytest.fixture
def shots(run, tmp_path):
    """Scenes as pictures of several sizes."""
    dataset = open_dataset(read_recipe(run).data, "val")
    for index, (name, (height, width)) in enumerate(SIZES.items()):
        path = tmp_path / "shots" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(dataset[index % len(dataset)][0].permute(1, 2, 0).numpy())
        picture.resize((width, height)).save(path)
    return tmp_path / "shots"


def masks(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_masks_overlays_maps_and_areas_are_those_of_the_network(run, shots, tmp_path):
    out = tmp_path / "out"
    assert call("predict", run, shots, "--out", out, "--overlays", "--soft", "--rle") == 0
    saved = load(run)
    rows = list(csv.reader((out / "areas.csv").read_text().splitlines()))
    assert rows[0] == ["image", "width", "height", *saved.classes]
    assert [row[0] for row in rows[1:]] == ["a", "b", "d", "deep/c"]  # the order of the folder
    annotated = COCO(out / "rle.json")
    for number, row in enumerate(rows[1:]):
        with torch.no_grad():
            scores = saved.model(read_image(shots / f"{row[0]}.png")[None])[0]
        mask = read_mask(out / f"{row[0]}.png", saved.classes)
        assert torch.equal(mask, scores.argmax(0).to(torch.uint8))
        soft = load_file(out / f"{row[0]}.safetensors")["maps"]
        torch.testing.assert_close(soft.float(), scores.softmax(0), atol=1e-3, rtol=1e-3)
        shares = [float((mask == index).float().mean()) for index in range(len(saved.classes))]
        assert [float(share) for share in row[3:]] == pytest.approx(shares, abs=1e-6)
        with Image.open(out / "overlays" / f"{row[0]}.jpg") as overlay:
            assert overlay.size == (int(row[1]), int(row[2]))
        for found in annotated.loadAnns(annotated.getAnnIds(imgIds=[number + 1])):
            assert (annotated.annToMask(found) == (mask == found["category_id"] - 1).numpy()).all()


def test_a_run_and_its_file_give_the_same_masks(run, file, shots, tmp_path):
    predict(run, [str(shots)], tmp_path / "run", PredictSpec(batch=1))
    predict(file, [str(shots)], tmp_path / "file", PredictSpec(batch=3))
    classes = load(run).classes
    for name in masks(tmp_path / "run"):
        mine, theirs = (read_mask(tmp_path / folder / name, classes) for folder in ("run", "file"))
        assert (mine == theirs).float().mean() > 0.999


def test_what_is_there_is_not_made_again_and_another_models_folder_is_refused(run, file, shots, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(run, [str(shots)], out).masks == 4
    before, areas = masks(out), (out / "areas.csv").read_text()
    (out / "b.png").unlink()
    again = predict(run, [str(shots)], out)
    assert (again.masks, again.there_already) == (1, 3)
    assert masks(out) == before
    assert (out / "areas.csv").read_text() == areas
    assert call("predict", file, shots, "--out", out) == 2
    assert "holds masks of another model" in capsys.readouterr().err
    assert call("predict", run, shots, "--out", out, "--tile", "64", "--overlap", "16") == 2
    assert "made with --tile None" in capsys.readouterr().err
    assert call("predict", run, shots / "deep/c.png", shots / "a.png", "--out", out) == 0
    assert call("predict", run, shots / "deep", "--out", out) == 0
    (shots / "other").mkdir()
    (shots / "other/a.png").write_bytes((shots / "b.png").read_bytes())
    assert call("predict", run, shots / "other", "--out", out) == 2
    assert "holds a.png of" in capsys.readouterr().err
    assert len((out / "areas.csv").read_text().splitlines()) == 6  # of all calls
    assert call("predict", run, shots / "a.png", "--out", shots / "deep") == 2
    assert "holds pictures and no predict.json" in capsys.readouterr().err
    (shots / "a.png").write_bytes((shots / "b.png").read_bytes() + b" ")
    again = predict(run, [str(shots / "a.png"), str(shots / "b.png")], out)
    assert (again.masks, again.there_already) == (1, 1)
    (out / "predict.json").write_text('{"a": 1}')
    assert call("predict", run, shots, "--out", out) == 2
    assert "is not of segstill predict" in capsys.readouterr().err


def test_all_that_was_made_of_a_replaced_file_goes_and_nothing_else(run, shots, tmp_path):
    out = tmp_path / "out"
    film(shots / "drive.mp4", 3)
    (shots / "deep.png").write_bytes((shots / "a.png").read_bytes())  # deep/c.png is no frame of it
    predict(run, [str(shots)], out, PredictSpec(overlays=True, soft=True))
    made = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    assert {"overlays/deep.jpg", "deep.safetensors", "overlays/drive/000002.jpg", "drive/000002.safetensors"} < made
    (shots / "deep.png").write_bytes((shots / "b.png").read_bytes())
    film(shots / "drive.mp4", 2)
    again = predict(run, [str(shots)], out)
    assert (again.masks, again.there_already) == (3, 4)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    stale = {"overlays/deep.jpg", "deep.safetensors", "drive/000002.png"}
    stale |= {
        f"{name}/{index:06d}.{kind}"
        for name, kind in (("overlays/drive", "jpg"), ("drive", "safetensors"))
        for index in range(3)
    }
    assert made - left == stale
    assert "drive/000002" not in (out / "areas.csv").read_text()


def test_bad_files_are_listed_at_the_end_and_the_others_are_made(run, shots, tmp_path, capsys):
    (shots / "b.png").write_bytes(b"\x89PNG cut off")
    sound(shots / "talk.mkv")
    film(shots / "drive.mp4", 3)
    out = tmp_path / "out"
    assert call("predict", run, shots, "--out", out) == 1
    told = capsys.readouterr().err
    assert f"left out {shots / 'b.png'}: does not decode (cannot identify image file); replace the file" in told
    assert "segstill check" not in told  # which looks at data sets
    assert "talk.mkv: holds no video, only sound or text" in told
    assert [*masks(out)] == ["a.png", "d.png", "deep/c.png", *(f"drive/{index:06d}.png" for index in range(3))]
    assert len(json.loads((out / "predict.json").read_text())["left_out"]) == 2
    (out / "a.png").write_bytes(b"\x89PNG cut off")
    assert call("predict", run, shots, "--out", out) == 1
    told = capsys.readouterr().err
    assert f"left out {shots / 'a.png'}: {out / 'a.png'}: does not decode" in told
    assert "remove it, and predict its image again" in told


def test_files_that_would_be_written_as_one_are_told_and_none_is_lost(run, shots, tmp_path, capsys):
    (shots / "a.png").rename(shots / "a.bmp")
    (shots / "a.png").write_bytes((shots / "b.png").read_bytes())
    film(shots / "clip.mp4", 2)
    (shots / "clip").mkdir()
    (shots / "clip/000001.png").write_bytes((shots / "d.png").read_bytes())
    out = tmp_path / "out"
    for made in (5, 0):
        assert call("predict", run, shots, "--out", out) == 1
        told = capsys.readouterr()
        assert f"a.png: would be written as a.png, as {shots / 'a.bmp'} is; rename it" in told.err
        assert f"clip.mp4: would be written as clip/000001.png, as {shots / 'clip/000001.png'} is" in told.err
        assert f"wrote {made} masks" in told.out
    assert read_mask(out / "a.png", load(run).classes).shape == SIZES["a"]  # of the first
    assert [*masks(out)] == ["a.png", "b.png", "clip/000001.png", "d.png", "deep/c.png"]
    assert call("predict", run, shots / "clip.mp4", "--out", out) == 2  # nor is it lost later
    assert "holds clip/000001.png of" in capsys.readouterr().err


def test_a_folder_that_cannot_take_the_masks_is_told(run, shots, tmp_path, capsys):
    (tmp_path / "afile").write_text("notes")
    for out in (tmp_path / "afile", tmp_path / "afile/deep"):
        assert call("predict", run, shots, "--out", out) == 2
        assert f"{tmp_path / 'afile'} is a file, expected a folder for the masks" in capsys.readouterr().err
    assert call("predict", run, shots, "--out", shots) == 2
    assert f"the folder {shots} is --out too" in capsys.readouterr().err
    assert not (shots / "predict.json").exists()


def test_the_folder_of_a_chain_is_told_from_a_run_by_every_verb(run, shots, tmp_path, capsys):
    chain = tmp_path / "mine"
    chain.mkdir()
    (chain / "chain.json").write_text("{}")
    verbs = (["predict", chain, shots], ["evaluate", chain], ["export", chain], ["report", chain], ["taps", chain])
    verbs += (["seeds", chain, "--out", tmp_path / "seeds"],)
    verbs += (["app", chain, "--port", "0"],) if find_spec("gradio") else ()
    assert call("predict", chain, shots) == 2
    assert "it has no student yet; let it train a network first" in capsys.readouterr().err
    (chain / "teacher").symlink_to(run)
    assert call("predict", chain, shots) == 2
    assert f"it has no student yet; give one of its runs ({chain / 'teacher'})" in capsys.readouterr().err
    (chain / "student").symlink_to(run)
    for verb in verbs:
        assert call(*verb) == 2, verb
        told = capsys.readouterr().err
        assert f"{chain} is the folder of a chain, expected a run: give its student, {chain / 'student'}" in told, verb


def test_tiles_of_a_large_image_are_put_together(run, tmp_path):
    picture = torch.randint(256, (70, 200, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(picture.numpy()).resize((400, 140)).save(tmp_path / "large.png")
    predict(run, [str(tmp_path / "large.png")], tmp_path / "whole")
    predict(run, [str(tmp_path / "large.png")], tmp_path / "tiles", PredictSpec(tile=96, overlap=48, soft=True))
    whole, tiles = (read_mask(tmp_path / name / "large.png", load(run).classes) for name in ("whole", "tiles"))
    assert tiles.shape == (140, 400)
    assert (whole == tiles).float().mean() > 0.9  # group norms see a tile, not the image
    assert load_file(tmp_path / "tiles" / "large.safetensors")["maps"].shape[1:] == (140, 400)


def test_a_file_that_returns_classes_gives_the_same_masks_and_no_maps(run, shots, tmp_path, capsys):
    file = tmp_path / "classes.onnx"
    export(run, file, ExportSpec(parity=1, output="classes"), say=lambda sentence: None)
    predict(file, [str(shots)], tmp_path / "file")
    predict(run, [str(shots)], tmp_path / "run")
    assert masks(tmp_path / "file") == masks(tmp_path / "run")
    assert call("predict", file, shots, "--out", tmp_path / "soft", "--soft") == 2
    assert "export it with --output logits" in capsys.readouterr().err
    assert not (tmp_path / "soft").exists()


def test_a_file_of_another_program_is_refused(shots, tmp_path, capsys):
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "other.onnx")
    assert call("predict", tmp_path / "other.onnx", shots, "--out", tmp_path / "out") == 2
    assert "is of another program" in capsys.readouterr().err
    (tmp_path / "torn.onnx").write_bytes(b"no model")
    assert call("predict", tmp_path / "torn.onnx", shots, "--out", tmp_path / "out") == 2
    assert "is no ONNX file that onnxruntime" in capsys.readouterr().err
    assert call("predict", tmp_path / "gone.onnx", shots, "--out", tmp_path / "out") == 2
    assert "segstill export RUN --out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
