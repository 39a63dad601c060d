"""The stages of a chain as commands that repeat them one by one."""

import dataclasses
import shlex
from pathlib import Path

from ..recipe import SeedSpec
from .setting import Setting

AGAIN = "again"
"""Folder that these commands write into."""


def commands(setting: Setting, split: str, examples: int, *, reference: bool) -> tuple[str, ...]:
    """Return every stage as its verb with flags; they run in the folder that holds the chain's.

    Args:
        setting: the chain.
        split: which images the page scores.
        examples: images on the page.
        reference: whether the chain has a student on true masks.
    """
    told, runs = _learned(setting)
    if reference:
        told.append(_train(setting, "reference"))
        runs.insert(0, f"{AGAIN}/reference")
    if setting.chain.export:
        told.append(_export(setting, runs[-1]))
    heading = f"# the same stages one by one, in the folder that holds {setting.out.name}:"
    return (heading, *told, *_report(setting, runs, split, examples))


def _learned(setting: Setting) -> tuple[list[str], list[str]]:
    """Return what makes teacher and student, and the run that the page is about."""
    chain, given = setting.chain, setting.given
    if given.student:
        return [], [str(setting.student)]
    masks, val_masks, told = _masks(setting)
    teacher = str(setting.teacher) if given.teacher else f"{AGAIN}/teacher"
    if chain.classifier and not given.masks and not given.classifier:
        told.insert(0, _train(setting, "classifier"))
    learned = [*(["--data.masks", masks] if masks else []), *(["--data.val-masks", val_masks] if val_masks else [])]
    if not given.teacher:
        warm = ["--student.weights", _classifier_weights(setting)] if setting.is_warm else []
        told.append(_train(setting, "teacher", *learned, *warm))
    if not chain.student:
        return told, [teacher]
    return [*told, _train(setting, "student", *learned, "--teacher", teacher)], [f"{AGAIN}/student"]


def _report(setting: Setting, runs: list[str], split: str, examples: int) -> tuple[str, ...]:
    if not setting.chain.page:
        return ()
    words = ["segstill", "report", *runs, "--out", f"{AGAIN}/report.html", "--split", split]
    return (shlex.join([*words, "--examples", str(examples)]),)


def _masks(setting: Setting) -> tuple[str | None, str | None, list[str]]:
    """Return the masks to train on, those to validate on where they are not the data's own, and what makes them."""
    chain, given = setting.chain, setting.given
    if given.masks or not chain.classifier:
        masks = None if setting.masks is None else str(setting.masks)
        return masks, setting.for_teacher(chain.teacher).data.val_masks, []
    assert chain.seeds is not None
    classifier = str(setting.classifier) if given.classifier else f"{AGAIN}/classifier"
    affinity = f"{AGAIN}/affinity" if chain.affinity else None
    told = []
    if chain.confident and chain.affinity:
        told = [_seeds(chain.confident, classifier, f"{AGAIN}/confident")]
        told += _true(setting, f"{AGAIN}/confident")
        flags = ["--data.masks", f"{AGAIN}/confident", "--student.weights", _classifier_weights(setting)]
        if setting.makes_val_masks:
            told.append(_seeds(chain.confident, classifier, f"{AGAIN}/confident-val") + " --split val")
            flags += ["--data.val-masks", f"{AGAIN}/confident-val"]
        told.append(_train(setting, "affinity", *flags))
    told.append(_seeds(chain.seeds, classifier, f"{AGAIN}/masks", affinity))
    told += _true(setting, f"{AGAIN}/masks")
    if not setting.makes_val_masks:
        return f"{AGAIN}/masks", None, told
    told.append(_seeds(chain.seeds, classifier, f"{AGAIN}/masks-val", affinity) + " --split val")
    return f"{AGAIN}/masks", f"{AGAIN}/masks-val", told


def _classifier_weights(setting: Setting) -> str:
    return str(setting.classifier_file) if setting.given.classifier else f"{AGAIN}/classifier/last.safetensors"


def _true(setting: Setting, to: str) -> list[str]:
    masks = setting.chain.data.masks
    if masks is None:
        return []
    return ["# true masks take the place of seeds:", shlex.join(["cp", "-r", f"{Path(masks).absolute()}/.", to])]


def _train(setting: Setting, name: str, *flags: str) -> str:
    recipe = Path(setting.out.name) / name / "recipe.json"
    return shlex.join(["segstill", "train", recipe.as_posix(), "--run", f"{AGAIN}/{name}", *flags])


def _seeds(spec: SeedSpec, classifier: str, out: str, affinity: str | None = None) -> str:
    words = ["segstill", "seeds", classifier, "--out", out, *(["--affinity", affinity] if affinity else [])]
    for each in dataclasses.fields(SeedSpec):
        value = getattr(spec, each.name)
        if value != each.default:
            words += [f"--{each.name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else [value])]
    return shlex.join(words)


def _export(setting: Setting, run: str) -> str:
    spec = setting.chain.export
    assert spec is not None
    suffix = ".onnx" if spec.format == "onnx" else ".pt2"
    words = ["segstill", "export", run, "--out", f"{AGAIN}/student{suffix}"]
    words += ["--format", spec.format] if spec.format != "onnx" else []
    return shlex.join([*words, *(["--int8"] if spec.int8 else [])])
