"""The page itself, served by the command and looked at in Chromium."""

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from segstill.export import ExportSpec, export

from .chromium import chromium, needs_chromium
from .conftest import CAMVID, needs_camvid
from .test_app import runs  # noqa: F401 (a fixture)

pytest.importorskip("gradio", reason="needs gradio: pip install 'segstill[app]'")
PATIENCE = 120_000
"""Milliseconds: a machine may have more to do than this."""
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera that shows a pattern, and a user who allows it."""
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def served(runs):  # noqa: F811
    """The address of the page and the folder that uploads go to; the command is ended by Ctrl-C."""
    export(runs / "student", runs / "student.onnx", ExportSpec(parity=1), say=lambda sentence: None)
    models = [str(runs / name) for name in ("student", "teacher", "student.onnx", "classifier")]
    temporary = runs / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "segstill", "app", *models, "--port", "0", "--max-mb", "1"]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "GRADIO_ALLOWED_PATHS": "/"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=settings, **pipes) as process:
        try:
            lines = queue.Queue()
            reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout])
            reader.start()
            address = re.search(r"http://127\.0\.0\.1:\d+", lines.get(timeout=300)).group()
            yield address, temporary
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
            assert "Traceback" not in process.stderr.read()
            assert not [*temporary.glob("segstill-app-*"), *temporary.rglob("scene.png")]
        finally:
            process.kill()
            reader.join()


@pytest.fixture(scope="module")
def browser():
    with chromium(*CAMERA) as browser:
        yield browser


@pytest.fixture
def page(browser, served):
    """The page, opened; no test of it may ask another host for anything."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    hosts, problems = set(), []
    page.on("request", lambda request: hosts.add(urllib.parse.urlsplit(request.url).hostname))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.set_default_timeout(PATIENCE)
    page.goto(served[0])
    page.get_by_text("Drop an image, paste one").wait_for()
    yield page
    page.close()
    assert hosts - {None} == {"127.0.0.1"}  # data: has no host
    assert problems == []


def give(page, file):
    page.set_input_files("#given input[type=file]", file)


def card(page, name):
    return page.locator("#shown .card", has=page.get_by_role("heading", name=name, exact=True))


def test_masks_of_runs_and_files_are_shown_with_areas_time_and_agreement(page, runs):  # noqa: F811
    give(page, runs / "scene.png")
    card(page, "student").wait_for()
    for name in ("student", "teacher", "student.onnx"):
        shown = card(page, name)
        assert "ms the network, at 48 × 32 pixels on the CPU, 1 thread" in shown.inner_text()
        assert "ms with the mask at 48 × 32" in shown.inner_text()
        assert re.search(r"(disc|ring|star|pole)\s+\d+\.\d %", shown.inner_text())
        for picture in shown.locator("img").all():
            assert picture.evaluate("image => image.complete && image.naturalWidth") == 48
            assert picture.get_attribute("alt")
    assert "Teacher and student agree on" in card(page, "teacher against student").inner_text()
    assert "They agree on" in card(page, "teacher against student.onnx").inner_text()


@needs_camvid
@pytest.mark.parametrize("large", [None, (1920, 1440)])
def test_a_photograph_is_shown_under_its_mask(large, page, tmp_path):
    photo = sorted((CAMVID / "images" / "test").glob("*.jpg"))[0]
    with Image.open(photo) as opened:
        width, height = large or opened.size
        if large:
            photo = tmp_path / "large.webp"
            opened.resize(large).save(photo, quality=60)
    give(page, photo)
    page.get_by_text(f"{photo.name}: {width} × {height} pixels").wait_for()
    shown = card(page, "student")
    assert f"the network, at {width} × {height} pixels" in shown.inner_text()
    assert f"with the mask at {width} × {height}" in shown.inner_text()
    mask = shown.locator("img:not(.above)")
    assert mask.evaluate("image => image.decode().then(() => image.naturalWidth)") == min(width, 1024)
    shares = [float(share) for share in re.findall(r"(\d+\.\d) %", shown.locator(".areas").inner_text())]
    assert sum(shares) == pytest.approx(100, abs=1)


