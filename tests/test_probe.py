"""`segstill taps` shows what losses can read, and what of a student belongs to what of a teacher."""

import pytest

from segstill.cli import main
from segstill.models import MODELS
from segstill.probe import Row, build_to_look_at, list_taps, propose_pairs, recipe_to_look_at
from segstill.recipe import to_json

from .helpers import small_recipe


def row(name, stride, channels=8, path=""):
    return Row(name, path or name, "NCHW", 0, channels, stride, False)


def test_published_taps_come_with_stride_channels_and_layout():
    rows = {each.name: each for each in list_taps(MODELS["timm"](3, encoder="test_vit"))}
    assert rows["encoder"] == Row("encoder", "encoder.norm", "NLC", 1, 64, 16, True)
    assert rows["decoder"].path == "head (input)"


def test_every_module_that_returns_a_map_can_be_shown():
    model = MODELS["timm"](3, encoder="test_vit")
    few, all_ = list_taps(model), list_taps(model, every=True)
    assert few == all_[: len(few)]
    assert "encoder.blocks.2" in {each.path for each in all_}


def test_a_stage_that_a_model_does_not_publish_is_found():
    model = MODELS["tiny"](3, width=4)
    del model.taps["stage2"]
    unnamed = [each for each in list_taps(model) if not each.name]
    assert [(each.path, each.stride, each.channels) for each in unnamed] == [("encoder.stages.1", 8, 16)]


def test_equal_names_need_no_flag_and_other_features_are_paired_at_equal_stride():
    student = [row("stage1", 4), row("stage2", 8), row("stage4", 32), row("encoder", 32), row("decoder", 4)]
    teacher = [row("", 4, path="body.fine"), row("stage3", 16), row("stage2", 8), row("encoder", 16)]
    pairs = propose_pairs(student, teacher)
    assert {(pair.name, pair.flag) for pair in pairs} == {
        ("stage2", ""),
        ("encoder", ""),
        ("stride4", "--pairs.stride4 stage1 body.fine"),
    }


def test_strides_are_compared_in_pixels_of_the_student_s_image():
    pairs = propose_pairs([row("stage1", 4)], [row("stage2", 8)], teacher_scale=2.0)
    assert [pair.flag for pair in pairs] == ["--pairs.stride4 stage1 stage2"]


def test_a_model_a_recipe_and_a_run_can_be_looked_at(tmp_path):
    assert recipe_to_look_at("tiny").student.name == "tiny"
    recipe = small_recipe()
    (tmp_path / "recipe.json").write_text(to_json(recipe))
    assert recipe_to_look_at(str(tmp_path)) == recipe_to_look_at(str(tmp_path / "recipe.json")) == recipe
    student, teacher = build_to_look_at(recipe)
    assert "encoder" in student.taps
    assert teacher is None
    with pytest.raises(ValueError, match=r"'tinyy' is no model \(.*'tiny'.*\), no run folder and no recipe"):
        recipe_to_look_at("tinyy")


def test_the_verb_shows_both_networks_and_the_flags(capsys):
    student = ["tiny", "--student.args.width", "4"]
    teacher = ["--teacher-model.name", "timm", "--teacher-model.args.encoder", "test_vit"]
    with pytest.raises(SystemExit) as exit_:
        main(["taps", *student, *teacher])
    shown = capsys.readouterr().out
    assert not exit_.value.code
    assert "encoder.stages.0" not in shown  # it is published, as stage1
    assert all(word in shown for word in ("NLC after 1 tokens", "stage1_pre", "encoder.norm", "16 : 16"))


def test_a_mistake_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["taps", "tinyy"])
    assert exit_.value.code == 2
    assert "is no model" in capsys.readouterr().err
