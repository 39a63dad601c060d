"""The stages: each is an existing verb with files before and after it."""

import dataclasses
import json
import math
import statistics
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

from ..build import build_model, build_training_data, checkpoint_file, load_teacher
from ..checkpoint import write
from ..cost import estimate_step, measure_step
from ..data import open_dataset, open_tagged
from ..data.dataset import SegmentationDataset
from ..evaluate import headline
from ..footing import MAY_DIFFER, OF_THE_TEACHER, unequal
from ..models import CLASSIFIERS, Guest
from ..recipe import Recipe, to_json
from ..run import read_log
from ..train import train
from .contents import doing
from .setting import Setting

Record = dict[str, Any]
Inputs = dict[str, str]


class Expected(NamedTuple):
    """How long something takes."""

    seconds: float | None
    source: str
    """Where the number comes from, in words."""


UNKNOWN = Expected(None, "not known beforehand")
MEASURED = 2
"""Steps, or images, that are timed for a plan."""


class Stage(ABC):
    """One stage of a chain.

    Args:
        setting: what all stages share.
        name: of its folder and in the flags.
        title: in words.
        needs: the stages whose files go in.
    """

    fills_gaps = True
    """Whether `run` makes what is missing of what it wrote; else it begins anew."""

    def __init__(self, setting: Setting, name: str, title: str, needs: tuple[str, ...]):
        self.setting, self.name, self.title, self.needs = setting, name, title, needs

    @property
    def places(self) -> tuple[Path, ...]:
        """What it writes."""
        return (self.setting.out / self.name,)

    @abstractmethod
    def what(self) -> Record:
        """Return what it does, as JSON would give it back."""

    @abstractmethod
    def inputs(self) -> Inputs:
        """Return the hashes of what goes in by what it is; the stages before it are done."""

    @abstractmethod
    def complete(self, result: Record) -> bool:
        """Tell whether all that it wrote is there, given what `run` returned when it was done."""

    @abstractmethod
    def run(self) -> Record:
        """Do what is not done yet, and return what was reached: `told` in words, and numbers."""

    def expected(self, before: Record, *, ready: bool = False, begun: bool = False) -> Expected:  # noqa: ARG002
        """Return how long it will take.

        Args:
            before: what it returned an earlier time; empty without one.
            ready: whether what goes in is there, so that some steps can be timed.
            begun: whether what it wrote so far is a part of what is wanted now.
        """
        return UNKNOWN


