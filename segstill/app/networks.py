"""The networks of the page: each is asked about an image, and its last answer is remembered."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arithmetic import resized
from ..build import checkpoint_file, teacher_file
from ..checkpoint import read_about, sha256
from ..data.transforms import shrink
from ..evaluate import find_devices
from ..export import palette_of
from ..models import CLASSIFIERS, Segmenter
from ..predictor import Predictor, PredictSpec
from ..recipe import SeedSpec
from ..run import read_recipe
from ..seed_masks import load_classifier
from ..seeding import as_trained, class_maps, masks
from .given import Given

SMALL = 640
"""Pixels of the longest side that classifiers see."""
LOOKS, SECONDS = 20, 0.5
"""How often a network is asked at most, and from how long on no more, to tell what it takes."""
SLOW = 3.0
"""Seconds from which one look is enough: what a first look costs more is little of that, and people wait."""
SURE = 0.5
"""Probability from which a classifier names a tag."""

Found = TypeVar("Found")


class Took(NamedTuple):
    """What an answer takes, in milliseconds."""

    network: float
    """Median of the network alone, at the size that it sees."""
    whole: float
    """From the image to its mask, shrinking and enlarging included."""
    looks: int
    """Of how many looks the median is."""


class Answer(NamedTuple):
    """What a network made of an image."""

    ids: Tensor
    """(H, W) uint8 class ids, of the size of `Given.image`."""
    took: Took
    size: tuple[int, int]
    """H and W of what it looked at."""
    heat: Tensor | None = None
    """(h, w) in [0, 1], the strongest class map of a classifier."""


class MaskNetwork:
    """A run or a file that answers with masks."""

    timed = "the network"
    """What `Took.network` is of."""

    def __init__(self, name: str, path: Path):
        threads = torch.get_num_threads()
        predictor = Predictor(path, threads=threads)
        self.name, self.classes, self.palette = name, predictor.about.classes, predictor.about.palette
        self.device, self.digest = _device_name(predictor.device, threads), predictor.digest
        self.teacher = _teacher_digest(predictor.file.parent)
        self._predictor = predictor
        self._last: tuple[str, Answer] | None = None

    def __call__(self, given: Given) -> Answer:
        """Return the mask of an image."""
        if not self._last or self._last[0] != given.digest:
            asked, spec, seen = self._predictor, PredictSpec(batch=1), self._seen(given)
            (ids, _), took = _timed(
                lambda: asked.ask(seen), lambda: next(asked(given.image[None], spec)), device=asked.device
            )
            self._last = given.digest, Answer(ids, took, (seen.shape[2], seen.shape[3]))
        return self._last[1]

    def _seen(self, given: Given) -> Tensor:
        """Return the image as the network sees it, in the frame of one that takes a single size."""
        about, ask = self._predictor.about, self._predictor.ask
        small = shrink(given.image, about.longest_side, about.short_side)[None]
        frame = about.size or (ask.size if isinstance(ask, Segmenter) else None)
        if frame and tuple(small.shape[2:]) != frame:
            small = resized(small.float(), frame).round().clamp(0, 255).to(torch.uint8)
        return small.to(self._predictor.device)


class TagNetwork:
    """A classifier of image-level labels; it looks at an image and at its mirror image, at one scale."""

    teacher = None
    timed = "the class maps of the image and its mirror image"

    def __init__(self, name: str, path: Path):
        saved, classifier = load_classifier(path)
        device = find_devices().device
        data = saved.recipe.data if saved.recipe else None
        self.name, self.classes, self.palette = name, saved.classes, palette_of(data, saved.classes)
        self.device, self.digest = _device_name(device, torch.get_num_threads()), ""
        self._model = classifier.to(device)
        # Without a score of its own, so that the threshold alone says what is background.
        spec = SeedSpec(scales=(1.0,), threshold=0.0)
        self._spec = as_trained(saved.recipe, spec)
        self._last: tuple[tuple[str, tuple[str, ...]], Tensor, Took] | None = None

    @property
    def threshold(self) -> float:
        """The threshold to start with: with it, masks are those of segstill seeds."""
        return SeedSpec().threshold if self._model.net.fusion is None else 0.0

    @torch.no_grad()
    def probabilities(self, given: Given) -> dict[str, float]:
        """Return the probability of every class but background, in [0, 1], the highest first."""
        scores = self._model(self._seen(given))[0].float().sigmoid().tolist()
        return dict(sorted(zip(self.classes[1:], scores, strict=True), key=lambda pair: -pair[1]))

    def __call__(self, given: Given, tags: Sequence[str], threshold: float) -> Answer:
        """Return the seed mask of an image.

        Args:
            given: the image.
            tags: classes that are looked for; others have no map.
            threshold: in [0, 1]; where no map is above it there is background, as where a background of the network's
                own is the strongest.
        """
        seen = self._seen(given)
        key = given.digest, tuple(sorted(set(tags) & set(self.classes[1:])))
        if not self._last or self._last[0] != key:
            found, took = _timed(
                lambda: self._maps(seen, key[1]),
                lambda: self._answered(given, self._maps(self._seen(given), key[1]), key[1], threshold),
                device=seen.device,
            )
            self._last = key, found[0], took
        _, maps, took = self._last
        _, ids = self._answered(given, maps, key[1], threshold)
        return Answer(ids, took, (seen.shape[2], seen.shape[3]), maps[0, 1:].amax(0).cpu())

    def _maps(self, seen: Tensor, tags: Sequence[str]) -> Tensor:
        named = torch.tensor([[float(name in tags) for name in self.classes[1:]]], device=seen.device)
        return class_maps(self._model, seen, named, self._spec).maps

    def _answered(self, given: Given, maps: Tensor, tags: Sequence[str], threshold: float) -> tuple[Tensor, Tensor]:
        """Return the maps, and the mask that follows from them, of the size of the image."""
        scores = torch.cat([maps[:, :1].clamp(min=threshold), maps[:, 1:]], dim=1)
        ids = masks(scores) if tags else torch.zeros_like(maps[:, 0], dtype=torch.uint8)
        ids = F.interpolate(ids[None].float(), given.image.shape[1:], mode="nearest-exact")[0, 0].to(torch.uint8)
        return maps, ids.cpu()

    def _seen(self, given: Given) -> Tensor:
        return shrink(given.image, SMALL)[None].to(next(self._model.parameters()).device)


Network = MaskNetwork | TagNetwork


def open_networks(paths: Sequence[Path]) -> list[Network]:
    """Open runs, checkpoints and ONNX files; each is called by as much of its path as tells it from the others.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: one answers with neither masks nor tags, or is a file of another program.
    """
    different = list({path.resolve(): path for path in paths}.values())
    return [
        (TagNetwork if _is_classifier(path) else MaskNetwork)(name, path)
        for name, path in zip(_names(different), different, strict=True)
    ]


def named(probabilities: dict[str, float]) -> list[str]:
    """Return the tags that a classifier is sure of, or the likeliest one."""
    return [name for name, share in probabilities.items() if share >= SURE] or [*probabilities][:1]


def _is_classifier(path: Path) -> bool:
    if path.suffix in (".onnx", ".pt2"):
        return False
    file = checkpoint_file(path)
    about = read_about(file) if file.suffix == ".safetensors" else {}
    return "recipe" in about and json.loads(about["recipe"])["student"]["name"] in CLASSIFIERS


def _names(paths: Sequence[Path]) -> list[str]:
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _teacher_digest(run: Path) -> str | None:
    """Return the digest of the teacher of a run; None without one, or where it cannot be told any more."""
    try:
        known = json.loads((run / "env.json").read_text()).get("teacher_sha256")
        place = None if known else teacher_file(read_recipe(run))  # runs of earlier versions name the place alone
        return sha256(place) if place else known
    except (OSError, ValueError):
        return None


def _device_name(device: torch.device, threads: int) -> str:
    if device.type == "cpu":
        return f"the CPU, {threads} {'thread' if threads == 1 else 'threads'}"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@torch.no_grad()
def _timed(network: Callable[[], object], whole: Callable[[], Found], *, device: torch.device) -> tuple[Found, Took]:
    """Return the whole answer, and what it and the network alone take.

    The first look pays for memory and kernels that all others find ready, and is not counted.
    """

    def seconds(look: Callable[[], Any]) -> tuple[Any, float]:
        began = time.perf_counter()
        found = look()
        if device.type != "cpu":
            torch.accelerator.synchronize()  # it returns before it has computed
        return found, time.perf_counter() - began

    _, first = seconds(network)
    found, all_in_all = seconds(whole)
    taken = [min(first, all_in_all)] if min(first, all_in_all) > SLOW else []
    while not taken or (len(taken) < LOOKS and sum(taken) < SECONDS):
        taken.append(seconds(network)[1])
    return found, Took(1e3 * statistics.median(taken), 1e3 * all_in_all, len(taken))
