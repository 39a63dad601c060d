import pytest
import torch

from segstill.data.transforms import FILL, Augment, shrink


def halves(height=60, width=80):
    """An image whose red channel says the class: blocks of 10 pixels, 0 or 200, and green stripes to tell rows."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    mask = ((rows // 10 + columns // 10) % 2).to(torch.uint8)
    image = torch.stack([mask * 200, mask * 0 + 77, mask * 0 + 50])
    return image, mask


def test_image_and_mask_stay_aligned_through_scale_crop_and_flip():
    image, mask = halves()
    augment = Augment(crop=(50, 70), scale=(0.5, 2.0), flip=0.5)
    for seed in range(40):
        torch.manual_seed(seed)
        drawn, label = augment(image, mask)
        clear = ((drawn[0] < 60) | (drawn[0] > 140)) & (label != 255)  # away from the edges, which bilinear softens
        assert clear.sum() > 0.7 * (label != 255).sum()
        assert ((drawn[0] > 100) == (label == 1))[clear].all()


def test_scaling_moves_the_mask_by_less_than_half_a_pixel():
    ramp = torch.arange(100, dtype=torch.uint8).expand(100, 100)
    for factor in (0.5, 0.61, 0.8, 1.3):
        torch.manual_seed(0)
        image, mask = Augment(crop=(200, 200), scale=(factor, factor))(ramp.expand(3, 100, 100), ramp)
        inside = mask != 255
        inside[:, inside.any(0).nonzero()[[0, 1, -2, -1], 0]] = False  # bilinear bends at the border
        offset = (mask.float() - image[0])[inside]
        assert offset.abs().max() <= 0.5 / factor + 0.5
        assert offset.mean().abs() < 0.26 / factor


def test_padding_is_255_in_the_mask_and_the_mean_colour_in_the_image():
    torch.manual_seed(0)
    image, mask = Augment(crop=(80, 100))(
        torch.zeros(3, 60, 80, dtype=torch.uint8), torch.ones(60, 80, dtype=torch.uint8)
    )
    assert image.shape == (3, 80, 100)
    assert (mask == 1).sum() == 60 * 80
    assert image[:, mask == 255].T.unique(dim=0).tolist() == [list(FILL)]
    assert image[:, mask == 1].sum() == 0


def test_padding_falls_on_every_side():
    places = set()
    for seed in range(30):
        torch.manual_seed(seed)
        _, mask = Augment(crop=(8, 8))(torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.uint8))
        places.add(tuple((mask == 0).nonzero()[0].tolist()))
    assert {row for row, _ in places} == {column for _, column in places} == set(range(5))


def test_every_crop_of_the_image_can_come():
    image = torch.arange(6, dtype=torch.uint8).expand(3, 6, 6)
    lefts = set()
    for seed in range(60):
        torch.manual_seed(seed)
        lefts.add(Augment(crop=(4, 4))(image, image[0])[0][0, 0, 0].item())
    assert lefts == {0, 1, 2}


def test_the_scale_covers_its_range():
    areas = []
    image, mask = halves()
    for seed in range(60):
        torch.manual_seed(seed)
        areas.append((Augment(crop=(120, 160), scale=(0.5, 2.0))(image, mask)[1] != 255).float().mean().sqrt().item())
    assert min(areas) < 0.3
    assert max(areas) > 0.95
    assert 0.5 < sum(areas) / 60 < 0.75


def test_half_of_the_pictures_are_mirrored():
    image = torch.arange(8, dtype=torch.uint8).expand(3, 8, 8)
    mirrored = 0
    for seed in range(100):
        torch.manual_seed(seed)
        mirrored += Augment(crop=(8, 8), flip=0.5)(image, image[0])[1][0, 0].item() == 7
    assert 30 < mirrored < 70


def test_nothing_changes_without_augmentation():
    image, mask = halves()
    same, label = Augment(crop=(60, 80))(image, mask)
    assert same.equal(image)
    assert label.equal(mask)


def test_colours_change_only_when_asked_and_never_in_mask_or_padding():
    image, mask = halves()
    torch.manual_seed(0)
    drawn, label = Augment(crop=(90, 80), photometric=1.0)(image, mask)
    torch.manual_seed(0)
    plain, _ = Augment(crop=(90, 80))(image, mask)
    assert not drawn.equal(plain)
    assert sorted(label.unique().tolist()) == [0, 1, 255]
    assert drawn[:, label == 255].T.unique(dim=0).tolist() == [list(FILL)]


def test_tiny_images_survive_the_blur():
    for seed in range(20):
        torch.manual_seed(seed)
        image, _ = Augment(crop=(4, 4), photometric=5.0)(
            torch.zeros(3, 1, 2, dtype=torch.uint8), torch.zeros(1, 2).byte()
        )
        assert image.shape == (3, 4, 4)


def test_large_images_are_shrunk_and_small_ones_never_enlarged():
    image, mask = halves()
    assert shrink(image, 40).shape == (3, 30, 40)
    assert shrink(image, 400).equal(image)
    assert shrink(image, None).equal(image)
    _, label = Augment(crop=(30, 40), longest_side=40)(image, mask)
    assert (label != 255).all()


def test_the_short_side_is_enlarged_or_shrunk_before_the_scale():
    image, mask = halves()
    assert shrink(image, None, 30).shape == (3, 30, 40)
    assert shrink(image, None, 90).shape == (3, 90, 120)
    assert shrink(image, None, 60).equal(image)
    for short, factor, covered in ((30, 1.0, 30 * 40), (30, 1.5, 45 * 60), (90, 1.0, 100 * 90), (90, 0.5, 45 * 60)):
        _, label = Augment(crop=(100, 100), scale=(factor, factor), short_side=short)(image, mask)
        assert (label != 255).sum() == covered
    torch.manual_seed(3)
    whole, label = Augment(crop=(90, 120), short_side=90)(image, mask)
    assert whole.equal(shrink(image, None, 90))
    assert label[45, ::15].tolist() == mask[30, ::10].tolist()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"crop": (0, 8)}, "--data.crop"),
        ({"scale": (0.0, 1.0)}, "--data.scale"),
        ({"scale": (2.0, 1.0)}, "--data.scale"),
        ({"flip": 1.5}, "--data.flip"),
        ({"photometric": -1.0}, "--data.photometric"),
        ({"longest_side": 0}, "--data.longest-side"),
        ({"short_side": 0}, "--data.short-side"),
        ({"longest_side": 9, "short_side": 5}, "pass one of --data.longest-side and --data.short-side"),
    ],
)
def test_values_out_of_range_are_named_with_their_flag(wrong, said):
    with pytest.raises(ValueError, match=said):
        Augment(**({"crop": (8, 8)} | wrong))
