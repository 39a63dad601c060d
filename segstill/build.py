"""Names become objects: the only place that turns a recipe, a run or a file into networks, losses and data."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch.optim import Optimizer

from .chain_recipe import Chain
from .checkpoint import load_exactly, read_about, read_weights
from .data import Masked, limit_labels, open_dataset, open_masked, open_unlabelled
from .data.dataset import SegmentationDataset
from .learner import Learner, Term
from .losses import LOSSES
from .losses.loss import Loss
from .models import CLASS_NAMES, MODELS, Guest, match_classes, tap_at
from .models.segmenter import Segmenter
from .models.weights import load_weights
from .optim import make_optimizer, norms_and_biases
from .recipe import DataSpec, ModelSpec, Recipe, TermSpec, from_json
from .recipe_files import SUFFIXES, read_chain_file, read_recipe_file
from .recipes import CHAINS, RECIPES
from .run import expect_no_chain
from .taps import Tap, feature_channels

Entry = TypeVar("Entry")
Say = Callable[[str], None]


def find(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """Look a name up.

    Raises:
        ValueError: it is not there; the nearest names are suggested.
    """
    if name not in table:
        near = get_close_matches(name, table, n=3) or sorted(table)
        raise ValueError(f"there is no {what} {name!r}; did you mean one of {near}? (segstill list shows all)")
    return table[name]


def build_recipe(name: str) -> Recipe:
    """Return the recipe of that name, or read one from a `.json` or `.py` file."""
    if name.endswith(SUFFIXES):
        return read_recipe_file(name)
    return find(RECIPES, name, "recipe")()


def build_chain(name: str) -> Chain:
    """Return the chain of that name, or read one from a `.py` file."""
    if name.endswith(SUFFIXES):
        return read_chain_file(name)
    return find(CHAINS, name, "chain")()


def build_training_data(spec: DataSpec, say: Say = print) -> tuple[SegmentationDataset, SegmentationDataset | None]:
    """Open the labelled training images, and the unlabelled ones if there are any.

    Args:
        spec: the data; `spec.masks` takes the place of the masks of its own.
        say: is told how many images have no mask there.
    """
    dataset = open_dataset(spec, "train") if spec.masks is None else open_masked(spec)
    if isinstance(dataset, Masked) and dataset.left_out:
        say(f"{dataset.left_out} of the training images are left out: {spec.masks} holds no mask of them")
    labelled, rest = limit_labels(dataset, spec.labelled)
    return labelled, open_unlabelled(spec, rest)


def build_model(spec: ModelSpec, classes: int, say: Say = print) -> Segmenter:
    """Build a network and load its weights; `say` is told what was loaded and what did not fit."""
    builder = find(MODELS, spec.name, "model")
    imagenet = spec.weights == "imagenet"
    model = builder(classes, mean=spec.mean, std=spec.std, pretrained="imagenet" if imagenet else None, **spec.args)
    if spec.weights and not imagenet:
        say(str(load_weights(model, Path(spec.weights))))
    return model


def build_learner(
    student: Segmenter,
    terms: Mapping[str, TermSpec],
    teacher: Segmenter | None = None,
    *,
    pairs: Mapping[str, tuple[str, str]] | None = None,
    probe: tuple[int, int] = (64, 64),
) -> Learner:
    """Pair a student (and a teacher) with losses; their channel counts are measured by one small forward pass.

    Args:
        student: the network that learns.
        terms: name -> weight, ramp and arguments of a loss; a name is that of the loss unless the term says another.
        teacher: needed by distillation terms.
        pairs: tap name -> tap or module path of the student and of the teacher; only with a teacher.
        probe: height and width of the image used for measuring.

    Raises:
        ValueError: an unknown loss, argument or tap, no teacher, or other classes.
    """
    everything = {"logits": (student.classes, teacher.classes if teacher else student.classes)}
    placed = _place(student, teacher, pairs or {}) if teacher else {}
    published = (teacher or student).taps
    taps = {name: (tap, published[name]) for name, tap in student.taps.items() if name in published} | placed
    mine = _channels(student, {name: tap for name, (tap, _) in taps.items()}, probe)
    theirs = _channels(teacher, {name: tap for name, (_, tap) in taps.items()}, probe) if teacher else mine
    channels = everything | {name: (mine[name], theirs[name]) for name in taps}
    return Learner(
        student,
        {
            name: Term(_build_loss(term.loss or name, channels, term.args), term.weight, term.ramp, term.start)
            for name, term in terms.items()
        },
        teacher,
        pairs=placed,
    )


def _place(student: Segmenter, teacher: Segmenter, pairs: Mapping[str, tuple[str, str]]) -> dict[str, tuple[Tap, Tap]]:
    placed: dict[str, tuple[Tap, Tap]] = {}
    for name, (mine, theirs) in pairs.items():
        try:
            placed[name] = tap_at(student, mine), tap_at(teacher, theirs)
        except ValueError as error:
            raise ValueError(f"the pair {name!r} (student {mine!r}, teacher {theirs!r}): {error}") from error
    return placed


def _channels(model: Segmenter, taps: Mapping[str, Tap], size: tuple[int, int]) -> dict[str, int]:
    return feature_channels(model, taps, torch.zeros(2, 3, *size, device=next(model.parameters()).device))


def _build_loss(name: str, channels: Mapping[str, tuple[int, int]], args: Mapping[str, Any]) -> Loss:
    kind = find(LOSSES, name, "loss")
    try:
        return kind(channels, **args)
    except TypeError as error:
        raise ValueError(f"loss {name!r} does not take these arguments: {error}") from error


def build_optimizer(recipe: Recipe, learner: Learner) -> Optimizer:
    """Build the optimizer of a learner: its student's encoder at the low rate, all else at the high one."""
    student = learner.student
    encoder = list(student.get_submodule(student.encoder).parameters()) if student.encoder else []
    known = {id(parameter) for parameter in encoder}
    return make_optimizer(
        [p for p in encoder if p.requires_grad],
        [p for p in learner.parameters() if p.requires_grad and id(p) not in known],
        name=recipe.optimizer,
        lr=recipe.lr,
        head_lr_factor=recipe.head_lr_factor,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        undecayed=() if recipe.decay_norms else norms_and_biases(learner),
    )


