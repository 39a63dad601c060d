"""What a chain runs, as plain data: from image labels (or masks) to a small student, one recipe per stage."""

from dataclasses import dataclass, field
from typing import Literal

from .recipe import Recipe, SeedSpec


@dataclass(frozen=True, kw_only=True)
class SharedData:
    """Where the data is; what is given here takes the place of what the recipes of the stages say."""

    root: str | None = None
    """Folder of the data set."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the mask values; only for data sets that do not bring their own."""
    masks: str | None = None
    """Folder of true masks `<name>.png` of some or all training images; where there is one, no seed mask is made."""
    unlabelled: str | None = None
    """Folder of further images without masks and tags; the student learns from what the teacher says of them."""
    workers: int | None = None
    """Processes that read and augment images; 0 reads in the main one."""


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """How the student is exported."""

    format: Literal["onnx", "torch-export"] = "onnx"
    int8: bool = False
    """Write a second file in 8-bit numbers."""


@dataclass(frozen=True, kw_only=True)
class PageSpec:
    """What the page about the chain shows."""

    examples: int = 6
    """Images shown of every stage."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The stages in their order; a chain may begin at the teacher, and may leave out stages at its end."""

    name: str
    data: SharedData = field(default_factory=SharedData)
    weights: str | None = None
    """File of encoder weights for every network whose recipe names no file; none of them is downloaded then."""
    mean: tuple[float, float, float] | None = None
    """Per-channel mean of images in [0, 1] that the weights expect; it takes the place of what the recipes say."""
    std: tuple[float, float, float] | None = None
    """Per-channel standard deviation that the weights expect, likewise."""
    classifier: Recipe | None = None
    """Learns from tags; without it, the teacher learns from true masks."""
    seeds: SeedSpec | None = None
    """How the classifier's maps become masks; needed with a classifier."""
    confident: SeedSpec | None = None
    """How they become the masks that `affinity` learns from; its band leaves uncertain pixels open."""
    affinity: Recipe | None = None
    """Learns, on the classifier's encoder, which neighbours belong together; the walk of `seeds` goes along that."""
    teacher: Recipe
    """Learns from the masks."""
    warm: bool = False
    """Whether the teacher's encoder begins as the classifier's, which knows the classes; they must be of one kind."""
    student: Recipe | None = None
    """Learns from the masks and from the teacher."""
    reference: Recipe | None = None
    """A student that learns from true masks alone, to compare with; left out where the data has none."""
    export: ExportSpec | None = None
    page: PageSpec | None = None

    def __post_init__(self) -> None:
        """Refuse stages that do not follow from each other."""
        if (self.classifier is None) != (self.seeds is None):
            has, lacks = ("classifier", "seeds") if self.seeds is None else ("seeds", "classifier")
            raise ValueError(f"the chain {self.name!r} has {has} and no {lacks}: give both, or begin at the teacher")
        if (self.affinity is None) != (self.confident is None):
            has, lacks = ("affinity", "confident") if self.confident is None else ("confident", "affinity")
            raise ValueError(f"the chain {self.name!r} has {has} and no {lacks}: give both or neither")
        if self.warm and self.classifier is None:
            raise ValueError(
                f"the teacher of the chain {self.name!r} is to begin as a classifier that is not there: give a "
                "classifier and seeds, or warm=False"
            )
        for later in ("reference", "export"):
            if self.student is None and getattr(self, later) is not None:
                raise ValueError(f"the chain {self.name!r} has {later} and no student: give a student, or leave it out")
        if self.student is not None and set(self.student.terms) == {"cross_entropy"}:
            raise ValueError(
                f"the student of the chain {self.name!r} learns by cross_entropy alone, expected a term that reads the "
                "teacher: give it those of a method (segstill list)"
            )


@dataclass(frozen=True, kw_only=True)
class Given:
    """Stages of one's own, which take the place of those of the chain."""

    classifier: str | None = None
    """A run folder or a checkpoint of a classifier."""
    masks: str | None = None
    """A folder of masks `<name>.png`."""
    teacher: str | None = None
    """A run folder, a checkpoint, or a plain file of weights with the student's `teacher_model`."""
    student: str | None = None
    """A run folder; it takes the place of all stages before it."""
