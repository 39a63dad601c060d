"""Seeds as masks in a folder, each written once, with what they were made of.

segstill seeds RUN --out masks --refine par
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoint import save_tensors, write
from .data.dataset import SegmentationDataset
from .data.evaluation import by_size
from .data.pictures import FileError, png
from .data.transforms import shrink
from .models import AffinityNet, Classifier
from .recipe import SeedSpec
from .run import interruption
from .seeding import class_maps, mask_of_size, refined


@dataclass
class Written:
    """What a job wrote and what it left out."""

    masks: int = 0
    there_already: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def write_seeds(
    model: Classifier,
    dataset: SegmentationDataset,
    out: Path,
    spec: SeedSpec,
    *,
    affinity: AffinityNet | None = None,
    about: dict[str, Any] | None = None,
    batch: int = 8,
    soft: bool = False,
    longest_side: int | None = None,
    short_side: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write a palette PNG per image into `out`, and seeds.json, which says how they were made.

    What is there already is not made again.  A file that cannot be read is left out and listed; the others go on.

    Args:
        model: a classifier; it is moved nowhere and left in eval mode.
        dataset: images with tags; no mask is read.
        out: the folder.
        spec: how.
        affinity: see `refined`.
        about: goes into seeds.json.
        batch: images of one size that are looked at together.
        soft: write the scores too, as fp16 safetensors, of the size that was looked at.
        longest_side: images are shrunk to it, as for training; masks have the size of the image all the same.
        short_side: or they are resized to it.
        progress: is told how many of how many are done.

    Raises:
        ValueError: `out` holds masks that were made in another way, or of other images or tags.
        KeyboardInterrupt: interrupted; the same call continues.
    """
    # As it will be read back: tuples become lists.
    made = json.loads(json.dumps({"classes": dataset.classes, **asdict(spec), **(about or {})}))
    made["made_of"] = _same_way(out, made)
    _same_images(out, dataset, made["made_of"])
    out.mkdir(parents=True, exist_ok=True)
    write(out / "seeds.json", json.dumps(made, indent=2))
    written = Written()
    device = next(model.parameters()).device
    model.eval()
    began = time.perf_counter()
    with interruption() as interrupted:
        for found, full in by_size(_unmade(dataset, out, soft, written), batch):
            indices, size = [index for index, _ in found], (full.shape[2], full.shape[3])
            image = torch.stack([shrink(each, longest_side, short_side) for each in full]).to(device)
            tags = torch.stack([tags for _, tags in found]).to(device)
            scores = refined(image, class_maps(model, image, tags, spec), spec, affinity)
            for place, index in enumerate(indices):
                name = dataset.name(index)
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                if soft:
                    save_tensors(out / f"{name}.safetensors", {"maps": scores[place].half().cpu()})
                ids = mask_of_size(scores[place], size, spec.band).cpu()
                write(out / f"{name}.png", png(ids, dataset.palette))
                made["made_of"][name] = _digest(dataset, index)
            written.masks += len(indices)
            progress(written.masks + written.there_already + len(written.left_out), len(dataset))
            if interrupted.is_set():
                write(out / "seeds.json", json.dumps(made, indent=2))
                raise KeyboardInterrupt(f"stopped after {written.masks} masks: the same command continues")
    written.seconds = time.perf_counter() - began
    write(out / "seeds.json", json.dumps(made | {"left_out": written.left_out}, indent=2))
    return written


def _same_way(out: Path, made: dict[str, Any]) -> dict[str, str]:
    """Return what the masks that are there were made of; raise ValueError if they were made in another way."""
    file = out / "seeds.json"
    if not file.is_file():
        if out.is_dir() and any(out.glob("*.png")):
            raise ValueError(f"{out} holds pictures and no seeds.json: choose an empty folder with --out")
        return {}
    # Folders of earlier versions do not name what they had no choice about.
    before = {"classifier_content": made.get("classifier_content"), "affinity_content": made.get("affinity_content")}
    before |= json.loads(json.dumps(asdict(SeedSpec()))) | json.loads(file.read_text())
    if other := [name for name in made if before.get(name) != made[name]]:
        told = "; ".join(f"{name}: {before.get(name)} there, {made[name]} now" for name in other)
        raise ValueError(f"{out} holds masks that were made in another way ({told}): choose another --out")
    return before.get("made_of", {})


def _same_images(out: Path, dataset: SegmentationDataset, made_of: dict[str, str]) -> None:
    """Raise ValueError if an image or its tags changed after its mask was made."""
    names = [
        name
        for index in range(len(dataset))
        if (name := dataset.name(index)) in made_of
        and (out / f"{name}.png").is_file()
        and made_of[name] != _digest(dataset, index)
    ]
    if names:
        told = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"{out} holds masks of {len(names)} images that were replaced, or have other tags now ({told}): delete "
            "these masks, or choose another --out"
        )


def _digest(dataset: SegmentationDataset, index: int) -> str:
    """Return a hash of an image file and of its tags."""
    tags = dataset.tags(index)
    image = b"".join(file.read_bytes() for file in dataset.files(index)[:1])
    words = json.dumps(None if tags is None else tags.tolist()).encode()
    return hashlib.blake2b(image + words, digest_size=8).hexdigest()


def _unmade(
    dataset: SegmentationDataset, out: Path, soft: bool, written: Written
) -> Iterator[tuple[tuple[int, Tensor], Tensor]]:
    """Yield the number and the tags, and the image, of each that has no mask yet."""
    for index in range(len(dataset)):
        name = dataset.name(index)
        if (out / f"{name}.png").is_file() and (not soft or (out / f"{name}.safetensors").is_file()):
            written.there_already += 1
            continue
        try:
            image, tags = dataset[index][0], dataset.tags(index)
        except (FileError, OSError) as error:
            written.left_out[name] = str(error)
            continue
        if tags is None:
            written.left_out[name] = "has no tags: nothing says what to look for in it"
            continue
        yield (index, tags), image
