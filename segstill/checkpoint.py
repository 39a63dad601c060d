"""Files of a run: written whole or not at all, and read without executing anything."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn


def write(path: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all: the content goes to a file beside `path`, which then takes its place.

    Raises:
        OSError: the disk is full or not writable; what was at `path` before is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            kept = "the file that was there is intact" if path.exists() else "nothing was left behind"
            raise OSError(
                f"could not write {path}: {error.strerror or error}; {kept}. Free some space or choose another folder"
            ) from error
        raise


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits: equal for equal files, wherever they lie."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(path: Path, model: nn.Module, about: Mapping[str, Any]) -> None:
    """Save a state dict as safetensors, with `about` (values that JSON can hold) in the file's metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write(path, save(tensors, metadata={key: json.dumps(value) for key, value in about.items()}))


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Save tensors as safetensors."""
    write(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def read_about(path: Path) -> dict[str, Any]:
    """Return what `save_weights` was told about the model; empty for a file of another program.

    Raises:
        ValueError: not a safetensors file, or a damaged one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); give a checkpoint of segstill") from error
    about = {}
    for key, text in metadata.items():
        try:
            about[key] = json.loads(text)
        except json.JSONDecodeError:
            about[key] = text
    return about


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def load_exactly(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load a state dict that must fit completely.

    Raises:
        ValueError: it belongs to another model; the model is left as it was.
    """
    own = model.state_dict()
    wrong = list(own.keys() ^ tensors.keys())
    wrong += [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    if wrong:
        raise ValueError(
            f"{source} belongs to another model: {len(wrong)} of {len(own)} tensors differ, {sorted(wrong)[:3]}: "
            "give the checkpoint of this recipe, or the recipe of this checkpoint"
        )
    model.load_state_dict(dict(tensors))


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Save a training state (tensors, numbers, containers of them)."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    write(path, content.getvalue())


def read_state(path: Path) -> dict[str, Any]:
    """Read a training state; only tensors and plain values are accepted (`weights_only=True`).

    Raises:
        ValueError: not such a file, or a damaged one.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds here
        raise ValueError(f"{path} is not a training state of segstill: {str(error).splitlines()[0]}") from error
