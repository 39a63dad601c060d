"""What every loss of a classifier must do: the same as test_contract.py and its neighbours ask of the others."""

import pytest
import torch

from segstill.losses import LOSSES

from .samples import OF_CLASSIFIERS
from .test_contract import Recording

N, K = 2, 4
GRID, PIXELS = (6, 5), (24, 20)
CHANNELS = {"fused": 8, "encoder": 10}
FORMS = [
    ("tags", {}),
    ("gsc", {}),
    ("gsc", {"similarity": "encoder"}),
    ("gsc", {"variant": "published"}),
    ("ccl", {}),
    ("ccl", {"similarity": "encoder"}),
    ("ccl", {"design": "prototypes"}),
    ("ccl", {"design": "classes"}),
]
ON_MAPS = [(name, args) for name, args in FORMS if name != "tags"]
MASKED = [(name, args) for name, args in ON_MAPS if "variant" not in args]
LEARNS = {"tags": {"logits"}, "gsc": {"cam", "fused"}, "ccl": {"fused"}}
"""What the gradient reaches: seeds are constants."""


def label(value):
    return value if isinstance(value, str) else "-".join(value.values()) or "default"


every_form = pytest.mark.parametrize(("name", "args"), FORMS, ids=label)
every_form_on_maps = pytest.mark.parametrize(("name", "args"), ON_MAPS, ids=label)
every_masked_form = pytest.mark.parametrize(("name", "args"), MASKED, ids=label)


def build(name, args):
    return LOSSES[name]({tap: (count, count) for tap, count in CHANNELS.items()}, **args)


def features(images=N, classes=K, grid=GRID, seed=0):
    """Scores and maps of a classifier; class maps and deepest features may be coarser than the fused ones."""
    g = torch.Generator().manual_seed(seed)
    coarse = tuple((side + 1) // 2 for side in grid)
    maps = {
        "logits": torch.randn(images, classes, generator=g),
        "cam": torch.randn(images, classes, *grid, generator=g),
        "fused": torch.randn(images, CHANNELS["fused"], *grid, generator=g),
        "encoder": torch.randn(images, CHANNELS["encoder"], *coarse, generator=g),
    }
    return {tap: value.requires_grad_() for tap, value in maps.items()}


def batch(images=N, classes=K, pixels=PIXELS):
    """Every image has every second class, the first or the second one first."""
    tags = (torch.arange(images)[:, None] + torch.arange(classes)) % 2
    return {"image": torch.zeros(images, 3, *pixels), "tags": 1.0 - tags}


def padded(data):
    """Images that end before their crop does, each elsewhere."""
    valid = torch.ones(len(data["image"]), *PIXELS, dtype=torch.bool)
    valid[0, 16:], valid[1, :, 12:] = False, False
    return data | {"valid": valid}


def copied(maps, change=lambda value: value):
    return {tap: change(value.detach().clone()).requires_grad_() for tap, value in maps.items()}


def value_and_slopes(name, args, student, data):
    value = build(name, args)(student, {}, data)
    return value, torch.autograd.grad(value, [student[tap] for tap in sorted(LEARNS[name])])


def test_the_losses_that_the_contract_leaves_out_are_those_here():
    assert {name for name, _ in FORMS} == set(OF_CLASSIFIERS)


@every_form
def test_is_a_finite_nonnegative_scalar_that_learns_without_a_teacher_and_trains_nothing_of_its_own(name, args):
    loss, student = build(name, args), Recording(features())
    value = loss(student, {}, batch())
    value.backward()
    assert value.shape == ()
    assert value.isfinite()
    assert value > 0
    assert not loss.needs_teacher
    assert not loss.state_dict()
    assert student.read == set(loss.taps or ("logits",))
    reached = {tap for tap, given in student.items() if given.grad is not None}
    assert reached == LEARNS[name]
    assert all(student[tap].grad.any() for tap in reached)


@every_form
def test_autocast_and_half_precision_are_computed_in_single(name, args):
    for dtype in (torch.bfloat16, torch.float16):
        student = copied(features(), lambda value: value.to(dtype))  # noqa: B023
        exact = build(name, args)(copied(student, lambda value: value.float()), {}, batch())
        with torch.autocast("cpu", torch.bfloat16):
            half = build(name, args)(student, {}, batch())
        assert half.dtype == torch.float32
        assert torch.equal(half, exact)


@every_form
@pytest.mark.parametrize("classes", [1, 2, 20, 150])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("grid", [(1, 1), (3, 7)])
def test_any_number_of_classes_any_shape_and_a_batch_of_one_work(name, args, classes, images, grid):
    student, data = features(images, classes, grid), batch(images, classes, (10, 30))
    value, slopes = value_and_slopes(name, args, student, data)
    assert value.isfinite()
    assert value >= 0
    assert all(slope.isfinite().all() for slope in slopes)


@every_form
def test_tags_of_all_classes_and_of_none_are_finite(name, args):
    for content in (0.0, 1.0):
        data = batch() | {"tags": torch.full((N, K), content)}
        value, slopes = value_and_slopes(name, args, features(), data)
        assert value.isfinite()
        assert all(slope.isfinite().all() for slope in slopes)


@every_form
def test_gradient_agrees_with_finite_differences(name, args):
    student, data = copied(features(grid=(3, 4)), lambda value: value.double()), batch(pixels=(6, 8))
    data["valid"] = torch.ones(N, 6, 8, dtype=torch.bool)
    data["valid"][0, 4:] = False
    names, loss = sorted(LEARNS[name]), build(name, args)
    fixed = {tap: value.detach() for tap, value in student.items()}

    def function(*values):
        return loss(fixed | dict(zip(names, values, strict=True)), {}, data)

    assert torch.autograd.gradcheck(function, [student[tap] for tap in names])


@every_form
def test_thirty_steps_of_gradient_descent_lower_it(name, args):
    student, data, loss = features(), padded(batch()), build(name, args)
    optimizer = torch.optim.Adam([student[tap] for tap in LEARNS[name]], lr=0.1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(student, {}, data)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.7 * values[0]


@every_form
def test_repeating_the_batch_changes_nothing(name, args):
    student, data = features(), padded(batch())
    repeated = [{key: torch.cat([value] * 3) for key, value in given.items()} for given in (student, data)]
    once = build(name, args)(student, {}, data)
    thrice = build(name, args)(repeated[0], {}, repeated[1])
    torch.testing.assert_close(thrice, once, rtol=1e-5, atol=0)


@every_form
def test_the_order_of_the_classes_changes_nothing(name, args):
    student, data, order = features(), padded(batch()), torch.tensor([3, 0, 2, 1])
    mixed = student | {tap: student[tap][:, order] for tap in ("logits", "cam")}
    values = [
        build(name, args)(student, {}, data),
        build(name, args)(mixed, {}, data | {"tags": data["tags"][:, order]}),
    ]
    # A contrast that is all but settled is a difference of numbers near 1: its rounding is that of float32 there.
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-6)


@every_form_on_maps
def test_upsampling_by_nearest_changes_nothing(name, args):
    student, data = features(), padded(batch())
    student["encoder"] = torch.randn(N, CHANNELS["encoder"], *GRID)  # what is resized does not stay the same
    large = {
        tap: value if value.ndim == 2 else value.repeat_interleave(2, -2).repeat_interleave(2, -1)
        for tap, value in student.items()
    }
    values = [build(name, args)(given, {}, data) for given in (student, large)]
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-7)


