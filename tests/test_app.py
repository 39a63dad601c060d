"""What is behind the page: images that are taken or refused, masks, areas, agreement, tags and thresholds, errors."""

import dataclasses
import re
import socket
import struct
import sys
import zlib
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from segstill.app import networks
from segstill.app.cards import agreement, disagreements, percent, shares
from segstill.app.desk import Choice, Desk
from segstill.app.given import LONGEST, read_given
from segstill.app.networks import named, open_networks
from segstill.build import load
from segstill.cli import main
from segstill.data import open_dataset
from segstill.export import ExportSpec, export
from segstill.recipe import DataSpec
from segstill.run import read_recipe
from segstill.seed_masks import load_classifier
from segstill.seeding import SeedSpec, as_trained, class_maps, masks
from segstill.train import train

from .data.trees import CLASSES, folder_tree
from .helpers import small_recipe
from .test_seeding import weak


def call(*arguments):
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def quiet(recipe, folder):
    train(recipe, folder, say=lambda sentence: None)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A teacher, its student, a classifier, and a scene."""
    folder = tmp_path_factory.mktemp("app")
    teacher = quiet(small_recipe(epochs=1), folder / "teacher")
    quiet(small_recipe("kd", epochs=1, teacher=str(teacher)), folder / "student")
    quiet(weak(2), folder / "classifier")
    image = open_dataset(read_recipe(teacher).data, "val")[0][0]
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / "scene.png")
    return folder


@pytest.fixture
def desk(runs):
    return Desk(open_networks([runs / name for name in ("student", "teacher", "classifier")]))


@pytest.fixture
def scene(runs):
    return read_given(runs / "scene.png", "scene.png")


def bomb(width, height):
    """A PNG of some bytes that says it is large."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_areas_agreement_and_disagreements_are_shares_of_the_pixels():
    one = torch.tensor([[0, 0, 1, 1], [2, 2, 2, 2]], dtype=torch.uint8)
    other = torch.tensor([[0, 1, 1, 1], [2, 2, 0, 0]], dtype=torch.uint8)
    assert shares(one, 4) == [0.25, 0.25, 0.5, 0]
    assert agreement(one, other) == 5 / 8
    assert disagreements(one, other, 3) == [(2, 0, 0.25), (0, 1, 0.125)]
    assert [percent(share) for share in (0, 1e-5, 0.25, 0.99999, 1)] == [
        "0.0 %",
        "< 0.1 %",
        "25.0 %",
        "> 99.9 %",
        "100.0 %",
    ]


def test_a_classifier_names_what_it_is_sure_of_or_the_likeliest():
    assert named({"dog": 0.9, "cat": 0.6, "cow": 0.1}) == ["dog", "cat"]
    assert named({"dog": 0.2, "cat": 0.1}) == ["dog"]


