"""Find the features of a network that nobody described, from the maps that its modules return.

The *trunk* is the part that makes the image coarser, whatever it is called; its last feature at each stride is a stage.
"""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..taps import Tap
from .adapters import Adapted
from .maps import REFUSALS, Found, Size, covers, device_of, find_maps, run, shapes_at
from .publish import publish_taps
from .segmenter import Segmenter


class Probe(NamedTuple):
    """What is known about a network once it was run."""

    maps: tuple[Found, ...]
    """Every map that a module returns, in the order in which they are made."""
    stride: int
    """What H and W must be multiples of, so that no part of the image is cut off."""
    trunk: str
    """Path of the part that makes the image coarser; "" is the whole network."""
    stages: dict[str, Found]
    """"stage1" at stride 4, "stage2" at 8, and so on; "encoder", the deepest of them."""
    image: Tensor
    """(1, 3, H, W) zeros that the network takes."""


def probe(net: nn.Module, *, stride: int | None = None, size: Size | None = None, trunk: str | None = None) -> Probe:
    """Run a network on images of two sizes, in eval mode, and leave it as it was.

    Args:
        net: maps (N, 3, H, W) to scores.
        stride: what H and W must be multiples of; None tries.
        size: H and W of the only images that it takes: then prefix tokens follow less surely.
        trunk: path of the part that makes the image coarser; None finds it.

    Raises:
        ValueError: it runs on none of the sizes tried.
    """
    maps, sizes = find_maps(net, stride, size)
    if trunk is None:
        trunk = _find_trunk(maps)
        if type(net.get_submodule(trunk)).forward is nn.Module.forward:  # a mere list of modules
            trunk = trunk.rpartition(".")[0]
        while (parent := trunk.rpartition(".")[0]) and _size(net, parent) == _size(net, trunk):
            trunk = parent
    if _size(net, trunk) == _size(net, ""):
        trunk = ""
    stages = _find_stages(maps, trunk)
    if stride is None:
        stride = 1 if size else _find_stride(net, stages, sizes)
    height, width = sizes[0]
    image = torch.zeros(1, 3, height, width, device=device_of(net))
    return Probe(tuple(maps), stride, trunk, stages, image)


def as_segmenter(
    net: nn.Module,
    probed: Probe,
    classes: int,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: Size | None = None,
) -> Segmenter:
    """Return a probed network behind the interface of all, its taps published; `size` as `probe` was given it."""
    return Segmenter(
        net,
        classes=classes,
        taps=probe_taps(net, probed, classes),
        mean=mean,
        std=std,
        stride=probed.stride,
        size=size,
        encoder=probed.trunk,
    )


def probe_taps(net: nn.Module, probed: Probe, classes: int) -> dict[str, Tap]:
    """Return the taps of a probed network: its stages, "encoder", and "decoder".

    The latter is what the last convolution to K channels outside the trunk is given.  Each comes with the feature as it
    was before its activation (see `publish_taps`).
    """
    taps = {name: found.tap for name, found in probed.stages.items()}
    ran: list[str] = []
    heads = {
        path: module
        for path, module in net.named_modules()
        if isinstance(module, nn.Conv2d)
        and module.out_channels == classes
        and not (probed.trunk and _inside(path, probed.trunk))
    }
    handles = [module.register_forward_hook(lambda *_, path=path: ran.append(path)) for path, module in heads.items()]
    run(net, probed.image)
    for handle in handles:
        handle.remove()
    if ran:
        taps["decoder"] = Tap(ran[-1], read="input")
    return publish_taps(net, taps, probed.image)


