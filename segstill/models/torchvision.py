"""The segmentation networks of torchvision as `Segmenter`s: DeepLabV3, FCN and LR-ASPP."""

from typing import Any

from .adapters import Adapted
from .arguments import known, positive
from .encoders import download
from .pooling import explain_single_images
from .probing import as_segmenter, probe
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter


def torchvision(
    classes: int,
    *,
    model: str = "deeplabv3_resnet50",
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **args: Any,
) -> Segmenter:
    """Build a segmentation network of torchvision.

    A file of its weights is loaded as it is; entries of the auxiliary classifier are named as unused.

    Taps: "stage1" at stride 4, "stage2" at 8 and so on, as coarse as the backbone gets (the last feature at each
    stride; the dilated ResNets end at stride 8), "encoder", the deepest of them, "decoder" (what the last convolution
    is given, before its dropout), and all of them with "_pre", as they were before their activation.

    Args:
        classes: K.
        model: deeplabv3_resnet50, deeplabv3_resnet101, deeplabv3_mobilenet_v3_large, fcn_resnet50, fcn_resnet101 or
            lraspp_mobilenet_v3_large.
        pretrained: "imagenet" downloads the public weights of the backbone.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        args: further arguments, such as `aux_loss=True` for the auxiliary classifier, which is absent without it.

    Raises:
        ValueError: an unknown network or argument.
        ConnectionError: the public weights cannot be downloaded.
    """
    from torchvision.models import get_model, list_models, segmentation  # takes seconds

    positive(classes=classes)
    known("network of torchvision", model, list_models(segmentation))
    if pretrained is not None and pretrained != "imagenet":
        raise ValueError(f"pretrained is {pretrained!r}, expected 'imagenet' or None; give a file of weights otherwise")
    for name in args:  # torchvision itself takes any, and ignores what it does not know
        known(f"argument of {model}", name, ["aux_loss"])

    def build() -> Any:
        backbone = "DEFAULT" if pretrained else None
        return get_model(model, weights=None, weights_backbone=backbone, num_classes=classes, progress=False, **args)

    try:
        net = Adapted(download(build, model, pretrained), classes)
    except (TypeError, NotImplementedError) as error:
        raise ValueError(f"{model} with {args} cannot be built: {error}; it takes aux_loss") from error
    explain_single_images(net)
    probed = probe(net, trunk="model.backbone")
    return as_segmenter(net, probed, classes, mean=mean, std=std)
