"""Pictures of every kind read as 8-bit RGB, or raise a sentence that names them."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from segstill.data import open_tagged, training_loader
from segstill.data.pictures import FileError, png, read_image, read_mask
from segstill.recipe import DataSpec

from .trees import label, picture


def smooth():
    """A gradient (24, 32, 3), which survives the compression of JPEG."""
    rows, columns = np.mgrid[:24, :32]
    return np.stack([rows * 10, columns * 7, 255 - rows * 5 - columns * 3], axis=2).astype(np.uint8)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


RGB = Image.fromarray(smooth())
GRAY = Image.fromarray(smooth()[..., 1])
DEEP = Image.fromarray(smooth()[..., 1].astype(np.uint16) * 257)
GRAYED = np.repeat(smooth()[..., 1:2], 3, axis=2)
KINDS = {
    "colour.jpg": (encoded(RGB, "JPEG", quality=95), smooth()),
    "progressive.jpg": (encoded(RGB, "JPEG", quality=95, progressive=True), smooth()),
    "cmyk.jpg": (encoded(RGB.convert("CMYK"), "JPEG", quality=95), smooth()),
    "gray.jpg": (encoded(GRAY, "JPEG", quality=95), GRAYED),
    "gray.png": (encoded(GRAY, "PNG"), GRAYED),
    "deep.png": (encoded(DEEP, "PNG"), GRAYED),
    "deep.tif": (encoded(DEEP, "TIFF"), GRAYED),
    "clear.png": (encoded(RGB.convert("RGBA"), "PNG"), smooth()),
    "turned.jpg": (encoded(RGB.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=turned(6)), smooth()),
    "mirrored.jpg": (
        encoded(RGB.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG", quality=95, exif=turned(2)),
        smooth(),
    ),
    "odd_exif.jpg": (encoded(RGB, "JPEG", quality=95, exif=b"Exif\0\0garbage and more"), smooth()),
    "one.png": (encoded(RGB.crop((3, 4, 4, 5)), "PNG"), smooth()[4:5, 3:4]),
    "one.jpg": (encoded(RGB.crop((3, 4, 4, 5)), "JPEG", quality=95), smooth()[4:5, 3:4]),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_becomes_8_bit_rgb(tmp_path, name):
    content, expected = KINDS[name]
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of PIL, about damaged EXIF
        image = read_image(tmp_path / name).permute(1, 2, 0).numpy()
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < (0.1 if name.endswith("png") else 4)


def test_all_kinds_train_together(tmp_path):
    (tmp_path / "images/train").mkdir(parents=True)
    rows = []
    for number, (name, (content, _)) in enumerate(KINDS.items()):
        if name != "odd_exif.jpg":  # it warns
            (tmp_path / f"images/train/{number}_{name}").write_bytes(content)
            rows.append(f"{number}_{name},thing\n")
    (tmp_path / "tags.csv").write_text("".join(rows))
    spec = DataSpec(name="folder", root=str(tmp_path), classes=("background", "thing"), crop=(24, 32), workers=0)
    dataset = open_tagged(spec, "train")
    assert len(dataset) == len(rows)
    batch = next(iter(training_loader(dataset, None, spec, batch_size=len(rows), steps=1)))
    assert batch["image"].shape == (len(rows), 3, 24, 32)


@pytest.mark.parametrize("kind", ["colour.jpg", "progressive.jpg", "cmyk.jpg"])
@pytest.mark.parametrize("share", [0, 0.2, 0.6, 0.9])
def test_a_truncated_jpeg_is_refused_and_named(tmp_path, kind, share):
    content = encoded(Image.fromarray(picture(0, 64, 64)), "JPEG") if share else b""
    (tmp_path / kind).write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileError, match=rf"{kind}: (does not decode|is empty).*; replace the file"):
        read_image(tmp_path / kind)


def test_images_beyond_the_limit_for_unknown_files_are_read_and_those_beyond_all_limits_named(tmp_path, monkeypatch):
    Image.fromarray(picture(0, 64, 64)).save(tmp_path / "aerial.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "aerial.png").shape == (3, 64, 64)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr("segstill.data.pictures.MOST_PIXELS", 1000)
    with pytest.raises(FileError, match="million pixels, expected at most .* cut it into several"):
        read_image(tmp_path / "aerial.png")


def test_bytes_that_were_damaged_anywhere_raise_nothing_else(tmp_path):
    for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP"):
        content = encoded(RGB, kind)
        for seed in range(40):
            damaged = bytearray(content)
            rng = np.random.default_rng(seed)
            for place in rng.integers(0, min(len(damaged), 300 if seed % 2 else len(damaged)), 5):
                damaged[place] = rng.integers(256)
            (tmp_path / "a").write_bytes(damaged)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert read_image(tmp_path / "a").shape[0] == 3
                except FileError:
                    continue


def test_a_mask_is_written_with_its_colours_and_255_in_white(tmp_path):
    import torch

    palette = ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    mask = torch.from_numpy(label(0))
    (tmp_path / "a.png").write_bytes(png(mask, palette))
    assert read_mask(tmp_path / "a.png", ("a", "b", "c")).equal(mask)
    colour = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert colour[label(0) == 1].tolist()[0] == [128, 0, 0]
    assert colour[-1, 0].tolist() == [255, 255, 255]
