"""Networks of torchvision keep their function and take files of their own weights."""

import pytest
import torch
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, lraspp_mobilenet_v3_large

from segstill.models import load_weights, torchvision


def test_the_function_is_the_library_s():
    torch.manual_seed(0)
    original = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).eval()
    torch.manual_seed(0)
    model = torchvision(5, model="lraspp_mobilenet_v3_large").eval()
    image = torch.rand(1, 3, 65, 97)
    with torch.no_grad():
        expected = original((image - model.mean) / model.std)["out"]
        torch.testing.assert_close(model(image), expected)


def test_the_auxiliary_classifier_is_absent_unless_asked_for():
    names = [
        any("aux" in name for name in torchvision(5, model="deeplabv3_mobilenet_v3_large", **args).state_dict())
        for args in ({}, {"aux_loss": True})
    ]
    assert names == [False, True]


def test_a_file_with_an_auxiliary_classifier_fills_the_network_and_the_rest_is_named(tmp_path):
    source = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = torchvision(5, model="deeplabv3_mobilenet_v3_large")
    report = load_weights(model, tmp_path / "w.pth")
    assert report.loaded == tuple(model.state_dict())
    assert not report.missing
    assert not report.other_shape
    assert report.unexpected
    assert all(name.startswith("aux_classifier.") for name in report.unexpected)
    assert "aux_classifier" in str(report)


def test_a_file_of_the_backbone_alone_fills_the_encoder(tmp_path):
    source = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(source.backbone.state_dict(), tmp_path / "w.pth")
    report = load_weights(torchvision(5, model="deeplabv3_mobilenet_v3_large"), tmp_path / "w.pth")
    assert report.part == "net.model.backbone"
    assert len(report.loaded) == len(source.backbone.state_dict())


def test_public_weights_are_those_of_the_backbone_and_a_failed_download_names_the_remedy(monkeypatch):
    asked = []

    def offline(url, **_):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ConnectionError, match=r"could not download the 'imagenet' weights.*give a file"):
        torchvision(5, model="lraspp_mobilenet_v3_large", pretrained="imagenet")
    assert ["mobilenet_v3_large" in url for url in asked] == [True]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"model": "deeplabv3_resnet18"}, r"no network of torchvision 'deeplabv3_resnet18'.*'deeplabv3_resnet101'"),
        ({"model": "resnet18"}, r"no network of torchvision 'resnet18'"),
        ({"weights": "DEFAULT"}, r"no argument of deeplabv3_resnet50 'weights'"),
        ({"model": "lraspp_mobilenet_v3_large", "aux_loss": True}, r"cannot be built"),
        ({"pretrained": "coco"}, r"pretrained is 'coco', expected 'imagenet' or None"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(args, message):
    with pytest.raises(ValueError, match=message):
        torchvision(5, **args)
