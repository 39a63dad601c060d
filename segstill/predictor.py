"""A student that is asked for images of any size, whether it is a run or a file."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .arithmetic import nearest, resized
from .build import checkpoint_file, load
from .data.transforms import shrink
from .evaluate import find_devices
from .export import About, describe, open_exported
from .tiling import check_tiles, tiled


@dataclass(frozen=True, kw_only=True)
class PredictSpec:
    """What is written, and how large images are cut."""

    overlays: bool = False
    """Write the masks laid over the images too, as overlays/NAME.jpg."""
    soft: bool = False
    """Write the probabilities of all classes too, as NAME.safetensors: "maps" (K, H, W) float16."""
    rle: bool = False
    """Write rle.json too: all masks as COCO annotations with run-length encoding."""
    tile: int | None = None
    """Cut images into tiles of so many pixels a side, for those that are too large for the memory."""
    overlap: int = 128
    """Pixels that tiles share; pixels within a quarter of this of a tile's border are left to its neighbour."""
    batch: int = 8
    """Images of one size that are looked at together."""


class Predictor:
    """A student, from a run or a file, that is asked for images of any size.

    Args:
        path: a run folder, a checkpoint of segstill, or an ONNX file of segstill export.
        data_root: folder of the data set, for its colours; the recipe's own without it.
        threads: of an ONNX file; 0 for one per core.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: no student that predicts masks, or a file of another program.
    """

    def __init__(self, path: Path, *, data_root: str | None = None, threads: int = 0):
        self.about: About
        self.ask: Callable[[Tensor], Tensor]
        if path.suffix in (".pt2", ".pte"):
            kind = "torch.export" if path.suffix == ".pt2" else "ExecuTorch"
            raise ValueError(f"{path} is of {kind}, and predict asks runs and ONNX files: give the run, or the .onnx")
        if path.suffix == ".onnx":
            self.file, self.device = path, torch.device("cpu")
            exported = open_exported(path, threads=threads)
            self.about, self.ask = exported.about, exported
        else:
            saved = load(path)
            if saved.model.predicts != "masks" or not saved.classes:
                raise ValueError(
                    f"{saved.file} answers with tags, expected a student that predicts masks; segstill seeds makes "
                    "masks of a classifier"
                )
            self.file, self.device = checkpoint_file(path), find_devices().device
            self.about, self.ask = describe(saved, root=data_root), saved.model.to(self.device)
        self.digest = hashlib.sha256(self.file.read_bytes()).hexdigest()

    @torch.no_grad()
    def __call__(self, images: Tensor, spec: PredictSpec) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield class ids (H, W) uint8 of each image, and probabilities (K, H, W) float16 where they are wanted.

        Images are shrunk as in training, and scores brought back to their size.

        Args:
            images: (N, 3, H, W) uint8.
            spec: tiles, and whether probabilities are wanted.
        """
        size = (images.shape[2], images.shape[3])
        small = torch.stack([shrink(image, self.about.longest_side, self.about.short_side) for image in images])
        if spec.tile:
            for image in small:
                yield self._in_tiles(image[None], size, spec)
            return
        answers = self.ask(small.to(self.device))
        for answer in answers:
            if answer.ndim == 2:
                yield nearest(answer, size), None
            else:
                yield _decided(resized(answer[None].float(), size), spec.soft)

    def _in_tiles(self, image: Tensor, size: tuple[int, int], spec: PredictSpec) -> tuple[Tensor, Tensor | None]:
        bands = tiled(
            lambda part: self.ask(part.to(self.device)),
            image,
            tile=spec.tile or 1,
            overlap=spec.overlap,
            stride=self.about.stride,
        )
        if tuple(image.shape[2:]) != size:
            return _decided(resized(torch.cat(list(bands), dim=2), size), spec.soft)
        parts = [_decided(band, spec.soft) for band in bands]  # so that no scores of the whole image are held
        soft = [maps for _, maps in parts if maps is not None]
        return torch.cat([ids for ids, _ in parts]), torch.cat(soft, dim=1) if soft else None

    def check(self, spec: PredictSpec) -> None:
        """Raise ValueError where the file cannot give what is wanted."""
        if self.about.output == "classes" and (spec.soft or spec.tile):
            raise ValueError(
                f"{self.file} returns classes, and soft maps and tiles need scores: export it with --output logits"
            )
        if spec.tile:
            if self.about.size:
                raise ValueError(
                    f"{self.file} takes images of {self.about.size} only and sees every image in that frame: leave out "
                    "--tile, or give a run or a file of a network that takes any size"
                )
            check_tiles(spec.tile, spec.overlap, self.about.stride)
        if spec.batch < 1:
            raise ValueError(f"batch is {spec.batch}, expected 1 or more: pass another --batch")


def _decided(scores: Tensor, soft: bool) -> tuple[Tensor, Tensor | None]:
    return scores[0].argmax(0).to(torch.uint8).cpu(), scores[0].softmax(0).half().cpu() if soft else None
