"""Read named features out of any model, without touching its code.

A *tap* is a public name ("stage4") for a feature inside a model (the output of "encoder.layer4").  Losses speak only in
tap names, so they never import a model.
"""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

Features = dict[str, Tensor]
"""Tap name -> (N, C, h, w) feature; always holds "logits" too: (N, K, H, W), of a classifier (N, K)."""


Layout = Literal["NCHW", "NHWC", "NLC"]
"""How a module holds a feature: a map, a map with the channels last, or tokens in rows."""


class Tap(NamedTuple):
    """Where a feature is: what a module returns or what it is given.  It is always read as (N, C, h, w)."""

    path: str
    """Dotted path of a module inside the model."""
    read: Literal["output", "input"] = "output"
    """`input` reads what enters the module: for an activation, the pre-activation feature."""
    index: int | None = None  # pyright: ignore[reportIncompatibleMethodOverride]
    """Which one to take when the module returns (or takes) a list of tensors."""
    layout: Layout = "NCHW"
    prefix: int = 0
    """Tokens before those of the image (class and register tokens), which are left out; of NLC only."""
    stride: int = 1
    """Pixels per token and side of the image that the network is given: lays NLC out as a map."""


class Tapped:
    """Run a model and return its logits together with the tapped features.

    Deliberately not an `nn.Module`: tapping a model changes neither its `state_dict`, its parameters nor its train/eval
    mode.  A module that runs several times gives the feature of its last run.  Use it in a `with` block, or call
    `close()`, to remove the taps afterwards.

    Args:
        model: any module that maps images to logits.
        taps: tap name -> `Tap`, or just a module path for a module's output.

    Raises:
        ValueError: a path that the model does not have; the nearest names are suggested.
    """

    def __init__(self, model: nn.Module, taps: Mapping[str, Tap | str]):
        self.model = model
        self.taps = {name: Tap(tap) if isinstance(tap, str) else tap for name, tap in taps.items()}
        self._seen: dict[str, tuple[Tensor, int]] | None = None  # None: not recording
        self._sizes: dict[str, torch.Size] = {}  # of the image, for taps that lay out tokens
        self._handles = [self._watch(_find(model, tap.path), name, tap) for name, tap in self.taps.items()]
        for name, tap in self.taps.items():
            if tap.layout == "NLC":
                # Wrappers pad and scale, so the image that counts is the one that came nearest to the module.
                parts = tap.path.split(".") if tap.path else []
                around = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts) + 1)]
                see = partial(self._see_image, name)
                self._handles += [module.register_forward_pre_hook(see, with_kwargs=True) for module in around]

    def __call__(self, image: Tensor, **named: Any) -> Features:
        """Return `{"logits": ..., tap: feature, ...}` of one forward pass; the model is given `named` too."""
        self._seen = seen = {}
        try:
            logits = self.model(image, **named)
        finally:
            self._seen = None
        for name in self.taps:
            if name not in seen:
                raise ValueError(f"tap {name!r}: module {self.taps[name].path!r} did not run in this forward pass")
            feature, version = seen[name]
            if feature._version != version:
                raise RuntimeError(
                    f"tap {name!r} was overwritten in place after it was read; tap the module that follows it, "
                    "or build the model with inplace=False"
                )
        return {"logits": logits} | {name: self._as_map(name, seen[name][0]) for name in self.taps}

    def __enter__(self) -> "Tapped":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the taps from the model."""
        for handle in self._handles:
            handle.remove()

    # The hooks are partials of methods, not closures, so that a deep copy of model and taps stays one piece.
    def _watch(self, module: nn.Module, name: str, tap: Tap):
        if tap.read == "input":
            return module.register_forward_pre_hook(partial(self._see_input, name, tap))
        return module.register_forward_hook(partial(self._see_output, name, tap))

    def _see_input(self, name: str, tap: Tap, _: nn.Module, given: tuple) -> None:
        self._keep(name, tap, given[0])

    def _see_output(self, name: str, tap: Tap, _: nn.Module, __: tuple, result: object) -> None:
        self._keep(name, tap, result)

    def _keep(self, name: str, tap: Tap, value: Any) -> None:
        if self._seen is None:
            return
        feature = value if tap.index is None else value[tap.index]
        if not isinstance(feature, Tensor):
            raise ValueError(
                f"tap {name!r} reads a {type(feature).__name__} at {tap.path!r}, expected a tensor: "
                "give the index of one, as in Tap(path, index=-1), or tap a module inside it"
            )
        self._seen[name] = (feature, feature._version)

    def _see_image(self, name: str, _: nn.Module, given: tuple, named: dict[str, Any]) -> None:
        for value in (*given, *named.values()):
            if isinstance(value, Tensor) and value.ndim == 4 and value.shape[1] == 3:
                self._sizes[name] = value.shape[2:]

    def _as_map(self, name: str, feature: Tensor) -> Tensor:
        tap = self.taps[name]
        if tap.layout == "NCHW":
            return feature
        if tap.layout == "NHWC":
            return feature.permute(0, 3, 1, 2)
        tokens = feature[:, tap.prefix :]
        height, width = (math.ceil(side / tap.stride) for side in self._sizes[name])
        if tokens.shape[1] != height * width:
            raise ValueError(
                f"tap {name!r} has {tokens.shape[1]} tokens for an image of {tuple(self._sizes[name])}, expected "
                f"{height} x {width} at stride {tap.stride}: give an image whose sides are multiples of the stride, "
                "or tap another module"
            )
        return tokens.transpose(1, 2).unflatten(2, (height, width))


def feature_channels(model: nn.Module, taps: Mapping[str, Tap | str], image: Tensor) -> dict[str, int]:
    """Measure the channel count of every tap, and of "logits", by one forward pass that leaves the model as it was.

    Args:
        model: any module that maps images to logits.
        taps: as for `Tapped`.
        image: (N, 3, H, W) an image to run the model on; small is fine.

    Raises:
        ValueError: a tap that is not an (N, C, h, w) map.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # a probe must not move batch-norm statistics
    try:
        with Tapped(model, taps) as tapped, torch.no_grad():
            features = tapped(image)
    finally:
        for module, training in modes:
            module.training = training
    for name, feature in features.items():
        if feature.ndim != 4 and name != "logits":  # which may be those of whole images
            raise ValueError(f"tap {name!r} has shape {tuple(feature.shape)}, expected a map (N, C, h, w)")
    return {name: feature.shape[1] for name, feature in features.items()}


def _find(model: nn.Module, path: str) -> nn.Module:
    modules = dict(model.named_modules())
    if path not in modules:
        near = get_close_matches(path, modules, n=3) or list(modules)[1:6]
        raise ValueError(f"{type(model).__name__} has no module {path!r}; did you mean one of {near}?")
    return modules[path]
