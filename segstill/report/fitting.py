"""A page stays small: pictures are left out in an order that the page tells."""

import dataclasses
from collections.abc import Callable, Iterable
from html import escape
from typing import TypeVar

from .view import PageView

LARGEST = 10_000_000
"""Bytes of a page that a browser and a mail still take well."""
View = TypeVar("View")


def fit(whole: View, shorter: Iterable[Callable[[View], View]], render: Callable[[View], str]) -> bytes:
    """Return a page as bytes, with less and less on it until it is not larger than 10 MB.

    Args:
        whole: what is to be shown.
        shorter: each leaves out more than the one before.
        render: returns HTML.
    """
    text = render(whole).encode()
    for step in shorter:
        if len(text) <= LARGEST:
            break
        text = render(step(whole)).encode()
    return text


def fewer_worst(page: PageView, keep: int) -> PageView:
    """Return the page with the first of the worst images only, which says so."""
    there = len(page.worst)
    if there <= keep:
        return page
    said = f"{there - keep} of the {there} worst images"
    return dataclasses.replace(page, worst=page.worst[:keep], left_out=(*page.left_out, said))


def left_out(page: PageView, order: str = "The least bad go first.") -> str:
    """Say which pictures were left out, and in which order that is done; nothing where none was."""
    if not page.left_out:
        return ""
    said = escape(", ".join(page.left_out))
    return f'<p class="note">Left out, so that the page stays below {LARGEST // 10**6} MB: {said}. {order}</p>'
