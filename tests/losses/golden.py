"""Numbers of the published codes: small excerpts that are always there, and the complete files where they are."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from ..conftest import GOLDEN, SHARED

every_source = pytest.mark.parametrize("source", ["excerpt", "complete"])


def read(source: str, name: str) -> dict[str, Tensor]:
    """The tensors of a complete file, or of its excerpts together."""
    folder = GOLDEN if source == "excerpt" else SHARED / "golden"
    parts = folder.glob(f"{name}_*.safetensors") if source == "excerpt" else ()
    paths = sorted([*folder.glob(f"{name}.safetensors"), *parts])
    if not paths and source == "complete":
        pytest.skip(f"the complete golden file {name} is not in {folder}")
    return {key: value for path in paths for key, value in load_file(path).items()}


def fused(tensors: dict[str, Tensor], form: str) -> Tensor:
    """The fused features of SIPE's four stages, as "train" or "infer" has them, differentiable by the side weights."""
    grid = tensors[f"{form}.stage3"].shape[2:]
    branches = []
    for number in range(1, 5):
        branch = F.conv2d(tensors[f"{form}.stage{number}"], tensors[f"train.side{number}_weight"])
        branch = branch / (branch.norm(dim=1, keepdim=True) + 1e-5)
        branches.append(F.interpolate(branch, size=grid, mode="bilinear", align_corners=False))
    return torch.cat(branches, dim=1)


def assert_close_to_golden(actual: Tensor, expected: Tensor, share_of_maximum: float = 1e-5) -> None:
    actual = actual.detach()
    torch.testing.assert_close(
        actual.reshape(expected.shape), expected, rtol=1e-4, atol=share_of_maximum * float(expected.abs().max())
    )
    assert float((actual.reshape(expected.shape) - expected).abs().max() / expected.abs().max()) <= share_of_maximum
