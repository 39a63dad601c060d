"""DeepLabV3 on MobileNetV2 is filled completely by the published weights and predicts what they were trained for."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segstill.metrics import Scores
from segstill.models import deeplabv3_mobilenet, load_weights

from ..conftest import SHARED, WEIGHTS, needs_weights

VOC = SHARED / "data" / "voc_subset"
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def published(width):
    model = deeplabv3_mobilenet(21, width=width, size=513, **HALF)
    return model, load_weights(model, WEIGHTS / f"deeplabv3_mnv2_{width}_voc.pth")


def test_the_last_blocks_are_dilated_instead_of_strided():
    blocks = deeplabv3_mobilenet(3).net.backbone.features
    wide = [m for m in blocks.modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] > 1]
    assert [conv.dilation[0] for conv in wide] == [1] * 15 + [2] * 3
    assert [conv.stride[0] for conv in wide].count(2) == 4


@needs_weights
@pytest.mark.parametrize("width", [1.0, 0.5])
def test_the_published_file_fills_it_completely(width):
    model, report = published(width)
    assert report.loaded == tuple(model.state_dict())
    assert not report.unexpected


@needs_weights
@pytest.mark.skipif(not VOC.is_dir(), reason=f"needs the VOC subset in {VOC}")
def test_it_knows_the_objects_of_voc():
    """Width 1.0 scores 70.7 mIoU on all of val.txt; here it is width 0.5, on every 40th image."""
    model, _ = published(0.5)
    scores = Scores(21)
    for name in (VOC / "ImageSets/Segmentation/val.txt").read_text().split()[::40]:
        image = torch.from_numpy(np.array(Image.open(VOC / f"JPEGImages/{name}.jpg").convert("RGB")))
        mask = torch.from_numpy(np.array(Image.open(VOC / f"SegmentationClass/{name}.png"))).long()
        with torch.no_grad():
            scores.update(model.eval()(image.permute(2, 0, 1)[None]).argmax(1), mask[None])
    assert scores.result([str(index) for index in range(21)])["pixel_accuracy"] > 0.88


def test_squares_of_one_size_are_what_the_network_sees():
    model = deeplabv3_mobilenet(3, width=0.25, channels=8, size=65, **HALF).eval()
    seen = []
    model.net.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        assert model(torch.full((1, 3, 40, 80), 0.75)).shape == (1, 3, 40, 80)
    image = seen[0]
    assert image.shape == (1, 3, 65, 65)
    torch.testing.assert_close(image[:, :, :32], torch.full((1, 3, 32, 65), 0.5))  # 0.75 normalised
    assert not image[:, :, 32:].any()  # the mean colour


def test_a_training_batch_of_one_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"training batch of 1 image, expected at least 2"):
        deeplabv3_mobilenet(3, width=0.25, channels=8)(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"width": 0}, r"width is 0, expected a factor above 0"),
        ({"size": 0}, r"size is 0, expected an integer of at least 1"),
        ({"pretrained": "imagenet"}, r"downloads nothing; expected None: give a file"),
        ({"widht": 0.5}, r"no argument of deeplabv3_mobilenet 'widht'.*'width'"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(args, message):
    with pytest.raises(ValueError, match=message):
        deeplabv3_mobilenet(3, **args)
