"""Load a file of weights, whatever it calls its layers, and say exactly what was loaded."""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .segmenter import Segmenter

_NESTED = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.", "net.", "encoder.", "backbone.")
_SHOWN = 4


@dataclass(frozen=True)
class WeightReport:
    """What became of every tensor of a file and of a model.

    `loaded`, `missing` and `other_shape` together are the model's tensors.
    """

    path: str
    """The file."""
    part: str
    """Path of the part of the model that the file fits; "" is the whole."""
    loaded: tuple[str, ...]
    """The model's tensors that now come from the file."""
    missing: tuple[str, ...]
    """The model's tensors that the file does not have; they are as before."""
    unexpected: tuple[str, ...]
    """The file's entries that the model has no place for."""
    other_shape: tuple[str, ...]
    """The model's tensors that have another shape in the file; they are as before."""
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """For each of `other_shape`, the shape in the file and in the model."""

    def __str__(self) -> str:
        ours = len(self.loaded) + len(self.missing) + len(self.other_shape)
        lines = [f"loaded {len(self.loaded)} of the model's {ours} tensors from {self.path} into {self.part or 'it'}"]
        if self.missing:
            lines.append(f"{len(self.missing)} are not in the file and stay as they were: {_some(self.missing)}")
        if self.other_shape:
            both = [f"{name} {theirs} in the file, {ours} here" for name, (theirs, ours) in self._pairs()]
            lines.append(f"{len(both)} have another shape and stay as they were: {_some(both)}")
        if self.unexpected:
            lines.append(f"{len(self.unexpected)} of the file's were not used: {_some(self.unexpected)}")
        return "\n".join(lines)

    def _pairs(self):
        return zip(self.other_shape, self.shapes, strict=True)


def load_weights(model: Segmenter, path: str | Path) -> WeightReport:
    """Load a file of weights into the whole model, its network or its encoder, whichever it fits.

    The file is a safetensors file or a plain state dict of torch, also one inside {"state_dict": ...} or
    {"model": ...}.  Names are tried with and without the usual prefixes ("module.", "model.", "net.", "encoder.",
    "backbone."); the one way in which most tensors fit by name and shape is taken, for all of them.

    Args:
        model: is changed only when something fits.
        path: is never executed: a file that holds other Python objects than tensors is refused.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no state dict, or fills less than half of the network and of its encoder.
    """
    path = Path(path)
    state, rest = _read(path)
    ours = model.state_dict()
    best: dict[str, str] = {}
    fitting: set[str] = set()
    part = ""
    for strip, add in product(_strips(state), _adds(model, ours)):
        names = {name: add + name[len(strip) :] for name in state if name.startswith(strip)}
        fits = {name for name, own in names.items() if own in ours and ours[own].shape == state[name].shape}
        if len(fits) > len(fitting):
            best, fitting, part = names, fits, add.rstrip(".")
    # Every batch normalisation has a counter of the same shape: that they fit says nothing.
    if all(name.endswith("num_batches_tracked") for name in fitting):
        raise ValueError(
            f"nothing in {path} fits the model: the file has {_some(sorted(state))}, the model has "
            f"{_some([name for name in ours if not name.endswith('num_batches_tracked')])}; "
            "give weights of the same architecture and encoder"
        )
    own = {own: name for name, own in best.items() if own in ours}
    loaded = {key: state[name] for key, name in own.items() if name in fitting}
    other_shape = tuple(key for key in ours if key in own and key not in loaded)
    report = WeightReport(
        path=str(path),
        part=part,
        loaded=tuple(key for key in ours if key in loaded),
        missing=tuple(key for key in ours if key not in own),
        unexpected=(*(name for name in state if best.get(name) not in ours), *rest),
        other_shape=other_shape,
        shapes=tuple((tuple(state[own[key]].shape), tuple(ours[key].shape)) for key in other_shape),
    )
    if not any(_mostly_filled(loaded, ours, part) for part in ("", model.encoder)):
        raise ValueError(
            f"{path} fills less than half of the network and less than half of its encoder, so it belongs to another "
            f"network: nothing was loaded ({report}); give weights of the same architecture or of the same encoder"
        )
    model.load_state_dict(loaded, strict=False)
    return report


def _mostly_filled(loaded: Mapping[str, Tensor], ours: Mapping[str, Tensor], part: str) -> bool:
    inside = f"{part}." if part else ""
    wanted = [name for name in ours if name.startswith(inside) and not name.endswith("num_batches_tracked")]
    return 2 * sum(name in loaded for name in wanted) >= len(wanted)


def _read(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a file, and the names of what else stands beside them."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no weight file {path}; check the path, or leave the weights out")
    content: Any
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds Python objects besides tensors, or is damaged, and loading it could run code; expected a "
            "state dict: where you trust its source, load it there and write torch.save(model.state_dict(), file)"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged or no weight file ({error}); expected a safetensors file or a state dict of torch"
        ) from error
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[name] for name in _NESTED if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            raise ValueError(
                f"{path} has no tensors, only {_some(sorted(map(str, content)))}; expected a state dict, "
                f"or one under one of {list(_NESTED)}"
            )
        content = inner
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a state dict: tensors by name")
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return state, [str(name) for name, value in content.items() if not isinstance(value, Tensor)]


def _strips(state: Mapping[str, Tensor]) -> Iterator[str]:
    """The prefixes, of up to two parts, that the file's names begin with."""
    for strip in ("", *_PREFIXES, *(first + second for first, second in product(_PREFIXES, _PREFIXES))):
        if not strip or any(name.startswith(strip) for name in state):
            yield strip


def _adds(model: Segmenter, ours: Mapping[str, Tensor]) -> Iterator[str]:
    """What must stand before a name so that it means a tensor of the model, its network or its encoder."""
    parts = ["", "net.", *([f"{model.encoder}."] if model.encoder else [])]
    for add in dict.fromkeys([*parts, *(part + prefix for part in parts for prefix in _PREFIXES)]):
        if not add or any(name.startswith(add) for name in ours):
            yield add


def _some(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
