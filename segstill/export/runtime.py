"""ONNX files: written from a graph, and run again."""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..models.segmenter import Segmenter
from .about import About, read_metadata
from .graph import unsupported

OPSET = 20
LIMIT = 2**31 - 1
"""Bytes that one protobuf file holds."""


def onnx_library() -> Any:
    """Import onnx; raises ValueError where it is not installed."""
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch writes ONNX with it)
    except ImportError as error:
        raise ValueError(
            f"ONNX files are written by onnx and onnxscript, and {error.name} is not installed: "
            "pip install 'segstill[export]'"
        ) from error
    return onnx


def runtime_library() -> Any:
    """Import onnxruntime; raises ValueError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            "ONNX files are run by onnxruntime, which is not installed: pip install 'segstill[export]'"
        ) from error
    return onnxruntime


def to_onnx(program: ExportedProgram, about: About) -> bytes:
    """Write a graph as ONNX with its metadata.

    Returns:
        The file; its input is "image", its output "logits" or "classes".

    Raises:
        ValueError: an operator that ONNX does not have, or more than 2 GB.
    """
    onnx_library()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            written: Any = torch.onnx.export(
                program,
                input_names=["image"],
                output_names=[about.output],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch raises many kinds here
        raise ValueError(unsupported(error)) from error
    finally:
        logger.setLevel(level)
    model = written.model_proto
    _without_traces(model.graph)
    for function in model.functions:
        _without_traces(function)
    return with_metadata(model, about)


def _without_traces(graph: Any) -> None:
    """Remove what torch notes at every node: lines of source and where they lay on this machine."""
    for part in (graph, *graph.node, *graph.value_info, *getattr(graph, "input", ()), *getattr(graph, "output", ())):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    for tensor in getattr(graph, "initializer", ()):
        del tensor.metadata_props[:]


def with_metadata(model: Any, about: About) -> bytes:
    """Return an ONNX model as a file that says what it is."""
    onnx_library().helper.set_model_props(model, about.metadata())
    model.producer_name, model.producer_version = "segstill", about.segstill
    if model.ByteSize() > LIMIT:
        raise ValueError(
            f"the network takes {model.ByteSize() / 2**30:.1f} GiB, and one ONNX file holds 2: "
            "export it with --format torch-export"
        )
    return model.SerializeToString()


class Exported(nn.Module):
    """An ONNX file of segstill, which is asked like a network.

    Args:
        content: the file.
        threads: that one image is computed with; 0 for one per core.
        source: its name, for messages.

    Raises:
        ValueError: no ONNX file, or one of another program.
    """

    def __init__(self, content: bytes, *, threads: int = 0, source: Path = Path("the file")):
        super().__init__()
        runtime = runtime_library()
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what it reports is raised too
        try:
            self._session: Any = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises kinds of its own
            raise ValueError(
                f"{source} is no ONNX file that onnxruntime {runtime.__version__} runs ({str(error).splitlines()[0]}): "
                "export it again"
            ) from error
        self.about = read_metadata(self._session.get_modelmeta().custom_metadata_map, source)
        self._input = self._session.get_inputs()[0].name
        about = self.about
        self._framed = Segmenter(
            _Frame(self), classes=len(about.classes), mean=about.mean, std=about.std, size=about.size
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return what the file returns of images.

        Where it takes one size, images are scaled to touch that frame from inside and padded, and the scores brought
        back, as `Segmenter` does for networks of one size.

        Args:
            image: (N, 3, H, W) uint8, or float in [0, 1].

        Returns:
            (N, K, H, W) logits, or (N, H, W) uint8 class ids, on the device of `image`.

        Raises:
            ValueError: an image of another size, and a file of one size that returns classes.
        """
        if self.about.size in (None, tuple(image.shape[2:])):
            return self.run(image)
        if self.about.output == "classes":
            raise ValueError(
                f"the file takes images of {self.about.size[0]} x {self.about.size[1]} and returns classes, which "
                f"cannot be scaled back to {image.shape[2]} x {image.shape[3]}: export it with --output logits"
            )
        return self._framed(image)

    def run(self, image: Tensor) -> Tensor:
        """Return what the file returns of images that have a size that it takes."""
        if self.about.input == "bytes":
            if image.is_floating_point():
                image = (image * 255).round().clamp(0, 255).to(torch.uint8)
            image = image.permute(0, 2, 3, 1)
        elif not image.is_floating_point():
            image = image.float() / 255
        given = image.cpu().contiguous()
        lacking = -len(given) % self.about.batch if self.about.batch else 0
        filled = torch.cat([given, given[-1:].expand(lacking, *given.shape[1:])]) if lacking else given
        parts = filled.split(self.about.batch) if self.about.batch else (filled,)
        try:
            results = [torch.from_numpy(self._session.run(None, {self._input: part.numpy()})[0]) for part in parts]
        except Exception as error:  # onnxruntime's have no common base but this one
            shape = tuple(image.shape)
            raise RuntimeError(f"onnxruntime cannot run this file on images of the shape {shape}: {error}") from error
        return torch.cat(results)[: len(given)].to(image.device)


class _Frame(nn.Module):
    """What a `Segmenter` of one size asks: it gives normalised images, the file takes them as they were."""

    def __init__(self, exported: Exported):
        super().__init__()
        self._ask = exported.run  # the module itself would hold the one that holds it
        self.mean, self.std = (torch.tensor(v).view(1, -1, 1, 1) for v in (exported.about.mean, exported.about.std))

    def forward(self, image: Tensor) -> Tensor:
        return self._ask(image * self.std.to(image) + self.mean.to(image))


def open_exported(path: Path, *, threads: int = 0) -> Exported:
    """Open an ONNX file; raises FileNotFoundError, or ValueError as `Exported` does."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: write one with segstill export RUN --out {path}")
    return Exported(path.read_bytes(), threads=threads, source=path)
