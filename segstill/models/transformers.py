"""Segmentation networks of Hugging Face transformers as `Segmenter`s, by type, from a folder or from the hub.

Weights come from safetensors files alone, and no code that stands beside them is ever run.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from .adapters import Adapted
from .arguments import known, positive
from .pooling import explain_single_images
from .probing import as_segmenter, probe
from .publish import drop_unused
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter

R = TypeVar("R")

_QUERIES = ("eomt", "eomt_dinov3", "mask2former", "maskformer")
"""Types whose masks and classes are per query; see `class_scores` for how they become scores."""
_BACKBONE = "backbone_"
_TRUNKS = ("model.backbone", "model.model.pixel_level_module.encoder")
"""Where the backbone is, among heads of its own size; elsewhere it is found by probing."""


def transformers(
    classes: int,
    *,
    model: str = "segformer",
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **args: Any,
) -> Segmenter:
    """Build a network of transformers (the extra `segstill[transformers]`).

    Taps: "stage1" at stride 4, "stage2" at 8 and so on, as many as the network has, "encoder", the deepest of them,
    "decoder" (what the last convolution is given, before its dropout) where it ends with one, and all of them with
    "_pre", as they were before their activation.

    Args:
        classes: K.  A head of another K than that of the weights starts anew.
        model: a type ("segformer", "upernet", "mask2former", "maskformer", "eomt", "beit", "dpt", ...) for random
            weights, else a folder or a name on the hub ("nvidia/segformer-b0-finetuned-ade-512-512") for a network with
            its weights.  The files there name the layers in their own way: give the folder, not a file in it.
        pretrained: must be None; a folder or a name brings its own.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        args: further fields of the network's configuration, such as `depths`.  For a type, `backbone_NAME` is the field
            NAME of its backbone's configuration, and `backbone_model_type` the backbone's type.

    Raises:
        ValueError: the extra is missing, an unknown type or field, values that do not fit, or another normalisation
            than the folder's.
        FileNotFoundError: a folder without configuration or safetensors file.
        ConnectionError: a name that cannot be fetched from the hub.
    """
    positive(classes=classes)
    args = {name: list(value) if isinstance(value, tuple) else value for name, value in args.items()}
    if pretrained is not None:
        raise ValueError(
            f"pretrained is {pretrained!r}, expected None: give a folder or a name on the hub as model (model=...)"
        )
    if _is_type(model):
        net = Adapted(_from_type(model, classes, args), classes)
    else:
        _check_normalisation(Path(model), mean, std)
        net = Adapted(_from_weights(model, classes, args), classes)
    explain_single_images(net)
    modules = dict(net.named_modules())
    candidates = [*_TRUNKS, f"model.{net.model.base_model_prefix}"]
    trunk = next((path for path in candidates if path in modules and path != "model.model"), None)
    side = getattr(net.model.config, "image_size", None)
    size = None
    try:
        probed = probe(net, trunk=trunk)
    except ValueError:
        if not isinstance(side, int):
            raise
        size = (side, side)
        probed = probe(net, size=size, trunk=trunk)
    drop_unused(net, probed.image)
    return as_segmenter(net, probed, classes, mean=mean, std=std, size=size)


def class_names(model: str = "segformer", **_: Any) -> tuple[str, ...]:
    """Return the class names in the configuration of a folder or of a name on the hub; () for a type."""
    if _is_type(model):
        return ()
    config = _config(model)
    return tuple(config.id2label[index] for index in range(config.num_labels))


def _is_type(model: str) -> bool:
    return "/" not in model and not Path(model).is_dir()


def _from_type(kind: str, classes: int, args: dict[str, Any]) -> nn.Module:
    library = _library()
    known("type of network of transformers", kind, [*_semantic(), *_QUERIES])
    default: Any = library.AutoConfig.for_model(kind)
    theirs = [name for name in args if name.startswith(_BACKBONE) and name not in default.to_dict()]
    inner = {name.removeprefix(_BACKBONE): args.pop(name) for name in theirs}
    _check_fields(default, args)
    if inner:
        before = getattr(default, "backbone_config", None)
        if before is None:
            raise ValueError(f"{kind} has no backbone of its own, given fields of it, {sorted(inner)}: leave them out")
        backbone: Any = library.AutoConfig.for_model(inner.pop("model_type", before.model_type))
        _check_fields(backbone, inner)
        outputs = {"out_features": before.out_features}
        args = {"backbone_config": _built(kind, lambda: type(backbone)(**outputs, **inner))} | args
    if hasattr(default, "use_auxiliary_head"):  # of use to its own loss alone
        args = {"use_auxiliary_head": False} | args
    return _built(kind, lambda: _auto(kind).from_config(type(default)(num_labels=classes, **args)))


def _from_weights(model: str, classes: int, args: dict[str, Any]) -> nn.Module:
    config = _config(model)
    known("type of network of transformers", config.model_type, [*_semantic(), *_QUERIES])
    _check_fields(config, args)
    if hasattr(config, "use_auxiliary_head"):
        args = {"use_auxiliary_head": False} | args
    settings = {"use_safetensors": True, "trust_remote_code": False, "ignore_mismatched_sizes": True}
    auto = _auto(config.model_type)
    return _fetched(model, lambda: auto.from_pretrained(model, num_labels=classes, **settings, **args))


def _config(model: str) -> Any:
    return _fetched(model, lambda: _library().AutoConfig.from_pretrained(model, trust_remote_code=False))


def _check_fields(config: Any, args: Mapping[str, Any]) -> None:
    for name in args:
        known(f"field of the configuration of {config.model_type}", name, config.to_dict())


def _built(kind: str, build: Callable[[], R]) -> R:
    try:
        return build()
    except Exception as error:  # configurations and networks refuse values by many types of error
        raise ValueError(f"{kind} cannot be built so: {error}") from error


def _fetched(model: str, fetch: Callable[[], R]) -> R:
    folder, expected = Path(model), "expected config.json and model.safetensors, as written by save_pretrained"
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise FileNotFoundError(f"the folder {model} does not hold a network of transformers; {expected}")
    try:
        return fetch()
    except OSError as error:
        if folder.is_dir():
            raise FileNotFoundError(f"the folder {model} cannot be loaded ({error}); {expected}") from error
        raise ConnectionError(
            f"could not fetch {model} ({error}); check the name and the connection, or give a folder that holds it"
        ) from error


def _check_normalisation(folder: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse another normalisation than the one that stands beside the weights: nothing else would tell."""
    file = folder / "preprocessor_config.json"
    about = json.loads(file.read_text()) if file.is_file() else {}
    for name, given in (("mean", mean), ("std", std)):
        expected = about.get(f"image_{name}") if about.get("do_normalize", True) else [float(name == "std")] * 3
        if about and expected and max(abs(a - b) for a, b in zip(expected, given, strict=True)) > 1e-3:
            raise ValueError(
                f"{name} is {given}, but {file} says that the weights expect {tuple(expected)}: "
                f"pass --student.{name} (or --teacher-model.{name}) {' '.join(map(str, expected))}"
            )


def _library() -> Any:
    try:
        import transformers as library  # takes seconds, and is an extra
    except ImportError as error:
        raise ValueError(
            "networks of transformers need that library, which is not installed: pip install 'segstill[transformers]'"
        ) from error
    return library


def _semantic() -> list[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

    return list(MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)


def _auto(kind: str) -> Any:
    library = _library()
    return library.AutoModelForUniversalSegmentation if kind in _QUERIES else library.AutoModelForSemanticSegmentation
