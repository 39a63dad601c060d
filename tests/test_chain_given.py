"""What is given to a chain, and where things lie: checked before hours are spent, and never mistaken for another."""

import dataclasses
import shutil

import pytest
from PIL import Image

from segstill.build import build_model
from segstill.chain import plan, run_chain
from segstill.chain_recipe import Given, PageSpec

from .chains import did, on_folder, small_chain, with_true_masks
from .data.tag_trees import CLASSES, folder_tree

quiet = {"say": lambda sentence: None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A chain of images with tags and no true mask, and its data beside it."""
    place = tmp_path_factory.mktemp("given")
    folder_tree(place / "data")
    run_chain(on_folder(small_chain(), place / "data", CLASSES), place / "out", **quiet)
    return place


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def refused(chain, out, **given):
    """What the plan says against it; it comes at once, so nothing is trained."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        plan(chain, out, given=Given(**given), **quiet)
    return str(caught.value)


def test_what_is_given_is_looked_at_before_anything_is_trained(made, tmp_path):
    chain = on_folder(small_chain(), made / "data", CLASSES)
    run = str(made / "out" / "classifier")
    assert "no run folder or checkpoint" in refused(chain, tmp_path / "o", teacher=str(tmp_path / "gone"))
    assert "predicts tags, expected a teacher that predicts masks" in refused(chain, tmp_path / "o", teacher=run)
    wrong = str(made / "out" / "teacher")
    assert "expected a classifier" in refused(chain, tmp_path / "o", classifier=wrong)
    for name, told in (("unlabelled", "does not exist"), ("masks", "there is no such folder of masks")):
        data = dataclasses.replace(chain.data, **{name: str(tmp_path / "gone")})
        assert told in refused(dataclasses.replace(chain, data=data), tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_true_masks_that_cannot_be_read_are_named_at_once(tmp_path):
    chain, _ = with_true_masks(small_chain(), tmp_path / "true")
    spoilt = next((tmp_path / "true").glob("*.png"))
    Image.open(spoilt).convert("RGB").save(spoilt)
    assert "3-channel" in refused(chain, tmp_path / "out")


def test_the_masks_of_a_chain_may_be_given_to_it_after_they_were_corrected(made, copy, tmp_path):
    chain = on_folder(small_chain(), made / "data", CLASSES)
    shutil.copytree(copy / "out" / "masks", tmp_path / "own")  # without those of validation images
    state = run_chain(chain, copy / "out", given=Given(masks=str(tmp_path / "own")), **quiet)
    assert state["teacher"]["result"]["compared_with"] == "seed masks"
    (tmp_path / "own" / "c.png").unlink()  # an image of val has that name too
    told = refused(chain, tmp_path / "elsewhere", masks=str(tmp_path / "own"))
    assert "holds no mask of the 2 validation images, of which none has a true one" in told


def test_photographs_that_were_moved_are_no_reason_to_do_anything_again(copy):
    def chain(images):
        def placed(recipe):
            args = {"images": str(images)}
            return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, args=args))

        whole = on_folder(small_chain(), copy / "data", CLASSES)
        stages = {name: placed(getattr(whole, name)) for name in ("classifier", "teacher", "student")}
        return dataclasses.replace(whole, **stages)

    assert did(chain(copy / "data" / "images"), copy / "out") == []
    (copy / "data" / "images").rename(copy / "photographs")
    assert did(chain(copy / "photographs"), copy / "out") == []


def test_a_folder_made_of_other_data_is_not_taken_for_ours(copy, tmp_path):
    folder_tree(tmp_path / "other")
    (tmp_path / "other" / "images" / "train" / "a.jpg").write_bytes(
        (tmp_path / "other" / "images" / "train" / "b.jpg").read_bytes()
    )
    told = refused(on_folder(small_chain(), tmp_path / "other", CLASSES), copy / "out")
    # The copy still names the data of what it was copied from, which is there.
    assert "which is another folder than" in told
    assert "choose another folder with --out" in told


def test_a_state_that_is_no_list_of_stages_is_told(copy):
    (copy / "out" / "chain.json").write_text("[]")
    assert "names no stages" in refused(on_folder(small_chain(), copy / "data", CLASSES), copy / "out")


def test_a_plan_downloads_nothing(tmp_path, monkeypatch):
    chain = small_chain()
    imagenet = dataclasses.replace(chain.classifier.student, weights="imagenet")
    chain = dataclasses.replace(chain, classifier=dataclasses.replace(chain.classifier, student=imagenet))
    wanted = []

    def watched(spec, *args, **more):
        wanted.append(spec.weights)
        return build_model(dataclasses.replace(spec, weights=None), *args, **more)

    monkeypatch.setattr("segstill.cost.build_model", watched)
    assert plan(chain, tmp_path, **quiet)[0].left > 0
    assert wanted == [None] * len(wanted) != []


def test_a_page_that_was_skipped_is_not_passed_off_as_that_of_the_new_student(copy):
    chain = on_folder(small_chain(), copy / "data", CLASSES, page=PageSpec(examples=1))
    run_chain(chain, copy / "out", **quiet)
    longer = dataclasses.replace(chain.student, epochs=2)
    said = []
    run_chain(dataclasses.replace(chain, student=longer, page=None), copy / "out", say=said.append)
    assert any("report was skipped and is of an earlier student" in sentence for sentence in said)
