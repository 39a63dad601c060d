"""What the stages of a chain share: where things are, and the recipes with these places filled in."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..chain_recipe import Chain, Given
from ..checkpoint import read_about
from ..data import open_tagged, open_truth
from ..data.dataset import SegmentationDataset
from ..recipe import DataSpec, ModelSpec, Recipe, from_json
from .contents import Contents


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One chain in one folder."""

    chain: Chain
    out: Path
    """The folder, as an absolute path, because runs remember what they were made from."""
    given: Given
    contents: Contents
    say: Callable[[str], None] = print
    watch: Callable[[dict[str, Any]], None] = lambda record: None
    count: Callable[[int, int], None] = lambda done, total: None
    """Is told how many of how many images are done."""

    @property
    def classifier(self) -> Path:
        """The classifier's run, made here or given."""
        return _absolute(self.given.classifier) or self.out / "classifier"

    @property
    def classifier_file(self) -> Path:
        """Its last checkpoint, because its best is the best at telling tags, not places."""
        return self.classifier if self.classifier.is_file() else self.classifier / "last.safetensors"

    @property
    def classifier_recipe(self) -> Recipe | None:
        """What it was or will be trained with; None where its file does not say."""
        if not self.given.classifier:
            return self.chain.classifier
        about = read_about(self.classifier_file) if self.classifier_file.is_file() else {}
        return from_json(about["recipe"]) if "recipe" in about else None

    @property
    def affinity(self) -> Path | None:
        """The run of affinities; None where the chain has none."""
        return self.out / "affinity" if self.chain.affinity else None

    @property
    def teacher(self) -> Path:
        """The teacher's run or file, made here or given."""
        return _absolute(self.given.teacher) or self.out / "teacher"

    @property
    def student(self) -> Path:
        """The student's run, made here or given."""
        return _absolute(self.given.student) or self.out / "student"

    @property
    def begins_with_tags(self) -> bool:
        """Whether masks are made here from tags."""
        return bool(self.chain.classifier) and not self.given.masks and not self.given.student

    @property
    def masks(self) -> Path | None:
        """The masks of training images; None where the data set's own are used."""
        if self.given.masks:
            return _absolute(self.given.masks)
        return self.out / "masks" if self.chain.classifier else _absolute(self.chain.data.masks)

    @property
    def makes_val_masks(self) -> bool:
        """Whether there is no true mask to validate on, so that masks are made for these images too."""
        return bool(self.chain.classifier and not self.given.masks) and self.truth("val") is None

    def truth(self, split: str) -> SegmentationDataset | None:
        """The images of a split that have true masks; they are compared with, and trained on by the reference alone."""
        return open_truth(self.data, split)

    def tagged(self, split: str) -> SegmentationDataset:
        """The images of a split with their tags."""
        return open_tagged(self.data, split)

    @property
    def data(self) -> DataSpec:
        """The data that the chain begins with."""
        return self._shared((self.chain.classifier or self.chain.teacher).data)

    def for_classifier(self, recipe: Recipe) -> Recipe:
        """Fill in the places for the classifier, which sees no mask."""
        return self._placed(recipe)

    def for_affinity(self, recipe: Recipe) -> Recipe:
        """Fill in the places for the affinities, which are learned on the classifier's encoder from confident seeds."""
        placed = self._placed(recipe)
        val = str(self.out / "confident-val") if self.makes_val_masks else None
        data = dataclasses.replace(placed.data, masks=str(self.out / "confident"), val_masks=val)
        student = dataclasses.replace(placed.student, weights=str(self.classifier_file))
        return dataclasses.replace(placed, data=data, student=student)

    @property
    def is_warm(self) -> bool:
        """Whether the teacher's encoder begins as that of a classifier which is here."""
        return self.chain.warm and self.begins_with_tags

    def for_teacher(self, recipe: Recipe) -> Recipe:
        """Fill in the places for the teacher."""
        placed = self._on_masks(recipe)
        if not self.is_warm:
            return placed
        student = dataclasses.replace(placed.student, weights=str(self.classifier_file))
        return dataclasses.replace(placed, student=student)

    def for_student(self, recipe: Recipe) -> Recipe:
        """Fill in the places for the student, which also sees images without masks."""
        placed = self._on_masks(recipe)
        unlabelled = _absolute(self.chain.data.unlabelled)
        data = dataclasses.replace(placed.data, unlabelled=str(unlabelled) if unlabelled else placed.data.unlabelled)
        return dataclasses.replace(placed, data=data, teacher=str(self.teacher))

    def for_reference(self, recipe: Recipe) -> Recipe:
        """Fill in the places for a student on the data set's own masks."""
        return self._placed(recipe)

    def _placed(self, recipe: Recipe) -> Recipe:
        return dataclasses.replace(
            recipe, data=self._shared(recipe.data), student=self._weighted(recipe.student), teacher=None
        )

    def _on_masks(self, recipe: Recipe) -> Recipe:
        placed = self._placed(recipe)
        masks = None if self.masks is None else str(self.masks)
        data = dataclasses.replace(placed.data, masks=masks, val_masks=self._val_masks(placed.data))
        return dataclasses.replace(placed, data=data)

    def _shared(self, data: DataSpec) -> DataSpec:
        shared = self.chain.data
        root = _absolute(shared.root or data.root)
        return dataclasses.replace(
            data,
            root=str(root) if root else None,
            classes=shared.classes or data.classes,
            workers=data.workers if shared.workers is None else shared.workers,
            masks=None,
            unlabelled=None,
        )

    def _weighted(self, model: ModelSpec) -> ModelSpec:
        chain = self.chain
        weights = chain.weights if chain.weights and model.weights in (None, "imagenet") else model.weights
        return dataclasses.replace(model, weights=weights, mean=chain.mean or model.mean, std=chain.std or model.std)

    def _val_masks(self, data: DataSpec) -> str | None:
        if open_truth(data, "val") is not None or not self.chain.classifier:
            return None
        made = self.out / "masks-val"
        if not self.given.masks:
            return str(made)
        names = [f"{val.name(index)}.png" for val in [self.tagged("val")] for index in range(len(val))]
        # Masks of one's own may lie in one folder for both splits, or be those of training images alone.
        folders = (Path(self.given.masks).absolute(), made)
        found = {folder: sum((folder / name).is_file() for name in names) for folder in folders}
        if any(found.values()):
            return str(max(folders, key=lambda folder: found[folder]))
        raise ValueError(
            f"{self.given.masks} holds no mask of the {len(names)} validation images, of which none has a true one, "
            f"expected some, such as {names[0]}, to validate on: add them"
        )


def _absolute(path: str | Path | None) -> Path | None:
    return Path(path).absolute() if path else None
