"""A folder in which the commands of the documentation run as they stand: what they name is there, but tiny."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from segstill.build import build_chain, build_model
from segstill.recipe import DataSpec, ModelSpec
from segstill.recipes import RECIPES
from segstill.train import train

from .data.tag_trees import msrc21_tree, voc_tags_tree
from .data.test_sources import film
from .data.trees import label, picture, save
from .helpers import small_recipe

SIDES = (48, 64)
NETWORKS = '''"""Somebody's own network."""

from torch import nn


def small(classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, classes, 1),
    )
'''
COLOURS = ((128, 64, 128), (0, 0, 142), (70, 130, 180))


class Small(nn.Module):
    """Somebody's own student, with modules where the taps of the pages point."""

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


def prelude() -> dict:
    """Return the names that Python blocks take as given."""
    torch.manual_seed(0)
    batches = [(torch.rand(2, 3, 32, 32), torch.randint(19, (2, 32, 32))) for _ in range(3)]
    image, mask = batches[0]
    given = {"my_small_net": Small(), "my_big_net": Big(), "image": image, "mask": mask, "loader": batches}
    return given | {"FILE": "voc.pth", "DIR": "VOC"}


def furnish(folder: Path) -> None:
    """Write what the pages name: data in the layouts of the pages, weights, runs."""
    for split, names in (("train", "abcd"), ("val", "ef"), ("test", "gh")):
        for name in names:
            save(folder / "DIR" / "images" / split / f"{name}.jpg", picture(ord(name), *SIDES))
            save(folder / "DIR" / "masks" / split / f"{name}.png", label(ord(name), *SIDES))
    for name in "abcdefgh":
        save(folder / "photos" / f"{name}.jpg", picture(ord(name), *SIDES))
        if name != "h":
            save(folder / "drawn" / f"{name}.png", label(ord(name), *SIDES))
    shown = ("cat", "dog", "cat;dog", "background")
    tags = "image,tags\n" + "".join(f"{name}.jpg,{shown[ord(name) % 4]}\n" for name in "abcdefgh")
    for place in (folder, folder / "DIR"):
        (place / "tags.csv").write_text(tags)
    for place, names in (("shots", "ab"), ("MORE", "ab"), ("MORE_IMAGES", "ab"), ("more/deep", "mn")):
        for name in names:
            save(folder / place / f"{name}.jpg", picture(ord(name) + len(place), *SIDES))
    for name in "ab":
        save(folder / "true_masks" / f"{name}.png", label(ord(name), *SIDES))
    film(folder / "drive.mp4", 2)
    save(folder / "coloured.png", np.array(COLOURS, dtype=np.uint8)[label(1, *SIDES).clip(max=2)])
    (folder / "networks.py").write_text(NETWORKS)
    msrc21_tree(folder / "MSRC")
    lists = voc_tags_tree(folder / "VOC") / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "train_weak.txt").write_text((lists / "train.txt").read_text())


def write_weights(folder: Path) -> None:
    """Write random weights into files of the names that the pages give."""
    student = RECIPES["camvid_small_student"]().student
    model = build_model(student, 2)
    encoder = model.get_submodule(model.encoder).state_dict()
    for name in ("mobilenet_v2.pth", "mobilenet_v2_1.0_imagenet.pth"):
        torch.save(encoder, folder / name)
    unet = ModelSpec(name="smp", args={"architecture": "Unet", "encoder": "mobilenet_v2"})
    torch.save(build_model(unet, 11).net.state_dict(), folder / "teacher.pth")
    voc = ModelSpec(name="deeplabv3_mobilenet", args={"size": 513})
    torch.save(build_model(voc, 21).net.state_dict(), folder / "voc.pth")


def train_runs(folder: Path) -> None:
    """Train what the pages call RUN, and the runs of the demo."""
    data = DataSpec(name="folder", root="DIR", classes=("road", "car", "sky"), crop=(32, 32), workers=0)
    for place, recipe in (
        ("RUN", small_recipe(data=data, epochs=1)),
        ("segstill-demo/demo_teacher", small_recipe(epochs=1)),
        ("segstill-demo/demo_aicsd", small_recipe(epochs=1)),
    ):
        train(recipe, folder / place, say=lambda sentence: None)


def smaller(name: str) -> list[str]:
    """Return the flags that make the training of a recipe take a second, without weights from other hosts."""
    flags = ["--epochs", "1", "--batch-size", "2", "--data.workers", "0", "--data.crop", "32", "32"]
    if name not in RECIPES:
        return flags
    recipe = RECIPES[name]()
    if recipe.student.weights == "imagenet":
        flags += ["--student.weights", "None"]
    if recipe.student.name == "deeplabv3plus":
        flags += ["--student.args.encoder", "mobilenet_v2"]
    if recipe.student.name in ("swtformer", "affinity") and name.startswith("folder"):
        flags += ["--student.args.encoder", "mobilenet_v2", "--student.args.output_stride", "16"]
    if recipe.data.name == "scenes":
        flags += ["--data.args.count", "8", "--data.labelled", "4"]
    return [*flags, "--evaluate-every", "1"]


def smaller_chain(name: str) -> list[str]:
    """Return the flags that make every stage of the chain of a recipe file take seconds."""
    chain = build_chain(name)
    stages = ("classifier", "affinity", "teacher", "student", "reference")
    flags = ["--data.workers", "0", "--page.examples", "1", "--export.no-int8"]
    for stage in (stage for stage in stages if getattr(chain, stage)):
        flags += [f"--{stage}.epochs", "1", f"--{stage}.batch-size", "2", f"--{stage}.data.crop", "32", "32"]
    for stage in (stage for stage in ("confident", "seeds") if getattr(chain, stage)):
        flags += [f"--{stage}.band", "0"]  # a classifier of one step is sure of nothing
    return flags
