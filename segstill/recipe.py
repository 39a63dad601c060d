"""A recipe says what to run.  It holds plain values only, so it prints, compares and saves as JSON."""

import dataclasses
import json
import types
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")
Value = str | int | float | bool | tuple[str, ...] | tuple[int, ...]
"""What an argument of a model, a loss or a data set may be."""
Ramp = Literal["flat", "up", "down"]
Refinement = Literal["par", "random-walk"]
Source = Literal["both", "cam", "is-cam"]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which images, and how they are augmented."""

    name: str
    """A data set of `segstill list`."""
    root: str | None = None
    """Folder of the data set."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the mask values; only for data sets that do not bring their own."""
    masks: str | None = None
    """Folder of PNG masks `<name>.png` to train on in place of the data set's own; images without one are left out."""
    val_masks: str | None = None
    """The same for validation, where there are no true masks: scores then tell the agreement with these."""
    unlabelled: str | None = None
    """Folder of further images without masks; they are used by the distillation terms only."""
    unlabelled_ratio: float = 1.0
    """Unlabelled images per labelled image in a batch, when there are any."""
    labelled: int | None = None
    """Keep the masks of only this many training images, evenly spread; the others count as unlabelled."""
    longest_side: int | None = None
    """Shrink images to this before augmentation and before prediction; scores are taken at the label's full size."""
    short_side: int | None = None
    """Resize images to this before augmentation and before prediction instead, up or down."""
    crop: tuple[int, int] = (512, 512)
    """Height and width of training crops."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the random scale."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    photometric: float = 0.0
    """Strength of colour jitter; 0 switches it off."""
    workers: int = 2
    """Processes that read and augment images; 0 reads in the main one."""
    args: dict[str, Value] = field(default_factory=dict)
    """Further arguments of the data set."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network."""

    name: str
    """A model of `segstill list`."""
    weights: str | None = None
    """File of weights for the network or its encoder, or "imagenet" to download the encoder's public ones."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per-channel mean of images in [0, 1] that the weights expect."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per-channel standard deviation that the weights expect."""
    args: dict[str, Value] = field(default_factory=dict)
    """Further arguments of the model."""


@dataclass(frozen=True, kw_only=True)
class TermSpec:
    """One loss with its weight; the objective is the sum of all terms."""

    weight: float = 1.0
    ramp: Ramp = "flat"
    """How the weight moves over the run: flat, up from 0 to 1 times the weight, or down from 1 to 0."""
    start: float = 0.0
    """Share of the run before which the weight is 0, in [0, 1)."""
    loss: str | None = None
    """A loss of `segstill list`; None means the one that the term is named after."""
    args: dict[str, Value] = field(default_factory=dict)
    """Further arguments of the loss."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to run, completely: the same recipe and the same data give the same student."""

    name: str
    data: DataSpec
    student: ModelSpec
    teacher: str | None = None
    """A run folder or a checkpoint file of the teacher; needed by distillation terms."""
    teacher_model: ModelSpec | None = None
    """The teacher's network; only for checkpoint files that do not say it themselves."""
    teacher_scale: float = 1.0
    """Factor by which the teacher's images are enlarged; its scores are brought back to the student's size."""
    teacher_classes: tuple[str, ...] = ()
    """The teacher's class names in its order; only for teachers that do not say them themselves."""
    class_map: dict[str, str] = field(default_factory=dict)
    """Teacher's class name -> student's class name, where the names differ; several may become one."""
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Tap name for losses -> (student's, teacher's) tap or module path, for features that do not share a name."""
    terms: dict[str, TermSpec] = field(default_factory=lambda: {"cross_entropy": TermSpec()})
    epochs: int = 100
    """Passes over the labelled training images."""
    batch_size: int = 8
    """Labelled images per step, over all processes."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    """Learning rate of the encoder; poly schedule over the whole run."""
    head_lr_factor: float = 10.0
    """The head, and the trainable parts of losses, learn this much faster than the encoder."""
    power: float = 0.9
    """Exponent of the poly schedule."""
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    decay_norms: bool = True
    """Weight decay on norms and biases too, as the papers on CNNs have it; transformers are trained without."""
    clip: float | None = None
    """Largest gradient norm; None does not clip."""
    ema: float | None = None
    """Decay of an exponential moving average of the student, which is then evaluated and shipped; None for none."""
    precision: Literal["fast", "fp32", "bf16"] = "fast"
    """`fast` is bf16 where the hardware computes in it, else fp32."""
    channels_last: bool = True
    evaluate_every: int = 1
    """Epochs between evaluations and checkpoints."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be trained."""
        for name in ("epochs", "batch_size", "evaluate_every", "lr", "teacher_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected more than 0: pass another --{name.replace('_', '-')}"
                )
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"clip is {self.clip}, expected a gradient norm above 0: leave it out, or pass --clip 1.0")
        for name, term in self.terms.items():
            if not 0 <= term.start < 1:
                raise ValueError(f"the term {name!r} starts at {term.start}, expected a share of the run in [0, 1)")
        if not self.terms:
            raise ValueError("there are no terms, expected at least one loss, such as cross_entropy")


