"""The user's own network, from a function in a file that Python can import from the current directory."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from .adapters import Adapted
from .arguments import positive
from .pooling import explain_single_images
from .probing import as_segmenter, probe
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter


def user(
    classes: int,
    *,
    factory: str = "",
    stride: int | None = None,
    size: int | None = None,
    encoder: str | None = None,
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **args: Any,
) -> Segmenter:
    """Build a network by calling a function of the user's.

    It is called again whenever the student is loaded from a run or a checkpoint, so the file must still be there.

    Taps: "stage1" at stride 4, "stage2" at 8 and so on, as many as the network has, "encoder", the deepest of them,
    "decoder" (what the last convolution to K channels is given, before its dropout), and all of them with "_pre", as
    they were before their activation.

    Args:
        classes: K.
        factory: "module:function"; the function is called with K and `args`, and returns a network that maps
            normalised images (N, 3, H, W) to scores (see `class_scores` for the forms that these may have).  Modules
            are looked for in the current directory too.
        stride: what the sides of its images must be multiples of; None tries.
        size: side of the squares that it takes, for a network of one size (see `Segmenter`).
        encoder: path of the part that learns at the low rate and that files of an encoder's weights fit; None finds the
            part that makes the image coarser.
        pretrained: must be None; the function may load what it likes.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        args: further arguments of the function.

    Raises:
        ValueError: no such function, one that does not take the arguments, or what it returns is no network of K
            classes.
    """
    positive(classes=classes, stride=1 if stride is None else stride, size=1 if size is None else size)
    if pretrained is not None:
        raise ValueError(f"pretrained is {pretrained!r}, expected None: let the function load its public weights")
    made = _call(factory, classes, args)
    net = Adapted(made, classes)
    if encoder and encoder not in dict(made.named_modules()):
        raise ValueError(
            f"the network of {factory} has no module {encoder!r}, expected one of "
            f"{[name for name, _ in made.named_children()]} or one inside them: pass encoder=PATH"
        )
    explain_single_images(net)
    square = None if size is None else (size, size)
    probed = probe(net, stride=stride, size=square, trunk=f"model.{encoder}" if encoder else encoder)
    return as_segmenter(net, probed, classes, mean=mean, std=std, size=square)


def _call(factory: str, classes: int, args: dict[str, Any]) -> nn.Module:
    module_name, colon, function_name = factory.partition(":")
    if not colon or not module_name or not function_name:
        raise ValueError(
            f"factory is {factory!r}, expected 'module:function', such as mine:build for build in mine.py of the "
            "current directory: pass --student.args.factory MODULE:FUNCTION"
        )
    with _importable(Path.cwd()) as here:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ValueError(
                f"module {module_name!r} of factory {factory!r} cannot be imported ({error}): it is looked for in "
                f"{here} and among the installed packages"
            ) from error
        function = getattr(module, function_name, None)
        if not callable(function):
            defined = sorted(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
            raise ValueError(f"{module_name} has no function {function_name!r}, expected one of {defined}")
        try:
            made = function(classes, **args)
        except TypeError as error:
            raise ValueError(
                f"{factory} cannot be called with the number of classes ({classes}) and {args}: {error}"
            ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{factory} returned a {type(made).__name__}, expected a torch.nn.Module")
    return made


@contextmanager
def _importable(folder: Path) -> Iterator[Path]:
    added = str(folder) not in sys.path
    if added:
        sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        if added:
            sys.path.remove(str(folder))
