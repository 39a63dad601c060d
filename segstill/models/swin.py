"""Swin transformers of timm (Liu et al., ICCV 2021, arXiv 2103.14030) on images of any size.

Padding has no influence: neither what fills up an image nor what fills up its last windows is ever looked at.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .arguments import known
from .encoders import download, encoder_weights

# Set here, or of no use: images of every size are taken.
_OURS = {"num_classes", "global_pool", "in_chans", "features_only", "out_indices"}
_OURS |= {"img_size", "strict_img_size", "dynamic_img_size", "always_partition"}


def swin(name: str, *, pretrained: str | None = None, **args: Any) -> "Swin":
    """Build a Swin transformer without its classifier; its weights have timm's names.

    Args:
        name: "tu-" and the name of one in timm, such as "tu-swin_tiny_patch4_window7_224".
        pretrained: "imagenet" downloads the public weights.
        args: of timm's network: embed_dim, depths, num_heads, window_size, patch_size, drop_path_rate, ...

    Raises:
        ValueError: an unknown name or argument, one without such weights, or not four stages.
        ConnectionError: the public weights cannot be downloaded.
    """
    weights = encoder_weights(name, pretrained)
    from timm import create_model  # takes seconds

    for arg in args:
        if arg in _OURS:
            known(f"argument of {name}", arg, ["embed_dim", "depths", "num_heads", "window_size", "patch_size"])
    args |= {"num_classes": 0, "strict_img_size": False, "always_partition": True}
    try:
        body = download(lambda: create_model(name[3:], pretrained=bool(weights), **args), name, pretrained)
    except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AssertionError) as error:
        raise ValueError(f"encoder {name!r} with {args} cannot be built: {error or type(error).__name__}") from error
    net = Swin(body)
    if len(net.channels) != 4:
        raise ValueError(f"encoder {name!r} with {args} has {len(net.channels)} stages, expected 4: give 4 depths")
    return net


class Swin(nn.Module):
    """The stages of a Swin transformer; maps a normalised image (N, 3, H, W) to its stages' maps.

    Args:
        body: timm's network, whose modules and names are kept.
    """

    def __init__(self, body: Any):
        super().__init__()
        self.patch_embed, self.layers, self.norm = body.patch_embed, body.layers, body.norm
        self.channels = [info["num_chs"] for info in body.feature_info]
        self.strides = [info["reduction"] for info in body.feature_info]

    def forward(self, image: Tensor, cells: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return (N, C, h, w) of every stage, as it leaves its blocks and zero outside the image.

        Args:
            image: (N, 3, H, W); H and W are multiples of the last stride.
            cells: (N or 1, h, w) bool of every stage, the cells inside the image; None where all of them are.
        """
        tokens: Tensor = self.patch_embed(image)
        stages: list[Tensor] = []
        layers: Any = self.layers
        for index, layer in enumerate(layers):
            inside = None if cells is None else cells[index]
            tokens = layer.downsample(tokens)
            window = layer.blocks[0].attn.window_size
            cuts = [_Windows(tokens, window, inside, shifted=shifted) for shifted in (False, True)]
            for number, block in enumerate(layer.blocks):
                tokens = _run(block, tokens, cuts[number % 2])
            if inside is not None:
                # What a block makes of padding is of no use, and the next stage merges cells of both kinds.
                tokens = torch.where(inside[..., None], tokens, 0.0)
            stages.append(tokens.permute(0, 3, 1, 2))
        return stages


def _run(block: Any, tokens: Tensor, windows: "_Windows") -> Tensor:
    attended = block.attn(windows.cut(block.norm1(tokens)), mask=windows.mask)
    tokens = tokens + block.drop_path1(windows.join(attended))
    return tokens + block.drop_path2(block.mlp(block.norm2(tokens)))