class Saved(NamedTuple):
    """A student that was trained, as found in a run folder or in a checkpoint file."""

    model: Segmenter
    recipe: Recipe | None
    classes: tuple[str, ...]
    file: Path


def load(path: str | Path, spec: ModelSpec | None = None, *, classes: int | None = None, say: Say = print) -> Saved:
    """Load the student of a run folder (its best checkpoint) or of a checkpoint file, in eval mode.

    Args:
        path: a run folder, a checkpoint of segstill, or a plain file of weights.
        spec: the network; needed for a plain file of weights only.
        classes: K; needed for a plain file of weights only.
        say: is told what a plain file of weights filled and what did not fit.

    Raises:
        FileNotFoundError: nothing there, or a run without a checkpoint yet.
        ValueError: a damaged file, weights of another model, or a plain file without `spec`.
    """
    file = checkpoint_file(Path(path))
    about = read_about(file) if file.suffix == ".safetensors" else {}
    if "recipe" in about:
        recipe, names = from_json(about["recipe"]), tuple(about["classes"])
        model = find(MODELS, recipe.student.name, "model")(
            len(names), mean=recipe.student.mean, std=recipe.student.std, pretrained=None, **recipe.student.args
        )
        load_exactly(model, read_weights(file), file)
        return Saved(model.eval(), recipe, names, file)
    if spec is None or classes is None:
        raise ValueError(
            f"{file} holds weights but does not say of which network: give the run folder or a checkpoint of segstill, "
            "or name the network (--teacher-model.name NAME ...)"
        )
    model = build_model(ModelSpec(name=spec.name, mean=spec.mean, std=spec.std, args=spec.args), classes, say)
    report = load_weights(model, file)
    if report.missing or report.other_shape:
        raise ValueError(f"{file} does not hold all of the network {spec.name!r}, expected a whole one: {report}")
    say(str(report))
    return Saved(model.eval(), None, (), file)


def load_teacher(recipe: Recipe, classes: tuple[str, ...], say: Say = print) -> Segmenter | None:
    """Load the teacher that a recipe names, or return None where it names none.

    It answers in the student's classes, which are matched by name and by the recipe's `class_map`, and at the student's
    size, whatever it was trained on.

    Args:
        recipe: its `teacher` is a run, a checkpoint or a plain file of weights; without it, `teacher_model` may be a
            network that brings its weights (a folder of transformers, a function of the user's).
        classes: the student's class names.
        say: is told what was loaded and how classes were matched.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: classes that do not match, or a file that is not complete.
    """
    spec, place = recipe.teacher_model, _teacher_place(recipe)
    names = recipe.teacher_classes or (CLASS_NAMES[spec.name](**spec.args) if spec and spec.name in CLASS_NAMES else ())
    if place:
        saved = load(place, spec, classes=len(names or classes), say=say)
        model, names = saved.model, saved.classes or names
        if model.predicts != "masks":
            raise ValueError(
                f"{saved.file} holds a network that predicts {model.predicts}, expected a teacher that predicts masks: "
                "give another run"
            )
    elif spec and (names or spec.name == "user"):
        model = build_model(spec, len(names or classes), say).eval()
    else:
        return None
    sources = match_classes(names, classes, recipe.class_map)
    if sources:
        say(f"the teacher's {len(names)} classes become the student's {len(classes)} by name")
    if sources or recipe.teacher_scale != 1:
        return Guest(model, scale=recipe.teacher_scale, sources=sources).eval()
    return model


def teacher_file(recipe: Recipe) -> Path | None:
    """Return the file of the teacher's weights; None without a teacher, or where its network brings its weights.

    Raises:
        FileNotFoundError: it is not there.
    """
    place = _teacher_place(recipe)
    return checkpoint_file(Path(place)) if place else None


def _teacher_place(recipe: Recipe) -> str | None:
    spec = recipe.teacher_model
    return recipe.teacher or (spec.weights if spec and spec.weights != "imagenet" else None)


def checkpoint_file(path: Path) -> Path:
    """Return the file of weights that `path` means: itself, or the best (else the last) checkpoint of a run folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"there is no run folder or checkpoint {path}; train one with segstill train")
    for name in ("best.safetensors", "last.safetensors"):
        if (path / name).is_file():
            return path / name
    expect_no_chain(path)
    raise FileNotFoundError(f"the run {path} has no checkpoint yet: let it train (segstill train ... --resume) first")
