"""What swtformer refuses, and how it says so."""

import pytest

from segstill.models import swtformer


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"classes": 1}, r"classes is 1, expected at least 2: background"),
        ({"version": 3}, r"version is 3, expected one of \[1, 2\]"),
        ({"head_kernel": 2}, r"head_kernel is 2, expected one of \[1, 3\]"),
        ({"pooling": "max"}, r"pooling is 'max', expected one of \['gap', 'gmp', 'gwrp', 'top_k'\]"),
        ({"branches": "free"}, r"branches is 'free', expected one of \['equal', 'learned'\]"),
        ({"output_stride": 4}, r"output_stride is 4, expected one of \[8, 16, 32, None\]"),
        ({"output_stride": 16}, r"output_stride is 16, but tu-swin_.* cannot be dilated, expected None: give larger"),
        ({"stages": ()}, r"stages is \(\), expected some of \(1, 2, 3, 4\), each once"),
        ({"stages": (0, 1)}, r"stages is \(0, 1\), expected some of"),
        ({"stages": (1, 1)}, r"stages is \(1, 1\), expected some of .* each once"),
        ({"fused_channels": (8, 8)}, r"fused_channels is \(8, 8\), expected 4 numbers"),
        ({"fused_channels": (8, 8, 0, 8)}, r"fused_channels\[2\] is 0, expected an integer of at least 1"),
        ({"top_share": 0.0}, r"top_share is 0.0, expected a share of the cells in \(0, 1\]"),
        ({"dropout": 1.0}, r"dropout is 1.0, expected a probability in \[0, 1\)"),
        ({"encoder": "resnet19"}, r"no encoder 'resnet19'; did you mean.*'resnet18'"),
        ({"encoder": "resnet18", "poling": "gap"}, r"no argument of swtformer 'poling'; did you mean.*'pooling'"),
        ({"encoder": "tu-resnet18", "poling": "gap"}, r"'tu-resnet18' with .* cannot be built: .*poling"),
        ({"encoder": "densenet121", "output_stride": 16}, r"'densenet121' cannot have output stride 16"),
        ({"encoder": "tu-test_vit"}, r"'tu-test_vit' .*cannot be built: .*; choose one that has features at"),
        ({"encoder": "tu-mobilenetv2_035", "pretrained": "imagenet"}, r"no public weights.*expected None"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_was_expected(args, message):
    with pytest.raises(ValueError, match=message):
        swtformer(**{"classes": 4, **args})


def test_an_encoder_of_one_size_is_refused_when_it_is_built():
    with pytest.raises(ValueError, match=r"'tu-swinv2.*images of every size .*; choose another one, such as"):
        swtformer(4, encoder="tu-swinv2_tiny_window8_256", embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))


def test_public_weights_of_a_swin_are_asked_for_and_a_failed_download_names_the_remedy(monkeypatch):
    asked = []

    def offline(name, **args):
        asked.append((name, args["pretrained"]))
        raise OSError("no network")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(ConnectionError, match=r"could not download the 'imagenet' weights.*give a file"):
        swtformer(4, pretrained="imagenet")
    assert asked == [("swin_tiny_patch4_window7_224", True)]