def test_a_picture_of_the_camera_gets_its_masks(page):
    page.get_by_label("Capture from camera").click()
    page.get_by_title("grant webcam access").click()
    page.locator("#given video").wait_for()
    page.locator("#given video").evaluate("video => new Promise(done => video.requestVideoFrameCallback(done))")
    page.get_by_label("capture photo").click()
    card(page, "student").wait_for()
    assert re.search(r"the network, at \d+ × \d+ pixels", card(page, "student").inner_text())
    assert page.locator("#shown [role=alert]").count() == 0


def test_the_slider_over_an_image_moves_by_keyboard_and_uncovers_the_mask(page, runs):  # noqa: F811
    give(page, runs / "scene.png")
    slider = card(page, "student").get_by_role("slider")
    slider.focus()
    slider.press("Home")
    clip = card(page, "student").locator("img.above").evaluate("image => getComputedStyle(image).clipPath")
    assert re.search(r"inset\(0px (100%|calc\(100% - 0%\)) 0px 0px\)", clip)


def test_tags_and_threshold_change_the_mask_of_a_classifier(page, runs):  # noqa: F811
    give(page, runs / "scene.png")
    classes = card(page, "classifier").locator(".areas li")
    classes.first.wait_for()
    boxes = page.locator(".tags input")
    for place in range(boxes.count()):
        boxes.nth(place).check()
    classes.nth(1).wait_for()
    mask = card(page, "classifier").locator("img:not(.above)").last
    drawn = mask.get_attribute("src")
    slider = page.locator(".threshold input[type=range]")
    slider.press("End")
    classes.nth(1).wait_for(state="detached")
    assert re.search(r"background\s+100\.0 %", classes.first.inner_text())
    assert mask.get_attribute("src") != drawn
    slider.press("Home")
    classes.nth(1).wait_for()
    for place in range(boxes.count()):
        boxes.nth(place).uncheck()
    classes.nth(1).wait_for(state="detached")


def test_a_network_that_is_not_chosen_is_not_shown(page, runs):  # noqa: F811
    give(page, runs / "scene.png")
    card(page, "teacher").wait_for()
    for name in ("teacher", "classifier"):
        page.locator("#networks").get_by_label(name, exact=True).uncheck()
    card(page, "classifier").wait_for(state="detached")
    card(page, "teacher").wait_for(state="detached")
    page.locator(".threshold").wait_for(state="hidden")


def test_a_text_file_that_calls_itself_an_image_gets_a_sentence(page, runs, tmp_path):  # noqa: F811
    (tmp_path / "holiday.jpg").write_text("a letter, no picture")
    give(page, tmp_path / "holiday.jpg")
    told = page.get_by_role("alert").filter(has_text="holiday.jpg is no image that can be read")
    told.wait_for()
    assert "Traceback" not in page.content()
    assert str(tmp_path) not in page.content()
    give(page, runs / "scene.png")
    card(page, "student").wait_for()


def test_an_upload_that_is_too_large_gets_a_sentence(page, tmp_path):
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8" + bytes(2**21))
    give(page, tmp_path / "large.jpg")
    page.get_by_text(re.compile("maximum allowed size")).first.wait_for()


@pytest.mark.parametrize(
    "path", ["file=/etc/hostname", "file={runs}/student/recipe.json", "file=http://example.org/", "proxy=http://a.b/"]
)
def test_files_outside_the_uploads_and_other_hosts_are_not_served(path, served, runs):  # noqa: F811
    address = f"{served[0]}/gradio_api/{path.replace('{runs}', str(runs))}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address, timeout=10)
    with refused.value as answer:
        assert answer.code in (403, 404)


def test_a_page_of_another_site_whose_name_points_here_is_refused(served):
    request = urllib.request.Request(served[0], headers={"Host": "elsewhere.example:7860"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert answer.code == 403


def test_uploads_lie_in_a_folder_of_the_page(page, served, runs):  # noqa: F811
    give(page, runs / "scene.png")
    card(page, "student").wait_for()
    assert [*served[1].glob("segstill-app-*/**/scene.png")] == [*served[1].rglob("scene.png")] != []
    assert not (Path(tempfile.gettempdir()) / "gradio" / "scene.png").exists()
