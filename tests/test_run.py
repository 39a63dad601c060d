"""The run folder: whole at any moment, and plain about a disk that is full."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segstill.run import RunFolder, environment, read_log

from .disk import room_for
from .helpers import small_recipe

STEP = {"kind": "step", "step": 1, "total": 0.5}
full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(RunFolder, "_show", lambda *_: None)  # TensorBoard has files of its own
    return RunFolder(tmp_path / "run", small_recipe(), ("a", "b"), resume=False)


def log(folder, record):
    folder.log(record, lambda record: None)


@full_device
def test_a_full_disk_under_the_log_is_told_with_the_file_and_the_remedy(folder):
    (folder.path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(
        OSError, match=r"could not write .*run/log\.jsonl: No space left on device; .*free some space.*--resume"
    ):
        log(folder, STEP)


@pytest.mark.parametrize("lines_before", [0, 2])
def test_a_line_that_does_not_fit_on_the_disk_leaves_nothing_behind(lines_before, folder):
    for _ in range(lines_before):
        log(folder, STEP)
    size = len(json.dumps(STEP) + "\n")
    with room_for(lines_before * size + 10), pytest.raises(OSError, match=r"log\.jsonl: File too large"):
        log(folder, STEP)
    assert read_log(folder.path) == [STEP] * lines_before
    assert (folder.path / "log.jsonl").exists() == bool(lines_before)
    log(folder, STEP)
    assert read_log(folder.path) == [STEP] * (lines_before + 1)


@pytest.mark.parametrize("which", [1, 2])
def test_a_folder_that_cannot_be_filled_is_not_left_behind(which, tmp_path, monkeypatch):
    calls = []

    def fsync(_):
        calls.append(1)
        if len(calls) == which:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"could not write .*\.json: No space left on device"):
        RunFolder(tmp_path / "run", small_recipe(), (), resume=False)
    assert not list(tmp_path.iterdir())
    RunFolder(tmp_path / "run", small_recipe(), (), resume=False)


def test_a_folder_that_cannot_be_made_is_told_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"could not write .*file/run: Not a directory; choose another folder with --run"):
        RunFolder(tmp_path / "file" / "run", small_recipe(), (), resume=False)


def test_what_tensorboard_cannot_write_is_told_like_the_rest(tmp_path):
    pytest.importorskip("tensorboard")
    folder = RunFolder(tmp_path / "run", small_recipe(), (), resume=False)
    (folder.path / "tensorboard").write_text("a file where its folder belongs")
    with pytest.raises(OSError, match=r"could not write .*run/tensorboard: File exists; .*--resume"):
        log(folder, STEP)
    folder.close()


def test_tensorboard_that_cannot_be_closed_does_not_hide_why_the_run_failed(folder):
    class Full:
        def close(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder._board = Full()
    folder.close()
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/usr/bin/segstill", "train", "demo_kd", "--run", "my runs/a"], "segstill train demo_kd --run 'my runs/a'"),
        (["/lib/segstill/__main__.py", "demo"], "segstill demo"),
        (["sweep.py", "--fast"], "python sweep.py --fast"),
    ],
)
def test_the_command_that_is_kept_can_be_run_again(argv, command, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert environment()["command"] == command
    assert re.match(r"\d{4}-\d\d-\d\dT", environment()["date"])


FAULTS = """
import resource, sys
import torch
from segstill.environment import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else True
for _ in range(3):  # what is made once, on the first of these, may lie in their way
    torch.ones(25_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(25_000_000)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only the C library of Linux returns memory and can be told not to")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    def faults(how):
        output = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return map(int, output.stdout.split())

    kept, few = faults("kept")
    if not kept:
        pytest.skip("this C library has no mallopt")
    _, many = faults("returned")
    assert few < 100 < 1000 < many
