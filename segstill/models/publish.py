"""Publish the taps of a network, each with the feature as it was before the activation that produced it."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..taps import Tap, Tapped

# As autograd names them without "Backward0": relu6 is a hardtanh there.
_FUNCTIONAL = {
    *("relu", "hardtanh", "clamp", "clampmin", "threshold", "leakyrelu", "prelu", "rrelu", "elu", "celu", "selu"),
    *("gelu", "silu", "mish", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "logsigmoid"),
}


def publish_taps(net: nn.Module, taps: Mapping[str, Tap | str], image: Tensor) -> dict[str, Tap]:
    """Return `taps`, and for each a tap "NAME_pre": the input of the activation that produced the feature.

    Nothing is known about the network: one forward pass records what every activation and dropout module takes and
    returns, and tensors are matched by identity.

    - No activation produced the feature (a linear bottleneck): "NAME_pre" is the feature itself.
    - A function, not a module, activated it (`F.relu`): its input cannot be tapped, and there is no "NAME_pre".
    - The feature leaves a dropout module: the tap is moved to before the dropout.

    Activations and dropouts that would overwrite a published feature are set to `inplace=False`; apart from that the
    network, its statistics and its train/eval mode stay as they are.

    Args:
        net: maps images to scores.
        taps: tap name -> where the feature is, relative to `net`.
        image: (N, 3, H, W) a normalised image to run the network on; small is fine.
    """
    watched = {path: module for path, module in net.named_modules() if _is_activation(module) or _is_dropout(module)}
    modes = [(module, module.training) for module in net.modules()]
    inplace = {path: module.inplace for path, module in watched.items() if hasattr(module, "inplace")}
    runs: list[tuple[str, Tensor, Tensor]] = []  # holds the tensors, so that no identity is given out twice

    def record(path: str):
        return lambda _, given, result: runs.append((path, given[0], result))

    handles = [module.register_forward_hook(record(path)) for path, module in watched.items()]
    net.eval()  # statistics stay, and a dropout returns the very tensor that it takes
    try:
        for path in inplace:
            watched[path].inplace = False  # type: ignore[assignment]
        # Gradients are on because the graph knows which function made a feature.
        with Tapped(net, taps) as tapped, torch.enable_grad():
            features = tapped(image)
    finally:
        for handle in handles:
            handle.remove()
        for path, value in inplace.items():
            watched[path].inplace = value  # type: ignore[assignment]
        for module, training in modes:
            module.training = training

    last = {path: (given, result) for path, given, result in runs}  # a tap, too, reads the last run of a module
    dropouts = {path: run for path, run in last.items() if _is_dropout(watched[path])}
    activations = {path: run for path, run in last.items() if path not in dropouts}
    published: dict[str, Tap] = {}
    kept: list[Tensor] = []  # must not be overwritten
    for name, tap in tapped.taps.items():
        feature = features[name]
        kept.append(feature)
        dropout = next((path for path, (_, result) in dropouts.items() if result is feature), None)
        published[name] = tap if dropout is None else Tap(dropout, read="input")
        activation = next((path for path, (_, result) in activations.items() if result is feature), None)
        if activation is not None:
            published[f"{name}_pre"] = Tap(activation, read="input")
            kept.append(activations[activation][0])
        elif _made_by(feature) not in _FUNCTIONAL:
            published[f"{name}_pre"] = published[name]
    for path, given, result in runs:
        if path in inplace and any(tensor is given or tensor is result for tensor in kept):
            watched[path].inplace = False  # type: ignore[assignment]
    return published


def _is_activation(module: nn.Module) -> bool:
    # torch.nn.modules.activation, timm.layers.activations and their like; none of them holds other modules.
    home = type(module).__module__.rpartition(".")[2]
    return home.startswith("activation") and not any(module.children())


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd)


def _made_by(feature: Tensor) -> str:
    return re.sub(r"Backward\d*$", "", feature.grad_fn.name()).lower() if feature.grad_fn else ""
