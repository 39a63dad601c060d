"""A teacher as the student meets it: it may see a larger image, and its classes become the student's."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from torch import Tensor

from .segmenter import Segmenter


class Guest(Segmenter):
    """A network that answers in another size and in other classes than its own; its features stay as they are.

    Args:
        host: the network.
        scale: factor by which its images are enlarged (bilinear) first.
        sources: for each of the classes that are wanted, the network's own classes that make it up; None leaves its
            classes.  Several are joined by logsumexp, so that their probabilities add up; classes that are in none of
            the lists are left out, as if the image could not show them.
    """

    order: Tensor

    def __init__(self, host: Segmenter, *, scale: float = 1.0, sources: Sequence[Sequence[int]] | None = None):
        if scale <= 0:
            raise ValueError(f"the teacher's scale is {scale}, expected a factor above 0: 1 leaves the image as it is")
        super().__init__(host, classes=len(sources) if sources else host.classes, taps=host.taps)
        self.scale = scale
        self.sizes = [len(row) for row in sources or []]
        order = [source for row in sources or [] for source in row]
        self.register_buffer("order", torch.tensor(order, dtype=torch.long), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, H, W) scores of `image` (N, 3, H, W), uint8 in [0, 255] or float in [0, 1]."""
        size = image.shape[2:]
        if self.scale != 1:
            image = image.float() / 255 if image.dtype == torch.uint8 else image
            larger = [round(side * self.scale) for side in size]
            image = F.interpolate(image, size=larger, mode="bilinear", align_corners=False, antialias=self.scale < 1)
        scores = self._joined(self.net(image))
        if scores.shape[2:] == size:
            return scores
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)

    def _joined(self, scores: Tensor) -> Tensor:
        if not self.sizes:
            return scores
        chosen = scores[:, self.order]
        if max(self.sizes) == 1:
            return chosen
        return torch.stack([part.logsumexp(dim=1) for part in chosen.split(self.sizes, dim=1)], dim=1)


def match_classes(teacher: Sequence[str], student: Sequence[str], renamed: Mapping[str, str]) -> list[list[int]] | None:
    """Find the teacher's classes that make up each of the student's, by name.

    Args:
        teacher: its class names; empty where it does not say them, which means that they are the student's.
        student: its class names.
        renamed: teacher's name -> student's name, before equal names count.

    Returns:
        For each class of the student the numbers of the teacher's, or None where both have the same classes in the
        same order.

    Raises:
        ValueError: a name in `renamed` that is not there, or a class of the student that nothing matches.
    """
    if not teacher:
        if renamed:
            raise ValueError(
                f"classes are mapped ({dict(renamed)}), but the teacher does not say what its own are: "
                "pass --teacher-classes NAME NAME ... in its order"
            )
        return None
    for whose, names, given in (("teacher", teacher, renamed.keys()), ("student", student, renamed.values())):
        for name in given:
            if name not in names:
                near = get_close_matches(name, names, n=3) or list(names)
                raise ValueError(f"the {whose} has no class {name!r}, which is mapped; did you mean one of {near}?")
    sources = [[i for i, theirs in enumerate(teacher) if renamed.get(theirs, theirs) == name] for name in student]
    alone = [name for name, row in zip(student, sources, strict=True) if not row]
    if alone:
        left = [name for name in teacher if renamed.get(name, name) not in student]
        raise ValueError(
            f"the teacher knows the classes {list(teacher)}, the data has {list(student)}: nothing of the teacher's "
            f"matches {alone}, and its {left} go nowhere. Map them by name (--class-map.TEACHERS STUDENTS, for example "
            f"--class-map.{(left or teacher)[0]!r} {alone[0]!r}), or choose another teacher"
        )
    return None if sources == [[index] for index in range(len(teacher))] else sources
