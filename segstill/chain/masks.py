"""The stage of seeds: maps of the classifier, refined and written as masks; true masks where there are some."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..batch import IGNORE
from ..build import build_model, checkpoint_file
from ..checkpoint import write
from ..data import Masked
from ..data.dataset import SegmentationDataset
from ..data.parts import Part
from ..data.pictures import read_mask
from ..data.transforms import shrink
from ..evaluate import find_devices
from ..models import AffinityNet, Classifier
from ..recipe import SeedSpec
from ..seed_files import write_seeds
from ..seed_masks import load_affinity, load_classifier, same_classes, score_masks, write_sheet
from ..seeding import as_trained, class_maps, refined
from .contents import masks_in
from .given import true_masks
from .setting import Setting
from .stages import MEASURED, Expected, Inputs, Record, Stage, as_json

SHEET = 48
"""Pictures on the contact sheet."""


class Masks(Stage):
    """Writes a mask for every training image, and for those of val where they have no true ones.

    Args:
        setting: what all stages share.
        name: of its folder and in the flags.
        title: in words.
        needs: the stages whose files go in.
        spec: how seeds are made.
        affinity: a run of affinities for the random walk of `spec`.
    """

    def __init__(
        self,
        setting: Setting,
        name: str,
        title: str,
        needs: tuple[str, ...],
        spec: SeedSpec,
        affinity: Path | None = None,
    ):
        super().__init__(setting, name, title, needs)
        self.spec, self.affinity = as_trained(setting.classifier_recipe, spec), affinity

    @property
    def places(self) -> tuple[Path, ...]:
        """The masks to train on, and those to validate on where there are none."""
        return (self.setting.out / self.name, self.setting.out / f"{self.name}-val")

    def what(self) -> Record:
        """Return how seeds are made."""
        data = self.setting.data
        sides = {"longest_side": data.longest_side, "short_side": data.short_side}
        seen = {name: side for name, side in sides.items() if side is not None}
        return {**as_json(self.spec), "val": self.setting.makes_val_masks, **seen}

    def inputs(self) -> Inputs:
        """Return the hashes of the classifier, the images, and the true masks."""
        contents, setting = self.setting.contents, self.setting
        found = {
            "classifier": contents.of_file(checkpoint_file(setting.classifier_file)),
            "images and tags": contents.of_dataset(setting.tagged("train")),
        }
        if self.affinity:
            found["affinities"] = contents.of_file(checkpoint_file(self.affinity))
        if setting.makes_val_masks:
            found["validation images and tags"] = contents.of_dataset(setting.tagged("val"))
        if setting.chain.data.masks:
            found["true masks"] = contents.of_dataset(Masked(setting.tagged("train"), Path(setting.chain.data.masks)))
        return found

    def complete(self, result: Record) -> bool:
        """Tell whether as many masks are there as were written."""
        return [len(masks_in(place)) for place in self.places] == result.get("masks")

    def run(self) -> Record:
        """Write what is missing."""
        setting = self.setting
        dataset = setting.tagged("train")
        true = true_masks(dataset, setting.chain.data.masks)
        rest = Part(dataset, [index for index in range(len(dataset)) if dataset.name(index) not in true])
        left_out, pace = self._write(rest, "train", self.places[0])
        for name, file in true.items():
            (self.places[0] / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
            write(self.places[0] / f"{name}.png", file.read_bytes())
        write_sheet(dataset, self.places[0], SHEET)
        if setting.makes_val_masks:
            left_out |= self._write(setting.tagged("val"), "val", self.places[1])[0]
        for name, problem in left_out.items():
            setting.say(f"  left out {name}: {problem}")
        counts = [len(masks_in(place)) for place in self.places]
        shown = self._shown(dataset)
        result: Record = {"masks": counts, "true_masks": sorted(true), "left_out": left_out, "pace": pace}
        result["shown"] = shown
        told = [f"{counts[0]} masks"]
        if rare := seldom(shown):
            told.append(f"hardly one shows {rare}")
        if true:
            told.append(f"{len(true)} of them true ones")
        if counts[1]:
            told.append(f"and {counts[1]} to validate on, because there are no true ones")
        truth = setting.truth("train")
        made = {rest.name(index) for index in range(len(rest))}
        if truth is not None and any(truth.name(index) in made for index in range(len(truth))):
            result["scores"] = score_masks(self.places[0], truth, but=true)
            told.append(f"mIoU of the made ones {result['scores']['miou']:.4f} on {result['scores']['images']} images")
        return result | {"told": ", ".join(told)}

    def _shown(self, dataset: SegmentationDataset) -> dict[str, tuple[int, int]]:
        """Return for every class how many training images are tagged with it, and how many of their masks show it.

        Raises:
            ValueError: the masks leave everything open, so that nothing can be learned of them, or scored by them.
        """
        found = {name: [0, 0] for name in dataset.classes[1:]}
        labelled = False
        for index in range(len(dataset)):
            file, tags = self.places[0] / f"{dataset.name(index)}.png", dataset.tags(index)
            if tags is None or not file.is_file():
                continue
            values = set(read_mask(file, dataset.classes).unique().tolist())
            labelled = labelled or values != {IGNORE}
            for label in (number for number, tagged in enumerate(tags.tolist(), start=1) if tagged):
                found[dataset.classes[label]][0] += 1
                found[dataset.classes[label]][1] += label in values
        val = masks_in(self.places[1]) if self.name == "masks" else []  # nothing is scored by the others
        if not labelled or (val and all((read_mask(mask, dataset.classes) == IGNORE).all() for mask in val)):
            stage = "seeds" if self.name == "masks" else self.name
            raise ValueError(
                f"the masks in {self.places[int(labelled)]} leave every pixel open, expected some with a class: the "
                "classifier is sure of nothing; train it for longer (--classifier.epochs), or lower "
                f"--{stage}.band (now {self.spec.band:g}; 0 leaves nothing open)"
            )
        return {name: (tagged, shows) for name, (tagged, shows) in found.items()}

    def expected(self, before: Record, *, ready: bool = False, begun: bool = False) -> Expected:
        """Return it from the images of an earlier time, or from some that are timed now."""
        dataset = self.setting.tagged("train")
        names = [dataset.name(index) for index in range(len(dataset))]
        left = sum(not begun or not (self.places[0] / f"{name}.png").is_file() for name in names)
        left += len(self.setting.tagged("val")) if self.setting.makes_val_masks else 0
        if before.get("pace"):
            return Expected(left * before["pace"], "from the images of an earlier time")
        device = find_devices().device
        classifier, affinity = self._networks(dataset.classes) if ready else self._random(len(dataset.classes))
        model = classifier.eval().to(device)
        began, data = time.perf_counter(), self.setting.data
        for index in range(min(MEASURED, len(dataset))):
            small, tags = shrink(dataset[index][0], data.longest_side, data.short_side), dataset.tags(index)
            if tags is not None:
                image = small[None].to(device)
                refined(image, class_maps(model, image, tags[None].to(device), self.spec), self.spec, affinity)
        each = (time.perf_counter() - began) / min(MEASURED, len(dataset))
        networks = "" if ready else ", with random weights"
        return Expected(left * each, f"from {min(MEASURED, len(dataset))} images that were timed now{networks}")

    def _networks(self, classes: tuple[str, ...]) -> tuple[Classifier, AffinityNet | None]:
        saved, classifier = load_classifier(self.setting.classifier)
        same_classes(saved, classes)
        return classifier, load_affinity(self.affinity, self.spec)

    def _random(self, classes: int) -> tuple[Classifier, AffinityNet | None]:
        """Build what will make the masks, as quick as it will be and as wrong as it is now."""
        chain, device = self.setting.chain, find_devices().device
        built = [
            recipe and build_model(dataclasses.replace(recipe.student, weights=None), classes)
            for recipe in (chain.classifier, chain.affinity if self.affinity else None)
        ]
        classifier, affinity = built
        assert isinstance(classifier, Classifier)
        return classifier, affinity.to(device) if isinstance(affinity, AffinityNet) else None

    def _write(self, dataset: SegmentationDataset, split: str, folder: Path) -> tuple[dict[str, str], float | None]:
        """Write what is missing of one split; return what was left out, and the seconds of an image."""
        classifier, affinity = self._networks(dataset.classes)
        data = dataclasses.replace(self.setting.data, workers=0)
        about = {
            "classifier": str(checkpoint_file(self.setting.classifier_file)),
            "data": dataclasses.asdict(data),
            "split": split,
        }
        about["affinity"] = self.affinity and str(self.affinity)
        # Places may have changed since an interruption; what they hold has not, or this would not go on.
        if (folder / "seeds.json").is_file():
            before = json.loads((folder / "seeds.json").read_text())
            write(folder / "seeds.json", json.dumps(before | about, indent=2))
        model = classifier.to(find_devices().device)
        written = write_seeds(
            model,
            dataset,
            folder,
            self.spec,
            affinity=affinity,
            about=about,
            longest_side=data.longest_side,
            short_side=data.short_side,
            progress=self.setting.count,
        )
        return written.left_out, written.seconds / written.masks if written.masks else None


def seldom(shown: Mapping[str, Sequence[int]]) -> str:
    """Name the classes that are tagged and in hardly any mask, which nothing later can learn; empty without any."""
    return ", ".join(f"{name} ({shows} of {tagged})" for name, (tagged, shows) in shown.items() if shows < tagged / 10)
