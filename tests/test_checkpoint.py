"""Files are written whole or not at all, and read without executing anything."""

import errno
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from segstill.checkpoint import load_exactly, read_about, read_state, read_weights, save_state, save_weights, write


class FullDisk:
    """A file on a disk that fills up after some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: self.room])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch):
    opened = Path.open

    def fill():
        monkeypatch.setattr(
            Path,
            "open",
            lambda path, mode="r", *a, **k: (
                FullDisk(f, 10) if "w" in mode and (f := opened(path, mode)) else opened(path, mode)
            ),
        )

    return fill


@pytest.mark.parametrize("there_before", [True, False])
def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(there_before, tmp_path, full_disk):
    file = tmp_path / "last.safetensors"
    if there_before:
        save_weights(file, nn.Linear(2, 2), {"step": 1})
    before = file.read_bytes() if there_before else None
    full_disk()
    words = "the file that was there is intact" if there_before else "nothing was left behind"
    with pytest.raises(OSError, match=f"No space left on device; {words}. Free some space"):
        save_weights(file, nn.Linear(3, 3), {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == (["last.safetensors"] if there_before else [])
    if there_before:
        assert file.read_bytes() == before


def test_a_really_full_disk_says_so():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def test_weights_and_what_is_said_of_them_come_back(tmp_path):
    model = nn.Conv2d(3, 4, 3)
    save_weights(tmp_path / "a.safetensors", model, {"classes": ("sky", "é"), "step": 3})
    assert read_about(tmp_path / "a.safetensors") == {"classes": ["sky", "é"], "step": 3}
    other = nn.Conv2d(3, 4, 3)
    load_exactly(other, read_weights(tmp_path / "a.safetensors"), tmp_path)
    assert torch.equal(other.weight, model.weight)


def test_weights_of_another_model_are_refused_and_change_nothing(tmp_path):
    model = nn.Linear(2, 2)
    before = model.weight.clone()
    with pytest.raises(ValueError, match="belongs to another model: 1 of 2 tensors differ, \\['weight'\\]"):
        load_exactly(model, {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, tmp_path / "x")
    assert torch.equal(model.weight, before)


def test_a_state_comes_back(tmp_path):
    save_state(tmp_path / "state.pt", {"step": 3, "scores": {"miou": 0.5, "per_class_iou": {"sky": None}}})
    assert read_state(tmp_path / "state.pt") == {"step": 3, "scores": {"miou": 0.5, "per_class_iou": {"sky": None}}}


def test_a_state_that_would_execute_something_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    (tmp_path / "state.pt").write_bytes(pickle.dumps({"step": Trap()}))
    with pytest.raises(ValueError, match="is not a training state of segstill"):
        read_state(tmp_path / "state.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_damaged_checkpoint_is_refused(content, tmp_path):
    write(tmp_path / "a.safetensors", content)
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        read_about(tmp_path / "a.safetensors")
