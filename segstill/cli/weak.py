"""The verb of weak supervision: seeds."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from ..build import checkpoint_file, load
from ..checkpoint import sha256
from ..data import open_dataset, open_tagged
from ..evaluate import evaluate_tags, find_devices
from ..flags import take_arguments
from ..localise import evaluate_seeds
from ..progress import counting
from ..recipe import DataSpec, read_data_spec
from ..seed_files import write_seeds
from ..seed_masks import load_affinity, load_classifier, same_classes, score_masks, write_sheet
from ..seeding import SeedSpec, as_trained
from .console import NOTHING, DataRoot, err, parse, tell_written


@dataclass(frozen=True, kw_only=True)
class SeedsOptions(SeedSpec):
    """Write the masks that a classifier of image-level labels leads to; masks that exist are never read."""

    run: tyro.conf.Positional[Path]
    """Run folder (its last checkpoint) or checkpoint of a classifier."""
    out: Path = Path("seeds")
    """Folder of the masks; what is there already is not made again."""
    split: str = "train"
    """Which images."""
    data_root: DataRoot = None
    """Folder of the data set; the recipe's own without it."""
    batch: int = 8
    """Images of one size that are looked at together."""
    soft: bool = False
    """Write the scores of all classes too, as fp16 safetensors."""
    affinity: Path | None = None
    """Run or checkpoint of an affinity network (segstill train *_affinity), along which the random walk goes."""
    sheet: int = 48
    """Pictures on the contact sheet overlays.jpg; 0 for none."""


def run_seeds(args: list[str]) -> int:
    """RUN [--out DIR] [--refine par random-walk]: masks from image-level labels"""
    given = next((Path(arg) for arg in args[:1] if not arg.startswith("-")), None)
    if given is None:
        parse(SeedsOptions, args, "seeds")
        raise ValueError("the run comes first: segstill seeds RUN [--out DIR] ...")
    saved, classifier = load_classifier(given)
    recipe, args = take_arguments(saved.recipe or NOTHING, args)
    options = parse(SeedsOptions, args, "seeds")
    data = dataclasses.replace(recipe.data, root=options.data_root or recipe.data.root)
    dataset = open_tagged(data, options.split)
    same_classes(saved, dataset.classes)
    spec = SeedSpec(**{field.name: getattr(options, field.name) for field in dataclasses.fields(SeedSpec)})
    spec = as_trained(saved.recipe, spec)
    model = classifier.to(find_devices().device)
    about = {"classifier": str(saved.file), "data": dataclasses.asdict(data), "split": options.split}
    affinity = load_affinity(options.affinity, spec)
    about["affinity"] = options.affinity and str(options.affinity)
    about["classifier_content"] = sha256(saved.file)
    about["affinity_content"] = sha256(checkpoint_file(options.affinity)) if options.affinity else None
    with counting(err, "images done") as progress:
        written = write_seeds(
            model,
            dataset,
            options.out,
            spec,
            affinity=affinity,
            about=about,
            batch=options.batch,
            soft=options.soft,
            longest_side=data.longest_side,
            short_side=data.short_side,
            progress=progress,
        )
    if options.sheet:
        write_sheet(dataset, options.out, options.sheet)
    return tell_written(written, options.out, "images")


def score_classifier(
    run: Path, data: DataSpec, split: str, spec: SeedSpec | None, workers: int, affinity: Path | None = None
) -> dict[str, float | int | dict[str, float | None]]:
    """Return the scores of a classifier's tags; with `spec`, of the seeds that its maps lead to."""
    saved, classifier = load_classifier(run)
    tagged = open_tagged(data, split)
    same_classes(saved, tagged.classes)
    if spec is None:
        return evaluate_tags(
            load(run).model, tagged, longest_side=data.longest_side, short_side=data.short_side, workers=workers
        )
    with counting(err, "images done") as progress:
        model = classifier.to(find_devices().device)
        pairs, spec = load_affinity(affinity, spec), as_trained(saved.recipe, spec)
        return evaluate_seeds(
            model,
            tagged,
            open_dataset(data, split),
            spec,
            affinity=pairs,
            longest_side=data.longest_side,
            short_side=data.short_side,
            progress=progress,
        )


def evaluate_masks(folder: Path, arguments: dict[str, Any], root: str | None) -> dict[str, Any]:
    """Score a folder of masks as `segstill seeds` writes them, on those of its images that have true ones."""
    about = json.loads((folder / "seeds.json").read_text())
    data = read_data_spec(about["data"])
    data = dataclasses.replace(data, root=root or data.root, args=data.args | arguments)
    return score_masks(folder, open_dataset(data, about["split"]))
