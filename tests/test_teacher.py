"""Any teacher teaches any student: other libraries, other names of features, other classes, larger images."""

import copy
import dataclasses

import pytest
import torch

from segstill.build import build_learner, load_teacher
from segstill.cli import main
from segstill.flags import take_arguments
from segstill.models import MODELS
from segstill.recipe import ModelSpec, TermSpec, to_json
from segstill.run import read_recipe
from segstill.train import train

from .helpers import small_recipe

SEGFORMER = {"depths": (1, 1, 1, 1), "hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 1, 1, 1)}
LIBRARIES = {  # arguments, and a deep feature as its library calls it or as it is published
    "smp": ({"architecture": "FPN", "encoder": "tu-mobilenetv2_035"}, "stage4"),
    "torchvision": ({"model": "lraspp_mobilenet_v3_large"}, "backbone.16"),
    "timm": ({"encoder": "test_vit"}, "encoder.blocks.5"),
    "transformers": ({"model": "segformer", "decoder_hidden_size": 16} | SEGFORMER, "segformer.stages.3"),
}
TERMS = {"cross_entropy": TermSpec(), "attnfd": TermSpec(args={"taps": ("deep",)})}
SILENT = {"say": lambda sentence: None}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: MODELS[name](5, **args) for name, (args, _) in LIBRARIES.items()}


@pytest.mark.parametrize("student", LIBRARIES)
@pytest.mark.parametrize("teacher", LIBRARIES)
def test_every_library_teaches_every_library(student, teacher, networks):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 67, 91, generator=generator)
    batch = {"image": image, "mask": torch.randint(5, (2, 67, 91), generator=generator)}
    mine, theirs = copy.deepcopy(networks[student]), copy.deepcopy(networks[teacher])
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    pairs = {"deep": (LIBRARIES[student][1], LIBRARIES[teacher][1])}
    learner = build_learner(mine, TERMS, theirs, pairs=pairs).train()
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=1e-3)
    encoder = {name: p.clone() for name, p in mine.get_submodule(mine.encoder).named_parameters()}
    losses = learner(batch)
    losses["attnfd"].backward()  # alone: what moves is moved by the teacher's feature
    optimizer.step()
    assert all(loss.isfinite() for loss in losses.values())
    moved = [
        name for name, p in mine.get_submodule(mine.encoder).named_parameters() if not torch.equal(p, encoder[name])
    ]
    assert moved
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())


def test_a_pair_goes_before_a_published_tap_and_its_channels_reach_the_loss():
    torch.manual_seed(0)
    student, teacher = MODELS["tiny"](5, width=4), MODELS["tiny"](5, width=8, depth=4)
    terms = {"attnfd": TermSpec(args={"taps": ("encoder",)})}
    pairs = {"encoder": ("stage2", "encoder.stages.1")}
    learner = build_learner(student, terms, teacher, pairs=pairs).eval()
    mine, theirs = learner.features(torch.rand(1, 3, 64, 64))
    assert mine["encoder"].shape == (1, 16, 8, 8)
    assert theirs["encoder"].shape == (1, 32, 8, 8)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("stage9", "stage1"), r"the pair 'deep' \(student 'stage9', teacher 'stage1'\): 'stage9' is no tap"),
        (
            ("stage1", "encoder.stage"),
            r"the pair 'deep' .*'encoder.stage' is no tap and no module.*'encoder.stages.\d'",
        ),
    ],
)
def test_a_pair_that_is_not_there_is_named(pair, words):
    with pytest.raises(ValueError, match=words):
        build_learner(MODELS["tiny"](5), TERMS, MODELS["tiny"](5), pairs={"deep": pair})


def test_a_tap_that_only_one_network_has_names_the_flag_that_pairs():
    terms = {"cross_entropy": TermSpec(), "attnfd": TermSpec(args={"taps": ("stage4",)})}
    with pytest.raises(ValueError, match=r"'stage4'"):
        build_learner(MODELS["tiny"](5), terms, MODELS["tiny"](5, depth=4))


def test_flags_pair_features_and_map_classes_with_any_name():
    flags = ["--pairs.deep", "stage4", "backbone.layer4", "--class-map.traffic light", "light pole", "--epochs", "3"]
    recipe, left = take_arguments(small_recipe("attnfd"), flags)
    assert recipe.pairs == {"deep": ("stage4", "backbone.layer4")}
    assert recipe.class_map == {"traffic light": "light pole"}
    assert left == ["--epochs", "3"]
    more, _ = take_arguments(recipe, ["--class-map.a-b_c.d=e"])
    assert more.class_map == {"traffic light": "light pole", "a-b_c.d": "e"}


