"""What is given in place of stages and beside them: refused at once where it does not fit, not hours later."""

from pathlib import Path

from ..build import build_training_data, checkpoint_file, load_teacher
from ..chain_recipe import Chain, Given
from ..data import Images, Masked, open_masked
from ..data.dataset import SegmentationDataset
from ..seed_masks import load_classifier, same_classes
from .setting import Setting


def check_stages(chain: Chain, given: Given) -> None:
    """Raise ValueError where what is given does not go together, or not with the chain."""
    for name in ("classifier", "masks"):
        if (place := getattr(given, name)) and not chain.classifier:
            raise ValueError(
                f"{name} {place} is given, but the chain {chain.name!r} begins at the teacher: pass true masks as "
                "--data.masks, or choose a chain with a classifier"
            )
    if chain.affinity and (chain.seeds is None or "random-walk" not in chain.seeds.refine):
        raise ValueError(
            f"the chain {chain.name!r} learns affinities, and no random walk of its seeds goes along them: add "
            "random-walk to --seeds.refine, or leave them out (--skip affinity)"
        )
    others = [name for name in ("classifier", "masks", "teacher") if getattr(given, name)]
    if given.student and (others or not chain.student):
        what = f"beside a {', a '.join(others)}" if others else f"to the chain {chain.name!r}, which has none"
        raise ValueError(
            f"a student {given.student} is given {what}, and it takes the place of all before: give it alone"
        )
    if given.masks and given.classifier:
        raise ValueError(
            f"a classifier {given.classifier} and masks {given.masks} are given, and masks take the place of a "
            "classifier: give one of them"
        )


def check_files(setting: Setting) -> None:
    """Open what is given.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is of another kind, of other classes, or damaged.
    """
    chain, given = setting.chain, setting.given
    if given.student:
        checkpoint_file(setting.student)
        return
    if given.classifier:
        saved, _ = load_classifier(setting.classifier)
        same_classes(saved, setting.tagged("train").classes)
    if setting.begins_with_tags and chain.data.masks:
        true_masks(setting.tagged("train"), chain.data.masks)
    if given.masks:
        open_masked(setting.for_teacher(chain.teacher).data)
    if chain.student and chain.data.unlabelled:
        Images(chain.data.unlabelled)
    if chain.student and given.teacher:
        recipe = setting.for_student(chain.student)
        images = setting.tagged("train") if chain.classifier else build_training_data(recipe.data, say=_silent)[0]
        load_teacher(recipe, images.classes, say=_silent)


def true_masks(dataset: SegmentationDataset, folder: str | None) -> dict[str, Path]:
    """Return the true masks of some images by name; each is read, so that none is found damaged later.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds none of any image, or one that does not decode or fit.
    """
    if folder is None:
        return {}
    masked = Masked(dataset, Path(folder))
    for index in range(len(masked)):
        masked[index]
    return {masked.name(index): masked.files(index)[-1] for index in range(len(masked))}


def _silent(sentence: str) -> None:
    """Tell nobody: the stage tells it when its turn comes."""
