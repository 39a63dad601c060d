"""Pages about runs and chains on a phone, in Chromium: nothing is wider than the screen but what scrolls by itself."""

import dataclasses

import pytest

from segstill.report.page import render
from segstill.report.story import render_story

from .chromium import chromium, needs_chromium
from .pages import RUNS, whole_page
from .test_story import story

PHONE = 390
"""Pixels."""
TITLE = "segstill chain: masks_to_student_camvid_small_of_the_second_attempt"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def of_runs():
    return render(dataclasses.replace(whole_page(), title=TITLE))


def of_a_chain():
    called = {"big": "teacher", "alone": "student on true masks"}
    page = dataclasses.replace(
        whole_page(), title=TITLE, runs=tuple(dataclasses.replace(run, title=called.get(run.name, "")) for run in RUNS)
    )
    return render_story(story(page=page))


@needs_chromium
@pytest.mark.parametrize("draw", [of_runs, of_a_chain])
def test_a_long_title_does_not_make_the_page_wider_than_a_phone(draw, browser):
    page = browser.new_page(viewport={"width": PHONE, "height": 800})
    page.set_content(draw())
    assert page.locator("h1").inner_text() == TITLE
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    page.close()
