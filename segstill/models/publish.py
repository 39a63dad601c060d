"""Publish the taps of a network, each with the feature as it was before the activation that produced it.

Also removes the parts of a network that its scores do not depend on.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..taps import Tap, Tapped

# As autograd names them without "Backward0".  What is in neither set may be an activation, or a part of one.
_WEIGHT = "torch::autograd::accumulategrad"
_LAYERS = {
    *("convolution", "addmm", "mm", "bmm", "linear", _WEIGHT),
    *("nativebatchnorm", "cudnnbatchnorm", "miopenbatchnorm", "nativegroupnorm", "nativelayernorm"),
}
_MOVES = {
    *("view", "unsafeview", "permute", "transpose", "t", "clone", "alias", "expand", "tocopy", "constantpadnd", "roll"),
    *("slice", "select", "squeeze", "unsqueeze", "split", "splitwithsizes", "unbind", "cat", "stack", "pixelshuffle"),
    *("avgpool2d", "adaptiveavgpool2d", "mean", "maxpool2dwithindices"),
    *("upsamplenearest2d", "upsamplebilinear2d", "upsamplebicubic2d"),
}
_SUMS = {"add", "sub", "sum"}


def publish_taps(net: nn.Module, taps: Mapping[str, Tap | str], image: Tensor) -> dict[str, Tap]:
    """Return `taps`, and for each a tap "NAME_pre": the input of the activation that produced the feature.

    Nothing is known about the network: one forward pass records what every activation and dropout module takes and
    returns, and tensors are matched by identity.

    - No activation produced the feature: "NAME_pre" is the feature itself.  It comes straight from layers (a linear
      bottleneck, a normalisation), or these were added up, scaled by weights, moved, pooled or resized.
    - Otherwise there is no "NAME_pre": a function or arithmetic activated it (`F.relu`, `x * sigmoid(x)`), whose input
      cannot be tapped, or it was moved, added or gated after its activation.
    - The feature leaves a dropout module: the tap is moved to before the dropout.

    Activations and dropouts that would overwrite a published feature are set to `inplace=False`; apart from that the
    network, its statistics and its train/eval mode stay as they are.

    Args:
        net: maps images to scores.
        taps: tap name -> where the feature is, relative to `net`.
        image: (N, 3, H, W) a normalised image to run the network on; small is fine.
    """
    watched = {path: module for path, module in net.named_modules() if _is_activation(module) or _is_dropout(module)}
    taps = {name: Tap(tap) if isinstance(tap, str) else tap for name, tap in taps.items()}
    modes = [(module, module.training) for module in net.modules()]
    inplace = {path: module.inplace for path, module in watched.items() if hasattr(module, "inplace")}
    frozen = [p for p in net.parameters() if p.is_floating_point() and not p.requires_grad]
    runs: list[tuple[str, Tensor, Tensor]] = []  # holds the tensors, so that no identity is given out twice

    def record(path: str):
        return lambda _, given, result: runs.append((path, given[0], result))

    handles = [module.register_forward_hook(record(path)) for path, module in watched.items()]
    net.eval()  # statistics stay, and a dropout returns the very tensor that it takes
    try:
        for path in inplace:
            watched[path].inplace = False  # type: ignore[assignment]
        # As the modules hold them: the layout as a map would make another tensor.
        raw = {name: tap._replace(layout="NCHW") for name, tap in taps.items()}
        for parameter in frozen:  # or the graph would not tell a weight from a mask
            parameter.requires_grad_()
        # Gradients are on because the graph knows which function made a feature, also where it has no weight at all.
        with Tapped(net, raw) as tapped, torch.enable_grad():
            features = tapped(image.detach().requires_grad_().clone())
    finally:
        for handle in handles:
            handle.remove()
        for path, value in inplace.items():
            watched[path].inplace = value  # type: ignore[assignment]
        for parameter in frozen:
            parameter.requires_grad_(False)
        for module, training in modes:
            module.training = training

    def read(path: str, tap: Tap) -> Tap:
        return tap._replace(path=path, read="input", index=None)

    last = {path: (given, result) for path, given, result in runs}  # a tap, too, reads the last run of a module
    dropouts = {path: run for path, run in last.items() if _is_dropout(watched[path])}
    activations = {path: run for path, run in last.items() if path not in dropouts}
    published: dict[str, Tap] = {}
    kept: list[Tensor] = []  # must not be overwritten
    for name, tap in taps.items():
        feature = features[name]
        kept.append(feature)
        dropout = next((path for path, (_, result) in dropouts.items() if result is feature), None)
        published[name] = tap if dropout is None else read(dropout, tap)
        activation = next((path for path, (_, result) in activations.items() if result is feature), None)
        if activation is not None:
            published[f"{name}_pre"] = read(activation, tap)
            kept.append(activations[activation][0])
        elif _nothing_activated(feature):
            published[f"{name}_pre"] = published[name]
    for path, given, result in runs:
        if path in inplace and any(tensor is given or tensor is result for tensor in kept):
            watched[path].inplace = False  # type: ignore[assignment]
    return published


def drop_unused(net: nn.Module, image: Tensor) -> None:
    """Remove the parts that the scores do not depend on: libraries keep, and run, stages and heads that were cut off.

    They would be counted and shipped, and wait for a gradient that never comes.  A part whose place the network looks
    at (an attribute, a list) cannot go and is frozen.
    """
    was_training = net.training
    parameters = list(net.parameters())
    with torch.enable_grad():
        gradients = torch.autograd.grad(net.eval()(image).sum(), parameters, allow_unused=True)
    used = {id(p) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    # Without a gradient is not yet without influence (an arg-max, a threshold): the scores must stay what they are.
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).to(image)
    with torch.no_grad():
        before = net(noise)

    def unchanged() -> bool:
        try:
            with torch.no_grad():
                return torch.equal(net(noise), before)
        except Exception:  # whatever a network answers that misses a part
            return False

    def prune(module: nn.Module) -> None:
        for name, child in reversed(list(module.named_children())):  # what a part feeds goes before it
            own = [id(p) for p in child.parameters()]
            if own and used.isdisjoint(own):
                setattr(module, name, nn.Identity())
                if not unchanged():
                    setattr(module, name, child.requires_grad_(False))
            elif own:
                prune(child)

    prune(net)
    net.train(was_training)


def _is_activation(module: nn.Module) -> bool:
    # torch.nn.modules.activation, timm.layers.activations and their like; none of them holds other modules.
    home = type(module).__module__.rpartition(".")[2]
    return home.startswith("activation") and not any(module.children())


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd)


def _nothing_activated(feature: Tensor) -> bool:
    """Tell whether the graph leads from the feature back to layers by moves, sums and scaling alone."""
    waiting, seen = [feature.grad_fn], set()
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        name, sources = _name(step), [source for source, _ in step.next_functions]
        # A factor without a gradient may be a mask that was computed from the feature: x * (x > 0).
        scaled = name == "mul" and None not in sources and any(_is_weight(source) for source in sources)
        if name in _MOVES | _SUMS or scaled:
            waiting += sources
        elif name not in _LAYERS:
            return False
    return feature.grad_fn is not None


def _is_weight(step: Any) -> bool:
    while _name(step) in _MOVES and len(step.next_functions) == 1:
        step = step.next_functions[0][0]
    return _name(step) == _WEIGHT


def _name(step: Any) -> str:
    return re.sub(r"Backward\d*$", "", step.name()).lower() if step else ""