class _Windows:
    """How a stage's tokens (N, h, w, C) are cut into windows, and which of them see each other.

    Args:
        tokens: of the stage.
        window: rows and columns of a window.
        inside: (N or 1, h, w) bool: the tokens inside the image; None where all of them are.
        shifted: by half a window, along the axes on which the image does not fit into one window.
    """

    def __init__(self, tokens: Tensor, window: tuple[int, int], inside: Tensor | None, *, shifted: bool):
        self.size = tuple(tokens.shape[1:3])
        self.window = window
        self.padded = [math.ceil(side / most) * most for side, most in zip(self.size, window, strict=True)]
        if inside is None and self.padded != [*self.size]:
            inside = torch.ones(1, *self.size, dtype=torch.bool, device=tokens.device)
        shifts = [most // 2 if shifted and side > most else 0 for side, most in zip(self.padded, window, strict=True)]
        # Per image: the shift does not depend on how much padding an image happens to have.
        self.shifts = [(shift, _reaches(inside, axis, window[axis])) for axis, shift in enumerate(shifts)]
        self.mask = None if inside is None and not any(shifts) else self._mask(inside, tokens)

    def cut(self, tokens: Tensor) -> Tensor:
        """Return (N * windows, tokens in a window, C)."""
        rows, columns = (new - old for new, old in zip(self.padded, self.size, strict=True))
        tokens = F.pad(tokens, (0, 0, 0, columns, 0, rows))
        for axis, (shift, who) in enumerate(self.shifts, 1):
            tokens = _roll(tokens, -shift, axis, who)
        return self._partition(tokens)

    def join(self, windows: Tensor) -> Tensor:
        """Return what was cut: (N, h, w, C)."""
        rows, columns = (side // most for side, most in zip(self.padded, self.window, strict=True))
        tokens = windows.unflatten(1, self.window).unflatten(0, (-1, rows, columns))
        tokens = tokens.transpose(2, 3).flatten(1, 2).flatten(2, 3)
        for axis, (shift, who) in enumerate(self.shifts, 1):
            tokens = _roll(tokens, shift, axis, who)
        return tokens[:, : self.size[0], : self.size[1]]

    def _partition(self, tokens: Tensor) -> Tensor:
        tokens = tokens.unflatten(2, (-1, self.window[1])).unflatten(1, (-1, self.window[0]))
        return tokens.transpose(2, 3).flatten(0, 2).flatten(1, 2)

    def _mask(self, inside: Tensor | None, like: Tensor) -> Tensor:
        """Return what is added to the attention: 0, or minus infinity where a token (row) must not see another."""
        # A shift carries the first rows behind the last ones, into one window with tokens that they have not met.
        side = torch.zeros(1, *self.padded, dtype=torch.long, device=like.device)
        for axis, (shift, who) in enumerate(self.shifts):
            carried = (torch.arange(self.padded[axis], device=like.device) >= self.padded[axis] - shift)[None]
            if who is not None:
                carried = carried & who[:, None]
            side = 2 * side + carried[:, :, None] if axis == 0 else 2 * side + carried[:, None, :]
        sides = self._partition(side[..., None])[..., 0]
        allowed = sides[:, :, None] == sides[:, None, :]
        if inside is not None:
            seen = self.cut(inside[..., None].to(like))[..., 0] > 0
            # Padding sees itself, since attention to nothing is not a number.
            itself = torch.eye(seen.shape[1], dtype=torch.bool, device=like.device)
            allowed = allowed & (seen[:, None, :] | itself)
        return torch.zeros(allowed.shape, dtype=like.dtype, device=like.device).masked_fill(~allowed, -torch.inf)


def _reaches(inside: Tensor | None, axis: int, window: int) -> Tensor | None:
    """Return (N or 1,) bool: whether an image goes beyond the first window along an axis; None where all do."""
    return None if inside is None else inside.any(dim=2 - axis)[:, window:].any(dim=1)


def _roll(tokens: Tensor, shift: int, axis: int, who: Tensor | None) -> Tensor:
    if not shift:
        return tokens
    rolled = tokens.roll(shift, axis)
    return rolled if who is None else torch.where(who[:, None, None, None], rolled, tokens)
