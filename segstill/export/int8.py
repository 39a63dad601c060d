"""Static int8: weights and features of an ONNX file as 8-bit numbers, their ranges measured on real images."""

import contextlib
import dataclasses
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from .about import About
from .runtime import onnx_library, runtime_library, with_metadata

OPERATORS = ("Conv", "MatMul", "Gemm", "Add", "Mul", "Relu", "Clip", "Concat", "MaxPool", "AveragePool")
"""What is computed in 8 bits.  The scores are brought to the image's size in floats, which costs little and keeps them
apart; so does the normalisation."""


def quantise(
    content: bytes,
    about: About,
    images: Sequence[int],
    image: Callable[[int], Tensor],
    *,
    seven_bits: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> bytes:
    """Return an ONNX file in int8: QDQ, a scale per channel of weights, features from their least to their greatest.

    Args:
        content: the file in float32.
        about: what it says of itself.
        images: numbers of the images to calibrate on.
        image: reads one, (1, 3, H, W) uint8 of a size that the file takes.
        seven_bits: keep weights in 7 bits, for x86 processors without VNNI, whose sums of 8-bit products overflow.
        progress: is told how many of how many images are done.

    Raises:
        ValueError: onnxruntime cannot quantise the network, or there is no image.
    """
    if not images:
        raise ValueError("there are no images to calibrate on: give a folder of them with --images DIR")
    onnx = onnx_library()
    runtime_library()
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = _given(about, images, image, progress)

        def get_next(self) -> dict[str, Any] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            return next(self.left, None)

    level = logging.root.level
    try:
        logging.root.setLevel(logging.ERROR)  # it warns that the file was not prepared, which it was
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            plain, prepared, done = (Path(folder) / name for name in ("plain.onnx", "prepared.onnx", "done.onnx"))
            plain.write_bytes(content)
            # Joins convolutions with what follows them; without shapes, which it does not find for any size.
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                done,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATORS),
                per_channel=True,
                reduce_range=seven_bits,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
            model = onnx.load(done)
    except (ValueError, OSError):
        raise
    except Exception as error:  # onnxruntime raises kinds of its own
        raise ValueError(f"onnxruntime cannot quantise this network ({error}): ship the file without --int8") from error
    finally:
        logging.root.setLevel(level)
    return with_metadata(model, dataclasses.replace(about, precision="int8"))


def _given(
    about: About, images: Sequence[int], image: Callable[[int], Tensor], progress: Callable[[int, int], None]
) -> Iterator[dict[str, Any]]:
    for done, index in enumerate(images):
        batch = image(index)
        batch = batch.float() / 255 if about.input == "floats" else batch.permute(0, 2, 3, 1)
        if about.batch:
            batch = batch.expand(about.batch, *batch.shape[1:])
        yield {"image": batch.contiguous().numpy()}
        progress(done + 1, len(images))
