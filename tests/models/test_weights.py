"""Weights are found whatever the file calls them, and the report accounts for every tensor."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segstill.models import Segmenter, WeightReport, deeplabv3plus, load_weights, smp, tiny

from ..conftest import WEIGHTS, needs_weights


@pytest.fixture
def model() -> Segmenter:
    torch.manual_seed(0)
    return tiny(3, width=4, depth=2)


@pytest.fixture
def source() -> Segmenter:
    torch.manual_seed(1)
    return tiny(3, width=4, depth=2)


def account_for_everything(report: WeightReport, model: Segmenter, state: dict) -> None:
    ours = [*report.loaded, *report.missing, *report.other_shape]
    assert sorted(ours) == sorted(model.state_dict())
    assert len(report.loaded) + len(report.other_shape) + len(report.unexpected) == len(state)


def same(state, other) -> bool:
    return state.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in state.items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_whole_segmenter_is_read_from_both_formats(model, source, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(source.state_dict(), path)
    report = load_weights(model, path)
    assert same(model.state_dict(), source.state_dict())
    assert report.loaded == tuple(model.state_dict())
    assert report.missing == report.unexpected == report.other_shape == ()
    assert report.part == ""


@pytest.mark.parametrize("part", ["net", "net.encoder"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.", "encoder.", "backbone.", "module.encoder."])
def test_a_part_is_found_under_the_usual_prefixes(model, source, tmp_path, part, prefix):
    state = source.get_submodule(part).state_dict()
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "w.pth")
    before = copy.deepcopy(model.state_dict())
    report = load_weights(model, tmp_path / "w.pth")
    assert same(model.get_submodule(part).state_dict(), state)
    assert set(report.loaded) == {f"{part}.{name}" for name in state}
    assert report.unexpected == report.other_shape == ()
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in report.missing)
    account_for_everything(report, model, state)


@pytest.mark.parametrize("nest", [("state_dict",), ("model",), ("model", "state_dict")])
def test_a_nested_state_dict_is_found(model, source, tmp_path, nest):
    content = source.state_dict()
    for name in reversed(nest):
        content = {name: content, "epoch": 3, "note": "text"}
    torch.save(content, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert same(model.state_dict(), source.state_dict())


def test_every_tensor_is_accounted_for(model, tmp_path):
    state = tiny(7, width=4, depth=2).state_dict()
    del state["net.encoder.stem.0.weight"]
    state["extra.weight"] = torch.zeros(1)
    torch.save(state | {"epoch": 3}, tmp_path / "w.pth")
    report = load_weights(model, tmp_path / "w.pth")
    assert report.missing == ("net.encoder.stem.0.weight",)
    assert report.unexpected == ("extra.weight", "epoch")
    assert report.other_shape == ("net.classifier.weight", "net.classifier.bias")
    assert report.shapes == (((7, 4, 1, 1), (3, 4, 1, 1)), ((7,), (3,)))
    account_for_everything(report, model, state | {"epoch": 3})
    text = str(report)
    assert f"loaded {len(report.loaded)} of the model's {len(model.state_dict())} tensors" in text
    assert "net.classifier.bias (7,) in the file, (3,) here" in text
    assert "extra.weight, epoch" in text
    assert "net.encoder.stem.0.weight" in text


def test_nothing_that_fits_is_an_error_and_changes_nothing(model, tmp_path):
    before = copy.deepcopy(model.state_dict())
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"nothing in .* fits.*conv\.weight.*net\.encoder\.stem\.0\.weight"):
        load_weights(model, tmp_path / "w.pth")
    assert same(model.state_dict(), before)


def test_counters_alone_do_not_fit(model, tmp_path):
    torch.save(tiny(5, width=7, depth=2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"nothing in .* fits"):
        load_weights(model, tmp_path / "w.pth")


def test_a_file_that_barely_fits_is_refused_and_changes_nothing(model, tmp_path):
    """Of another width, only what has as many channels by chance fits."""
    before = copy.deepcopy(model.state_dict())
    other = tiny(3, width=8, depth=2).state_dict() | {"net.classifier.bias": torch.ones(3)}
    torch.save(other, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"less than half of the network .*nothing was loaded \(loaded 8 of"):
        load_weights(model, tmp_path / "w.pth")
    assert same(model.state_dict(), before)


def test_a_missing_file_is_named_with_the_remedy(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weight file .*absent\.pth; check the path"):
        load_weights(model, tmp_path / "absent.pth")


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_never_executed(model, source, tmp_path):
    before = copy.deepcopy(model.state_dict())
    torch.save({"state_dict": source.state_dict(), "args": Evil(tmp_path / "executed")}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"holds Python objects besides tensors.*torch\.save\(model\.state_dict\(\)"):
        load_weights(model, tmp_path / "w.pth")
    assert not (tmp_path / "executed").exists()
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 broken"])
def test_a_damaged_file_is_a_readable_error(model, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.\w+ .*expected"):
        load_weights(model, tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "holds a Tensor, expected a state dict"),
        ([torch.zeros(3)], "holds a list, expected a state dict"),
        ({"epoch": 3, "note": "text"}, "has no tensors, only epoch, note"),
        ({"state_dict": {}}, "has no tensors"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_has(model, tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        load_weights(model, tmp_path / "w.pth")


@needs_weights
def test_imagenet_weights_of_mobilenet_v2_fill_the_encoder_of_deeplabv3plus():
    path = WEIGHTS / "mobilenet_v2_1.0_imagenet.pth"
    model = deeplabv3plus(3, encoder="mobilenet_v2", channels=8)
    report = load_weights(model, path)
    state = torch.load(path, weights_only=True)
    encoder = model.get_submodule(model.encoder).state_dict()
    assert set(report.loaded) == {f"{model.encoder}.{name}" for name in encoder}
    assert all(torch.equal(value, state[name]) for name, value in encoder.items())
    assert {name.rpartition(".")[0] for name in report.unexpected} == {"features.18.0", "features.18.1", "classifier.1"}
    assert not report.other_shape
    assert report.part == "net.encoder"
    account_for_everything(report, model, state)


@needs_weights
def test_imagenet_weights_of_mobilenet_v2_fill_the_encoder_of_smp():
    model = smp(3, encoder="mobilenet_v2", decoder_channels=8)
    report = load_weights(model, WEIGHTS / "mobilenet_v2_1.0_imagenet.pth")
    assert set(report.loaded) == {f"net.encoder.{name}" for name in model.net.encoder.state_dict()}
    assert report.unexpected == ("classifier.1.weight", "classifier.1.bias")


@needs_weights
def test_the_encoder_of_a_published_segmenter_is_found_under_its_prefix():
    model = deeplabv3plus(3, encoder="mobilenet_v2", channels=8)
    report = load_weights(model, WEIGHTS / "deeplabv3_mnv2_1.0_voc.pth")
    assert {f"net.encoder.{name}" for name in model.net.encoder.state_dict()} == set(report.loaded)
    assert all(name.startswith(("aspp.", "pool.", "project.", "logits.")) for name in report.unexpected)
