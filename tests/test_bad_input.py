"""Mistakes and mishaps, as a user meets them: a sentence that says what to do, exit code 2, nothing half-written."""

import json

import numpy as np
import pytest
import safetensors.torch

from segstill.checkpoint import read_about, read_weights
from segstill.cli import main
from segstill.data.camvid import CLASSES
from segstill.recipe import DataSpec, to_json
from segstill.run import read_log, read_recipe
from segstill.train import train

from .data.trees import camvid_tree, picture, save
from .disk import room_for
from .helpers import small_recipe


def run(capsys, *args: object) -> str:
    """Run a command that must fail as the user's mistake, and return the sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main([str(arg) for arg in args])
    shown = capsys.readouterr()
    assert exit_.value.code == 2
    assert "Traceback" not in shown.out + shown.err
    return " ".join(shown.err.split())


def camvid_recipe(method: str = "cross_entropy", **changes: object):
    data = DataSpec(name="camvid", crop=(24, 32), scale=(1.0, 1.0), workers=0)
    return small_recipe(method, **{"data": data, "epochs": 1, **changes})


@pytest.fixture
def recipe(tmp_path):
    """The file of a recipe on CamVid; what it writes goes to the folder "run" beside it."""
    file = tmp_path / "mine.json"
    file.write_text(to_json(camvid_recipe()))
    return file


@pytest.fixture
def root(tmp_path):
    return camvid_tree(tmp_path / "camvid")


def start(recipe, root, *more: object) -> list[object]:
    return ["train", recipe, "--data.root", root, "--run", recipe.parent / "run", *more]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train demo_at --epochs 0", "epochs is 0, expected more than 0: pass another --epochs"),
        ("chain demo --student.lr 0", "student: lr is 0.0, expected more than 0: pass another --student.lr"),
        (
            "chain demo --seeds.scales 0",
            "seeds: scales are (0.0,), expected factors above 0: pass for example --seeds.",
        ),
    ],
)
def test_a_number_that_cannot_be_is_told_in_a_sentence_with_its_flag(command, told, capsys):
    assert run(capsys, *command.split()).startswith(f"segstill: {told}")


def test_a_word_in_the_place_of_a_number_is_told_with_what_its_flag_is_for(capsys):
    said = run(capsys, "export", "somewhere", "--calibration", "many")
    assert "Error parsing --calibration" in said
    assert "how many images the ranges are measured on" in said


def test_a_wrong_path(recipe, capsys):
    said = run(capsys, *start(recipe, recipe.parent / "nowhere"))
    assert "nowhere" in said
    assert "point --data.root at the folder" in said
    assert not (recipe.parent / "run").exists()


def test_an_empty_folder(recipe, root, capsys):
    (root / "train.txt").unlink()
    for image in (root / "images/train").iterdir():
        image.unlink()
    said = run(capsys, *start(recipe, root))
    assert f"{root / 'images/train'}: holds no file" in said
    assert "put the files there or correct the path" in said
    assert not (recipe.parent / "run").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_mask_with_value_77_for_11_classes(split, recipe, root, capsys):
    mask = np.zeros((24, 32), np.uint8)
    mask[0, :5] = 77
    save(root / f"masks/{split}/{split}_0.png", mask)
    assert len(CLASSES) == 11
    said = run(capsys, *start(recipe, root))
    assert f"{split}_0.png: holds the value 77 (5 pixels), expected 0 to 10 for the 11 classes" in said
    assert "`segstill check` lists every such file" in said
    left = recipe.parent / "run"
    assert not left.exists() or read_log(left)  # the validation split is read after an epoch that is worth keeping
    assert not list(recipe.parent.rglob("*.part"))


def test_an_image_that_does_not_decode(recipe, root, capsys):
    (root / "images/train/train_1.jpg").write_bytes(b"\xff\xd8 no picture")
    said = run(capsys, *start(recipe, root))
    assert "train_1.jpg: does not decode" in said
    assert "replace the file; `segstill check` lists every such file" in said
    assert not (recipe.parent / "run").exists()


def test_a_teacher_with_other_classes_than_the_student(recipe, root, capsys):
    teacher = recipe.parent / "teacher"
    train(small_recipe(epochs=1), teacher, say=lambda sentence: None)
    recipe.write_text(to_json(camvid_recipe("kd")))
    said = run(capsys, *start(recipe, root, "--teacher", teacher))
    assert "'disc'" in said
    assert "'bicyclist'" in said
    assert "choose" in said
    assert not (recipe.parent / "run").exists()


@pytest.mark.parametrize("where", ["flag", "file"])
def test_a_recipe_field_that_does_not_exist(where, recipe, root, capsys):
    if where == "file":
        recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"epoch": 3}))
    said = run(capsys, *start(recipe, root, *(["--epoch", 3] if where == "flag" else [])))
    assert "epochs" in said
    assert not (recipe.parent / "run").exists()


def test_a_tap_that_does_not_exist(recipe, root, capsys):
    teacher = recipe.parent / "teacher"
    train(
        camvid_recipe(data=DataSpec(name="camvid", root=str(root), crop=(24, 32), workers=0)),
        teacher,
        say=lambda sentence: None,
    )
    recipe.write_text(to_json(camvid_recipe("attnfd")))
    said = run(capsys, *start(recipe, root, "--teacher", teacher, "--terms.attnfd.args.taps", "stage9"))
    assert "is to read the taps ['stage9']" in said
    assert "'decoder'" in said
    assert "choose among these" in said
    assert not (recipe.parent / "run").exists()


def test_a_checkpoint_of_another_model(tmp_path, capsys):
    train(small_recipe(epochs=1), tmp_path / "run", say=lambda sentence: None)
    file = tmp_path / "run" / "best.safetensors"
    about = read_about(file)
    about["recipe"] = about["recipe"].replace('"width": 4', '"width": 6')
    metadata = {key: json.dumps(value) for key, value in about.items()}
    safetensors.torch.save_file(read_weights(file), file, metadata)
    for verb in ("evaluate", "report"):
        said = run(capsys, verb, tmp_path / "run")
        assert "best.safetensors belongs to another model" in said
        assert "give the checkpoint of this recipe, or the recipe of this checkpoint" in said


def test_a_disk_that_is_full_while_saving(recipe, root, capsys):
    """The log fits, the first checkpoint does not; with room again, the run goes on as if nothing had happened."""
    command = start(recipe, root, "--epochs", 3)
    with room_for(20_000):
        said = run(capsys, *command)
    folder = recipe.parent / "run"
    assert f"could not write {folder / 'last.safetensors'}: File too large; nothing was left behind. Free some" in said
    assert {path.name for path in folder.iterdir()} == {"recipe.json", "env.json", "log.jsonl", "tensorboard"}
    with pytest.raises(SystemExit) as exit_:
        main([str(arg) for arg in (*command, "--resume")])
    assert not exit_.value.code
    train(read_recipe(folder), recipe.parent / "whole", say=lambda sentence: None)
    curve, expected = (
        [line["total"] for line in read_log(recipe.parent / name) if line["kind"] == "step"]
        for name in ("run", "whole")
    )
    assert curve == expected
    assert len(curve) == 3


def test_a_run_folder_that_exists(recipe, root, capsys):
    (recipe.parent / "run").mkdir()
    (recipe.parent / "run" / "thesis.txt").write_text("years of work")
    said = run(capsys, *start(recipe, root))
    assert "exists already: add --resume to continue that run, or choose another folder with --run" in said
    assert [path.name for path in (recipe.parent / "run").iterdir()] == ["thesis.txt"]


def test_a_teacher_with_as_many_but_other_classes_when_evaluating(tmp_path, capsys):
    for name, classes in (("teacher", ("grass", "mud")), ("student", ("road", "sky"))):
        for split in ("train", "val"):
            save(tmp_path / "data/images" / split / f"{split}.png", picture(0))
            save(tmp_path / "data/masks" / split / f"{split}.png", np.zeros((24, 32), np.uint8))
        data = DataSpec(name="folder", root=str(tmp_path / "data"), classes=classes, crop=(24, 32), workers=0)
        train(camvid_recipe(data=data, batch_size=1), tmp_path / name, say=lambda sentence: None)
    said = run(capsys, "evaluate", tmp_path / "student", "--teacher", tmp_path / "teacher")
    assert "'grass'" in said
    assert "'road'" in said
