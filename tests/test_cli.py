"""The command line: verbs, flags, exit codes, and sentences for mistakes."""

import json
import subprocess
import sys

import pytest

from segstill.cli import main
from segstill.recipe import from_json, to_json
from segstill.recipes import RECIPES
from segstill.run import read_recipe

from .conftest import CAMVID, needs_camvid
from .data.trees import folder_tree, picture, save, voc_tree
from .helpers import small_recipe


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(args))
    return exit_.value.code or 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A teacher and a student taught by it, trained through the command line."""
    folder = tmp_path_factory.mktemp("cli")
    for method in ("cross_entropy", "attnfd"):
        (folder / f"{method}.json").write_text(to_json(small_recipe(method)))
    assert run("train", str(folder / "cross_entropy.json"), "--run", str(folder / "teacher")) == 0
    student = [
        "train",
        str(folder / "attnfd.json"),
        "--run",
        str(folder / "student"),
        "--teacher",
        str(folder / "teacher"),
    ]
    assert run(*student, "--epochs", "1", "--terms.attnfd.weight", "3.5", "--seed", "4") == 0
    return folder


def test_flags_change_the_recipe(trained):
    recipe = read_recipe(trained / "student")
    assert (recipe.epochs, recipe.seed, recipe.terms["attnfd"].weight) == (1, 4, 3.5)
    assert recipe.teacher == str(trained / "teacher")


def test_flags_reach_arguments_that_the_recipe_does_not_set(trained):
    student = ["train", str(trained / "attnfd.json"), "--run", str(trained / "other"), "--epochs", "1"]
    student += ["--teacher", str(trained / "teacher"), "--terms.attnfd.args.teacher_attention", "random"]
    assert run(*student, "--student.args.width", "6", "--terms.attnfd.args.taps", "decoder") == 0
    recipe = read_recipe(trained / "other")
    assert recipe.terms["attnfd"].args == {"taps": ("decoder",), "teacher_attention": "random"}
    assert recipe.student.args["width"] == 6


def test_a_teacher_may_be_a_plain_file_of_weights_if_its_network_is_named(trained):
    from safetensors.torch import save_file

    from segstill.checkpoint import read_weights

    save_file(read_weights(trained / "teacher" / "best.safetensors"), trained / "plain.safetensors")
    student = ["train", str(trained / "attnfd.json"), "--run", str(trained / "plain"), "--epochs", "1"]
    student += ["--teacher", str(trained / "plain.safetensors")]
    assert run(*student) == 2
    named = ["--teacher-model.name", "tiny", "--teacher-model.args.width", "4", "--teacher-model.args.norm", "group"]
    assert run(*student, *named) == 0


def test_evaluate_prints_one_json_object_and_nothing_else(trained, capsys):
    capsys.readouterr()
    assert run("evaluate", str(trained / "student"), "--split", "test", "--json", "--workers", "0") == 0
    scores = json.loads(capsys.readouterr().out)
    for name in (
        "miou",
        "pixel_accuracy",
        "class_accuracy",
        "frequency_weighted_iou",
        "boundary_f1",
        "teacher_agreement",
    ):
        assert 0 <= scores[name] <= 1
    assert "disc" in scores["per_class_iou"]


def test_evaluate_shows_a_table_and_averages_views(trained, capsys):
    capsys.readouterr()
    views = ["--scales", "0.75", "1.0", "--flip", "--workers", "0"]
    assert run("evaluate", str(trained / "student" / "best.safetensors"), *views) == 0
    assert "IoU disc" in capsys.readouterr().out


def test_report_writes_a_page_and_prints_its_table(trained, capsys):
    page = trained / "page.html"
    assert run("report", str(trained / "student"), "--out", str(page), "--examples", "2") == 0
    shown = capsys.readouterr().out
    assert "teacher" in shown
    assert "student" in shown
    text = page.read_text()
    assert text.count("<img") >= 6
    assert "attention" in text.lower()


def test_show_prints_a_recipe_that_can_be_read_back(capsys):
    assert run("show", "camvid_small_aicsd") == 0
    assert from_json(capsys.readouterr().out) == RECIPES["camvid_small_aicsd"]()


def test_list_names_everything(capsys):
    assert run("list") == 0
    shown = capsys.readouterr().out
    assert all(
        name in shown
        for name in ("icsd", "deeplabv3plus", "camvid_small", "attnfd", "voc_teacher", "cirkd_memory", "ade20k")
    )


@needs_camvid
def test_check_finds_nothing_wrong_with_camvid(capsys):
    assert run("check", str(CAMVID)) == 0
    assert "367" in capsys.readouterr().out


def test_check_takes_the_arguments_of_a_data_set_and_reads_the_unlabelled_images(tmp_path, capsys):
    root = voc_tree(tmp_path / "voc")
    save(tmp_path / "more/a.jpg", picture(900))
    (tmp_path / "more/b.jpg").write_bytes(b"nothing")
    assert run("check", "voc", "--data.root", str(root), "--data.args.train", "trainval") == 0
    assert "train: 5 images" in capsys.readouterr().out
    assert run("check", str(root), "--data.unlabelled", str(tmp_path / "more")) == 2
    shown = capsys.readouterr().out
    assert "unlabelled: 1 images" in shown
    assert f"{tmp_path / 'more/b.jpg'}: does not decode" in shown


def test_check_refuses_class_names_that_occur_twice(tmp_path, capsys):
    assert run("check", str(folder_tree(tmp_path)), "--data.classes", "a", "b", "a") == 2
    assert "classes hold ['a'] more than once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], "did you mean one of ['train']"),
        (["train", "demo_kdd"], "did you mean one of ['demo_kd'"),
        (["train", "demo_kd", "--run", "{tmp}/run"], "give one (--teacher RUN|FILE)"),
        (["train", "demo_kd", "--teacher", "{tmp}/gone", "--run", "{tmp}/run"], "no run folder or checkpoint"),
        (["train", "demo_student", "--epochs", "0"], "epochs is 0"),
        (["train", "demo_student", "--resume", "--run", "{tmp}/run"], "there is no run in"),
        (["train", "demo_student", "--student.weights", "{tmp}/gone.pth", "--run", "{tmp}/run"], "gone.pth"),
        (["train", "camvid_small_student", "--run", "{tmp}/run"], "--data.root"),
        (["train", "camvid_small_student", "--data.root", "{tmp}/gone", "--run", "{tmp}/run"], "{tmp}/gone"),
        (["evaluate", "{tmp}/gone"], "no run folder or checkpoint"),
        (["report", "{tmp}/gone"], "no run in"),
        (["check", "{tmp}/gone"], "expected a folder or one of"),
        (["show", "demo_"], "did you mean one of"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(args, words, tmp_path, capsys):
    code = run(*(arg.replace("{tmp}", str(tmp_path)) for arg in args))
    error = capsys.readouterr().err
    assert code == 2
    assert words.replace("{tmp}", str(tmp_path)) in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_recipe_field_is_refused(tmp_path, capsys):
    assert run("train", "demo_student", "--epoch", "3", "--run", str(tmp_path / "run")) == 2
    assert "--epochs" in capsys.readouterr().err


def test_the_module_starts_the_command_line():
    done = subprocess.run([sys.executable, "-m", "segstill"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "segstill train" in done.stdout


def test_weights_of_another_network_as_a_checkpoint_are_refused(trained, tmp_path, capsys):
    """A checkpoint whose recipe was edited to another network."""
    from segstill.checkpoint import read_about, read_weights, write

    file = trained / "teacher" / "best.safetensors"
    about = read_about(file)
    wide = about["recipe"].replace('"width": 4', '"width": 6')
    import safetensors.torch

    metadata = {key: json.dumps(value) for key, value in (about | {"recipe": wide}).items()}
    write(tmp_path / "edited.safetensors", safetensors.torch.save(read_weights(file), metadata))
    assert run("evaluate", str(tmp_path / "edited.safetensors")) == 2
    assert "belongs to another model" in capsys.readouterr().err
