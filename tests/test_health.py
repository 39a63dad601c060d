"""What is wrong with a teacher, or with how it is listened to, is said in plain words that name the remedy."""

import copy
import dataclasses
import math

import pytest
import torch

from segstill import load
from segstill.build import build_learner
from segstill.data import open_dataset
from segstill.health import Health, gradient_norms, no_better_than_a_constant, reordered
from segstill.models import MODELS, Guest
from segstill.recipe import ModelSpec, TermSpec
from segstill.run import read_log
from segstill.train import train

from .helpers import small_recipe

SILENT = {"say": lambda sentence: None}
CLASSES = ("road", "sky", "car")
KD = {"cross_entropy": TermSpec(), "pixel_kd": TermSpec()}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Trained for long enough to be better than a constant answer."""
    run = tmp_path_factory.mktemp("runs") / "teacher"
    recipe = small_recipe(student=ModelSpec(name="tiny", args={"width": 8, "norm": "group"}), epochs=40)
    train(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, labelled=None)), run, **SILENT)
    return run


@pytest.fixture(scope="module")
def data():
    return small_recipe().data


def health(data, teacher_model, student=None, terms=KD):
    student = student or MODELS["tiny"](teacher_model.classes, width=4, norm="group")
    return Health(build_learner(student, terms, teacher_model), open_dataset(data, "val"), data)


def batch(classes):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, 32, 48, generator=generator)
    return {"image": image, "mask": torch.randint(classes, (2, 32, 48), generator=generator)}


def test_a_good_teacher_is_scored_without_a_warning(teacher, data):
    found = health(data, load(teacher).model).teacher()
    assert not found.warnings
    assert found.numbers["teacher_miou"] > found.numbers["student_miou_before"]
    assert "the teacher scores" in found.facts[0]
    assert "agrees with it on" in found.facts[1]


def test_a_teacher_whose_classes_are_in_another_order_is_noticed(teacher, data):
    model = load(teacher).model
    turned = Guest(model, sources=[[(index + 1) % model.classes] for index in range(model.classes)])
    warnings = health(data, turned).teacher().warnings
    assert any("classes seem to be in another order" in w and "--teacher-classes" in w for w in warnings)


def test_an_untrained_teacher_is_noticed(data):
    torch.manual_seed(0)
    model = MODELS["tiny"](len(open_dataset(data, "val").classes), width=4)
    warnings = health(data, model).teacher().warnings
    assert any("no more often than the constant answer" in w and "--teacher-model.mean" in w for w in warnings)


def test_a_student_that_is_better_than_its_teacher_is_noticed_once(teacher, data):
    model = load(teacher).model
    torch.manual_seed(0)
    checks = health(data, MODELS["tiny"](model.classes, width=4, norm="group"), student=copy.deepcopy(model))
    checks.learner.student.requires_grad_(True)
    assert any("worse than its student" in w for w in checks.teacher().warnings)
    assert checks.student(model, 1.0, finished=False) is None


def test_a_student_is_looked_at_when_it_passes_the_teacher_and_at_the_end(teacher, data):
    model = load(teacher).model
    checks = health(data, model)
    before = checks.teacher().numbers["teacher_agreement_before"]
    student = checks.learner.student
    assert checks.student(student, 0.0, finished=False) is None
    found = checks.student(student, 0.0, finished=True)
    assert found is not None
    assert found.numbers["teacher_agreement"] == before
    assert any("has not come nearer to the teacher" in w for w in found.warnings)
    assert checks.student(copy.deepcopy(model), 0.0, finished=True).numbers["teacher_agreement"] == 1.0


def test_a_resumed_run_is_looked_at_at_its_end_too(teacher, data):
    found = health(data, load(teacher).model).student(load(teacher).model, 0.5, finished=True)
    assert found is not None
    assert found.numbers["teacher_agreement"] == 1.0
    assert not found.warnings


@pytest.mark.parametrize(
    ("weight", "words"),
    [(1e5, "pixel_kd drowns the labels: --terms.pixel_kd.weight"), (1e-6, "next to nothing"), (0.0, "does not move")],
)
def test_a_term_that_pulls_too_hard_or_not_at_all_is_named(teacher, data, weight, words):
    terms = {"cross_entropy": TermSpec(), "pixel_kd": TermSpec(weight=weight)}
    model = load(teacher).model
    found = health(data, model, terms=terms).gradients(batch(model.classes))
    assert [words in warning for warning in found.warnings] == [True]


def test_the_weight_that_is_proposed_pulls_as_hard_as_the_labels(teacher, data):
    model = load(teacher).model
    torch.manual_seed(0)
    student = MODELS["tiny"](model.classes, width=4, norm="group")
    terms = {"cross_entropy": TermSpec(), "pixel_kd": TermSpec(weight=1e5)}
    warning = health(data, model, student, terms).gradients(batch(model.classes)).warnings[0]
    proposed = float(warning.split("weight ")[1].split()[0])
    terms["pixel_kd"] = TermSpec(weight=proposed)
    ratio = health(data, model, student, terms).gradients(batch(model.classes)).numbers["gradient_ratios"]["pixel_kd"]
    assert ratio == pytest.approx(1, rel=0.05)


def test_gradient_norms_are_those_of_a_backward_pass_half_way_through_the_ramps():
    torch.manual_seed(0)
    terms = {"cross_entropy": TermSpec(ramp="up"), "pixel_kd": TermSpec(ramp="down", weight=3.0)}
    learner = build_learner(MODELS["tiny"](5, width=4), terms, MODELS["tiny"](5, width=8)).eval()
    norms = gradient_norms(learner, batch(5))
    for name in terms:
        learner.zero_grad()
        learner(batch(5), 0.5)[name].backward()
        squares = [p.grad.square().sum() for p in learner.student.parameters() if p.grad is not None]
        assert norms[name] == pytest.approx(math.sqrt(sum(squares)), rel=1e-4)


def test_looking_leaves_everything_as_it_was(teacher, data):
    model = load(teacher).model
    student = MODELS["smp"](model.classes, encoder="tu-mobilenetv2_035", decoder_channels=16)
    checks = health(data, model, student)
    checks.learner.train()
    state = copy.deepcopy(checks.learner.state_dict())
    modes = [module.training for module in checks.learner.modules()]
    random = torch.get_rng_state()
    checks.teacher()
    checks.gradients(batch(model.classes))
    checks.student(student, 0.0, finished=True)
    assert all(torch.equal(value, state[name]) for name, value in checks.learner.state_dict().items())
    assert [module.training for module in checks.learner.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in checks.learner.parameters())


def test_a_rotated_confusion_is_a_reordering_and_a_poor_one_is_not():
    right = torch.tensor([[90, 5, 5], [5, 40, 5], [2, 3, 45]])
    assert reordered(right, CLASSES) == []
    warning = reordered(right[:, [1, 2, 0]], CLASSES)[0]
    assert "right on 6 % of the pixels, and would be on 88 %" in warning
    assert "road as car" in warning
    poor = torch.tensor([[50, 30, 20], [20, 20, 10], [20, 10, 20]])
    assert reordered(poor, CLASSES) == []
    constant = torch.tensor([[0, 0, 100], [0, 0, 50], [0, 0, 50]])
    assert reordered(constant, CLASSES) == []


def test_a_constant_answer_is_no_teacher():
    assert no_better_than_a_constant(torch.tensor([[90, 5, 5], [5, 40, 5], [2, 3, 45]]), CLASSES) == []
    warning = no_better_than_a_constant(torch.tensor([[100, 0, 0], [50, 0, 0], [50, 0, 0]]), CLASSES)[0]
    assert "constant answer 'road'" in warning


def test_a_run_says_and_logs_what_was_found(teacher, tmp_path):
    said = []
    train(small_recipe("kd", teacher=str(teacher)), tmp_path / "run", say=said.append)
    records = [record for record in read_log(tmp_path / "run") if record["kind"] == "health"]
    assert [record["step"] for record in records] == [1, 1, 6]
    assert records[0]["teacher_miou"] > 0
    assert records[1]["gradient_ratios"]["pixel_kd"] > 0
    assert 0 <= records[2]["teacher_agreement"] <= 1
    facts = [fact for record in records for fact in record["facts"]]
    assert len(facts) >= 4
    assert all(fact in said for fact in facts)


def test_a_student_alone_is_not_bothered(tmp_path):
    train(small_recipe(), tmp_path / "run", **SILENT)
    assert not [record for record in read_log(tmp_path / "run") if record["kind"] == "health"]