def tap_at(model: Segmenter, place: str) -> Tap:
    """Return the tap of a published name, or of a module's path: then its layout and stride are found by probing.

    Args:
        model: left as it was, but for activations that would overwrite the feature.
        place: a name in `model.taps`, or a path inside the network as its own library writes it ("layer4"), or with
            what is around it here ("net.model.backbone.layer4").

    Raises:
        ValueError: neither, or a module that does not return one map.
    """
    if place in model.taps:
        return model.taps[place]
    host, around = _host(model)
    net = host.net
    paths = {path: path for path, _ in net.named_modules() if path}
    if isinstance(net, Adapted):
        paths |= {path.removeprefix("model."): path for path in paths}
    paths |= {around + path: path for path in paths.values()}
    if place not in paths:
        near = get_close_matches(place, [*model.taps, *paths], n=3) or sorted(model.taps)
        raise ValueError(f"{place!r} is no tap and no module of the network; did you mean one of {near}?")
    maps, sizes = find_maps(net, host.stride, host.size, every=True)
    found = [each.tap for each in maps if each.tap.path == paths[place]]
    if len(found) != 1:
        raise ValueError(
            f"the module {place!r} returns {len(found) or 'no'} maps, expected one: choose a module inside or around "
            "it (segstill taps lists those that do)"
        )
    publish_taps(net, {place: found[0]}, torch.zeros(1, 3, *sizes[0], device=device_of(net)))
    return found[0]._replace(path=around + found[0].path)


def probe_model(model: Segmenter) -> tuple[Probe, str]:
    """Probe the network inside a segmenter, and return what stands before its paths too."""
    host, around = _host(model)
    trunk = host.encoder.removeprefix("net.") or None
    return probe(host.net, stride=host.stride, size=host.size, trunk=trunk), around


def _host(model: Segmenter) -> tuple[Segmenter, str]:
    around = "net."
    while isinstance(model.net, Segmenter):
        model, around = model.net, around + "net."
    return model, around


def _find_trunk(maps: Sequence[Found]) -> str:
    coarser: list[str] = []
    deepest = 1
    for found in maps:
        if found.stride > deepest:
            deepest = found.stride
            coarser.append(found.tap.path)
    at_the_end = [found.tap.path for found in maps if found.stride == deepest]
    trunk = ""
    while coarser:
        child = ".".join(coarser[0].split(".")[: trunk.count(".") + 2 if trunk else 1])
        inside = sum(_inside(path, child) for path in at_the_end)
        # A patch embedding makes the map coarse alone, and next to nothing is computed in it.
        if child == trunk or not all(_inside(path, child) for path in coarser) or 4 * inside < len(at_the_end):
            break
        trunk = child
    return trunk


def _find_stages(maps: Sequence[Found], trunk: str) -> dict[str, Found]:
    inside = [found for found in maps if _inside(found.tap.path, trunk)]
    if not inside:
        return {}
    deepest = max(found.stride for found in inside)
    end = max(place for place, found in enumerate(inside) if found.stride == deepest)
    inside = inside[: end + 1]  # a trunk that is the whole network has its decoder behind the deepest map
    strides: dict[str, set[int]] = {}
    for found in inside:
        strides.setdefault(found.tap.path, set()).add(found.stride)
    last: dict[int, Found] = {}
    for found in inside:
        parts = found.tap.path.split(".")
        around = [strides.get(".".join(parts[:depth]), set()) for depth in range(1, len(parts))]
        # What a block holds before it makes the map coarser is not the end of the stage before.
        if not any(len(each) == 1 and max(each) > found.stride for each in around):
            last[found.stride] = found
    stages = {f"stage{round(math.log2(stride)) - 1}": last[stride] for stride in sorted(last) if stride >= 4}
    return stages | {"encoder": last[deepest]}


def _find_stride(net: nn.Module, stages: dict[str, Found], sizes: list[Size]) -> int:
    """1 where every stage rounds up, as padded convolutions do; else the deepest stride, or the unit that worked."""
    height, width = (side + 1 for side in sizes[0])
    try:
        shapes = shapes_at(net, (height, width))
    except REFUSALS:
        shapes = {}
    if stages and all(covers(found, shapes, (height, width)) for found in stages.values()):
        return 1
    unit = sizes[1][0] - sizes[0][0]
    deepest = stages["encoder"].stride if stages else unit
    try:
        shapes_at(net, (5 * deepest, 7 * deepest))
    except REFUSALS:
        return unit
    return deepest


def _size(net: nn.Module, path: str) -> int:
    return len(list(net.get_submodule(path).parameters()))


def _inside(path: str, part: str) -> bool:
    return not part or path == part or path.startswith(f"{part}.")
