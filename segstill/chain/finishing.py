"""The last stages: the exported student, and the page about the chain."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..build import checkpoint_file
from ..chain_recipe import ExportSpec, PageSpec
from ..export import ExportSpec as Shipping
from ..export import ParityError, export
from ..export.runtime import onnx_library, runtime_library
from ..report import write_report
from ..run import read_recipe
from .setting import Setting
from .stages import Inputs, Record, Stage, as_json
from .story import draw_story, scores_of
from .summary import NETWORKS

SUFFIX = {"onnx": ".onnx", "torch-export": ".pt2"}


class Exporting(Stage):
    """Exports the student, and checks that the file says what the student says."""

    def __init__(self, setting: Setting, spec: ExportSpec):
        super().__init__(setting, "export", "export", ("student",))
        if spec.format == "onnx" or spec.int8:  # hours before they are needed
            onnx_library()
            runtime_library()
        self.spec = spec
        self.file = setting.out / "export" / f"student{SUFFIX[spec.format]}"

    def what(self) -> Record:
        """Return the format."""
        return as_json(self.spec)

    def inputs(self) -> Inputs:
        """Return the hash of the student."""
        return {"student": self.setting.contents.of_file(checkpoint_file(self.setting.student))}

    def complete(self, result: Record) -> bool:  # noqa: ARG002
        """Tell whether the files are there."""
        files = [self.file, *([self.file.with_suffix(".int8.onnx")] if self.spec.int8 else [])]
        return all(file.is_file() for file in files)

    def run(self) -> Record:
        """Export."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        found = export_student(self.setting.student, self.file, self.spec, self.setting.say)
        told = f"{_sized(self.file)}, which answers as the student does"
        if self.spec.int8:
            told += f"; {_sized(self.file.with_suffix('.int8.onnx'))}"
        return {"told": told, "report": found}


def _sized(file: Path) -> str:
    return f"{file.name}, {file.stat().st_size / 1e6:.2g} MB"


def export_student(run: Path, file: Path, spec: ExportSpec, say: Callable[[str], None]) -> Record:
    """Export the student of a run into a file, parity included, and return its report.

    Raises:
        ValueError: the network cannot be exported, or the file does not answer as the network does.
    """
    try:
        shipment = export(run, file, Shipping(**as_json(spec)), say=say)
    except ParityError as error:
        raise ValueError(str(error)) from error
    return json.loads(shipment.report.read_text())


class Page(Stage):
    """Writes the page about the chain."""

    def __init__(self, setting: Setting, spec: PageSpec, before: tuple[str, ...], state: Record):
        super().__init__(setting, "report", "report", before)
        self.spec = spec
        self.state = state

    @property
    def places(self) -> tuple[Path, ...]:
        """The page."""
        return (self.setting.out / "report.html",)

    def what(self) -> Record:
        """Return what it shows."""
        return as_json(self.spec)

    def inputs(self) -> Inputs:
        """Return the hashes of the networks and of the masks."""
        setting, contents = self.setting, self.setting.contents
        found = {}
        if setting.begins_with_tags:
            found["classifier"] = contents.of_file(checkpoint_file(setting.classifier_file))
        if setting.chain.classifier and setting.masks and not setting.given.student:
            found["masks"] = contents.of_masks(setting.masks)
        networks = {"student": setting.student} if setting.chain.student else {}
        networks |= {} if setting.given.student else {"teacher": setting.teacher}
        networks |= {"reference": setting.out / "reference"} if "reference" in self.needs else {}
        found |= {name: contents.of_file(checkpoint_file(place)) for name, place in networks.items()}
        if "export" in self.needs:
            found["export"] = "".join(contents.of_file(f) for f in sorted((setting.out / "export").iterdir()))
        return found

    def complete(self, result: Record) -> bool:  # noqa: ARG002
        """Tell whether the page is there."""
        return self.places[0].is_file()

    def run(self) -> Record:
        """Score what is scored here, draw, and write."""
        setting = self.setting
        split = "val" if setting.truth("test") is None else "test"
        runs = [setting.out / "reference"] if "reference" in self.needs else []
        runs += [setting.student] if setting.chain.student else []
        before = {name: self.state[name] for name in self.needs}  # others may be left from another time
        rows = write_report(
            runs or [setting.teacher],
            self.places[0],
            split=split,
            examples=self.spec.examples,
            title=f"segstill chain: {setting.chain.name}",
            titles=self._titles(),
            say=setting.say,
            draw=partial(draw_story, setting=setting, state=before, split=split, examples=self.spec.examples),
        )
        return {"told": "report.html", "split": split, "scores": scores_of(setting, rows)}

    def _titles(self) -> dict[Path, str]:
        """Call networks what the table of stages calls them, whatever their folders are called."""
        setting = self.setting
        places = {"teacher": setting.teacher, "student": setting.student, "reference": setting.out / "reference"}
        if setting.given.student and (teacher := read_recipe(setting.student).teacher):
            places["teacher"] = Path(teacher)
        return {place: NETWORKS[stage] for stage, place in places.items()}
