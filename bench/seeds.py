"""What seeds cost, beside the obvious way to compute them.

    python bench/seeds.py [--quick]

Every line is a ratio measured in one run, on one thread, of the processor's time, not the clock's; the sides take
turns, each in a process of its own whose peak memory is counted above that of the inputs, and must give the same.
Targets: the sweep over 60 thresholds at least 100 times faster than 60 passes, the random walk at least 30 times faster
than squaring the dense matrix at 2,961 pixels, and 11,750 pixels without running out of memory.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from losses import FORK, Cost, peak, table
from torch import Tensor

from segstill.models import swtformer
from segstill.seeding import SeedSpec, class_maps
from segstill.seeds import THRESHOLDS, boundary_affinities, pair_offsets, par, random_walk, threshold_sweep

Run = Callable[[], Tensor]


def sweep_by_passes(cams: Tensor, image_labels: Tensor, ground_truth: Tensor) -> Tensor:
    """Class IoU as published evaluators count it: an arg-max for each threshold, then a pass for each class."""
    classes, labelled = len(cams) + 1, image_labels.nonzero().squeeze(1)
    curve = []
    for threshold in THRESHOLDS:
        scores = cams.new_zeros(classes, *cams.shape[1:])
        scores[0] = threshold
        scores[labelled + 1] = cams[labelled]
        seeds, known = scores.argmax(dim=0), ground_truth < 255
        right = (seeds == ground_truth) & known
        counts = [
            [((ground_truth == c) & right).sum(), ((seeds == c) & known).sum(), ((ground_truth == c) & known).sum()]
            for c in range(classes)
        ]
        true, found, there = torch.tensor(counts, dtype=torch.float64).T
        curve.append(true / (found + there - true).clamp(min=1))
    return torch.stack(curve)


def walk_by_squaring(
    maps: Tensor, boundary: Tensor, *, radius: int = 5, beta: float = 10, exp_times: int = 8
) -> Tensor:
    """The walk with a matrix of all pairs of pixels, squared again and again."""
    height, width = maps.shape[1:]
    places = torch.arange(height * width).view(height, width)
    matrix = torch.eye(height * width)
    for (dy, dx), affinity in zip(pair_offsets(radius), boundary_affinities(boundary, radius=radius), strict=True):
        rows, columns = slice(0, height - dy), slice(max(-dx, 0), width - max(dx, 0))
        one = places[rows, columns].flatten()
        other = one + dy * width + dx
        matrix[one, other] = matrix[other, one] = affinity[rows, columns].flatten()
    matrix = matrix**beta
    matrix = matrix / matrix.sum(dim=0, keepdim=True)
    for _ in range(exp_times):
        matrix = matrix @ matrix
    return ((maps * (1 - boundary)).flatten(1) @ matrix).view_as(maps)


def par_by_neighbours(image: Tensor, maps: Tensor) -> Tensor:
    """Pixel-adaptive refinement with all neighbours of all maps in one tensor, as published codes hold them."""
    dilations, (height, width) = (1, 2, 4, 8, 12, 24), image.shape[1:]
    around = [(dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]

    def neighbours(given: Tensor) -> Tensor:
        padded = F.pad(given[None], (24,) * 4, mode="replicate")[0]
        return torch.stack([padded[:, 24 + y : 24 + y + height, 24 + x : 24 + x + width] for y, x in around], dim=1)

    near = neighbours(image)
    colour = -((near - image[:, None]).abs() / (near.std(dim=1, keepdim=True) + 1e-8) / 0.3).square().mean(dim=0)
    distance = torch.tensor(around, dtype=torch.float32).norm(dim=1)
    position = -(distance / (distance.std() + 1e-8) / 0.3).square()
    weights = (colour.softmax(dim=0) + 0.01 * position.softmax(dim=0).view(-1, 1, 1)) / 1.01
    for _ in range(10):
        maps = (neighbours(maps) * weights).sum(dim=1)
    return maps


def take_turns(sides: dict[str, Run], rounds: int, once: tuple[str, ...] = ()) -> dict[str, Cost]:
    """Run each side in processes of its own, one after the other, and keep the least time and memory of each.

    Args:
        sides: name -> what to run; all give the same.
        rounds: turns of each side.
        once: sides that are so slow that one pass is enough.
    """
    turns: dict[str, list[Cost]] = {name: [] for name in sides}
    results = {}
    for number in range(rounds):
        for name, run in sides.items():
            if number and name in once:
                continue
            cost, results[name] = elsewhere(run, 1 if name in once else 3)
            turns[name].append(cost)
    first, *others = (torch.tensor(result) for result in results.values())
    for other in others:
        torch.testing.assert_close(other, first, atol=2e-4, rtol=1e-3)
    return {name: Cost(*map(min, zip(*costs, strict=True))) for name, costs in turns.items()}


def elsewhere(run: Run, passes: int) -> tuple[Cost, list[float]]:
    """`measure` in a fork of this process."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: sender.send(measure(run, passes)))
    process.start()
    sender.close()  # else a child that dies would leave us waiting
    found = receiver.recv()
    process.join()
    return found


