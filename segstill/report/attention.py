"""Where the trained attention of a run that AttnFD taught looks, and where that of its teacher does."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..build import Saved, build_learner, load_teacher
from ..checkpoint import load_exactly, read_about, read_state
from ..losses import AttnFD
from ..models.segmenter import Segmenter


class Attention:
    """The spatial attention in the AttnFD loss of a run, at the last (finest) of its taps.

    The student is the one that is shipped, the best.  The loss is that of the run's last state, the only one that a run
    keeps; `meaning` says so where the two come from different steps.

    Args:
        saved: the run's student, whose recipe has the term `name`.
        state: the run's `state.pt`.
        teacher: the run's teacher.
        name: of the term.
    """

    def __init__(self, saved: Saved, state: Path, teacher: Segmenter, name: str):
        assert saved.recipe is not None
        device = next(saved.model.parameters()).device
        self._learner = build_learner(saved.model, {name: saved.recipe.terms[name]}, teacher, pairs=saved.recipe.pairs)
        content, prefix = read_state(state), f"losses.{name}."
        loss = self._learner.losses[name]
        assert isinstance(loss, AttnFD)
        weights = {key.removeprefix(prefix): w for key, w in content["learner"].items() if key.startswith(prefix)}
        load_exactly(loss, weights, state)
        self._learner.to(device).eval()
        self._loss, self._tap = loss, loss.taps[-1]
        self._steps = read_about(saved.file)["step"], content["step"]

    @property
    def meaning(self) -> str:
        """What the maps are, in plain words."""
        best, last = self._steps
        said = f"spatial attention at the tap {self._tap}, trained along with the student"
        if best != last:
            said += f", here as it was after step {last} on features of the best student, which is that of step {best}"
        return said + "."

    @torch.no_grad()
    def maps(self, image: Tensor) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return where student and teacher look in the first of some images (N, 3, H, W): two maps (h, w) in (0, 1)."""
        student, teacher = self._loss.attention(*self._learner.features(image))[self._tap]
        return student[0, 0].cpu().numpy(), teacher[0, 0].cpu().numpy()


def find_attention(saved: Saved, run: Path, teacher: Segmenter | None) -> Attention | None:
    """Return the attention of a run, or None where AttnFD did not teach it, or its state or its teacher is gone.

    Args:
        saved: the run's student.
        run: the run folder.
        teacher: the run's teacher where it is loaded already.
    """
    recipe, state = saved.recipe, run / "state.pt"
    if recipe is None or not state.is_file():
        return None
    name = next((name for name, term in recipe.terms.items() if (term.loss or name) == "attnfd"), None)
    if name is None or (recipe.teacher and not Path(recipe.teacher).exists()):
        return None
    if recipe.class_map or recipe.teacher_scale != 1:
        teacher = None  # the run met it in other classes or at another size
    teacher = teacher or load_teacher(recipe, saved.classes, say=lambda _: None)
    return Attention(saved, state, teacher, name) if teacher else None
