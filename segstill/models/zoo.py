"""Every architecture and encoder of segmentation_models_pytorch (smp) as a `Segmenter`."""

import inspect
from typing import Any

import torch

from ..taps import Tap
from .arguments import known, positive
from .encoders import download, encoder_weights
from .pooling import explain_single_images
from .probing import probe
from .publish import drop_unused, publish_taps
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter

# Set here, or of no use: with an activation the scores would be no logits.
_OURS = {"self", "kwargs", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"}


def smp(
    classes: int,
    *,
    architecture: str = "DeepLabV3Plus",
    encoder: str = "mobilenet_v2",
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **args: Any,
) -> Segmenter:
    """Build a network of segmentation_models_pytorch.

    Taps: "stage1" to "stage4" of the encoder (strides 4, 8, 16, 32, or less where it is dilated; as many as it has),
    "encoder", the last of these, which every teacher and every student has whatever their depths; "aspp" of DeepLabV3
    and DeepLabV3Plus, "decoder" (what the head is given), each before its dropout; and all of them with "_pre", as they
    were before their activation, unless that activation is a function call inside the network.

    Args:
        classes: K.
        architecture: Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus, PAN, UPerNet,
            Segformer or DPT, in any case.
        encoder: a name of smp, or "tu-" and a name of timm.
        pretrained: "imagenet" downloads the public weights of the encoder.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        args: further arguments of the architecture, such as `decoder_channels`, and of timm for its encoders, such as
            `img_size` for those of one fixed size: images are scaled to it and padded (see `Segmenter`).

    Raises:
        ValueError: an unknown architecture, encoder or argument, or a combination that smp refuses.
        ConnectionError: the public weights cannot be downloaded.
    """
    from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING as ARCHITECTURES  # takes seconds

    positive(classes=classes)
    if architecture.lower() not in ARCHITECTURES:
        known("architecture", architecture, [kind.__name__ for kind in ARCHITECTURES.values()])
    kind: Any = ARCHITECTURES[architecture.lower()]
    weights = encoder_weights(encoder, pretrained)
    expected = [name for name in inspect.signature(kind.__init__).parameters if name not in _OURS]
    for name in args:
        if not encoder.startswith("tu-") or name in _OURS:  # timm has arguments of its own
            known(f"argument of {kind.__name__}", name, ["architecture", "encoder", *expected])

    def build() -> Any:
        return kind(encoder_name=encoder, encoder_weights=weights, classes=classes, **args)

    try:
        net = download(build, encoder, pretrained)
    except (TypeError, ValueError, KeyError, RuntimeError, NotImplementedError, AssertionError) as error:
        raise ValueError(
            f"{kind.__name__} with encoder {encoder!r} and {args} cannot be built: {error or type(error).__name__}; "
            f"{kind.__name__} takes {expected}"
        ) from error
    explain_single_images(net)
    stride = int(net.encoder.output_stride)
    # PAN halves its coarsest map three times.
    side = args.get("img_size", 8 * stride if kind.__name__ == "PAN" else max(64, stride))
    height, width = (side, side) if isinstance(side, int) else side
    size = (height, width) if "img_size" in args and not args.get("dynamic_img_size") else None
    image = torch.zeros(1, 3, height, width, device=next(net.parameters()).device)
    try:
        drop_unused(net, image)
        if kind.__name__ == "DPT":  # whose encoder returns no pyramid, but maps of one size; its decoder halves them
            probed = probe(net, size=size, trunk="encoder")
            stride = probed.stride
            places = {name: found.tap for name, found in probed.stages.items()}
        else:
            places = _pyramid(net)
        taps = publish_taps(net, places | {"decoder": Tap("segmentation_head", read="input")}, image)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"{kind.__name__} with encoder {encoder!r} does not run on an image of {height} x {width} ({error}); "
            "give an encoder of one fixed size img_size=..., or choose another encoder"
        ) from error
    return Segmenter(net, classes=classes, taps=taps, mean=mean, std=std, stride=stride, size=size, encoder="encoder")


def _pyramid(net: Any) -> dict[str, Tap]:
    from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP

    # Counted from stride 1; an encoder that has no feature at a stride puts one without channels there.
    pyramid = [index for index, channels in enumerate(net.encoder.out_channels) if index > 1 and channels > 0]
    taps = {f"stage{index - 1}": Tap("encoder", index=index) for index in pyramid}
    taps["encoder"] = Tap("encoder", index=pyramid[-1])
    for path, module in net.named_modules():
        if isinstance(module, ASPP):
            taps["aspp"] = Tap(path)
    return taps