def measure(run: Run, passes: int) -> tuple[Cost, list[float]]:
    """Measure one side in this process: the best of some passes, and about a thousand values of what it gives."""
    before, seconds = peak(), []
    result = torch.empty(0)
    for _ in range(passes):
        began = time.process_time()
        result = run()
        seconds.append(time.process_time() - began)
    return Cost(min(seconds), peak() - before), result.flatten()[:: max(result.numel() // 1000, 1)].tolist()


def smooth(channels: int, height: int, width: int) -> Tensor:
    """Maps in [0, 1] with the slopes of class maps, which noise has not."""
    coarse = torch.rand(1, channels, height // 16 + 2, width // 16 + 2)
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="What seeds cost, beside the obvious way to compute them.")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = 1 if quick else 3

    height, width = (38, 50) if quick else (375, 500)
    labels = torch.zeros(20)
    labels[[3, 14]] = 1
    cams = smooth(20, height, width) * labels.view(-1, 1, 1)
    truth = torch.tensor([0, 4, 15, 255])[(smooth(1, height, width)[0] * 4).long().clamp(max=3)].byte()
    sides: dict[str, Run] = {
        "sweep": lambda: threshold_sweep(cams, labels, truth).class_iou,
        "sweep by passes": lambda: sweep_by_passes(cams, labels, truth),
    }
    assert sides["sweep"]().equal(sides["sweep by passes"]())
    costs = take_turns(sides, rounds, once=("sweep by passes",))
    table(f"60 thresholds, 2 of 20 classes, {height} x {width}", costs, "sweep")

    small, large = ((12, 16), (24, 31)) if quick else ((47, 63), (94, 125))
    maps, boundary = smooth(3, *small), torch.rand(1, *small) ** 3
    sides = {"walk": lambda: random_walk(maps, boundary), "walk by squaring": lambda: walk_by_squaring(maps, boundary)}
    costs = take_turns(sides, rounds, once=("walk by squaring",))
    table(f"Random walk, {small[0] * small[1]:,} pixels, 3 maps", costs, "walk")

    for count in (3, 21):
        more, edges = smooth(count, *large), torch.rand(1, *large) ** 3
        costs = take_turns({"walk": lambda more=more, edges=edges: random_walk(more, edges)}, rounds)
        table(f"Random walk, {large[0] * large[1]:,} pixels, {count} maps", costs, "walk")
    print(f"  (the dense matrix alone: {(large[0] * large[1]) ** 2 / 2**18:.0f} MiB, twice while it is squared)")

    count = 2 if quick else 8
    model = swtformer(21, encoder="mobilenet_v2", output_stride=16, head_kernel=1).eval()
    images = (smooth(3 * count, height, width).view(count, 3, height, width) * 255).byte()
    tags = (torch.rand(count, 20) < 0.1).float()
    spec = SeedSpec(scales=(1.0, 0.5))
    sides = {
        "together": lambda: class_maps(model, images, tags, spec).maps,
        "one by one": lambda: torch.cat(
            [class_maps(model, images[[place]], tags[[place]], spec).maps for place in range(count)]
        ),
    }
    costs = take_turns(sides, rounds)
    table(
        f"Seed maps, {count} images of {height} x {width}, MobileNetV2 at stride 16, 2 scales, mirrored",
        costs,
        "together",
    )
    rates = ", ".join(f"{count / cost.seconds:.2f} images/s {name}" for name, cost in costs.items())
    print(f"  ({rates})")

    image = torch.rand(3, height, width)
    for count in (3, 21):
        given = smooth(count, height, width)
        sides = {
            "par": lambda given=given: par(image, given),
            "par by neighbours": lambda given=given: par_by_neighbours(image, given),
        }
        costs = take_turns(sides, rounds)
        table(f"Pixel-adaptive refinement, {count} maps of {height} x {width}", costs, "par")


if __name__ == "__main__":
    main()
