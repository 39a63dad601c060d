"""Recipes by name; `segstill list` prints them."""

from .camvid import CAMVID, CAMVID_SMALL
from .chains import CHAINS
from .cityscapes import CITYSCAPES_CIRKD_MBV2, CITYSCAPES_CIRKD_R18, CITYSCAPES_MBV2, CITYSCAPES_R18
from .coco import COCO_MBV2, COCO_R18
from .demo import DEMO
from .family import Family, Make, recipes
from .methods import METHODS
from .published import PUBLISHED
from .voc import FOLDER_SMALL, VOC_MBV2, VOC_R18, VOC_SMALL
from .weak import WEAK

FAMILIES: dict[str, Family] = {
    "demo": DEMO,
    "camvid": CAMVID,
    "camvid_small": CAMVID_SMALL,
    "voc_r18": VOC_R18,
    "voc_mbv2": VOC_MBV2,
    "voc_small": VOC_SMALL,
    "folder_small": FOLDER_SMALL,
    "cityscapes_r18": CITYSCAPES_R18,
    "cityscapes_mbv2": CITYSCAPES_MBV2,
    "cityscapes_cirkd_r18": CITYSCAPES_CIRKD_R18,
    "cityscapes_cirkd_mbv2": CITYSCAPES_CIRKD_MBV2,
    "coco_r18": COCO_R18,
    "coco_mbv2": COCO_MBV2,
}
RECIPES: dict[str, Make] = {name: make for family in FAMILIES.values() for name, make in recipes(family).items()} | WEAK
"""The teacher, the student alone and the student under every method, of every family; and those of weak supervision."""

__all__ = ["CHAINS", "FAMILIES", "METHODS", "PUBLISHED", "RECIPES", "WEAK"]
