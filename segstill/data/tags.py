"""Image-level labels: which classes an image shows, and not where.  No mask is opened."""

import csv
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import torch
from torch import Tensor

from .files import IMAGE_SUFFIXES, Files, Listing, Problem, listed, nothing, summed
from .pictures import FileError, shortened

BACKGROUND = "background"
TagReader = Callable[[Path, Path], Collection[str]]
"""Reads the class names of a sample, given the file of its tags and that of the image; raises FileError."""
Table = dict[str, tuple[str, ...]]
"""Image -> class names; none where its row was refused."""


class Tagged(Files):
    """Image files with class names; a sample's mask is None.

    Args:
        listing: each image with the file that its tags come from.
        classes: names, background first.
        palette: a colour per class.
        read_tags: reads the names of a sample; "background" is the tag of an image that shows none of the others.
        upright: as for `Files`.
    """

    def __init__(
        self,
        listing: Listing,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        read_tags: TagReader,
        *,
        upright: bool = False,
    ):
        super().__init__(listing, classes, palette, upright=upright)
        self._read_tags = read_tags

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        return self.image(index), None

    def tags(self, index: int) -> Tensor:
        """Return (len(classes) - 1,) float in {0, 1}.

        Raises:
            FileError: there is no tag, or one that is no class; a table is judged when it is opened.
        """
        image, file = self.listing.pairs[index]
        names = self._read_tags(file, image)
        if not names:
            raise FileError(file, f"names no class of {image.name}", "correct it, or leave the image out")
        for name in names:
            if name not in self.classes:
                raise FileError(file, *_no_class(name, f"of {image.name}", self.classes))
        tags = torch.zeros(len(self.classes))
        tags[[self.classes.index(name) for name in names]] = 1
        return tags[1:]


class Row(NamedTuple):
    """One row of a table."""

    line: int
    image: str
    tags: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The image's name without suffix; a table may leave the suffix out, and then a dot is part of the name."""
        path = Path(self.image)
        return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name

    def means(self, path: Path) -> bool:
        """Tell whether it is the row of an image, by its name and, if the row has one, by its folder."""
        wanted = Path(self.image)
        return path.stem == self.stem and (len(wanted.parts) == 1 or path.parent.name == wanted.parent.name)


def image_labels(file: Path, known: Sequence[str]) -> tuple[Table, list[Problem]]:
    """Read a table with the columns `id` and `labels` (class names with spaces between them); others are not read.

    Args:
        file: comma-separated, UTF-8, names of the columns first.
        known: the class names there are.
    """
    rows, problems = _cells(file)
    header = rows[0][1] if rows else []
    lacking = [name for name in ("id", "labels") if name not in header]
    if lacking:
        given = f"has the columns {header}, expected id and labels"
        return {}, problems or [Problem("error", file, given, "name the columns in the first line")]
    image, labels = header.index("id"), header.index("labels")
    found = [
        Row(line, cells[image], tuple(cells[labels].split()) if labels < len(cells) else ())
        for line, cells in rows[1:]
        if image < len(cells)
    ]
    return gathered(file, found, known)


def tag_rows(file: Path) -> tuple[list[Row], list[Problem]]:
    """Read a table `image,tag;tag` (comma-separated, UTF-8); a first line `image,...` is taken for a heading."""
    rows, problems = _cells(file)
    if rows and rows[0][1][0].lower() == "image":
        rows = rows[1:]
    long = [
        Problem("error", file, f"has {len(cells)} cells in line {line}, expected image,tag;tag", "put ; between tags")
        for line, cells in rows
        if len(cells) > 2
    ]
    split = [
        Row(line, cells[0], tuple(filter(None, map(str.strip, cells[1].split(";")))) if len(cells) == 2 else ())
        for line, cells in rows
        if len(cells) <= 2
    ]
    return split, problems + summed(long, file)


