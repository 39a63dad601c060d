"""Files for other programs: they answer as the network does, say what they are, or are not written."""

import dataclasses
import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from segstill.build import Saved, load
from segstill.cli import main
from segstill.data import open_dataset
from segstill.evaluate import evaluate
from segstill.export import ExportSpec, ParityError, export, open_exported
from segstill.models import MODELS, Segmenter, tiny
from segstill.run import read_recipe
from segstill.train import train

from .helpers import small_recipe

CLASSES = ("a", "b", "c")
STRANGE = ((1, 3, 37, 90), (3, 3, 101, 50), (2, 3, 64, 64))
"""Sides that are no multiples of a stride, higher than wide, other numbers of images."""


def call(*arguments):
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def quiet(*arguments, **settings):
    return export(*arguments, say=lambda sentence: None, **settings)


def saved(model: Segmenter, **data) -> Saved:
    """A network with the drawn scenes as its data, of another number of classes than they have."""
    recipe = small_recipe()
    names = tuple(f"class {index}" for index in range(model.classes))
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **data))
    return Saved(model.eval(), recipe, names, Path("somewhere"))


def images(shape):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "run"
    train(small_recipe(), folder, say=lambda sentence: None)
    return folder


@pytest.fixture(scope="module")
def shipped(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("shipped") / "student.onnx"
    assert call("export", run, "--out", out, "--int8", "--calibration", 4, "--parity", 3) == 0
    return out


def test_a_file_answers_as_its_network_at_any_size_and_number_of_images(run, shipped):
    network, file = load(run).model, open_exported(shipped)
    for shape in STRANGE:
        with torch.no_grad():
            torch.testing.assert_close(file(images(shape)), network(images(shape)), atol=1e-5, rtol=1e-4)


def test_another_program_gives_bytes_as_decoders_return_them_and_nothing_else(run, shipped):
    session = onnxruntime.InferenceSession(shipped, providers=["CPUExecutionProvider"])
    picture = images((1, 3, 40, 60))
    (logits,) = session.run(["logits"], {"image": picture.permute(0, 2, 3, 1).contiguous().numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), load(run).model(picture), atol=1e-5, rtol=1e-4)


def test_a_file_says_what_it_is_and_nothing_of_the_machine_that_wrote_it(run, shipped):
    about = open_exported(shipped).about
    recipe = read_recipe(run)
    assert about.classes == load(run).classes
    assert len(about.palette) == len(about.classes)
    assert about.mean == pytest.approx(recipe.student.mean)
    assert about.recipe is not None
    assert about.recipe["name"] == recipe.name
    assert about.segstill
    content = shipped.read_bytes()
    assert str(Path(__file__).parent.parent).encode() not in content
    assert b"site-packages" not in content
    onnx.checker.check_model(onnx.load(shipped), full_check=True)


def test_int8_is_smaller_and_the_report_says_what_it_costs(run, shipped):
    report = json.loads(shipped.with_name(f"{shipped.name}.json").read_text())
    torch_, plain, small = report["rows"]
    assert [row["name"] for row in report["rows"]] == ["torch", "onnx", "int8"]
    assert 0 < small["latency"]["p50"] <= small["latency"]["p95"]
    data = read_recipe(run).data
    own = evaluate(load(run).model, open_dataset(data, "val"), boundary=False, longest_side=data.longest_side)
    assert torch_["miou"] == pytest.approx(own["miou"])
    assert plain["miou"] == pytest.approx(torch_["miou"], abs=1e-3)
    assert abs(plain["miou"] - small["miou"]) < 0.1
    assert report["int8_agreement"] > 0.9
    assert report["parity"]["agreement"] > 0.999
    assert open_exported(shipped.with_suffix(".int8.onnx")).about.precision == "int8"
    kinds = {node.op_type for node in onnx.load(shipped.with_suffix(".int8.onnx")).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("smp", {"architecture": "DeepLabV3Plus", "encoder": "mobilenet_v2", "decoder_channels": 16}),
        ("torchvision", {"model": "lraspp_mobilenet_v3_large"}),
    ],
)
def test_networks_of_libraries_take_any_size(name, args, tmp_path):
    torch.manual_seed(0)
    network = MODELS[name](3, **args)
    quiet(saved(network), tmp_path / "a.onnx", ExportSpec(parity=1))
    file = open_exported(tmp_path / "a.onnx")
    for shape in STRANGE:
        with torch.no_grad():
            torch.testing.assert_close(file(images(shape)), network(images(shape)), atol=1e-5, rtol=1e-4)


def test_a_file_may_take_floats_and_return_classes(run, tmp_path):
    quiet(run, tmp_path / "a.onnx", ExportSpec(float_input=True, output="classes"))
    (taken,) = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"]).get_inputs()
    assert (taken.type, taken.shape[1]) == ("tensor(float)", 3)
    ids = open_exported(tmp_path / "a.onnx")(images((2, 3, 40, 50)))
    with torch.no_grad():
        expected = load(run).model(images((2, 3, 40, 50))).argmax(1)
    assert ids.dtype == torch.uint8
    assert (ids == expected).float().mean() > 0.999


def test_a_file_of_torch_export_answers_alike_and_says_what_it_is(run, tmp_path):
    assert call("export", run, "--out", tmp_path / "a.pt2", "--format", "torch-export") == 0
    extra = {"segstill.json": ""}
    module = torch.export.load(tmp_path / "a.pt2", extra_files=extra).module()
    assert json.loads(json.loads(extra["segstill.json"])["classes"]) == list(load(run).classes)
    for shape in STRANGE:
        with torch.no_grad():
            given = module(images(shape).permute(0, 2, 3, 1).contiguous())
            torch.testing.assert_close(given, load(run).model(images(shape)))


