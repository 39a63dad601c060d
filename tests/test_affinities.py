"""Affinities that are learned: through the usual loop, scored on pairs, and walked along."""

import dataclasses
import json

import pytest
import torch
from torch.nn.functional import interpolate

from segstill.affinities import PairScores, evaluate_affinities
from segstill.build import build_learner, build_model, load
from segstill.cli import main
from segstill.data import open_dataset, open_tagged
from segstill.models import AffinityNet, affinity
from segstill.recipe import ModelSpec, TermSpec
from segstill.recipes import RECIPES
from segstill.run import read_log
from segstill.seed_files import write_seeds
from segstill.seeding import SeedSpec, class_maps, refined
from segstill.seeds import feature_affinities
from segstill.stencil import pair_offsets
from segstill.train import train

SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "patch_size": 2, "window_size": 4}
SCENES = {"count": 16, "size": (32, 48), "kinds": (1, 3)}


def call(*arguments):
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def small(name, **changes):
    recipe = RECIPES["demo_weak_v2"]()
    data = dataclasses.replace(recipe.data, crop=(32, 48), args=SCENES)
    return dataclasses.replace(recipe, name=name, data=data, epochs=2, batch_size=4, evaluate_every=2, **changes)


def pairs_recipe(**changes):
    student = ModelSpec(name="affinity", args={"channels": (16, 16, 16), **SWIN})
    return small("affinity", student=student, terms={"affinity": TermSpec()}, lr=2e-3, **changes)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    run = tmp_path_factory.mktemp("classifier") / "run"
    student = ModelSpec(name="swtformer", args={"version": 1, **SWIN})
    train(small("classifier", student=student, terms={"tags": TermSpec()}), run, say=lambda _: None)
    return run


@pytest.fixture(scope="module")
def run(classifier, tmp_path_factory):
    """Learns from the seeds of the classifier, on its encoder."""
    folder = tmp_path_factory.mktemp("affinity")
    model, dataset = load(classifier).model, open_tagged(small("").data, "train")
    write_seeds(model, dataset, folder / "masks", SeedSpec(scales=(1.0,), band=0.05))
    recipe = pairs_recipe()
    recipe = dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, masks=str(folder / "masks")),
        student=dataclasses.replace(recipe.student, weights=str(classifier / "last.safetensors")),
    )
    train(recipe, folder / "run", say=lambda _: None)
    return folder / "run"


def test_on_scenes_the_loss_falls_and_boundaries_are_found_better_than_by_chance():
    torch.manual_seed(0)
    data = dataclasses.replace(small("").data, args={**SCENES, "count": 32, "size": (64, 96)})
    spec = dataclasses.replace(pairs_recipe().student, args={"frozen": False, "channels": (16, 16, 16), **SWIN})
    model = build_model(spec, 8)
    learner = build_learner(model, {"affinity": TermSpec()})
    train_set, held_out = open_dataset(data, "train"), open_dataset(data, "val")
    images, masks = (torch.stack(list(part)) for part in zip(*(train_set[i] for i in range(16)), strict=True))
    before, values = evaluate_affinities(model, held_out)["pair_auc"], []
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    learner.train()
    for _ in range(25):
        loss = learner({"image": images, "mask": masks})["affinity"]
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < 0.8 * values[0]
    after = evaluate_affinities(model, held_out)["pair_auc"]
    assert after > max(0.65, before)


def test_it_trains_from_seeds_on_the_encoder_of_the_classifier_which_stays_as_it_is(run, classifier):
    trained, first = load(run).model.state_dict(), load(classifier).model.state_dict()
    encoder = [name for name in first if name.startswith("net.encoder.")]
    assert encoder
    assert all(trained[name].equal(first[name]) for name in encoder)
    steps = [record["losses"]["affinity"] for record in read_log(run) if record["kind"] == "step"]
    assert steps[0] != steps[-1]
    assert 0 <= json.loads((run / "metrics.json").read_text())["last"]["pair_auc"] <= 1


def test_a_frozen_encoder_keeps_its_statistics_and_another_one_learns():
    for frozen in (True, False):
        torch.manual_seed(0)
        model = affinity(3, encoder="resnet18", frozen=frozen).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model(torch.rand(2, 3, 64, 64)).square().sum().backward()
        moved = [name for name, value in model.state_dict().items() if not value.equal(before[name])]
        assert bool(moved) is not frozen
        gradients = {name for name, value in model.named_parameters() if value.grad is not None}
        assert any(name.startswith("net.encoder") for name in gradients) is not frozen
        assert "net.mix.0.weight" in gradients


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v2", "tu-swin_tiny_patch4_window7_224"])
def test_features_are_one_per_cell_of_eight_pixels_whatever_the_size(encoder):
    args = {**SWIN, "patch_size": 4} if encoder.startswith("tu-swin") else {}
    model = affinity(3, encoder=encoder, **args).eval()
    with torch.no_grad():
        assert model(torch.randint(256, (1, 3, 37, 75), dtype=torch.uint8)).shape == (1, 448, 5, 10)


