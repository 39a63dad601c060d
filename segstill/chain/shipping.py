"""What the networks of a chain and its exported files are worth when they run: size, accuracy, latency."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from ..build import load
from ..data import Part, open_dataset
from ..data.dataset import SegmentationDataset
from ..data.transforms import shrink
from ..evaluate import evaluate
from ..export import megabytes, open_exported, race
from ..recipe import DataSpec
from ..report.view import ShippedView
from ..run import read_recipe
from .setting import Setting

MOST = 2000
"""Images that are scored: files run on a CPU, where those of a very large data set would take hours."""
THREADS, REPEATS = 1, 30
NAMES = {".onnx": "student, ONNX fp32", ".int8.onnx": "student, ONNX int8"}


def measure_shipped(setting: Setting, split: str, known: Mapping[str, float]) -> tuple[tuple[ShippedView, ...], str]:
    """Measure teacher, student and exported files alike: the same images, the same processor, in turns.

    Args:
        setting: the chain, whose networks are done.
        split: which images are scored.
        known: mIoU of "teacher" and "student" on all of them, so that it is not measured again.

    Returns:
        What was measured, and on what in words; nothing without a student.
    """
    run = setting.student
    if setting.chain.student is None:
        return (), ""
    data = read_recipe(run).data
    whole = open_dataset(data, split)
    dataset = Part(whole, [place * len(whole) // MOST for place in range(MOST)]) if len(whole) > MOST else whole
    count = f"all {len(whole)}" if dataset is whole else f"{len(dataset)} of {len(whole)}"
    setting.say(f"  measuring size, accuracy and latency on {count} images")
    asked: dict[str, tuple[nn.Module, float, DataSpec]] = {}
    teacher = read_recipe(run).teacher
    if teacher and (Path(teacher) / "recipe.json").is_file():
        saved, own = load(Path(teacher)), read_recipe(Path(teacher)).data
        if saved.classes == dataset.classes:
            asked["teacher, torch"] = saved.model, megabytes(saved.model), own
    student = load(run).model
    asked["student, torch"] = student, megabytes(student), data
    for file in _files(setting):
        exported = open_exported(file, threads=THREADS)
        asked[NAMES[file.name.removeprefix("student")]] = exported, file.stat().st_size / 1e6, data
    mious = {f"{name}, torch": miou for name, miou in known.items() if dataset is whole}
    mious |= {name: _miou(network, dataset, own) for name, (network, _, own) in asked.items() if name not in mious}
    image = dataset.image(0)
    runners: dict[str, Callable[[Tensor], Tensor]] = {}
    for name, (network, _, own) in asked.items():
        seen = shrink(image, own.longest_side, own.short_side)[None].contiguous()
        runners[name] = partial(_ask, network.cpu(), seen)
    times = race(runners, image, threads=THREADS, repeats=REPEATS)
    views = tuple(
        ShippedView(name=name, megabytes=size, miou=mious[name], milliseconds=times[name].p50, slow=times[name].p95)
        for name, (_, size, _) in asked.items()
    )
    height, width = shrink(image, data.longest_side, data.short_side).shape[1:]
    other = "" if dataset is whole else ", so that it is not that of the tables above"
    meaning = (
        f"mIoU on {count} {split} images{other}; time of one image of {width} x {height} pixels on the CPU with "
        f"{THREADS} thread, {REPEATS} times in turns. Size: parameters of a network, or the file."
    )
    return views, meaning


def _files(setting: Setting) -> list[Path]:
    folder = setting.out / "export"
    if setting.chain.export is None:
        return []
    return [file for suffix in NAMES if (file := folder / f"student{suffix}").is_file()]


def _miou(network: nn.Module, dataset: SegmentationDataset, data: DataSpec) -> float:
    scores = evaluate(network, dataset, boundary=False, longest_side=data.longest_side, short_side=data.short_side)
    return scores["miou"]


def _ask(network: nn.Module, seen: Tensor, _: Tensor) -> Tensor:
    return network(seen)
