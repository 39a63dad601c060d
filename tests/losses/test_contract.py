"""What every loss must do, whatever it computes."""

import pytest
import torch

from segstill.losses import LOSSES

N, K, H, W = 2, 5, 12, 10
TAPS = {"stage4_pre": (6, 8, 6, 5), "aspp": (4, 4, 6, 5), "decoder": (3, 4, 12, 10)}  # student, teacher channels, h, w
VARIANTS = [(name, {}) for name in LOSSES] + [
    ("pixel_kd", {"variant": "published"}),
    ("icsd", {"variant": "published"}),
    ("attnfd", {"variant": "published", "teacher_attention": "random"}),
]
MASKED = [(name, args) for name, args in VARIANTS if args.get("variant") != "published"]


def label(value):
    return value if isinstance(value, str) else "-".join(value.values()) or "paper"


every_variant = pytest.mark.parametrize(("name", "args"), VARIANTS, ids=label)
every_masked_variant = pytest.mark.parametrize(("name", "args"), MASKED, ids=label)


def build(name, args, classes=K, seed=0):
    torch.manual_seed(seed)
    channels = {tap: (s, t) for tap, (s, t, _, _) in TAPS.items()} | {"logits": (classes, classes)}
    return LOSSES[name](channels, **args)


def features(side, seed, images=N, classes=K, size=(H, W)):
    g = torch.Generator().manual_seed(seed)
    maps = {tap: torch.randn(images, shape[side], *shape[2:], generator=g) for tap, shape in TAPS.items()}
    maps["logits"] = 2 * torch.randn(images, classes, *size, generator=g)
    return {tap: value.requires_grad_() for tap, value in maps.items()}


def batch(images=N, classes=K, size=(H, W)):
    g = torch.Generator().manual_seed(1)
    return {"image": torch.zeros(images, 3, *size), "mask": torch.randint(classes, (images, *size), generator=g)}


def detached(maps):
    return {tap: value.detach().clone() for tap, value in maps.items()}


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


def double(maps):
    return {tap: value.detach().double().requires_grad_() for tap, value in maps.items()}


def ignore_a_block(data):
    """The upper left quarter is void; every feature size here divides the image size, so whole cells are."""
    data["mask"][:, : H // 2, : W // 2 - 1] = 255
    return data


def poison(maps, void, content):
    """Overwrite what lies under void pixels."""
    dirty = detached(maps)
    for value in dirty.values():
        cells = torch.nn.functional.interpolate(void[:, None].float(), size=value.shape[2:], mode="nearest-exact") > 0
        value.masked_fill_(cells, content)
    return {tap: value.requires_grad_() for tap, value in dirty.items()}


@every_masked_variant
@pytest.mark.parametrize("content", [1e30, -1e30, 3.0])
def test_ignored_pixels_have_exactly_no_influence(name, args, content):
    data = ignore_a_block(batch())
    void = data["mask"] == 255
    clean, clean_teacher = features(0, 0), detached(features(1, 7))
    dirty, dirty_teacher = poison(clean, void, content), detached(poison(clean_teacher, void, content))
    first, second = build(name, args), build(name, args)
    expected, actual = first(clean, clean_teacher, data), second(dirty, dirty_teacher, data)
    assert torch.equal(actual, expected)
    expected.backward()
    actual.backward()
    for tap in first.taps or ("logits",):
        assert torch.equal(dirty[tap].grad, clean[tap].grad)
        cells = torch.nn.functional.interpolate(void[:, None].float(), size=dirty[tap].shape[2:], mode="nearest-exact")
        assert float((dirty[tap].grad * cells).abs().max()) == 0
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name].needs_teacher])
@pytest.mark.parametrize("content", [float("inf"), float("-inf"), float("nan")])
def test_not_even_infinities_and_nan_at_ignored_pixels_matter_to_distillation(name, content):
    test_ignored_pixels_have_exactly_no_influence(name, {}, content)


@every_masked_variant
def test_ignored_pixels_do_matter_once_they_count(name, args):
    void = ignore_a_block(batch())["mask"] == 255
    clean, teacher = features(0, 0), features(1, 7)
    values = [build(name, args)(maps, teacher, batch()) for maps in (clean, poison(clean, void, 3.0))]
    assert not torch.equal(*values)


@every_masked_variant
def test_a_batch_without_labels_gives_zero_and_finite_gradients(name, args):
    data = batch()
    data["mask"].fill_(255)
    loss, student = build(name, args), features(0, 0)
    value = loss(student, features(1, 7), data)
    value.backward()
    assert value == 0
    for tap in loss.taps or ("logits",):
        assert not student[tap].grad.any()
    assert all(p.grad is None or not p.grad.any() for p in loss.parameters())


