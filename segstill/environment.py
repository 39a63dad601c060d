"""Where a run happens and what it was given: versions, hardware, command, date, and whose teacher."""

import ctypes
import json
import os
import platform
import shlex
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def environment() -> dict[str, Any]:
    """Describe where a run happens: versions, hardware, command, date."""
    packages = ("segstill", "torch", "torchvision", "timm", "segmentation-models-pytorch", "accelerate", "numpy")
    return {
        "command": shlex.join(_program() + sys.argv[1:]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "versions": {name: version(name) for name in packages},
    }


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for what it needs next; tell whether its C library knows how (glibc does).

    By default glibc hands every large block back to the system, and each training step faults in all of its activations
    again: measured on CPUs, that is a quarter of the time of a step (`bench/step.py`).  The price is that the process
    stays as large as it was at its largest.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    trim_threshold, most_mapped = -1, -4  # the names of <malloc.h>: M_TRIM_THRESHOLD, M_MMAP_MAX
    return bool(mallopt(most_mapped, 0)) and bool(mallopt(trim_threshold, -1))


def _program() -> list[str]:
    """Return what stands before the arguments in the command that started this process."""
    program = Path(sys.argv[0])
    ours = program.name == "segstill" or program.parts[-2:] == ("segstill", "__main__.py")
    return ["segstill"] if ours else ["python", sys.argv[0]]


def check_teacher(run: Path, teacher: Path | None, digest: str | None) -> bool:
    """Tell whether a run says which teacher it had, which must then be this one.

    Args:
        run: a run folder.
        teacher: the file of the present teacher's weights, or None.
        digest: its `sha256`.

    Raises:
        ValueError: the run had another teacher.
    """
    recorded = json.loads((run / "env.json").read_text()).get("teacher_sha256")
    if recorded and recorded != digest:
        now = f"{teacher} has {digest[:12]}..." if digest else "there is no file of a teacher now"
        raise ValueError(
            f"{run} was taught by a file with the SHA-256 {recorded[:12]}..., and {now}, expected the same teacher: "
            "put the teacher of then back, or choose another folder for what the present one teaches"
        )
    return recorded is not None
