"""What the authors of methods report, by recipe: facts to set beside our own numbers, never in one column with them.

mIoU in %, validation split where nothing else is said, mean ± standard deviation where they give one.
"""

ATTNFD = "arXiv:2403.05451"
AICSD = "arXiv:2308.04243"
CIRKD = "arXiv:2204.06986"


def _rows(family: str, source: str, rows: dict[str, str]) -> dict[str, str]:
    return {f"{family}_{method}": f"{value} ({source})" for method, value in rows.items()}


PUBLISHED: dict[str, str] = {
    "voc_teacher": f"77.85 ({ATTNFD}, weights whose training data are not stated)",
    "cityscapes_teacher": f"77.66 ({ATTNFD})",
    **_rows(
        "voc_r18",
        ATTNFD,
        {
            "student": "67.50",
            "kd": "69.13 ± 0.11",
            "overhaul": "70.67 ± 0.25",
            "cirkd": "71.02 ± 0.11",
            "lad": "71.42 ± 0.09",
            "attnfd": "73.09 ± 0.06",
        },
    ),
    **_rows("voc_r18", AICSD, {"at": "68.95", "sp": "69.04", "ickd": "69.13", "aicsd": "70.03 ± 0.13"}),
    **_rows("voc_mbv2", AICSD, {"student": "63.92", "kd": "66.39", "aicsd": "68.05 ± 0.24"}),
    **_rows(
        "cityscapes_r18",
        f"{ATTNFD}, scored at 513 x 1026",
        {
            "student": "64.09",
            "kd": "65.21",
            "overhaul": "70.31",
            "cirkd": "70.49",
            "lad": "71.37",
            "attnfd": "73.04",
        },
    ),
    **_rows("cityscapes_r18", f"{AICSD}, scored at 513 x 1026", {"sp": "65.64", "ickd": "66.98", "aicsd": "68.46"}),
    **_rows("cityscapes_mbv2", f"{AICSD}, scored at 513 x 1026", {"student": "63.05", "aicsd": "66.53"}),
    "cityscapes_cirkd_teacher": f"78.07 ({CIRKD})",
    **_rows(
        "cityscapes_cirkd_r18",
        CIRKD,
        {"student": "74.21", "pairwise": "75.42", "ifvd": "75.59", "cwd": "75.55", "cirkd": "76.38"},
    ),
    "cityscapes_cirkd_r18_dist": "77.10 (arXiv:2205.10536)",
    "cityscapes_cirkd_r18_afdcd": "77.03 (Fan et al., NeurIPS 2023)",
    **_rows(
        "cityscapes_cirkd_mbv2",
        CIRKD,
        {"student": "73.12", "pairwise": "73.82", "ifvd": "73.50", "cwd": "74.66", "cirkd": "75.42"},
    ),
    "cityscapes_cirkd_mbv2_afdcd": "76.43 (Fan et al., NeurIPS 2023)",
    **_rows(
        "camvid",
        f"{CIRKD}, DeepLabV3-ResNet-18 under a teacher of 69.84",
        {"student": "66.92", "pairwise": "67.46", "ifvd": "67.28", "cwd": "67.71", "cirkd": "68.21"},
    ),
    "camvid_afdcd": "69.27 (Fan et al., NeurIPS 2023, DeepLabV3-ResNet-18 under a teacher of 69.84)",
}
