"""The training loop, and the run folder it writes.

    segstill train camvid_small_aicsd --data.root DIR --teacher runs/camvid_small_teacher

A run folder holds recipe.json, env.json, log.jsonl (a line per step and per evaluation), metrics.json, the student as
last.safetensors and best.safetensors, and state.pt, from which the run continues.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from .affinities import evaluate_affinities
from .batch_norm import synchronise
from .build import build_learner, build_model, build_optimizer, build_training_data, load_teacher, teacher_file
from .data import open_dataset, open_tagged, training_loader
from .data.dataset import SegmentationDataset
from .evaluate import evaluate, evaluate_tags, find_devices, main_score
from .health import Health
from .models import AFFINITIES, CLASSIFIERS, AffinityNet
from .optim import averaged, precision_on, set_learning_rate
from .recipe import Recipe
from .run import Record, RunFolder, interruption


class Diverged(RuntimeError):  # noqa: N818 (what happened, not whose fault it is)
    """A loss is not finite."""


def train(
    recipe: Recipe,
    run: Path,
    *,
    resume: bool = False,
    watch: Callable[[Record], None] = lambda record: None,
    say: Callable[[str], None] = print,
) -> Record:
    """Train the recipe's student and return the final scores.

    Args:
        recipe: what to run.
        run: folder to write; it must not exist unless `resume`.
        resume: continue from the last checkpoint in `run`; the loss curve is that of an uninterrupted run.
        watch: is given every record of log.jsonl as it is written.
        say: is told what happens, in sentences.

    Raises:
        ValueError: a recipe that cannot run: data, teacher, taps, classes.
        FileExistsError: `run` holds a run already and `resume` is false.
        Diverged: a loss is not finite; names the term, the step and the last good checkpoint.
        KeyboardInterrupt: interrupted; the state was saved and `resume` continues.
    """
    torch.manual_seed(recipe.seed)
    accelerator = find_devices()
    device, rank, processes = accelerator.device, accelerator.process_index, accelerator.num_processes
    say = say if accelerator.is_main_process else lambda sentence: None

    # Everything that can be wrong is built before the first file is written.
    tagged = recipe.student.name in CLASSIFIERS
    labelled, unlabelled = (
        (open_tagged(recipe.data, "train"), None) if tagged else build_training_data(recipe.data, say)
    )
    validation = open_tagged(recipe.data, "val") if tagged else _open_validation(recipe, labelled, say)
    classes = len(labelled.classes)
    student = build_model(recipe.student, classes, say)
    teacher = load_teacher(recipe, labelled.classes, say)
    learner = build_learner(student, recipe.terms, teacher, pairs=recipe.pairs)
    learner.to(device)
    if recipe.channels_last:
        learner.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (a keyword-only overload)
    ema = averaged(student, recipe.ema) if recipe.ema else None
    shipped: nn.Module = ema.module if ema else student
    optimizer = build_optimizer(recipe, learner)
    precision = precision_on(device, recipe.precision)
    if unlabelled and not learner.teacher:
        say(f"{len(unlabelled)} images without masks are left out: only distillation can use them")
        unlabelled = None
    steps_per_epoch = math.ceil(len(labelled) / recipe.batch_size)
    steps = recipe.epochs * steps_per_epoch

    def is_due(step: int) -> bool:
        return step == steps or (step > 0 and step % (steps_per_epoch * recipe.evaluate_every) == 0)

    load_from = partial(
        training_loader,
        labelled,
        unlabelled,
        recipe.data,
        batch_size=recipe.batch_size,
        steps=steps,
        seed=recipe.seed,
        rank=rank,
        world_size=processes,
    )
    load_from(first_step=0)  # refuses what cannot be loaded
    reading: dict[str, Any] = {
        "longest_side": recipe.data.longest_side,
        "short_side": recipe.data.short_side,
        "workers": recipe.data.workers,
        "accelerator": accelerator,
    }

    taught_by = teacher_file(recipe) if learner.teacher else None
    writes = accelerator.is_main_process
    folder = RunFolder(run, recipe, labelled.classes, teacher=taught_by, resume=resume, writes=writes)
    accelerator.wait_for_everyone()
    state = folder.restore(learner, optimizer, ema)
    step = state["step"]
    loader = load_from(first_step=step)
    if processes > 1:
        synchronise(learner)
    health = Health(learner, validation, recipe.data) if learner.teacher else None
    half = partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == "bf16")
    prepared = accelerator.prepare(learner)
    say(
        f"{recipe.name}: {len(labelled)} labelled{f' + {len(unlabelled)} unlabelled' if unlabelled else ''} images, "
        f"{steps} steps in {recipe.epochs} epochs, {precision} on {processes} x {device.type}, from step {step}"
    )

    def look(step: int) -> None:
        """Evaluate what is shipped, and keep it if it is the best so far."""
        finished = step == steps
        guest = learner.teacher if finished else None
        if tagged:
            scores = evaluate_tags(shipped, validation, **reading)
        elif isinstance(shipped, AffinityNet):
            scores = evaluate_affinities(shipped, validation, **reading)
        else:
            scores = evaluate(shipped, validation, teacher=guest, boundary=finished, **reading)
        folder.log({"kind": "evaluation", "step": step, "epoch": step / steps_per_epoch, **scores}, watch)
        if health and (found := health.student(shipped, scores["miou"], finished=finished)):
            found.tell(say)
            folder.log(found.record(step), watch)
        prepared.train()
        score = main_score(scores)
        if state["best"] < 0 or score > state["best"]:  # the first one even where nothing could be scored
            state["best"] = 0.0 if math.isnan(score) else score
            folder.save_student("best", shipped, step, scores)
        state.update(scores=scores, evaluated=step)

    prepared.train()
    started = time.perf_counter() - state["seconds"]

    def save(step: int) -> None:
        state.update(step=step, seconds=time.perf_counter() - started)
        folder.save(learner, optimizer, ema, shipped, state)

    @contextmanager
    def kept() -> Iterator[None]:
        """Save what was learned if something fails that is not its fault, such as an image that vanished."""
        try:
            yield
        except Diverged:
            raise
        except Exception:
            if step > state["step"]:
                save(step)
                say(f"saved after step {step}: the same command continues, that of a single run with --resume")
            raise

    with closing(folder), interruption() as interrupted, kept():
        if is_due(step) and state["evaluated"] < step:  # what an evaluation cut off left behind
            look(step)
            save(step)
        began = time.perf_counter()
        for batch in loader:
            progress = step / steps
            lr = set_learning_rate(optimizer, progress, recipe.power)
            torch.manual_seed(hash((recipe.seed, step, rank)))  # dropout of a resumed run equals that of this one
            batch: Any = send_to_device(batch, device, non_blocking=True)
            checks = []
            if health and step == 0:
                checks.append(health.teacher())
                with half():
                    checks.append(health.gradients(batch))
                for found in checks:
                    found.tell(say)
                began = time.perf_counter()
            _forget_peak(device)  # that of evaluations and checks
            with half():
                losses: dict[str, Tensor] = prepared(batch, progress)
            values = _everywhere(accelerator, losses)
            for name, value in values.items():
                if not math.isfinite(value):
                    raise Diverged(
                        f"the loss {name!r} is {value} at step {step}; the last good checkpoint is {folder.last_good}. "
                        "Lower --lr or the weight of that term, or clip gradients (--clip 1.0)"
                    )
            accelerator.backward(torch.stack([loss.float() for loss in losses.values()]).sum())
            norm = float(clip_grad_norm_(prepared.parameters(), recipe.clip or math.inf))
            if not math.isfinite(norm):
                raise Diverged(
                    f"the gradient is {norm} at step {step} (losses {values}); the last good checkpoint is "
                    f"{folder.last_good}. Lower --lr, or clip gradients (--clip 1.0)"
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if ema:
                ema.update_parameters(student)
            step += 1

            seconds, began = time.perf_counter() - began, time.perf_counter()
            record = {"kind": "step", "step": step, "steps": steps, "epoch": step / steps_per_epoch, "lr": lr}
            record |= {"total": sum(values.values()), "losses": values, "seconds": seconds}
            record |= {"images_per_second": batch["image"].shape[0] * processes / seconds}
            record |= {"memory_mb": _peak_memory_mb(device)}
            folder.log(record, watch)
            for found in checks:
                folder.log(found.record(step), watch)

            stopping = interrupted.is_set() and step < steps
            if is_due(step) or stopping:
                save(step)  # before the evaluation, so that a kill in it costs no step
                if is_due(step):
                    look(step)
                    save(step)
                began = time.perf_counter()
            if stopping:
                raise KeyboardInterrupt(f"stopped after step {step}: the same command with --resume continues")
    folder.finish(state["scores"], time.perf_counter() - started)
    accelerator.wait_for_everyone()
    return state["scores"]


def _forget_peak(device: torch.device) -> None:
    """Start anew to look for the most memory that is held; of a process on a CPU nobody can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _open_validation(recipe: Recipe, labelled: SegmentationDataset, say: Callable[[str], None]) -> SegmentationDataset:
    """Open the images with true masks; affinities of who has none are scored on the seeds that they learn from."""
    try:
        return open_dataset(recipe.data, "val")
    except FileNotFoundError:
        if recipe.student.name not in AFFINITIES or recipe.data.masks is None:
            raise
        say("there are no true masks to validate on: the AUC of pairs is that on the seeds, which it learns from")
        return labelled


def _peak_memory_mb(device: torch.device) -> float | None:
    """Return the most memory held: of the GPU, since `_forget_peak`, else resident, ever; None where nobody counts."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if find_spec("resource") is None:  # Windows
        return None
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _everywhere(accelerator: Accelerator, losses: dict[str, Tensor]) -> dict[str, float]:
    """Return every loss averaged over processes: all see the same values, so all stop together."""
    values: Any = accelerator.reduce(torch.stack([loss.detach().float() for loss in losses.values()]), "mean")
    return dict(zip(losses, values.tolist(), strict=True))
