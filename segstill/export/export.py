"""Write a student as a file that another program runs, and say how it compares with the network."""

import dataclasses
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..build import Saved, Say, load
from ..checkpoint import write
from ..data import Images
from ..data.dataset import SegmentationDataset
from ..evaluate import evaluate
from .about import About, Output, describe
from .graph import Shipped, one_size, trace, traced_sides
from .int8 import quantise
from .measure import Latency, Parity, ParityError, compare, megabytes, race
from .mobile import Lowered, executorch_library, to_executorch
from .pictures import Pictures, needed, open_split
from .runtime import Exported, onnx_library, runtime_library, to_onnx

Format = Literal["onnx", "torch-export", "executorch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2", "executorch": ".pte"}
Progress = Callable[[int, int], None]
Ask = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """How a student is written."""

    format: Format = "onnx"
    """onnx for onnxruntime and its like; torch-export for a .pt2 of torch, which AOTInductor takes; executorch for a
    .pte of one size, for phones and boards."""
    output: Output = "logits"
    """logits: scores of every class.  classes: the best class per pixel, as bytes."""
    float_input: bool = False
    """Take (N, 3, H, W) float32 RGB in [0, 1] in place of (N, H, W, 3) bytes; both are normalised inside."""
    size: tuple[int, int] | None = None
    """Height and width of the only images that the file is to take; without it any, where the network can."""
    batch_size: int | None = None
    """Number of images that the file is to take at once; without it any."""
    int8: bool = False
    """Write a second file, NAME.int8.onnx, in 8-bit numbers."""
    seven_bits: bool = False
    """With --int8: keep weights in 7 bits, for x86 processors without VNNI."""
    calibration: int = 64
    """With --int8: how many images the ranges are measured on."""
    parity: int = 8
    """How many images the file is held against the network on."""
    threads: int = 1
    """Threads that latency is measured with."""

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        for name in ("calibration", "parity", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more: pass another --{name}")
        if min(self.size or (1,)) < 1 or (self.batch_size or 1) < 1:
            raise ValueError(f"size {self.size} and batch_size {self.batch_size}: give numbers of 1 or more")
        if self.int8 and self.format != "onnx":
            raise ValueError(f"int8 files are made by onnxruntime: leave out --format {self.format}, or --int8")
        if self.format == "executorch" and self.batch_size is None:
            object.__setattr__(self, "batch_size", 1)  # memory is planned when the file is written


class Row(NamedTuple):
    """What is known of one way to run the student."""

    name: str
    file: Path | None
    megabytes: float
    miou: float | None
    latency: Latency


@dataclass(frozen=True)
class Shipment:
    """What was written."""

    about: About
    parity: Parity
    int8_agreement: float | None
    """Share of pixels to which the int8 file gives the class that the network gives."""
    rows: tuple[Row, ...]
    """The network first, then the files."""
    image: tuple[int, int]
    """H and W of the image that was timed."""
    threads: int
    report: Path
    """The same as JSON."""


@torch.no_grad()
def export(
    run_or_model: str | Path | Saved,
    out: Path,
    spec: ExportSpec | None = None,
    *,
    images: Path | None = None,
    data_root: str | None = None,
    say: Say = print,
    progress: Progress = lambda done, total: None,
) -> Shipment:
    """Write a student, after it has been held against the network on real images; and a report beside it.

    Nothing is written unless parity holds: scores within a thousandth of the largest, the same class at 99.9 % of the
    pixels, also at another size and number of images where the file is to take any.

    Args:
        run_or_model: a run folder, a checkpoint, or what `load` returned.
        out: the file; its name ends in .onnx or .pt2.
        spec: how.
        images: a folder of images to compare, time and calibrate on, in place of the recipe's val and train split.
        data_root: folder of the data set; the recipe's own without it.
        say: is told what is limited, before it is done.
        progress: is told how many of how many images were calibrated on.

    Raises:
        ValueError: no student that predicts masks, an operator without a form in the format, a network that takes no
            image of any size where that was asked for, no images, a missing extra.
        ParityError: the file answers other than the network; no file is written.
    """
    spec = spec or ExportSpec()
    out = Path(out)
    if out.suffix != SUFFIXES[spec.format]:
        raise ValueError(f"{out} does not end in {SUFFIXES[spec.format]}: name the {spec.format} file so")
    if spec.format == "onnx":  # before minutes of work
        onnx_library()
        runtime_library()
    if spec.format == "executorch":
        executorch_library()
    saved = run_or_model if isinstance(run_or_model, Saved) else load(run_or_model)
    model = saved.model.cpu().eval()
    size = _sides(saved, spec, say)
    about = describe(
        saved, floats=spec.float_input, output=spec.output, size=size, batch=spec.batch_size, root=data_root
    )
    scored = open_split(saved, "val", data_root) if images is None or spec.int8 else None
    shown = Pictures(Images(images) if images else needed(scored, saved), about)
    shipped = Shipped(model, floats=spec.float_input, output=spec.output).eval()
    program = trace(shipped, size, spec.batch_size)
    content, ask = _written(program, about, spec, out)
    looked_at = [shown(index) for index in shown.chosen(spec.parity)]
    if spec.batch_size:
        looked_at = [image.expand(spec.batch_size, -1, -1, -1) for image in looked_at]
    parity = _hold(model, ask, looked_at, about)
    say(f"parity with the network: {parity}")
    files: dict[str, tuple[Path, bytes, Ask]] = {spec.format: (out, content, ask)}
    agreement = None
    if spec.int8:
        train = open_split(saved, "train", data_root) if images is None else None
        calibration = Pictures(train, about) if train else shown
        chosen = calibration.chosen(spec.calibration)
        say(f"calibrating on {len(chosen)} images{'' if train or images else ' of the val split'}")
        small = quantise(content, about, chosen, calibration, seven_bits=spec.seven_bits, progress=progress)
        quick = Exported(small, threads=spec.threads, source=out)
        agreement = compare(model, quick, looked_at).agreement
        files["int8"] = (out.with_suffix(".int8.onnx"), small, quick)
    runners: dict[str, nn.Module | Ask] = {"torch": model} | {name: ask for name, (_, _, ask) in files.items()}
    mious = _scored(scored, runners, about, say) if spec.int8 else {}
    latencies = race(runners, looked_at[0], threads=spec.threads)
    rows = [Row("torch", None, megabytes(model), mious.get("torch"), latencies["torch"])]
    for name, (path, data, _) in files.items():
        rows.append(Row(name, path, len(data) / 1e6, mious.get(name), latencies[name]))
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, data, _ in files.values():
        write(path, data)
    sides = (looked_at[0].shape[2], looked_at[0].shape[3])
    shipment = Shipment(about, parity, agreement, tuple(rows), sides, spec.threads, out.with_name(f"{out.name}.json"))
    write(shipment.report, json.dumps(_plain(shipment), indent=2, default=str))
    return shipment


def _sides(saved: Saved, spec: ExportSpec, say: Say) -> tuple[int, int] | None:
    """Return the one size of the file; say so before the work where that is not what was asked for."""
    model = saved.model
    if model.predicts != "masks" or not saved.classes:
        what = "answers with tags" if model.predicts != "masks" else "does not name its classes"
        raise ValueError(f"{saved.file} {what}, expected a student that predicts masks: give a run of segstill train")
    if model.size is None:
        if spec.format == "executorch" and spec.size is None:
            raise ValueError("an ExecuTorch file takes images of one size: pass it with --size HEIGHT WIDTH")
        return spec.size
    if spec.size not in (None, model.size):
        raise ValueError(f"the network takes images of {model.size} only, given --size {spec.size}: leave it out")
    say(
        f"the network takes images of {model.size[0]} x {model.size[1]} only, and so will the file: "
        "segstill predict scales others into that frame"
    )
    return model.size


def _hold(model: nn.Module, ask: Ask, images: list[Tensor], about: About) -> Parity:
    """Compare on the images, and on others where the file is to take any; raise where parity does not hold."""
    parity, problem = _tried(model, ask, images)
    if about.size is None:
        image, count = images[0], about.batch or 3
        if problem:
            traced = _at(image, traced_sides(about.stride), about.batch or 2)
            elsewhere = "" if _tried(model, ask, [traced])[1] else problem
        else:  # sides that are no multiples of the stride, more images at once, and one that is higher than wide
            tall = _at(image, (image.shape[3] * 5 // 4 + 1, image.shape[2] + about.stride + 1), count)
            low = _at(image, (image.shape[2] * 5 // 8 + about.stride, image.shape[3] - 1), count)
            elsewhere = _tried(model, ask, [tall, low])[1]
        if elsewhere:
            raise ValueError(one_size(elsewhere))
    if problem or parity is None:
        raise ParityError(f"{problem}; nothing was written")
    return parity


def _tried(model: nn.Module, ask: Ask, images: list[Tensor]) -> tuple[Parity | None, str]:
    """Compare; return what was found, and what is wrong with it."""
    try:
        parity = compare(model, ask, images)
    except Exception as error:  # of onnxruntime
        return None, f"the file does not run on images of {tuple(images[0].shape)} ({_first(error)})"
    return parity, "" if parity.holds else f"the file does not answer as the network does: {parity}"


def _at(image: Tensor, sides: tuple[int, int], count: int) -> Tensor:
    """Return an image (1 or more, 3, H, W) uint8 stretched to other sides, `count` times."""
    scaled = F.interpolate(image[:1].float(), sides, mode="bilinear", antialias=True).round().clamp(0, 255)
    return scaled.to(torch.uint8).expand(count, -1, -1, -1).contiguous()


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _written(program: ExportedProgram, about: About, spec: ExportSpec, out: Path) -> tuple[bytes, Ask]:
    """Return the file, and what asks it."""
    if spec.format == "onnx":
        content = to_onnx(program, about)
        return content, Exported(content, threads=spec.threads, source=out)
    if spec.format == "executorch":
        content = to_executorch(program, about)
        return content, Lowered(content, about)
    return _packed(program, about), _asked(program, about)


def _packed(program: ExportedProgram, about: About) -> bytes:
    """Return a .pt2 of torch, with the metadata beside the graph as segstill.json."""
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"segstill.json": json.dumps(about.metadata())})
    return content.getvalue()


def _asked(program: ExportedProgram, about: About) -> Ask:
    module = program.module()

    def ask(image: Tensor) -> Tensor:
        return module(image.float() / 255 if about.input == "floats" else image.permute(0, 2, 3, 1).contiguous())

    return ask


def _scored(
    dataset: SegmentationDataset | None, runners: dict[str, nn.Module | Ask], about: About, say: Say
) -> dict[str, float]:
    """Return the mIoU of the network and of each file on the same images.

    Where there are masks, and logits to bring to their size.
    """
    if dataset is None or about.output == "classes" or dataset.classes != about.classes:
        say("mIoU before and after is not measured: that needs the data set's masks, and a file that returns logits")
        return {}
    asked = {name: ask for name, ask in runners.items() if isinstance(ask, nn.Module)}
    say(f"scoring {', '.join(asked)} on {len(dataset)} images")
    mious = {}
    for name, ask in asked.items():
        scores = evaluate(ask, dataset, boundary=False, longest_side=about.longest_side, short_side=about.short_side)
        mious[name] = scores["miou"]
        ask.cpu()  # where all are timed; `evaluate` takes them to the fastest device
    return mious


def _plain(shipment: Shipment) -> dict[str, Any]:
    """Return the report as values for JSON."""
    return {
        **dataclasses.asdict(shipment),
        "parity": shipment.parity._asdict(),
        "rows": [row._asdict() | {"latency": row.latency._asdict()} for row in shipment.rows],
    }
