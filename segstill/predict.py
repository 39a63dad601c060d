"""Masks of images and videos, from a run or from an exported file.

segstill predict RUN shots/ --out masks --overlays
"""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .batch import IGNORE
from .checkpoint import save_tensors, write
from .data.evaluation import by_size
from .data.pictures import FileError, png, read_mask
from .data.rle import coco, regions
from .data.sources import Names, Source, common_name, find_sources, frame_of, video_library
from .predictor import Predictor, PredictSpec
from .report.sheet import overlay_jpeg
from .run import interruption
from .seed_files import Written

RECORD = "predict.json"


def predict(
    model: Path | Predictor,
    images: Sequence[str],
    out: Path,
    spec: PredictSpec | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write a palette PNG per image into `out`, areas.csv with the share of every class, and predict.json.

    What is there already is not made again, unless its file was replaced; the tables hold what earlier calls made too.
    A file that cannot be read, or would be written as another one is, is left out and listed; the others go on.

    Args:
        model: a run, a checkpoint or an ONNX file; or a predictor.
        images: files, folders, patterns; videos too (see `find_sources`).
        out: the folder.
        spec: what is written.
        progress: is told how many files of how many were read.

    Raises:
        FileNotFoundError: the model or one of `images` is not there.
        ValueError: `out` holds the masks of another model, or of other images of the same names, or is a file.
        KeyboardInterrupt: interrupted; the same call continues.
    """
    spec = spec or PredictSpec()
    sources = find_sources(images, out)
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    predictor.check(spec)
    if any(source.is_video for source in sources):
        video_library()
    record = _started(out, predictor, [source for source in sources if not source.clash], spec)
    job = Job(predictor, out, spec, Written())
    given = {source.name for source in sources}
    job.keep([Source(Path(path), name) for name, path in record["files"].items() if name not in given])
    began = time.perf_counter()
    with interruption() as interrupted:
        for names, batch in by_size(job.unmade(sources, progress), 1 if spec.tile else spec.batch):
            try:
                results = list(zip(names, batch, predictor(batch, spec), strict=True))
            except RuntimeError as error:  # torch and onnxruntime raise it where memory does not suffice
                job.give_up([name for _, name in names], tuple(batch.shape[2:]), error)
                continue
            for (place, name), image, (ids, soft) in results:
                job.write(place, name, image, ids, soft)
            if interrupted.is_set():
                raise KeyboardInterrupt(f"stopped after {job.done.masks} masks: the same command continues")
    job.finish()
    job.done.seconds = time.perf_counter() - began
    write(out / RECORD, json.dumps(record | {"left_out": job.done.left_out}, indent=2))
    return job.done


Place = tuple[int, int]
"""Number of a source, and of an image in it."""


class Job:
    """Writes what is found of one image after the other, and tables of all in the order that they were given."""

    def __init__(self, predictor: Predictor, out: Path, spec: PredictSpec, done: Written):
        self.predictor, self.out, self.spec, self.done = predictor, out, spec, done
        self._areas: dict[Place, list[Any]] = {}
        self._regions: dict[Place, tuple[str, tuple[int, int], list[dict[str, Any]]]] = {}

    def keep(self, sources: Sequence[Source]) -> None:
        """Note what an earlier job made of other files, first in the tables."""
        for number, source in enumerate(sources):
            for index, file in enumerate(_made(self.out, source, ".png")):
                called = file.relative_to(self.out).with_suffix("").as_posix()
                self._note((number - len(sources), index), called, self._mask(file))

    def unmade(
        self, sources: Sequence[Source], progress: Callable[[int, int], None]
    ) -> Iterator[tuple[tuple[Place, str], Tensor]]:
        """Yield the images that have no mask yet; note those that have, and what cannot be read."""
        for number, source in enumerate(sources):
            try:
                if not (source.is_video or source.clash) and self._is_there(source.name):
                    self._take(number, 0, source.name)
                else:
                    for index, (name, image) in enumerate(source.images()):
                        if self._is_there(name):
                            self._take(number, index, name)
                        else:
                            yield ((number, index), name), image
            except (FileError, OSError) as error:
                known = isinstance(error, FileError) and error.args[0] == source.path  # the list names it anyway
                self.done.left_out[source.path.as_posix()] = "; ".join(error.args[1:]) if known else str(error)
            progress(number + 1, len(sources))

    def give_up(self, names: Sequence[str], size: tuple[int, ...], error: RuntimeError) -> None:
        """Note images that the network could not be asked about."""
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = f"{size[1]} x {size[0]} pixels: {why}; large images go through with --tile 1024, or a smaller --batch"
        self.done.left_out |= dict.fromkeys(names, remedy)

    def write(self, place: Place, name: str, image: Tensor, ids: Tensor, soft: Tensor | None) -> None:
        """Write what was found of an image; the mask comes last, because it says that the rest is there."""
        if soft is not None:
            self._path(f"{name}.safetensors").parent.mkdir(parents=True, exist_ok=True)
            save_tensors(self._path(f"{name}.safetensors"), {"maps": soft})
        about = self.predictor.about
        if self.spec.overlays:
            shown = overlay_jpeg(
                image.permute(1, 2, 0).numpy(), ids.numpy(), about.palette, background=about.classes[0] == "background"
            )
            self._path(f"overlays/{name}.jpg").parent.mkdir(parents=True, exist_ok=True)
            write(self._path(f"overlays/{name}.jpg"), shown)
        self._path(f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        write(self._path(f"{name}.png"), png(ids, about.palette))
        self.done.masks += 1
        self._note(place, name, ids)

    def finish(self) -> None:
        """Write the tables."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["image", "width", "height", *self.predictor.about.classes])
        rows.writerows(self._areas[place] for place in sorted(self._areas))
        write(self.out / "areas.csv", text.getvalue())
        if self.spec.rle:
            found = [self._regions[place] for place in sorted(self._regions)]
            write(self.out / "rle.json", json.dumps(coco(found, self.predictor.about.classes)))

    def _path(self, name: str) -> Path:
        return self.out / name

    def _is_there(self, name: str) -> bool:
        wanted = [f"{name}.png"]
        wanted += [f"{name}.safetensors"] if self.spec.soft else []
        wanted += [f"overlays/{name}.jpg"] if self.spec.overlays else []
        return all(self._path(file).is_file() for file in wanted)

    def _take(self, number: int, index: int, name: str) -> None:
        self.done.there_already += 1
        self._note((number, index), name, self._mask(self._path(f"{name}.png")))

    def _mask(self, file: Path) -> Tensor:
        try:
            return read_mask(file, self.predictor.about.classes)
        except FileError as error:
            raise FileError(*error.args[:2], "remove it, and predict its image again") from error

    def _note(self, place: Place, name: str, ids: Tensor) -> None:
        counts = torch.bincount(ids.flatten().int(), minlength=IGNORE)[: len(self.predictor.about.classes)]
        shares = [f"{count / ids.numel():.6f}" for count in counts.tolist()]
        self._areas[place] = [name, ids.shape[1], ids.shape[0], *shares]
        if self.spec.rle:
            self._regions[place] = name, (ids.shape[0], ids.shape[1]), regions(ids)


def _read(file: Path) -> dict[str, Any]:
    try:
        before = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is damaged ({error}): choose another --out") from error
    about = before.get("model") if isinstance(before, dict) else None
    if not isinstance(about, dict) or not {"tile", "overlap", "files"} <= before.keys() or "sha256" not in about:
        raise ValueError(f"{file} is not of segstill predict: choose another --out")
    return before


def _made(folder: Path, source: Source, suffix: str) -> list[Path]:
    """Return what was made of a source, by suffix; others may have theirs in a folder of its name."""
    if not source.is_video:
        alone = folder / f"{source.name}{suffix}"
        return [alone] if alone.is_file() else []
    found = (folder / source.name).glob(f"*{suffix}")
    return sorted(file for file in found if frame_of(f"{source.name}/{file.stem}"))


def _remove(out: Path, source: Source) -> None:
    """Remove all that was made of a source, wanted this time or not: the next look would take it for that of today."""
    for folder, suffix in ((out, ".png"), (out, ".safetensors"), (out / "overlays", ".jpg")):
        for file in _made(folder, source, suffix):
            file.unlink()


def _started(out: Path, predictor: Predictor, sources: Sequence[Source], spec: PredictSpec) -> dict[str, Any]:
    """Write what is being done into the folder, unless it holds something else; return it."""
    made = {
        "segstill": version("segstill"),
        "model": {"file": str(predictor.file), "sha256": predictor.digest},
        "classes": list(predictor.about.classes),
        "tile": spec.tile,
        "overlap": spec.overlap if spec.tile else None,
        "files": {source.name: str(source.path.resolve()) for source in sources},
        "stamps": {source.name: [(about := source.path.stat()).st_size, about.st_mtime_ns] for source in sources},
    }
    if taken := next((place for place in (out, *out.parents) if place.is_file()), None):
        raise ValueError(f"{taken} is a file, expected a folder for the masks: choose another --out")
    file = out / RECORD
    if file.is_file():
        before = _read(file)
        if before["model"]["sha256"] != predictor.digest:
            raise ValueError(
                f"{out} holds masks of another model ({before['model'].get('file')}), given {predictor.file}: choose "
                "another --out"
            )
        if [before[name] for name in ("tile", "overlap")] != [made[name] for name in ("tile", "overlap")]:
            raise ValueError(
                f"{out} holds masks made with --tile {before['tile']} --overlap {before['overlap']}, given --tile "
                f"{made['tile']} --overlap {made['overlap']}: choose another --out"
            )
        names = Names(Source(Path(path), name) for name, path in before["files"].items())
        for source in sources:
            other = names.clash(source)
            if other and other.path != source.path.resolve():
                mask = f"{common_name(source, other)}.png"
                raise ValueError(f"{out} holds {mask} of {other.path}, given {source.path}: choose another --out")
        for source in sources:
            stamp = made["stamps"][source.name]
            if before.get("stamps", {}).get(source.name, stamp) != stamp:  # the file was replaced
                _remove(out, source)
        for each in ("files", "stamps"):
            made[each] = before.get(each, {}) | made[each]
    elif out.is_dir() and any(out.rglob("*.png")):
        raise ValueError(f"{out} holds pictures and no {RECORD}: choose an empty folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    write(file, json.dumps(made, indent=2))
    return made
