"""Recipes by name; `segstill list` prints them."""

from collections.abc import Callable

from ..recipe import Recipe
from .camvid import (
    camvid_aicsd,
    camvid_attnfd,
    camvid_kd,
    camvid_small_aicsd,
    camvid_small_attnfd,
    camvid_small_kd,
    camvid_small_student,
    camvid_small_teacher,
    camvid_student,
    camvid_teacher,
)
from .demo import demo_aicsd, demo_attnfd, demo_kd, demo_student, demo_teacher

RECIPES: dict[str, Callable[[], Recipe]] = {
    "demo_teacher": demo_teacher,
    "demo_student": demo_student,
    "demo_kd": demo_kd,
    "demo_aicsd": demo_aicsd,
    "demo_attnfd": demo_attnfd,
    "camvid_teacher": camvid_teacher,
    "camvid_student": camvid_student,
    "camvid_kd": camvid_kd,
    "camvid_aicsd": camvid_aicsd,
    "camvid_attnfd": camvid_attnfd,
    "camvid_small_teacher": camvid_small_teacher,
    "camvid_small_student": camvid_small_student,
    "camvid_small_kd": camvid_small_kd,
    "camvid_small_aicsd": camvid_small_aicsd,
    "camvid_small_attnfd": camvid_small_attnfd,
}

__all__ = ["RECIPES"]
