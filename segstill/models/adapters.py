"""One place for what networks of other libraries return: each becomes class scores (N, K, h, w)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_NOTHING = 1e-6  # probability below which no query says anything about a class


class UnknownFormError(ValueError):
    """What a network returns cannot be read as class scores, whatever the image."""


class Adapted(nn.Module):
    """A network of another library; maps a normalised image (N, 3, H, W) to scores (N, K, h, w).

    Args:
        model: called with the image alone; see `class_scores` for what it may return.
        classes: K.
    """

    def __init__(self, model: nn.Module, classes: int):
        super().__init__()
        self.model = model
        self.classes = classes

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores at the size that the model gives them."""
        scores = class_scores(self.model(image))
        if scores.ndim != 4 or scores.shape[1] != self.classes:
            raise UnknownFormError(
                f"{type(self.model).__name__} returns scores of shape {tuple(scores.shape)}, expected "
                f"(N, {self.classes}, h, w): build it with {self.classes} classes and without a final argmax"
            )
        return scores


def class_scores(output: Any) -> Tensor:
    """Find the class scores in what a segmentation network returns.

    - A tensor is the scores.
    - `class_queries_logits` (N, Q, K + 1) and `masks_queries_logits` (N, Q, h, w), of Mask2Former and its kin: a query
      is of class c with the probability softmax(class)_c, the last class being none of them, and covers a pixel with
      the probability sigmoid(mask).  The score is log(sum over queries of softmax(class)_c * sigmoid(mask)), whose
      softmax over the classes is the share that each has in that sum.
    - "out" of a mapping (torchvision), "logits" of a mapping or of an object (transformers).
    - The first item of a tuple or list.

    Raises:
        UnknownFormError: none of these.
    """
    if isinstance(output, Tensor):
        return output
    queries, masks = (_named(output, f"{name}_queries_logits") for name in ("class", "masks"))
    if isinstance(queries, Tensor) and isinstance(masks, Tensor):
        kinds = queries.float().softmax(dim=-1)[..., :-1]
        covered = masks.float().sigmoid()
        return torch.einsum("nqk,nqhw->nkhw", kinds, covered).clamp(min=_NOTHING).log()
    for name in ("out", "logits"):
        found = _named(output, name)
        if isinstance(found, Tensor):
            return found
    if isinstance(output, (tuple, list)) and output:
        return class_scores(output[0])
    names = sorted(map(str, output)) if isinstance(output, Mapping) else None
    raise UnknownFormError(
        f"a network returned a {type(output).__name__}{f' with {names}' if names else ''}, expected a tensor of scores "
        "(N, K, h, w), a dict with 'out', an object with .logits, or a tuple that begins with one of these"
    )


def _named(output: Any, name: str) -> Any:
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
