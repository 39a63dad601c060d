"""Networks of transformers: by type, from a folder, with scores from whatever they return."""

import json

import pytest
import torch
import transformers as library

from segstill.models import class_names, transformers

SMALL = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 1, 1, 1),
    "decoder_hidden_size": 16,
}
SWIN = {"backbone_depths": (1, 1, 1, 1), "backbone_embed_dim": 16, "backbone_num_heads": (1, 1, 1, 1)}
NAMES = ("road", "sky", "pole")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network with its weights, its class names and its normalisation, as save_pretrained writes them."""
    path = tmp_path_factory.mktemp("segformer")
    torch.manual_seed(0)
    config = library.SegformerConfig(num_labels=3, id2label=dict(enumerate(NAMES)), **SMALL)
    library.SegformerForSemanticSegmentation(config).save_pretrained(path)
    about = {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (path / "preprocessor_config.json").write_text(json.dumps(about))
    return path


HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@pytest.mark.parametrize(
    ("model", "args"),
    [
        ("segformer", SMALL),
        ("upernet", {"hidden_size": 16, **SWIN, "backbone_model_type": "swin"}),
        (
            "mask2former",
            {
                **SWIN,
                **dict.fromkeys(("hidden_dim", "feature_size", "mask_feature_size", "dim_feedforward"), 32),
                "num_queries": 5,
                "num_attention_heads": 2,
                "encoder_layers": 1,
                "decoder_layers": 2,
            },
        ),
        (
            "eomt",
            {
                "image_size": 64,
                "hidden_size": 32,
                "num_hidden_layers": 4,
                "num_attention_heads": 2,
                "num_queries": 5,
                "num_blocks": 1,
            },
        ),
    ],
)
def test_scores_have_the_size_of_the_image_and_a_gradient(model, args):
    torch.manual_seed(0)
    net = transformers(3, model=model, **args).train()
    scores = net(torch.rand(2, 3, 67, 91))
    assert scores.shape == (2, 3, 67, 91)
    scores.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters() if p.requires_grad)


def test_a_folder_brings_its_weights(folder):
    original = library.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    model = transformers(3, model=str(folder), **HALF).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = original((image - 0.5) / 0.5).logits
        torch.testing.assert_close(model.net((image - 0.5) / 0.5), expected)


def test_a_folder_brings_its_class_names(folder):
    assert class_names(str(folder)) == NAMES
    assert class_names("segformer") == ()


def test_other_classes_start_a_new_head_and_keep_the_rest(folder):
    model = transformers(5, model=str(folder), **HALF)
    original = library.SegformerForSemanticSegmentation.from_pretrained(folder)
    assert model(torch.rand(2, 3, 32, 32)).shape[1] == 5
    mine, theirs = model.net.model.segformer.state_dict(), original.segformer.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_another_normalisation_than_the_folder_s_is_refused_with_the_flags(folder):
    with pytest.raises(
        ValueError, match=r"mean is .*0.485.*expect \(0.5, 0.5, 0.5\): pass --student.mean.* 0.5 0.5 0.5"
    ):
        transformers(3, model=str(folder))


def test_weights_that_could_run_code_are_not_read(folder, tmp_path):
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.save(
        library.SegformerForSemanticSegmentation.from_pretrained(folder).state_dict(), tmp_path / "pytorch_model.bin"
    )
    with pytest.raises(FileNotFoundError, match=r"expected config.json and model.safetensors"):
        transformers(3, model=str(tmp_path))


def test_code_beside_the_weights_is_never_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(ValueError, match=r"trust_remote_code|evil"):
        transformers(3, model=str(tmp_path))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ({"model": "segformr"}, ValueError, r"no type of network of transformers 'segformr'.*'segformer'"),
        ({"model": "bert"}, ValueError, r"no type of network of transformers 'bert'"),
        ({"depth": 3}, ValueError, r"no field of the configuration of segformer 'depth'.*'depths'"),
        ({"backbone_depths": 3}, ValueError, r"segformer has no backbone of its own.*\['depths'\]"),
        ({"model": "upernet", "backbone_dept": 3}, ValueError, r"no field of the configuration of resnet 'dept'"),
        ({"depths": "deep"}, ValueError, r"segformer cannot be built so: .*depths"),
        ({"pretrained": "imagenet"}, ValueError, r"pretrained is 'imagenet', expected None: give a folder or a name"),
        ({"model": "{tmp}"}, FileNotFoundError, r"does not hold a network of transformers"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(args, error, message, tmp_path):
    if args.get("model") == "{tmp}":
        args = {"model": str(tmp_path)}
    with pytest.raises(error, match=message):
        transformers(3, **args)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'segstill\[transformers\]'"):
        transformers(3)
