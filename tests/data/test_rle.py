"""Masks as COCO's run lengths."""

import pytest
import torch
from pycocotools import mask as theirs

from segstill.data.rle import coco, encode, regions


def test_a_column_worked_out_by_hand():
    assert encode(torch.tensor([[0], [1], [1], [0], [1]], dtype=torch.bool)) == {"size": [5, 1], "counts": "121O"}


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (120, 90)])
def test_the_text_is_that_of_cocos_own_program(shape, share):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < share
    encoded = encode(mask)
    assert encoded["counts"].encode() == theirs.encode(mask.numpy().astype("uint8", order="F"))["counts"]
    assert torch.equal(torch.from_numpy(theirs.decode(encoded)).bool(), mask)


def test_every_class_of_an_image_is_one_annotation():
    mask = torch.full((4, 6), 255, dtype=torch.uint8)
    mask[1:3, 2:5] = 1
    mask[3, 0] = 0
    found = coco([("a.jpg", (4, 6), regions(mask)), ("b.jpg", (4, 6), regions(mask))], ("sky", "car"))
    assert found["categories"] == [{"id": 1, "name": "sky"}, {"id": 2, "name": "car"}]
    sky, car = found["annotations"][2:]
    assert (sky["id"], sky["image_id"], sky["category_id"], sky["area"], sky["bbox"]) == (3, 2, 1, 1, [0, 3, 1, 1])
    assert (car["id"], car["category_id"], car["area"], car["bbox"]) == (4, 2, 6, [2, 1, 3, 2])
