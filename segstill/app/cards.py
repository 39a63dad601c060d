"""The HTML of what networks say of an image; pictures are in it, nothing is loaded from anywhere."""

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

from ..report.images import Palette, Picture, attention_map, error_map, photograph
from ..report.sheet import overlay
from .given import Given
from .networks import Answer, Network

WIDTH = 1024
"""Pixels of the pictures; large screens show a network at about this."""
PAIRS = 5
"""Rows of the table of disagreements."""


def refusal(sentence: str) -> str:
    """Say what is wrong with a file."""
    return f'<p class="refusal" role="alert">{escape(sentence)}</p>'


def hint(sentence: str) -> str:
    """Say what to do."""
    return f'<p class="hint">{escape(sentence)}</p>'


def failed(network: Network, error: Exception) -> str:
    """Say that a network cannot look at an image."""
    lines = str(error).splitlines() or [type(error).__name__]
    return _card(network.name, refusal(f"This network cannot look at this image: {lines[0]}"))


def answered(given: Given, network: Network, answer: Answer) -> str:
    """Show the mask of a network under the image, the time that it took, and the classes with their areas."""
    image = given.image.permute(1, 2, 0).contiguous().numpy()
    background = network.classes[0] == "background"
    laid = photograph(overlay(image, answer.ids.numpy(), network.palette, background=background), WIDTH)
    areas = shares(answer.ids, len(network.classes))
    seen = sorted((index for index, share in enumerate(areas) if share), key=lambda index: -areas[index])
    told = ", ".join(f"{network.classes[index]} {percent(areas[index])}" for index in seen[:6])
    photo = photograph(image, WIDTH)
    pictures = [_wipe(photo, laid, f"Mask of {network.name}: {told}", f"the mask of {network.name}")]
    if answer.heat is not None:
        heat = attention_map(image, answer.heat.numpy(), WIDTH)
        strongest = f"Strongest class map of {network.name}; the brighter, the more it speaks for one of the tags"
        pictures.insert(0, _wipe(photo, heat, strongest, f"the class maps of {network.name}"))
    return _card(
        network.name,
        f'{_time(given, network, answer)}<div class="pictures">{"".join(pictures)}</div>'
        + _legend(network.classes, network.palette, areas, seen),
    )


def compared(given: Given, one: Network, other: Network, ids: tuple[Tensor, Tensor]) -> str:
    """Show on how many pixels two networks of the same classes agree, and where they do not."""
    image = given.image.permute(1, 2, 0).contiguous().numpy()
    same = percent(agreement(*ids))
    taught = one.digest and one.digest == other.teacher
    who = "Teacher and student" if taught else "They"
    picture = error_map(image, ids[1].numpy(), ids[0].numpy(), WIDTH)
    names = f"{one.name} and {other.name}"
    rows = "".join(
        f'<tr><th scope="row">{escape(one.classes[mine])}</th><td>{escape(other.classes[theirs])}</td>'
        f"<td>{percent(share)}</td></tr>"
        for mine, theirs, share in disagreements(*ids, len(one.classes))
    )
    table = (
        f'<table><thead><tr><th scope="col">{escape(one.name)}</th><th scope="col">{escape(other.name)}</th>'
        f'<th scope="col">of the image</th></tr></thead><tbody>{rows}</tbody></table>'
    )
    return _card(
        f"{one.name} against {other.name}",
        f'<p class="note">{who} agree on <b>{same}</b> of the pixels.</p>'
        + _picture(picture, f"Where {names} give different classes, in a strong colour over the grey image")
        + (table if rows else ""),
        "comparison",
    )


def page(given: Given, cards: Sequence[str]) -> str:
    """Put the cards of an image together."""
    (height, width), (rows, columns) = given.size, given.image.shape[1:]
    seen = "" if (height, width) == (rows, columns) else f", looked at as {columns} × {rows}"
    about = f"{given.name}: {width} × {height} pixels{seen}"
    return f'<p class="note">{escape(about)}</p><div class="cards">{"".join(cards)}</div>'


def shares(ids: Tensor, classes: int) -> list[float]:
    """Return the share of an image (H, W) that each class has, in [0, 1]."""
    return (torch.bincount(ids.flatten().int(), minlength=classes)[:classes] / ids.numel()).tolist()


def agreement(one: Tensor, other: Tensor) -> float:
    """Return the share of pixels of two masks (H, W) with the same class, in [0, 1]."""
    return float((one == other).float().mean())


def disagreements(one: Tensor, other: Tensor, classes: int) -> list[tuple[int, int, float]]:
    """Return the pairs of different classes that most pixels have, and the share of the image of each."""
    pairs = torch.bincount((one.int() * classes + other.int()).flatten(), minlength=classes**2).view(classes, classes)
    pairs.fill_diagonal_(0)
    counts, places = pairs.flatten().topk(min(PAIRS, classes**2))
    found = zip(counts.tolist(), places.tolist(), strict=True)
    return [(place // classes, place % classes, count / one.numel()) for count, place in found if count]


def percent(share: float) -> str:
    """Return a share as text; what is there is never "0 %", and what is not all never "100 %"."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def _card(title: str, body: str, kind: str = "network") -> str:
    return f'<section class="card {kind}"><h2>{escape(title)}</h2>{body}</section>'


def _time(given: Given, network: Network, answer: Answer) -> str:
    took, (height, width), (rows, columns) = answer.took, answer.size, given.image.shape[1:]
    looks = "one look" if took.looks == 1 else f"median of {took.looks} looks"
    return (
        f'<p class="note"><b>{_milliseconds(took.network)}</b> {network.timed}, at {width} × {height} pixels on '
        f"{escape(network.device)} ({looks}); {_milliseconds(took.whole)} with the mask at {columns} × {rows}</p>"
    )


def _milliseconds(number: float) -> str:
    return f"{number:.{0 if number >= 10 else 1}f} ms"


def _wipe(above: Picture, below: Picture, alt: str, name: str) -> str:
    """A picture over another one; a slider uncovers the one below."""
    return (
        f'<div class="wipe" style="--ratio: {below.width} / {below.height}">'
        f'<img src="{below.uri}" alt="{escape(alt)}"><img class="above" src="{above.uri}" alt="The image itself">'
        '<input type="range" min="0" max="100" value="50" '
        f'aria-label="Share of the image that is not covered by {escape(name)}" '
        "oninput=\"this.parentNode.style.setProperty('--at', this.value + '%')\">"
        '<span class="handle" aria-hidden="true"></span></div>'
    )


def _picture(picture: Picture, alt: str) -> str:
    ratio = f"--ratio: {picture.width} / {picture.height}"
    return f'<div class="wipe" style="{ratio}"><img src="{picture.uri}" alt="{escape(alt)}"></div>'


def _legend(classes: Sequence[str], palette: Palette, areas: Sequence[float], seen: Sequence[int]) -> str:
    rows = "".join(
        f'<li style="--colour: rgb{tuple(palette[index])}; --share: {100 * areas[index]:.2f}%">'
        f'<span class="swatch"></span><span class="class">{escape(classes[index])}</span>'
        f'<span class="bar"><span></span></span><span class="share">{percent(areas[index])}</span></li>'
        for index in seen
    )
    rest = [name for index, name in enumerate(classes) if index not in seen]
    absent = f'<p class="note">Not in this mask: {escape(", ".join(rest))}</p>' if rest else ""
    return f'<ul class="areas" aria-label="Classes and the share of the image that each has">{rows}</ul>{absent}'
