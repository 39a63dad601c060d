"""Figures and pictures: exact colours, legible in both themes."""

import re
from pathlib import Path

import numpy as np

from segstill.report import page as page_module
from segstill.report.figures import Curve, curves, heat_map
from segstill.report.images import ERROR, attention_map, class_mask, error_map

from .pages import CLASSES, PALETTE, pixels


def test_curves_take_their_colours_from_the_page():
    svg = curves([Curve([0, 1], [2, 1], 0), Curve([0, 1], [1, 2], 9)], name="a", x_label="epoch", y_label="loss <x>")
    assert "var(--series-0)" in svg
    assert "var(--series-1)" in svg
    assert "stroke-dasharray" in svg  # the tenth series repeats a colour
    assert "loss &lt;x&gt;" in svg
    assert not re.search(r"#0[0-9a-f]{5}|xmlns|<style|<\?xml", svg)


def test_long_curves_are_averaged_and_short_ones_are_drawn():
    long = curves([Curve(range(20_000), [0.0, 1.0] * 10_000, 0)], name="a", x_label="", y_label="")
    assert len(long) < 20_000
    assert "<use" in curves([Curve([1], [1], 0)], name="a", x_label="", y_label="")  # a single point is a dot


def test_a_heat_map_embeds_one_pixel_per_entry_and_its_labels():
    svg = heat_map(np.eye(3), CLASSES, name="a", limits=(0, 1))
    uri = re.search(r"data:image/png;base64,[^\"]*", svg)[0]
    assert pixels(uri).shape == (3, 3, 3)
    assert svg.count("a &lt; b &amp; $c$") == 2
    assert svg.count(">road<") == 2


def test_equal_values_and_missing_ones_can_be_drawn():
    assert "<image" in heat_map(np.full((2, 2), np.nan), "ab", name="a", limits=(0, 0))


def test_masks_keep_the_exact_colours_and_stripe_what_has_no_label():
    ids = np.array([[0, 1, 2, 255]], np.uint8).repeat(4, 1).repeat(16, 0)
    shown = pixels(class_mask(ids, PALETTE))
    for index, colour in enumerate(PALETTE):
        assert (shown[:, 4 * index : 4 * index + 4] == colour).all()
    assert len(np.unique(shown[:, 12:].reshape(-1, 3), axis=0)) == 2


def test_error_maps_are_strong_where_labelled_pixels_are_wrong_and_only_there():
    image = np.full((60, 60, 3), 200, np.uint8)
    truth, prediction = np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint8)
    prediction[:, 20:] = 1
    truth[:, 40:] = 255
    shown = pixels(error_map(image, prediction, truth))
    assert (abs(shown[:, 24:36] - ERROR) < 30).all()
    for calm in (shown[:, :16], shown[:, 44:]):
        assert (calm.max(-1) - calm.min(-1) < 12).all()  # grey


def test_attention_is_bright_where_it_is_high():
    attention = np.array([[0.0, 0.0], [0.0, 5.0]])
    shown = pixels(attention_map(np.full((40, 40, 3), 100, np.uint8), attention)).sum(-1)
    assert shown[-5:, -5:].min() > 2 * shown[:5, :5].max()
    attention_map(np.zeros((4, 4, 3), np.uint8), np.ones((2, 2)))  # flat maps have no range


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_and_lines_stand_out_in_both_themes():
    css = (Path(page_module.__file__).parent / "page.css").read_text("utf-8")
    blocks = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)]
    assert len(blocks) == 2
    assert blocks[0].keys() == blocks[1].keys()
    for theme in blocks:
        for name in ("text", "muted", "accent"):
            assert contrast(theme[name], theme["page"]) >= 4.5, name
        assert contrast(theme["text"], theme["best"]) >= 4.5
        for series in range(8):
            assert contrast(theme[f"series-{series}"], theme["page"]) >= 3, series