def gathered(file: Path, rows: Iterable[Row], known: Sequence[str]) -> tuple[Table, list[Problem]]:
    """Turn rows into a table, and name those that are twice there, empty, or hold an unknown class."""
    table: Table = {}
    first: dict[str, int] = {}
    unknown: dict[str, list[Row]] = defaultdict(list)
    twice: list[Problem] = []
    empty: list[Problem] = []
    for row in rows:
        if row.image in first:
            given = f"names {row.image!r} in lines {first[row.image]} and {row.line}"
            twice.append(Problem("error", file, given, "make one row of them, with all tags"))
            continue
        first[row.image] = row.line
        wrong = [name for name in row.tags if name not in known]
        for name in wrong:
            unknown[name].append(row)
        if not row.tags:
            given = f"names no class of {row.image!r} in line {row.line}"
            empty.append(
                Problem("error", file, given, f"add its tags, or {BACKGROUND!r} if it shows none of the classes")
            )
        table[row.image] = () if wrong else tuple(dict.fromkeys(row.tags))
    strange = [
        Problem("error", file, *_no_class(name, f"of {hit[0].image!r} in line {hit[0].line}{_more(hit)}", known))
        for name, hit in unknown.items()
    ]
    return table, [*strange, *summed(twice, file), *summed(empty, file)]


def with_table(
    source: Path,
    images: Collection[tuple[str, Path]],
    file: Path,
    table: Table,
    problems: Iterable[Problem],
    why: str,
    includes: tuple[str, ...] = (),
) -> Listing:
    """List images with the table that their tags come from; those without a row are problems.

    Args:
        source: the folder or the list that names the images.
        images: name in the table and file.
        file: of the table.
        table: what it says.
        problems: those found before.
        why: ends the sentence "... is missing, though ...".
        includes: other splits whose images this one holds on purpose.
    """
    without = [
        Problem("error", path, f"has no tag: {file} has no row {name!r}", "add the row, or leave the image out")
        for name, path in images
        if name not in table
    ]
    wanted = [(path, file) for name, path in images if table.get(name)]
    found = [*problems, *summed(without, file)]
    if not wanted and any(problem.severity == "error" for problem in found):
        return Listing(source, problems=tuple(found))
    return listed(source, wanted, why, found, includes=includes)


def looked_up(table: Table, of: Callable[[Path], str]) -> TagReader:
    """Return a reader that looks an image up in a table by its name."""
    return partial(_look_up, table=table, of=of)  # can be sent to worker processes, unlike a closure


def stem(path: Path) -> str:
    """Return the file name without suffix, by which tables name images."""
    return path.stem


def read_voc_annotation(path: Path, _: Path) -> Collection[str]:
    """Return the classes of all objects in an annotation of VOC, difficult ones too; raises FileError."""
    try:
        objects = (
            ElementTree.parse(path).getroot().findall("object")
        )  # not those below: parts of objects have names too
    except (ElementTree.ParseError, UnicodeError, ValueError) as error:
        raise FileError(path, f"does not read as an annotation ({error})", "extract the archive again") from error
    return dict.fromkeys(each.findtext("name", "").strip() for each in objects)


def on_background(place: Path, classes: tuple[str, ...], remedy: str) -> Listing | None:
    """Return what is wrong where the classes do not begin with the background, of which no tag tells."""
    if classes[0] == BACKGROUND:
        return None
    given = f"has tags for what lies on the background, but the first of its classes is {classes[0]!r}"
    return nothing(place, f"{given}, expected {BACKGROUND!r}", remedy)


def _cells(file: Path) -> tuple[list[tuple[int, list[str]]], list[Problem]]:
    """Return line number and stripped cells of every row that is not empty."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeError, csv.Error) as error:
        return [], [Problem("error", file, f"does not read as a table ({error})", "save it as comma-separated UTF-8")]
    rows = [(line, cells) for line, cells in rows if any(cells)]
    return rows, [] if rows else [Problem("error", file, "holds no row", "write the table, or remove it")]


def _no_class(name: str, where: str, known: Sequence[str]) -> tuple[str, str]:
    near = get_close_matches(name, known, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return f"has the tag {name!r} {where}, which is none of the classes {shortened(known)}{guess}", "correct the tag"


def _more(rows: list[Row]) -> str:
    return f" and {len(rows) - 1} more" if len(rows) > 1 else ""


def _look_up(_: Path, image: Path, *, table: Table, of: Callable[[Path], str]) -> Collection[str]:
    return table[of(image)]