def test_a_photograph_is_turned_as_its_camera_says_and_shrunk(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is at the right
    Image.new("RGB", (3000, 1500), (255, 0, 0)).save(tmp_path / "a.jpg", exif=exif)
    given = read_given(tmp_path / "a.jpg", "a.jpg")
    assert given.size == (3000, 1500)
    assert tuple(given.image.shape) == (3, LONGEST, LONGEST // 2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a letter, no picture", "holiday.jpg is no image that can be read: choose a JPEG, PNG or WebP file"),
        (b"", "holiday.jpg is no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "holiday.jpg is no image"),
        (bomb(8000, 8000), "holiday.jpg has more than 50 million pixels: make it smaller first"),
        (bomb(100_000, 100_000), "holiday.jpg has more than 50 million pixels"),
        (bomb(50, 50), "holiday.jpg is a damaged image: choose another file"),
    ],
    ids=["text", "empty", "postscript", "bomb", "larger bomb", "cut off"],
)
def test_what_is_no_usable_image_is_refused_in_a_sentence(content, told, tmp_path, desk):
    (tmp_path / "upload").write_bytes(content)
    given = desk.take(tmp_path / "upload", "holiday.jpg")
    assert isinstance(given, str)
    assert given.startswith(told)
    assert str(tmp_path) not in given
    assert 'role="alert"' in desk.show(given, [], {})


def test_the_page_shows_the_mask_of_the_network_with_areas_and_time(desk, scene, runs):
    with torch.no_grad():
        expected = load(runs / "student").model(scene.image[None])[0].argmax(0)
    answer = desk.networks["student"](scene)
    assert torch.equal(answer.ids.long(), expected)
    html = desk.show(scene, ["student"], {})
    assert re.search(r"<b>[\d.]+ ms</b> the network, at 48 × 32 pixels on the CPU, 1 thread \(", html)
    assert re.search(r"\); [\d.]+ ms with the mask at 48 × 32</p>", html)
    classes = load(runs / "student").classes
    for name, share in zip(classes, shares(answer.ids, len(classes)), strict=True):
        assert name in html
        assert not share or f'<span class="share">{percent(share)}</span>' in html
    assert "against" not in html


class Clock:
    """Stands still but for what is told to take time."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(networks, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def taking(self, *seconds):
        """Return what takes so long each time that it is asked; the last for ever."""
        left = list(seconds)

        def look():
            self.now += left.pop(0) if len(left) > 1 else left[0]
            return "an answer"

        return look


@pytest.mark.parametrize(
    ("network", "whole", "expected"),
    [
        ((2.0, 0.05, 0.04, 0.02, 0.04), 0.74, (40, 740, 13)),  # the slow first look is not among them
        ((0.5, 0.001), 0.74, (1, 740, 20)),
        ((0.8, 0.7), 1.5, (700, 1500, 1)),
        ((9.0, 8.0), 12.0, (9000, 12000, 1)),  # nobody waits for a third look
        ((4.0, 0.02), 0.1, (20, 100, 20)),  # a processor that was asleep
    ],
)
def test_the_time_of_a_network_is_its_own_after_a_look_that_is_not_counted(network, whole, expected, monkeypatch):
    clock = Clock(monkeypatch)
    found, took = networks._timed(clock.taking(*network), clock.taking(whole), device=torch.device("cpu"))
    assert found == "an answer"
    assert took == pytest.approx(expected)


def test_a_network_is_timed_at_the_size_that_it_sees_and_the_answer_at_that_of_the_image(runs, tmp_path):
    data = dataclasses.replace(small_recipe().data, longest_side=32)
    quiet(small_recipe(epochs=1, data=data), tmp_path / "small")
    export(runs / "student", tmp_path / "one_size.onnx", ExportSpec(parity=1, size=(24, 40)), say=lambda sentence: None)
    Image.new("RGB", (640, 480), (90, 60, 30)).save(tmp_path / "photo.png")
    photo = read_given(tmp_path / "photo.png", "photo.png")
    desk = Desk(open_networks([tmp_path / "small", tmp_path / "one_size.onnx"]))
    for name, (width, height) in (("small", (32, 24)), ("one_size.onnx", (40, 24))):
        network, seen = desk.networks[name], []
        ask = network._predictor.ask
        network._predictor.ask = lambda image, ask=ask, seen=seen: seen.append(tuple(image.shape[2:])) or ask(image)
        answer = network(photo)
        assert tuple(answer.ids.shape) == (480, 640)
        assert answer.took.whole > 0
        assert len(seen) == 2 + answer.took.looks
        assert {*seen[:1], *seen[2:]} == {(height, width)}
        html = desk.show(photo, [name], {})
        assert f"the network, at {width} × {height} pixels" in html
        assert "with the mask at 640 × 480" in html


def test_a_teacher_is_held_against_its_student(desk, scene):
    html = desk.show(scene, ["student", "teacher"], {})
    ids = [desk.networks[name](scene).ids for name in ("teacher", "student")]
    assert "<h2>teacher against student</h2>" in html
    assert f"Teacher and student agree on <b>{percent(agreement(*ids))}</b>" in html


def test_networks_of_other_classes_have_a_legend_each_and_are_not_compared(runs, tmp_path, scene):
    data = DataSpec(name="folder", root=str(folder_tree(tmp_path)), classes=CLASSES, crop=(24, 32), workers=0)
    other = quiet(small_recipe(epochs=1, data=data), tmp_path / "other")
    desk = Desk(open_networks([runs / "student", other]))
    html = desk.show(scene, [*desk.networks], {})
    assert html.count('class="areas"') == 2
    assert "agree on" not in html


def test_only_the_tags_that_are_chosen_count_and_a_higher_threshold_leaves_less(desk, scene):
    network = desk.networks["classifier"]
    everything = network(scene, network.classes[1:], 0.0).ids
    seen = everything.unique().tolist()
    assert len(seen) > 1
    for index in filter(None, seen):
        ids = network(scene, [network.classes[index], "background", "no such class"], 0.0).ids
        assert set(ids.unique().tolist()) <= {0, index}
    levels = (0.0, 0.5, 0.9, 1.0)
    found = [int((network(scene, network.classes[1:], level).ids > 0).sum()) for level in levels]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]
    assert not network(scene, [], 0.0).ids.any()
    html = desk.show(scene, ["classifier"], {"classifier": Choice(network.classes[1:2], 0.3)})
    assert "Strongest class map of classifier" in html
    assert "ms</b> the class maps of the image and its mirror image, at 48 × 32 pixels on" in html


def test_a_classifier_starts_with_the_masks_that_seeds_writes(desk, scene, runs):
    network = desk.networks["classifier"]
    saved, model = load_classifier(runs / "classifier")
    tags = torch.tensor([[float(place in (0, 2)) for place in range(len(network.classes) - 1)]])
    maps = class_maps(model, scene.image[None], tags, as_trained(saved.recipe, SeedSpec(scales=(1.0,)))).maps
    chosen = [network.classes[1], network.classes[3]]
    assert torch.equal(network(scene, chosen, network.threshold).ids, masks(maps)[0])
    probabilities = desk.probabilities(scene)["classifier"]
    with torch.no_grad():
        expected = model(scene.image[None])[0].sigmoid()
    assert [probabilities[name] for name in network.classes[1:]] == pytest.approx(expected.tolist())


def test_networks_are_called_by_what_tells_them_apart(runs):
    files = [runs / "student/best.safetensors", runs / "teacher/best.safetensors", runs / "student/best.safetensors"]
    assert [network.name for network in open_networks(files)] == [
        "student/best.safetensors",
        "teacher/best.safetensors",
    ]


def test_a_busy_port_is_told_before_networks_are_loaded(capsys, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert call("app", tmp_path / "gone", "--port", port) == 2
    told = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is in use by another program" in told
    assert "--port" in told


def test_without_gradio_it_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert call("app", tmp_path / "gone", "--port", "0") == 2
    assert "pip install 'segstill[app]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "0"], "no network is given"),
        (["gone", "--port", "70000"], "expected a number from 0 to 65535"),
        (["gone", "--port", "0", "--max-mb", "0"], "--max-mb is 0"),
        (["gone", "--port", "0", "--host", "203.0.113.1"], "choose another --host or --port"),
    ],
)
def test_what_cannot_be_served_is_told(arguments, told, capsys):
    assert call("app", *arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())
