"""What the loader delivers, beside what a small student takes: whether decoding and augmentation keep up.

    python bench/loader.py [--quick] [--size 144 192] [--batch 4] [--encoder mobilenet_v2] [--workers 0 2] [--root DIR]

Images per second of the loader alone, of the student's training step alone, and of both together, where the share of
the time that the loop waits for its next batch counts.  The photographs are drawn scenes of 480 x 360 pixels as JPEG
files, or those of VOC 2012 in `--root`.  The student is DeepLabV3+ on three stages of its encoder, 0.1 M parameters
with MobileNetV2: a larger one takes longer for its step, so it waits less.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.utils import send_to_device
from PIL import Image

from segstill.build import build_learner, build_model
from segstill.data import folder, scenes, training_loader, voc
from segstill.data.dataset import SegmentationDataset
from segstill.learner import Learner
from segstill.recipe import DataSpec, ModelSpec, TermSpec


def drawn(root: Path, count: int) -> SegmentationDataset:
    """Write scenes as photographs and masks, and open them again."""
    source = scenes("train", count=count, size=(360, 480))
    for kind in ("images", "masks"):
        (root / kind / "train").mkdir(parents=True)
    for index in range(count):
        image, mask = source[index]
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / f"images/train/{index}.jpg", quality=92)
        Image.fromarray(mask.numpy()).save(root / f"masks/train/{index}.png")
    return folder(root, "train", classes=source.classes)


def student(classes: int, encoder: str, device: torch.device) -> Learner:
    """Build a small student that learns from labels alone."""
    args = {"architecture": "DeepLabV3Plus", "encoder": encoder, "encoder_depth": 3, "encoder_output_stride": 8}
    model = build_model(ModelSpec(name="smp", args=args | {"decoder_channels": 48}), classes)
    return build_learner(model, {"cross_entropy": TermSpec()}).to(device).train()


def per_second(run: Callable[[], object], images: int, rounds: int) -> float:
    """Return images per second over some rounds, after one that warms up."""
    run()
    settle()
    began = time.perf_counter()
    for _ in range(rounds):
        run()
    settle()
    return rounds * images / (time.perf_counter() - began)


def settle() -> None:
    """Wait for what a GPU still computes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few images, to see that it runs")
    parser.add_argument("--size", type=int, nargs=2, default=(144, 192), help="height and width of the crops")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--encoder", default="mobilenet_v2")
    parser.add_argument("--workers", type=int, nargs="+", default=(0, 2))
    parser.add_argument("--root", help="folder of VOC 2012")
    given = parser.parse_args()
    rounds = 2 if given.quick else 12
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as place:
        data = voc(given.root, "train") if given.root else drawn(Path(place), 4 if given.quick else 32)
        learner = student(len(data.classes), given.encoder, device)

        def batches(workers: int):
            spec = DataSpec(name="folder", crop=tuple(given.size), workers=workers)
            return iter(training_loader(data, None, spec, batch_size=given.batch, steps=1000))

        def step(batch) -> None:
            sum(learner(send_to_device(batch, device, non_blocking=True)).values()).backward()
            learner.zero_grad(set_to_none=True)

        first = next(batches(0))
        alone = per_second(lambda: step(first), given.batch, rounds)
        print(f"\ncrops of {given.size[0]} x {given.size[1]}, batches of {given.batch}, {device.type}, {rounds} rounds")
        print(f"  student's step alone        {alone:8.1f} images/s   x 1.00")
        for workers in given.workers:
            loader = batches(workers)
            next(loader)  # the workers start
            list(itertools.islice(loader, 4 * workers))  # what was fetched ahead comes at once, and must not count
            speed = per_second(lambda loader=loader: next(loader), given.batch, 4 * rounds)
            print(f"  loader alone, {workers} workers    {speed:8.1f} images/s   x {speed / alone:.2f}")
            loader = batches(workers)
            next(loader)
            waited, began = 0.0, time.perf_counter()
            for _ in range(rounds):
                asked = time.perf_counter()
                batch = next(loader)
                waited += time.perf_counter() - asked
                step(batch)
            settle()
            total = time.perf_counter() - began
            speed = rounds * given.batch / total
            print(f"  both, {workers} workers            {speed:8.1f} images/s   x {speed / alone:.2f}", end="")
            print(f"   waits {waited / total:.0%} of the time")


if __name__ == "__main__":
    main()
