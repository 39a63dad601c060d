"""A chain small enough to run in seconds, and a way to see what it did."""

import dataclasses

from segstill.chain import run_chain
from segstill.data import open_dataset
from segstill.data.pictures import png
from segstill.recipes import CHAINS

SCENES = {"count": 8, "size": (32, 48), "kinds": (1, 3)}


def small_chain(**changes):
    """The chain of the demo on eight drawn scenes, one or two steps per stage."""
    chain = CHAINS["demo"]()

    def small(recipe, **more):
        data = dataclasses.replace(recipe.data, crop=(32, 32), args=SCENES)
        return dataclasses.replace(recipe, data=data, epochs=1, batch_size=4, evaluate_every=1, **more)

    args = chain.classifier.student.args | {"embed_dim": 8, "num_heads": (1, 1, 2, 2)}
    fields = {
        "classifier": small(chain.classifier, student=dataclasses.replace(chain.classifier.student, args=args)),
        "seeds": dataclasses.replace(chain.seeds, scales=(1.0,)),
        "teacher": small(chain.teacher),
        "student": small(chain.student),
        "reference": None,
        "export": None,
        "page": None,
    }
    return dataclasses.replace(chain, **fields | changes)


def on_folder(chain, root, classes, **changes):
    """The chain on one's own images in `root`, from the classifier on."""

    def moved(recipe):
        return dataclasses.replace(recipe, batch_size=2, data=dataclasses.replace(recipe.data, name="folder", args={}))

    chain = dataclasses.replace(chain, **changes)
    names = ("classifier", "affinity", "teacher", "student", "reference")
    recipes = {name: moved(getattr(chain, name)) for name in names if getattr(chain, name)}
    return dataclasses.replace(chain, data=dataclasses.replace(chain.data, root=str(root), classes=classes), **recipes)


def with_true_masks(chain, folder):
    """The chain with true masks of its first and fourth image, which are written into `folder`; and all of them."""
    truth = open_dataset(chain.teacher.data, "train")
    folder.mkdir()
    for index in (0, 3):
        (folder / f"{truth.name(index)}.png").write_bytes(png(truth[index][1], truth.palette))
    return dataclasses.replace(chain, data=dataclasses.replace(chain.data, masks=str(folder))), truth


def did(chain, out, **given):
    """Run a chain and return the titles of the stages in which something was done."""
    said = []
    run_chain(chain, out, say=said.append, **given)
    titles, done = [], []
    for sentence in said:
        if sentence.startswith("stage "):
            titles.append(sentence.partition(": ")[2])
        elif sentence.endswith("done before"):
            done.append(titles[-1])
    return [title for title in titles if title not in done]
