"""General-specific consistency: published value and gradients, a value by hand, and what the two forms count."""

import pytest
import torch

from segstill.losses import GSC, gsc
from segstill.prototypes import background_aware

from .golden import assert_close_to_golden, every_source, fused, read


@every_source
def test_value_and_gradients_agree_with_the_published_code(source):
    golden = read(source, "sipe")
    sides = [golden[f"train.side{number}_weight"].requires_grad_() for number in range(1, 5)]
    student = {
        "cam": golden["train.raw_cam"].requires_grad_(),
        "fused": fused(golden, "train"),
        "encoder": golden["train.stage4"],
    }
    data = {"tags": golden["train.image_labels"], "valid": golden["train.valid_mask"][:, 0] > 0}
    value = GSC({}, similarity="encoder", untagged="masked", variant="published")(student, {}, data)
    assert_close_to_golden(value, golden["train.gsc_value"])
    value.backward()
    assert_close_to_golden(student["cam"].grad, golden["train.gsc_grad_raw_cam"])
    for number, side in enumerate(sides, start=1):
        assert_close_to_golden(side.grad, golden[f"train.gsc_grad_side{number}_weight"])


def test_a_value_worked_out_by_hand():
    """A is scaled to 1 and 1/2; differences 1/2, 1/4 and 0, 0: the mean is 3/16, over the first cell 1/4."""
    maps = torch.tensor([[0.5, 0.25], [0.0, 0.0]]).view(1, 2, 1, 2)
    is_cam = torch.tensor([[0.8, 0.4], [0.0, 0.0]]).view(1, 2, 1, 2)
    valid = torch.tensor([[[True, False]]])
    assert float(gsc(maps, is_cam)) == pytest.approx(3 / 16, rel=1e-4)
    assert float(gsc(maps, is_cam, variant="published")) == pytest.approx(3 / 16, rel=1e-4)
    assert float(gsc(maps, is_cam, valid=valid)) == pytest.approx(1 / 4, rel=1e-4)


def test_agrees_with_a_loop_over_cells_and_maps():
    torch.manual_seed(0)
    maps, is_cam = torch.rand(2, 2, 3, 4, 5, dtype=torch.float64)
    valid = torch.rand(2, 4, 5) > 0.3
    is_cam = torch.where(valid.unsqueeze(1), is_cam, 2)  # a maximum that does not count
    differences = []
    for n, y, x in valid.nonzero().tolist():
        for c in range(3):
            top = max(float(is_cam[n, c, v, u]) for v, u in valid[n].nonzero().tolist())
            differences.append((maps[n, c, y, x] - is_cam[n, c, y, x] / (top + 1e-5)).abs())
    torch.testing.assert_close(gsc(maps, is_cam, valid=valid), torch.stack(differences).mean())


def test_not_even_nan_at_ignored_cells_matters():
    maps, is_cam = torch.rand(2, 2, 3, 4, 5)
    valid = torch.rand(2, 4, 5) > 0.3
    results = []
    for content in (0.0, float("nan")):
        leaves = [torch.where(valid.unsqueeze(1), value, content).requires_grad_() for value in (maps, is_cam)]
        value = gsc(leaves[0], leaves[1], valid=valid)
        value.backward()
        results.append([value, *(leaf.grad for leaf in leaves)])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_is_zero_where_the_two_agree():
    is_cam = torch.rand(2, 3, 4, 5)
    maps = is_cam / (is_cam.amax(dim=(2, 3), keepdim=True) + 1e-5)
    assert gsc(maps, is_cam) == 0


def test_the_published_form_counts_cells_outside_the_image():
    torch.manual_seed(0)
    student = {"cam": torch.randn(1, 2, 4, 4), "fused": torch.randn(1, 3, 4, 4)}
    data = {"tags": torch.ones(1, 2), "valid": torch.ones(1, 4, 4, dtype=torch.bool)}
    values = [GSC({}, variant=variant)(student, {}, data) for variant in ("paper", "published")]
    assert torch.equal(*values)
    data["valid"][:, 2:] = False
    block = background_aware(student["cam"], student["fused"], data["tags"], valid=data["valid"], variant="published")
    assert not block.maps[:, :, 2:].any()
    theirs = GSC({}, variant="published")(student, {}, data)
    torch.testing.assert_close(theirs, gsc(block.maps, block.is_cam, variant="published"))
    half = GSC({})(
        {tap: value[:, :, :2] for tap, value in student.items()},
        {},
        {"tags": data["tags"], "image": torch.zeros(1, 3, 2, 4)},
    )
    torch.testing.assert_close(GSC({})(student, {}, data), half)
    assert not torch.isclose(theirs, half)


def test_what_does_not_belong_together_is_refused():
    maps, valid = torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"is_cam \(1, 2, 4, 4\), expected equal"):
        gsc(maps, maps[:, 1:])
    with pytest.raises(ValueError, match=r"expected bool \(1, 4, 4\)"):
        gsc(maps, maps, valid=valid[:, 1:])
    with pytest.raises(ValueError, match="the published code masks no pixel"):
        gsc(maps, maps, valid=valid, variant="published")
    with pytest.raises(ValueError, match="expected 'paper' or 'published'"):
        GSC({}, variant="other")
