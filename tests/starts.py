"""Images, masks and tags as somebody has them, for the tests of segstill init."""

import pytest

from segstill.cli import main

from .data.trees import label, picture, save


def photos(root, count=10):
    for number in range(count):
        save(root / "photos" / f"p{number}.jpg", picture(number))
        save(root / "drawn" / f"p{number}.png", label(number))
    return root / "photos", root / "drawn"


def table(root, rows):
    (root / "mine.csv").write_text("image,tags\n" + "".join(f"{row}\n" for row in rows))
    return root / "mine.csv"


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def call(*words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert not left.value.code, words