@every_form_on_maps
def test_channels_last_features_give_the_same_value_and_gradient(name, args):
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        student = copied(
            features(),
            lambda value: value if value.ndim == 2 else value.contiguous(memory_format=layout),  # noqa: B023
        )
        value, slopes = value_and_slopes(name, args, student, padded(batch()))
        results.append([value, *slopes])
    for plain, last in zip(*results, strict=True):
        torch.testing.assert_close(last, plain)


@every_form
def test_compiles_without_a_graph_break_to_the_same_value_and_gradient(name, args):
    torch.compiler.reset()
    loss, results = build(name, args), []
    for run in (loss, torch.compile(loss, fullgraph=True, dynamic=False, backend="aot_eager")):
        student = features()
        value = run(student, {}, padded(batch()))
        value.backward()
        results.append([value.detach(), *(student[tap].grad for tap in sorted(LEARNS[name]))])
    for plain, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain)


def outside(valid, value):
    return torch.nn.functional.interpolate(~valid[:, None] + 0.0, size=value.shape[2:], mode="nearest-exact") > 0


@every_masked_form
@pytest.mark.parametrize("content", [1e30, -1e30, 3.0, float("inf"), float("nan")])
def test_ignored_pixels_have_exactly_no_influence(name, args, content):
    data, clean = padded(batch()), features()
    dirty = copied(clean, lambda v: v if v.ndim == 2 else v.masked_fill(outside(data["valid"], v), content))
    (value, slopes), (dirty_value, dirty_slopes) = (value_and_slopes(name, args, s, data) for s in (clean, dirty))
    assert torch.equal(dirty_value, value)
    for slope, other in zip(slopes, dirty_slopes, strict=True):
        assert torch.equal(slope, other)
        assert not slope.masked_select(outside(data["valid"], slope)).any()


@every_masked_form
def test_ignored_pixels_do_matter_once_they_count(name, args):
    data, clean = padded(batch()), features()
    dirty = copied(clean, lambda v: v if v.ndim == 2 else v.masked_fill(outside(data["valid"], v), 3.0))
    values = [build(name, args)(student, {}, batch()) for student in (clean, dirty)]
    assert not torch.equal(*values)


@every_form_on_maps
def test_a_batch_of_padding_alone_gives_zero_and_zero_gradients(name, args):
    data = batch() | {"valid": torch.zeros(N, *PIXELS, dtype=torch.bool)}
    value, slopes = value_and_slopes(name, args, features(), data)
    assert value == 0
    assert not any(slope.any() for slope in slopes)


@every_masked_form
def test_an_image_of_padding_alone_is_not_counted(name, args):
    data, student = padded(batch()), features()
    data["valid"][1] = False
    alone = build(name, args)(
        {tap: value[:1] for tap, value in student.items()}, {}, {key: value[:1] for key, value in data.items()}
    )
    torch.testing.assert_close(build(name, args)(student, {}, data), alone)


@every_form
def test_a_batch_without_tags_is_refused_in_words(name, args):
    with pytest.raises(ValueError, match=f"^{name} found no tags in the batch: drop this term"):
        build(name, args)(features(), {}, {"image": torch.zeros(N, 3, *PIXELS)})


@pytest.mark.parametrize("name", ["gsc", "ccl"])
def test_settings_out_of_their_range_are_refused(name):
    with pytest.raises(ValueError, match="background_factor is -1, expected a number above 0"):
        LOSSES[name]({}, background_factor=-1)
    with pytest.raises(ValueError, match="similarity is 'stage1', expected 'fused' or 'encoder'"):
        LOSSES[name]({}, similarity="stage1")
