"""What a chain reached, stage by stage, in rows."""

import math
from typing import NamedTuple

from .stages import Record


class Reached(NamedTuple):
    """One row."""

    stage: str
    measure: str
    value: float | None
    """A share in [0, 1]; None where nothing is measured."""
    share: float | None
    """Of the reference: the student on true masks."""
    parameters: int | None
    seconds: float


MASKS = {"confident": "confident seeds", "masks": "seed masks"}
NETWORKS = {"teacher": "teacher", "student": "student", "reference": "student on true masks"}


def duration(seconds: float) -> str:
    """Write a time as 1:05:20, or as 0:07."""
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else minutes


def reached(state: Record) -> list[Reached]:
    """Return what each stage reached, as `run_chain` returns it.

    Networks have the mIoU of the page's split where there is a page, that of val otherwise.
    """
    page = state.get("report", {}).get("result", {})
    reference = _miou("reference", state, page)[1]
    given = [name for name in NETWORKS if name in page.get("scores", {}) and name not in state]
    rows = [_network(name, f"{NETWORKS[name]}, given", state, page, reference, 0.0) for name in given]
    for stage, entry in state.items():
        result, seconds = entry.get("result", {}), entry["seconds"]
        if stage == "classifier":
            rows.append(Reached(stage, "class-wise mAP, val", result["scores"]["class_wise_map"], None, None, seconds))
        elif stage == "affinity":
            measure = f"AUC of pairs of neighbours{_of(result)}, val"
            rows.append(Reached("affinities", measure, _number(result["scores"]["pair_auc"]), None, None, seconds))
        elif stage in MASKS:
            scores = result.get("scores", {})
            measure = "no true masks to compare with"
            if scores:
                share = scores["open_pixels"]
                measure = f"mIoU on {scores['images']} training images"
                measure += f", without the {share:.0%} of pixels left open" if share else ""
            rows.append(Reached(MASKS[stage], measure, scores.get("miou"), None, None, seconds))
        elif stage in NETWORKS:
            rows.append(_network(stage, NETWORKS[stage], state, page, reference, seconds))
        elif stage == "export":
            rows.append(Reached(stage, result["told"], None, None, None, seconds))
    return rows


def _network(stage: str, title: str, state: Record, page: Record, reference: float | None, seconds: float) -> Reached:
    measure, value = _miou(stage, state, page)
    share = value / reference if value and reference and stage == "student" else None
    size = page.get("scores", {}).get(stage, {}).get("parameters")
    return Reached(title, measure, value, share, size, seconds)


def _miou(stage: str, state: Record, page: Record) -> tuple[str, float | None]:
    result = state.get(stage, {}).get("result", {})
    if found := page.get("scores", {}).get(stage):
        return f"mIoU{_of(result)}, {page['split']}", found["miou"]
    return f"mIoU{_of(result)}, val", _number(result.get("scores", {}).get("miou"))


def _of(result: Record) -> str:
    """Say what scores compare with, where that is not true masks."""
    return f" with {other}" if (other := result.get("compared_with")) else ""


def _number(found: float | None) -> float | None:
    return None if found is None or math.isnan(found) else found
