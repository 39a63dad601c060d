"""What the README promises runs as it stands there."""

import re
from pathlib import Path

import torch
from torch import nn

from segstill.build import build_recipe

README = (Path(__file__).parent.parent / "README.md").read_text()


class Small(nn.Module):
    """Somebody's own student, with modules where the README's taps point."""

    def __init__(self):
        super().__init__()
        self.layer4 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.decoder = nn.Conv2d(8, 8, 3, padding=1)
        self.classify = nn.Conv2d(8, 19, 1)

    def forward(self, x):
        return self.classify(self.decoder(self.layer4(x)))


class Big(nn.Module):
    """Somebody's own teacher, built otherwise."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"layer4": nn.Conv2d(3, 16, 3, stride=2, padding=1)})
        self.head = nn.ModuleDict({"fuse": nn.Conv2d(16, 12, 3, padding=1), "classify": nn.Conv2d(12, 19, 1)})

    def forward(self, x):
        return self.head["classify"](self.head["fuse"](self.backbone["layer4"](x)))


def test_the_example_with_your_own_networks_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {
        "my_small_net": Small(),
        "my_big_net": Big(),
        "image": torch.rand(2, 3, 32, 32),
        "mask": torch.randint(19, (2, 32, 32)),
    }
    exec(code, names)
    assert names["losses"].keys() == {"cross_entropy", "attnfd"}
    assert all(p.grad is not None for p in names["my_small_net"].parameters())
    assert all(p.grad is None for p in names["my_big_net"].parameters())


def test_every_recipe_of_the_readme_exists():
    for name in re.findall(r"segstill train ([a-z]+_\w+)", README):
        assert build_recipe(name).name == name


def test_every_file_that_the_readme_links_exists():
    for link in re.findall(r"\]\((\w[^)]*)\)", README):
        assert (Path(__file__).parent.parent / link).exists(), link