class Training(Stage):
    """Trains a network: the classifier, the teacher, the student, or the reference.

    Args:
        setting: what all stages share.
        name: of its folder and in the flags.
        title: in words.
        needs: the stages whose files go in.
        recipe: with all places filled in.
    """

    fills_gaps = False

    def __init__(self, setting: Setting, name: str, title: str, needs: tuple[str, ...], recipe: Recipe):
        super().__init__(setting, name, title, needs)
        self.recipe = recipe
        self.folder = setting.out / name

    def what(self) -> Record:
        """Return the recipe without places."""
        return doing(self.recipe)

    def inputs(self) -> Inputs:
        """Return the hashes of images, masks or tags, weights, and the teacher."""
        contents, data = self.setting.contents, self.recipe.data
        if self.recipe.student.name in CLASSIFIERS:
            found = {"training images and tags": contents.of_dataset(open_tagged(data, "train"))}
            found["validation images and tags"] = contents.of_dataset(open_tagged(data, "val"))
        else:
            labelled, unlabelled = build_training_data(data, say=lambda sentence: None)
            found = {"training images and masks": contents.of_dataset(labelled)}
            found["validation images and masks"] = contents.of_dataset(open_dataset(data, "val"))
            if unlabelled is not None:
                found["unlabelled images"] = contents.of_dataset(unlabelled)
        for name, model in (("weights", self.recipe.student), ("teacher's weights", self.recipe.teacher_model)):
            if model and model.weights and model.weights != "imagenet":
                found[name] = contents.of_file(_weights(Path(model.weights)))
        if self.recipe.teacher:
            found["teacher"] = contents.of_file(checkpoint_file(Path(self.recipe.teacher)))
        return found

    def complete(self, result: Record) -> bool:  # noqa: ARG002
        """Tell whether scores and checkpoints are there."""
        return all((self.folder / name).is_file() for name in ("metrics.json", "last.safetensors", "best.safetensors"))

    def run(self) -> Record:
        """Train, or go on training."""
        resume = (self.folder / "recipe.json").is_file()
        if resume:  # places and workers may have changed, which change nothing of what the run does
            write(self.folder / "recipe.json", to_json(self.recipe))
        scores = train(self.recipe, self.folder, resume=resume, watch=self.setting.watch, say=self.setting.say)
        best = json.loads((self.folder / "metrics.json").read_text())["best"]
        found = {"told": f"val {headline(best)}", "scores": best, "last": scores, "pace": self._pace()}
        val_masks = self.recipe.data.val_masks
        other = "the masks given" if val_masks == str(self.setting.masks) else "seed masks"
        return found | {"compared_with": other if val_masks else None}

    def expected(self, before: Record, *, ready: bool = False, begun: bool = False) -> Expected:
        """Return it from the steps of its log, of an earlier run, or from some that are timed now."""
        total = self.recipe.epochs * math.ceil(self._images() / self.recipe.batch_size)
        if begun and (pace := self._pace()):
            done = max(line["step"] for line in read_log(self.folder))
            return Expected(max(0, total - done) * pace, "from its steps so far")
        if before.get("pace"):
            return Expected(total * before["pace"], "from the steps of its earlier run")
        if not ready:
            return Expected(total * self._estimate(), "from steps on noise that were timed now")
        random = dataclasses.replace(self.recipe.student, weights=None)  # as quick, and nothing is downloaded
        pace = measure_step(dataclasses.replace(self.recipe, student=random), steps=MEASURED, warm=1)
        return Expected(total * pace, f"from {MEASURED} steps that were timed now")

    def _estimate(self) -> float:
        """Return about how long a step takes when what goes in is there."""
        setting, recipe = self.setting, self.recipe
        classes = setting.tagged("train").classes if setting.chain.classifier else self._labelled().classes
        teacher = None
        if recipe.teacher and setting.given.teacher:
            teacher = load_teacher(recipe, classes, say=lambda sentence: None)
        elif recipe.teacher:
            model = build_model(dataclasses.replace(setting.chain.teacher.student, weights=None), len(classes))
            teacher = Guest(model, scale=recipe.teacher_scale).eval()
        return estimate_step(recipe, len(classes), teacher)

    def _pace(self) -> float | None:
        seconds = [line["seconds"] for line in read_log(self.folder) if line["kind"] == "step"]
        return statistics.median(seconds) if seconds else None

    def _images(self) -> int:
        if self.setting.begins_with_tags and self.name != "reference":  # masks will be made for all that have tags
            return len(self.setting.tagged("train"))
        return len(self._labelled())

    def _labelled(self) -> SegmentationDataset:
        return build_training_data(self.recipe.data, say=lambda sentence: None)[0]


def line_up(setting: Setting, state: Record) -> list[Stage]:
    """Return the stages that are to be done here, in their order; those that are given are not among them.

    Args:
        setting: the chain and its folder.
        state: what is known of the stages by name, kept up to date by the caller; the page shows it.
    """
    from .finishing import Exporting, Page  # they read what the stages above are
    from .masks import Masks

    chain, given = setting.chain, setting.given
    stages: list[Stage] = []
    if chain.classifier and chain.seeds and setting.begins_with_tags:
        if not given.classifier:
            recipe = setting.for_classifier(chain.classifier)
            stages.append(Training(setting, "classifier", "classifier", (), recipe))
        if chain.confident and chain.affinity:
            stages.append(Masks(setting, "confident", "confident seeds", ("classifier",), chain.confident))
            recipe = setting.for_affinity(chain.affinity)
            stages.append(Training(setting, "affinity", "affinities", ("classifier", "confident"), recipe))
        needs = ("classifier", "affinity") if chain.affinity else ("classifier",)
        stages.append(Masks(setting, "masks", "seed masks", needs, chain.seeds, setting.affinity))
    if not given.teacher and not given.student:
        needs = ("classifier", "masks") if setting.is_warm else ("masks",)
        stages.append(Training(setting, "teacher", "teacher", needs, setting.for_teacher(chain.teacher)))
    if chain.student and not given.student:
        recipe = setting.for_student(chain.student)
        stages.append(Training(setting, "student", "student", ("masks", "teacher"), recipe))
    if chain.reference:
        if setting.truth("train") is None:
            setting.say("the data has no true masks to train on: no student on true masks to compare with")
        else:
            recipe = setting.for_reference(chain.reference)
            may_differ = MAY_DIFFER | OF_THE_TEACHER | {"data"}
            if chain.student and (differences := unequal(chain.student, chain.reference, may_differ)):
                setting.say(f"the student and that on true masks are not on equal footing ({differences})")
            stages.append(Training(setting, "reference", "student on true masks", (), recipe))
    if chain.export:
        stages.append(Exporting(setting, chain.export))
    if chain.page:
        stages.append(Page(setting, chain.page, tuple(stage.name for stage in stages), state))
    return stages


def _weights(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of weights {path}: correct --weights")
    return path


def as_json(value: Any) -> Any:
    """Return a dataclass as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(value)))
