"""What a stage depends on, as hashes: of files by their content, of recipes by what they do."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checkpoint import write
from ..data.dataset import SegmentationDataset
from ..recipe import Recipe

PLACES = ("root", "images", "masks", "val_masks", "unlabelled", "workers")
"""Fields of the data that say where or how fast, not what; the files themselves are hashed."""


class Contents:
    """Hashes of files by content, remembered by size and time of change, so that a rerun does not read everything.

    Args:
        file: where they are remembered between runs.
    """

    def __init__(self, file: Path):
        self._file = file
        self._known: dict[str, list[Any]] = {}
        if file.is_file():
            with suppress(json.JSONDecodeError):  # it saves time only: else everything is read again
                known = json.loads(file.read_text())
                self._known = known if isinstance(known, dict) else {}
        self._new = False

    def of_file(self, path: Path) -> str:
        """Return the hash of a file; of a folder, which is what tags an image that lies in it, that of its name."""
        if path.is_dir():
            return _digest(path.name)
        state, name = path.stat(), str(path.absolute())
        stamp = [state.st_size, state.st_mtime_ns]
        if self._known.get(name, [])[:2] != stamp:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()
            self._known[name] = [*stamp, digest]
            self._new = True
        return self._known[name][2]

    def of_dataset(self, dataset: SegmentationDataset) -> str:
        """Return a hash of names and files of all samples, and of the classes."""
        samples = (
            [dataset.name(index), *(self.of_file(path) for path in dataset.files(index))]
            for index in range(len(dataset))
        )
        return _digest([dataset.classes, list(samples)])

    def of_masks(self, folder: Path) -> str:
        """Return a hash of all masks in a folder and below it."""
        return _digest([[file.relative_to(folder).as_posix(), self.of_file(file)] for file in masks_in(folder)])

    def save(self) -> None:
        """Remember what was hashed."""
        if self._new and self._file.parent.is_dir():
            write(self._file, json.dumps(self._known))
            self._new = False


def masks_in(folder: Path) -> list[Path]:
    """Return the masks of a folder and of its subfolders, sorted."""
    return sorted(folder.rglob("*.png"))


def doing(recipe: Recipe) -> dict[str, Any]:
    """Return what a recipe does, as JSON would give it back, without the places of its files."""
    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    data = fields["data"]
    for name in PLACES:
        data.pop(name, None)
        if data["name"] == "folder":  # which may name places of its own
            data["args"].pop(name, None)
    del fields["teacher"]
    for model in filter(None, (fields["student"], fields["teacher_model"])):
        if model["weights"] != "imagenet":
            del model["weights"]
    return fields


def key_of(what: dict[str, Any], inputs: dict[str, str]) -> str:
    """Return the hash of a stage: of what it does and of what goes in."""
    return _digest([what, inputs])


def differences(there: Any, now: Any, where: str = "") -> list[str]:
    """Tell in words where two values as JSON gives them differ."""
    if isinstance(there, dict) and isinstance(now, dict):
        names: Iterable[str] = dict.fromkeys([*there, *now])
        return [
            told
            for name in names
            if there.get(name) != now.get(name)
            for told in differences(there.get(name), now.get(name), f"{where}.{name}" if where else name)
        ]
    return [f"{where} {_shown(there)}, now {_shown(now)}"]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=12).hexdigest()