def test_a_network_whose_graph_is_right_for_one_size_says_so_and_is_written_for_one(tmp_path):
    torch.manual_seed(0)
    network = saved(MODELS["smp"](3, architecture="PSPNet", encoder="resnet18"))
    with pytest.raises(ValueError, match="cannot take images of any size.*--size HEIGHT WIDTH"):
        quiet(network, tmp_path / "a.onnx", ExportSpec(parity=1))
    assert not list(tmp_path.iterdir())
    quiet(network, tmp_path / "a.onnx", ExportSpec(parity=1, size=(40, 56)))
    file, picture = open_exported(tmp_path / "a.onnx"), images((2, 3, 40, 56))
    assert file.about.size == (40, 56)
    with torch.no_grad():
        torch.testing.assert_close(file(picture), network.model(picture), atol=1e-4, rtol=1e-4)


def test_a_network_of_one_size_says_so_before_and_its_file_frames_other_images(tmp_path):
    torch.manual_seed(0)
    network = saved(Segmenter(tiny(3, width=4).net, classes=3, stride=16, size=(48, 64)))
    said = []
    export(network, tmp_path / "a.onnx", say=said.append)
    assert said[0].startswith("the network takes images of 48 x 64 only, and so will the file")
    file, picture = open_exported(tmp_path / "a.onnx"), images((2, 3, 90, 70))
    with torch.no_grad():
        off = (file(picture) - network.model(picture)).abs().max()
    assert off < 2e-2  # bytes are rounded after they were scaled


class Unheard(nn.Module):
    """Asks for an operator that ONNX does not have."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return torch.special.i1e(self.net(x))


class Dice(nn.Module):
    """Never answers twice alike."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.net(x) + torch.rand_like(x)


class Undecided(nn.Module):
    """Computes one thing or another, by what the image shows."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.net(x) if x.mean() > 0 else self.net(-x)


def test_an_operator_that_onnx_does_not_have_is_named_with_a_way_out(tmp_path):
    network = saved(Segmenter(Unheard(), classes=3))
    with pytest.raises(ValueError, match=r"uses (aten\.special|prims\.bessel)_i1e.*--format torch-export"):
        quiet(network, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
    quiet(network, tmp_path / "a.pt2", ExportSpec(format="torch-export"))


def test_a_network_that_cannot_be_traced_is_refused_with_the_reason(tmp_path):
    spec = ExportSpec(size=(32, 32), batch_size=1)
    with pytest.raises(ValueError, match="cannot trace the network.*replace what decides"):
        quiet(saved(Segmenter(Undecided(), classes=3)), tmp_path / "a.onnx", spec)


def test_a_file_that_does_not_answer_as_its_network_is_not_written(tmp_path):
    with pytest.raises(ParityError, match="does not answer as the network.*nothing was written"):
        quiet(saved(Segmenter(Dice(), classes=3)), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_images_of_ones_own_stand_in_for_a_data_set_that_is_gone(run, tmp_path):
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for index in range(3):
        picture = images((1, 3, 40 + index, 50))[0].permute(1, 2, 0).numpy()
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{index}.png")
    network = load(run)._replace(recipe=None)
    with pytest.raises(ValueError, match="no images to compare.*--images DIR"):
        quiet(network, tmp_path / "a.onnx")
    shipment = quiet(network, tmp_path / "a.onnx", ExportSpec(int8=True), images=tmp_path / "pictures")
    assert shipment.parity.images == 3
    assert shipment.rows[-1].miou is None
    assert shipment.int8_agreement is not None


def test_a_file_of_four_images_at_a_time_takes_any_number(run, tmp_path):
    quiet(run, tmp_path / "a.onnx", ExportSpec(batch_size=4))
    exported, network = open_exported(tmp_path / "a.onnx"), load(run).model
    for count in (1, 4, 6):
        given = images((count, 3, 64, 96))
        torch.testing.assert_close(exported(given), network(given), rtol=1e-3, atol=1e-3)


def test_an_executorch_file_answers_as_its_network_at_its_size(run, tmp_path, capsys):
    assert call("export", run, "--out", tmp_path / "a.pte", "--format", "executorch") == 2
    assert "executorch" in capsys.readouterr().err.lower()  # not installed, or a size is missing
    pytest.importorskip("executorch", reason="needs the extra executorch")
    spec = ExportSpec(format="executorch", size=(40, 56), parity=2)
    shipment = quiet(run, tmp_path / "a.pte", spec)
    assert shipment.parity.holds
    assert (shipment.about.size, shipment.about.batch) == ((40, 56), 1)
    from executorch.runtime import Runtime

    said = Runtime.get().load_program((tmp_path / "a.pte").read_bytes()).load_method("segstill").execute([])[0]
    assert tuple(json.loads(json.loads(said)["classes"])) == load(run).classes
    assert [row.name for row in shipment.rows] == ["torch", "executorch"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--out", "a.pt"], "does not end in .onnx"),
        (["--format", "torch-export", "--int8"], "made by onnxruntime"),
        (["--size", "0", "5"], "give numbers of 1 or more"),
        (["--calibration", "0"], "pass another --calibration"),
    ],
)
def test_what_cannot_be_written_is_told(run, arguments, told, capsys):
    assert call("export", run, *arguments) == 2
    shown = " ".join(capsys.readouterr().err.split())  # lines are wrapped
    assert shown.startswith("segstill: ")
    assert told in shown
    assert "ExportOptions" not in shown