@pytest.mark.parametrize("flags", [["--pairs.deep", "stage4"], ["--class-map.a"], ["--class-map.a", "b", "c"]])
def test_a_table_needs_all_its_values(flags):
    with pytest.raises(ValueError, match=r"expected [12]: write --"):
        take_arguments(small_recipe(), flags)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "teacher"
    train(small_recipe(epochs=1), run, **SILENT)
    return run


def test_a_teacher_of_other_classes_sees_larger_images_and_teaches_through_flags(teacher, tmp_path, capsys):
    """The teacher knows the scenes' classes by the names that they have; the file gives it others, in another order."""
    from safetensors.torch import save_file

    from segstill.checkpoint import read_weights

    names = [f"old {name}" for name in read_recipe(teacher).data.classes or _classes(teacher)]
    save_file(read_weights(teacher / "best.safetensors"), tmp_path / "plain.safetensors")
    (tmp_path / "recipe.json").write_text(to_json(small_recipe("attnfd", epochs=1)))
    command = ["train", str(tmp_path / "recipe.json"), "--run", str(tmp_path / "run"), "--teacher-scale", "1.5"]
    command += ["--teacher", str(tmp_path / "plain.safetensors"), "--teacher-model.name", "tiny"]
    command += ["--teacher-model.args.width", "4", "--teacher-model.args.norm", "group", "--teacher-classes", *names]
    command += ["--pairs.encoder", "stage2", "encoder.stages.1"]
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert exit_.value.code == 2
    assert "nothing of the teacher's matches" in capsys.readouterr().err
    for name in names:
        command += [f"--class-map.{name}", name.removeprefix("old ")]
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert not exit_.value.code
    recipe = read_recipe(tmp_path / "run")
    assert recipe.teacher_scale == 1.5
    assert recipe.pairs == {"encoder": ("stage2", "encoder.stages.1")}
    assert recipe.class_map[names[0]] == names[0].removeprefix("old ")


def _classes(run):
    from segstill import load

    return load(run).classes


def test_a_teacher_answers_in_the_student_s_order(teacher):
    classes = _classes(teacher)
    recipe = small_recipe("kd", teacher=str(teacher))
    same, turned = (load_teacher(recipe, order, **SILENT) for order in (classes, classes[::-1]))
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(same(image).flip(1), turned(image))


def test_several_classes_of_the_teacher_become_one(teacher):
    classes = _classes(teacher)
    fewer = ("thing", *classes[2:])
    recipe = small_recipe("kd", teacher=str(teacher), class_map={classes[0]: "thing", classes[1]: "thing"})
    with torch.no_grad():
        image = torch.rand(1, 3, 32, 48)
        whole = load_teacher(small_recipe("kd", teacher=str(teacher)), classes, **SILENT)(image).softmax(1)
        joined = load_teacher(recipe, fewer, **SILENT)(image).softmax(1)
    torch.testing.assert_close(joined[:, 0], whole[:, 0] + whole[:, 1])


def test_a_function_of_the_user_s_may_be_the_teacher():
    spec = ModelSpec(name="user", args={"factory": "tests.models.networks:flat"})
    found = load_teacher(dataclasses.replace(small_recipe("kd"), teacher_model=spec), ("a", "b", "c"), **SILENT)
    assert found is not None
    assert found.classes == 3
    assert not found.training


def test_a_network_without_weights_is_no_teacher():
    recipe = small_recipe("kd", teacher_model=ModelSpec(name="tiny"))
    assert load_teacher(recipe, ("a", "b"), **SILENT) is None
    with pytest.raises(ValueError, match="there is no teacher: give one"):
        build_learner(MODELS["tiny"](2), recipe.terms, None)


def test_a_folder_of_transformers_is_a_teacher_with_its_own_classes(tmp_path):
    import transformers as library

    names = ("sky", "car", "road", "truck")
    config = library.SegformerConfig(num_labels=4, id2label=dict(enumerate(names)), decoder_hidden_size=16, **SEGFORMER)
    library.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    spec = ModelSpec(name="transformers", args={"model": str(tmp_path)})
    recipe = small_recipe("kd", teacher_model=spec, class_map={"truck": "car"})
    found = load_teacher(recipe, ("road", "car", "sky"), **SILENT)
    assert found is not None
    assert found.classes == 3
    assert found(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)
