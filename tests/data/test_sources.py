"""What is meant by files, folders, patterns and videos."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from segstill.data.pictures import FileError
from segstill.data.sources import Source, find_sources


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (200, 10, 10)).save(path)


def film(path, frames, codec="mpeg4", shown=None):
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
        for index in range(frames):
            still = np.full((48, 64, 3), 40 * index, np.uint8) if shown is None else shown
            container.mux(stream.encode(av.VideoFrame.from_ndarray(still, format="rgb24")))
        container.mux(stream.encode())


def sound(path):
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate, frame.time_base, frame.pts = 8000, Fraction(1, 8000), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_folders_are_sorted_and_keep_their_folders_in_the_names(tmp_path):
    for name in ("b/2.jpg", "b/1.png", "a.png", "masks/b/1.png", "notes/x.png"):
        picture(tmp_path / name)
    (tmp_path / "readme.txt").write_text("no image")
    found = find_sources([str(tmp_path)], tmp_path / "masks")
    assert [source.name for source in found] == ["a", "b/1", "b/2", "notes/x"]


def test_patterns_and_files_are_taken_in_the_order_given(tmp_path):
    for name in ("1.png", "2.png", "3.jpg", "deep/4.png"):
        picture(tmp_path / name)
    found = find_sources([str(tmp_path / "3.jpg"), str(tmp_path / "**/*.png")], tmp_path / "out")
    assert [source.name for source in found] == ["3", "1", "2", "4"]
    assert len(find_sources([str(tmp_path / "1.png")] * 2, tmp_path / "out")) == 1


def test_what_means_nothing_or_two_things_is_told(tmp_path):
    for name in ("a/1.png", "b/1.png", "empty/readme.txt"):
        picture(tmp_path / name) if name.endswith("png") else (tmp_path / "empty").mkdir()
    picture(tmp_path / "out/1.png")
    (tmp_path / "above").mkdir()
    (tmp_path / "above/link.png").symlink_to(tmp_path / "out/1.png")
    for given, told in (
        ([tmp_path / "gone.png"], "there is no file or folder"),
        ([tmp_path / "*.gif"], "no file fits the pattern"),
        ([tmp_path / "empty"], "holds no image"),
        ([tmp_path / "a", tmp_path / "b"], "would both become 1.png: give the folder above them"),
        ([], "no image is given"),
        ([tmp_path / "out"], "out is --out too, and what lies there is not looked at"),
        ([tmp_path / "above"], "above has images in --out .*out only"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=told):
            find_sources(map(str, given), tmp_path / "out")


def test_of_two_that_would_be_written_as_one_the_later_is_left_out(tmp_path):
    for name in ("a.jpg", "a.png", "b.png", "clip/000000.png", "clip/1.png", "deep/a.png", "film/notes.png"):
        picture(tmp_path / name)
    for name in ("clip.mp4", "film.mp4", "b.mp4"):
        film(tmp_path / name, 1)
    found = find_sources([str(tmp_path)] * 2, tmp_path / "out")
    left_out = {source.path.name: source.clash.path for source in found if source.clash}
    assert left_out == {
        "a.png": tmp_path / "a.jpg",
        "b.png": tmp_path / "b.mp4",
        "clip.mp4": tmp_path / "clip/000000.png",
    }
    assert [source.name for source in found if not source.clash] == [
        *("a", "b", "clip/000000", "clip/1", "deep/a", "film/notes", "film")
    ]
    for source in found:
        if source.clash:
            with pytest.raises(FileError, match=r"\.png, as .* is; rename it, or predict it into another folder"):
                list(source.images())
    found = find_sources([str(tmp_path / "clip.mp4"), str(tmp_path)], tmp_path / "out")
    (late,) = (source for source in found if source.name == "clip/000000")
    assert late.clash.path.name == "clip.mp4"  # the one given first is taken


def test_every_frame_of_a_video_has_a_number(tmp_path):
    film(tmp_path / "drive.mp4", 5)
    (source,) = find_sources([str(tmp_path)], tmp_path / "out")
    images = dict(source.images())
    assert list(images) == [f"drive/{index:06d}" for index in range(5)]
    assert images["drive/000003"].shape == (3, 48, 64)
    assert images["drive/000003"].float().mean() == pytest.approx(120, abs=6)


# a, b, c, d of the display matrix as the format defines it (p' = ap + cq, q' = bp + dq), and the corner of the shown
# frame that the stored one's top left and top right come to.
SHOWN = {
    "as a phone is held": ((0, 1, -1, 0), "top right", "bottom right"),  # 90 degrees clockwise
    "on its head": ((0, -1, 1, 0), "bottom left", "top left"),
    "upside down": ((-1, 0, 0, -1), "bottom right", "bottom left"),
    "front camera": ((-1, 0, 0, 1), "top right", "top left"),
    "front camera, held": ((0, 1, 1, 0), "top left", "bottom left"),
    "as stored": ((1, 0, 0, 1), "top left", "top right"),
}


@pytest.mark.parametrize("how", SHOWN)
def test_frames_are_turned_as_a_player_shows_them(how, tmp_path):
    (a, b, c, d), red, green = SHOWN[how]
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:16, :16, 0] = stored[:16, -16:, 1] = 250
    film(tmp_path / "clip.mp4", 2, shown=stored)
    content = bytearray((tmp_path / "clip.mp4").read_bytes())
    start = content.index(b"tkhd") + 44  # where the track's header has its matrix
    content[start : start + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    (tmp_path / "clip.mp4").write_bytes(content)
    for _, image in Source(tmp_path / "clip.mp4", "clip").images():
        assert image.shape == ((3, 48, 64) if a else (3, 64, 48))
        corners = {
            f"{vertical} {horizontal}": image[:2, rows, columns].float().mean((1, 2))
            for vertical, rows in (("top", slice(4, 12)), ("bottom", slice(-12, -4)))
            for horizontal, columns in (("left", slice(4, 12)), ("right", slice(-12, -4)))
        }
        assert max(corners, key=lambda name: float(corners[name][0])) == red
        assert max(corners, key=lambda name: float(corners[name][1])) == green


def test_a_video_without_frames_says_so(tmp_path):
    sound(tmp_path / "talk.mkv")
    with pytest.raises(FileError, match="holds no video, only sound or text"):
        list(Source(tmp_path / "talk.mkv", "talk").images())
    film(tmp_path / "nothing.avi", 0)
    with pytest.raises(FileError, match="is a video without frames"):
        list(Source(tmp_path / "nothing.avi", "nothing").images())
    (tmp_path / "torn.mp4").write_bytes(b"no video at all")
    with pytest.raises(FileError, match="does not decode"):
        list(Source(tmp_path / "torn.mp4", "torn").images())
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(FileError, match="empty.mp4: is empty; record or copy it again"):
        list(Source(tmp_path / "empty.mp4", "empty").images())
