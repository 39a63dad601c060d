"""Images and videos as a user names them: files, folders, patterns."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .files import IMAGE_SUFFIXES
from .pictures import FileError, read_image

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Source:
    """A file with one image, or with many."""

    path: Path
    name: str
    """What is made of it is called so: its path below the folder that was given, without suffix."""
    clash: "Source | None" = None
    """An earlier one whose masks have the same name; nothing is made of this one then."""

    @property
    def is_video(self) -> bool:
        """Whether its suffix is that of a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    def images(self) -> Iterator[tuple[str, Tensor]]:
        """Yield a name and an image (3, H, W) uint8; of a video every frame, named NAME/000000 and on.

        Raises:
            FileError: it does not decode (of a video: from here on), holds no frame, or has a `clash`.
            FileNotFoundError: it is not there any more.
        """
        if self.clash:
            given = f"would be written as {common_name(self, self.clash)}.png, as {self.clash.path} is"
            raise FileError(self.path, given, "rename it, or predict it into another folder")
        if not self.is_video:
            yield self.name, read_image(self.path, remedy="replace the file, or leave it out")
            return
        for index, frame in enumerate(_frames(self.path)):
            yield f"{self.name}/{index:06d}", frame


def frame_of(name: str) -> str:
    """Return the name of the video that has a frame called so; "" where no frame is."""
    video, _, number = name.rpartition("/")
    return video if number.isdecimal() and number == f"{int(number):06d}" else ""


def common_name(one: Source, other: Source) -> str:
    """Return what both would write: the name of both, or that of a frame where one is a video and the other no."""
    return max(one.name, other.name, key=len)


class Names:
    """Sources by what is made of them.

    Args:
        sources: to begin with.
    """

    def __init__(self, sources: Iterable[Source] = ()):
        self._all: dict[str, Source] = {}
        self._stills: dict[str, Source] = {}
        for source in sources:
            self.add(source)

    def add(self, source: Source) -> None:
        """Note one that has a name of its own."""
        self._all[source.name] = source
        if not source.is_video:
            self._stills.setdefault(frame_of(source.name), source)

    def clash(self, source: Source) -> Source | None:
        """Return one that writes a file which this one would write too; it may be the same."""
        other = self._all.get(source.name)
        if other or source.is_video:
            return other or self._stills.get(source.name)
        video = self._all.get(frame_of(source.name))
        return video if video and video.is_video else None


def find_sources(given: Iterable[str], leave_out: Path) -> list[Source]:
    """Return what is meant, in the order given; what a folder or a pattern means is sorted.

    Of two that would be written as one, as a.jpg and a.png of one folder, the later one gets a `clash`.

    Args:
        given: files, folders (with all folders below them), patterns such as `shots/*.jpg` or `**/*.png`.
        leave_out: a folder whose files are not meant, because they are written there.

    Raises:
        FileNotFoundError: no such file or folder, or a pattern that means nothing.
        ValueError: nothing given, a folder without images outside of `leave_out`, or one name in several folders.
    """
    sources: dict[Source, None] = {}
    names = Names()
    for text in given:
        for source in _meant(text, leave_out):
            other = names.clash(source)
            if other is None:
                names.add(source)
            elif other.path.resolve() == source.path.resolve():
                continue
            elif other.name == source.name and other.path.parent.resolve() != source.path.parent.resolve():
                raise ValueError(
                    f"{other.path} and {source.path} would both become {source.name}.png: give the folder above them, "
                    "whose folders go into the names, or write them into two folders with --out"
                )
            sources[replace(source, clash=other)] = None
    if not sources:
        raise ValueError("no image is given: name files, folders, or patterns such as 'shots/*.jpg'")
    return list(sources)


def _meant(text: str, leave_out: Path) -> list[Source]:
    path = Path(text)
    if path.is_dir():
        kinds = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in kinds and file.is_file())
        if not found:
            raise ValueError(f"the folder {path} holds no image: expected files that end in one of {', '.join(kinds)}")
        found = [file for file in found if leave_out.resolve() not in file.resolve().parents]
        if not found:
            said = "is --out too" if path.resolve() == leave_out.resolve() else f"has images in --out {leave_out} only"
            raise ValueError(
                f"the folder {path} {said}, and what lies there is not looked at: choose another --out for the masks"
            )
        return [Source(file, file.relative_to(path).with_suffix("").as_posix()) for file in found]
    if path.is_file():
        return [Source(path, path.stem)]
    if not glob.has_magic(text):
        raise FileNotFoundError(f"there is no file or folder {path}")
    found = sorted(file for file in map(Path, glob.glob(text, recursive=True)) if file.is_file())
    if not found:
        raise FileNotFoundError(f"no file fits the pattern {text!r}: put it in quotes, and use ** for any folders")
    return [Source(file, file.stem) for file in found]


def _frames(path: Path) -> Iterator[Tensor]:
    """Yield the frames (3, H, W) uint8 of the first video stream, upright."""
    library = video_library()
    count = 0
    if not path.stat().st_size:  # the library says "invalid argument"
        raise FileError(path, "is empty", "record or copy it again")
    try:
        with path.open("rb") as stream, library.open(stream) as container:
            if not container.streams.video:
                raise FileError(path, "holds no video, only sound or text", "give a file with pictures")
            for frame in container.decode(container.streams.video[0]):
                count += 1
                image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
                matrix = frame.side_data.get(library.sidedata.sidedata.Type.DISPLAYMATRIX)
                yield image if matrix is None else _upright(image, np.frombuffer(matrix, np.int32))
    except (library.FFmpegError, EOFError) as error:
        after = f" after {count} frames" if count else ""
        raise FileError(path, f"does not decode{after} ({error})", "save the video again") from error
    if not count:
        raise FileError(path, "is a video without frames", "give one that holds pictures")


def _upright(image: Tensor, matrix: NDArray[np.int32]) -> Tensor:
    """Turn and mirror a frame as a player does; phones store it as the sensor lay.

    Not by `frame.rotation`, which takes a mirror image (a front camera) for one upside down.

    Args:
        image: (3, H, W).
        matrix: a, b, u, c, d, v, x, y, w: a pixel (p, q) is shown at (ap + cq, bp + dq).
    """
    a, b, _, c, d = matrix[:5].tolist()
    if abs(b) > abs(a):
        image, a, d = image.transpose(1, 2), c, b
    return image.flip([axis for axis, along in ((2, a), (1, d)) if along < 0])


def video_library() -> Any:
    """Import PyAV; raises ValueError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise ValueError("videos are read by PyAV, which is not installed: pip install 'segstill[video]'") from error
    return av
