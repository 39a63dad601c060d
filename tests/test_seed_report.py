"""The page about classifiers: tags, maps and seeds, true to the runs that it is about."""

import dataclasses
import re

import pytest
import torch

from segstill.data import Part, open_dataset, open_tagged
from segstill.localise import evaluate_seeds
from segstill.recipes import RECIPES
from segstill.report import write_report, write_seed_report
from segstill.report.seeds import classifier, guesses
from segstill.seeding import SeedSpec, as_trained
from segstill.train import train

from .test_report import Reader
from .test_seeding import ONE_SCALE, call, weak

QUIET = {"say": lambda sentence: None}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """V1 with two seeds, V2 with one."""
    folder = tmp_path_factory.mktemp("weak")
    made = []
    for version, seed in ((1, 0), (1, 1), (2, 0)):
        run = folder / f"v{version}-seed{seed}"
        train(dataclasses.replace(weak(version), seed=seed, epochs=2), run, **QUIET)
        made.append(run)
    return made


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "page.html"
    return write_seed_report(runs, out, scored=4, examples=2, spec=ONE_SCALE, **QUIET), out.read_text()


def test_runs_that_differ_in_their_seed_are_one_row_of_means(page, runs):
    shown, text = page
    assert [(run.name, run.seeds) for run in shown.runs] == [("demo_weak_v1", 2), ("v2-seed0", 1)]
    data = weak(1).data
    chosen = [0, 2, 4, 6]
    tagged, labelled = open_tagged(data, "train"), open_dataset(data, "train")
    found = []
    for run in runs[:2]:
        scores = evaluate_seeds(classifier(run), Part(tagged, chosen), Part(labelled, chosen), ONE_SCALE)
        found.append(scores["seed_miou"])
    mean, deviation = shown.runs[0].score("seed_miou") or (0, 0)
    assert mean == pytest.approx(sum(found) / 2)
    assert deviation == pytest.approx(abs(found[0] - found[1]) / 2**0.5)
    assert f"{100 * mean:.1f} ± {100 * (deviation or 0):.1f}" in text


def test_the_page_holds_tables_curves_and_pictures_and_loads_nothing(page):
    _, text = page
    read = Reader(text)
    sheet = text[text.index('<section id="sheet"') :]
    assert "each followed by its true mask" in sheet[: sheet.index("</section>")]
    ids = {value for name, value in read.attributes if name == "id"}
    assert {"scores", "training", "classes", "examples", "repeat"} <= ids
    assert "Validation class-wise mAP, %" in text
    assert (
        len(read.images) == 2 * (2 + 2 * 3) + 2
    )  # per image two and three per run; the sheet; and the one that enlarges
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert "all background" in text


def test_guesses_are_what_they_say():
    data = weak(1).data
    tagged, labelled = open_tagged(data, "train"), open_dataset(data, "train")
    found = {guess.name: guess.miou for guess in guesses(tagged, labelled)}
    background = torch.cat([labelled[index][1].flatten() for index in range(len(labelled))]) == 0
    classes = sum(bool(sum(labelled[i][1].eq(k).any() for i in range(len(labelled)))) for k in range(8))
    assert found["all background"] == pytest.approx(float(background.float().mean()) / classes)
    assert 0 < found["largest class everywhere"] < 1
    assert [guess.miou for guess in guesses(tagged, labelled)] == sorted(found.values(), reverse=True)


def test_the_background_factor_is_that_of_the_training():
    recipe = RECIPES["demo_weak_v2"]()
    terms = {**recipe.terms, "gsc": dataclasses.replace(recipe.terms["gsc"], args={"background_factor": 0.8})}
    assert as_trained(dataclasses.replace(recipe, terms=terms), SeedSpec()).background_factor == 0.8
    assert as_trained(recipe, SeedSpec()).background_factor == 0.5
    assert as_trained(recipe, SeedSpec(background_factor=0.9)).background_factor == 0.9
    assert as_trained(RECIPES["demo_weak_v1"](), SeedSpec()).background_factor == 1.0


def test_the_verb_chooses_the_page_by_the_kind_of_runs(runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert call("report", runs[0], "--out", out, "--examples", "1") == 0
    assert "seed mIoU %" in capsys.readouterr().out
    assert "Maps and seeds" in out.read_text()


def test_runs_of_another_kind_or_other_data_are_refused(runs, tmp_path):
    with pytest.raises(ValueError, match="report classifiers by themselves"):
        write_report(runs[:1], tmp_path / "page.html", **QUIET)
    with pytest.raises(ValueError, match="no run is given"):
        write_seed_report([], tmp_path / "page.html", **QUIET)