@every_masked_variant
def test_an_image_without_a_valid_pixel_is_not_counted(name, args):
    if name == "attnfd":
        args = args | {"teacher_attention": "random"}
    one, two = build(name, args).eval(), build(name, args).eval()  # eval: batch statistics would see the other image
    data = batch()
    data["mask"][1] = 255
    student, teacher = features(0, 0), features(1, 7)
    alone = one(
        {tap: value[:1] for tap, value in student.items()},
        {tap: value[:1] for tap, value in teacher.items()},
        {key: value[:1] for key, value in data.items()},
    )
    torch.testing.assert_close(two(student, teacher, data), alone)


@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name].needs_teacher])
def test_the_valid_mask_of_the_batch_overrules_the_labels(name):
    data = ignore_a_block(batch())
    unlabelled = batch() | {"valid": data["mask"] != 255}
    unlabelled["mask"].fill_(255)
    values = [build(name, {})(features(0, 0), features(1, 7), given) for given in (data, unlabelled)]
    assert torch.equal(*values)
    assert values[0] > 0


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
    if not (name == "icsd" and args and classes == 2):  # constant there: see test_icsd.py
        assert value > 0
    assert all(student[tap].grad.isfinite().all() for tap in loss.taps or ("logits",))


@every_masked_variant
def test_repeating_the_batch_changes_nothing(name, args):
    data, student, teacher = ignore_a_block(batch()), features(0, 0), features(1, 7)
    once = build(name, args)(student, teacher, data)
    thrice = build(name, args)(
        {tap: value.repeat(3, 1, 1, 1) for tap, value in student.items()},
        {tap: value.repeat(3, 1, 1, 1) for tap, value in teacher.items()},
        {key: value.repeat(3, *[1] * (value.ndim - 1)) for key, value in data.items()},
    )
    torch.testing.assert_close(thrice, once, rtol=1e-5, atol=0)


@every_variant
def test_channels_last_features_give_the_same_value_and_gradient(name, args):
    teacher, results = features(1, 7), []
    for layout in (torch.contiguous_format, torch.channels_last):
        loss, student = build(name, args), features(0, 0)
        value = loss({tap: map_.contiguous(memory_format=layout) for tap, map_ in student.items()}, teacher, batch())
        value.backward()
        results.append([value.detach(), *(student[tap].grad for tap in loss.taps or ("logits",))])
    for plain, last in zip(*results, strict=True):
        torch.testing.assert_close(last, plain)


@every_variant
def test_gradient_agrees_with_finite_differences(name, args):
    torch.manual_seed(0)
    channels = {"stage4_pre": (2, 3), "aspp": (2, 2), "decoder": (2, 2), "logits": (3, 3)}
    loss = LOSSES[name](channels, **args).double()
    shapes = {tap: (2, *count, 3, 4) for tap, count in channels.items()}
    tap_names = loss.taps or ("logits",)
    student = [torch.randn(2, shapes[tap][1], 3, 4, dtype=torch.float64, requires_grad=True) for tap in tap_names]
    teacher = {tap: torch.randn(2, shapes[tap][2], 3, 4, dtype=torch.float64) for tap in tap_names}
    data = batch(classes=3, size=(3, 4))
    data["mask"][:, 0, :2] = 255
    assert torch.autograd.gradcheck(lambda *maps: loss(dict(zip(tap_names, maps, strict=True)), teacher, data), student)


@every_variant
def test_thirty_steps_of_gradient_descent_lower_it(name, args):
    loss = build(name, args)
    student, teacher, data = features(0, 0), detached(features(1, 7)), batch()
    optimizer = torch.optim.Adam([*student.values(), *loss.parameters()], lr=0.1)
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


@pytest.mark.parametrize("name", ["pixel_kd", "icsd"])
class TestRefuses:
    def test_another_number_of_classes(self, name):
        with pytest.raises(ValueError, match=r"student predicts 11 classes and the teacher 21.*choose a teacher"):
            LOSSES[name]({"logits": (11, 21)})
        with pytest.raises(ValueError, match="student predicts 3 classes and the teacher 4"):
            LOSSES[name]({})(
                {"logits": torch.zeros(1, 3, 2, 2)}, {"logits": torch.zeros(1, 4, 2, 2)}, batch(1, 3, (2, 2))
            )

    def test_another_size(self, name):
        with pytest.raises(ValueError, match="resize the teacher's"):
            LOSSES[name]({})(
                {"logits": torch.zeros(1, 3, 4, 4)}, {"logits": torch.zeros(1, 3, 2, 2)}, batch(1, 3, (4, 4))
            )

    def test_a_mask_of_another_size(self, name):
        logits = {"logits": torch.zeros(1, 3, 4, 4)}
        with pytest.raises(ValueError, match=r"expected bool \(1, 4, 4\)"):
            LOSSES[name]({})(logits, logits, batch(1, 3, (2, 2)))

    @pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
    def test_a_temperature_that_is_not_positive(self, name, temperature):
        with pytest.raises(ValueError, match="expected a number above 0"):
            LOSSES[name]({}, temperature=temperature)

    def test_an_unknown_variant(self, name):
        with pytest.raises(ValueError, match="expected 'paper' or 'published'"):
            LOSSES[name]({}, variant="other")