@dataclass(frozen=True, kw_only=True)
class SeedSpec:
    """How maps are made and turned into masks."""

    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    """Factors by which the image is enlarged; the maps are added up."""
    flip: bool = True
    """Look at the mirrored image too."""
    threshold: float = 0.25
    """Score of the background, in [0, 1]; of V1 alone, because V2 has a map of the background."""
    source: Source = "both"
    """What V2 makes masks of: its class maps ("cam"), the maps of the image's prototypes ("is-cam"), or their mean."""
    background_factor: float | None = None
    """Factor on how much a place belongs to the background when V2 chooses its seeds; lower gives larger objects.
    Without one, that with which the run was trained; 1 for a run that was trained with none."""
    refine: tuple[Refinement, ...] = ()
    """Refinements, in this order."""
    band: float = 0.0
    """Pixels whose best class leads the second by less than this share of all scores get 255; 0 gives none."""
    half: bool = True
    """Refine by pixels at half the image's size, as its authors do."""
    iterations: int = 5
    """Of the refinement by pixels; its authors take 10."""
    beta: float = 10.0
    """Exponent on affinities in the random walk; larger keeps it more within regions."""
    exp_times: int = 6
    """The random walk has 2 to the power of this many steps; the authors of learned affinities take 8."""

    def __post_init__(self) -> None:
        """Refuse what no map can be made with."""
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales are {self.scales}, expected factors above 0: pass for example --scales 1 0.5 1.5")
        for name in ("threshold", "band"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number from 0 to 1")
        if self.background_factor is not None and self.background_factor <= 0:
            raise ValueError(f"background_factor is {self.background_factor}, expected a number above 0")


def to_json(recipe: Any) -> str:
    """Write a recipe, or another dataclass of plain values, as JSON, to be read back by `from_json` and `read`."""
    return json.dumps(dataclasses.asdict(recipe), indent=2)


def from_json(text: str) -> Recipe:
    """Read a recipe.

    Raises:
        ValueError: not JSON, an unknown field, a missing one, or a value of another type.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"a recipe must be JSON: {error}") from error
    return read(Recipe, data, "recipe")


def read(kind: type[Kind], fields: Any, where: str) -> Kind:
    """Turn what JSON gave for a dataclass of plain values back into one; raises ValueError as `from_json` does."""
    return _build(kind, fields, where)


def read_data_spec(fields: dict[str, Any]) -> DataSpec:
    """Turn what JSON gave for a DataSpec back into one; raises ValueError as `from_json` does."""
    return read(DataSpec, fields, "data")


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON data into `kind`, which is a dataclass, a container of the fields above, or a plain type."""
    origin, options = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {value!r}, expected an object with fields")
        hints = get_type_hints(kind)
        for name in value.keys() - hints.keys():
            near = get_close_matches(name, hints, n=3) or sorted(hints)
            raise ValueError(f"{where} has no field {name!r}; did you mean one of {near}?")
        try:
            return kind(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})
        except TypeError as error:
            raise ValueError(f"{where}: {error}") from error
    if origin in (Union, types.UnionType):
        for option in options:
            try:
                return _build(option, value, where)
            except ValueError:
                continue
    elif origin is Literal and value in options:
        return value
    elif origin is dict and isinstance(value, dict):
        return {key: _build(options[1], item, f"{where}.{key}") for key, item in value.items()}
    elif origin is tuple and isinstance(value, (list, tuple)):
        item_kinds = [options[0]] * len(value) if options[-1] is Ellipsis else options
        if len(item_kinds) == len(value):
            return tuple(
                _build(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(item_kinds, value, strict=True))
            )
    elif kind is float and type(value) is int:
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {value!r}, expected {getattr(kind, '__name__', kind)}")
