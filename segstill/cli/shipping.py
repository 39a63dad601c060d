"""The verbs that ship: export, predict."""

from dataclasses import dataclass, fields
from pathlib import Path

import tyro

from ..export import About, ExportSpec, ParityError, export
from ..export.export import SUFFIXES
from ..predict import predict
from ..predictor import Predictor, PredictSpec
from ..progress import counting
from ..tables import shipment
from .console import DataRoot, err, out, parse, tell_written


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ExportSpec):
    """Write the student alone as one file for another program, held against the network on real images."""

    run: tyro.conf.Positional[Path]
    """Run folder (its best checkpoint) or checkpoint file."""
    out: Path | None = None
    """The file; without it student.onnx or student.pt2 in the run folder."""
    images: Path | None = None
    """Folder of images to compare, time and calibrate on, in place of the recipe's val and train split."""
    data_root: DataRoot = None
    """Folder of the data set; the recipe's own without it."""


def run_export(args: list[str]) -> int:
    """RUN [--out FILE] [--format onnx|torch-export] [--int8]: the student as a file for another program"""
    options = parse(ExportOptions, args, "export")
    spec = ExportSpec(**{field.name: getattr(options, field.name) for field in fields(ExportSpec)})
    folder = options.run if options.run.is_dir() else options.run.parent
    file = options.out or folder / f"student{SUFFIXES[spec.format]}"
    try:
        with counting(err, "images calibrated on") as progress:
            written = export(
                options.run,
                file,
                spec,
                images=options.images,
                data_root=options.data_root,
                say=lambda sentence: out.print(sentence, markup=False, highlight=False),
                progress=progress,
            )
    except ParityError as error:
        err.print(f"segstill: {error}", style="red", markup=False, highlight=False)
        return 1
    out.print(shipment(written))
    if written.int8_agreement is not None:
        out.print(
            f"int8 gives the class of the network at {100 * written.int8_agreement:.2f} % of the pixels of "
            f"{written.parity.images} images",
            highlight=False,
        )
    out.print(f"{file.name} {takes(written.about)}; report: {written.report}", highlight=False, markup=False)
    return 0


@dataclass(frozen=True, kw_only=True)
class PredictOptions(PredictSpec):
    """Write masks of images and videos; what is there already is not made again."""

    model: tyro.conf.Positional[Path]
    """Run folder (its best checkpoint), checkpoint file, or ONNX file of segstill export."""
    images: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders, patterns such as 'shots/**/*.jpg', videos."""
    out: Path = Path("predictions")
    """Folder of the masks, of areas.csv and of predict.json."""
    threads: int = 0
    """Threads of an ONNX file; 0 for one per core."""
    data_root: DataRoot = None
    """Folder of the data set, for its colours; the recipe's own without it."""


def run_predict(args: list[str]) -> int:
    """RUN|FILE.onnx IMAGES... [--out DIR] [--overlays] [--tile 1024]: masks of images and videos"""
    options = parse(PredictOptions, args, "predict")
    spec = PredictSpec(**{field.name: getattr(options, field.name) for field in fields(PredictSpec)})
    predictor = Predictor(options.model, data_root=options.data_root, threads=options.threads)
    with counting(err, "files read") as progress:
        done = predict(predictor, options.images, options.out, spec, progress=progress)
    return tell_written(done, options.out, "files")


def takes(about: About) -> str:
    """Say in a sentence what a file takes and returns."""
    count = "N" if about.batch is None else str(about.batch)
    height, width = about.size or ("H", "W")
    shape = (
        f"({count}, {height}, {width}, 3) uint8" if about.input == "bytes" else f"({count}, 3, {height}, {width}) float"
    )
    classes = len(about.classes)
    result = (
        f"({count}, {classes}, {height}, {width}) logits"
        if about.output == "logits"
        else f"({count}, {height}, {width}) class ids"
    )
    trained = ""
    if about.longest_side or about.short_side:
        how = f"shrunk to {about.longest_side}" if about.longest_side else f"of a short side of {about.short_side}"
        trained = f", images {how} pixels as in training"
    free = f"; H and W above {about.stride}" if about.size is None else ""
    return f"takes RGB {shape}{trained}{free}, and returns {result}"