def test_the_score_of_pairs_is_that_of_all_pairs_of_pairs():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (1, 5, 6), generator=g)
    labels[0, 0, 0] = 255
    affinities = (torch.rand(1, len(pair_offsets(3)), 5, 6, generator=g) * 20).round() / 20.001
    scores = PairScores(radius=3)
    scores.update(affinities, labels)
    within, across = [], []
    for pair, (dy, dx) in enumerate(pair_offsets(3)):
        for y in range(5 - dy):
            for x in range(max(0, -dx), 6 - max(0, dx)):
                both = int(labels[0, y, x]), int(labels[0, y + dy, x + dx])
                if 255 not in both:
                    (within if both[0] == both[1] else across).append(float(affinities[0, pair, y, x]))
    one, other = torch.tensor(within)[:, None], torch.tensor(across)
    expected = ((one > other).double() + (one == other).double() / 2).mean()
    assert scores.result()["pair_auc"] == pytest.approx(float(expected))
    assert scores.result()["pairs_across"] == pytest.approx(len(across) / (len(across) + len(within)))


class Knows(AffinityNet):
    """Answers with what stands in the picture: red is one thing and green another."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def forward(self, image):
        return 20 * interpolate(image.float() / 255, scale_factor=1 / 4, mode="area")


@pytest.mark.parametrize("version", [1, 2])
def test_maps_spread_along_affinities_and_not_across(version):
    torch.manual_seed(0)
    image = torch.zeros(1, 3, 32, 64, dtype=torch.uint8)
    image[:, 0, :, :32], image[:, 1, :, 32:] = 255, 255
    from segstill.models import swtformer

    model = swtformer(3, version=version, **SWIN).eval()
    spec = SeedSpec(scales=(1.0,), flip=False, refine=("random-walk",))
    views = class_maps(model, image, torch.tensor([[1.0, 0.0]]), spec)
    maps = torch.zeros_like(views.maps)
    maps[:, 0], maps[:, 1, 8:16, 8:16] = 0.25, 1
    scores = refined(image, views._replace(maps=maps), spec, Knows())
    assert float(scores[0, 1, :, :24].min()) > 0.5
    assert float(scores[0, 1, :, 40:].max()) < 1e-3
    if version == 1:
        torch.testing.assert_close(scores[0, 0], maps[0, 0])  # its background is one score everywhere


def test_affinities_of_features_are_what_is_walked_along():
    features = Knows()(torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8))
    assert feature_affinities(features).shape == (1, 34, 8, 8)


def test_the_command_line_walks_along_a_run_and_scores_it(run, classifier, tmp_path, capsys):
    command = ["seeds", classifier, "--out", tmp_path / "masks", "--scales", "1.0", "--refine", "random-walk"]
    assert call(*command, "--affinity", run) == 0, capsys.readouterr().err
    assert len(list((tmp_path / "masks").glob("*.png"))) == 16
    assert json.loads((tmp_path / "masks" / "seeds.json").read_text())["affinity"] == str(run)
    assert call(*command) == 2
    assert "made in another way" in capsys.readouterr().err
    assert call("evaluate", run, "--json") == 0
    assert 0 <= json.loads(capsys.readouterr().out)["pair_auc"] <= 1
    seeds = ["evaluate", classifier, "--seeds", "--split", "train", "--maps.scales", "1.0", "--json"]
    assert call(*seeds, "--maps.refine", "random-walk", "--affinity", run) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["seed_miou"] <= 1


def test_another_kind_of_network_and_an_affinity_that_nothing_uses_are_refused(run, classifier, tmp_path, capsys):
    command = ["seeds", classifier, "--out", tmp_path / "masks"]
    assert call(*command, "--refine", "random-walk", "--affinity", classifier) == 2
    assert "expected one of affinities" in capsys.readouterr().err
    assert call(*command, "--affinity", run) == 2
    assert "add --refine random-walk" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"stages": (2, 2)}, "stages is"),
        ({"channels": (64,)}, "expected 3 numbers"),
        ({"encoder": "resnet18", "chanels": (1, 2, 3)}, "no argument of affinity 'chanels'"),
    ],
)
def test_wrong_arguments_are_answered_with_what_was_expected(args, message):
    with pytest.raises(ValueError, match=message):
        affinity(3, **args)
