"""What every loss must do, whatever it computes."""

import pytest
import torch

from segstill.losses import LOSSES

from .samples import STEADY, batch, build, detached, double, every_variant, features


@every_variant
def test_is_a_finite_nonnegative_scalar(name, args):
    value = build(name, args)(features(0, 0), features(1, 7), batch())
    assert value.shape == ()
    assert value.isfinite()
    assert value > 0


@every_variant
def test_gradient_reaches_the_student_and_never_the_teacher(name, args):
    loss = build(name, args)
    student, teacher = features(0, 0), features(1, 7)
    loss(student, teacher, batch()).backward()
    read = {tap for tap, value in student.items() if value.grad is not None}
    assert read == set(loss.taps or ("logits",))
    assert all(float(student[tap].grad.abs().sum()) > 0 for tap in read)
    assert all(value.grad is None for value in teacher.values())


class Recording(dict):
    def __init__(self, *args):
        super().__init__(*args)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


@every_variant
def test_reads_only_the_taps_that_it_declares(name, args):
    loss = build(name, args)
    student, teacher = Recording(features(0, 0)), Recording(features(1, 7))
    loss(student, teacher, batch())
    assert student.read <= {*loss.taps, "logits"}
    assert teacher.read <= ({*loss.taps, "logits"} if loss.needs_teacher else set())
    assert set(loss.taps) <= student.read


@every_variant
def test_every_trainable_parameter_is_used_and_changes_after_one_step(name, args):
    loss = build(name, args)
    parameters = {key: value for key, value in loss.named_parameters() if value.requires_grad}
    before = {key: value.detach().clone() for key, value in parameters.items()}
    loss(features(0, 0), features(1, 7), batch()).backward()
    assert all(value.grad is not None for value in parameters.values())
    if parameters:
        torch.optim.SGD(parameters.values(), lr=10.0).step()
    assert not [key for key, value in parameters.items() if torch.equal(value, before[key])]
    frozen = {key for key, value in loss.named_parameters() if not value.requires_grad}
    assert all(key.startswith("teacher_") for key in frozen)


@every_variant
def test_bfloat16_autocast_stays_finite_and_close_to_float32(name, args):
    loss = build(name, args)
    exact = loss(features(0, 0), features(1, 7), batch())
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(
            {tap: value.bfloat16() for tap, value in features(0, 0).items()},
            {tap: value.bfloat16() for tap, value in features(1, 7).items()},
            batch(),
        )
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.02, atol=1e-6)


@every_variant
def test_float16_features_and_float64_features_are_taken(name, args):
    exact = build(name, args).double()(double(features(0, 0)), double(features(1, 7)), batch())
    assert exact.dtype == torch.float64
    half = build(name, args)(
        {tap: value.half() for tap, value in features(0, 0).items()},
        {tap: value.half() for tap, value in features(1, 7).items()},
        batch(),
    )
    torch.testing.assert_close(half, exact.float(), rtol=5e-3, atol=1e-6)


@every_variant
@pytest.mark.parametrize("classes", [2, 11, 19, 21, 150])
@pytest.mark.parametrize("images", [1, 2])
def test_any_number_of_classes_any_shape_and_a_batch_of_one_work(name, args, classes, images):
    size = (7, 9)
    loss = build(name, args, classes)
    student, teacher = (features(side, side, images, classes, size) for side in (0, 1))
    value = loss(student, teacher, batch(images, classes, size))
    value.backward()
    assert value.isfinite()
    assert value >= 0
    if (name, images) != ("sp", 1) and (name, *args.values(), classes) != ("icsd", "published", 2):
        assert value > 0  # those are constant, as test_sp.py and test_icsd.py show
    assert all(student[tap].grad.isfinite().all() for tap in loss.taps or ("logits",))


@every_variant
def test_gradient_agrees_with_finite_differences(name, args):
    torch.manual_seed(0)
    channels = {"encoder": (2, 3), "encoder_pre": (2, 3), "aspp": (2, 2), "decoder": (2, 2), "logits": (3, 3)}
    loss = LOSSES[name](channels, **STEADY.get(name, {}), **args).double()
    shapes = {tap: (2, *count, 3, 4) for tap, count in channels.items()}
    tap_names = loss.taps or ("logits",)
    student = [torch.randn(2, shapes[tap][1], 3, 4, dtype=torch.float64, requires_grad=True) for tap in tap_names]
    teacher = {tap: torch.randn(2, shapes[tap][2], 3, 4, dtype=torch.float64) for tap in (*tap_names, "logits")}
    data = batch(classes=3, size=(3, 4))
    data["mask"][:, 0, :2] = 255
    assert torch.autograd.gradcheck(lambda *maps: loss(dict(zip(tap_names, maps, strict=True)), teacher, data), student)


@every_variant
def test_thirty_steps_of_gradient_descent_lower_it(name, args):
    loss = build(name, args)
    student, teacher, data = features(0, 0), detached(features(1, 7)), batch()
    # Random images are nearly at right angles, for student and teacher: the similarity of images starts near 0.
    optimizer = torch.optim.Adam([*student.values(), *loss.parameters()], lr=0.01 if name == "sp" else 0.1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(student, teacher, data)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.7 * values[0]


@every_variant
def test_state_survives_a_save_and_a_load(name, args):
    first, second = build(name, args, seed=0), build(name, args, seed=1)
    second.load_state_dict(first.state_dict())
    values = [loss(features(0, 0), features(1, 7), batch()) for loss in (first, second)]
    assert torch.equal(*values)
