"""What is meant by files, folders, patterns and videos."""

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


def film(path, frames, codec="mpeg4"):
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
        for index in range(frames):
            shown = np.full((48, 64, 3), 40 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
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
    for given, told in (
        ([tmp_path / "gone.png"], "there is no file or folder"),
        ([tmp_path / "*.gif"], "no file fits the pattern"),
        ([tmp_path / "empty"], "holds no image"),
        ([tmp_path / "a", tmp_path / "b"], "would both become 1.png: give the folder above them"),
        ([], "no image is given"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=told):
            find_sources(map(str, given), tmp_path / "out")


def test_every_frame_of_a_video_has_a_number(tmp_path):
    film(tmp_path / "drive.mp4", 5)
    (source,) = find_sources([str(tmp_path)], tmp_path / "out")
    images = dict(source.images())
    assert list(images) == [f"drive/{index:06d}" for index in range(5)]
    assert images["drive/000003"].shape == (3, 48, 64)
    assert images["drive/000003"].float().mean() == pytest.approx(120, abs=6)


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
