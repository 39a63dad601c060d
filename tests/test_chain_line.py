"""What a chain keeps and shows when it is killed between two writes, when a stage fails, or when its stages change."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from segstill.chain import plan, reached, run_chain
from segstill.chain.alone import alone
from segstill.chain.contents import Contents
from segstill.chain.finishing import export_student
from segstill.chain.line import Line
from segstill.chain.masks import seldom
from segstill.chain.setting import Setting
from segstill.chain_recipe import ExportSpec, Given, SharedData
from segstill.cli.chaining import without
from segstill.data import open_tagged
from segstill.export import ParityError
from segstill.recipe import TermSpec
from segstill.recipes import CHAINS

from .chains import did, on_folder, small_chain
from .data.tag_trees import class_tree

quiet = {"say": lambda sentence: None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("line") / "out"
    run_chain(small_chain(), out, **quiet)
    return out


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_kill_while_a_stage_is_set_aside_costs_no_training(copy, monkeypatch):
    chain = small_chain()
    other = dataclasses.replace(chain, student=dataclasses.replace(chain.student, seed=5))
    save, calls = Line.save, []
    trained = (copy / "student" / "last.safetensors").read_bytes()

    def killed(line):
        calls.append(line)
        raise SystemExit  # all is moved, and nothing of that is written down

    monkeypatch.setattr(Line, "save", killed)
    with pytest.raises(SystemExit):
        run_chain(other, copy, **quiet)
    monkeypatch.setattr(Line, "save", save)
    assert calls
    assert not (copy / "student").exists()
    assert did(other, copy) == ["student"]
    said = []
    run_chain(chain, copy, say=said.append)
    assert not any("step" in sentence for sentence in said)
    assert (copy / "student" / "last.safetensors").read_bytes() == trained


def test_a_file_of_weights_and_its_normalisation_take_the_place_of_a_download_everywhere(tmp_path):
    half = (0.5, 0.5, 0.5)
    data = SharedData(root=str(class_tree(tmp_path / "data")), classes=("background", "cat", "dog"))
    chain = CHAINS["weak_to_student_folder_small"]()
    chain = dataclasses.replace(chain, data=data, weights="mine.pth", mean=half, std=half)
    setting = Setting(chain=chain, out=tmp_path, given=Given(), contents=Contents(tmp_path / ".contents.json"))
    placed = [setting.for_classifier(chain.classifier), setting.for_teacher(chain.teacher)]
    placed += [setting.for_student(chain.student), affinity := setting.for_affinity(chain.affinity)]
    for stage in placed:
        assert (stage.student.mean, stage.student.std) == (half, half)
        file = str(tmp_path / "classifier" / "last.safetensors") if stage is affinity else "mine.pth"
        assert stage.student.weights == file
    own = dataclasses.replace(chain.teacher.student, weights="own.pth")
    assert setting.for_teacher(dataclasses.replace(chain.teacher, student=own)).student.weights == "own.pth"


def test_stages_that_were_replaced_are_not_shown(copy):
    state = run_chain(small_chain(), copy, given=Given(masks=str(copy / "masks")), **quiet)
    assert list(state) == ["teacher", "student"]
    assert [row.stage for row in reached(state)] == ["teacher", "student"]


def test_a_failed_export_leaves_a_chain_that_can_be_shown(copy, monkeypatch):
    chain = dataclasses.replace(small_chain(), export=ExportSpec())

    def failing(*args, **more):
        raise ParityError("the file does not answer as the network")

    monkeypatch.setattr("segstill.chain.finishing.export", failing)
    with pytest.raises(ValueError, match="export: the file does not answer as the network"):
        run_chain(chain, copy, **quiet)
    state = run_chain(without(chain, ("export",)), copy, **quiet)
    assert [row.stage for row in reached(state)] == ["classifier", "seed masks", "teacher", "student"]
    with pytest.raises(ValueError, match="does not answer"):
        export_student(copy / "student", copy / "s.onnx", ExportSpec(), print)


def test_a_folder_per_class_goes_through_a_chain(tmp_path):
    class_tree(tmp_path / "data")
    chain = on_folder(small_chain(), tmp_path / "data", ("background", "cat", "dog"))
    assert did(chain, tmp_path / "out") == ["classifier", "seed masks", "teacher", "student"]
    assert did(chain, tmp_path / "out") == []
    images = tmp_path / "data" / "images" / "train"
    (images / "cat" / "2.jpg").rename(images / "dog" / "2.jpg")
    assert did(chain, tmp_path / "out")[0] == "classifier"  # an image has another tag


def test_two_chains_do_not_work_in_one_folder(made):
    with alone(made), pytest.raises(ValueError, match="another segstill chain works in .* choose another folder"):
        run_chain(small_chain(), made, **quiet)
    assert did(small_chain(), made) == []


def test_without_the_library_an_export_fails_before_anything_is_trained(tmp_path, monkeypatch):
    def missing():
        raise ValueError("not installed: pip install 'segstill[export]'")

    monkeypatch.setattr("segstill.chain.finishing.onnx_library", missing)
    with pytest.raises(ValueError, match="not installed"):
        run_chain(dataclasses.replace(small_chain(), export=ExportSpec()), tmp_path / "out", **quiet)
    assert not (tmp_path / "out" / "classifier").exists()


def test_masks_that_leave_everything_open_name_the_flag(copy, monkeypatch):
    chain = small_chain()
    unsure = dataclasses.replace(chain, seeds=dataclasses.replace(chain.seeds, band=0.5))
    with monkeypatch.context() as patch:
        patch.setattr(
            "segstill.seed_files.mask_of_size", lambda _, size, band: torch.full(size, 255, dtype=torch.uint8)
        )
        with pytest.raises(
            ValueError, match=r"seed masks: .*masks leave every pixel open.* lower --seeds\.band \(now 0\.5"
        ):
            run_chain(unsure, copy, **quiet)
    said = []
    run_chain(chain, copy, say=said.append)
    assert said.count("  comes back from an earlier time") == 1


def test_a_student_to_compare_with_that_learns_otherwise_is_told(tmp_path):
    chain = small_chain()
    same = dataclasses.replace(chain.student, name="alone", terms={"cross_entropy": TermSpec()}, teacher_model=None)
    for reference, told in ((same, False), (dataclasses.replace(same, epochs=7), True)):
        said = []
        plan(dataclasses.replace(chain, reference=reference), tmp_path, say=said.append)
        sentence = "the student and that on true masks are not on equal footing (epochs: 1 and 7)"
        assert (sentence in said) == told


def test_classes_that_hardly_a_mask_shows_are_named(copy):
    assert seldom({"cat": (20, 1), "dog": (20, 2), "cow": (0, 0), "hen": (3, 0)}) == "cat (1 of 20), hen (0 of 3)"
    data = small_chain().classifier.data
    images = open_tagged(data, "train")
    result = run_chain(small_chain(), copy, **quiet)["masks"]["result"]
    for label, (tagged, shows) in enumerate(result["shown"].values(), start=1):
        with_tag = [index for index in range(len(images)) if images.tags(index)[label - 1]]
        files = [copy / "masks" / f"{images.name(index)}.png" for index in with_tag]
        assert tagged == len(with_tag)
        assert shows == sum(bool((np.asarray(Image.open(file)) == label).any()) for file in files)
    assert ("hardly one shows" in result["told"]) == bool(seldom(result["shown"]))
