"""Any encoder of timm with a plain head: a 1x1 convolution on its deepest feature.

This is how frozen features are commonly judged (DINOv2, arXiv 2304.07193, section 7.4), and the plainest way to make a
teacher of a vision transformer.  Encoders under decoders of their own are in the source `smp`, as "tu-" and the name.
"""

from typing import Any

from torch import Tensor, nn

from .arguments import known, positive
from .encoders import download, encoder_weights
from .probing import as_segmenter, probe
from .publish import drop_unused
from .segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter

# Set here, or of no use.
_OURS = {"pretrained", "num_classes", "global_pool", "in_chans", "features_only", "out_indices", "dynamic_img_size"}


def timm(
    classes: int,
    *,
    encoder: str = "vit_small_patch16_224",
    size: int | None = None,
    dropout: float = 0.0,
    pretrained: str | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **args: Any,
) -> Segmenter:
    """Build a timm encoder with a linear head.  Files of the encoder's own weights fit by their names.

    Taps: "stage1" at stride 4, "stage2" at 8 and so on, as many as the encoder has (a plain vision transformer of
    patch 14 or 16 has "stage3" alone), "encoder", the deepest of them, "decoder" (what the head is given), and all of
    them with "_pre", as they were before their activation.

    Args:
        classes: K.
        encoder: a name of timm.
        size: side of the squares that the network sees, for an encoder that takes one size alone (see `Segmenter`).
        dropout: probability with which a channel is dropped before the head.
        pretrained: "imagenet" downloads the encoder's public weights.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        args: further arguments of the encoder.

    Raises:
        ValueError: an unknown encoder or argument, one without features, or one that needs `size`.
        ConnectionError: the public weights cannot be downloaded.
    """
    positive(classes=classes, size=1 if size is None else size)
    weights = encoder_weights(f"tu-{encoder}", pretrained)
    for name in args:
        if name in _OURS:
            known("argument of timm", name, ["encoder", "size", "dropout"])
    args |= {"num_classes": 0, "global_pool": ""} | ({} if size is None else {"img_size": size})
    try:
        body = download(lambda: _encoder(encoder, bool(weights), args, any_size=size is None), encoder, pretrained)
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        raise ValueError(f"encoder {encoder!r} with {args} cannot be built: {error or type(error).__name__}") from error
    if not hasattr(body, "forward_intermediates"):
        raise ValueError(f"encoder {encoder!r} does not give its features, expected one with a pyramid or with tokens")
    net = LinearSegmenter(body, classes, dropout)
    square = None if size is None else (size, size)
    probed = probe(net, size=square, trunk="encoder")
    drop_unused(net, probed.image)
    return as_segmenter(net, probed, classes, mean=mean, std=std, size=square)


class LinearSegmenter(nn.Module):
    """Encoder and 1x1 convolution; maps a normalised image (N, 3, H, W) to scores (N, K, h, w)."""

    def __init__(self, encoder: Any, classes: int, dropout: float):
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        # Its input channels are those of the first feature that it sees: what timm says of some encoders counts a head.
        self.head = nn.LazyConv2d(classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores at the encoder's deepest stride."""
        deepest = self.encoder.forward_intermediates(image, indices=1, norm=True, intermediates_only=True)[0]
        return self.head(self.dropout(deepest))


def _encoder(name: str, pretrained: bool, args: dict[str, Any], *, any_size: bool) -> Any:
    from timm import create_model  # takes seconds

    if any_size:  # vision transformers then scale their position embeddings to the image; other encoders always do
        try:
            return create_model(name, pretrained=pretrained, dynamic_img_size=True, **args)
        except TypeError as error:
            if "dynamic_img_size" not in str(error):
                raise
    return create_model(name, pretrained=pretrained, **args)
